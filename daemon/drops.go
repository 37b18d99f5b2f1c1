package daemon

import (
	"context"
	"sync/atomic"

	"ringwall/daemon/droplog"
	"ringwall/netfilter/compile"
	"ringwall/rules/policy"
)

// origins knows the rules of the enforced policy by the name in their log prefix. The loop sets it, the log's reader
// asks it.
type origins struct {
	byName atomic.Pointer[map[string]droplog.Origin]
}

// set takes up another policy.
func (o *origins) set(p *policy.Policy) {
	m := map[string]droplog.Origin{}
	for _, list := range p.Lists {
		for _, r := range list {
			m[compile.ChainName(r)] = droplog.Origin{At: r.At.Short(), Verdict: r.Action.Verdict.String(), Text: r.Action.LogText}
		}
	}
	o.byName.Store(&m)
}

// find is the rule with a name.
func (o *origins) find(name string) (droplog.Origin, bool) {
	m := o.byName.Load()
	if m == nil {
		return droplog.Origin{}, false
	}
	origin, ok := (*m)[name]
	return origin, ok
}

// openDrops connects to the log group. A wall that can't log still stands.
func (d *daemon) openDrops() {
	drops, err := droplog.Open(droplog.Options{Group: d.cfg.LogGroup, Interface: d.enf.InterfaceName, Now: d.cfg.Now})
	if err != nil {
		d.log.Error("the log group can't be read", "group", d.cfg.LogGroup, "error", err)
		return
	}
	d.drops = drops
}

// readDrops writes a line for every packet that rules log, until ctx ends.
func (d *daemon) readDrops(ctx context.Context) {
	if err := d.drops.Run(ctx, d.packets()); err != nil {
		d.log.Error("the log group can't be read any more", "group", d.cfg.LogGroup, "error", err)
	}
}
