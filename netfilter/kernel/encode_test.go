package kernel

import (
	"bytes"
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

// TestMarshal holds our encoding of expressions against the library's.
func TestMarshal(t *testing.T) {
	exprs := []expr.Any{
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{1, 2, 3, 4}},
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: []byte{22}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 9, Data: make([]byte, 16)},
		&expr.Verdict{Kind: expr.VerdictDrop},
		&expr.Verdict{Kind: expr.VerdictGoto, Chain: "in.web"},
		&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: "in.web"},
		&expr.Objref{Type: unix.NFT_OBJECT_LIMIT, Name: "in.web/rate4"},
		&expr.Lookup{SourceRegister: 1, SetName: "set4.x", Invert: true},
		&expr.Lookup{SourceRegister: 1, SetID: 7, SetName: "__map%d", IsDestRegSet: true, DestRegister: unix.NFT_REG_VERDICT},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4, CsumType: 1},
	}
	for f := ruleset.Field(0); f < 255; f++ {
		if k, ok := fieldOf(f); ok {
			exprs = append(exprs, k.load)
		}
	}
	for _, x := range exprs {
		want, err := expr.Marshal(unix.NFPROTO_INET, x)
		var got builder
		err2 := got.marshal(x)
		if err != nil || err2 != nil || !bytes.Equal(got.buf, want) {
			t.Errorf("%#v:\n got %x, %v\nwant %x, %v", x, got.buf, err2, want, err)
		}
	}
}

// TestElementsAllocate: a batch of a hundred thousand addresses takes its buffer and what a message of some thousands of them needs,
// whatever their number.
func TestElementsAllocate(t *testing.T) {
	var ranges []addrset.Range[addrset.U32]
	for i := range addrset.U32(100_000) {
		ranges = append(ranges, addrset.Range[addrset.U32]{Lo: i << 12, Hi: i<<12 + 255})
	}
	for _, interval := range []bool{false, true} {
		rs := ranges
		if !interval {
			rs = addrset.Of(ranges...).Ranges()[:400] // of 256 addresses each
		}
		set := &ruleset.Set{Name: "listed", Interval: interval, Elems4: addrset.Of(rs...)}
		ch := &Change{ops: []operation{editSet{set: set, v4: rs}}}
		messages := 0
		allocs := testing.AllocsPerRun(5, func() {
			b := newBatch(ruleset.TableName, 1, 0)
			for _, o := range ch.ops {
				o.encode(b, nil)
			}
			messages = len(b.subject)
		})
		if most := float64(6*messages + 60); allocs > most {
			t.Errorf("interval %v: %v allocations for %d messages, more than %v", interval, allocs, messages, most)
		}
	}
}

// TestRegionGrows fills a batch far beyond what was reserved for it, and holds it against one that was built on the heap.
func TestRegionGrows(t *testing.T) {
	keys := set4("10.0.0.0/14").Ranges() // 262,144 addresses, as one range
	to := elementList{set: "s", msg: unix.NFT_MSG_NEWSETELEM}
	region, heap := newBatch(ruleset.TableName, 1, 0), newBatch(ruleset.TableName, 1, 0)
	region.reserve(largeBatch)
	if region.region == nil {
		t.Fatal("there is no region")
	}
	room := len(region.region)
	addAddresses(region, to, keys, 0)
	addAddresses(heap, to, keys, 0)
	for range 8 {
		addAddresses(region, to, keys, 0)
		addAddresses(heap, to, keys, 0)
	}
	if !bytes.Equal(region.buf, heap.buf) {
		t.Error("the messages are not the same")
	}
	if len(region.buf) <= room || &region.buf[0] != &region.region[0] {
		t.Errorf("%d bytes of messages, room for %d was reserved, and they are not in the region", len(region.buf), room)
	}
	if region.release(); region.region != nil {
		t.Error("the region is still there")
	}
}
