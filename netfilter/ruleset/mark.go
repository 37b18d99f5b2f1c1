package ruleset

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"ringwall/rules/addrset"
)

// markFrom is from how many ranges on a set has a mark: fewer than anybody would refuse to read back.
const markFrom = 16384

// Mark is the name of a counter that says what a large static set holds, empty for other sets. To read a million elements
// back takes the kernel a minute, and no attribute of a set changes with them; an object that comes and goes in the same
// transaction as they do tells the next process what is there.
func (s *Set) Mark() string {
	if s.Dynamic || s.Elems4.Len()+s.Elems6.Len() < markFrom {
		return ""
	}
	h := sha256.New()
	h.Write(sums(s.Elems4))
	h.Write(sums(s.Elems6))
	return fmt.Sprintf("%s/%.8x", s.Name, h.Sum(nil))
}

// sums is the digests of the ends of ranges, so many at a time. All processors take part.
func sums[K addrset.Address[K]](s addrset.Set[K]) []byte {
	const piece = 4096
	pieces := slices.Collect(slices.Chunk(s.Ranges(), piece))
	digests := make([]byte, len(pieces)*sha256.Size)
	var next atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			var ends []byte
			for i := next.Add(1) - 1; i < int64(len(pieces)); i = next.Add(1) - 1 {
				ends = ends[:0]
				for _, r := range pieces[i] {
					ends = r.Hi.Append(r.Lo.Append(ends))
				}
				sum := sha256.Sum256(ends)
				copy(digests[i*sha256.Size:], sum[:])
			}
		})
	}
	all.Wait()
	return digests
}
