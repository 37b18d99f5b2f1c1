package compile

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// text is the rule set as nft reads it.
func text(t testing.TB, rs *ruleset.Ruleset) string {
	t.Helper()
	var b strings.Builder
	if err := rs.WriteNFT(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestGolden compares what policies become with what they became. Each file of testdata holds policy.yaml and want.nft; a line
// "no labels" in its comment compiles for a kernel without connection labels.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		path, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Files) != 2 {
				t.Fatal("want policy.yaml and want.nft")
			}
			p := load(t, string(archive.Files[0].Data))
			rs, err := Compile(p, Options{LogGroup: 7, NoLabels: strings.Contains(string(archive.Comment), "no labels")})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(p, rs); err != nil {
				t.Error(err)
			}
			got := text(t, rs)
			if *update {
				archive.Files[1].Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), got); diff != "" {
				t.Errorf("compiled (-want +got); see -update:\n%s", diff)
			}
			listsTheSame(t, rs)
		})
	}
}

// TestEverythingListsTheSame does what TestGolden does at its end for policies at random.
func TestEverythingListsTheSame(t *testing.T) {
	for seed := range uint64(rounds(t, 30)) {
		rs, err := Compile(newGenerator(seed).policy(), Options{LogGroup: 7})
		if err != nil {
			t.Fatal(err)
		}
		listsTheSame(t, rs)
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, text(t, rs))
		}
	}
}

// TestExamples compiles, verifies and loads every shipped policy.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Chdir(filepath.Dir(file))
			p, diags := policy.Load(source.OS{}, filepath.Base(file), policy.Options{})
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			rs, err := Compile(p, Options{LogGroup: 7})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(p, rs); err != nil {
				t.Error(err)
			}
			listsTheSame(t, rs)
		})
	}
}

// enforced is a namespace to which a rule set was applied over netlink. What then does with the connection, if it is not nil, is done there.
func enforced(t *testing.T, rs *ruleset.Ruleset, then func(*kernel.Conn)) *nstest.NS {
	t.Helper()
	ns := nstest.New(t)
	ns.Do(t, func() {
		conn, err := kernel.Dial(kernel.Options{Without: kernel.Features{Persist: true}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Apply(context.Background(), rs); err != nil {
			t.Fatal(err)
		}
		if then != nil {
			then(conn)
		}
	})
	return ns
}

// listsTheSame applies a rule set over netlink in one namespace, loads its text by nft in another, and compares what nft lists.
func listsTheSame(t *testing.T, rs *ruleset.Ruleset) {
	t.Helper()
	applied, loaded := enforced(t, rs, nil), nstest.New(t)
	if out, err := loaded.Input(t, text(t, rs), "nft", "-f", "-"); err != nil {
		t.Fatalf("nft does not load the text: %v\n%s", err, out)
	}
	list := []string{"list", "table", "inet", ruleset.TableName}
	if diff := cmp.Diff(loaded.Run(t, "nft", list...), applied.Run(t, "nft", list...)); diff != "" {
		t.Errorf("listed (-text +netlink):\n%s", diff)
	}
}
