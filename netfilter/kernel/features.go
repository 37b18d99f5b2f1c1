package kernel

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Features is what the kernel can do beyond what 5.14 could in any configuration.
type Features struct {
	Persist bool // tables owned by a socket that outlive it (6.9)
	Labels  bool // connection labels
	// ValidatesOnce: a chain is validated once, however many ways lead to it (6.19; stable kernels took it over, 6.12.66 for one). Others follow each
	// way through all chains before they commit.
	ValidatesOnce bool
}

// without is the features less others.
func (f Features) without(o Features) Features {
	return Features{Persist: f.Persist && !o.Persist, Labels: f.Labels && !o.Labels, ValidatesOnce: f.ValidatesOnce && !o.ValidatesOnce}
}

// probeTable is a table that is validated and never made.
const probeTable = "ringwall-probe"

// probe asks the kernel to validate what uses each feature.
func probe(s *socket) (Features, error) {
	var f Features
	var err error
	if f.Persist, err = try(s, func(b *batch) { probeNew(b, tableOwner|tablePersist) }); err != nil {
		return f, err
	}
	f.Labels, err = try(s, func(b *batch) {
		probeNew(b, 0)
		const chain = "labels"
		probeChain(b, chain, func() {})
		probeRule(b, chain, &expr.Ct{Key: expr.CtKeyLABELS, Register: register})
	})
	if err != nil {
		return f, err
	}
	f.ValidatesOnce, err = validatesOnce(s)
	return f, err
}

// validatesOnce has the kernel validate the same number of chains and rules with few ways through them and with a million, and compares what
// processor time that takes: much more for many ways means that it follows each. What the kernel needs for either is loaded by then.
func validatesOnce(s *socket) (bool, error) {
	const times, more = 3, 4
	few, many := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	for range times { // a million ways take 10 ms at least; interrupts, which are part of the time, seldom do, and never each time
		for _, m := range []struct {
			ways  bool
			least *time.Duration
		}{{false, &few}, {true, &many}} {
			ok, took, err := timed(s, func(b *batch) { probeWays(b, m.ways) })
			if err != nil || !ok {
				return false, err
			}
			*m.least = min(*m.least, took)
		}
		if many < more*few {
			return true, nil
		}
	}
	return false, nil
}

// timed is try, with the processor time that it took. The kernel validates in the system call.
func timed(s *socket, fill func(*batch)) (ok bool, took time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var begun, ended unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &begun); err != nil {
		return false, 0, err
	}
	if ok, err = try(s, fill); err != nil {
		return false, 0, err
	}
	err = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ended)
	return ok, time.Duration(ended.Nano() - begun.Nano()), err
}

// probeWays makes a base chain and others, each of which jumps three times: to the next, where many ways are wanted, else to the last, which is
// empty. The table is dormant, so that no packet comes to any of them.
func probeWays(b *batch, many bool) {
	const chains, jumps = 13, 3
	probeNew(b, unix.NFT_TABLE_F_DORMANT)
	name := func(n int) string { return fmt.Sprint("ways", n) }
	for n := range chains + 1 {
		probeChain(b, name(n), func() {
			if n == 0 {
				b.nest(unix.NFTA_CHAIN_HOOK, func() {
					b.u32(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_LOCAL_IN)
					b.u32(unix.NFTA_HOOK_PRIORITY, 0)
				})
				b.str(unix.NFTA_CHAIN_TYPE, "filter")
			}
		})
	}
	for n := range chains {
		to := chains
		if many {
			to = n + 1
		}
		for range jumps {
			probeRule(b, name(n), &expr.Verdict{Kind: expr.VerdictJump, Chain: name(to)})
		}
	}
}

// probeChain makes a chain, with what more is to be said of it.
func probeChain(b *batch, name string, more func()) {
	b.message(subject{"add chain", name}, unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, func() {
		b.str(unix.NFTA_CHAIN_TABLE, probeTable)
		b.str(unix.NFTA_CHAIN_NAME, name)
		more()
	})
}

// probeRule makes a rule of one expression.
func probeRule(b *batch, chain string, e expr.Any) {
	data, err := expr.Marshal(unix.NFPROTO_INET, e)
	if err != nil {
		b.fail(err)
	}
	b.message(subject{"add rule", chain}, unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, func() {
		b.str(unix.NFTA_RULE_TABLE, probeTable)
		b.str(unix.NFTA_RULE_CHAIN, chain)
		b.nest(unix.NFTA_RULE_EXPRESSIONS, func() {
			b.nest(unix.NFTA_LIST_ELEM, func() { b.buf = append(b.buf, data...) })
		})
	})
}

func probeNew(b *batch, flags uint32) {
	b.message(subject{"add table", "inet " + probeTable}, unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, func() {
		b.str(unix.NFTA_TABLE_NAME, probeTable)
		b.u32(unix.NFTA_TABLE_FLAGS, flags)
	})
}

// try tells whether the kernel would accept a batch. What says nothing about the batch is an error: a missing capability, no
// nf_tables.
func try(s *socket, fill func(*batch)) (bool, error) {
	b := newBatch(s.about, s.nextSeq(), 0)
	fill(b)
	b.finish(false)
	s.seq = b.seq
	err := s.transact(context.Background(), b)
	var refused *OpError
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EPERM):
		return false, fmt.Errorf("use nf_tables: %w (it needs CAP_NET_ADMIN)", unix.EPERM)
	case !errors.As(err, &refused) || refused.Op == b.subject[0].op:
		return false, fmt.Errorf("use nf_tables: %w", err)
	}
	return false, nil
}
