package kernel

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Features is what the kernel can do beyond what 5.14 could in any configuration.
type Features struct {
	Persist bool // tables owned by a socket that outlive it (6.9)
	Labels  bool // connection labels
}

// without is the features less others.
func (f Features) without(o Features) Features {
	return Features{Persist: f.Persist && !o.Persist, Labels: f.Labels && !o.Labels}
}

// probeTable is a table that is validated and never made.
const probeTable = "ringwall-probe"

// probe asks the kernel to validate what uses each feature.
func probe(s *socket) (Features, error) {
	var f Features
	var err error
	if _, err = try(s, func(b *batch) { probeNew(b, 0) }); err != nil {
		return f, err
	}
	if f.Persist, err = try(s, func(b *batch) { probeNew(b, tableOwner|tablePersist) }); err != nil {
		return f, err
	}
	f.Labels, err = try(s, func(b *batch) {
		probeNew(b, 0)
		const chain = "labels"
		b.message(subject{"add chain", chain}, unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, func() {
			b.str(unix.NFTA_CHAIN_TABLE, probeTable)
			b.str(unix.NFTA_CHAIN_NAME, chain)
		})
		load, err := expr.Marshal(unix.NFPROTO_INET, &expr.Ct{Key: expr.CtKeyLABELS, Register: register})
		if err != nil {
			b.fail(err)
		}
		b.message(subject{"add rule", chain}, unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, func() {
			b.str(unix.NFTA_RULE_TABLE, probeTable)
			b.str(unix.NFTA_RULE_CHAIN, chain)
			b.nest(unix.NFTA_RULE_EXPRESSIONS, func() {
				b.nest(unix.NFTA_LIST_ELEM, func() { b.buf = append(b.buf, load...) })
			})
		})
	})
	return f, err
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
