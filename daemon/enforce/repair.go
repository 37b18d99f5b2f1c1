package enforce

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"ringwall/netfilter/compile"
	"ringwall/netfilter/kernel"
	"ringwall/rules/addrset"
)

// Repair puts the table back where someone changed it, and bans that someone took out of the kernel's sets. It tells what had to be
// done; empty for nothing. Where nobody has changed any table since the last time it costs one question to the kernel.
func (e *Enforcer) Repair(ctx context.Context) (did string, err error) {
	if e.running.rules == nil || e.lock == nil {
		return "", nil
	}
	gen, err := e.conn.Generation(ctx)
	if err != nil || gen == e.looked {
		return "", err
	}
	change, err := e.conn.Plan(ctx, e.running.rules)
	if err != nil {
		return "", err
	}
	r := &Report{repair: true}
	if err := e.commit(ctx, e.running.rules, change, r); err != nil {
		return "", err
	}
	if did = r.Kernel; did != "" && e.pending != nil {
		// Who connected while the table was another one has shown nothing.
		if err := e.listOld(true); err != nil {
			e.opt.Log.Error("connections that were opened without the table may confirm the change", "error", err)
		}
	}
	if err := e.placeBans(ctx, r.made); err != nil {
		return did, err
	}
	if did == "" && !e.Owned() {
		n, err := e.missingBans(ctx)
		if err != nil {
			return "", err
		}
		if n > 0 {
			did = fmt.Sprintf("bans put back: %d", n)
			if err := e.placeBans(ctx, true); err != nil {
				return did, err
			}
		}
	}
	if did == "" {
		e.looked = gen // what was committed meanwhile is seen the next time
	}
	return did, nil
}

// expiring is how little of a ban's time may be left that the kernel may have ended it already.
const expiring = 2 * time.Second

// missingBans counts the bans that the kernel's sets do not hold.
func (e *Enforcer) missingBans(ctx context.Context) (n int, err error) {
	held := map[string]addrset.Addrs{}
	for _, b := range current(e.bans, e.opt.Now().Add(expiring)) {
		if set := e.running.Policy.Sets[b.Set]; set == nil || set.Dynamic == nil {
			continue
		}
		name := compile.DynamicSet(b.Set, family(b.Prefix) == 1)
		if _, known := held[name]; !known {
			elems, err := e.conn.Elements(ctx, name)
			if err != nil {
				return 0, fmt.Errorf("bans in %s: %w", name, err)
			}
			held[name] = addresses(elems)
		}
		if !held[name].Covers(addrset.OfPrefix(b.Prefix)) {
			n++
		}
	}
	return n, nil
}

// addresses is what elements hold.
func addresses(elems []kernel.Element) addrset.Addrs {
	var v4 []addrset.Range[addrset.U32]
	var v6 []addrset.Range[addrset.U128]
	for _, e := range elems {
		a := addrset.OfPrefix(e.Prefix)
		v4, v6 = append(v4, a.V4.Ranges()...), append(v6, a.V6.Ranges()...)
	}
	return addrset.Addrs{V4: addrset.Take(v4), V6: addrset.Take(v6)}
}

// Owned tells whether the kernel keeps others from changing the table, as far as its features say.
func (e *Enforcer) Owned() bool {
	return e.conn != nil && (e.conn.Features().Persist || e.conn.Seized())
}

// Seized tells whether the table is owned though it does not outlive its owner: see kernel.Conn.Seize.
func (e *Enforcer) Seized() bool { return e.conn != nil && e.conn.Seized() }

// Seize has the table owned though it does not outlive its owner, or gives it back, in one transaction.
func (e *Enforcer) Seize(ctx context.Context, own bool) error {
	if e.conn == nil || e.conn.Seized() == own {
		return nil
	}
	e.conn.Seize(own)
	e.looked = 0
	_, err := e.Repair(ctx)
	return err
}

// Watch reports what others commit: see kernel.Conn.Watch.
func (e *Enforcer) Watch(ctx context.Context) (<-chan kernel.Event, error) { return e.conn.Watch(ctx) }

// Socket is what owns the table: see kernel.Conn.Socket.
func (e *Enforcer) Socket() *os.File { return e.conn.Socket() }

// Stands notes that the table stands in a place, which names a network namespace of one boot.
func (e *Enforcer) Stands(place string) error {
	if known, err := e.dir.Place(); err == nil && known == place {
		return nil
	}
	return e.dir.SavePlace(place)
}

// Missing tells whether there is no table in a place where Stands was noted: someone else removed it.
func (e *Enforcer) Missing(ctx context.Context, place string) bool {
	if known, err := e.dir.Place(); err != nil || known != place {
		return false
	}
	_, err := e.conn.Counters(ctx)
	return errors.Is(err, kernel.ErrNoTable)
}
