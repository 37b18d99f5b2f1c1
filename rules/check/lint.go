package check

import (
	"slices"
	"strings"
	"time"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// soon is how long before its day a rule that expires is reported, in seconds.
const soon = 14 * 86400

// Lint finds what a valid policy probably should not have. The findings are warnings, with the codes of package
// policy, and remarks on what could not be decided; what a rule ignores is left out. Now is in Unix seconds; 0 leaves
// out what depends on it. Load finds the lints that need a policy's text, LintHost those that need a host.
func Lint(p *policy.Policy, now int64) diag.List {
	l := &linter{Policy: p, now: now}
	l.unused()
	l.defaults()
	l.blocked()
	l.analyse()
	l.lockedOut()
	for _, dir := range policy.Dirs {
		for _, r := range p.Lists[dir] {
			l.expiry(r)
			l.familyless(r)
			l.sourcePort(r)
		}
	}
	for _, r := range p.Lists[policy.In] {
		l.adminPorts(r)
	}
	l.oneFamily()
	l.undecidedTests()
	l.diags.Sort()
	return l.diags
}

// linter is one Lint under way.
type linter struct {
	*policy.Policy
	now   int64
	diags diag.List
	dead  map[*policy.Rule]bool // rules that never decide
}

// warn reports something about a rule, nil where the rule ignores it.
func (l *linter) warn(r *policy.Rule, code, format string, args ...any) *diag.Diagnostic {
	if slices.Contains(r.Ignore, code) {
		return new(diag.Diagnostic) // written to, and forgotten
	}
	return l.diags.Warnf(r.At, code, format, args...)
}

// unused reports names that nothing uses.
func (l *linter) unused() {
	for name, s := range l.Sets {
		if !s.Used {
			l.diags.Warnf(s.At, policy.LintUnused, "set %q is not used", name)
		}
	}
	for name, s := range l.Services {
		if !s.Used {
			l.diags.Warnf(s.At, policy.LintUnused, "service %q is not used", name)
		}
	}
	for name, g := range l.Interfaces {
		if !g.Used {
			l.diags.Warnf(g.At, policy.LintUnused, "interface group %q is not used", name)
		}
	}
}

// lockedOut reports a policy under which nobody can log in.
func (l *linter) lockedOut() {
	if l.Defaults[policy.In] == policy.Allow {
		return
	}
	ssh := l.ssh()
	opens := func(m *policy.Match) bool {
		w := reach(m)
		return w.V4.Overlaps(ssh) || w.V6.Overlaps(ssh)
	}
	for _, f := range l.Failsafe {
		if opens(&policy.Match{What: f.What, From: f.From, To: policy.AnyAddrs(), Sport: addrset.All[addrset.U16]()}) {
			return
		}
	}
	for _, r := range l.Lists[policy.In] {
		if r.Action.Verdict == policy.Allow && !l.dead[r] && opens(&r.Match) {
			return
		}
	}
	at := diag.Span{Pos: diag.Pos{File: l.Entry, Line: 1, Col: 1}, Len: 1}
	l.diags.Warnf(at, policy.LintNoSSH, "neither `failsafe` nor a rule admits SSH").
		WithHint("write for example `failsafe: {ssh: 203.0.113.0/24}`; for another port than 22, with a service that has `ssh` in its name")
}

// ssh is where SSH may listen: port 22, and the TCP ports of services of the policy that are named after it.
func (l *linter) ssh() addrset.Set[addrset.U32] {
	tcp := addrset.Between(policy.Key(policy.ProtoTCP, 0), policy.Key(policy.ProtoTCP, 1<<16-1))
	ports := addrset.One(policy.Key(policy.ProtoTCP, 22))
	for name, s := range l.Services {
		if strings.Contains(strings.ToLower(name), "ssh") {
			ports = ports.Union(s.What.V4.Union(s.What.V6).Intersect(tcp))
		}
	}
	return ports
}

// defaults reports what is open unless a rule closes it.
func (l *linter) defaults() {
	if l.Defaults[policy.In] == policy.Allow {
		l.diags.Warnf(l.DefaultsAt[policy.In], policy.LintDefaultAllow, "what no rule matches may come in").
			WithHint("write `in: deny` and rules for what may")
	}
	if l.Transit && l.Defaults[policy.Forward] == policy.Allow {
		l.diags.Warnf(l.DefaultsAt[policy.Forward], policy.LintDefaultAllow, "what no rule matches may pass through").
			WithHint("write `forward: deny` and rules for what may")
	}
}

// blocked reports a block list that holds what a host needs. Well-known public lists hold private ranges.
func (l *linter) blocked() {
	block := l.Block.Static()
	for _, s := range policy.BuiltinSets() {
		if s.Name == "multicast" {
			continue
		}
		own := s.Addrs.Static()
		if block.V4.Overlaps(own.V4) || block.V6.Overlaps(own.V6) {
			l.diags.Warnf(l.BlockAt, policy.LintBlocksOwn, "`block` holds %s addresses", s.Name).
				WithHint("put them into a set of their own and subtract that, or write `not %s`", s.Name)
		}
	}
}

// expiry reports rules whose day has come or comes soon, and those that open something by going.
func (l *linter) expiry(r *policy.Rule) {
	if r.Expires == 0 {
		return
	}
	day := time.Unix(r.Expires, 0).UTC().Format(time.DateOnly)
	switch {
	case l.now == 0:
	case l.now >= r.Expires:
		l.warn(r, policy.LintExpired, "rule %q expired on %s", r.ID, day).WithHint("remove it")
	case r.Expires-l.now <= soon:
		l.warn(r, policy.LintExpiresSoon, "rule %q expires on %s", r.ID, day)
	}
	if r.Action.Verdict != policy.Allow {
		l.warn(r, policy.LintDenyExpires, "rule %q refuses until %s, and then no longer", r.ID, day).
			WithHint("say so with `ignore: [%s]`, or leave out `expires`", policy.LintDenyExpires)
	}
}

// familyless reports a rule that can't match, whatever stands before it.
func (l *linter) familyless(r *policy.Rule) {
	if reach(&r.Match).IsEmpty() && !r.Match.From.IsEmpty() && !r.Match.To.IsEmpty() && !r.Match.Sport.IsEmpty() {
		l.warn(r, policy.LintNeverMatches, "rule %q never matches: its addresses and protocols share no family", r.ID)
	}
}

// sourcePort reports an `allow` that opens all ports to whoever sends from the right one.
func (l *linter) sourcePort(r *policy.Rule) {
	const many = 1024 // ports; a rule for fewer says what it opens
	if r.Action.Verdict != policy.Allow || r.List == policy.Out || r.Match.Sport.IsAll() {
		return
	}
	for _, s := range []addrset.Set[addrset.U32]{r.Match.What.V4, r.Match.What.V6} {
		for _, k := range s.Ranges() {
			if k.Hi-k.Lo >= many {
				l.warn(r, policy.LintSourcePort, "rule %q opens many ports to anything that sends from a port of its choice", r.ID).
					WithHint("answers are admitted without a rule; if more is meant, name the ports that it opens")
				return
			}
		}
	}
}

// adminPorts reports an administrative port that a rule opens to all without saying so.
func (l *linter) adminPorts(r *policy.Rule) {
	m := &r.Match
	if r.Action.Verdict != policy.Allow || r.AnyFrom || !m.IIf.IsAny() || !m.MAC.IsAny() || !m.Mark.IsAny() {
		return
	}
	var open []string
	for _, s := range policy.BuiltinServices() {
		if isAdministrative(s.Name) && (m.What.V4.Overlaps(s.What.V4) || m.What.V6.Overlaps(s.What.V6)) {
			open = append(open, s.Name)
		}
	}
	if len(open) == 0 {
		return
	}
	const most = 3
	if len(open) > most {
		open = append(open[:most], "more")
	}
	l.warn(r, policy.LintOpenAdminPort, "rule %q admits %s from anywhere", r.ID, strings.Join(open, ", ")).
		WithHint("write who with `from`, or `from: any` if it is meant")
}

// isAdministrative tells whether a service gives power over a host or its data, so that few should reach it.
func isAdministrative(service string) bool {
	switch service {
	case "cassandra", "docker", "elasticsearch", "etcd", "influxdb", "ipmi", "iscsi", "kafka", "kube-apiserver", "kubelet",
		"ldap", "memcached", "mongodb", "mssql", "mysql", "nfs", "oracle", "postgres", "rdp", "redis", "rpcbind", "rsync",
		"smb", "snmp", "ssh", "telnet", "vnc", "winrm", "zabbix-agent":
		return true
	}
	return false
}

// undecidedTests reports tests that no rule can decide and that do not say so.
func (l *linter) undecidedTests() {
	asks := func(t *policy.Test) bool { return t.By == "" && (t.List != policy.Forward || l.Transit) }
	if !slices.ContainsFunc(l.Tests, asks) {
		return
	}
	s, err := space.New(l.Policy)
	if err != nil {
		return // said of the proofs
	}
	pr := prover{space: s, policy: l.Policy}
	for _, t := range l.Tests {
		if asks(t) && pr.leftToDefault(t) {
			l.diags.Warnf(t.At, policy.LintUndecidedTest, "no rule decides this test").
				WithHint("write `by: default` if it is meant")
		}
	}
}

// leftToDefault tells whether a test describes packets, and the default decides all of them.
func (pr *prover) leftToDefault(t *policy.Test) bool {
	entries, err := pr.entries(t.List, t.Given)
	boxes := pr.described(t)
	return err == nil && len(boxes) > 0 && !slices.ContainsFunc(entries, func(e space.Entry) bool {
		return e.Decision.By != policy.ByDefault && !(t.Any && isProtocol(e.Decision.By)) && touches(e.Boxes, boxes)
	})
}
