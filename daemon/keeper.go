package daemon

import "time"

// keeper has the enforced policy stored beside the loop: a disk that takes its time must not hold the next change up.
type keeper struct {
	done  chan error // what comes of the store under way; nil where there is none
	retry time.Time  // after one that failed; zero for none
	used  time.Time  // when memory was last used, by a load or for a client, that is not given back yet; zero for never
	load  bool       // it was by a load, of which requests, connections and proofs may have held something until now
}

// begin stores what is not stored yet, unless a store is under way: then its end begins the next. Where there is nothing to store the
// daemon comes to rest.
func (k *keeper) begin(d *daemon) {
	if k.done != nil {
		return
	}
	store := d.enf.Unstored()
	if store == nil {
		// A load takes a few times what it leaves, and what is stored need not be in memory as text.
		d.enf.Forget()
		k.used, k.load = time.Now(), true
		go d.giveBack()
		return
	}
	k.done, k.retry = make(chan error, 1), time.Time{}
	go func(done chan<- error) { done <- store() }(k.done)
}

// end takes up what came of a store.
func (k *keeper) end(d *daemon, err error) {
	k.done = nil
	if err := d.enf.Stored(err); err != nil {
		d.log.Error(err.Error())
		k.retry = time.Now().Add(retryAfter)
		return
	}
	k.begin(d)
}

// finish waits until all is stored.
func (k *keeper) finish(d *daemon) {
	for k.begin(d); k.done != nil; {
		k.end(d, <-k.done)
	}
}

// quiet gives back what loads and clients' requests took, once there were none for a while. Little of the heap that a request took is left to
// the collector, which comes by itself: a collection after every request is more work than the request.
func (k *keeper) quiet(d *daemon) {
	if k.used.IsZero() || time.Since(k.used) < quietAfter || k.done != nil {
		return
	}
	collect := k.load || heap() > d.rest.Load()+muchHeap
	if k.used, k.load = (time.Time{}), false; collect {
		go d.giveBack()
	} else {
		go d.dropProgram()
	}
}
