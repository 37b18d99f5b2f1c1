package compile

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// now is the time of the tests' packets.
const now = 1_700_000_000

// read loads a policy from its text.
func read(text string) (*policy.Policy, error) {
	p, diags := policy.Load(source.Memory{"policy.yaml": text}, "policy.yaml", policy.Options{Now: now})
	for _, d := range diags {
		if p == nil {
			return nil, fmt.Errorf("%s", d)
		}
	}
	return p, nil
}

// compileFunc is Compile, or one with a mistake.
type compileFunc func(*policy.Policy) (*ruleset.Ruleset, error)

func compiled(p *policy.Policy) (*ruleset.Ruleset, error) { return Compile(p, Options{LogGroup: 5}) }

// lookedUp is compiled with lists that are looked up, whatever their length.
func lookedUp(p *policy.Policy) (*ruleset.Ruleset, error) {
	return Compile(p, Options{LogGroup: 5, Linear: -1})
}

// brief is lookedUp with tests that leave the family out.
func brief(p *policy.Policy) (*ruleset.Ruleset, error) {
	return Compile(p, Options{LogGroup: 5, Linear: -1, Brief: 1})
}

// inTurn is compiled, lookedUp and brief by turns.
func inTurn(n uint64) compileFunc { return []compileFunc{compiled, lookedUp, compiled, brief}[n%4] }

// differs tells whether policy and compiled form differ about a packet, and how; other errors count as no difference.
func (f failure) differs(compile compileFunc) error {
	p, err := read(f.doc.String())
	if err != nil {
		return nil
	}
	if p, err = f.with(p); err != nil {
		return nil
	}
	rs, err := compile(p)
	if err != nil {
		return nil
	}
	j, err := newLinearJudge(p, rs)
	if err != nil {
		return nil
	}
	_, err = j.hold(&f.pkt)
	return err
}

// with fills the policy's dynamic sets.
func (f failure) with(p *policy.Policy) (*policy.Policy, error) {
	for name := range f.given {
		if s := p.Sets[name]; s == nil || s.Dynamic == nil {
			return nil, fmt.Errorf("no dynamic set %s", name)
		}
	}
	return p.With(f.given), nil
}

// newLinearJudge asks about every packet in every way, without shortcuts.
func newLinearJudge(p *policy.Policy, rs *ruleset.Ruleset) (*judge, error) {
	m, err := ruleset.NewMachine(rs, Contents(p))
	if err != nil {
		return nil, err
	}
	pr := newProof(p, nil)
	pr.ask(rs, m, m.Indexed())
	pr.slowly = 1
	j := pr.newJudge()
	j.thorough = true
	return j, nil
}

// differential holds policies written at random against what is compiled of them.
type differential struct {
	policies, pairs int
	refused         map[string]int // texts that do not load, by code
	decided         map[string]int
}

// round is one policy and so many packets. The error is a failure, made small.
func (d *differential) round(rng *rand.Rand, packets int, compile compileFunc) error {
	w := newWriter(rng)
	w.lots = w.chance(10)
	text := w.policy()
	p, err := read(text.String())
	if err != nil {
		if d.refused == nil {
			d.refused = make(map[string]int)
		}
		code := err.Error()
		d.refused[code[strings.LastIndexByte(code, '[')+1:]]++
		return nil
	}
	f := failure{doc: text, given: w.contents()}
	if p, err = f.with(p); err != nil {
		return err
	}
	rs, err := compile(p)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	j, err := newLinearJudge(p, rs)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	d.policies++
	s := newSampler(p, rng.Uint64())
	for i := range packets {
		f.pkt = s.draw(i, packets)
		d.pairs++
		dec, err := j.hold(&f.pkt)
		if err != nil {
			small := f.shrink(func(f failure) bool { return f.differs(compile) != nil })
			return fmt.Errorf("%w\n%s", small.differs(compile), small)
		}
		if d.decided != nil {
			by := dec.By
			if dec.Rule != nil {
				by = "a rule"
			}
			d.decided[f.pkt.Dir.String()+" "+by]++
		}
	}
	return nil
}

// contents is what the policy's dynamic sets hold.
func (w *writer) contents() map[string]addrset.Addrs {
	given := make(map[string]addrset.Addrs)
	for _, name := range w.dynamic {
		var a addrset.Addrs
		for range w.IntN(4) {
			text := one(w.generator, append(w.v4[:len(w.v4):len(w.v4)], w.v6...)...)
			if p, err := netip.ParsePrefix(text); err == nil {
				a = a.Union(addrset.OfPrefix(p))
			} else if ip, err := netip.ParseAddr(text); err == nil {
				a = a.Union(addrset.OfRange(ip, ip))
			}
		}
		given[name] = a
	}
	return given
}

// TestTextsAreEval is the compiler held against the specification from the text on.
func TestTextsAreEval(t *testing.T) {
	d := differential{decided: map[string]int{}}
	const packets = 200
	for seed := range uint64(rounds(t, 1000)) {
		if err := d.round(rand.New(rand.NewPCG(seed, 99)), packets, inTurn(seed)); err != nil {
			t.Fatalf("policy %d: %v", seed, err)
		}
	}
	t.Logf("%d pairs of Decide and Eval, of %d policies; decided: %v; not loaded: %v", d.pairs, d.policies, d.decided, d.refused)
	if refused := rounds(t, 1000) - d.policies; refused > d.policies/4 {
		t.Errorf("%d policies did not load: %v", refused, d.refused)
	}
	for _, dir := range []string{"in ", "out ", "forward "} {
		for _, by := range []string{"a rule", policy.ByDefault, policy.ByBlock, policy.ByFailsafe} {
			if d.decided[dir+by] < 10 && !(dir == "forward " && by == policy.ByFailsafe) {
				t.Errorf("%s%s decided %d packets", dir, by, d.decided[dir+by])
			}
		}
	}
}

// FuzzDecideIsEval lets the fuzzer choose what is written: the bytes are the writer's coins.
func FuzzDecideIsEval(f *testing.F) {
	for seed := range uint64(8) {
		coins := make([]byte, 512+seed) // the length decides whether lists are looked up
		rng := rand.New(rand.NewPCG(seed, 5))
		for i := range coins {
			coins[i] = byte(rng.Uint32())
		}
		f.Add(coins)
	}
	f.Fuzz(func(t *testing.T, coins []byte) {
		var d differential
		if err := d.round(rand.New(newCoins(coins)), 400, inTurn(uint64(len(coins)))); err != nil {
			t.Fatal(err)
		}
	})
}

// coins is bytes as a source of random numbers; beyond their end comes what their sum makes.
type coins struct {
	left []byte
	more *rand.PCG
}

func newCoins(b []byte) *coins {
	h := fnv.New64a()
	h.Write(b)
	return &coins{b, rand.NewPCG(h.Sum64(), 1)}
}

// Uint64 is the next number, made of one byte only, so that a changed byte changes one choice.
func (c *coins) Uint64() uint64 {
	if len(c.left) == 0 {
		return c.more.Uint64()
	}
	b := c.left[0]
	c.left = c.left[1:]
	// Choices among few look at the highest bits, choices of addresses at all.
	return binary.BigEndian.Uint64([]byte{b, b * 31, b * 57, b * 101, b * 7, b * 201, b * 13, b * 77})
}

// agrees fails where the compiled form of a policy's text treats a packet otherwise than the policy. Given is what dynamic sets
// hold: "banned=192.0.2.0/24 banned=…"; the packet is in the words of `ringwall explain`. Failures print calls of it.
func agrees(t *testing.T, text, given, packet string) {
	t.Helper()
	for n := range uint64(2) {
		if err := disagreement(t, text, given, packet, inTurn(n)); err != nil {
			t.Error(err)
		}
	}
}

func disagreement(t *testing.T, text, given, packet string, compile compileFunc) error {
	t.Helper()
	p, pkt := pasted(t, text, given, packet)
	rs, err := compile(p)
	if err != nil {
		t.Fatal(err)
	}
	j, err := newLinearJudge(p, rs)
	if err != nil {
		t.Fatal(err)
	}
	_, err = j.hold(&pkt)
	return err
}

// pasted is what the texts of a failure stand for.
func pasted(t *testing.T, text, given, packet string) (*policy.Policy, policy.Packet) {
	t.Helper()
	p, err := read(text)
	if err != nil {
		t.Fatal(err)
	}
	sets := make(map[string]addrset.Addrs)
	for _, item := range strings.Fields(given) {
		name, prefix, _ := strings.Cut(item, "=")
		sets[name] = sets[name].Union(addrset.OfPrefix(netip.MustParsePrefix(prefix)))
	}
	p = p.With(sets)
	pkts, err := policy.NewQuery(p, policy.Options{Now: now}).Words(strings.Fields(packet))
	if err != nil || len(pkts) != 1 {
		t.Fatalf("%d packets are %q: %v", len(pkts), packet, err)
	}
	return p, pkts[0]
}

// TestAgrees keeps what was found once.
func TestAgrees(t *testing.T) {
	agrees(t, `
version: 1
sets: {banned: {dynamic: true}}
in:
  - {deny: any, from: banned}
  - {allow: tcp/22-23, from: [203.0.113.0/24, not 203.0.113.8/29]}
`, "banned=203.0.113.64/26", "in tcp/22 from 203.0.113.65 to 198.18.0.1 sport 40000 iface eth0")
}

// TestFailuresShrink breaks the compiler, and shows that what is printed of the failure is small and can be pasted.
func TestFailuresShrink(t *testing.T) {
	bugs := map[string]func(ruleset.Expr) (ruleset.Expr, bool){
		"port ranges lack their end": func(e ruleset.Expr) (ruleset.Expr, bool) {
			in, is := e.(ruleset.In)
			if !is || in.Field != ruleset.Dport || string(in.Elems[0].Lo) == string(in.Elems[0].Hi) {
				return e, false
			}
			in.Elems = append([]ruleset.Interval{{Lo: in.Elems[0].Lo, Hi: step(in.Elems[0].Hi, false)}}, in.Elems[1:]...)
			return in, true
		},
		"sources are destinations": func(e ruleset.Expr) (ruleset.Expr, bool) {
			c, is := e.(ruleset.Cmp)
			if is && c.Field == ruleset.Saddr6 && c.Mask != nil {
				c.Field = ruleset.Daddr6
				return c, true
			}
			return e, false
		},
		"marks are not masked": func(e ruleset.Expr) (ruleset.Expr, bool) {
			c, is := e.(ruleset.Cmp)
			if is && c.Field == ruleset.MetaMark && c.Mask != nil {
				c.Mask = nil
				return c, true
			}
			return e, false
		},
		"what is not in a dynamic set is": func(e ruleset.Expr) (ruleset.Expr, bool) {
			l, is := e.(ruleset.Lookup)
			if is && l.Not && strings.HasPrefix(l.Set, "dyn") {
				l.Not = false
				return l, true
			}
			return e, false
		},
	}
	for name, bug := range bugs {
		t.Run(name, func(t *testing.T) {
			broken := func(p *policy.Policy) (*ruleset.Ruleset, error) {
				rs, err := compiled(p)
				if err != nil {
					return nil, err
				}
				for _, ch := range rs.Chains {
					for _, r := range ch.Rules {
						for i, e := range r.Exprs {
							r.Exprs[i], _ = bug(e)
						}
					}
				}
				return rs, nil
			}
			var d differential
			for seed := range uint64(2000) {
				w := newWriter(rand.New(rand.NewPCG(seed, 99)))
				w.lots = w.chance(10)
				before := w.policy().size()
				err := d.round(rand.New(rand.NewPCG(seed, 99)), 200, broken)
				if err == nil {
					continue
				}
				t.Logf("policy %d, of %d nodes: %v", seed, before, err)
				_, paste, found := strings.Cut(err.Error(), "agrees(t, `\n")
				text, rest, closed := strings.Cut(paste, "`, \"")
				given, packet, quoted := strings.Cut(strings.TrimSuffix(rest, "\")"), "\", \"")
				if !found || !closed || !quoted {
					t.Fatalf("not a call: %v", err)
				}
				if lines := strings.Count(text, "\n"); lines > 5 || strings.Count(text, "  - ") > 1 {
					t.Errorf("%d lines are left:\n%s", lines, text)
				}
				if disagreement(t, text, given, packet, broken) == nil {
					t.Error("pasted it does not fail")
				}
				agrees(t, text, given, packet)
				return
			}
			t.Fatal("nothing was found")
		})
	}
}
