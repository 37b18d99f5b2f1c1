package compile

import "ringwall/netfilter/ruleset"

// brief is from how many lines on the tests of a structure leave out the family that is known where they stand. nft shows an address by
// its name only in a rule that asks for the family, so tests keep it in structures that people read. Of thousands of lines it would be a
// tenth of the kernel's memory, and of what a packet costs.
func (o Options) brief() int {
	if o.Brief != 0 {
		return o.Brief
	}
	return 4096
}

// trim leaves out of structures what is known of every packet that comes there.
func (c *compiler) trim() {
	if len(c.structures) == 0 {
		return
	}
	c.rs.Trim(func(ch *ruleset.Chain, r *ruleset.Rule, f ruleset.Field) bool {
		t, of := c.structures[ch]
		return of && (f == ruleset.L4Proto || len(t.lines) >= c.opt.brief()) && loadsBack(r, f)
	})
}

// loadsBack tells whether nft loads what it lists of a rule that does not ask for the family, or for the protocol, as it is. It takes an
// address for a number then, which is in no set or map of addresses, a type of ICMP for a number, too, and two ports for one.
func loadsBack(r *ruleset.Rule, f ruleset.Field) bool {
	ports := 0
	for _, e := range r.Exprs {
		var loads ruleset.Field
		switch e := e.(type) {
		case ruleset.Cmp:
			loads = e.Field
		case ruleset.In:
			loads = e.Field
			if f == ruleset.NFProto && loads.Size() >= 4 && len(e.Elems) > 1 {
				return false
			}
		case ruleset.Lookup, ruleset.Meter, ruleset.VMapRef:
			if f == ruleset.NFProto {
				return false
			}
		}
		switch loads {
		case ruleset.ICMPType, ruleset.ICMPCode, ruleset.ICMP6Type, ruleset.ICMP6Code:
			return false
		case ruleset.Sport, ruleset.Dport:
			if ports++; f == ruleset.L4Proto && ports > 1 {
				return false
			}
		}
	}
	return true
}
