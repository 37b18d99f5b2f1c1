// Package daemon keeps a policy enforced while the machine runs.
//
// One loop serves everything: changed files, SIGHUP, clients and foreign changes to the table. So nothing is ever
// applied twice at once, and what the loop knows needs no locks. Be aware: a network namespace belongs to a thread,
// and Run serves the one of the thread that called it.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"ringwall/daemon/control"
	"ringwall/daemon/droplog"
	"ringwall/daemon/enforce"
	"ringwall/daemon/observe"
	"ringwall/daemon/watch"
	"ringwall/netfilter/host"
	"ringwall/netfilter/kernel"
)

// Config is how a daemon is run. Policy, State and Socket must be set; the rest is right for production where zero.
type Config struct {
	Policy string // entry file
	State  string // state directory
	Socket string // control socket

	Owner    string           // the user besides root, by name or number, who may own the policy's files; empty for none
	Build    string           // version of the program
	Confirm  time.Duration    // how long a reload stands without a confirmation; 0 for ever
	LogGroup uint16           // nflog group of the rules' logs; 0 stands for enforce.DefaultLogGroup
	Hangup   <-chan os.Signal // each signal reloads; nil for none
	Log      *slog.Logger     // nil for none
	Tick     time.Duration    // how often the table is looked at where others can change it; 0 stands for half a second
	Watchdog time.Duration    // how often at least the service manager wants a sign of life; 0 for never
	Wait     time.Duration    // for another process that holds the state directory; 0 stands for 5 seconds
	Watch    watch.Options
	Kernel   kernel.Options
	Compile  enforce.Compiler     // nil stands for compile.Compile
	Now      func() time.Time     // nil stands for time.Now
	Boot     string               // id of this boot; empty stands for that of the machine
	Uptime   func() time.Duration // since that boot, as no one can set it; nil stands for that of the machine
	Kept     []*os.File           // netfilter sockets that the service manager kept of an earlier run; taken over or closed
	Keep     func(f *os.File)     // has the service manager keep the socket that owns the table; nil for none
	Notify   func(state string)   // tells the service manager, as sd_notify(3) has it; nil for none
}

// daemon is one Run. All but calls, stopped, rest and origins is the loop's alone.
type daemon struct {
	cfg     Config
	log     *slog.Logger
	enf     *enforce.Enforcer
	watch   *watch.Watcher
	hello   control.Hello
	started time.Time

	calls   chan func()   // what clients want done, by the loop
	stopped chan struct{} // closed when the loop has ended

	ready   bool           // the start is over: who waits for it does not wait for lints
	digest  string         // of the files when they were last looked at
	reload  control.Reload // what came of that
	again   time.Time      // when a reload that the machine failed is tried again; zero for never
	notes   []string       // about what is enforced
	heals   uint64
	guard   guard
	window  window
	pace    pace
	keeper  keeper
	prover  prover
	rest    atomic.Uint64   // bytes of the heap when memory was last given back
	drops   *droplog.Reader // nil where the log group can't be read
	origins origins

	observer *observe.Observer
}

// Run enforces the policy until ctx ends, which is no error, and leaves the rules in place. Where the policy's files
// are broken it enforces the last good policy, and where there is none the emergency policy. An error means that
// nothing can be enforced, or that another daemon has the socket or the state directory.
func Run(ctx context.Context, cfg Config) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	d := &daemon{cfg: cfg, calls: make(chan func()), stopped: make(chan struct{})}
	d.fill()
	server, err := control.Listen(cfg.Socket, host.Group, d.log)
	if err != nil {
		return err
	}
	defer server.Close()
	if err := d.open(ctx); err != nil {
		return err
	}
	defer d.close()
	if err := d.start(ctx); err != nil {
		return err
	}

	tasks, stop := context.WithCancel(ctx)
	failed := make(chan error, 2)
	var wg sync.WaitGroup
	wg.Go(func() { failed <- server.Serve(d) })
	if d.drops != nil {
		wg.Go(func() { d.readDrops(tasks) })
	}
	err = d.loop(ctx, failed)
	d.cfg.Notify("STOPPING=1")
	close(d.stopped)
	stop()
	err = errors.Join(err, server.Close())
	wg.Wait()
	return err
}

// place names the network namespace that the daemon serves, among those of all boots.
func (d *daemon) place() string {
	n := d.hello.Namespace
	return fmt.Sprintf("%s %d %d %d", host.Boot(), n.Dev, n.Inode, n.Cookie)
}

// fill puts what is right for production in the place of what the configuration leaves out.
func (d *daemon) fill() {
	c := &d.cfg
	if c.LogGroup == 0 {
		c.LogGroup = enforce.DefaultLogGroup
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Tick == 0 {
		c.Tick = 500 * time.Millisecond
	}
	if c.Notify == nil {
		c.Notify = func(string) {}
	}
	if c.Uptime == nil {
		c.Uptime = host.Uptime
	}
	if id, err := host.BootID(); err != nil {
		c.Log.Warn("a change to be confirmed is timed by the time of day", "error", err)
	} else {
		c.Boot = or(c.Boot, id)
	}
	c.Watch.Log = c.Log
	d.log, d.started = c.Log, c.Now()
}

// open takes hold of the kernel, the state directory and the files' directories.
func (d *daemon) open(ctx context.Context) (err error) {
	ns, err := host.CurrentNamespace()
	if err != nil {
		return err
	}
	d.hello = control.Hello{Build: d.cfg.Build, Owner: d.cfg.Owner, PID: os.Getpid(), Namespace: ns}
	d.inherit()
	d.enf, err = enforce.Open(ctx, enforce.Options{
		State: d.cfg.State, Wait: d.cfg.Wait, LogGroup: d.cfg.LogGroup, Kernel: d.cfg.Kernel, Compile: d.cfg.Compile, Now: d.cfg.Now, Log: d.log, Who: "ringwall run", Lazy: true,
	})
	if err != nil {
		return err
	}
	if d.watch, err = watch.New(d.cfg.Watch); err != nil {
		d.enf.Close()
		return err
	}
	d.openDrops()
	d.openObserver()
	if d.cfg.Keep != nil {
		d.cfg.Keep(d.enf.Socket())
	}
	return nil
}

// close gives back what open took.
func (d *daemon) close() {
	d.keeper.finish(d)
	d.prover.stop()
	d.observer.Close(context.Background())
	d.guard.release(d)
	if err := errors.Join(d.watch.Close(), d.enf.Close()); err != nil {
		d.log.Warn("close", "error", err)
	}
}

// start enforces what there is to enforce, and tells the service manager once it is.
func (d *daemon) start(ctx context.Context) error {
	if d.enf.Forget(); heap() > largeStart { // what an earlier run has stored, and this one read
		debug.FreeOSMemory()
	}
	d.guard.lookBack(ctx, d)
	if !d.resume(ctx) && !d.readFiles(ctx) {
		d.log.Error("the policy's files are not enforced", "policy", d.cfg.Policy, "error", d.reload.Error)
		r, err := d.enf.ApplyStored(ctx)
		if err != nil && !r.Applied {
			return fmt.Errorf("nothing can be enforced: %s; and %w", d.reload.Error, err)
		}
		d.settled(r, err)
	}
	d.guard.begin(ctx, d)
	d.cfg.Notify("READY=1\nSTATUS=" + d.statusLine())
	d.ready = true
	if run := d.enf.Running(); run.Source == enforce.Files {
		d.reload.Diagnostics = d.lint(run.Candidate)
	}
	return nil
}

// loop does one thing at a time until ctx ends.
func (d *daemon) loop(ctx context.Context, failed <-chan error) error {
	d.pace.start(d.pause())
	defer d.pace.timer.Stop()
	for {
		var do func()
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-d.watch.Changes():
			do = func() { d.filesChanged(ctx) }
		case <-d.cfg.Hangup:
			do = func() {
				d.log.Info("SIGHUP: reload")
				d.reloadFiles(ctx)
			}
		case call := <-d.calls:
			do = func() {
				call()
				d.keeper.used = time.Now()
			}
		case err := <-d.keeper.done:
			do = func() { d.keeper.end(d, err) }
		case r := <-d.prover.done:
			do = func() { d.prover.end(d, r) }
		case e, more := <-d.guard.events:
			do = func() { d.guard.hear(ctx, d, e, more) }
		case <-d.guard.wake:
			do = func() { d.guard.look(ctx, d) }
		case <-d.pace.timer.C:
			d.pace.fired()
			do = func() { d.keep(ctx) }
		}
		d.alive(aliveAfter)
		do()
		d.pace.plan(d.pause())
	}
}

// refreshAfter is how long comments in the kernel may name lines that have moved: it has the next change of somebody who saves one after
// the other not wait for them.
const refreshAfter = 2 * time.Second

// keep looks after what time and others change: the kernel's table, a reload that failed for no fault of the policy.
func (d *daemon) keep(ctx context.Context) {
	if !d.again.IsZero() && time.Now().After(d.again) {
		d.reloadFiles(ctx)
	}
	if r := d.keeper.retry; !r.IsZero() && time.Now().After(r) {
		d.keeper.begin(d)
	}
	d.window.look(ctx, d)
	d.guard.look(ctx, d)
	if err := d.enf.Refresh(ctx, refreshAfter); err != nil {
		d.log.Warn(err.Error())
	}
	d.keepObserving(ctx)
	d.prover.look(d)
	d.keeper.quiet(d)
}
