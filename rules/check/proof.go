package check

import (
	"errors"
	"fmt"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// Result is what became of one of a policy's tests.
type Result struct {
	Test    *policy.Test
	OK      bool
	Code    string // of a test that is not OK: one of the Test codes
	Message string // why it is not OK, on one line
	// Counterexample is a packet that the test describes and that is not judged as the test says, nil where none
	// was sought or found. Decision is what the policy says of it.
	Counterexample *policy.Packet
	Decision       policy.Decision
	words          string // the counterexample in words that explain reads
}

// The codes of tests that are not OK.
const (
	TestFailed    = "test-failed"    // there is a counterexample
	TestClock     = "test-clock"     // true at one time and false at another, and `at` is not written
	TestEmpty     = "test-empty"     // describes no packet
	TestUndecided = "test-undecided" // the proof would have taken too long
)

// proofWork bounds the comparisons of boxes that one test may take: some tenths of a second.
const proofWork = 2_000_000

// Tests proves the policy's tests, in order. A test claims something of every packet that it describes, as far as
// rules look:
//
//   - A key that is not given stands for every value, except that loopback (the interface lo) is left out unless
//     `iface`, `iif` or `oif` asks for it or `base` has the rules judge it.
//   - Packets are the first of their connection and come the way that leads back to their source. A test `by:
//     established`, `by: invalid` or `by: reverse-path` speaks of such packets instead.
//   - Neighbour discovery (ICMPv6 133 to 137) has the hop limit 255, as RFC 4861 demands.
//   - `any` is what reaches the rules, with what block and failsafe take before them: not neighbour discovery and the
//     other protocols of the base, unless `by` names one.
//   - Dynamic sets hold what is given, and are empty otherwise.
func Tests(p *policy.Policy) []Result {
	results := make([]Result, 0, len(p.Tests))
	s, err := space.New(p)
	pr := prover{space: s, policy: p}
	for _, t := range p.Tests {
		r := Result{Test: t, OK: true}
		if err != nil {
			r.fail(TestUndecided, "the policy is %v", err)
		} else {
			pr.prove(&r)
		}
		results = append(results, r)
	}
	return results
}

func (r *Result) fail(code, format string, args ...any) {
	r.OK, r.Code, r.Message = false, code, fmt.Sprintf(format, args...)
}

// prover proves the tests of one policy.
type prover struct {
	space  *space.Space
	policy *policy.Policy
	static [3][]space.Entry // by Dir, with dynamic sets empty; nil until needed
}

// entries is how the policy judges while dynamic sets hold what is given.
func (pr *prover) entries(dir policy.Dir, given map[string]addrset.Addrs) ([]space.Entry, error) {
	if len(given) > 0 {
		return pr.space.Entries(pr.policy.With(given), dir)
	}
	var err error
	if pr.static[dir] == nil {
		pr.static[dir], err = pr.space.Entries(pr.policy.With(nil), dir)
	}
	return pr.static[dir], err
}

// prove fills in the result of a test that is OK so far.
func (pr *prover) prove(r *Result) {
	t := r.Test
	boxes := pr.described(t)
	if len(boxes) == 0 {
		r.fail(TestEmpty, "the test describes no packet")
		return
	}
	entries, err := pr.entries(t.List, t.Given)
	if err != nil {
		r.fail(TestUndecided, "block and failsafe are %v", err)
		return
	}
	search := space.Search{Left: proofWork}
	found, against, err := counterexample(&search, t, boxes, entries)
	if err != nil {
		pr.undecided(r, err)
		return
	}
	if !against {
		return
	}
	pkt := pr.space.Packet(t.List, &found)
	if t.Time != 0 {
		pkt.Time = t.Time
	}
	d := pr.policy.With(t.Given).Decide(&pkt)
	if agrees(t, d) { // the boxes and Decide read a rule differently: neither answer is safe
		r.fail(TestUndecided, "the proof contradicts itself at %s", pkt)
		return
	}
	r.Counterexample, r.Decision = &pkt, d
	r.words = pr.policy.Words(&pkt)
	r.fail(TestFailed, "expected %s, but %s", expected(t), outcome(r.words, d))
	if t.Time != 0 {
		return
	}
	for _, e := range entries {
		if e.Decision.Rule == nil || e.Decision.Rule.Expires == 0 || !touches(e.Boxes, boxes) {
			continue
		}
		holds, err := pr.holdsSometime(&search, t, boxes, entries)
		switch {
		case err != nil:
			pr.undecided(r, err)
		case holds:
			r.fail(TestClock, "the outcome depends on the clock: rule %s expires", e.Decision.By)
		}
		return
	}
}

func (pr *prover) undecided(r *Result, err error) {
	if errors.Is(err, space.ErrTooComplex) {
		err = fmt.Errorf("the test is %w: describe fewer packets", err)
	}
	r.fail(TestUndecided, "%v", err)
}

// holdsSometime tells whether there is a time at which the test is true.
func (pr *prover) holdsSometime(search *space.Search, t *policy.Test, boxes []space.Box, entries []space.Entry) (bool, error) {
	for _, span := range pr.space.Spans() {
		var then []space.Box
		for _, b := range boxes {
			if b.Limit(space.Time, span) {
				then = append(then, b)
			}
		}
		if _, against, err := counterexample(search, t, then, entries); !against || err != nil {
			return !against, err
		}
	}
	return false, nil
}

func touches(as, bs []space.Box) bool {
	for i := range as {
		for j := range bs {
			if as[i].Overlaps(&bs[j]) {
				return true
			}
		}
	}
	return false
}

// described is the packets that a test speaks of.
func (pr *prover) described(t *policy.Test) []space.Box {
	m := t.Match
	m.What = t.What
	var out []space.Box
	for _, b := range pr.space.Match(t.List, &m, t.Given) {
		if !pr.limit(t, &b) {
			continue
		}
		if !b.Six {
			out = append(out, b)
			continue
		}
		discovery := addrset.Between(policy.Key(policy.ProtoICMPv6, 133<<8), policy.Key(policy.ProtoICMPv6, 137<<8|0xff))
		if c := b; c.Limit(space.Key, discovery.Complement()) {
			out = append(out, c)
		}
		if b.Limit(space.Key, discovery) && b.Limit(space.HopLimit, addrset.One(addrset.U32(255))) {
			out = append(out, b)
		}
	}
	return out
}

// limit applies what a test says without writing it, false where no packet is left.
func (pr *prover) limit(t *policy.Test, b *space.Box) bool {
	state, spoofed := policy.New, addrset.U32(0)
	switch t.By {
	case policy.ByEstablished:
		state = policy.Established
	case policy.ByInvalid:
		state = policy.Invalid
	case policy.ByReversePath:
		spoofed = 1
	}
	if !b.Limit(space.State, addrset.One(addrset.U32(state))) || !b.Limit(space.Spoofed, addrset.One(spoofed)) {
		return false
	}
	if t.Time != 0 && !b.Limit(space.Time, pr.space.At(t.Time)) {
		return false
	}
	if t.List != policy.Forward && !pr.policy.Base.Loopback {
		return true
	}
	lo := pr.space.Named(policy.Loopback)
	for _, d := range []struct {
		dim  space.Dim
		asks policy.Choice[policy.Pattern]
		real bool // packets of this direction have such an interface
	}{{space.IIf, t.Match.IIf, t.List != policy.Out}, {space.OIf, t.Match.OIf, t.List != policy.In}} {
		if d.real && len(d.asks.Yes) == 0 && !b.Limit(d.dim, lo.Complement()) {
			return false
		}
	}
	return true
}

// counterexample seeks packets of the boxes whose first entry is not as the test says. Only wrong entries matter: what
// of one is described must all belong to right entries before it.
func counterexample(search *space.Search, t *policy.Test, boxes []space.Box, entries []space.Entry) (space.Box, bool, error) {
	for i := range boxes {
		var right []*space.Box
	entries:
		for _, e := range entries {
			good := agrees(t, e.Decision) || t.Any && e.Decision.By != t.By && isProtocol(e.Decision.By)
			for j := range e.Boxes {
				box := &e.Boxes[j]
				if !box.Overlaps(&boxes[i]) {
					continue
				}
				if good {
					right = append(right, box)
					if box.Covers(&boxes[i]) {
						break entries
					}
					continue
				}
				wrong, _ := boxes[i].Intersect(box)
				if found, ok, err := search.Outside(&wrong, right); ok || err != nil {
					return found, ok, err
				}
			}
		}
	}
	return space.Box{}, false, nil
}

// isProtocol tells whether a base key is about a protocol that `any` leaves out.
func isProtocol(by string) bool {
	switch by {
	case policy.ByNeighbour, policy.ByMulticast, policy.ByICMPErrors, policy.ByDHCPClient:
		return true
	}
	return false
}

// agrees tells whether a decision is what a test expects.
func agrees(t *policy.Test, d policy.Decision) bool {
	return d.Verdict == t.Expect && (t.By == "" || t.By == d.By)
}

func expected(t *policy.Test) string {
	if t.By == "" {
		return t.Expect.String()
	}
	return fmt.Sprintf("%s by %s", t.Expect, t.By)
}

// outcome says what became of a packet: "tcp/22 from … is denied by ssh-admins (policy.yaml:12)".
func outcome(pkt string, d policy.Decision) string {
	done := map[policy.Verdict]string{policy.Allow: "allowed", policy.Deny: "denied", policy.Reject: "rejected"}[d.Verdict]
	text := fmt.Sprintf("%s is %s by %s", pkt, done, d.By)
	if !d.At.IsZero() {
		text += " (" + d.At.Short() + ")"
	}
	return text
}

// TestDiagnostics is the tests that are not OK, as errors at the tests' places.
func TestDiagnostics(results []Result) diag.List {
	var out diag.List
	for _, r := range results {
		if r.OK {
			continue
		}
		d := out.Errorf(r.Test.At, r.Code, "%s", r.Message)
		switch {
		case r.Code == TestClock:
			d.WithHint("say when with `at: 2027-01-31`")
		case r.Counterexample != nil:
			d.WithHint("ringwall explain %s", r.words)
		}
		if r.Counterexample != nil && !r.Decision.At.IsZero() {
			d.Also(r.Decision.At, "this decides")
		}
	}
	return out
}
