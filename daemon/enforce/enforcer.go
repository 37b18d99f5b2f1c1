// Package enforce takes a policy from its text to the kernel: load, prove, compile, compare, commit, store.
//
// The daemon and the one-shot verbs use it alike. Be aware: a network namespace belongs to a thread, and an Enforcer
// serves the one of the thread that called Open.
package enforce

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"ringwall/daemon/store"
	"ringwall/netfilter/compile"
	"ringwall/netfilter/host"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// Options is how an Enforcer is made.
type Options struct {
	State    string           // directory of the last good policy and the bans
	ReadOnly bool             // never writes: takes no lock, and does without the kernel where that refuses
	LogGroup uint16           // nflog group of the rules' logs; 0 stands for DefaultLogGroup
	Lazy     bool             // Apply leaves storing, and the rest of brief proofs, to the caller: see Unstored, Proof
	Wait     time.Duration    // for another process that holds the state directory; 0 stands for 5 seconds
	Kernel   kernel.Options   // the zero Options is right for production
	Now      func() time.Time // nil stands for time.Now
	Log      *slog.Logger     // nil for none
	Who      string           // who applies, for the record: a user, or "ringwall run"
	Compile  Compiler         // nil stands for compile.Compile
	Progress func(string)     // is told what is being done now, for who waits; nil for nobody
}

// Compiler turns a policy into what the kernel shall hold.
type Compiler func(*policy.Policy, compile.Options) (*ruleset.Ruleset, error)

// DefaultLogGroup is the nflog group that rules log to.
const DefaultLogGroup = 1913

// ErrNothingKnown tells that no policy is enforced, as far as this process and the state directory know.
var ErrNothingKnown = errors.New("no policy is enforced")

// ErrReadOnly tells that an Enforcer made to read was asked to write.
var ErrReadOnly = errors.New("opened for reading only")

// Enforcer enforces one policy at a time in one network namespace. It is not safe for concurrent use: one loop serves it.
type Enforcer struct {
	opt     Options
	dir     store.Dir
	lock    *store.Lock  // nil where ReadOnly
	conn    *kernel.Conn // nil where the kernel refused and ReadOnly
	refusal error        // why conn is nil
	unread  error        // why the state directory can't be read; nil where it could be
	host    *host.Host

	running Running
	bans    []Ban           // of the state directory, sorted; those that have ended may be among them
	stale   time.Time       // since when comments of the table's rules are to be refreshed; zero for not
	placed  bool            // the bans have been put into the kernel's sets by this Enforcer
	looked  uint32          // the kernel's generation when Repair last found, or made, all well; 0 for never
	pending *store.Pending  // the change that is enforced and not confirmed; nil where there is none
	kept    Running         // what comes back where it is not; Policy nil where that is not known
	refused []store.Refusal // the latest last
	ssh     []string        // cgroups of SSH services
	cutting sync.Mutex      // connections are cut
	later   sync.WaitGroup  // they will be, when the answer is out
	backlog backlog         // what of them
	stored  bool            // running is, or is being, stored as the last good policy; or is none to store
}

// Running is the policy that is enforced, as far as this process knows. Policy is nil where it knows of none.
type Running struct {
	*Candidate
	Source  Source
	Applied time.Time
	rules   *ruleset.Ruleset // what the kernel was given; nil before this process has planned or applied it
}

// Open makes an Enforcer for the network namespace of the calling thread. It waits for another process that holds the
// state directory; where that goes on the error is a *store.HeldError, which names it.
func Open(ctx context.Context, opt Options) (*Enforcer, error) {
	if opt.LogGroup == 0 {
		opt.LogGroup = DefaultLogGroup
	}
	if opt.Wait == 0 {
		opt.Wait = 5 * time.Second
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Compile == nil {
		opt.Compile = compile.Compile
	}
	if opt.Progress == nil {
		opt.Progress = func(string) {}
	}
	opt.Kernel.LazyComments = true
	e := &Enforcer{opt: opt, dir: store.At(opt.State), ssh: sshServices()}
	if err := e.open(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	e.recall(ctx)
	return e, nil
}

// open takes hold of the host, the state directory and the kernel.
func (e *Enforcer) open(ctx context.Context) (err error) {
	if e.host, err = host.Open(); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	var lost error
	if !e.opt.ReadOnly {
		if lost, err = e.claim(ctx); err != nil {
			return err
		}
	}
	e.conn, err = kernel.Dial(e.opt.Kernel)
	if err == nil {
		return nil
	}
	e.conn, e.refusal = nil, err
	if !e.opt.ReadOnly {
		return errors.Join(lost, fmt.Errorf("nf_tables: %w", err))
	}
	return nil
}

// claim makes the state directory this Enforcer's. One that can't be used is no reason to leave the host open: it does
// without, says so, and returns why as lost. Another process that has it is an error.
func (e *Enforcer) claim(ctx context.Context) (lost, err error) {
	lost = e.dir.Create()
	if lost == nil {
		wait, cancel := context.WithTimeout(ctx, e.opt.Wait)
		defer cancel()
		e.lock, lost = e.dir.Lock(wait)
	}
	if held := (*store.HeldError)(nil); errors.As(lost, &held) {
		return nil, lost
	}
	if lost != nil {
		e.opt.Log.Error("the state directory can't be used: nothing is known of earlier policies and bans, and nothing is stored", "error", lost)
		e.dir, e.lock = e.dir.Lost(lost), &store.Lock{}
	}
	return lost, nil
}

// Close gives the kernel's socket and the state directory back. The rules stay in place.
func (e *Enforcer) Close() error {
	e.later.Wait()
	var errs []error
	if e.conn != nil {
		errs = append(errs, e.conn.Close())
	}
	if e.host != nil {
		errs = append(errs, e.host.Close())
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Unlock())
	}
	return errors.Join(errs...)
}

// Running is the policy that was enforced last, by this process or the one before it.
func (e *Enforcer) Running() Running { return e.running }

// Features is what the kernel can do, false where it can't be asked.
func (e *Enforcer) Features() (f kernel.Features, ok bool) {
	if e.conn == nil {
		return f, false
	}
	return e.conn.Features(), true
}

// CompileOptions is what a policy is compiled for: this kernel, or where it can't be asked one that can do all.
func (e *Enforcer) CompileOptions() compile.Options {
	opt := compile.Options{LogGroup: e.opt.LogGroup}
	if f, ok := e.Features(); ok {
		opt.NoLabels, opt.EveryWay = !f.Labels, !f.ValidatesOnce
	}
	return opt
}

// recall finds out what is enforced, from the state directory and the kernel. Nothing there is needed to go on: what
// can't be read is logged, and is as if it had never been.
func (e *Enforcer) recall(ctx context.Context) {
	last, err := e.lastGood()
	switch {
	case err == nil:
		e.running, e.stored = last, true
	case errors.Is(err, fs.ErrPermission) && e.opt.ReadOnly:
		e.unread = err
		return
	case !errors.Is(err, fs.ErrNotExist):
		e.opt.Log.Warn("the last good policy can't be used", "error", err)
		fallthrough
	default:
		e.recallEmergency(ctx)
	}
	e.recallPending()
	if e.bans, err = e.dir.Bans(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.opt.Log.Warn("the stored bans can't be used", "error", err)
	}
	sortBans(e.bans)
	e.recallRefused()
}

// nothingKnown is why there is no running policy: an error that wraps ErrNothingKnown.
func (e *Enforcer) nothingKnown() error {
	if e.unread != nil {
		return fmt.Errorf("%w, as far as this user can see: %w", ErrNothingKnown, e.unread)
	}
	return ErrNothingKnown
}
