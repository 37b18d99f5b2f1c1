package daemon

import "time"

// keeper has the enforced policy stored beside the loop: a disk that takes its time must not hold the next change up.
type keeper struct {
	done  chan error // what comes of the store under way; nil where there is none
	retry time.Time  // after one that failed; zero for none
	asked time.Time  // when a client last asked for something, of which memory is left over; zero for never
}

// begin stores what is not stored yet, unless a store is under way: then its end begins the next.
func (k *keeper) begin(d *daemon) {
	if k.done != nil {
		return
	}
	store := d.enf.Unstored()
	if store == nil {
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
	if k.begin(d); k.done == nil {
		go d.giveBack()
	}
}

// finish waits until all is stored.
func (k *keeper) finish(d *daemon) {
	for k.begin(d); k.done != nil; {
		k.end(d, <-k.done)
	}
}

// quiet gives back what clients' requests took, once there were none for a while. Their heap is left to the collector, which comes by
// itself: a collection after every request is more work than the request.
func (k *keeper) quiet(d *daemon) {
	if !k.asked.IsZero() && time.Since(k.asked) > quietAfter {
		k.asked = time.Time{}
		go d.dropProgram()
	}
}
