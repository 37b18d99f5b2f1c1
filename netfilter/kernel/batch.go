package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// batch is a transaction under construction: messages, and for each what it is about.
type batch struct {
	builder
	first   uint32 // sequence number of the beginning
	seq     uint32 // of the latest message
	last    int    // where the latest message begins
	acked   uint32 // sequence number of the message that is acknowledged
	subject []subject
	setID   uint32 // the latest number of a set that is made in this batch
	err     error  // the first thing that could not be encoded
	region  region // where the messages of a large batch are

	// The expressions of the rule under way, kept for their memory.
	scratch builder
	exprs   [][]byte
}

// subject is what a message is about, for errors.
type subject struct{ op, object string }

const (
	nfgenLen = 4 // family, version, resource id
	// families of a message that is not about a table
	unspec = unix.AF_UNSPEC
)

// begin starts a message; end, with what begin returned, finishes it.
func (b *builder) begin(typ, flags uint16, seq uint32, family uint8, res uint16) int {
	at := len(b.buf)
	b.buf = append(b.buf, 0, 0, 0, 0)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, typ)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, flags)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, seq)
	b.buf = append(b.buf, 0, 0, 0, 0, family, unix.NFNETLINK_V0)
	b.buf = binary.BigEndian.AppendUint16(b.buf, res)
	return at
}

func (b *builder) end(at int) { binary.NativeEndian.PutUint32(b.buf[at:], uint32(len(b.buf)-at)) }

// nftType is the netlink type of an nf_tables message.
func nftType(msg uint16) uint16 { return unix.NFNL_SUBSYS_NFTABLES<<8 | msg }

// newBatch begins a transaction about a table, guarded by a generation where that is not 0. Its first sequence number is seq.
func newBatch(table string, seq, generation uint32) *batch {
	b := &batch{builder: builder{table: table}, first: seq, seq: seq}
	at := b.begin(unix.NFNL_MSG_BATCH_BEGIN, unix.NLM_F_REQUEST, seq, unspec, unix.NFNL_SUBSYS_NFTABLES)
	if generation != 0 {
		b.u32(unix.NFNL_BATCH_GENID, generation)
	}
	b.end(at)
	b.last = at
	b.subject = append(b.subject, subject{op: "begin transaction"})
	return b
}

// reserve makes room for so many bytes of messages.
func (b *batch) reserve(size int) {
	if size >= largeBatch && b.region == nil {
		if b.region = newRegion(len(b.buf) + size); b.region != nil {
			b.buf = append(b.region[:0], b.buf...)
			return
		}
	}
	b.buf = slices.Grow(b.buf, size)
}

// ensure makes room for so many bytes more in a region: it moves its pages, and copies nothing.
func (b *batch) ensure(size int) {
	for b.region != nil && cap(b.buf)-len(b.buf) < size {
		larger := b.region.twice()
		if larger == nil {
			return // and append moves to the heap
		}
		b.region, b.buf = larger, larger[:len(b.buf)]
	}
}

// release gives the memory of the messages back.
func (b *batch) release() {
	b.buf = nil
	b.region.free()
	b.region = nil
}

// message adds a message about the table.
func (b *batch) message(s subject, msg, flags uint16, fill func()) {
	b.seq++
	b.subject = append(b.subject, s)
	at := b.begin(nftType(msg), unix.NLM_F_REQUEST|flags, b.seq, unix.NFPROTO_INET, 0)
	fill()
	b.end(at)
	b.last = at
}

// fail remembers that something cannot be encoded.
func (b *batch) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// finish ends a transaction: it is committed with its end, and only validated without. The acknowledgement is asked of the
// last message before the end: one of the end itself comes from kernel 6.10 on only. It is sent after the commit in any case.
func (b *batch) finish(commit bool) {
	flags := binary.NativeEndian.Uint16(b.buf[b.last+6:])
	binary.NativeEndian.PutUint16(b.buf[b.last+6:], flags|unix.NLM_F_ACK)
	b.acked = b.seq
	if commit {
		b.seq++
		b.end(b.begin(unix.NFNL_MSG_BATCH_END, unix.NLM_F_REQUEST, b.seq, unspec, unix.NFNL_SUBSYS_NFTABLES))
		b.subject = append(b.subject, subject{op: "commit"})
	}
}

// transact sends a finished batch and returns the kernel's objections, joined, each an *OpError.
func (s *socket) transact(ctx context.Context, b *batch) error {
	defer b.release()
	if b.err != nil {
		return b.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.drain()
	if err := s.send(b.buf); err != nil {
		return err
	}
	var errs []error
	acked := false
	lost := false
	for {
		// The kernel has worked through the batch before send returned: all there is to say is there.
		err := s.receive(ctx, false, func(m message) error {
			if m.err == nil || m.seq < b.first || m.seq > b.seq {
				return nil
			}
			if m.err.errno == 0 {
				acked = acked || m.seq == b.acked
				return nil
			}
			about := b.subject[m.seq-b.first]
			errs = append(errs, &OpError{Op: about.op, Object: about.object, Err: m.err.errno, Reason: m.err.text, Offset: m.err.offset})
			return nil
		})
		switch err {
		case nil:
			continue
		case unix.ENOBUFS:
			lost = true
			continue
		case unix.EAGAIN:
		default:
			return fmt.Errorf("read from nf_tables: %w", err)
		}
		break
	}
	switch {
	case len(errs) > 0:
		return errors.Join(errs...)
	case acked:
		return nil
	case lost:
		return ErrLost
	}
	return fmt.Errorf("nf_tables did not answer: %w", ErrLost)
}
