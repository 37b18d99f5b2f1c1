package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watcher signals changes of the files given to Update.
type Watcher struct {
	opt     Options
	changes chan struct{}
	update  chan Paths
	quit    chan struct{}
	done    sync.WaitGroup
	close   sync.Once
}

// Options is how patient a Watcher is.
type Options struct {
	// Settle is how long nothing may happen before a change is signalled, so that a checkout of many files is one
	// change; 50 ms where zero.
	Settle time.Duration
	// Latest is when a change is signalled though it has not settled; 400 ms where zero.
	Latest time.Duration
	// Checkout is how long a change is not signalled while git is writing a work tree that the files are in, as its index.lock says;
	// 10 s where zero. A git that has died leaves the lock.
	Checkout time.Duration
	// Rescan is how often a signal comes though nothing was seen, for what the kernel is silent about: network file
	// systems, a mount over a directory. 30 s where zero, never where negative.
	Rescan time.Duration
	Log    *slog.Logger // of what can't be watched; nil for none
}

// Paths is what to watch, as the reader named it; relative names are relative to the working directory. What does not
// exist is watched for.
type Paths struct {
	Files []string // files and directories
	Globs []string // patterns, path.Match syntax in every element
}

// New makes a Watcher that watches nothing yet.
func New(opt Options) (*Watcher, error) {
	n, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	return start(n, opt), nil
}

// start makes a Watcher that begins with n.
func start(n *fsnotify.Watcher, opt Options) *Watcher {
	opt.Settle = orDefault(opt.Settle, 50*time.Millisecond)
	opt.Latest = orDefault(opt.Latest, 400*time.Millisecond)
	opt.Checkout = orDefault(opt.Checkout, 10*time.Second)
	opt.Rescan = orDefault(opt.Rescan, 30*time.Second)
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{
		opt:     opt,
		changes: make(chan struct{}, 1),
		update:  make(chan Paths),
		quit:    make(chan struct{}),
	}
	w.done.Go(func() { w.run(n) })
	return w
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// Changes is where the signals come. Those that are not fetched become one.
func (w *Watcher) Changes() <-chan struct{} { return w.changes }

// Update says what the last load read, tried to read and looked for. If that is anything new, one signal follows: it
// may have changed between the reading and the watching.
func (w *Watcher) Update(p Paths) {
	select {
	case w.update <- p:
	case <-w.quit:
	}
}

// Close ends the watching. No signal comes after it.
func (w *Watcher) Close() error {
	w.close.Do(func() { close(w.quit) })
	w.done.Wait()
	return nil
}

// run is the one loop. Its fsnotify watcher is never changed but replaced by another, made from nothing: the kernel
// keeps watches by inode and fsnotify by path, and the two come apart when directories are moved, removed and made again.
func (w *Watcher) run(n *fsnotify.Watcher) {
	defer func() { w.drop(n) }()
	var (
		paths Paths
		seen  = &plan{}
		burst = burst{settle: w.opt.Settle, latest: w.opt.Latest}
	)
	renew := func() {
		next, p, err := w.arm(paths)
		if err != nil {
			w.opt.Log.Warn("the policy's files can't be watched: changes are noticed late", "error", err)
			return
		}
		w.drop(n)
		n, seen = next, p
	}
	settled := time.NewTimer(0)
	settled.Stop()
	defer settled.Stop()
	var rescan <-chan time.Time
	if w.opt.Rescan > 0 {
		t := time.NewTicker(w.opt.Rescan)
		defer t.Stop()
		rescan = t.C
	}
	for {
		select {
		case <-w.quit:
			return
		case paths = <-w.update:
			// Where nothing is new the watcher stays: its unread events would be lost with it.
			if newPlan(paths).same(seen) {
				continue
			}
			renew()
			settled.Reset(burst.add(time.Now()))
		case ev := <-n.Events:
			if seen.concerns(ev) {
				settled.Reset(burst.add(time.Now()))
			}
		case err := <-n.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				w.opt.Log.Warn("watching the policy's files", "error", err)
			}
			settled.Reset(burst.add(time.Now()))
		case <-settled.C:
			if seen.checkout() && time.Since(burst.since) < w.opt.Checkout {
				settled.Reset(w.opt.Settle)
				continue
			}
			burst.end()
			renew()
			w.signal()
		case <-rescan:
			renew()
			w.signal()
		}
	}
}

// arm makes a watcher for paths as the directories are now.
func (w *Watcher) arm(paths Paths) (*fsnotify.Watcher, *plan, error) {
	n, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, nil, err
	}
	p := newPlan(paths)
	added := map[string]bool{}
	for range armTries {
		for _, dir := range p.sorted() {
			if added[dir] {
				continue
			}
			added[dir] = true
			if err := n.Add(dir); err != nil && !gone(err) {
				w.opt.Log.Warn("a directory can't be watched: changes are noticed late", "directory", dir, "error", err)
			}
		}
		// What was moved after the plan was made and before it was watched shows in a second plan; what is
		// moved later shows as an event.
		q := newPlan(paths)
		if q.same(p) {
			break
		}
		p = q
	}
	return n, p, nil
}

// armTries bounds how often arm follows directories that are being moved about. Their events bring it here again.
const armTries = 5

// gone tells whether a directory is not there any more: the watch on its parent reports its return.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// drop closes a watcher without waiting: the kernel takes its time to let the marks go.
func (w *Watcher) drop(n *fsnotify.Watcher) {
	w.done.Go(func() { n.Close() })
}

// signal sends one, unless one is waiting already.
func (w *Watcher) signal() {
	select {
	case w.changes <- struct{}{}:
	default:
	}
}

// burst is a run of events that are one change.
type burst struct {
	settle, latest time.Duration
	since          time.Time // of the first event; zero between bursts
}

// add takes an event and returns how long to wait for another.
func (b *burst) add(now time.Time) time.Duration {
	if b.since.IsZero() {
		b.since = now
	}
	return max(0, min(b.settle, b.latest-now.Sub(b.since)))
}

func (b *burst) end() { b.since = time.Time{} }
