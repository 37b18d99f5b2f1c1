package ruleset

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

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
	buf := make([]byte, 0, 32)
	for _, r := range s.Elems4.Ranges() {
		buf = binary.BigEndian.AppendUint32(buf[:0], uint32(r.Lo))
		h.Write(binary.BigEndian.AppendUint32(buf, uint32(r.Hi)))
	}
	for _, r := range s.Elems6.Ranges() {
		buf = buf[:0]
		for _, k := range []addrset.U128{r.Lo, r.Hi} {
			buf = binary.BigEndian.AppendUint64(buf, k.Hi)
			buf = binary.BigEndian.AppendUint64(buf, k.Lo)
		}
		h.Write(buf)
	}
	return fmt.Sprintf("%s/%.8x", s.Name, h.Sum(nil))
}
