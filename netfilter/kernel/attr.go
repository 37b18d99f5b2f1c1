package kernel

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// builder grows netlink messages at the end of one buffer. Attributes are nf_tables' own: integers big-endian.
type builder struct {
	buf   []byte
	table string // that messages are about
}

// raw adds an attribute.
func (b *builder) raw(typ uint16, data []byte) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(4+len(data)))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, typ)
	b.buf = append(b.buf, data...)
	b.pad()
}

// pad fills up to the next multiple of four.
func (b *builder) pad() {
	for len(b.buf)%4 != 0 {
		b.buf = append(b.buf, 0)
	}
}

// str adds a string with its trailing NUL.
func (b *builder) str(typ uint16, s string) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(4+len(s)+1))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, typ)
	b.buf = append(b.buf, s...)
	b.buf = append(b.buf, 0)
	b.pad()
}

func (b *builder) u32(typ uint16, v uint32) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, 8)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, typ)
	b.buf = binary.BigEndian.AppendUint32(b.buf, v)
}

func (b *builder) u64(typ uint16, v uint64) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, 12)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, typ)
	b.buf = binary.BigEndian.AppendUint64(b.buf, v)
}

// nest adds an attribute of attributes, which fill adds.
func (b *builder) nest(typ uint16, fill func()) {
	at := b.open(typ)
	fill()
	b.close(at)
}

// open begins an attribute of attributes; close, with what open returned, ends it.
func (b *builder) open(typ uint16) int {
	at := len(b.buf)
	b.buf = append(b.buf, 0, 0, 0, 0)
	binary.NativeEndian.PutUint16(b.buf[at+2:], typ|unix.NLA_F_NESTED)
	return at
}

func (b *builder) close(at int) { binary.NativeEndian.PutUint16(b.buf[at:], uint16(len(b.buf)-at)) }

// attr is one attribute that the kernel sent.
type attr struct {
	typ  uint16
	data []byte
}

// attrs splits a message's attributes. What is cut short at the end is left out: the kernel does not send such.
func attrs(b []byte) func(yield func(attr) bool) {
	return func(yield func(attr) bool) {
		for len(b) >= 4 {
			n := int(binary.NativeEndian.Uint16(b))
			if n < 4 || n > len(b) {
				return
			}
			typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(attr{typ, b[4:n:n]}) {
				return
			}
			b = b[min(align(n), len(b)):]
		}
	}
}

// find is the content of the first attribute of a type, nil where there is none.
func find(b []byte, typ uint16) []byte {
	for a := range attrs(b) {
		if a.typ == typ {
			return a.data
		}
	}
	return nil
}

// str is a string attribute without its trailing NUL.
func (a attr) str() string {
	b := a.data
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return string(b)
}

// num is an unsigned integer attribute of 1, 2, 4 or 8 bytes, 0 for any other length.
func (a attr) num() uint64 { return number(a.data) }

func number(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	case 8:
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// align rounds up to netlink's unit.
func align(n int) int { return (n + 3) &^ 3 }
