package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
)

// Element is an address, or a prefix, in a dynamic set. Timeout is how long the kernel holds it from being added, 0 for ever;
// Expires is what remains of that, filled by Elements only.
type Element struct {
	Prefix  netip.Prefix // a single address as /32 or /128; of the set's family; host bits are ignored
	Timeout time.Duration
	Expires time.Duration
}

// Elements reads what a dynamic set holds, sorted by address. A range that is no prefix comes as several elements.
func (c *Conn) Elements(ctx context.Context, set string) ([]Element, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.dynamicSet(ctx, set)
	if err != nil {
		return nil, err
	}
	spans, err := c.spans(ctx, s)
	if err != nil {
		return nil, err
	}
	var elems []Element
	for _, sp := range spans {
		for _, p := range sp.prefixes() {
			elems = append(elems, Element{Prefix: p, Timeout: milliseconds(sp.life.timeout), Expires: milliseconds(sp.life.left)})
		}
	}
	return elems, nil
}

func milliseconds(n uint64) time.Duration { return time.Duration(n) * time.Millisecond }

// AddElements adds to a dynamic set in one transaction. Where an element overlaps what the set holds, every address keeps
// whichever end is later: nothing is shortened, and the call does not fail.
func (c *Conn) AddElements(ctx context.Context, set string, elems []Element) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.dynamicSet(ctx, set)
	if err != nil || len(elems) == 0 {
		return err
	}
	added := make([]span, 0, len(elems))
	for _, e := range elems {
		sp, err := spanOf(s, e.Prefix)
		if err != nil {
			return err
		}
		if e.Timeout < 0 || e.Timeout > 0 && !s.Timed {
			return fmt.Errorf("add %s to set %s: the set cannot hold it for %v", e.Prefix, set, e.Timeout)
		}
		if e.Timeout > 0 {
			ms := max(1, uint64(e.Timeout/time.Millisecond))
			sp.life = lifetime{ms, ms}
		}
		added = append(added, sp)
	}
	// Mostly there is no overlap, and then what the set holds does not matter. Of a range that goes to the last address the kernel knows
	// no end, and sees nothing that it overlaps.
	endless := func(sp span) bool { return s.Interval && !sp.hi.Next().IsValid() }
	if !slices.ContainsFunc(added, endless) {
		b := newBatch(c.opt.Table, c.write.nextSeq(), 0)
		b.spans(s, false, added, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
		b.finish(true)
		if err := c.transact(ctx, b); !overlap(err) {
			return err
		}
	}
	return c.editSpans(ctx, s, func(held *spanList) {
		for _, sp := range added {
			held.add(sp)
		}
	})
}

// overlap tells whether the kernel refused elements for others that are there.
func overlap(err error) bool {
	return errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTEMPTY)
}

// DelElements removes the addresses of the prefixes from a dynamic set in one transaction. An address that is not in the set
// is no error; a larger prefix that covers one is split. It returns how many of the prefixes removed anything.
func (c *Conn) DelElements(ctx context.Context, set string, prefixes []netip.Prefix) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.dynamicSet(ctx, set)
	if err != nil || len(prefixes) == 0 {
		return 0, err
	}
	var gone []span
	single := true
	for _, p := range prefixes {
		sp, err := spanOf(s, p)
		if err != nil {
			return 0, err
		}
		gone = append(gone, sp)
		// The kernel does not see to it that a start and an end belong together: of one address they always do.
		single = single && sp.lo == sp.hi
	}
	if single {
		b := newBatch(c.opt.Table, c.write.nextSeq(), 0)
		b.spans(s, true, gone, 0)
		b.finish(true)
		if err := c.transact(ctx, b); !errors.Is(err, unix.ENOENT) {
			if err != nil {
				return 0, err
			}
			return len(gone), nil
		}
	}
	n := 0
	err = c.editSpans(ctx, s, func(held *spanList) {
		n = 0
		for _, sp := range gone {
			if held.cut(sp, nil) {
				n++
			}
		}
	})
	return n, err
}

// dynamicSet asks for a set that AddElements can fill.
func (c *Conn) dynamicSet(ctx context.Context, name string) (*ruleset.Set, error) {
	var h setHeader
	err := c.read.request(ctx, unix.NFT_MSG_GETSET, false, func(b *builder) {
		b.str(unix.NFTA_SET_TABLE, b.table)
		b.str(unix.NFTA_SET_NAME, name)
	}, nil, func(m message) error {
		h = parseSet(m.body)
		return nil
	})
	if errors.Is(err, unix.ENOENT) {
		t, err := c.read.table(ctx)
		if err != nil {
			return nil, err
		}
		if !t.exists {
			return nil, ErrNoTable
		}
		return nil, fmt.Errorf("%s: %w", name, ErrNoSet)
	}
	if err != nil {
		return nil, wrapRead("set "+name, err)
	}
	s, ok := h.model()
	if !ok || s.Packets {
		return nil, fmt.Errorf("%s: %w", name, ErrNoSet)
	}
	return s, nil
}

// editSpans changes what a set holds, read first, in one transaction.
func (c *Conn) editSpans(ctx context.Context, s *ruleset.Set, edit func(*spanList)) error {
	for attempt := 1; ; attempt++ {
		gen, err := c.read.settled(ctx)
		if err != nil {
			return err
		}
		t, err := c.read.table(ctx)
		if err != nil {
			return err
		}
		spans, err := c.spans(ctx, s)
		if err != nil {
			return err
		}
		held := spanList{spans: spans}
		edit(&held)
		gone, fresh := held.changes()
		if len(gone)+len(fresh) == 0 {
			return nil
		}
		// Only this Conn changes a table that it owns.
		if t.owner == c.write.port && attempt > staleLimit {
			gen = 0
		}
		b := newBatch(c.opt.Table, c.write.nextSeq(), gen)
		b.spans(s, true, gone, 0)
		b.spans(s, false, fresh, unix.NLM_F_CREATE)
		b.finish(true)
		err = c.transact(ctx, b)
		stale := errors.Is(err, unix.ERESTART) || errors.Is(err, unix.ENOENT) || overlap(err) // one may have expired meanwhile
		if !stale || attempt == applyAttempts {
			return err
		}
	}
}

// spans reads what a set holds, in order.
func (c *Conn) spans(ctx context.Context, s *ruleset.Set) ([]span, error) {
	elems, _, err := c.elements(ctx, s.Name, 0)
	if err != nil {
		return nil, err
	}
	elems = pair(elems, s.Interval)
	spans := make([]span, 0, len(elems))
	for _, e := range elems {
		lo, ok := netip.AddrFromSlice(e.lo)
		hi := lo
		if ok && s.Interval {
			hi, ok = netip.AddrFromSlice(e.hi)
		}
		if !ok {
			return nil, fmt.Errorf("read the elements of set %s: a key of %d bytes", s.Name, len(e.lo))
		}
		life := lifetime{e.timeout, e.left}
		if life.timeout == 0 && life.left != 0 {
			life.timeout = s.Timeout * 1000
		}
		spans = append(spans, span{lo: lo, hi: hi, life: life, held: true})
	}
	return spans, nil
}

// spans adds messages that add spans to a set or remove them.
func (b *batch) spans(s *ruleset.Set, del bool, spans []span, flags uint16) {
	to := elementList{
		set: s.Name, interval: s.Interval, about: subject{"add elements of set", s.Name},
		msg: unix.NFT_MSG_NEWSETELEM, flags: flags,
	}
	if del {
		to.about.op, to.msg = "delete elements of set", unix.NFT_MSG_DELSETELEM
	}
	b.elements(to, func(yield func(element) bool) {
		for _, sp := range spans {
			e := element{lo: sp.lo.AsSlice(), hi: sp.hi.AsSlice()}
			if !del && (s.Timed || s.Timeout != 0) {
				e.timeout = &sp.life
			}
			if !yield(e) {
				return
			}
		}
	})
}
