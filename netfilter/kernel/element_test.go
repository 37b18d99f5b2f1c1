package kernel

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
)

const hour = time.Hour

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// held is what a set holds, as text: each prefix with what remains, to the minute.
func held(t testing.TB, c *Conn, set string) string {
	t.Helper()
	elems, err := c.Elements(ctx, set)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range elems {
		out = append(out, fmt.Sprintf("%s %v", e.Prefix, e.Expires.Round(time.Minute)))
	}
	return strings.Join(out, ", ")
}

func banSets() *ruleset.Ruleset {
	return &ruleset.Ruleset{Sets: []*ruleset.Set{
		{Name: "bans4", Interval: true, Dynamic: true, Timed: true},
		{Name: "bans6", V6: true, Interval: true, Dynamic: true, Timed: true, Timeout: 600},
		{Name: "single4", Dynamic: true, Timed: true},
		{Name: "meter4", Dynamic: true, Packets: true, Size: 10},
	}}
}

func TestElements(t *testing.T) {
	type step struct {
		add  string // "192.0.2.1/32 1h, …"
		del  string
		n    int // prefixes that removed anything
		want string
	}
	for _, try := range []struct {
		name, set string
		steps     []step
	}{
		{"one address", "bans4", []step{
			{add: "192.0.2.1/32 1h", want: "192.0.2.1/32 1h0m0s"},
			{add: "192.0.2.2/32 2h", want: "192.0.2.1/32 1h0m0s, 192.0.2.2/32 2h0m0s"},
			{del: "192.0.2.1/32", n: 1, want: "192.0.2.2/32 2h0m0s"},
			{del: "192.0.2.1/32", n: 0, want: "192.0.2.2/32 2h0m0s"},
			{del: "192.0.2.1/32 192.0.2.2/32", n: 1, want: ""},
		}},
		{"extended, never shortened", "bans4", []step{
			{add: "192.0.2.1/32 1h", want: "192.0.2.1/32 1h0m0s"},
			{add: "192.0.2.1/32 3h", want: "192.0.2.1/32 3h0m0s"},
			{add: "192.0.2.1/32 1h", want: "192.0.2.1/32 3h0m0s"},
			{add: "192.0.2.1/32 0s", want: "192.0.2.1/32 0s"},
			{add: "192.0.2.1/32 1h", want: "192.0.2.1/32 0s"},
		}},
		{"covered by a longer ban", "bans4", []step{
			{add: "192.0.2.0/24 2h", want: "192.0.2.0/24 2h0m0s"},
			{add: "192.0.2.1/32 1h", want: "192.0.2.0/24 2h0m0s"},
		}},
		{"covered by a shorter ban", "bans4", []step{
			{add: "192.0.2.0/30 1h", want: "192.0.2.0/30 1h0m0s"},
			{add: "192.0.2.0/32 2h", want: "192.0.2.0/32 2h0m0s, 192.0.2.1/32 1h0m0s, 192.0.2.2/31 1h0m0s"},
		}},
		{"covers shorter bans", "bans4", []step{
			{add: "192.0.2.1/32 1h, 192.0.2.7/32 1h", want: "192.0.2.1/32 1h0m0s, 192.0.2.7/32 1h0m0s"},
			{add: "192.0.2.0/24 2h", want: "192.0.2.0/24 2h0m0s"},
		}},
		{"covers a ban for ever", "bans4", []step{
			{add: "192.0.2.3/32 0s", want: "192.0.2.3/32 0s"},
			{add: "192.0.2.0/30 2h", want: "192.0.2.0/31 2h0m0s, 192.0.2.2/32 2h0m0s, 192.0.2.3/32 0s"},
			{del: "192.0.2.0/24", n: 1, want: ""},
		}},
		{"split by unbanning", "bans4", []step{
			{add: "10.0.0.0/30 1h", want: "10.0.0.0/30 1h0m0s"},
			{del: "10.0.0.2/32", n: 1, want: "10.0.0.0/31 1h0m0s, 10.0.0.3/32 1h0m0s"},
		}},
		{"several that overlap", "bans4", []step{
			{add: "10.0.0.1/32 1h, 10.0.0.1/32 2h, 10.0.0.0/31 3h", want: "10.0.0.0/31 3h0m0s"},
		}},
		{"everything", "bans4", []step{
			{add: "0.0.0.0/0 1h", want: "0.0.0.0/0 1h0m0s"},
			{add: "255.255.255.255/32 2h", want: strings.Join(append(halves(), "255.255.255.255/32 2h0m0s"), ", ")},
			{del: "0.0.0.0/0", n: 1, want: ""},
		}},
		{"up to the last address", "bans4", []step{
			{add: "10.9.0.2/32 1h, 255.255.255.254/32 3h", want: "10.9.0.2/32 1h0m0s, 255.255.255.254/32 3h0m0s"},
			{add: "255.255.255.254/31 2h", want: "10.9.0.2/32 1h0m0s, 255.255.255.254/32 3h0m0s, 255.255.255.255/32 2h0m0s"},
			{add: "0.0.0.0/0 4h", want: "0.0.0.0/0 4h0m0s"},
			{del: "0.0.0.0/0", n: 1, want: ""},
			{add: "10.9.0.2/32 1h, 0.0.0.0/0 2h", want: "0.0.0.0/0 2h0m0s"},
		}},
		{"up to the last address of IPv6", "bans6", []step{
			{add: "f001::1/128 1h, 8000::/1 2h", want: "8000::/1 2h0m0s"},
			{add: "::/0 3h", want: "::/0 3h0m0s"},
		}},
		{"host bits", "bans4", []step{{add: "192.0.2.77/24 1h", want: "192.0.2.0/24 1h0m0s"}}},
		{"IPv6, with a default", "bans6", []step{
			{add: "2001:db8::1/128 1h", want: "2001:db8::1/128 1h0m0s"},
			{add: "2001:db8::/32 0s", want: "2001:db8::/32 0s"},
			{add: "ffff::/16 10m", want: "2001:db8::/32 0s, ffff::/16 10m0s"},
			{del: "2001:db8::/33", n: 1, want: "2001:db8:8000::/33 0s, ffff::/16 10m0s"},
		}},
		{"single addresses", "single4", []step{
			{add: "192.0.2.1/32 1h, 192.0.2.9/32 0s", want: "192.0.2.1/32 1h0m0s, 192.0.2.9/32 0s"},
			{add: "192.0.2.1/32 2h", want: "192.0.2.1/32 2h0m0s, 192.0.2.9/32 0s"},
			{add: "192.0.2.9/32 2h", want: "192.0.2.1/32 2h0m0s, 192.0.2.9/32 0s"},
			{del: "192.0.2.0/32 192.0.2.1/32", n: 1, want: "192.0.2.9/32 0s"},
		}},
	} {
		t.Run(try.name, func(t *testing.T) {
			nstest.Enter(t)
			c := dial(t, Options{})
			apply(t, c, banSets())
			for i, s := range try.steps {
				var add []Element
				for _, e := range strings.Split(s.add, ", ") {
					if p, timeout, ok := strings.Cut(e, " "); ok {
						d, err := time.ParseDuration(timeout)
						if err != nil {
							t.Fatal(err)
						}
						add = append(add, Element{Prefix: prefix(p), Timeout: d})
					}
				}
				if err := c.AddElements(ctx, try.set, add); err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
				var del []netip.Prefix
				for _, p := range strings.Fields(s.del) {
					del = append(del, prefix(p))
				}
				n, err := c.DelElements(ctx, try.set, del)
				if err != nil || n != s.n {
					t.Fatalf("step %d: deleted %d, %v, want %d", i, n, err, s.n)
				}
				if got := held(t, c, try.set); got != s.want {
					t.Fatalf("step %d: holds %s\nwant %s", i, got, s.want)
				}
			}
		})
	}
}

// halves is the prefixes of all IPv4 addresses but the last.
func halves() []string {
	var out []string
	a := netip.IPv4Unspecified()
	for bits := 1; bits <= 32; bits++ {
		p := netip.PrefixFrom(a, bits)
		out = append(out, p.String()+" 1h0m0s")
		b := a.As4()
		b[(bits-1)/8] |= 1 << (7 - (bits-1)%8)
		a = netip.AddrFrom4(b)
	}
	return out
}

func TestElementErrors(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	one := []Element{{Prefix: prefix("192.0.2.1/32"), Timeout: hour}}
	if err := c.AddElements(ctx, "bans4", one); !errors.Is(err, ErrNoTable) {
		t.Errorf("no table: %v", err)
	}
	want := banSets()
	want.Sets = append(want.Sets, &ruleset.Set{Name: "static4", Elems4: set4("192.0.2.1/32")})
	apply(t, c, want)
	for _, set := range []string{"nowhere", "meter4"} {
		if err := c.AddElements(ctx, set, one); !errors.Is(err, ErrNoSet) {
			t.Errorf("set %s: %v", set, err)
		}
	}
	for set, e := range map[string]Element{
		"bans6":   {Prefix: prefix("192.0.2.1/32")},
		"bans4":   {Prefix: prefix("2001:db8::1/128")},
		"single4": {Prefix: prefix("192.0.2.0/24")},
		"static4": {Prefix: prefix("192.0.2.9/32"), Timeout: hour},
	} {
		if err := c.AddElements(ctx, set, []Element{e}); err == nil {
			t.Errorf("set %s took %v", set, e)
		}
	}
	if err := c.AddElements(ctx, "bans4", []Element{{}}); err == nil {
		t.Error("no prefix at all was taken")
	}
}

func TestElementsExpire(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	apply(t, c, banSets())
	err := c.AddElements(ctx, "bans4", []Element{{Prefix: prefix("192.0.2.1/32"), Timeout: 50 * time.Millisecond}, {Prefix: prefix("10.0.0.0/8"), Timeout: hour}})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for held(t, c, "bans4") != "10.0.0.0/8 1h0m0s" {
		if time.Now().After(deadline) {
			t.Fatalf("still there: %s", held(t, c, "bans4"))
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := c.AddElements(ctx, "bans4", []Element{{Prefix: prefix("192.0.2.0/24"), Timeout: hour}}); err != nil {
		t.Fatal(err)
	}
}

func TestManyElements(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	apply(t, c, banSets())
	var elems []Element
	for i := range 20000 {
		elems = append(elems, Element{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 14), byte(i >> 6), byte(i << 2)}), 31), Timeout: hour})
	}
	rand.Shuffle(len(elems), func(i, j int) { elems[i], elems[j] = elems[j], elems[i] })
	if err := c.AddElements(ctx, "bans4", elems[:10000]); err != nil {
		t.Fatal(err)
	}
	// Half of these are there.
	if err := c.AddElements(ctx, "bans4", elems[5000:]); err != nil {
		t.Fatal(err)
	}
	got, err := c.Elements(ctx, "bans4")
	if err != nil || len(got) != len(elems) {
		t.Fatalf("%d elements, %v", len(got), err)
	}
}

// TestSpanListAgainstAddresses holds the list against a table of every address.
func TestSpanListAgainstAddresses(t *testing.T) {
	const size = 48
	set := banSets().Sets[0]
	rng := rand.New(rand.NewPCG(1, 2))
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{0, 0, 0, byte(i)}) }
	for range 3000 {
		var list spanList
		var ends [size]uint64 // 0 for none
		inKernel := map[string]bool{}
		for range 8 {
			bits := 26 + rng.IntN(7)
			sp, err := spanOf(set, netip.PrefixFrom(at(rng.IntN(size)), bits))
			if err != nil {
				t.Fatal(err)
			}
			lo, hi := int(sp.lo.As4()[3]), min(int(sp.hi.As4()[3]), size-1)
			if rng.IntN(4) == 0 {
				list.cut(sp, nil)
				for i := lo; i <= hi; i++ {
					ends[i] = 0
				}
			} else {
				left := 1 + rng.Uint64N(4)
				sp.life = lifetime{9, left}
				list.add(sp)
				for i := lo; i <= hi; i++ {
					ends[i] = max(ends[i], left)
				}
			}
			// Commit: what is removed must be there, and what is added must not overlap what stays.
			removed, added := list.changes()
			for _, r := range removed {
				key := fmt.Sprint(r.lo, r.hi)
				if !inKernel[key] {
					t.Fatalf("removes %s, which is not there", key)
				}
				delete(inKernel, key)
			}
			for _, a := range added {
				inKernel[fmt.Sprint(a.lo, a.hi)] = true
			}
			for i := range list.spans {
				list.spans[i].held = true
			}
			list.removed = nil
			if len(inKernel) != len(list.spans) {
				t.Fatalf("%d spans in the kernel, %d in the list", len(inKernel), len(list.spans))
			}
			for i := range size {
				var got uint64
				if from, to := list.overlapping(span{lo: at(i), hi: at(i)}); from < to {
					got = list.spans[from].life.left
				}
				if got != ends[i] {
					t.Fatalf("address %d ends at %d, want %d", i, got, ends[i])
				}
			}
		}
	}
}

// TestElementsAgainstAddresses holds what a kernel's set holds against a table of the last addresses there are, and of one far below.
func TestElementsAgainstAddresses(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	rng := rand.New(rand.NewPCG(3, 4))
	at := func(i int) netip.Addr {
		if i == 0 {
			return netip.MustParseAddr("10.9.0.2")
		}
		return netip.AddrFrom4([4]byte{255, 255, 255, byte(240 + i)})
	}
	for round := range 60 {
		apply(t, c, &ruleset.Ruleset{})
		apply(t, c, banSets())
		var ends [16]time.Duration // 0 for none
		done := ""
		for range 6 {
			var add []Element
			var del []netip.Prefix
			for range 1 + rng.IntN(2) {
				p := netip.PrefixFrom(at(rng.IntN(len(ends))), []int{0, 1, 28, 29, 30, 31, 32}[rng.IntN(7)]).Masked()
				e := Element{Prefix: p, Timeout: time.Duration(1+rng.IntN(4)) * time.Hour}
				if rng.IntN(4) == 0 {
					e.Timeout = 0
					del = append(del, p)
				} else {
					add = append(add, e)
				}
				done += fmt.Sprint(" ", p, " ", e.Timeout)
			}
			if err := c.AddElements(ctx, "bans4", add); err != nil {
				t.Fatalf("round %d:%s: %v", round, done, err)
			}
			if _, err := c.DelElements(ctx, "bans4", del); err != nil {
				t.Fatalf("round %d:%s: %v", round, done, err)
			}
			elems, err := c.Elements(ctx, "bans4")
			if err != nil {
				t.Fatal(err)
			}
			for i := range ends {
				for _, e := range add {
					if e.Prefix.Contains(at(i)) {
						ends[i] = max(ends[i], e.Timeout)
					}
				}
				for _, p := range del {
					if p.Contains(at(i)) {
						ends[i] = 0
					}
				}
				var got time.Duration
				for _, e := range elems {
					if e.Prefix.Contains(at(i)) {
						got += e.Expires.Round(time.Hour)
					}
				}
				if got != ends[i] {
					t.Fatalf("round %d:%s: %s ends in %v, want %v", round, done, at(i), got, ends[i])
				}
			}
		}
	}
}
