// Package observe counts what another policy would decide otherwise than the one that is enforced, which stays enforced.
//
// The kernel counts, in a table of its own that decides nothing and vanishes with the process. An Observer keeps that table true while
// policies change, and what was counted over restarts.
package observe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"ringwall/daemon/droplog"
	"ringwall/daemon/enforce"
	"ringwall/daemon/store"
	"ringwall/netfilter/compile"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/check"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// Options is how an Observer is made. All must be set.
type Options struct {
	State   store.Dir
	Compile compile.Options
	Kernel  kernel.Options
	Now     func() time.Time
	Log     *slog.Logger
}

// Observer observes one policy at a time, in the network namespace of the thread that calls it. But for Saw and Prepare it is not safe for
// concurrent use.
type Observer struct {
	opt  Options
	cand *enforce.Candidate // what is observed; nil for nothing
	who  string
	note store.Observation // since, until and whether it has ended

	conn    *kernel.Conn  // that has the table; nil where there is none
	plan    *Plan         // what is in the table; nil where there is none yet
	work    chan prepared // the next plan, under way; nil for none
	stale   bool          // dynamic sets hold something else than the table knows
	past    map[key]Case  // what earlier tables have counted
	saved   time.Time     // when it was last stored
	kept    uint64        // how many packets were counted then
	trouble string
	retry   time.Time // after trouble

	mu   sync.Mutex
	live []Case // of the table, by number; the log's reader puts Last there
}

// How often counts are stored, and how long an Observer waits after trouble.
const (
	saveEvery  = time.Minute
	retryAfter = 10 * time.Second
)

// New makes an Observer that goes on with what the state directory holds; what can't be read is logged, and forgotten.
func New(opt Options, load enforce.LoadOptions) *Observer {
	o := &Observer{opt: opt}
	o.opt.Kernel.Table, o.opt.Kernel.Vanish, o.opt.Kernel.Socket = compile.ObserveTable, true, nil
	if err := o.recall(load); err != nil && !errors.Is(err, fs.ErrNotExist) {
		opt.Log.Warn("what was observed is lost", "error", err)
	}
	return o
}

func (o *Observer) recall(load enforce.LoadOptions) error {
	note, err := o.opt.State.Observation()
	if err != nil {
		return err
	}
	b := &source.Bundle{}
	if err := json.Unmarshal(note.Bundle, b); err != nil {
		return err
	}
	load.Trusted = true
	c, err := enforce.Replay(note.Entry, b, load)
	if err != nil {
		return err
	}
	if !c.OK() {
		return errors.New(c.Problem())
	}
	var cases []Case
	if err := json.Unmarshal(note.Counts, &cases); err != nil {
		return err
	}
	o.past = map[key]Case{}
	for _, c := range cases {
		c.Gone = true
		o.past[c.key()] = c
	}
	o.cand, o.note, o.who, o.saved = c, note, note.Who, o.opt.Now()
	return nil
}

// On tells whether a policy is observed, or was until its time was over.
func (o *Observer) On() bool { return o.cand != nil }

// Plan is what is to be counted of a policy beside one that is enforced.
type Plan struct {
	against string // digest of the policy that is enforced
	cand    *enforce.Candidate
	found   *check.Otherwise
	rules   *ruleset.Ruleset
}

// Prepare compares the policy that is enforced with one to be observed; both must be OK. It takes seconds where they are large and
// differ in much, and may run beside the Observer's other methods.
func (o *Observer) Prepare(running, c *enforce.Candidate) (*Plan, error) {
	found, err := check.Differ(running.Policy, c.Policy, o.opt.Now().Unix(), check.DiffWork)
	if err != nil {
		return nil, fmt.Errorf("%s can't be observed: %w", c.Entry, err)
	}
	rules, err := compile.Observe(found, o.opt.Compile)
	if err != nil {
		return nil, fmt.Errorf("%s can't be observed: %w", c.Entry, err)
	}
	return &Plan{running.Digest, c, found, rules}, nil
}

// Begin observes what was prepared, in the place of any other policy, for a time or, where that is 0, until End. Where the kernel
// refuses the table, Keep tries it again.
func (o *Observer) Begin(ctx context.Context, p *Plan, bans []enforce.Ban, who string, span time.Duration) error {
	now := o.opt.Now()
	next := Observer{opt: o.opt, cand: p.cand, who: who, past: map[key]Case{}}
	next.note = store.Observation{Entry: p.cand.Entry, Who: who, Since: now}
	if span > 0 {
		next.note.Until = now.Add(span)
	}
	if err := next.save(ctx); err != nil {
		return err
	}
	o.cand, o.who, o.note, o.past, o.saved, o.retry = p.cand, who, next.note, next.past, now, time.Time{}
	return o.make(ctx, p, bans)
}

// Bans tells that the contents of dynamic sets have changed.
func (o *Observer) Bans() { o.stale = true }

// Keep looks after the table: it is made anew where another policy is enforced, a rule has expired or dynamic sets hold something
// else, and taken away when the time is over. Where nothing has changed it costs nothing. running is nil while nothing is enforced.
func (o *Observer) Keep(ctx context.Context, running *enforce.Candidate, bans func() []enforce.Ban) {
	now := o.opt.Now()
	switch {
	case o.cand == nil || o.note.Ended || now.Before(o.retry):
		return
	case !o.note.Until.IsZero() && !now.Before(o.note.Until):
		o.gather(ctx)
		o.close()
		o.note.Ended = true
		o.opt.Log.Info("the observation is over", "policy", o.cand.Entry, "packets", o.Report(ctx).Packets())
		o.store(ctx)
		return
	case running == nil:
		if o.conn != nil {
			o.gather(ctx)
			o.close()
		}
		o.plan, o.trouble = nil, "nothing is enforced"
		return
	case o.work != nil:
		o.takeUp(ctx, running, bans)
	case o.plan == nil || o.plan.against != running.Digest || o.plan.found.Until != 0 && now.Unix() >= o.plan.found.Until:
		o.gather(ctx)
		o.close()
		o.compare(running)
	case o.conn == nil || o.stale:
		o.gather(ctx)
		o.failed(o.make(ctx, o.plan, bans()))
	case now.Sub(o.saved) >= saveEvery:
		o.store(ctx)
	}
}

// Active tells whether Keep has anything to do.
func (o *Observer) Active() bool { return o.cand != nil && !o.note.Ended }

// compare begins to prepare, beside the caller.
func (o *Observer) compare(running *enforce.Candidate) {
	o.plan, o.trouble = nil, "the policies are being compared"
	o.work = make(chan prepared, 1)
	go func(done chan<- prepared, c *enforce.Candidate) {
		p, err := o.Prepare(running, c)
		done <- prepared{p, c, err}
	}(o.work, o.cand)
}

// prepared is what came of a compare.
type prepared struct {
	plan *Plan
	cand *enforce.Candidate
	err  error
}

// takeUp makes the table of what was prepared meanwhile, if that is still what is asked for.
func (o *Observer) takeUp(ctx context.Context, running *enforce.Candidate, bans func() []enforce.Ban) {
	var p prepared
	select {
	case p = <-o.work:
	default:
		return
	}
	o.work = nil
	switch {
	case p.cand != o.cand:
	case p.err != nil:
		o.failed(p.err)
	case p.plan.against == running.Digest:
		o.failed(o.make(ctx, p.plan, bans()))
	}
}

// failed notes an error, if it is one, until Keep tries again.
func (o *Observer) failed(err error) {
	if err == nil {
		return
	}
	o.close()
	if o.trouble != err.Error() {
		o.opt.Log.Error("not observed", "policy", o.cand.Entry, "error", err)
	}
	o.trouble, o.retry = err.Error(), o.opt.Now().Add(retryAfter)
}

// make puts the table into the kernel, empty, after what was there has been gathered.
func (o *Observer) make(ctx context.Context, p *Plan, bans []enforce.Ban) error {
	if o.conn == nil {
		conn, err := kernel.Dial(o.opt.Kernel)
		if err != nil {
			return fmt.Errorf("nf_tables: %w", err)
		}
		o.conn = conn
	}
	if err := o.conn.Replace(ctx, p.rules); err != nil {
		return fmt.Errorf("table %s: %w", compile.ObserveTable, err)
	}
	o.plan, o.stale, o.trouble = p, false, ""
	o.mu.Lock()
	o.live = nil
	for i := range p.found.Cases {
		o.live = append(o.live, caseOf(&p.found.Cases[i]))
	}
	o.mu.Unlock()
	return o.fill(ctx, bans)
}

// fill puts into the table's dynamic sets what is banned.
func (o *Observer) fill(ctx context.Context, bans []enforce.Ban) error {
	now := o.opt.Now()
	sets := map[string][]kernel.Element{}
	for _, b := range bans {
		if !o.plan.found.Asks(b.Set) {
			continue
		}
		el := kernel.Element{Prefix: b.Prefix}
		if !b.Until.IsZero() {
			if el.Timeout = b.Until.Sub(now); el.Timeout <= 0 {
				continue
			}
		}
		name := compile.DynamicSet(b.Set, b.Prefix.Addr().Is6())
		sets[name] = append(sets[name], el)
	}
	for name, elements := range sets {
		if err := o.conn.AddElements(ctx, name, elements); err != nil {
			return fmt.Errorf("table %s: %w", compile.ObserveTable, err)
		}
	}
	return nil
}

// caseOf is a case that nothing has been counted of yet.
func caseOf(c *check.Case) Case {
	return Case{List: c.List.String(), Old: c.Old.String(), New: c.New.String(), Was: c.Was, Now: c.Now,
		Over: c.Old == policy.Allow && c.New == policy.Allow, What: c.Packets, Example: c.Text}
}

// count is the cases of the table with what the kernel has counted so far.
func (o *Observer) count(ctx context.Context) []Case {
	if o.conn == nil {
		return nil
	}
	counters, err := o.conn.Counters(ctx)
	if err != nil {
		o.opt.Log.Warn("what is observed can't be counted", "error", err)
	}
	o.mu.Lock()
	out := slices.Clone(o.live)
	o.mu.Unlock()
	for n := range out {
		c := counters[compile.CaseName(n)]
		out[n].Packets, out[n].Bytes = c.Packets, c.Bytes
	}
	return out
}

// gather takes up what the table has counted, before it goes.
func (o *Observer) gather(ctx context.Context) {
	for _, c := range o.count(ctx) {
		c.Gone = true
		o.past[c.key()] = together(c, o.past[c.key()])
	}
	o.mu.Lock()
	o.live = nil
	o.mu.Unlock()
}

// together is a case with what was counted of it before.
func together(c, before Case) Case {
	c.Packets += before.Packets
	c.Bytes += before.Bytes
	if c.Last == nil {
		c.Last = before.Last
	}
	return c
}

// Report is what has been counted so far; nil where nothing is observed.
func (o *Observer) Report(ctx context.Context) *Report {
	if o.cand == nil {
		return nil
	}
	r := &Report{Policy: o.cand.Entry, Digest: o.cand.Digest, Who: o.who, Since: o.note.Since, Until: o.note.Until, Ended: o.note.Ended,
		Cases: o.cases(ctx), Trouble: o.trouble}
	if o.plan != nil {
		r.Notes = o.plan.found.Notes
	}
	return r
}

// cases is everything counted so far, most packets first.
func (o *Observer) cases(ctx context.Context) []Case {
	out := o.count(ctx)
	seen := map[key]bool{}
	for i, c := range out {
		seen[c.key()] = true
		out[i] = together(c, o.past[c.key()])
	}
	for k, c := range o.past {
		if !seen[k] && c.Packets > 0 {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b Case) int {
		return cmp.Or(cmp.Compare(b.Packets, a.Packets), cmp.Compare(a.List, b.List), cmp.Compare(a.Was.By, b.Was.By), cmp.Compare(a.Now.By, b.Now.By))
	})
	return out
}

// End stops observing and forgets all; the report is the last one, nil where nothing was observed.
func (o *Observer) End(ctx context.Context) (*Report, error) {
	r := o.Report(ctx)
	o.close()
	o.cand, o.plan, o.past, o.trouble = nil, nil, nil, ""
	return r, o.opt.State.DropObservation()
}

// Close stores what was counted and takes the table away. The next process goes on.
func (o *Observer) Close(ctx context.Context) {
	if o.cand != nil && !o.note.Ended {
		o.gather(ctx)
		o.store(ctx)
	}
	o.close()
}

// close takes the table away.
func (o *Observer) close() {
	if o.conn == nil {
		return
	}
	if err := o.conn.Close(); err != nil {
		o.opt.Log.Warn("close", "table", compile.ObserveTable, "error", err)
	}
	o.conn = nil
	o.mu.Lock()
	o.live = nil
	o.mu.Unlock()
}

// store saves what is not saved yet, and logs that it can't.
func (o *Observer) store(ctx context.Context) {
	o.saved = o.opt.Now()
	var n uint64
	for _, c := range o.cases(ctx) {
		n += c.Packets
	}
	if n == o.kept && !o.note.Ended {
		return
	}
	o.kept = n
	if err := o.save(ctx); err != nil {
		o.opt.Log.Warn("what was observed is not stored", "error", err)
	}
}

func (o *Observer) save(ctx context.Context) error {
	note := o.note
	cases := o.cases(ctx)
	if cases == nil {
		cases = []Case{}
	}
	var err error
	if note.Counts, err = json.Marshal(cases); err != nil {
		return err
	}
	if note.Bundle, err = json.Marshal(o.cand.Bundle); err != nil {
		return err
	}
	return o.opt.State.SaveObservation(note)
}

// Saw takes up a packet that the table has logged, and tells by which name and as what it is to be written down. It is false where the
// packet is not of that table. It may be called at any time.
func (o *Observer) Saw(p droplog.Packet) (name string, origin droplog.Origin, ok bool) {
	n, ok := compile.ParseCase(p.Rule)
	if !ok {
		return "", droplog.Origin{}, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if n >= len(o.live) {
		return p.Rule, droplog.Origin{Text: "observed"}, true
	}
	c := &o.live[n]
	c.Last = &Last{At: p.Time, Packet: p.Words()}
	was := c.Was.By
	if c.Was.At != "" {
		was += " " + c.Was.At
	}
	return c.List + "." + c.Now.By, droplog.Origin{At: c.Now.At, Verdict: "observed: " + c.Change(), Text: "was by " + was}, true
}
