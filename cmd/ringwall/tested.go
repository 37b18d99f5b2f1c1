package main

import (
	"fmt"

	"ringwall/daemon/enforce"
	"ringwall/rules/check"
	"ringwall/rules/policy"
)

// tested is what became of one test of a policy, for programs.
type tested struct {
	Test    string `json:"test"` // on one line, as written
	At      string `json:"at"`   // file:line
	OK      bool   `json:"ok"`
	Code    string `json:"code,omitempty"`    // of a test that is not OK: test-failed, test-clock, test-empty or test-undecided
	Message string `json:"message,omitempty"` // why it is not OK
	// Packet contradicts the test, in the words of explain; By is the rule that decides about it.
	Packet string `json:"packet,omitempty"`
	By     string `json:"by,omitempty"`
	ByAt   string `json:"by_at,omitempty"`
}

// results is what became of a policy's tests.
func results(c *enforce.Candidate) []tested {
	var out []tested
	for _, r := range c.Tests {
		t := tested{Test: r.Test.Text, At: r.Test.At.Short(), OK: r.OK, Code: r.Code, Message: r.Message}
		if r.Counterexample != nil {
			t.Packet, t.By = c.Policy.Words(r.Counterexample), r.Decision.By
			if !r.Decision.At.IsZero() {
				t.ByAt = r.Decision.At.Short()
			}
		}
		out = append(out, t)
	}
	return out
}

// coverage is which rules the tests touch.
type coverage struct {
	Rules     int         `json:"rules"`
	Touched   int         `json:"touched"`
	Untouched []rulePlace `json:"untouched"`
	Undecided []rulePlace `json:"undecided,omitempty"` // it would take too long to tell
}

// rulePlace is a rule with its place.
type rulePlace struct {
	List string `json:"list"`
	ID   string `json:"id"`
	At   string `json:"at"`
	Text string `json:"text"`
}

func newCoverage(c *enforce.Candidate) *coverage {
	found := check.Cover(c.Policy, c.Tests)
	places := func(rules []*policy.Rule) []rulePlace {
		out := []rulePlace{}
		for _, r := range rules {
			out = append(out, rulePlace{r.List.String(), r.ID, r.At.Short(), r.Text})
		}
		return out
	}
	return &coverage{found.Rules, found.Touched(), places(found.Untouched), places(found.Undecided)}
}

// printCoverage lists the rules of a policy that no test touches.
func (f *front) printCoverage(r checked) {
	c := r.Coverage
	if c == nil || c.Rules == 0 {
		return
	}
	line := fmt.Sprintf("%s: tests touch %d of %s (%d %%)", r.Policy, c.Touched, count(c.Rules, "rule"), 100*c.Touched/c.Rules)
	if len(c.Untouched) > 0 {
		line += ", and none of these:"
	}
	fmt.Fprintln(f.stdout, line)
	paint := f.ink(f.stdout)
	list := func(rules []rulePlace, remark string) {
		name := width(24, func(yield func(string) bool) {
			for _, p := range rules {
				if !yield(p.List + "." + p.ID) {
					return
				}
			}
		})
		for _, p := range rules {
			fmt.Fprintf(f.stdout, "  %s  %s%s  %s\n", pad(p.List+"."+p.ID, name), p.Text, remark, paint.faint(p.At))
		}
	}
	list(c.Untouched, "")
	list(c.Undecided, "  (not decided)")
}
