package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
)

// Options is how a Conn is made. The zero Options is right for production.
type Options struct {
	// Table is the name of the table, of family inet; empty stands for ruleset.TableName.
	Table string
	// Vanish makes a table that is owned, and gone with its Conn: for one that decides nothing.
	Vanish bool
	// Without forces features off, though the kernel has them.
	Without Features
	// Timeout bounds the wait for one answer of the kernel; 0 stands for 30 seconds. A context may end it earlier.
	Timeout time.Duration
	// MaxElems bounds how many elements of a static set are read back; 0 stands for 65,536. A set that holds more is reported
	// as unread, and known by its mark alone.
	MaxElems int
	// Socket is one that CheckSocket found good, to write with in the place of a new one; nil for none. Dial takes it over.
	Socket *os.File
	// LazyComments has changes leave the comments of rules that stay as they are; Refresh does the rest.
	LazyComments bool
	// EventBuffer is how many bytes of events may wait for Watch's receiver; 0 stands for 16 MiB.
	EventBuffer int
}

// Conn is one lasting netlink socket that writes, in the network namespace of the thread that made it, and another that reads.
// It is safe for concurrent use; calls are served one after the other.
type Conn struct {
	opt      Options
	features Features

	mu    sync.Mutex
	write *socket
	read  *socket
	// known is the table after this Conn's last commit, nil where it cannot be told.
	known *Observed
	// stale counts the commits in a row that came too late.
	stale int
	// events is the socket of Watch, nil where nobody watches.
	events *socket
	// seized tells that the table is owned for the time being: see Seize.
	seized bool
}

const (
	defaultTimeout  = 30 * time.Second
	defaultMaxElems = 65536
	// staleLimit is after how many commits that came too late the next goes unguarded, where the table is owned.
	staleLimit = 3
	// applyAttempts bounds how often Apply plans anew.
	applyAttempts = 20
	// observeAttempts bounds how often an observation that a change disturbed is begun anew.
	observeAttempts = 20
)

// Dial opens a Conn and finds out what the kernel can do. Without CAP_NET_ADMIN the error is unix.EPERM.
func Dial(opt Options) (*Conn, error) {
	if opt.Table == "" {
		opt.Table = ruleset.TableName
	}
	if opt.Timeout == 0 {
		opt.Timeout = defaultTimeout
	}
	if opt.MaxElems == 0 {
		opt.MaxElems = defaultMaxElems
	}
	c := &Conn{opt: opt}
	var err error
	if opt.Socket != nil {
		c.write, err = inheritSocket(opt.Table, opt.Socket, opt.Timeout)
	} else {
		c.write, err = openSocket(opt.Table, opt.Timeout)
	}
	if err != nil {
		return nil, err
	}
	if c.read, err = openSocket(opt.Table, opt.Timeout); err != nil {
		return nil, errors.Join(err, c.write.close())
	}
	found, err := probe(c.write)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.features = found.without(opt.Without)
	if opt.Socket != nil {
		t, err := c.read.table(context.Background())
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.seized = t.owner == c.write.port && t.flags&tablePersist == 0
	}
	return c, nil
}

// Close closes the sockets. The table stays: without an owner where it had this one.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.write.close(), c.read.close())
}

// Features is what the kernel can do, less what Options took away.
func (c *Conn) Features() Features { return c.features }

// Port is the netlink port of the socket that writes, by which the kernel and its events name the owner.
func (c *Conn) Port() uint32 { return c.write.port }

// reopen replaces the socket that reads, with whatever still comes in on it.
func (c *Conn) reopen() error {
	s, err := openSocket(c.opt.Table, c.opt.Timeout)
	if err != nil {
		return err
	}
	old := c.read
	c.read = s
	return old.close()
}

// Generation is the kernel's present generation number of this network namespace; any change to any table raises it.
func (c *Conn) Generation(ctx context.Context) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read.generation(ctx)
}

// Observe reads the table back, whoever owns it.
func (c *Conn) Observe(ctx context.Context) (*Observed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.observeWhole(ctx)
}

// observeWhole observes until nothing changed meanwhile. Where others never rest, it is content with a table that only this
// Conn can change.
func (c *Conn) observeWhole(ctx context.Context) (*Observed, error) {
	for attempt := 0; ; attempt++ {
		o, err := c.observe(ctx)
		gone := errors.Is(err, unix.ENOENT) // a set, say, between the list of sets and its elements
		if err != nil && !gone {
			return nil, err
		}
		if !gone {
			gen, err := c.read.generation(ctx)
			if err != nil {
				return nil, err
			}
			if gen == o.Generation || o.Owned && attempt >= staleLimit {
				return o, nil
			}
		}
		if attempt == observeAttempts {
			return nil, fmt.Errorf("observe table inet %s: the kernel's rule sets change without rest", c.opt.Table)
		}
	}
}

// Validate has the kernel check the whole change without committing it. Nothing is left behind and the generation stays. All
// objections are reported, joined, each an *OpError; the first is the cause, later ones may follow from it.
func (c *Conn) Validate(ctx context.Context, ch *Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	// To take the table over needs no checking, and is in the way: see adopted.
	if ch = ch.unadopted(); ch.Empty() {
		return nil
	}
	tx, err := c.encode(ctx, ch)
	if err != nil {
		return err
	}
	tx.finish(false)
	return tx.refused(c.transact(ctx, tx.batch))
}

// Commit carries a change out in one transaction, all or nothing; the table of a past owner is taken over before it, and maps that
// no rule asks any more are removed in another after it (see lingering). Where someone changed any table since the change was planned
// the error is ErrStale, nothing has happened, and the caller plans anew; after three in a row the next attempt goes unguarded
// where this Conn owns the table, which nobody else can change then.
func (c *Conn) Commit(ctx context.Context, ch *Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.commit(ctx, ch)
}

func (c *Conn) commit(ctx context.Context, ch *Change) error {
	switch {
	case ch.Empty():
		c.agree(ch)
		return nil
	case ch.first != nil:
		if err := c.commit(ctx, ch.first); err != nil {
			return err
		}
		c.clear(ctx, ch.want)
		return nil
	}
	ch, err := c.adopted(ctx, ch)
	if err != nil {
		return err
	}
	return c.send(ctx, ch)
}

// send has the kernel carry a change out as one transaction.
func (c *Conn) send(ctx context.Context, ch *Change) error {
	tx, err := c.encode(ctx, ch)
	if err == nil {
		tx.finish(true)
		err = tx.refused(c.transact(ctx, tx.batch))
	}
	if errors.Is(err, ErrStale) {
		c.stale++
	} else if err == nil {
		c.stale = 0
	}
	var refused *OpError
	if err != nil && (errors.Is(err, ErrStale) || errors.As(err, &refused)) {
		return err // nothing has happened
	}
	c.known = nil
	if err == nil {
		c.remember(ctx, ch, tx)
	}
	return err
}

// agree takes what was wanted for what is known, where they turned out to be alike: the caller keeps that, and a million addresses need not be
// in memory twice.
func (c *Conn) agree(ch *Change) {
	if c.known == nil || !ch.planned || int32(ch.Generation-c.known.Generation) < 0 {
		return
	}
	o := *c.known
	o.Ruleset = ch.after
	c.known = &o
}

// remember keeps what the table is after a commit.
func (c *Conn) remember(ctx context.Context, ch *Change, tx *transaction) {
	if !ch.planned && ch.table != tableMade {
		return
	}
	gen := tx.generation
	if gen != 0 {
		gen = nextGeneration(gen)
	}
	// The change is done: what cannot be found out now is found out when it is needed.
	t, err := c.read.table(ctx)
	if err != nil || gen == 0 && t.owner != c.write.port {
		return
	}
	o := &Observed{
		Generation: gen, Exists: t.exists,
		Owner: t.owner, Owned: t.owner == c.write.port, Persist: t.flags&tablePersist != 0,
		Ruleset: ch.after, handle: t.handle, handles: tx.kept,
	}
	o.Orphan = o.Persist && o.Owner == 0
	if t.exists && (o.Owned || o.Owner == 0) {
		c.known = o
	}
}

// Apply makes the kernel's table be want: Plan and Commit, again while stale. It returns the change that was carried out, which
// may be empty.
func (c *Conn) Apply(ctx context.Context, want *ruleset.Ruleset) (*Change, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for attempt := 1; ; attempt++ {
		ch, err := c.plan(ctx, want)
		if err != nil {
			return nil, err
		}
		err = c.commit(ctx, ch)
		if err == nil {
			return ch, nil
		}
		if !stale(err) || attempt == applyAttempts {
			return nil, err
		}
	}
}

// stale tells whether a commit is to be planned anew.
func stale(err error) bool { return errors.Is(err, ErrStale) || errors.Is(err, ErrLost) }

// Replace makes the table anew in one transaction, whatever it holds: counters begin at 0, dynamic sets are empty.
func (c *Conn) Replace(ctx context.Context, want *ruleset.Ruleset) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for attempt := 1; ; attempt++ {
		err := c.commit(ctx, Diff(nil, want))
		if !errors.Is(err, ErrStale) || attempt == applyAttempts {
			return err
		}
	}
}

// DeleteTable removes the whole table in one transaction. A table that is not there is no error.
func (c *Conn) DeleteTable(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, err := c.read.table(ctx)
	if err != nil || !t.exists {
		return err
	}
	if t.owner != 0 && t.owner != c.write.port {
		return ownedError(t.owner)
	}
	b := newBatch(c.opt.Table, c.write.nextSeq(), 0)
	b.delTable()
	b.finish(true)
	c.known = nil
	err = c.transact(ctx, b)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// transact sends a finished batch; its sequence numbers are taken. While a large one is committed nobody listens.
func (c *Conn) transact(ctx context.Context, b *batch) error {
	if c.events != nil && len(b.buf) >= quietFrom && c.events.join(false) == nil {
		defer c.events.join(true)
	}
	err := c.write.transact(ctx, b)
	c.write.seq = b.seq
	return err
}

// Counters reads the named counters.
func (c *Conn) Counters(ctx context.Context) (map[string]ruleset.Counter, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found map[string]ruleset.Counter
	err := c.read.request(ctx, unix.NFT_MSG_GETOBJ, true,
		func(b *builder) {
			b.str(unix.NFTA_OBJ_TABLE, b.table)
			b.u32(unix.NFTA_OBJ_TYPE, unix.NFT_OBJECT_COUNTER)
		},
		func() { found = nil },
		func(m message) error {
			if o := parseObject(m.body); o.table == c.opt.Table && o.typ == unix.NFT_OBJECT_COUNTER {
				if found == nil {
					found = make(map[string]ruleset.Counter)
				}
				found[o.name] = o.counter()
			}
			return nil
		})
	if err != nil {
		return nil, wrapRead("counters", err)
	}
	if found == nil {
		if t, err := c.read.table(ctx); err != nil || !t.exists {
			return nil, errors.Join(ErrNoTable, err)
		}
	}
	return found, nil
}
