package droplog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/florianl/go-nflog/v2"
	"golang.org/x/sys/unix"
)

// Options is where a Reader reads.
type Options struct {
	Group uint16 // of the rules' logs
	// Interface names the interface with an index.
	Interface func(index uint32) string
	// Now is the time; nil for time.Now.
	Now func() time.Time
}

// Reader takes packets from a log group. The kernel gives a group to one reader at a time.
type Reader struct {
	opt  Options
	log  *nflog.Nflog
	seq  sequence
	lost atomic.Uint64
	bad  atomic.Uint64
}

// receiveBuffer is the kernel's queue for packets that are not read yet, in bytes. With the default of some 200 kB half
// is lost at 50,000 packets a second; this loses none.
const receiveBuffer = 8 << 20

// Open binds the group in the network namespace of the calling thread; CAP_NET_ADMIN is needed. The error wraps
// fs.ErrPermission where another program reads the group.
func Open(opt Options) (*Reader, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	log, err := nflog.Open(&nflog.Config{
		Group:    opt.Group,
		Copymode: nflog.CopyPacket,
		Bufsize:  snapLen,
		Flags:    nflog.FlagSeq,
		Timeout:  10, // hundredths of a second that the kernel may gather packets for
	})
	if err != nil {
		return nil, fmt.Errorf("open log group %d: %w", opt.Group, err)
	}
	if err := log.Con.SetReadBuffer(receiveBuffer); err != nil {
		log.Close()
		return nil, fmt.Errorf("log group %d: receive buffer of %d bytes: %w", opt.Group, receiveBuffer, err)
	}
	return &Reader{opt: opt, log: log}, nil
}

// Run reads until ctx ends, which is no error, and calls f for every packet, one at a time. The Reader is closed after it.
func (r *Reader) Run(ctx context.Context, f func(Packet)) error {
	defer r.log.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the library waits for it in Close

	failed := make(chan error, 1)
	gate := &gate{}
	defer gate.shut()
	take := func(a nflog.Attribute) int {
		gate.pass(func() { r.take(a, f) })
		return 0
	}
	onError := func(err error) int {
		switch {
		case errors.Is(err, unix.ENOBUFS):
			return 0 // packets were lost; the sequence tells how many
		case errors.Is(err, os.ErrDeadlineExceeded):
			return 0 // ctx ended
		}
		failed <- err
		return 1
	}
	if err := r.log.RegisterWithErrorFunc(ctx, take, onError); err != nil {
		return fmt.Errorf("bind log group %d: %w", r.opt.Group, err)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return fmt.Errorf("read log group %d: %w", r.opt.Group, err)
	}
}

// Lost is how many packets the kernel logged and could not hand over, since Run began.
func (r *Reader) Lost() uint64 { return r.lost.Load() }

// Unreadable is how many packets came without a whole IP header.
func (r *Reader) Unreadable() uint64 { return r.bad.Load() }

func (r *Reader) take(a nflog.Attribute, f func(Packet)) {
	if a.Seq != nil {
		r.lost.Add(r.seq.gap(*a.Seq))
	}
	p, err := newPacket(a, r.opt.Now(), r.opt.Interface)
	if err != nil {
		r.bad.Add(1)
		return
	}
	f(p)
}

// sequence is the number that the next packet should bear. The kernel counts the packets of a group from 0.
type sequence struct{ next uint32 }

// gap is how many numbers were left out before this one. Numbers wrap around; one from before is no gap.
func (s *sequence) gap(seq uint32) uint64 {
	n := seq - s.next
	if n >= 1<<31 {
		return 0
	}
	s.next = seq + 1
	return uint64(n)
}

// gate keeps calls from happening once it is shut: the library's goroutine may outlive Run.
type gate struct {
	mu   sync.Mutex
	down bool
}

func (g *gate) pass(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.down {
		f()
	}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = true
}
