package policy

// The codes of lints: warnings about a policy that is valid. A rule's `ignore` takes any of them. Load finds those
// that need the policy's text, package check the others.
const (
	LintHostBits       = "host-bits"           // a prefix with bits set below its length
	LintSubtracted     = "subtracted"          // an item that `not` in the same list takes away whole
	LintEmptyAddresses = "empty-addresses"     // addresses that come to nothing
	LintNearMiss       = "interface-near-miss" // an interface that looks like a misspelt group
	LintNeverMatches   = "never-matches"       // a rule that earlier ones cover, or whose match is empty
	LintNoEffect       = "no-effect"           // a rule without which nothing changes
	LintContradiction  = "contradiction"       // two rules that overlap and disagree
	LintDefeatsDeny    = "defeats-deny"        // an `allow` that leaves nothing to a later `deny`
	LintUnused         = "unused"              // a set, service or interface group that nothing names
	LintExpired        = "expired"             // a rule whose day has come
	LintExpiresSoon    = "expires-soon"        // a rule whose day comes within two weeks
	LintDenyExpires    = "deny-expires"        // a `deny` or `reject` that opens by itself
	LintOpenAdminPort  = "open-admin-port"     // an administrative port open to all without a word
	LintDefaultAllow   = "default-allow"       // a default of `allow` for `in` or `forward`
	LintBlocksOwn      = "blocks-own"          // a `block` that holds loopback, private or link-local addresses
	LintSourcePort     = "source-port"         // an `allow` that believes a source port
	LintOneFamily      = "one-family"          // what is open in one family and closed in the other
	LintNoSSH          = "no-ssh"              // neither `failsafe` nor a rule admits SSH
	LintUndecidedTest  = "undecided-test"      // a test that no rule decides
	LintGuests         = "guests"              // a bridge whose guests can't ask this host for anything
	LintNotDecided     = "not-decided"         // no finding: how far the analysis of the rules came
)

// LintCodes is every code that `ignore` takes.
func LintCodes() []string {
	return []string{
		LintHostBits, LintSubtracted, LintEmptyAddresses, LintNearMiss, LintNeverMatches, LintNoEffect, LintContradiction,
		LintDefeatsDeny, LintUnused, LintExpired, LintExpiresSoon, LintDenyExpires, LintOpenAdminPort, LintDefaultAllow,
		LintBlocksOwn, LintSourcePort, LintOneFamily, LintNoSSH, LintUndecidedTest, LintGuests, LintNotDecided,
	}
}
