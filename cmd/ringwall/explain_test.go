package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestExplainManyLines: a hundred thousand packets against a thousand rules take seconds.
func TestExplainManyLines(t *testing.T) {
	var rules, packets strings.Builder
	rules.WriteString("version: 1\nin:\n")
	for i := range 1000 {
		fmt.Fprintf(&rules, "  - {allow: tcp/%d, id: r%d, from: 10.%d.0.0/16}\n", 1+i, i, i%256)
	}
	const lines = 100_000
	for i := range lines {
		fmt.Fprintf(&packets, `{"in":"tcp/%d","from":"10.%d.0.%d","iface":"eth0"}`+"\n", 1+i%1000, i%1000%256, i%256)
	}
	file := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	f := &front{
		args: []string{"explain", file, "--stdin"}, stdin: strings.NewReader(packets.String()),
		stdout: &out, stderr: &errs, getenv: func(string) string { return "" },
	}
	began := time.Now()
	if code := f.serve(context.Background()); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	answers := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(answers) != lines {
		t.Fatalf("%d answers for %d packets", len(answers), lines)
	}
	for i, answer := range answers {
		if want := fmt.Sprintf(`{"verdict":"allow","rule":"r%d","at":"%s:%d"}`, i%1000, file, 3+i%1000); answer != want {
			t.Fatalf("answer %d is %s, want %s", i, answer, want)
		}
	}
}
