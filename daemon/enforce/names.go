package enforce

import "ringwall/rules/policy"

// RuleName is the name of a rule's chain and counter, and the first word of its log prefix: "in.ssh-admins".
func RuleName(r *policy.Rule) string { return r.List.String() + "." + r.ID }

// baseCounter is the counter of what stands before or after the rules of a list.
func baseCounter(dir policy.Dir, key string) string { return "base." + dir.String() + "." + key }

// blockCounters are the counters of block.
func blockCounters() []string { return []string{"raw.block", "base.forward.block"} }

// dynamicSet is the kernel's set of one family of a dynamic set.
func dynamicSet(name string, six bool) string {
	if six {
		return "dyn6." + name
	}
	return "dyn4." + name
}
