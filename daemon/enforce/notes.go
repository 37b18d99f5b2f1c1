package enforce

import (
	"fmt"
	"slices"
	"strings"

	"ringwall/netfilter/host"
	"ringwall/rules/policy"
)

// noteInterfaces notes the interfaces that rules name and that the host does not have. They need not exist yet, so
// this is no finding about the policy. A policy that names none asks the host nothing.
func (e *Enforcer) noteInterfaces(p *policy.Policy, r *Report) {
	first := map[policy.Pattern]*policy.Rule{}
	var named []policy.Pattern
	for _, list := range p.Lists {
		for _, rule := range list {
			m := &rule.Match
			for _, pattern := range slices.Concat(m.IIf.Yes, m.IIf.No, m.OIf.Yes, m.OIf.No) {
				if first[pattern] == nil && !strings.HasSuffix(string(pattern), "*") {
					first[pattern] = rule
					named = append(named, pattern)
				}
			}
		}
	}
	if len(named) == 0 {
		return
	}
	present, err := e.host.Interfaces()
	if err != nil {
		r.note("interfaces can't be listed: " + err.Error())
		return
	}
	for _, pattern := range named {
		if !slices.ContainsFunc(present, func(i host.Interface) bool { return pattern.Matches(i.Name) }) {
			r.note(fmt.Sprintf("interface %s is not present (%s)", pattern, first[pattern].At.Short()))
		}
	}
}

// InterfaceName is the name of the device with an index in the Enforcer's network namespace, empty where there is none.
// It may be called beside the Enforcer's other methods.
func (e *Enforcer) InterfaceName(index uint32) string {
	name, err := e.host.InterfaceName(int(index))
	if err != nil {
		return ""
	}
	return name
}
