package kernel

import (
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

// asRulesets compares what stands in a table; sets, counters and limits in any order.
var asRulesets = cmp.Options{
	cmpopts.SortSlices(func(a, b *ruleset.Set) bool { return a.Name < b.Name }),
	cmpopts.SortSlices(func(a, b *ruleset.Map) bool { return a.Name < b.Name }),
	cmpopts.SortSlices(func(a, b ruleset.Counter) bool { return a.Name < b.Name }),
	cmpopts.SortSlices(func(a, b ruleset.LimitObject) bool { return a.Name < b.Name }),
	cmpopts.SortSlices(func(a, b *ruleset.Chain) bool { return a.Name < b.Name }),
	cmp.Comparer(func(a, b addrset.Set[addrset.U32]) bool { return a.Equal(b) }),
	cmp.Comparer(func(a, b addrset.Set[addrset.U128]) bool { return a.Equal(b) }),
	cmpopts.EquateEmpty(),
}

// dial opens a Conn in the test's namespace.
func dial(t testing.TB, opt Options) *Conn {
	t.Helper()
	c, err := Dial(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func apply(t testing.TB, c *Conn, want *ruleset.Ruleset) *Change {
	t.Helper()
	ch, err := c.Apply(context.Background(), want)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func observe(t testing.TB, c *Conn) *Observed {
	t.Helper()
	o, err := c.Observe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestRoundTrip(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	want := every()
	apply(t, c, want)
	got := observe(t, c)
	for _, f := range got.Foreign {
		t.Errorf("not recognised: %s", f)
	}
	if diff := cmp.Diff(want, got.Ruleset, asRulesets); diff != "" {
		t.Errorf("read back (-written +read):\n%s", diff)
	}
	if ch := Diff(got.Ruleset, want); !ch.Empty() {
		t.Errorf("the difference to itself: %v", ch.Lines())
	}
}

// TestExpressionsAreComplete holds the list of expressions against the package that has them: a type without a rule in every()
// would go unnoticed by all the tests above.
func TestExpressionsAreComplete(t *testing.T) {
	files, err := filepath.Glob("../ruleset/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	declared := make(map[string]bool)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if f, ok := n.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.Name == "expr" {
				if recv, ok := f.Recv.List[0].Type.(*ast.Ident); ok && recv.IsExported() {
					declared[recv.Name] = true
				}
			}
			return true
		})
	}
	used := make(map[string]bool)
	for _, c := range every().Chains {
		for _, r := range c.Rules {
			for _, e := range r.Exprs {
				used[reflect.TypeOf(e).Name()] = true
			}
		}
	}
	if diff := cmp.Diff(declared, used); diff != "" {
		t.Errorf("expressions (-declared +tried):\n%s", diff)
	}
}

// printable tells whether nft 1.0.6 can write and read a rule. It cannot write ranges of bits, nor read ranges of what has names,
// and orders numbers of interface types by the wrong end; nobody needs any of these.
func printable(r *ruleset.Rule) bool {
	for _, e := range r.Exprs {
		var f ruleset.Field
		ranged := false
		switch e := e.(type) {
		case ruleset.Cmp:
			f, ranged = e.Field, e.Op > ruleset.Ne
		case ruleset.In:
			_, ranged = joined(e.Elems)
			f = e.Field
		case ruleset.VMap:
			f, ranged = e.Field, !bytes.Equal(e.Elems[0].Lo, e.Elems[0].Hi)
		}
		switch f {
		case ruleset.NFProto, ruleset.IIf, ruleset.OIf, ruleset.IIfType, ruleset.CtState, ruleset.CtStatus, ruleset.CtDirection, ruleset.FibDaddrType, ruleset.FibSaddrOIf:
			if ranged {
				return false
			}
		}
	}
	return true
}

func everyPrintable() *ruleset.Ruleset {
	r := every()
	for _, ch := range r.Chains {
		ch.Rules = slices.DeleteFunc(ch.Rules, func(r *ruleset.Rule) bool { return !printable(r) })
	}
	return r
}

// TestListReadsBack has nft print what was committed, and load what it printed: it must print that the same, and it must be
// the same rules to us, but for how prefixes are matched.
func TestListReadsBack(t *testing.T) {
	ns, other := nstest.Enter(t), nstest.New(t)
	noFlags := Options{Without: Features{Persist: true}}
	c := dial(t, noFlags)
	want := everyPrintable()
	apply(t, c, want)
	listed := ns.Run(t, "nft", "list", "ruleset")
	if out, err := other.Input(t, listed, "nft", "-f", "-"); err != nil {
		t.Fatalf("nft does not load what it listed: %v\n%s\n%s", err, out, listed)
	}
	if diff := cmp.Diff(listed, other.Run(t, "nft", "list", "ruleset")); diff != "" {
		t.Errorf("listed, loaded and listed again (-first +second):\n%s", diff)
	}
	other.Do(t, func() {
		for _, f := range observe(t, dial(t, noFlags)).Foreign {
			if !strings.Contains(f, "unknown expression payload") {
				t.Errorf("loaded by nft, not recognised: %s", f)
			}
		}
	})
}

// TestTextListsTheSame holds what is committed against what nft makes of the rule set's text.
func TestTextListsTheSame(t *testing.T) {
	ns, other := nstest.Enter(t), nstest.New(t)
	c := dial(t, Options{Without: Features{Persist: true}})
	want := everyPrintable()
	apply(t, c, want)
	var text strings.Builder
	if err := want.WriteNFT(&text); err != nil {
		t.Fatal(err)
	}
	if out, err := other.Input(t, text.String(), "nft", "-f", "-"); err != nil {
		t.Fatalf("nft does not load the text: %v\n%s", err, out)
	}
	got, text2 := ns.Run(t, "nft", "list", "ruleset"), other.Run(t, "nft", "list", "ruleset")
	if diff := cmp.Diff(text2, got); diff != "" {
		t.Errorf("listed (-text +netlink):\n%s", diff)
	}
}
