package ruleset

import (
	"crypto/sha256"
	"fmt"
	"hash"

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
	hashRanges(h, s.Elems4)
	hashRanges(h, s.Elems6)
	return fmt.Sprintf("%s/%.8x", s.Name, h.Sum(nil))
}

// hashRanges feeds a hash with the ends of ranges, many at a time.
func hashRanges[K addrset.Address[K]](h hash.Hash, s addrset.Set[K]) {
	const piece = 32 << 10
	buf := make([]byte, 0, piece)
	for _, r := range s.Ranges() {
		if buf = r.Hi.Append(r.Lo.Append(buf)); len(buf) == piece {
			h.Write(buf)
			buf = buf[:0]
		}
	}
	h.Write(buf)
}
