package kernel

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

// TestAddressesAsElements holds the encoding of addresses, on one processor and on several, against that of any element.
func TestAddressesAsElements(t *testing.T) {
	var many4 []addrset.Range[addrset.U32]
	var many6 []addrset.Range[addrset.U128]
	for i := range 3*rangesAtOnce + 7 {
		lo := addrset.U32(i) << 12
		many4 = append(many4, addrset.Range[addrset.U32]{Lo: lo, Hi: lo + addrset.U32(i%3)})
		long := addrset.U128{Hi: 0x2001_0db8 << 32, Lo: uint64(i) << 8}
		many6 = append(many6, addrset.Range[addrset.U128]{Lo: long, Hi: addrset.U128{Hi: long.Hi, Lo: long.Lo + uint64(i%3)}})
	}
	few4 := set4("0.0.0.0/32", "10.0.0.0/30", "192.0.2.7/32", "255.255.255.252/30").Ranges()
	few6 := set6("::/128", "2001:db8::/126", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126").Ranges()
	for _, processors := range []int{1, 2, 3} {
		before := runtime.GOMAXPROCS(processors)
		defer runtime.GOMAXPROCS(before)
		for _, interval := range []bool{false, true} {
			for what, ranges := range map[string][]addrset.Range[addrset.U32]{"few": few4, "many": many4, "many and the last": append(many4, few4[3])} {
				asElements(t, fmt.Sprintf("%d processors, %s, interval %v", processors, what, interval), ranges, interval, 0)
			}
			for what, ranges := range map[string][]addrset.Range[addrset.U128]{"few": few6, "many": many6, "many and the last": append(many6, few6[2])} {
				asElements(t, fmt.Sprintf("%d processors, %s of IPv6, interval %v", processors, what, interval), ranges, interval, 0)
			}
		}
		asElements(t, "prefixes", set4("10.0.0.0/8", "192.0.2.0/24").Ranges(), false, 24)
		asElements(t, "prefixes of IPv6", set6("2001:db8::/48", "2001:db8:7::/64").Ranges(), false, 64)
	}
}

// asElements encodes ranges after something else, as addresses and as elements.
func asElements[K addrset.Address[K]](t *testing.T, what string, ranges []addrset.Range[K], interval bool, length int) {
	t.Helper()
	to := elementList{set: "s", interval: interval, msg: unix.NFT_MSG_NEWSETELEM}
	quick, slow := newBatch(ruleset.TableName, 1, 0), newBatch(ruleset.TableName, 1, 0)
	for _, b := range []*batch{quick, slow} {
		b.delTable()
	}
	addAddresses(quick, to, ranges, length)
	slow.elements(to, anyElements(ranges, interval, length))
	got, want := elementsOf(t, quick), elementsOf(t, slow)
	if quick.err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes of elements, %v, want %d", what, len(got), quick.err, len(want))
	}
	if len(quick.subject) != int(quick.seq-quick.first)+1 {
		t.Errorf("%s: %d subjects of messages up to number %d", what, len(quick.subject), quick.seq)
	}
	quick.finish(true)
	last := 0
	if err := split(quick.buf, func(m message) error { last++; return nil }); err != nil || last != len(quick.subject) {
		t.Errorf("%s: %d messages, %v, want %d", what, last, err, len(quick.subject))
	}
}

// elementsOf is the elements in a batch, one after the other, whatever messages they come in; these must be in order.
func elementsOf(t *testing.T, b *batch) (elements []byte) {
	t.Helper()
	seq := b.first
	err := split(b.buf, func(m message) error {
		if m.seq != seq {
			t.Errorf("message %d has number %d", seq, m.seq)
		}
		seq++
		if m.typ == nftType(unix.NFT_MSG_NEWSETELEM) {
			elements = append(elements, find(m.body, unix.NFTA_SET_ELEM_LIST_ELEMENTS)...)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return elements
}

func anyElements[K addrset.Address[K]](rs []addrset.Range[K], interval bool, length int) func(func(element) bool) {
	return func(yield func(element) bool) {
		for _, r := range rs {
			if interval {
				yield(element{lo: r.Lo.Append(nil), hi: r.Hi.Append(nil)})
				continue
			}
			ruleset.Keys([]addrset.Range[K]{r}, length, func(k K) { yield(element{lo: k.Append(nil)}) })
		}
	}
}
