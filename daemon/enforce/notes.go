package enforce

import (
	"fmt"
	"slices"
	"strings"

	"ringwall/netfilter/host"
	"ringwall/rules/policy"
)

// noteInterfaces notes the interfaces that rules name and that the host does not have. They need not exist yet, so
// this is no finding about the policy.
func (e *Enforcer) noteInterfaces(p *policy.Policy, r *Report) {
	present, err := e.host.Interfaces()
	if err != nil {
		r.note("interfaces can't be listed: " + err.Error())
		return
	}
	seen := map[policy.Pattern]bool{}
	for _, list := range p.Lists {
		for _, rule := range list {
			m := &rule.Match
			for _, pattern := range slices.Concat(m.IIf.Yes, m.IIf.No, m.OIf.Yes, m.OIf.No) {
				if seen[pattern] || strings.HasSuffix(string(pattern), "*") {
					continue
				}
				seen[pattern] = true
				if !slices.ContainsFunc(present, func(i host.Interface) bool { return pattern.Matches(i.Name) }) {
					r.note(fmt.Sprintf("interface %s is not present (%s)", pattern, rule.At.Short()))
				}
			}
		}
	}
}
