package enforce

import (
	"net/netip"
	"slices"
	"testing"

	"ringwall/netfilter/host"
	"ringwall/netfilter/nstest"
	"ringwall/rules/check"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// TestLintsKnowTheHost loads one policy with a host and without.
func TestLintsKnowTheHost(t *testing.T) {
	files := source.Memory{"p": "version: 1\nfailsafe: {ssh: 10.0.0.0/8}\nblock: 198.51.100.0/24\n"}
	h := &check.Host{Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.7/24")}}
	blocks := func(c *Candidate) bool {
		return slices.ContainsFunc(c.Diags, func(d diag.Diagnostic) bool { return d.Code == policy.LintBlocksOwn })
	}
	opt := LoadOptions{Host: func() *check.Host { return h }}
	if c := Load(files, "p", opt); !blocks(c) || !c.OK() {
		t.Errorf("with a host: %v", c.Diags)
	}
	opt.NoLints = true
	late := Load(files, "p", opt)
	if blocks(late) {
		t.Errorf("before the lints: %v", late.Diags)
	}
	if late.Lint(0); !blocks(late) {
		t.Errorf("after the lints: %v", late.Diags)
	}
	for _, ask := range []func() *check.Host{nil, func() *check.Host { return nil }} {
		if c := Load(files, "p", LoadOptions{Host: ask}); blocks(c) {
			t.Errorf("without a host: %v", c.Diags)
		}
	}
}

func TestFacts(t *testing.T) {
	p := nstest.NewPair(t)
	p.Host.Run(t, "ip", "link", "add", "docker0", "type", "bridge")
	p.Host.Do(t, func() {
		h, err := host.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		f := Facts(h)
		if !slices.Contains(f.Interfaces, nstest.Iface) || !slices.Equal(f.Bridges, []string{"docker0"}) ||
			!slices.Contains(f.Networks, netip.MustParsePrefix(nstest.Host4+"/24")) {
			t.Errorf("got %+v", f)
		}
	})
}
