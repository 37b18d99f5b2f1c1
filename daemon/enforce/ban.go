package enforce

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ringwall/daemon/impact"
	"ringwall/daemon/store"
	"ringwall/netfilter/compile"
	"ringwall/netfilter/host"
	"ringwall/netfilter/kernel"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// Ban is one entry of a dynamic set, as it was asked for.
type Ban = store.Ban

// BanRequest asks for entries in a dynamic set.
type BanRequest struct {
	// Set names a dynamic set of the enforced policy. Where empty it is the policy's only one or, of several, that
	// called "banned".
	Set      string         `json:"set,omitempty"`
	Prefixes []netip.Prefix `json:"prefixes"`
	// For is how long, in nanoseconds; 0 for as long as the set's timeout says, Forever without end.
	For time.Duration `json:"for,omitempty"`
	// Force bans though it locks somebody out. Sessions is the SSH sessions that the request is made from.
	Force    bool           `json:"force,omitempty"`
	Sessions []host.Session `json:"sessions,omitempty"`
}

// Forever is the duration of a ban without end.
const Forever time.Duration = -1

// BanReport is what came of a ban or its end.
type BanReport struct {
	Set     string `json:"set"`
	Bans    []Ban  `json:"bans,omitempty"`    // as they hold now
	Removed int    `json:"removed,omitempty"` // how many prefixes an unban took anything from
	// Lockout is whom the ban would lock out, where nothing was done for that.
	Lockout *impact.Lockout `json:"lockout,omitempty"`
	Notes   []string        `json:"notes,omitempty"` // "10.0.0.5 is a failsafe address: …"
}

// Ban adds to a dynamic set, in the kernel and in the state directory. A ban that is there already is made longer,
// never shorter. Where it would lock somebody out the report says whom, and nothing was done.
func (e *Enforcer) Ban(ctx context.Context, req BanRequest) (*BanReport, error) {
	set, err := e.dynamic(req.Set)
	if err != nil {
		return nil, err
	}
	if e.lock == nil {
		return nil, ErrReadOnly
	}
	if req.For < 0 && req.For != Forever {
		return nil, fmt.Errorf("a ban of %s: the time must not be negative", req.For)
	}
	if err := e.ready(ctx); err != nil {
		return nil, err
	}
	now := e.opt.Now()
	until := time.Time{}
	switch {
	case req.For > 0:
		until = now.Add(req.For)
	case req.For == 0 && set.Dynamic.Timeout > 0:
		until = now.Add(time.Duration(set.Dynamic.Timeout) * time.Second)
	}
	r := &BanReport{Set: set.Name}
	bans := current(e.bans, now)
	for _, p := range req.Prefixes {
		b := Ban{Set: set.Name, Prefix: canonical(p), Until: until}
		if i := slices.IndexFunc(bans, func(o Ban) bool { return o.Set == b.Set && o.Prefix == b.Prefix }); i < 0 {
			bans = append(bans, b)
		} else if later(bans[i].Until, b.Until) {
			b = bans[i]
			r.Notes = append(r.Notes, fmt.Sprintf("%s is banned for longer already, which holds", text(b.Prefix)))
		} else {
			bans[i] = b
		}
		r.Bans = append(r.Bans, b)
		r.Notes = append(r.Notes, e.withoutEffect(b.Prefix)...)
	}
	held, notes := e.guardBan(bans, req)
	if held != nil {
		return &BanReport{Set: set.Name, Lockout: held}, nil
	}
	r.Notes = append(r.Notes, notes...)
	before := e.bans
	if err := e.saveBans(bans); err != nil {
		return nil, err
	}
	if err := e.addBans(ctx, r.Bans, now); err != nil {
		return nil, restored(err, e.saveBans(before))
	}
	e.cutBanned(req.Prefixes)
	return r, nil
}

// Unban takes addresses out of a dynamic set. Of a larger prefix that holds one, the rest stays banned. The set is
// found as with Ban.
func (e *Enforcer) Unban(ctx context.Context, name string, prefixes []netip.Prefix) (*BanReport, error) {
	set, err := e.dynamic(name)
	if err != nil {
		return nil, err
	}
	if e.lock == nil {
		return nil, ErrReadOnly
	}
	if err := e.ready(ctx); err != nil {
		return nil, err
	}
	r := &BanReport{Set: set.Name}
	var gone [2][]netip.Prefix // by family
	bans := current(e.bans, e.opt.Now())
	for _, p := range prefixes {
		p = canonical(p)
		gone[family(p)] = append(gone[family(p)], p)
		left, hit := without(bans, set.Name, p)
		if hit {
			r.Removed++
		} else {
			r.Notes = append(r.Notes, fmt.Sprintf("%s is not banned", text(p)))
		}
		bans = left
	}
	// The kernel first: what a crash leaves between the two stays banned.
	for six, list := range gone {
		if len(list) == 0 {
			continue
		}
		if _, err := e.conn.DelElements(ctx, compile.DynamicSet(set.Name, six == 1), list); err != nil {
			return nil, fmt.Errorf("unban in %s: %w", set.Name, err)
		}
	}
	defer e.release()
	return r, e.saveBans(bans)
}

// Bans lists what the dynamic sets hold: one, or all where name is empty.
func (e *Enforcer) Bans(ctx context.Context, name string) ([]Ban, error) {
	if name != "" {
		if _, err := e.dynamic(name); err != nil {
			return nil, err
		}
	}
	if e.running.Candidate == nil {
		return nil, e.nothingKnown()
	}
	var out []Ban
	for _, b := range current(e.bans, e.opt.Now()) {
		set := e.running.Policy.Sets[b.Set]
		if set != nil && set.Dynamic != nil && (name == "" || name == b.Set) {
			out = append(out, b)
		}
	}
	return out, nil
}

// dynamic finds a dynamic set of the running policy.
func (e *Enforcer) dynamic(name string) (*policy.Set, error) {
	if e.running.Candidate == nil {
		return nil, e.nothingKnown()
	}
	all := e.running.Policy.Sets
	var names []string
	for _, n := range slices.Sorted(maps.Keys(all)) {
		if all[n].Dynamic != nil {
			names = append(names, n)
		}
	}
	switch {
	case slices.Contains(names, name):
		return all[name], nil
	case len(names) == 0:
		return nil, fmt.Errorf("the enforced policy %s has no dynamic set: add one, such as `sets: {%s: {dynamic: true}}` and `block: [%s]`", e.running.Entry, DefaultSet, DefaultSet)
	case name != "" && all[name] != nil:
		return nil, fmt.Errorf("set %s of %s is not dynamic; those that are: %s", name, e.running.Entry, strings.Join(names, ", "))
	case name != "":
		return nil, fmt.Errorf("no set %s in %s; its dynamic sets: %s", name, e.running.Entry, strings.Join(names, ", "))
	case len(names) == 1:
		return all[names[0]], nil
	case slices.Contains(names, DefaultSet):
		return all[DefaultSet], nil
	}
	return nil, fmt.Errorf("%s has several dynamic sets, and none is called %s: name one of %s", e.running.Entry, DefaultSet, strings.Join(names, ", "))
}

// DefaultSet is the dynamic set that a ban goes into where a policy has several.
const DefaultSet = "banned"

// ready sees to it that the sets of the running policy are in the kernel.
func (e *Enforcer) ready(ctx context.Context) error {
	if err := e.Intact(ctx); err != nil {
		return fmt.Errorf("%s must be applied first: %w", e.running.Entry, err)
	}
	return e.placeBans(ctx, false)
}

// placeBans puts all bans into the kernel's sets, with what remains of their time: once, and again where sets were made.
func (e *Enforcer) placeBans(ctx context.Context, made bool) error {
	if e.placed && !made {
		return nil
	}
	now := e.opt.Now()
	var known []Ban
	for _, b := range current(e.bans, now) {
		if set := e.running.Policy.Sets[b.Set]; set != nil && set.Dynamic != nil {
			known = append(known, b)
		}
	}
	if err := e.addBans(ctx, known, now); err != nil {
		return err
	}
	e.placed = true
	return nil
}

// addBans adds to the kernel's sets, which must be there.
func (e *Enforcer) addBans(ctx context.Context, bans []Ban, now time.Time) error {
	sets := map[string][]kernel.Element{}
	for _, b := range bans {
		el := kernel.Element{Prefix: b.Prefix}
		if !b.Until.IsZero() {
			el.Timeout = b.Until.Sub(now)
		}
		name := compile.DynamicSet(b.Set, family(b.Prefix) == 1)
		sets[name] = append(sets[name], el)
	}
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		if err := e.conn.AddElements(ctx, name, sets[name]); err != nil {
			return fmt.Errorf("ban in %s: %w", name, err)
		}
	}
	return nil
}

// saveBans stores the bans.
func (e *Enforcer) saveBans(bans []Ban) error {
	sortBans(bans)
	if err := e.dir.SaveBans(bans); err != nil {
		return err
	}
	e.bans = bans
	return nil
}

// withoutEffect tells what a ban does not do, since failsafe comes before it.
func (e *Enforcer) withoutEffect(p netip.Prefix) (notes []string) {
	banned := addrset.OfPrefix(p)
	for _, f := range e.running.Policy.Failsafe {
		for _, term := range f.From.Terms {
			if !term.Static.Intersect(banned).IsEmpty() {
				notes = append(notes, fmt.Sprintf("%s is, or holds, a failsafe address: the ban is without effect on %s from there (%s)", text(p), f.Text, f.At.Short()))
				break
			}
		}
	}
	return notes
}
