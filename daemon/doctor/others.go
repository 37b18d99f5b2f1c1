package doctor

import (
	"fmt"
	"strings"

	"ringwall/netfilter/neighbours"
)

// others says which chains of others can refuse what Ringwall admits, or lead packets past it.
func others(chains []neighbours.Chain) (out []Finding) {
	left := map[string]bool{}
	for i := range chains {
		c := &chains[i]
		if c.Own || c.Dormant {
			continue
		}
		about := fmt.Sprintf("%s (%s, priority %d%s)", c, c.Hook, c.Priority, onDevices(c.Devices))
		if len(c.Refuses) > 0 {
			f := problem(about, "can still refuse what Ringwall admits: "+some(c.Refuses), c.Advice()...)
			f.Problem = !c.Intended()
			out = append(out, f)
		}
		for _, d := range c.Past {
			out = append(out, past(about, d, c))
		}
		if !left[c.Table] && neighbours.Leftover(chains, c.Table) {
			left[c.Table] = true
			out = append(out, note("table "+c.Table, "has chains of ufw that refuse nothing: they are left over", "nothing; they go with the next boot"))
		}
	}
	return out
}

func onDevices(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ", on " + strings.Join(names, ", ")
}

// some is the first few deeds as text.
func some(list []neighbours.Deed) string {
	const few = 4
	var words []string
	for i, d := range list {
		if i == few && len(list) > few+1 {
			words = append(words, fmt.Sprintf("and %d more", len(list)-few))
			break
		}
		words = append(words, d.String())
	}
	return strings.Join(words, ", ")
}

// past says what it means that a chain leads packets past Ringwall, or changes what it sees.
func past(about string, d neighbours.Deed, c *neighbours.Chain) Finding {
	text, do := "", c.Advice()
	switch d.What {
	case "notrack":
		text = "takes packets out of connection tracking before Ringwall sees them: none of them is established, so that rules must admit both directions"
	case "dnat":
		text = "changes destinations before Ringwall sees them: `in` judges the changed ones, not those that the sender wrote"
		do = append(do, "give its chain the usual priority of such chains, -100 (dstnat) or above")
	case "flow offload":
		text = "lets the packets of connections that were admitted once pass by the hooks: a stricter policy does not stop those that are open"
	case "fwd":
		text = "sends packets out by another device before any firewall sees them"
	}
	f := problem(about, text+": "+d.String(), do...)
	f.Problem = !c.Intended() || len(c.Owners) == 0
	return f
}

// Device is an interface where programs can see packets before any firewall does.
type Device struct {
	Name string
	XDP  bool // a program in the driver, or as if it were there
	TC   bool // a filter of traffic control on what arrives
}

// devices says where programs see packets before any firewall.
func devices(list []Device) (out []Finding) {
	for _, d := range list {
		if d.XDP {
			out = append(out, note("interface "+d.Name, "an XDP program sees what arrives before any firewall, and may drop it or pass it on: it can't be told which", "`ip link show dev "+d.Name+"`, `bpftool net` say which program"))
		}
		if d.TC {
			out = append(out, note("interface "+d.Name, "filters of traffic control see what arrives before any firewall, and may drop it or pass it on", "`tc filter show dev "+d.Name+" ingress` lists them"))
		}
	}
	return out
}
