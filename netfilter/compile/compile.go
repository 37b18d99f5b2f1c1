// Package compile turns a Policy into the Ruleset that enforces it: classify, then act.
//
// Be aware: the order of hooks is part of the meaning. `in` is judged in prerouting after conntrack and before anybody's DNAT, so
// that a published port is judged as the sender wrote it; the input hook judges only what another table's DNAT brought here.
package compile

import (
	"fmt"
	"slices"
	"sync"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// Options is what the result may use of the kernel.
type Options struct {
	LogGroup uint16 // nflog group of the rules' logs
	// NoLabels: the kernel has no connection labels. What `in` has admitted cannot be recognised then after another table's
	// DNAT, and is judged a second time: by `forward` where transit is judged, by `in` at the input hook where it was sent to
	// another address or port of this host. That may refuse too much, never too little.
	NoLabels bool
	// Linear is up to how many lines a list stays a plain one, instead of chains and maps: 0 for what is best for packets.
	Linear int
	// Brief is from how many lines on the structure of a list leaves out of its tests the family that is known there: 0 for where it
	// begins to count.
	Brief int
	// EveryWay: the kernel follows every way through the chains before it commits. There are few then, no more than a rule set has rules and
	// elements of maps, about: where many lines meet each other, that costs packets some time and the kernel memory.
	EveryWay bool
	// Unchecked leaves it to Verify to find that the kernel would not take the result: for who verifies it next.
	Unchecked bool
}

// labelBit is the bit of a connection's label that says that `in` has admitted it.
const labelBit = 113

// The priorities of the base chains.
const (
	priorityRaw     = -300 // before conntrack (-200)
	priorityJudge   = -110 // after mangle (-150), before DNAT (-100)
	priorityInput   = 0
	priorityForward = -10
)

// Compile is deterministic: the same policy and options give the same rule set. The error names the rule that is too complex, or
// a mistake of this package's.
func Compile(p *policy.Policy, opt Options) (*ruleset.Ruleset, error) {
	c, acts := newCompiler(p, opt), newCompiler(p, opt)
	var acting sync.WaitGroup
	defer acting.Wait()
	acting.Go(acts.acts)
	for _, set := range dynamicSets(p) {
		for _, f := range families {
			c.dynamicSet(set, f)
		}
	}
	if len(p.Block.Terms) > 0 {
		c.blockChains()
	}
	c.preChain()
	c.inputChain()
	if p.Transit || len(p.Block.Terms) > 0 {
		if err := c.forwardChain(); err != nil {
			return nil, err
		}
	}
	if err := c.outputChain(); err != nil {
		return nil, err
	}
	if err := c.inChain(); err != nil {
		return nil, err
	}
	acting.Wait()
	c.join(acts)
	if c.rejects {
		c.rejectChain()
	}
	marks := make([]string, len(c.rs.Sets))
	var all sync.WaitGroup
	for i, set := range c.rs.Sets {
		all.Go(func() { marks[i] = set.Mark() })
	}
	all.Wait()
	for _, mark := range marks {
		if mark != "" {
			c.counter(mark)
		}
	}
	c.trim()
	if opt.Unchecked {
		return c.rs, nil
	}
	if err := c.rs.Check(); err != nil {
		return nil, fmt.Errorf("compiled rule set: %w", err)
	}
	return c.rs, nil
}

// compiler is a rule set in the making.
type compiler struct {
	p          *policy.Policy
	opt        Options
	rs         *ruleset.Ruleset
	sets       map[string]*ruleset.Set
	parts      map[string][]part // of sets of addresses, by the name of the whole
	counters   map[string]bool
	rejects    bool                     // the chain that rejects is needed
	structures map[*ruleset.Chain]*tree // by their chains
}

func newCompiler(p *policy.Policy, opt Options) *compiler {
	return &compiler{p: p, opt: opt, rs: new(ruleset.Ruleset), sets: make(map[string]*ruleset.Set), parts: make(map[string][]part), counters: make(map[string]bool), structures: make(map[*ruleset.Chain]*tree)}
}

// join takes up what another compiler has made of the same policy: other things, so that they are the same in whatever order they were made.
func (c *compiler) join(o *compiler) {
	c.rs.Chains = append(c.rs.Chains, o.rs.Chains...)
	c.rs.Limits = append(c.rs.Limits, o.rs.Limits...)
	for _, s := range o.rs.Sets {
		c.addSet(s)
	}
	for _, counter := range o.rs.Counters {
		c.counter(counter.Name)
	}
	c.rejects = c.rejects || o.rejects
}

func (c *compiler) chain(name string) *ruleset.Chain {
	ch := &ruleset.Chain{Name: name}
	c.rs.Chains = append(c.rs.Chains, ch)
	return ch
}

func (c *compiler) baseChain(name string, point ruleset.HookPoint, priority int32, drop bool) *ruleset.Chain {
	ch := c.chain(name)
	ch.Hook = &ruleset.Hook{Point: point, Priority: priority, Drop: drop}
	return ch
}

// counter makes a counter, once.
func (c *compiler) counter(name string) {
	if !c.counters[name] {
		c.counters[name] = true
		c.rs.Counters = append(c.rs.Counters, ruleset.Counter{Name: name})
	}
}

// add adds rules that have the same end to a chain, one for each line.
func add(ch *ruleset.Chain, lines []conj, do ...ruleset.Expr) {
	for _, line := range lines {
		ch.Rules = append(ch.Rules, rule(line, do...))
	}
}

// only is a single line.
func only(exprs ...ruleset.Expr) []conj { return []conj{exprs} }

// to goes to a chain.
func to(chain string) ruleset.Expr { return ruleset.Verdict{Kind: ruleset.Goto, Chain: chain} }

// blockChains refuse what `block` names before conntrack spends anything on it.
func (c *compiler) blockChains() {
	in := c.baseChain(chainRawIn, ruleset.Prerouting, priorityRaw, false)
	add(in, []conj{loopback(ruleset.IIf)}, accept)
	add(in, c.blocked(family.saddr), to(chainBlockIn))

	out := c.baseChain(chainRawOut, ruleset.Output, priorityRaw, false)
	add(out, []conj{loopback(ruleset.OIf)}, accept)
	add(out, c.blocked(family.daddr), to(chainBlockOut))

	// Failsafe is for connections to this host, so transit has no part in it. Where a packet goes is asked last: it costs more than all
	// else here, and a flood is nothing of failsafe's.
	blockIn := c.chain(chainBlockIn)
	if len(c.p.Failsafe) > 0 {
		add(blockIn, product(c.failsafe(false), []conj{here()}), accept)
	}
	c.decide(blockIn, policy.In, policy.ByBlock, true, only(), drop)

	blockOut := c.chain(chainBlockOut)
	add(blockOut, c.failsafe(true), accept)
	c.decide(blockOut, policy.Out, policy.ByBlock, true, only(), drop)

	c.decide(c.chain(chainBlockForward), policy.Forward, policy.ByBlock, true, only(), drop)
}

// CutBit is the bit of a connection's label that says that the connection is cut: none of its packets passes, in either direction. Whoever
// writes the kernel's connection table sets it.
const CutBit = 114

// Cuts tells whether what is compiled of a policy looks at CutBit: where connections are cut when a policy is applied, or a dynamic set
// that rules name gets an entry. What block refuses needs no bit: nothing of it gets as far as a connection.
func Cuts(p *policy.Policy, opt Options) bool {
	return !opt.NoLabels && (p.Cut || slices.ContainsFunc(slices.Concat(p.Lists[:]...), func(r *policy.Rule) bool {
		return slices.ContainsFunc(slices.Concat(r.Match.From.Terms, r.Match.To.Terms), func(t policy.Term) bool { return !t.IsStatic() })
	}))
}

// severed drops what belongs to a connection that was cut, before what is established is accepted. Setting the bit again changes nothing,
// but older kernels, 6.1 for one, make room for labels only where some rule sets one.
func (c *compiler) severed(ch *ruleset.Chain) {
	if Cuts(c.p, c.opt) {
		add(ch, only(ruleset.Label{Bit: CutBit}), ruleset.SetLabel{Bit: CutBit}, drop)
	}
}

// preChain judges what is sent to this host, whoever gets it afterwards. Its policy is to drop, though transit is accepted: a
// chain that ended without a verdict would then close, not open.
func (c *compiler) preChain() {
	base := c.p.Base
	ch := c.baseChain(chainPre, ruleset.Prerouting, priorityJudge, true)
	c.severed(ch)
	c.passing(ch, ruleset.IIf)
	if !base.ReversePath {
		add(ch, toHost(), to(chainBaseIn))
		add(ch, only(), accept)
		return
	}
	add(ch, toHost(), to(chainBasePre))
	if c.p.Transit {
		// Older kernels know the way back in prerouting only, so transit is asked here what else the forward hook asks.
		if base.ICMPErrors {
			add(ch, icmpErrors(), accept)
		}
		if base.Invalid {
			add(ch, only(anyBit(ruleset.CtState, ruleset.StateInvalid)), accept)
		}
		c.decide(ch, policy.Forward, policy.ByReversePath, true, []conj{backwards()}, drop)
	}
	add(ch, only(), accept)

	pre := c.chain(chainBasePre)
	c.baseIn(pre)
	c.decide(pre, policy.In, policy.ByReversePath, true, []conj{backwards()}, drop)
	add(pre, only(), to(chainIn))
}

// passing accepts what most packets are. Established ones are asked for first: no verdict changes by it.
func (c *compiler) passing(ch *ruleset.Chain, iface ruleset.Field) {
	if c.p.Base.Established {
		add(ch, []conj{established()}, accept)
	}
	if c.p.Base.Loopback {
		add(ch, []conj{loopback(iface)}, accept)
	}
}

// inputChain lets in what prerouting has judged, and has the rest judged here: what another table's DNAT has brought, and what
// the routing table did not call this host's.
func (c *compiler) inputChain() {
	ch := c.baseChain(chainInput, ruleset.Input, priorityInput, true)
	c.passing(ch, ruleset.IIf)
	rewritten := uint64(ruleset.StatusDNAT)
	if !c.p.Base.Established {
		// Replies to what another table's SNAT gave a foreign source come back here under that address.
		rewritten |= ruleset.StatusSNAT
	}
	if !c.opt.NoLabels {
		add(ch, only(ruleset.Label{Bit: labelBit}), accept)
	}
	add(ch, only(anyBit(ruleset.CtStatus, rewritten)), to(chainBaseIn))
	add(ch, []conj{here()}, accept)
	add(ch, only(), to(chainBaseIn))

	late := c.chain(chainBaseIn)
	c.baseIn(late)
	add(late, only(), to(chainIn))
}

// baseIn is what stands before the rules of `in`.
func (c *compiler) baseIn(ch *ruleset.Chain) {
	c.decide(ch, policy.In, policy.ByFailsafe, len(c.p.Failsafe) > 0, c.failsafe(false), c.verdict(policy.In, policy.Allow)...)
	c.before(ch, policy.In)
}

// inChain is the rules of `in`.
func (c *compiler) inChain() error {
	ch := c.chain(chainIn)
	lookups, err := c.list(ch, policy.In)
	if lookups {
		c.spread(ch)
	}
	return err
}

// spread puts what stands in a chain in the place of going there, and takes the chain away. It is short where its list is looked up,
// and a level of chains is worth more than its few rules: the kernel follows 16.
func (c *compiler) spread(list *ruleset.Chain) {
	c.rs.Chains = slices.DeleteFunc(c.rs.Chains, func(ch *ruleset.Chain) bool { return ch == list })
	for _, ch := range c.rs.Chains {
		n := len(ch.Rules)
		if n == 0 {
			continue
		}
		if end := ch.Rules[n-1].Exprs; len(end) == 1 && end[0] == to(list.Name) {
			ch.Rules = append(ch.Rules[:n-1:n-1], list.Rules...)
		}
	}
}

// forwardChain judges transit, after other tables' DNAT. Where transit is not judged it only blocks.
func (c *compiler) forwardChain() error {
	ch := c.baseChain(chainForward, ruleset.ForwardHook, priorityForward, c.p.Transit)
	if len(c.p.Block.Terms) > 0 {
		add(ch, c.blocked(family.daddr), to(chainBlockForward))
	}
	if !c.p.Transit {
		return nil
	}
	var admitted conj
	if c.p.Base.Established {
		add(ch, []conj{established()}, accept)
	} else {
		// The label is the connection's, and its replies have not been judged.
		admitted = conj{equal(ruleset.CtDirection, ruleset.Original)}
	}
	if !c.opt.NoLabels {
		add(ch, []conj{and(admitted, conj{ruleset.Label{Bit: labelBit}})}, accept)
	}
	c.before(ch, policy.Forward)
	_, err := c.list(ch, policy.Forward)
	return err
}

// outputChain judges what sockets of this host send.
func (c *compiler) outputChain() error {
	ch := c.baseChain(chainOutput, ruleset.Output, priorityJudge, true)
	c.severed(ch)
	c.passing(ch, ruleset.OIf)
	if !c.p.Base.Established {
		replies := product(only(anyBit(ruleset.CtState, ruleset.StateEstablished)), c.failsafe(true))
		c.decide(ch, policy.Out, policy.ByFailsafe, len(c.p.Failsafe) > 0, replies, accept)
	}
	c.before(ch, policy.Out)
	_, err := c.list(ch, policy.Out)
	return err
}

// list adds the rules of a list to a chain, and the default; it tells whether the list is looked up.
func (c *compiler) list(ch *ruleset.Chain, dir policy.Dir) (lookups bool, err error) {
	if lookups, err = c.classify(ch, c.p.Lists[dir]); err != nil {
		return lookups, err
	}
	c.decide(ch, dir, policy.ByDefault, true, only(), c.verdict(dir, c.p.Defaults[dir])...)
	return lookups, nil
}
