package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
)

// TestListFileFast holds the quick reading of a line against literal, which reads one for people.
func TestListFileFast(t *testing.T) {
	lines := []string{
		"0.0.0.0", "255.255.255.255", "1.2.3.4/32", "1.2.3.0/24", "0.0.0.0/0", "1.2.3.4/0", "1.2.3.4/33", "1.2.3.4/01",
		"1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.1000", "01.2.3.4", "00.0.0.0", "1..2.3", ".1.2.3.4", "1.2.3.4/", "1.2.3.4/3x",
		"1.2.3.4-1.2.3.9", "1.2.3.9-1.2.3.4", "::", "::/0", "::1/128", "2001:db8::/32", "2001:db8::1/32", "fe80::1%eth0",
		"::ffff:1.2.3.4", "::ffff:1.2.3.0/120", "2001:db8::/129", "2001:db8::1-2001:db8::5", "x", "1.2.3.4 5",
	}
	for _, line := range lines {
		var want, got diag.List
		b, c := literal(line)
		var sum addrset.Addrs
		if c == nil {
			sum = addrset.OfRange(b.lo, b.hi)
		}
		for _, text := range []string{line, line + "\n", line + "\r\n", "  " + line + "\t# comment"} {
			got = nil
			f := &listFile{name: "l", diags: &got}
			f.parse([]byte(text))
			if f.errs != (c != nil) || !f.sum.Equal(sum) {
				t.Errorf("%q: got %v (errors %v), want %v (%v)", text, f.sum, f.errs, sum, c)
			}
		}
		if b.masked.IsValid() {
			hostBits(want.Warnf, diag.Span{}, line, b)
		}
		if c == nil && len(got) != len(want) {
			t.Errorf("%s: findings %v", line, got)
		}
	}
}

// TestQuad holds the reading of four bytes at once against netip.
func TestQuad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint32().Draw(t, "n") >> rapid.SampledFrom([]int{0, 8, 16, 24}).Draw(t, "shift")
		text := []byte(addrset.U32(n).Addr().String())
		if rapid.Bool().Draw(t, "wrong") {
			text[rapid.IntRange(0, len(text)-1).Draw(t, "at")] = rapid.SampledFrom([]byte("0129.:/ \n\x00\xff")).Draw(t, "byte")
		}
		rest := rapid.SampledFrom([]string{"", "\n", "/", "\n255.255.255.255\n", "x1111111111111111"}).Draw(t, "rest")
		got, length := quad(append(slices.Clone(text), rest...))
		want, err := netip.ParseAddr(string(text))
		if whole := length == len(text); whole != (err == nil) || whole && got != addrset.V4(want) {
			t.Fatalf("%q: got %v, %d, want %v", text, got.Addr(), length, want)
		}
	})
}

// TestGroups holds the reading of IPv6 addresses against netip.
func TestGroups(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, text string) {
		got, length := groups([]byte(text))
		want, err := netip.ParseAddr(text)
		plain := err == nil && want.Is6() && want.Zone() == "" && !strings.Contains(text, ".")
		if whole := length > 0 && length == len(text); whole != plain || whole && got != addrset.V6(want) {
			t.Fatalf("%q: got %v, %d, want %v, %v", text, got.Addr(), length, want, err)
		}
	}
	for _, text := range []string{
		"::", "::1", "1::", "1::2", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::",
		":::", "1:::2", "::1::", ":1", "1:", ":", "", "12345::", "::12345", "::g", "ABCD:eF01::9", "::1.2.3.4", "::ffff:0:1", "fe80::1%a", "1", "1::2:", "1:2:3:4:5:6:7:", "@::", "`::",
	} {
		check(t, text)
	}
	rapid.Check(t, func(t *rapid.T) {
		bytes := [16]byte(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 0, 0, 1, 0x1f, 0xab}), 16, 16).Draw(t, "bytes"))
		text := netip.AddrFrom16(bytes).String()
		if rapid.Bool().Draw(t, "written out") {
			text = netip.AddrFrom16(bytes).StringExpanded()
		}
		if rapid.Bool().Draw(t, "wrong") {
			at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
			text = text[:at] + rapid.SampledFrom([]string{"", ":", "::", "0", "g", "F", "/", "\xff"}).Draw(t, "instead") + text[at+1:]
		}
		check(t, text)
	})
}

// TestListFileLimit shows that a file of mistakes says so once, not a million times.
func TestListFileLimit(t *testing.T) {
	files := texts{"p.yaml": "version: 1\nsets: {s: {file: l}}\n", "l": strings.Repeat("nonsense\n", 100_000)}
	_, diags := Load(files, "p.yaml", Options{})
	if len(diags) != maxListErrors+1 {
		t.Errorf("%d findings", len(diags))
	}
	if last := diags[maxListErrors]; last.Message != "991 more findings in this file, from here on, and after these it was not read on" || last.Severity != diag.Error {
		t.Errorf("summary: %v", last)
	}
}

// TestListFileHalves holds the reading of two halves side by side against that of the whole: the set, and every finding with its place.
func TestListFileHalves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := []string{
			"192.0.2.1\n", "192.0.2.2\n", "192.0.2.3/32\n", "192.0.2.0/24\n", "10.0.0.0/8 # ten\n", "\n", "  198.51.100.7\r\n", "2001:db8::1\n", "2001:db8::/64\n",
			"192.0.2.9-192.0.2.40\n", "# none\n", "2001:db8::2-2001:db8::5\n", "203.0.113.5",
		}
		wrong := []string{"192.0.2.7/24\n", "  nonsense\n", "2001:db8::1/64\n", "192.0.2.300 # too large\n"}
		text := []byte(strings.Join(append(rapid.SliceOf(rapid.SampledFrom(words)).Draw(t, "lines"),
			rapid.Permutation(append(rapid.SliceOfN(rapid.SampledFrom(wrong), 0, 12).Draw(t, "mistakes"), words...)).Draw(t, "all")...), ""))
		one, two := &listFile{name: "l", diags: &diag.List{}}, &listFile{name: "l", diags: &diag.List{}}
		one.whole(text)
		if !two.halves(text) {
			if half := len(text) / 2; one.found <= maxListErrors && strings.Contains(string(text[half:]), "\n") {
				t.Fatal("given up, though there is not too much to be said")
			}
			if !two.sum.IsEmpty() || len(*two.diags) > 0 {
				t.Fatal("given up, with something read")
			}
			return
		}
		if one.found != two.found || one.errs != two.errs || !sameFindings(*one.diags, *two.diags) {
			t.Fatalf("%q: %v, want %v", text, *two.diags, *one.diags)
		}
		if !one.sum.Equal(two.sum) {
			t.Fatalf("%v, %v", one.sum, two.sum)
		}
	})
}

func sameFindings(a, b diag.List) bool {
	return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b))
}

// TestListFileLarge reads texts that are long enough for two halves, with one mistake each, with many, and with none.
func TestListFileLarge(t *testing.T) {
	for _, every := range []int{0, 100_000, 30_000, 10} {
		var b strings.Builder
		for i := range 120_000 {
			if every > 0 && i%every == every-1 {
				fmt.Fprintf(&b, "10.%d.%d.%d/24 # of %d\nx%d\n", i>>16, i>>8&255, i&255, i, i)
			}
			fmt.Fprintf(&b, "192.%d.%d.%d\n", i>>16, i>>8&255, i&255)
		}
		text := b.String()
		if len(text) < largeList {
			t.Fatal("too short")
		}
		whole, got := &listFile{name: "l", diags: &diag.List{}}, &listFile{name: "l", diags: &diag.List{}}
		whole.whole([]byte(text))
		if got.parse([]byte(text)); !sameFindings(*got.diags, *whole.diags) || got.errs != whole.errs || !got.sum.Equal(whole.sum) {
			t.Errorf("a mistake every %d lines: %v, want %v", every, *got.diags, *whole.diags)
		}
		if every > 0 && len(*whole.diags) == 0 {
			t.Error("no mistake is found")
		}
	}
}

// list makes a list file of n different entries: addresses in random order, prefixes of IPv4 in order, or prefixes of IPv6 in random order.
func list(n int, kind string) string {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for i := range n {
		switch kind {
		case "IPv6":
			a := netip.AddrFrom16([16]byte{0x20, 1, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
			fmt.Fprintf(&b, "%s/48\n", a)
		case "sorted":
			fmt.Fprintf(&b, "%d.%d.%d.0/24\n", i>>12, i>>4&255, i&15<<4|r.IntN(15))
		default:
			fmt.Fprintf(&b, "%d.%d.%d.%d\n", r.IntN(224), r.IntN(256), r.IntN(256), r.IntN(256))
		}
	}
	return b.String()
}

// cpuTime is the processor time of this process, on all processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkListFile(b *testing.B) {
	for _, kind := range []string{"IPv4", "sorted", "IPv6"} {
		b.Run(kind, func(b *testing.B) {
			data := list(1_000_000, kind)
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			spent := cpuTime()
			defer func() { b.ReportMetric(float64((cpuTime()-spent).Microseconds())/1000/float64(b.N), "cpu-ms/op") }()
			for b.Loop() {
				var diags diag.List
				f := &listFile{name: "l", diags: &diags}
				f.parse([]byte(data))
				if len(diags) > 0 || f.sum.Len() < 900_000 {
					b.Fatal(f.sum.Len(), diags)
				}
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	var text strings.Builder
	text.WriteString("version: 1\nin:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "  - {allow: [tcp/%d, udp/53], from: [10.%d.%d.0/24, not 10.%d.%d.7], limit: 10/minute per source}\n", 1000+i, i/256, i%256, i/256, i%256)
	}
	files := texts{"p.yaml": text.String()}
	for b.Loop() {
		if p, diags := Load(files, "p.yaml", Options{}); p == nil {
			b.Fatal(diags)
		}
	}
}
