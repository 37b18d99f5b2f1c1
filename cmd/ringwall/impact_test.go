package main

import (
	"fmt"
	"strings"
	"testing"

	"ringwall/daemon/enforce"
	"ringwall/daemon/impact"
	"ringwall/rules/check"
)

func TestPrintImpact(t *testing.T) {
	flows := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("tcp 192.0.2.17:%d -> 203.0.113.9:25", 40000+i))
		}
		return out
	}
	rule := impact.Refused{Decider: impact.Decider{By: "old-mail", Rule: true, At: "mail.yaml:7"}, List: "out", Count: 5, Already: 1, Flows: flows(5)}
	blocked := impact.Refused{Decider: impact.Decider{By: "block", At: "p.yaml:3"}, List: "in", Count: 1, Ends: true, Flows: flows(1)}
	r := &enforce.Report{Policy: "p.yaml", Rules: 1, Impact: &impact.Preview{
		Connections: &impact.Connections{Judged: 14, Refused: []impact.Refused{rule, blocked}, Unclear: []impact.Unclear{{Depends: "mark", Count: 1, Flows: flows(1)}}},
		Listeners: []impact.Listener{{Name: "tcp/8443", Addresses: []string{"192.0.2.17"}, Unit: "nginx.service",
			Reachable: []check.Shift{{Packets: check.Packets{Text: "in tcp/8443"}, Old: "deny", New: "allow",
				Was: []check.Decider{{By: "default"}}, Now: []check.Decider{{By: "web", Rule: true, At: "p.yaml:5"}}}}}},
		Lockout: &impact.Lockout{NoWay: []uint16{22}},
	}}
	var out strings.Builder
	f := &front{stdout: &out, stderr: &out, getenv: func(string) string { return "" }}
	f.printReport(r, "would change")
	const want = `connections: 6 of 14 would be refused as new ones; 1 of them are cut, the others go on
  out 5 by rule old-mail, mail.yaml:7, 1 of them now, too: tcp 192.0.2.17:40000 -> 203.0.113.9:25, tcp 192.0.2.17:40001 -> 203.0.113.9:25, tcp 192.0.2.17:40002 -> 203.0.113.9:25 and 2 more
  in 1 by block, p.yaml:3: tcp 192.0.2.17:40000 -> 203.0.113.9:25
  1 can't be told, since it depends on their mark: tcp 192.0.2.17:40000 -> 203.0.113.9:25
listening sockets:
  + tcp/8443 on 192.0.2.17 (nginx.service): in tcp/8443: deny → allow, was default, now rule web  p.yaml:5
apply would refuse it, since it would lock somebody out:
  nobody could connect to SSH (port 22): neither failsafe nor a rule admits anybody
p.yaml: nothing would change, 1 rule enforced
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}

	out.Reset()
	var many []impact.Refused
	for range 30 {
		many = append(many, rule)
	}
	f.printReport(&enforce.Report{Policy: "p.yaml", Rules: 1, Applied: true, Cut: many}, "changed")
	if lines := strings.Split(out.String(), "\n"); lines[0] != "cut: 150 connections" || lines[11] != "  and more by 20 others" || len(lines) != 14 {
		t.Errorf("got\n%s", &out)
	}
}
