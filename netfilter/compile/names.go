package compile

import (
	"ringwall/rules/policy"
	"strings"
)

// Names in the kernel. A rule's chain, counter and log prefix are LIST.ID; what else belongs to it follows a slash, which no id
// holds. Everything that is no rule's begins with another word than a list's.

// ChainName is the name of a rule's chain, of its counter, and its log prefix. nft reads no tilde, so the number of one of
// several equal rules follows a slash.
func ChainName(r *policy.Rule) string {
	return r.List.String() + "." + strings.ReplaceAll(r.ID, "~", "/")
}

// ParseName is the list and the id of the rule whose chain, counter or log prefix has that name, or to which what has it
// belongs, such as the counter of what was over its limit; false where it is no rule's.
func ParseName(name string) (dir policy.Dir, id string, ok bool) {
	list, rest, found := strings.Cut(name, ".")
	for _, d := range policy.Dirs {
		if !found || d.String() != list || rest == "" {
			continue
		}
		parts := strings.Split(rest, "/")
		if len(parts) > 1 && parts[1] != "" && strings.Trim(parts[1], "0123456789") == "" {
			parts[0] += "~" + parts[1]
		}
		return d, parts[0], true
	}
	return 0, "", false
}

// OverCounter counts what a rule dropped because it was over its limit, of rates or connections.
func OverCounter(r *policy.Rule) string { return ChainName(r) + "/over" }

// FullCounter counts what a rule admitted although its source could not be tracked.
func FullCounter(r *policy.Rule) string { return ChainName(r) + "/full" }

// BaseCounter counts what something before or after the rules of a list decided. By is a name such as policy.ByNeighbour or
// policy.ByDefault. Loopback and established packets are not counted: they are most of all packets.
func BaseCounter(dir policy.Dir, by string) string { return "base." + dir.String() + "." + by }

// DynamicSet is the kernel's name of a family's half of a dynamic set.
func DynamicSet(name string, v6 bool) string { return familyOf(v6).set("dyn", name) }

// The base chains, and those that stand between them and the rules.
const (
	chainRawIn   = "raw-in"
	chainRawOut  = "raw-out"
	chainPre     = "pre"
	chainInput   = "input"
	chainForward = "forward"
	chainOutput  = "output"

	chainBlockIn      = "block.in"
	chainBlockOut     = "block.out"
	chainBlockForward = "block.forward"
	chainBaseIn       = "base.in"     // what stands before the rules, for packets from the input hook
	chainBasePre      = "base.in-pre" // the same with the reverse path, for packets from prerouting; where that is on
	chainIn           = "in"          // the rules of `in`, and the default
	chainReject       = "base.reject" // the word alone is nft's
)

// otherChain is the chain for what is not TCP of what stands before the rules in a chain.
func otherChain(name string) string { return name + "/other" }
