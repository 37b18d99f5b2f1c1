package ruleset

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// The kernel's and nft's bounds.
const (
	MaxComment   = 128 // bytes of a comment
	MaxLogPrefix = 127 // bytes of a log prefix
	maxDepth     = 16  // chains that may follow one another, the base chain among them
	maxLabel     = 127 // the last bit of a connection's label
)

// Check tells whether the kernel would take the rule set, as far as can be seen without it: that names are unique and what is
// referred to exists, that values have their sizes, that chains do not go in circles or too deep, and that no field is loaded of a
// packet that has another in its place: what a field needs is asked before it in its rule, or on every way to its chain. What it finds is
// a mistake of whoever made the rule set, never of a policy.
func (r *Ruleset) Check() error {
	c := checker{
		chains: make(map[string]*checked, len(r.Chains)), sets: make(map[string]*Set), maps: make(map[string]*Map, len(r.Maps)),
		counters: make(map[string]bool, len(r.Counters)), limits: make(map[string]bool), mapDepths: make(map[string]int),
		number: -1,
	}
	for _, s := range r.Sets {
		c.unique("set", s.Name, c.sets[s.Name] != nil)
		c.sets[s.Name] = s
		c.set(s)
	}
	for _, m := range r.Maps {
		// The kernel has one space of names for both.
		c.unique("map", m.Name, c.maps[m.Name] != nil || c.sets[m.Name] != nil)
		c.maps[m.Name] = m
		c.checkMap(m)
	}
	for _, o := range r.Counters {
		c.unique("counter", o.Name, c.counters[o.Name])
		c.counters[o.Name] = true
	}
	for _, o := range r.Limits {
		c.unique("limit", o.Name, c.limits[o.Name])
		c.limits[o.Name] = true
		c.rate(o.Rate)
	}
	for _, ch := range r.Chains {
		c.unique("chain", ch.Name, c.chains[ch.Name] != nil)
		c.chains[ch.Name] = &checked{Chain: ch}
	}
	for _, m := range r.Maps {
		c.kind, c.name = "map", m.Name
		for _, e := range m.Elems {
			c.verdict(e.Verdict)
		}
	}
	for _, ch := range r.Chains {
		c.kind, c.name = "chain", ch.Name
		for i, rule := range ch.Rules {
			c.number = i
			c.rule(rule)
		}
		c.number = -1
	}
	if c.errs == nil {
		for _, ch := range r.Chains {
			c.kind, c.name = "chain", ch.Name
			if d := c.depth(c.chains[ch.Name]); ch.Hook != nil && d > maxDepth {
				c.failf("%d chains follow one another, and the kernel allows %d", d, maxDepth)
			}
		}
	}
	if c.errs == nil {
		c.needs(r)
	}
	return errors.Join(c.errs...)
}

// checker is a check under way.
type checker struct {
	kind      string // of what is looked at
	name      string
	number    int // of the rule that is looked at in there, -1 for none
	errs      []error
	chains    map[string]*checked
	sets      map[string]*Set
	maps      map[string]*Map
	counters  map[string]bool
	limits    map[string]bool
	mapDepths map[string]int
}

// checked is a chain, and the number of chains on the longest way from it on, itself included: 0 before that is known, -1 while it is
// being found.
type checked struct {
	*Chain
	depth int
}

func (c *checker) failf(format string, args ...any) {
	at := c.kind + " " + c.name
	if c.number >= 0 {
		at = fmt.Sprintf("%s, rule %d", at, c.number)
	}
	c.errs = append(c.errs, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}

// unique checks the name of an object, whose kind is also the place of what is found in it.
func (c *checker) unique(kind, name string, taken bool) {
	c.kind, c.name = kind, name
	if taken {
		c.failf("it is there twice")
	}
	if !isIdentifier(name) {
		c.failf("nft does not read such a name")
	}
}

// isIdentifier tells whether nft reads a name without quotes.
func isIdentifier(name string) bool {
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !(r >= '0' && r <= '9') && r != '/' && r != '\\' && r != '_' && r != '.' && r != '-') {
			return false
		}
	}
	return name != "" && len(name) < 256
}

func (c *checker) set(s *Set) {
	if s.V6 && !s.Elems4.IsEmpty() || !s.V6 && !s.Elems6.IsEmpty() {
		c.failf("it holds addresses of the other family")
	}
	if s.Dynamic && s.Elems4.Len()+s.Elems6.Len() > 0 {
		c.failf("it is dynamic and has elements")
	}
	if s.Length != 0 && (s.Dynamic || s.Interval) {
		c.failf("it holds prefixes of one length and is dynamic or of ranges")
	}
	if s.Packets && !s.Dynamic {
		c.failf("packets fill it and it is not dynamic")
	}
	if s.Timeout != 0 && !s.Timed {
		c.failf("it has a timeout and is not timed")
	}
	if len(s.Comment) > MaxComment {
		c.failf("the comment is longer than %d bytes", MaxComment)
	}
}

func (c *checker) rate(r Rate) {
	if !slices.Contains([]uint64{1, 60, 3600, 86400}, r.Unit) || r.Packets == 0 || r.Burst == 0 {
		c.failf("the kernel has no rate of %d in %d seconds, burst %d", r.Packets, r.Unit, r.Burst)
	}
}

func (c *checker) rule(r *Rule) {
	if len(r.Comment) > MaxComment {
		c.failf("the comment is longer than %d bytes", MaxComment)
	}
	if len(r.Exprs) == 0 {
		c.failf("it says nothing")
	}
	for i, e := range r.Exprs {
		switch e := e.(type) {
		case Cmp:
			c.field(e.Field)
			c.mask(e.Field, e.Mask)
			c.value(e.Field, e.Value)
			if e.Wildcard && (!e.Field.IsName() || len(e.Value) == 0 || e.Op > Ne) {
				c.failf("%s has no wildcard", e.Field)
			}
		case In:
			c.field(e.Field)
			c.intervals(e.Field, e.Elems)
		case Lookup:
			c.field(e.Field)
			c.mask(e.Field, e.Mask)
			c.holder(e.Set, e.Field)
			c.length(e)
		case VMap:
			c.field(e.Field)
			elems := make([]Interval, len(e.Elems))
			for i, el := range e.Elems {
				elems[i] = el.Interval
				c.verdict(el.Verdict)
			}
			c.intervals(e.Field, elems)
		case VMapRef:
			c.vmapRef(e)
		case Count:
			if !c.counters[e.Counter] {
				c.failf("there is no counter %q", e.Counter)
			}
		case LimitRef:
			if !c.limits[e.Limit] {
				c.failf("there is no limit %q", e.Limit)
			}
		case Limit:
			c.rate(e.Rate)
		case ConnLimit:
		case Meter:
			c.field(e.Field)
			c.mask(e.Field, e.Mask)
			c.meter(e)
		case Log:
			if len(e.Prefix) > MaxLogPrefix {
				c.failf("the log prefix is longer than %d bytes", MaxLogPrefix)
			}
		case SetLabel:
			c.label(e.Bit)
		case Label:
			c.label(e.Bit)
		case Reject:
			c.last(r, i)
		case Verdict:
			c.last(r, i)
			c.verdict(e)
		default:
			c.failf("an expression %T is not known", e)
		}
	}
}

func (c *checker) last(r *Rule, i int) {
	if i != len(r.Exprs)-1 {
		c.failf("something follows its end")
	}
}

func (c *checker) label(bit uint8) {
	if bit > maxLabel {
		c.failf("a label has no bit %d", bit)
	}
}

func (c *checker) verdict(v Verdict) {
	named := v.Kind == Jump || v.Kind == Goto
	switch to := c.chains[v.Chain]; {
	case named && to == nil:
		c.failf("there is no chain %q", v.Chain)
	case named && to.Hook != nil:
		c.failf("chain %s is a base chain", v.Chain)
	case !named && v.Chain != "":
		c.failf("a verdict that goes nowhere names chain %q", v.Chain)
	}
}

// holder checks a set that a field is looked up in.
func (c *checker) holder(name string, f Field) {
	i, _ := f.info()
	s := c.sets[name]
	if s == nil {
		c.failf("there is no set %q", name)
	} else if i.form != address || s.V6 != (i.size == 16) {
		c.failf("set %s cannot hold %s", name, f)
	}
}

// length checks that a set of prefixes is asked under their mask.
func (c *checker) length(l Lookup) {
	if s := c.sets[l.Set]; s != nil && s.Length != 0 {
		if ones, ok := prefixLength(l.Mask); !ok || ones != s.Length {
			c.failf("set %s holds prefixes of %d bits, and is asked with another mask", l.Set, s.Length)
		}
	}
}

func (c *checker) meter(m Meter) {
	c.holder(m.Set, m.Field)
	s := c.sets[m.Set]
	switch {
	case s == nil:
	case !s.Packets || s.Interval:
		c.failf("packets cannot add to set %s", m.Set)
	case (m.Rate == nil) == (m.Conns == nil):
		c.failf("the meter of set %s needs either a rate or a number of connections", m.Set)
	case m.Rate != nil && !s.Timed:
		c.failf("set %s keeps rates and its elements do not expire", m.Set)
	case m.Rate != nil:
		c.rate(*m.Rate)
	}
}

func (c *checker) mask(f Field, mask []byte) {
	if mask != nil && (f.IsName() || len(mask) != f.Size()) {
		c.failf("a mask of %d bytes for %s", len(mask), f)
	}
}

func (c *checker) value(f Field, v []byte) {
	if len(v) != f.Size() && !f.IsName() || f.IsName() && len(v) >= f.Size() {
		c.failf("a value of %d bytes for %s", len(v), f)
	}
}

func (c *checker) intervals(f Field, elems []Interval) {
	if len(elems) == 0 {
		c.failf("a set of %s without elements", f)
	}
	for i, e := range elems {
		c.value(f, e.Lo)
		c.value(f, e.Hi)
		if bytes.Compare(e.Lo, e.Hi) > 0 || i > 0 && bytes.Compare(elems[i-1].Hi, e.Lo) >= 0 {
			c.failf("the elements of a set of %s are out of order", f)
		}
		if f.IsName() && !bytes.Equal(e.Lo, e.Hi) {
			c.failf("a range of names")
		}
	}
}

func (c *checker) field(f Field) {
	if _, ok := f.info(); !ok {
		c.failf("%s is not known", f)
	}
}

// needs checks that fields are there to be loaded, of a rule set that is sound but for that.
func (c *checker) needs(r *Ruleset) {
	flow := newFlow(r)
	for _, ch := range r.Chains {
		c.kind, c.name = "chain", ch.Name
		known := flow.chains[ch.Name].known
		for i, rule := range ch.Rules {
			c.number = i
			k := known
			for _, e := range rule.Exprs {
				switch e := e.(type) {
				case Cmp:
					c.need(e.Field, &k)
				case In:
					c.need(e.Field, &k)
				case Lookup:
					c.need(e.Field, &k)
				case VMap:
					c.need(e.Field, &k)
				case Meter:
					c.need(e.Field, &k)
				case VMapRef:
					k.and(&flow.maps[e.Map].keys)
					for _, key := range e.Keys {
						c.need(key.Field, &k)
					}
				}
				k.ask(e)
			}
		}
		c.number = -1
	}
}

// need checks that what a field needs is known.
func (c *checker) need(f Field, k *known) {
	i, _ := f.info()
	for j := range i.needs {
		if n := &i.needs[j]; !k.meets(n) {
			c.failf("%s without %s before it", f, n.field)
		}
	}
}

// depth is the number of chains on the longest way from a chain on, itself included.
func (c *checker) depth(ch *checked) int {
	if ch.depth != 0 {
		if ch.depth < 0 {
			c.failf("it leads back to itself")
		}
		return ch.depth
	}
	ch.depth = -1
	deepest := 0
	for _, r := range ch.Rules {
		for _, e := range r.Exprs {
			switch e := e.(type) {
			case Verdict:
				deepest = max(deepest, c.depthOf(e))
			case VMap:
				for _, el := range e.Elems {
					deepest = max(deepest, c.depthOf(el.Verdict))
				}
			case VMapRef:
				deepest = max(deepest, c.mapDepth(e.Map))
			}
		}
	}
	ch.depth = deepest + 1
	return ch.depth
}

// depthOf is the number of chains on the longest way that a verdict begins.
func (c *checker) depthOf(v Verdict) int {
	if v.Kind != Jump && v.Kind != Goto {
		return 0
	}
	return c.depth(c.chains[v.Chain])
}
