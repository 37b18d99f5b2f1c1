package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ringwall/rules/decide"
	"ringwall/rules/policy"
	"ringwall/rules/workload"
)

// manyLines writes a policy of a thousand rules, and returns its name and packets for them, a line each.
func manyLines(tb testing.TB, lines int) (file, packets string) {
	tb.Helper()
	var rules, in strings.Builder
	rules.WriteString("version: 1\nin:\n")
	for i := range 1000 {
		fmt.Fprintf(&rules, "  - {allow: tcp/%d, id: r%d, from: 10.%d.0.0/16}\n", 1+i, i, i%256)
	}
	for i := range lines {
		fmt.Fprintf(&in, `{"in":"tcp/%d","from":"10.%d.0.%d","iface":"eth0"}`+"\n", 1+i%1000, i%1000%256, i%256)
	}
	file = filepath.Join(tb.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	return file, in.String()
}

// explainStdin is what explain answers to lines about a file.
func explainStdin(file, lines string) (answers, errs string, code int) {
	var out, complaints strings.Builder
	f := &front{
		args: []string{"explain", file, "--stdin"}, stdin: strings.NewReader(lines),
		stdout: &out, stderr: &complaints, getenv: func(string) string { return "" },
	}
	code = f.serve(context.Background())
	return out.String(), complaints.String(), code
}

// TestExplainManyLines: the answers come in the order of the packets, whoever made them.
func TestExplainManyLines(t *testing.T) {
	const lines = 20_000
	file, packets := manyLines(t, lines)
	out, errs, code := explainStdin(file, packets)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	answers := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(answers) != lines {
		t.Fatalf("%d answers for %d packets", len(answers), lines)
	}
	for i, answer := range answers {
		if want := fmt.Sprintf(`{"verdict":"allow","rule":"r%d","at":"%s:%d"}`, i%1000, file, 3+i%1000); answer != want {
			t.Fatalf("answer %d is %s, want %s", i, answer, want)
		}
	}
}

// TestExplainOddLines: what is wrong about a line is said in its place, with its number, also where others answered before it.
func TestExplainOddLines(t *testing.T) {
	file, packets := manyLines(t, 2000)
	packets += "\n" + `{"in":"dns","from":"203.0.113.9"}` + "\r\n" + `{"in":"tcp/1-3","from":"10.0.0.1"}` + "\n" + strings.Repeat("x", maxLine+1) + "\nmore"
	out, errs, code := explainStdin(file, packets)
	answers := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(answers) != 2003 {
		t.Fatalf("%d answers", len(answers))
	}
	for i, want := range []string{
		`{"error":"line 2001: the JSON object is cut short"}`,
		`{"verdict":"deny","rule":null,"at":""}`,
		`{"error":"line 2003: this is several packets, which are not decided alike: in tcp/1 from 10.0.0.1 to 198.18.0.1 sport 40000`,
	} {
		if !strings.HasPrefix(answers[2000+i], want) {
			t.Errorf("answer %d is %s, want %s", 2001+i, answers[2000+i], want)
		}
	}
	if code != exitFailed || !strings.Contains(errs, "read the packets: ") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

// stuck is a writer that takes nothing more.
type stuck struct{}

func (stuck) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestExplainToNobody: an end of the answers is noticed, and ends the verb.
func TestExplainToNobody(t *testing.T) {
	file, packets := manyLines(t, 20_000)
	f := &front{args: []string{"explain", file, "--stdin"}, stdin: strings.NewReader(packets), stdout: stuck{}, stderr: io.Discard, getenv: func(string) string { return "" }}
	if code := f.serve(context.Background()); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
}

// TestExplainLinesAllocates holds that lines as programs write them are answered without garbage: the one allocation is their text.
func TestExplainLinesAllocates(t *testing.T) {
	w := workload.Generate(workload.FW, 1000, 1)
	p := w.Policy()
	b := new(batch)
	for _, pkt := range w.Packets(batchLines, 2) {
		what := fmt.Sprintf("tcp/%d", 1+pkt.Dport%65535)
		b.text = fmt.Appendf(b.text, `{"in":%q,"from":%q,"to":%q}`, what, pkt.Src, pkt.Dst)
		b.ends = append(b.ends, len(b.text))
	}
	a := newAnswerer(p, policy.Options{}, decide.New(p))
	a.answer(b)
	if b.bad > 0 {
		t.Fatalf("%s", b.answers)
	}
	if n := testing.AllocsPerRun(20, func() { a.answer(b) }); n > 1 {
		t.Errorf("%v allocations for %d lines", n, len(b.ends))
	}
}

func BenchmarkExplainLines(b *testing.B) {
	const lines = 200_000
	file, packets := manyLines(b, lines)
	for b.Loop() {
		if _, errs, code := explainStdin(file, packets); code != 0 {
			b.Fatalf("exit code %d: %s", code, errs)
		}
	}
	b.ReportMetric(lines*float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}

// TestExplainWithoutDirection asks without saying which list judges: what is asked for is not taken for a file.
func TestExplainWithoutDirection(t *testing.T) {
	file, _ := manyLines(t, 0)
	for _, words := range [][]string{{"tcp/22", "from", "192.0.2.1"}, {"ssh"}, {file, "tcp/22", "from", "192.0.2.1"}, {file}} {
		var out, complaints strings.Builder
		f := &front{args: append([]string{"explain"}, words...), stdout: &out, stderr: &complaints, getenv: func(string) string { return "" }}
		if code := f.serve(context.Background()); code != 64 || out.Len() > 0 || !strings.Contains(complaints.String(), "The direction is missing: in, out or forward") {
			t.Errorf("%v: %d, %s%s", words, code, &out, &complaints)
		}
	}
}
