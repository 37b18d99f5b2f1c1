package kernel

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
)

// Types of user data, which the kernel keeps for nft: type, length, content.
const (
	udataRuleComment = 0

	udataSetKeyOrder = 0
	udataSetMerge    = 2
	udataSetTypeof   = 3
	udataSetComment  = 7
	udataOrderHost   = 1
	udataOrderBig    = 2

	udataElemFlags = 1
	udataElemOpen  = 1 // the range has no end
)

// Flags of a table, of kernels newer than the library's constants.
const (
	tableOwner   = 0x2 // NFT_TABLE_F_OWNER, 5.12
	tablePersist = 0x4 // NFT_TABLE_F_PERSIST, 6.9
	tableOwnerID = 0x7 // NFTA_TABLE_OWNER
)

// largestAttr is how long an attribute can be: its length has 16 bits.
const largestAttr = 0xffff

// fullList is how long a list of elements is that takes no more: one takes less than is left, its end and a chain's name included.
const fullList = largestAttr - 512

// dataVerdict is the data type of verdicts in a map.
const dataVerdict = 0xffffff00

// defaultPacketSet is the size of a set filled by packets that gives none, which is also nft's.
const defaultPacketSet = 65535

func udata(b []byte, typ byte, content []byte) []byte {
	return append(append(b, typ, byte(len(content))), content...)
}

func udataU32(b []byte, typ byte, v uint32) []byte {
	return udata(b, typ, binary.NativeEndian.AppendUint32(nil, v))
}

func udataString(b []byte, typ byte, s string) []byte { return udata(b, typ, append([]byte(s), 0)) }

func (b *batch) addTable(flags uint32) {
	b.message(subject{"add table", "inet " + b.table}, unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, func() {
		b.str(unix.NFTA_TABLE_NAME, b.table)
		b.u32(unix.NFTA_TABLE_FLAGS, flags)
	})
}

func (b *batch) delTable() {
	b.message(subject{"delete table", "inet " + b.table}, unix.NFT_MSG_DELTABLE, 0, func() {
		b.str(unix.NFTA_TABLE_NAME, b.table)
	})
}

// named adds a message that names an object of the table and says no more.
func (b *batch) named(s subject, msg, flags, table, name uint16, object string) {
	b.message(s, msg, flags, func() {
		b.str(table, b.table)
		b.str(name, object)
	})
}

func (b *batch) addChain(c *ruleset.Chain) {
	b.message(subject{"add chain", c.Name}, unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, func() {
		b.str(unix.NFTA_CHAIN_TABLE, b.table)
		b.str(unix.NFTA_CHAIN_NAME, c.Name)
		if c.Hook == nil {
			return
		}
		b.nest(unix.NFTA_CHAIN_HOOK, func() {
			b.u32(unix.NFTA_HOOK_HOOKNUM, uint32(c.Hook.Point))
			b.u32(unix.NFTA_HOOK_PRIORITY, uint32(c.Hook.Priority))
		})
		b.u32(unix.NFTA_CHAIN_POLICY, policyOf(c.Hook))
		b.str(unix.NFTA_CHAIN_TYPE, "filter")
	})
}

// setPolicy changes the policy of a base chain that is there.
func (b *batch) setPolicy(c *ruleset.Chain) {
	b.message(subject{"set policy of chain", c.Name}, unix.NFT_MSG_NEWCHAIN, 0, func() {
		b.str(unix.NFTA_CHAIN_TABLE, b.table)
		b.str(unix.NFTA_CHAIN_NAME, c.Name)
		b.u32(unix.NFTA_CHAIN_POLICY, policyOf(c.Hook))
	})
}

func policyOf(h *ruleset.Hook) uint32 {
	if h.Drop {
		return 0 // NF_DROP
	}
	return 1 // NF_ACCEPT
}

func (b *batch) delChain(name string) {
	b.named(subject{"delete chain", name}, unix.NFT_MSG_DELCHAIN, 0, unix.NFTA_CHAIN_TABLE, unix.NFTA_CHAIN_NAME, name)
}

func (b *batch) flushChain(name string) {
	b.named(subject{"flush chain", name}, unix.NFT_MSG_DELRULE, 0, unix.NFTA_RULE_TABLE, unix.NFTA_RULE_CHAIN, name)
}

func (b *batch) delRule(s subject, chain string, handle uint64) {
	b.message(s, unix.NFT_MSG_DELRULE, 0, func() {
		b.str(unix.NFTA_RULE_TABLE, b.table)
		b.str(unix.NFTA_RULE_CHAIN, chain)
		b.u64(unix.NFTA_RULE_HANDLE, handle)
	})
}

func (b *batch) addCounter(c ruleset.Counter) {
	b.message(subject{"add counter", c.Name}, unix.NFT_MSG_NEWOBJ, unix.NLM_F_CREATE, func() {
		b.object(c.Name, unix.NFT_OBJECT_COUNTER)
		b.nest(unix.NFTA_OBJ_DATA, func() {
			b.u64(unix.NFTA_COUNTER_BYTES, c.Bytes)
			b.u64(unix.NFTA_COUNTER_PACKETS, c.Packets)
		})
	})
}

func (b *batch) addLimit(l ruleset.LimitObject) {
	b.message(subject{"add limit", l.Name}, unix.NFT_MSG_NEWOBJ, unix.NLM_F_CREATE, func() {
		b.object(l.Name, unix.NFT_OBJECT_LIMIT)
		b.nest(unix.NFTA_OBJ_DATA, func() {
			b.u64(unix.NFTA_LIMIT_RATE, l.Rate.Packets)
			b.u64(unix.NFTA_LIMIT_UNIT, l.Rate.Unit)
			b.u32(unix.NFTA_LIMIT_BURST, l.Rate.Burst)
			b.u32(unix.NFTA_LIMIT_TYPE, unix.NFT_LIMIT_PKTS)
			b.u32(unix.NFTA_LIMIT_FLAGS, inverted(l.Rate.Over, unix.NFT_LIMIT_F_INV))
		})
	})
}

func inverted(not bool, flag uint32) uint32 {
	if not {
		return flag
	}
	return 0
}

func (b *batch) object(name string, typ uint32) {
	b.str(unix.NFTA_OBJ_TABLE, b.table)
	b.str(unix.NFTA_OBJ_NAME, name)
	b.u32(unix.NFTA_OBJ_TYPE, typ)
}

func (b *batch) delObject(op, name string, typ uint32) {
	b.message(subject{op, name}, unix.NFT_MSG_DELOBJ, 0, func() { b.object(name, typ) })
}

func (b *batch) addSet(s *ruleset.Set) {
	if len(s.Comment) > ruleset.MaxComment {
		b.fail(fmt.Errorf("set %s: the comment is longer than %d bytes", s.Name, ruleset.MaxComment))
		return
	}
	b.setID++
	id := b.setID
	b.message(subject{"add set", s.Name}, unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, func() {
		b.str(unix.NFTA_SET_TABLE, b.table)
		b.str(unix.NFTA_SET_NAME, s.Name)
		b.u32(unix.NFTA_SET_FLAGS, setFlags(s))
		if s.V6 {
			b.u32(unix.NFTA_SET_KEY_TYPE, typeIPv6)
			b.u32(unix.NFTA_SET_KEY_LEN, 16)
		} else {
			b.u32(unix.NFTA_SET_KEY_TYPE, typeIPv4)
			b.u32(unix.NFTA_SET_KEY_LEN, 4)
		}
		b.u32(unix.NFTA_SET_ID, id)
		if size := setSize(s); size != 0 {
			b.nest(unix.NFTA_SET_DESC, func() { b.u32(unix.NFTA_SET_DESC_SIZE, size) })
		}
		if s.Timeout != 0 {
			b.u64(unix.NFTA_SET_TIMEOUT, s.Timeout*1000)
		}
		u := udataU32(nil, udataSetKeyOrder, udataOrderBig)
		if s.Comment != "" {
			u = udataString(u, udataSetComment, s.Comment)
		}
		b.raw(unix.NFTA_SET_USERDATA, u)
	})
}

func setFlags(s *ruleset.Set) (flags uint32) {
	if s.Interval {
		flags |= unix.NFT_SET_INTERVAL
	}
	if s.Timed || s.Timeout != 0 {
		flags |= unix.NFT_SET_TIMEOUT
	}
	if s.Packets {
		flags |= unix.NFT_SET_EVAL
	}
	return flags
}

func setSize(s *ruleset.Set) uint32 {
	if s.Packets && s.Size == 0 {
		return defaultPacketSet
	}
	return s.Size
}

func (b *batch) delSet(name string) {
	b.named(subject{"delete set", name}, unix.NFT_MSG_DELSET, 0, unix.NFTA_SET_TABLE, unix.NFTA_SET_NAME, name)
}

func (b *batch) flushSet(name string) {
	b.named(subject{"flush set", name}, unix.NFT_MSG_DELSETELEM, 0, unix.NFTA_SET_ELEM_LIST_TABLE, unix.NFTA_SET_ELEM_LIST_SET, name)
}

// element is what a set's element is made of, in the kernel's form.
type element struct {
	lo, hi  []byte
	timeout *lifetime
	verdict *ruleset.Verdict
}

// lifetime is how long an element lives, and what is left of it, in milliseconds. A timeout of 0 is for ever.
type lifetime struct{ timeout, left uint64 }

// elementList is where a list of elements goes.
type elementList struct {
	set      string
	id       uint32 // of a set without a name, made in this batch
	interval bool
	about    subject // for errors, which also say from which element on
	msg      uint16  // NEWSETELEM or DELSETELEM
	flags    uint16
}

// elements adds elements, in as many messages as they need.
func (b *batch) elements(to elementList, elems func(yield func(element) bool)) {
	w := elementWriter{batch: b, to: to}
	for e := range elems {
		w.next()
		b.element(to.interval, e)
	}
	w.finish()
}

// elementWriter adds messages of elements.
type elementWriter struct {
	*batch
	to        elementList
	msg, list int // where the message under way and its list begin; 0 for none
	count     int
}

// next makes room for one more element.
func (w *elementWriter) next() {
	if w.list != 0 && len(w.buf)-w.list > fullList {
		w.finish()
	}
	if w.list == 0 {
		w.begin()
	}
	w.count++
}

func (w *elementWriter) begin() {
	b, to := w.batch, &w.to
	b.ensure(2 * largestAttr)
	b.seq++
	b.subject = append(b.subject, subject{to.about.op, fmt.Sprintf("%s, from number %d on", to.about.object, w.count+1)})
	w.msg = b.begin(nftType(to.msg), unix.NLM_F_REQUEST|to.flags, b.seq, unix.NFPROTO_INET, 0)
	b.last = w.msg
	b.str(unix.NFTA_SET_ELEM_LIST_TABLE, b.table)
	b.str(unix.NFTA_SET_ELEM_LIST_SET, to.set)
	if to.id != 0 {
		b.u32(unix.NFTA_SET_ELEM_LIST_SET_ID, to.id)
	}
	w.list = b.open(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
}

// finish ends the message under way.
func (w *elementWriter) finish() {
	if w.list != 0 {
		w.close(w.list)
		w.end(w.msg)
		w.list = 0
	}
}

// element adds an element; of an interval set as its start and, unless it goes to the last value, its end.
func (b *batch) element(interval bool, e element) {
	var end []byte
	if interval {
		end = after(e.hi)
	}
	b.nest(unix.NFTA_LIST_ELEM, func() {
		b.nest(unix.NFTA_SET_ELEM_KEY, func() { b.raw(unix.NFTA_DATA_VALUE, e.lo) })
		if e.timeout != nil {
			b.u64(unix.NFTA_SET_ELEM_TIMEOUT, e.timeout.timeout)
			if e.timeout.left < e.timeout.timeout {
				b.u64(unix.NFTA_SET_ELEM_EXPIRATION, e.timeout.left)
			}
		}
		if e.verdict != nil {
			b.nest(unix.NFTA_SET_ELEM_DATA, func() { b.verdict(*e.verdict) })
		}
		if interval && end == nil {
			b.raw(unix.NFTA_SET_ELEM_USERDATA, udataU32(nil, udataElemFlags, udataElemOpen))
		}
	})
	if end != nil {
		b.rangeEnd(end)
	}
}

// rangeEnd adds the end of a range: the first key that is not in it.
func (b *batch) rangeEnd(key []byte) {
	b.nest(unix.NFTA_LIST_ELEM, func() {
		b.u32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
		b.nest(unix.NFTA_SET_ELEM_KEY, func() { b.raw(unix.NFTA_DATA_VALUE, key) })
	})
}

func (b *batch) verdict(v ruleset.Verdict) {
	b.nest(unix.NFTA_DATA_VERDICT, func() {
		b.u32(unix.NFTA_VERDICT_CODE, uint32(verdictCode(v.Kind)))
		if v.Chain != "" {
			b.str(unix.NFTA_VERDICT_CHAIN, v.Chain)
		}
	})
}

// after is the next value of as many bytes, nil after the last.
func after(v []byte) []byte {
	next := append([]byte(nil), v...)
	for i := len(next) - 1; i >= 0; i-- {
		next[i]++
		if next[i] != 0 {
			return next
		}
	}
	return nil
}

// before is the value before one that is not 0.
func before(v []byte) []byte {
	prev := append([]byte(nil), v...)
	for i := len(prev) - 1; i >= 0; i-- {
		prev[i]--
		if prev[i] != 0xff {
			break
		}
	}
	return prev
}
