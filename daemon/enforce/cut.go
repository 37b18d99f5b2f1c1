package enforce

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"ringwall/daemon/impact"
	"ringwall/netfilter/compile"
	"ringwall/netfilter/host"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// cutter ends connections that a policy refuses, so that they stay dead. To take a connection out of the kernel's table is not enough: the
// host's next segment would enter it anew, as one that the host opened, and the peer's packets would belong to it again. So the host's
// socket is destroyed, too, and what has none, transit and UDP servers, keeps an entry with a label that the table drops by.
//
// It is what a cut needs and may run beside the Enforcer's other methods.
type cutter struct {
	host   *host.Host
	policy *policy.Policy
	look   func() *impact.Scene
	labels bool // the kernel's table drops what has the label
	turn   *sync.Mutex
}

// cutter makes one for the running policy.
func (e *Enforcer) cutter() *cutter {
	p := e.running.Policy
	if !compile.Cuts(p, compile.Options{}) { // then block alone cuts, and there may be many rules and connections
		q := *p
		q.Lists = [3][]*policy.Rule{}
		p = &q
	}
	return &cutter{host: e.host, policy: p, look: e.scene(p), labels: e.drops(p), turn: &e.cutting}
}

// drops tells whether the table of a policy drops connections by their label.
func (e *Enforcer) drops(p *policy.Policy) bool {
	return e.conn != nil && compile.Cuts(p, e.CompileOptions())
}

// cutLabel is the label of a connection that is cut.
func cutLabel() ruleset.Bits {
	var b ruleset.Bits
	b.Set(compile.CutBit)
	return b
}

// picker makes what picks connections that are to be cut.
type picker func(*impact.Scene) func(impact.Answer, *host.Flow) bool

// of cuts the connections that are picked, which the policy refuses. Labels that a policy before left are taken off with
// their connections, where they are not to be cut any more. The error is about the first that could not be cut, or about a listing.
func (c *cutter) of(ctx context.Context, pick picker) (*impact.Cuts, error) {
	c.turn.Lock()
	defer c.turn.Unlock()
	flows, err := c.host.Flows()
	if err != nil {
		return nil, err
	}
	cuts := &impact.Cuts{}
	label := cutLabel()
	var sockets *sockets
	var first error
	note := func(err error) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) && first == nil {
			first = err
		}
	}
	scene := c.look()
	scene.Owner = func(f *host.Flow) (uint32, bool) {
		if sockets == nil {
			sockets, _ = newSockets(c.host) // what can't be listed has no owner that is known
		}
		return sockets.owner(f)
	}
	judge, which := impact.NewJudge(c.policy, scene), pick(scene)
	for i := range flows {
		if ctx.Err() != nil {
			return cuts, ctx.Err()
		}
		f := &flows[i]
		a := judge.Flow(f)
		dead := ruleset.Bits(f.Label).Has(compile.CutBit)
		switch {
		case which(a, f) && !(dead && c.labels):
			if sockets == nil {
				if sockets, err = newSockets(c.host); err != nil {
					note(err)
				}
			}
			note(c.end(f, a, sockets, label))
			cuts.Add(a, f)
		case dead && !(a.Refused() && c.labels):
			note(c.host.DeleteFlow(f))
		}
	}
	cuts.Sort()
	return cuts, first
}

// end cuts one connection.
func (c *cutter) end(f *host.Flow, a impact.Answer, s *sockets, label ruleset.Bits) error {
	destroyed := false
	if socket, ok := s.of(f, a.Dir); ok {
		err := c.host.Destroy(socket)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
		destroyed = err == nil
	}
	// A process may go on from the port that its socket had where that is UDP; TCP is over. What block refuses gets nowhere near a
	// connection.
	if c.labels && a.By != policy.ByBlock && !(destroyed && f.Proto == unix.IPPROTO_TCP) {
		return c.host.LabelFlow(f, label)
	}
	return c.host.DeleteFlow(f)
}

// sockets is the host's sockets, by what tells them apart.
type sockets struct {
	connected map[socketKey]host.Socket
	bound     map[socketKey]uint32 // owners of those without a peer
}

type socketKey struct {
	proto       uint8
	local, peer netip.AddrPort
}

// newSockets lists the host's sockets. What could be listed is returned with an error too.
func newSockets(h *host.Host) (*sockets, error) {
	s := &sockets{map[socketKey]host.Socket{}, map[socketKey]uint32{}}
	connected, err1 := h.Connected()
	for _, c := range connected {
		s.connected[socketKey{c.Proto, c.Local, c.Peer}] = c
	}
	bound, err2 := h.Listeners()
	for _, b := range bound {
		s.bound[socketKey{b.Proto, b.Local, netip.AddrPort{}}] = b.UID
		if b.Dual {
			s.bound[socketKey{b.Proto, netip.AddrPortFrom(netip.IPv4Unspecified(), b.Local.Port()), netip.AddrPort{}}] = b.UID
		}
	}
	return s, errors.Join(err1, err2)
}

// of is the socket with a peer at the host's end of a flow, false where there is none.
func (s *sockets) of(f *host.Flow, dir policy.Dir) (host.Socket, bool) {
	if s == nil {
		return host.Socket{}, false
	}
	ends := f.Orig
	if dir == policy.In {
		ends = host.Tuple{Src: f.Reply.Src, Dst: f.Reply.Dst}
	}
	socket, ok := s.connected[socketKey{f.Proto, ends.Src, ends.Dst}]
	return socket, ok
}

// owner is the user of the socket that a flow which the host opened began at.
func (s *sockets) owner(f *host.Flow) (uint32, bool) {
	if s == nil {
		return 0, false
	}
	if c, ok := s.of(f, policy.Out); ok {
		return c.UID, true
	}
	src := f.Orig.Src
	any := netip.IPv4Unspecified()
	if src.Addr().Is6() {
		any = netip.IPv6Unspecified()
	}
	for _, local := range []netip.AddrPort{src, netip.AddrPortFrom(any, src.Port())} {
		if uid, ok := s.bound[socketKey{f.Proto, local, netip.AddrPort{}}]; ok {
			return uid, true
		}
	}
	return 0, false
}

// cutRefused ends the connections that the policy which was just applied refuses, as far as it says so, and notes them in the report.
// before is the policy that was enforced until then, nil for none.
func (e *Enforcer) cutRefused(ctx context.Context, before *policy.Policy, r *Report) {
	p := e.running.Policy
	ends := func(p *policy.Policy) bool { return p != nil && (p.Cut || len(p.Block.Terms) > 0 || e.drops(p)) }
	if !ends(p) && !ends(before) {
		return
	}
	cuts, err := e.cutter().of(ctx, func(*impact.Scene) func(impact.Answer, *host.Flow) bool {
		return func(a impact.Answer, _ *host.Flow) bool { return impact.Ends(p, a) }
	})
	if e.tellCut(cuts); cuts != nil {
		r.Cut = cuts.Refused
	}
	if err != nil {
		r.note("connections that the policy refuses may go on: " + err.Error())
	}
}

// cutBanned ends, some moments later, the connections of prefixes that were put into a dynamic set, as far as they are refused for that. What
// block refuses is dead at once, by the kernel's table.
func (e *Enforcer) cutBanned(prefixes []netip.Prefix) { e.cutLater(prefixes) }

// release has connections begin anew, some moments later, that were cut and are not refused any more.
func (e *Enforcer) release() {
	if e.drops(e.running.Policy) {
		e.cutLater(nil)
	}
}

// backlog is what is to be cut when an answer is out. However many bans come while the connections are gone through, they are gone through
// once more.
type backlog struct {
	mu     sync.Mutex
	last   *cutter // of the latest change; nil where there is nothing to do
	banned []netip.Prefix
	busy   bool
}

// take is what there is to do; the cutter is nil, and nobody busy any more, where there is nothing.
func (b *backlog) take() (*cutter, []netip.Prefix) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, banned := b.last, b.banned
	b.last, b.banned, b.busy = nil, nil, c != nil
	return c, banned
}

// add adds to what there is to do, and tells whether somebody has to be found who does it.
func (b *backlog) add(c *cutter, prefixes []netip.Prefix) (idle bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	idle = !b.busy
	b.last, b.banned, b.busy = c, append(b.banned, prefixes...), true
	return idle
}

// cutLater cuts beside what comes next. Close waits for it.
func (e *Enforcer) cutLater(prefixes []netip.Prefix) {
	if !e.backlog.add(e.cutter(), prefixes) {
		return
	}
	e.later.Go(func() {
		for c, banned := e.backlog.take(); c != nil; c, banned = e.backlog.take() {
			cuts, err := c.of(context.Background(), c.newlyRefused(banned))
			if err != nil {
				e.opt.Log.Warn("connections of banned addresses may go on", "error", err)
			}
			e.tellCut(cuts)
		}
	})
}

// newlyRefused picks connections of banned prefixes that are refused since they are banned, or that end in any case.
func (c *cutter) newlyRefused(prefixes []netip.Prefix) picker {
	var four []addrset.Range[addrset.U32]
	var six []addrset.Range[addrset.U128]
	for _, p := range prefixes {
		a := addrset.OfPrefix(canonical(p))
		four, six = append(four, a.V4.Ranges()...), append(six, a.V6.Ranges()...)
	}
	banned := addrset.Addrs{V4: addrset.Of(four...), V6: addrset.Of(six...)}
	return func(scene *impact.Scene) func(impact.Answer, *host.Flow) bool {
		before := *scene
		before.Given = map[string]addrset.Addrs{}
		for name, set := range scene.Given {
			before.Given[name] = set.Minus(banned)
		}
		without := impact.NewJudge(c.policy, &before)
		return func(a impact.Answer, f *host.Flow) bool {
			ends := []netip.AddrPort{f.Orig.Src, f.Orig.Dst, f.Reply.Src, f.Reply.Dst}
			return a.Refused() && slices.ContainsFunc(ends, func(end netip.AddrPort) bool { return banned.Contains(end.Addr()) }) &&
				(impact.Ends(c.policy, a) || !without.Flow(f).Refused())
		}
	}
}

// tellCut logs what was cut.
func (e *Enforcer) tellCut(cuts *impact.Cuts) {
	if cuts == nil {
		return
	}
	for _, r := range cuts.Refused {
		e.opt.Log.Info("connections cut", "count", r.Count, "list", r.List, "by", r.Decider.String())
	}
}
