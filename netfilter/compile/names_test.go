package compile

import (
	"strings"
	"testing"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
)

func TestNamesComeBack(t *testing.T) {
	for _, dir := range policy.Dirs {
		for _, id := range []string{"ssh", "ssh.over", "a-b_c.d", "allow-ssh-3f9a2c~2", "allow-ssh-3f9a2c~10", "in.ssh"} {
			r := &policy.Rule{ID: id, List: dir}
			for _, name := range []string{ChainName(r), OverCounter(r), FullCounter(r), ChainName(r) + "/rate4-0a1b2c"} {
				gotDir, got, ok := ParseName(name)
				if !ok || gotDir != dir || got != id {
					t.Errorf("%s is %s %s, %v; want %s %s", name, gotDir, got, ok, dir, id)
				}
			}
		}
	}
	for _, name := range []string{"", "in", "in.", "base.in.default", "raw-in", "set4.office", "block.in", "input"} {
		if _, id, ok := ParseName(name); ok {
			t.Errorf("%q is a rule's: %s", name, id)
		}
	}
}

func TestCommentsFit(t *testing.T) {
	id := strings.Repeat("i", 48)
	for _, file := range []string{"policy.yaml", strings.Repeat("long/", 60) + "policy.yaml", strings.Repeat("ü", 100) + ".yaml", "a\"b\nc.yaml"} {
		got := comment(&policy.Rule{ID: id, At: diag.Span{Pos: diag.Pos{File: file, Line: 12345}}})
		if len(got) > ruleset.MaxComment || !strings.HasPrefix(got, id+" ") || !strings.HasSuffix(got, ".yaml:12345") {
			t.Errorf("%d bytes: %q", len(got), got)
		}
		if strings.ContainsAny(got, "\"\n\ufffd") {
			t.Errorf("nft does not read %q", got)
		}
	}
}

func TestTooManyLines(t *testing.T) {
	r := &policy.Rule{ID: "wide", List: policy.Forward, At: diag.Span{Pos: diag.Pos{File: "policy.yaml", Line: 7}}, Match: policy.Match{
		What: policy.AnyWhat(), From: policy.AnyAddrs(), To: policy.AnyAddrs(), Sport: policy.Match{}.Sport.Complement(),
	}}
	for i := range 80 {
		p := policy.Pattern(string([]rune{'a' + rune(i/10), '0' + rune(i%10), '*'}))
		r.Match.IIf.Yes = append(r.Match.IIf.Yes, p)
		r.Match.OIf.Yes = append(r.Match.OIf.Yes, p)
	}
	p := &policy.Policy{Transit: true}
	p.Lists[policy.Forward] = []*policy.Rule{r}
	_, err := Compile(p, Options{})
	if err == nil || !strings.Contains(err.Error(), "policy.yaml:7: rule wide: it takes more than") {
		t.Errorf("got %v", err)
	}
}
