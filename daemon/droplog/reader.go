package droplog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/florianl/go-nflog/v2"
	"golang.org/x/sys/unix"
)

// Options is where a Reader reads.
type Options struct {
	Group uint16 // of the rules' logs
	// Interface names the interface with an index, empty where there is none.
	Interface func(index uint32) string
	// Now is the time; nil for time.Now.
	Now func() time.Time
}

// Reader takes packets from a log group. The kernel gives a group to one reader at a time.
type Reader struct {
	opt     Options
	log     *nflog.Nflog
	packets chan nflog.Attribute
	failed  chan error // holds at most one: nothing is read after it
	stop    context.CancelFunc
	seq     sequence
	lost    atomic.Uint64
}

// receiveBuffer is the kernel's queue for packets that are not read yet, in bytes. With the default of some 200 kB half
// is lost at 50,000 packets a second; this loses none.
const receiveBuffer = 8 << 20

// Open takes the group, in the network namespace of the calling thread; CAP_NET_ADMIN is needed. It fails where another
// program reads the group. What is logged from then on waits for Run.
func Open(opt Options) (*Reader, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Interface == nil {
		opt.Interface = func(uint32) string { return "" }
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
	ctx, stop := context.WithCancel(context.Background())
	r := &Reader{
		opt:     opt,
		log:     log,
		packets: make(chan nflog.Attribute),
		failed:  make(chan error, 1),
		stop:    stop,
	}
	if err := r.bind(ctx); err != nil {
		r.Close()
		return nil, fmt.Errorf("bind log group %d: %w", opt.Group, err)
	}
	return r, nil
}

// bind starts the library's goroutine, which hands packets over until ctx ends.
func (r *Reader) bind(ctx context.Context) error {
	if err := r.log.Con.SetReadBuffer(receiveBuffer); err != nil {
		return fmt.Errorf("receive buffer of %d bytes: %w", receiveBuffer, err)
	}
	const goOn, end = 0, 1
	take := func(a nflog.Attribute) int {
		select {
		case r.packets <- a:
			return goOn
		case <-ctx.Done():
			return end
		}
	}
	onError := func(err error) int {
		switch {
		case errors.Is(err, unix.ENOBUFS):
			return goOn // packets were lost; the sequence tells how many
		case errors.Is(err, os.ErrDeadlineExceeded):
			return goOn // ctx ended: the library looks at it next
		}
		r.failed <- err
		return end
	}
	return r.log.RegisterWithErrorFunc(ctx, take, onError)
}

// Run calls f for every packet, one at a time, until ctx ends, which is no error. The Reader is closed after it.
func (r *Reader) Run(ctx context.Context, f func(Packet)) error {
	defer r.Close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-r.failed:
			return fmt.Errorf("read log group %d: %w", r.opt.Group, err)
		case a := <-r.packets:
			r.take(a, f)
		}
	}
}

// Close gives the group back. It is needed only where Run was never called.
func (r *Reader) Close() error {
	r.stop() // the library waits for it in Close
	return r.log.Close()
}

// Lost is how many packets the kernel logged and Run handed to nobody: those that the kernel had no room for, and those
// without a whole IP header.
func (r *Reader) Lost() uint64 { return r.lost.Load() }

func (r *Reader) take(a nflog.Attribute, f func(Packet)) {
	if a.Seq != nil {
		r.lost.Add(r.seq.gap(*a.Seq))
	}
	p, err := newPacket(a, r.opt.Now(), r.opt.Interface)
	if err != nil {
		r.lost.Add(1)
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
