package compile

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// Report is how much a Verify has looked at.
type Report struct {
	Packets int // that policy and compiled form were both asked about
	// Corners is how many packets every corner of every rule would take, about.
	Corners int
	// Sampled: not every corner had its packet, because there are too many.
	Sampled bool
}

// String is the report in a sentence without a full stop.
func (r Report) String() string {
	if r.Sampled {
		return fmt.Sprintf("the compiled rules were held against the policy on a sample: %d packets, where every corner of every rule would take some %d", r.Packets, r.Corners)
	}
	return fmt.Sprintf("the compiled rules were held against the policy on %d packets, at every corner of every rule", r.Packets)
}

// The bounds of a Verify, in packets: up to the first every corner has its own; beyond it that many are drawn. mostPlaces is about
// how many are for places in the compiled form, and as many again for what is asked there besides addresses, protocols and ports.
const (
	everyCorner = 700_000
	sampled     = 40_000
	mostPlaces  = 30_000
)

// Verify holds the compiled form against the policy: both must do the same to a packet, by the same rule, with the same answer,
// count and log. The packets, witnesses, lie at and just beside every corner of every rule and of what stands before the rules, in
// every dimension, the other dimensions taken from corners too: the rule's own, and its neighbours' within it. Where a rule
// before decides a witness, another is looked for that escapes it.
//
// These witnesses are made from the policy alone, with nothing that Compile uses. Others lie at the places of the compiled form: see
// visitor. All are the same each time. The error is a *Disagreement, or a rule set that no kernel would take.
func Verify(p *policy.Policy, rs *ruleset.Ruleset) (Report, error) {
	return NewVerifier(p).Verify(context.Background(), rs)
}

// VerifySample is Verify on a sample of the witnesses, some packets of them, spread over all corners: for who can't wait.
func VerifySample(p *policy.Policy, rs *ruleset.Ruleset, packets int) (Report, error) {
	return NewVerifier(p).VerifyWithin(context.Background(), rs, packets, packets)
}

// Verifier verifies the compiled form of a policy. What it needs to know of the policy alone, it finds out from its making on, beside
// whoever compiles meanwhile.
type Verifier struct {
	policy *policy.Policy
	proof  *proof
	ready  chan struct{} // closed when proof is made
}

// NewVerifier begins to prepare the proof of a policy.
func NewVerifier(p *policy.Policy) *Verifier {
	v := &Verifier{policy: p, ready: make(chan struct{})}
	go func() {
		defer close(v.ready)
		v.proof = newProof(p, nil)
		v.proof.meet()
	}()
	return v
}

// Verify is the function of that name, until ctx ends, whose error it returns then. A Verifier verifies once.
func (v *Verifier) Verify(ctx context.Context, rs *ruleset.Ruleset) (Report, error) {
	return v.verify(ctx, rs, everyCorner, sampled)
}

// VerifyWithin is Verify where that takes at most so many packets, about; else it is VerifySample.
func (v *Verifier) VerifyWithin(ctx context.Context, rs *ruleset.Ruleset, most, sample int) (Report, error) {
	return v.verify(ctx, rs, most, sample)
}

func (v *Verifier) verify(ctx context.Context, rs *ruleset.Ruleset, every, most int) (Report, error) {
	p := v.policy
	if err := distinct(p); err != nil {
		return Report{}, err
	}
	// What takes long is made side by side.
	var places *places
	var others sync.WaitGroup
	others.Go(func() { places = newPlaces(p, rs) })
	linear, err := ruleset.NewMachine(rs, Contents(p))
	if err != nil {
		others.Wait()
		return Report{}, err
	}
	machine := linear.Indexed()
	others.Wait()
	<-v.ready
	first := v.proof
	first.ask(rs, linear, machine)
	// Bans come and go without an apply, so the rules that ask for dynamic sets are tried with something in these, too.
	var given, extreme []map[string]addrset.Addrs
	if first.dynamic() {
		given, extreme = fillings(p), extremes(p)
	}
	atPlaces, loose := places.corners()
	r := Report{Corners: (1+len(extreme))*first.corners(true) + len(given)*first.corners(false) + min(atPlaces, mostPlaces) + min(loose, mostPlaces)}
	share := 1.0
	if r.Corners > every {
		r.Sampled = true
		share = float64(most) / float64(r.Corners)
	}
	// One after the other: with large sets each takes memory.
	of := func(places int) float64 { return share * min(1, mostPlaces/float64(max(1, places))) }
	todo := slices.Concat(first.jobs(share), first.placeJobs(places, shares{of(atPlaces), of(loose)}))
	r.Packets, err = work(ctx, todo, 0)
	done := len(todo)
	for i, contents := range slices.Concat(given, extreme) {
		if err != nil {
			break
		}
		filled := p.With(contents)
		contents = Contents(filled)
		pr := newProof(filled, first)
		pr.ask(rs, linear.With(contents), machine.With(contents))
		pr.all = i >= len(given)
		todo = pr.jobs(share)
		var packets int
		packets, err = work(ctx, todo, done)
		r.Packets += packets
		done += len(todo)
	}
	return r, err
}

// job is a part of the work, which stands for itself; a witness draws the same packets whoever does it.
type job func(*witness) error

// work does jobs on every processor, and returns how many packets they took and the error of the first that failed, or that of ctx where
// it has ended. The first has a number, which decides on what is drawn.
func work(ctx context.Context, jobs []job, first int) (packets int, err error) {
	errs := make([]error, len(jobs))
	var next, total atomic.Int64
	var failed atomic.Bool
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(jobs)) {
		all.Go(func() {
			var w witness
			for !failed.Load() && ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(jobs) {
					break
				}
				w.seed(uint64(first + i))
				if errs[i] = jobs[i](&w); errs[i] != nil {
					failed.Store(true)
				}
			}
			total.Add(int64(w.packets))
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return int(total.Load()), err
		}
	}
	return int(total.Load()), ctx.Err()
}

// distinct tells whether all rules have counters of their own: else two that are confused would look alike.
func distinct(p *policy.Policy) error {
	taken := make(map[string]*policy.Rule)
	for _, list := range p.Lists {
		for _, r := range list {
			name := ChainName(r)
			if o := taken[name]; o != nil {
				return fmt.Errorf("the rules %s (%s) and %s (%s) would share the chain %s", o.ID, o.At.Short(), r.ID, r.At.Short(), name)
			}
			taken[name] = r
		}
	}
	return nil
}

// Contents is what dynamic sets hold in the policy's Given, by their names in the kernel.
func Contents(p *policy.Policy) map[string]addrset.Addrs {
	out := make(map[string]addrset.Addrs)
	for name, a := range p.Given {
		out[DynamicSet(name, false)] = a
		out[DynamicSet(name, true)] = a
	}
	return out
}

// Disagreement is a packet to which the compiled form does something else than the policy.
type Disagreement struct {
	Packet policy.Packet
	Route  string // how it travels, where that is unusual
	Want   policy.Decision
	Given  map[string]addrset.Addrs // what dynamic sets held
	Got    ruleset.Outcome
	What   string // what is wrong
}

// Error is the packet in words that `ringwall explain` reads, both answers, and the chains that the packet came through.
func (d *Disagreement) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the packet %q", d.Packet.String())
	if d.Route != "" {
		fmt.Fprintf(&b, ", %s", d.Route)
	}
	for i, name := range sortedKeys(d.Given) {
		if i == 0 {
			b.WriteString(", with dynamic sets filled:")
		} else {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %s holds %s", name, shown(d.Given[name]))
	}
	fmt.Fprintf(&b, ": the policy says %s by %s", d.Want.Verdict, d.Want.By)
	if d.Want.At.File != "" {
		fmt.Fprintf(&b, " (%s)", d.Want.At.Short())
	}
	fmt.Fprintf(&b, ", the compiled rules %s", d.Got.Verdict)
	if len(d.Got.Counters) > 0 {
		fmt.Fprintf(&b, " as %s", strings.Join(d.Got.Counters, ", "))
	}
	fmt.Fprintf(&b, " (chains %s)", strings.Join(d.Got.Path(), ", "))
	if d.What != "" {
		fmt.Fprintf(&b, ": %s", d.What)
	}
	return b.String()
}

func sortedKeys(m map[string]addrset.Addrs) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// shown is the first few ranges of some addresses.
func shown(a addrset.Addrs) string {
	const few = 4
	var parts []string
	add := func(lo, hi netip.Addr) {
		if lo == hi {
			parts = append(parts, lo.String())
		} else {
			parts = append(parts, fmt.Sprintf("%s-%s", lo, hi))
		}
	}
	for _, r := range a.V4.Ranges() {
		add(r.Lo.Addr(), r.Hi.Addr())
	}
	for _, r := range a.V6.Ranges() {
		add(r.Lo.Addr(), r.Hi.Addr())
	}
	if n := len(parts); n > few {
		parts = append(parts[:few], fmt.Sprintf("and %d more", n-few))
	}
	if parts == nil {
		return "nothing"
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
