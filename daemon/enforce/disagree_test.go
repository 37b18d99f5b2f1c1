package enforce

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"ringwall/netfilter/compile"
	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// mistaken is a compiler that takes one piece of the policy's text for another.
func mistaken(t *testing.T, text, piece, taken string) Compiler {
	t.Helper()
	other := Load(source.Memory{entry: strings.Replace(text, piece, taken, 1)}, entry, LoadOptions{Trusted: true})
	if !other.OK() || !strings.Contains(text, piece) {
		t.Fatal(other.Problem())
	}
	return func(_ *policy.Policy, opt compile.Options) (*ruleset.Ruleset, error) {
		return compile.Compile(other.Policy, opt)
	}
}

// disagreement is what Verify says of a packet, both answers, and the way through the chains.
var disagreement = regexp.MustCompile(`the packet "in tcp/.*": the policy says (allow|deny) by (web \(policy.yaml:\d+\)|default), ` +
	`the compiled rules (deny|allow)( as [^()]*)? \(chains [^()]+\)`)

func TestDisagreementChangesNothing(t *testing.T) {
	nstest.Enter(t)
	e := open(t, t.TempDir())
	apply(t, e, webText)
	generation, err := e.conn.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(webText, "[http, https]", "[http, https, tcp/8080]", 1)
	e.opt.Compile = mistaken(t, text, "tcp/8080", "tcp/8081")

	for what, do := range map[string]func(*Candidate) (*Report, error){
		"apply":   func(c *Candidate) (*Report, error) { return e.Apply(t.Context(), c, Files) },
		"dry run": func(c *Candidate) (*Report, error) { return e.DryRun(t.Context(), c, false) },
	} {
		for _, brief := range []bool{false, true} {
			c := load(e, text)
			c.brief = brief
			r, err := do(c)
			if wrong := (*compile.Disagreement)(nil); !errors.As(err, &wrong) || !disagreement.MatchString(err.Error()) {
				t.Errorf("%s: %v", what, err)
			}
			if r.Applied || r.Validated {
				t.Errorf("%s: %+v", what, r)
			}
		}
	}
	if now, _ := e.conn.Generation(t.Context()); now != generation {
		t.Error("the kernel has heard of it")
	}
	intact(t, e)
	e.opt.Compile = compile.Compile
	apply(t, e, text)
}

// TestOnlyDaemonsProveBriefly: who has nobody to prove the rest later takes every corner of a policy of the history.
func TestOnlyDaemonsProveBriefly(t *testing.T) {
	nstest.Enter(t)
	e := open(t, t.TempDir())
	apply(t, e, webText)
	apply(t, e, strings.Replace(webText, "[http, https]", "http", 1))
	for _, daemon := range []bool{false, true} {
		e.opt.Lazy = daemon
		p, err := e.Past(1)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := e.LoadPast(p); err != nil || c.brief != daemon {
			t.Errorf("daemon %v: %+v, %v", daemon, c, err)
		}
	}
}
