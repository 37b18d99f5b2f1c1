package enforce

import (
	"net"
	"slices"
	"strings"
	"testing"

	"ringwall/netfilter/nstest"
)

// TestPreview has a dry run say what a change means for the connections and listeners of a host, and change nothing.
func TestPreview(t *testing.T) {
	const text = `version: 1
in:
  - {allow: [udp/7001, tcp/7002], from: any, id: games}
  - {allow: tcp/7003, from: any, id: web}
`
	p := enterPair(t)
	e := openIn(t, p.Host)
	apply(t, e, text)
	guest, friend := visited(t, p)
	var l net.Listener
	p.Host.Do(t, func() {
		var err error
		if l, err = net.Listen("tcp", ":7003"); err != nil {
			t.Fatal(err)
		}
	})
	defer l.Close()

	after := strings.Replace(text, "in:\n", "in:\n  - {deny: any, from: 198.51.100.3, id: him}\n", 1)
	after = strings.Replace(after, "tcp/7003, from: any", "tcp/7003, from: 10.0.0.0/8", 1)
	c := load(e, after)
	r, err := e.DryRun(t.Context(), c, false)
	if err != nil {
		t.Fatal(err)
	}
	e.Preview(c)(r)
	if r.Impact == nil || r.Impact.Connections == nil || r.Impact.Lockout != nil || len(r.Notes) != 0 {
		t.Fatalf("%+v, notes %q", r.Impact, r.Notes)
	}
	if conns := r.Impact.Connections; conns.Judged != 4 || len(conns.Refused) != 1 || conns.Cut {
		t.Errorf("connections: %+v", conns)
	} else if g := conns.Refused[0]; g.By != "him" || g.At != "policy.yaml:3" || g.Count != 2 || g.Already != 0 || g.Ends || !strings.Contains(strings.Join(g.Flows, "\n"), "tcp "+guest[1].far.LocalAddr().String()+" -> ") {
		t.Errorf("refused: %+v", g)
	}
	var reach []string
	for _, l := range r.Impact.Listeners {
		for _, s := range l.Unreachable {
			reach = append(reach, l.Name+": "+s.String())
		}
		if len(l.Reachable)+len(l.Undecided) > 0 {
			t.Errorf("%+v", l)
		}
	}
	want := []string{
		"tcp/7003: in tcp/7003 from 198.51.100.3: allow → deny, was rule web, now rule him",
		"tcp/7003: in tcp/7003 from not 10.0.0.0/8, not 198.51.100.3: allow → deny, was rule web, now default",
		"udp/7001: in udp/7001 from 198.51.100.3 to 198.51.100.1: allow → deny, was rule games, now rule him",
	}
	if !slices.Equal(reach, want) {
		t.Errorf("reach: %q, want %q", reach, want)
	}
	for i := range guest {
		guest[i].lives(t, "after a dry run")
		friend[i].lives(t, "after a dry run")
	}

	// With the key they would end.
	c = load(e, after+"established: cut\n")
	if r, err = e.DryRun(t.Context(), c, false); err != nil {
		t.Fatal(err)
	}
	e.Preview(c)(r)
	if conns := r.Impact.Connections; !conns.Cut || len(conns.Refused) != 1 || !conns.Refused[0].Ends {
		t.Errorf("connections: %+v", conns)
	}
	if cut := apply(t, e, after+"established: cut\n").Cut; len(cut) != 1 || cut[0].Count != 2 {
		t.Errorf("cut: %+v", cut)
	}
}

// TestPreviewSaysWhoIsLockedOut has a dry run say what apply would refuse.
func TestPreviewSaysWhoIsLockedOut(t *testing.T) {
	nstest.Enter(t)
	l, err := net.Listen("tcp", ":22")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e := open(t, t.TempDir())
	c := load(e, "version: 1\nin: [{allow: http, from: any, id: web}]\n")
	r, err := e.DryRun(t.Context(), c, false)
	if err != nil {
		t.Fatal(err)
	}
	if e.Preview(c)(r); r.Impact.Lockout == nil || len(r.Impact.Lockout.NoWay) != 1 {
		t.Errorf("%+v", r.Impact.Lockout)
	}
}
