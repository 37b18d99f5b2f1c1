package compile

import (
	"math"
	"math/bits"
	"runtime"
	"slices"
	"sync"

	"ringwall/rules/addrset"
)

// layout is how the kernel holds a large set of addresses: for each length of a prefix, how long the elements are that hold such
// prefixes in a hash set, or 0 where they are in a set of ranges.
//
// A range costs four times what an element of a hash set does to load, a lookup among a million three times as much, and a change
// takes time in proportion to the whole set. So prefixes of one length are a hash set, in which an address is looked up with its
// other bits masked away. Every length is a lookup for every packet: they are few, and a prefix of another length is cut into
// those of the next longer one. What is cheaper as ranges stays so.
type layout []int

const (
	// largeSet is from how many ranges on a set has a layout: of fewer, one of ranges is about as quick for a packet.
	largeSet = 2048
	// maxLookups is how many sets hold a large one at most.
	maxLookups = 4
	// rangeCost is what a range costs in a set of ranges, an element of a hash set being 1.
	rangeCost = 4
	// lookupShare is what part of a set's prefixes a lookup must save to be worth its while.
	lookupShare = 1.0 / 8
)

// lengths is how many prefixes of each length make up a set. All processors take part.
func lengths[K addrset.Address[K]](s addrset.Set[K]) []int {
	var k K
	counts := make([]int, k.Bits()+1)
	var mu sync.Mutex
	var all sync.WaitGroup
	for part := range s.Parts(runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			counted := make([]int, len(counts))
			addrset.EachPrefix(part, func(_ K, length int) { counted[length]++ })
			mu.Lock()
			defer mu.Unlock()
			for length, n := range counted {
				counts[length] += n
			}
		})
	}
	all.Wait()
	return counts
}

// split is the addresses that each set holds, by the length of its elements; those of the set of ranges at 0. counts is what lengths
// says of s.
func split[K addrset.Address[K]](l layout, s addrset.Set[K], counts []int) []addrset.Set[K] {
	held := make([]addrset.Set[K], len(l))
	sizes := make([]int, len(l))
	for length, n := range counts {
		sizes[l[length]] += n
	}
	if at := slices.Index(sizes, sum(counts)); at >= 0 { // all is in one set
		held[at] = s
		return held
	}
	// All processors take part: the first makes room for what the others have.
	parts := slices.Collect(s.Parts(runtime.GOMAXPROCS(0)))
	lists := make([][]addrset.Builder[K], len(parts))
	var all sync.WaitGroup
	for i, part := range parts {
		all.Go(func() {
			list := make([]addrset.Builder[K], len(l))
			for at, n := range sizes {
				if i > 0 {
					n = n/len(parts) + n/8
				}
				list[at].Grow(n)
			}
			addrset.EachPrefix(part, func(first K, length int) {
				list[l[length]].Add(addrset.Range[K]{Lo: first, Hi: first.Top(length)})
			})
			lists[i] = list
		})
	}
	all.Wait()
	for _, list := range lists {
		for at := range held {
			held[at] = addrset.Join(held[at], list[at].Set())
		}
	}
	return held
}

// elements is how many elements of a length hold what a layout gives to them.
func (l layout) elements(at int, counts []int) (n int) {
	for length, m := range counts {
		if m > 0 && l[length] == at {
			n += m << (at - length)
		}
	}
	return n
}

func sum(list []int) (n int) {
	for _, m := range list {
		n += m
	}
	return n
}

// chooseLayout chooses by how many prefixes of each length there are, and how many ranges. It takes the numbers roughly: an edit of
// a few lines hardly ever leads to another layout, for which the whole set would have to be loaded again.
func chooseLayout(counts []int, ranges int) layout {
	plain := draft{at: make(layout, len(counts))}
	all := 0.0
	for length, n := range counts {
		if n > 0 {
			plain.at[length] = length
			plain.sets = append(plain.sets, hashSet{length, rough(n), rough(n)})
			all += rough(n)
		}
	}
	price := all * lookupShare
	best, cost := make(layout, len(counts)), rangeCost*rough(ranges)+price
	for _, withRanges := range []bool{false, true} {
		d := plain.clone()
		if withRanges {
			d.lookups, d.cost = 1, price
		}
		d.reduce(price)
		if d.cost < cost {
			best, cost = d.at, d.cost
		}
	}
	return best
}

// rough is the next power of two.
func rough(n int) float64 { return math.Ldexp(1, bits.Len(uint(n-1))) }

// draft is a layout in the making.
type draft struct {
	at      layout
	sets    []hashSet // by length
	lookups int       // of sets of ranges: 0 where there shall be none
	cost    float64   // of what is in that
}

// hashSet is what one holds: so many prefixes, as so many elements.
type hashSet struct {
	length             int
	prefixes, elements float64
}

func (d draft) clone() *draft {
	d.at, d.sets = slices.Clone(d.at), slices.Clone(d.sets)
	return &d
}

// reduce gives up one hash set after the other, whichever costs least, as long as a lookup is worth more or there are too many.
// Its prefixes go to the next longer elements or to the set of ranges.
func (d *draft) reduce(price float64) {
	for len(d.sets) > 0 {
		place, next, least := 0, 0, math.Inf(1)
		for i, s := range d.sets {
			if d.lookups > 0 {
				if more := rangeCost*s.prefixes - s.elements; more < least {
					place, next, least = i, 0, more
				}
			}
			if i+1 < len(d.sets) {
				to := d.sets[i+1].length
				if more := math.Ldexp(s.elements, to-s.length) - s.elements; more < least {
					place, next, least = i, to, more
				}
			}
		}
		if least > price && len(d.sets)+d.lookups <= maxLookups {
			break
		}
		d.move(place, next)
	}
	for _, s := range d.sets {
		d.cost += s.elements + price
	}
}

// move gives up a hash set for the one after it, or for the set of ranges where next is 0.
func (d *draft) move(place, next int) {
	s := d.sets[place]
	if next == 0 {
		d.cost += rangeCost * s.prefixes
	} else {
		to := &d.sets[place+1]
		to.prefixes += s.prefixes
		to.elements += math.Ldexp(s.elements, to.length-s.length)
	}
	for length, at := range d.at {
		if at == s.length {
			d.at[length] = next
		}
	}
	d.sets = slices.Delete(d.sets, place, place+1)
}
