package kernel

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

// operation is one step of a Change.
type operation interface {
	// encode adds the messages that do it.
	encode(b *batch, h handles)
	fmt.Stringer
	count(*Counts)
}

// handles are the kernel's numbers of the rules that a chain had before the change, in order.
type handles map[string][]uint64

// at is the handle of a chain's rule.
func (h handles) at(chain string, index int) uint64 { return h[chain][index] }

type (
	addChain   struct{ chain *ruleset.Chain }
	setPolicy  struct{ chain *ruleset.Chain }
	delChain   struct{ name string }
	flushChain struct {
		name  string
		rules int
	}
	addRule struct {
		chain  string
		rule   *ruleset.Rule
		before int // index of the old rule that follows it, -1 for the end of the chain
	}
	delRule struct {
		chain string
		index int // in the chain as it was
		rule  *ruleset.Rule
	}
	addSet   struct{ set *ruleset.Set }
	delSet   struct{ name string }
	emptySet struct{ name string }
	// editSet adds ranges to a set or takes them out of it.
	editSet struct {
		set *ruleset.Set
		del bool
		v4  []addrset.Range[addrset.U32]
		v6  []addrset.Range[addrset.U128]
	}
	// fillSet puts back what a dynamic set held before it was made anew.
	fillSet struct {
		set   *ruleset.Set
		spans []span
	}
	addCounter struct{ counter ruleset.Counter }
	delCounter struct{ name string }
	addLimit   struct{ limit ruleset.LimitObject }
	delLimit   struct{ name string }
)

func (o addChain) encode(b *batch, _ handles)  { b.addChain(o.chain) }
func (o setPolicy) encode(b *batch, _ handles) { b.setPolicy(o.chain) }
func (o delChain) encode(b *batch, _ handles)  { b.delChain(o.name) }
func (o flushChain) encode(b *batch, _ handles) {
	b.flushChain(o.name)
}

func (o addRule) encode(b *batch, h handles) {
	var before uint64
	if o.before >= 0 {
		before = h.at(o.chain, o.before)
	}
	b.addRule(o.chain, o.rule, before)
}

func (o delRule) encode(b *batch, h handles) {
	b.delRule(subject{"delete rule", ruleName(o.chain, o.rule)}, o.chain, h.at(o.chain, o.index))
}

func (o addSet) encode(b *batch, _ handles)   { b.addSet(o.set) }
func (o delSet) encode(b *batch, _ handles)   { b.delSet(o.name) }
func (o emptySet) encode(b *batch, _ handles) { b.flushSet(o.name) }

func (o editSet) encode(b *batch, _ handles) {
	to := elementList{
		set: o.set.Name, interval: o.set.Interval, about: subject{"add elements of set", o.set.Name},
		msg: unix.NFT_MSG_NEWSETELEM, flags: unix.NLM_F_CREATE,
	}
	if o.del {
		to.about.op, to.msg, to.flags = "delete elements of set", unix.NFT_MSG_DELSETELEM, 0
	}
	if o.set.V6 {
		addAddresses(b, to, o.v6, o.set.Length)
	} else {
		addAddresses(b, to, o.v4, o.set.Length)
	}
}

func (o fillSet) encode(b *batch, _ handles) { b.spans(o.set, false, o.spans, unix.NLM_F_CREATE) }

func (o addCounter) encode(b *batch, _ handles) { b.addCounter(o.counter) }
func (o delCounter) encode(b *batch, _ handles) {
	b.delObject("delete counter", o.name, unix.NFT_OBJECT_COUNTER)
}
func (o addLimit) encode(b *batch, _ handles) { b.addLimit(o.limit) }
func (o delLimit) encode(b *batch, _ handles) {
	b.delObject("delete limit", o.name, unix.NFT_OBJECT_LIMIT)
}

func (o addChain) String() string   { return "add chain " + o.chain.Name }
func (o setPolicy) String() string  { return "set policy of chain " + o.chain.Name }
func (o delChain) String() string   { return "delete chain " + o.name }
func (o flushChain) String() string { return "flush chain " + o.name }
func (o addRule) String() string    { return "add rule " + ruleName(o.chain, o.rule) }
func (o delRule) String() string    { return "delete rule " + ruleName(o.chain, o.rule) }
func (o addSet) String() string     { return "add set " + o.set.Name }
func (o delSet) String() string     { return "delete set " + o.name }
func (o emptySet) String() string   { return "flush set " + o.name }

func (o editSet) String() string {
	verb := "add"
	if o.del {
		verb = "delete"
	}
	return fmt.Sprintf("%s %s of set %s", verb, plural(len(o.v4)+len(o.v6), "range"), o.set.Name)
}

func (o fillSet) String() string {
	return fmt.Sprintf("put back %s of set %s", plural(len(o.spans), "element"), o.set.Name)
}
func (o addCounter) String() string { return "add counter " + o.counter.Name }
func (o delCounter) String() string { return "delete counter " + o.name }
func (o addLimit) String() string   { return "add limit " + o.limit.Name }
func (o delLimit) String() string   { return "delete limit " + o.name }

func (o addChain) count(c *Counts)   { c.ChainsAdded++ }
func (o setPolicy) count(c *Counts)  { c.Policies++ }
func (o delChain) count(c *Counts)   { c.ChainsRemoved++ }
func (o flushChain) count(c *Counts) { c.RulesRemoved += o.rules }
func (o addRule) count(c *Counts)    { c.RulesAdded++ }
func (o delRule) count(c *Counts)    { c.RulesRemoved++ }
func (o addSet) count(c *Counts)     { c.SetsAdded++ }
func (o delSet) count(c *Counts)     { c.SetsRemoved++ }
func (o emptySet) count(*Counts)     {}
func (o editSet) count(c *Counts) {
	if o.del {
		c.ElemsRemoved += len(o.v4) + len(o.v6)
	} else {
		c.ElemsAdded += len(o.v4) + len(o.v6)
	}
}
func (o fillSet) count(*Counts)      {}
func (o addCounter) count(c *Counts) { c.CountersAdded++ }
func (o delCounter) count(c *Counts) { c.CountersRemoved++ }
func (o addLimit) count(c *Counts)   { c.LimitsAdded++ }
func (o delLimit) count(c *Counts)   { c.LimitsRemoved++ }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "y"); ok {
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
