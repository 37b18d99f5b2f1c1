package policy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
	"ringwall/rules/source"
)

// listFile is a file of addresses that has been read: an address, a prefix or a range a line, # comments.
type listFile struct {
	name  string
	diags *diag.List
	found int // findings, those beyond maxListErrors included
	// beyond is where the first of those beyond is.
	beyond diag.Span
	errs   bool

	v4 addrset.Builder[addrset.U32]
	v6 addrset.Builder[addrset.U128]
	// sum is the addresses, once read.
	sum addrset.Addrs
}

// addressFile reads a list file; of one that several sets name, the text is read once.
func (l *loader) addressFile(name string, at diag.Span) addrset.Addrs {
	if l.listNames++; l.listNames > maxFiles {
		if l.listNames == maxFiles+1 {
			l.errorf(at, "too-large", "the sets of a policy name at most %d list files", maxFiles)
		}
		return addrset.Addrs{}
	}
	canonical, err := l.fsys.Canonical(name)
	if err != nil {
		l.unreadable(name, at, err)
		return addrset.Addrs{}
	}
	if f, ok := l.lists[canonical]; ok {
		if f.errs { // so that every set of a broken list counts as broken
			l.errorf(at, "bad-list", "%s has errors", quote(name))
		}
		return f.sum
	}
	var found diag.List
	f := &listFile{name: name, diags: &found}
	l.lists[canonical] = f
	data, err := l.fsys.ReadFile(name, maxListBytes-l.listBytes)
	if errors.Is(err, source.ErrTooLarge) {
		f.errs = true
		l.errorf(at, "too-large", "%s is too large: a policy has at most %d MB of list files", quote(name), maxListBytes>>20)
		return addrset.Addrs{}
	}
	if err != nil {
		f.errs = true
		l.unreadable(name, at, err)
		return addrset.Addrs{}
	}
	l.listBytes += int64(len(data))
	l.wasRead(data)
	f.parse(data)
	l.found(found)
	return f.sum
}

// largeList is from how many bytes on the two halves of a list are read side by side.
const largeList = 1 << 20

// parse reads the whole text.
func (f *listFile) parse(data []byte) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(data) < largeList || !f.halves(data) {
		f.whole(data)
	}
	f.trim()
}

// whole reads the text from the first line to the last.
func (f *listFile) whole(data []byte) {
	data = f.lines(data, 0)
	if f.found > maxListErrors {
		severity := f.diags.Warnf
		if f.errs {
			severity = f.diags.Errorf
		}
		rest := ""
		if len(data) > 0 {
			rest = ", and after these it was not read on"
		}
		severity(f.beyond, "bad-list", "%d more findings in this file, from here on%s", f.found-maxListErrors, rest)
	}
	f.sumUp()
}

// sumUp makes a set of what was read.
func (f *listFile) sumUp() {
	f.sum = addrset.Addrs{V4: f.v4.Set(), V6: f.v6.Set()}
}

// trim gives back the room that either family did not need.
func (f *listFile) trim() {
	f.sum = addrset.Addrs{V4: f.sum.V4.Trim(), V6: f.sum.V6.Trim()}
}

// halves reads two halves of the text side by side. Where there are more findings than are reported one by one it gives up, with nothing read.
func (f *listFile) halves(data []byte) bool {
	newline := bytes.IndexByte(data[len(data)/2:], '\n')
	if newline < 0 {
		return false
	}
	middle := len(data)/2 + newline + 1
	first, second := &listFile{name: f.name, diags: &diag.List{}}, &listFile{name: f.name, diags: &diag.List{}}
	var both sync.WaitGroup
	both.Go(func() {
		second.lines(data[middle:], 0)
		second.sumUp()
	})
	first.lines(data[:middle], bytes.Count(data[middle:], []byte{'\n'})+1)
	first.sumUp()
	if both.Wait(); first.found+second.found > maxListErrors {
		return false
	}
	f.found, f.errs = first.found+second.found, first.errs || second.errs
	before := bytes.Count(data[:middle], []byte{'\n'})
	for i := range *second.diags {
		(*second.diags)[i].At.Line += before
	}
	*f.diags = slices.Concat(*f.diags, *first.diags, *second.diags)
	f.sum = addrset.Addrs{V4: addrset.Join(first.sum.V4, second.sum.V4), V6: addrset.Join(first.sum.V6, second.sum.V6)}
	return true
}

// lines reads a text, which so many lines follow, and returns what it did not read on account of too many errors. It makes one pass over
// the bytes, and no string of a line with an address or a prefix.
func (f *listFile) lines(data []byte, follow int) (rest []byte) {
	lines := bytes.Count(data, []byte{'\n'}) + 1
	for number := 1; len(data) > 0 && (!f.errs || f.found <= maxFindings); number++ {
		// Most lines are an address or a prefix and nothing else: these need not be looked for an end.
		if r, n := range4(data); n == len(data) || n > 0 && data[n] == '\n' {
			if last, ok := f.v4.Last(); ok && uint64(r.Lo) > uint64(last.Hi)+1 {
				f.v4.Append(r)
			} else {
				add(&f.v4, r, lines-number+follow)
			}
			data = data[min(n+1, len(data)):]
			continue
		}
		if r, n := range6(data); n > 0 && (n == len(data) || data[n] == '\n') {
			add(&f.v6, r, lines-number+follow)
			data = data[min(n+1, len(data)):]
			continue
		}
		line := data
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			line, data = data[:i], data[i+1:]
		} else {
			data = nil
		}
		f.line(line, number, lines-number+follow)
	}
	return data
}

// line reads one line, which more follow.
func (f *listFile) line(line []byte, number, more int) {
	if i := bytes.IndexByte(line, '#'); i >= 0 {
		line = line[:i]
	}
	start := 0
	for start < len(line) && isBlank(line[start]) {
		start++
	}
	end := len(line)
	for end > start && isBlank(line[end-1]) {
		end--
	}
	text := line[start:end]
	if len(text) == 0 {
		return
	}
	if r, n := range4(text); n == len(text) {
		add(&f.v4, r, more)
		return
	}
	if r, n := range6(text); n == len(text) {
		add(&f.v6, r, more)
		return
	}
	f.slow(line, start, string(text), number)
}

// slow reads what is not plain: ranges, prefixes with host bits, and mistakes.
func (f *listFile) slow(line []byte, start int, text string, number int) {
	at := diag.Span{
		Pos: diag.Pos{File: f.name, Line: number, Col: 1 + utf8.RuneCount(line[:start])},
		Len: utf8.RuneCountInString(text),
	}
	b, c := literal(text)
	if c != nil || b.masked.IsValid() {
		if f.found++; f.found == maxListErrors+1 {
			f.beyond = at
		}
	}
	switch {
	case c != nil:
		f.errs = true
		if f.found <= maxListErrors {
			if strings.ContainsAny(text, " ,;\t") {
				c.hint = "write one a line, and comments after `#`"
			}
			c.report(f.diags.Errorf, at)
		}
		return
	case b.masked.IsValid():
		if f.found <= maxListErrors {
			hostBits(f.diags.Warnf, at, text, b)
		}
	}
	if b.lo.Is4() {
		f.v4.Add(addrset.Range[addrset.U32]{Lo: addrset.V4(b.lo), Hi: addrset.V4(b.hi)})
	} else {
		f.v6.Add(addrset.Range[addrset.U128]{Lo: addrset.V6(b.lo), Hi: addrset.V6(b.hi)})
	}
}

// range4 reads a.b.c.d or a.b.c.d/n at the beginning of a text, and returns how long that is; 0 for anything else, which may
// still be right.
func range4(text []byte) (r addrset.Range[addrset.U32], n int) {
	lo, i := quad(text)
	if i == 0 || i == len(text) || text[i] != '/' {
		return addrset.Range[addrset.U32]{Lo: lo, Hi: lo}, i
	}
	length, next := decimal(text, i+1, 32)
	if next == i+1 || lo.Mask(int(length)) != lo {
		return r, 0
	}
	return addrset.Range[addrset.U32]{Lo: lo, Hi: lo.Top(int(length))}, next
}

// quad reads a.b.c.d at the beginning of a text, and returns how long that is, 0 for anything else. A processor that has to guess
// how many digits come next is wrong half the time, which takes longer than all the rest: so it looks at four bytes at once.
func quad(text []byte) (lo addrset.U32, n int) {
	const most = len("255.255.255.255") + 1
	if len(text) < most {
		var padded [most]byte
		copy(padded[:], text)
		text = padded[:]
	}
	next, later := binary.LittleEndian.Uint64(text), binary.LittleEndian.Uint64(text[8:most])
	for octet := range 4 {
		// Digits become their values, and the highest bit of the others is set.
		word := uint32(next) ^ 0x30303030
		others := (word + 0x76767676 | word) & 0x80808080
		end := bits.TrailingZeros32(others) // the last bit of what follows the digits
		// The digits are the upper bytes of a word: a higher word is a higher number, and a sum of products is the uppermost byte.
		number := word << ((39 - end) & 31)
		if others&0x80 != 0 || others == 0 || bits.ReverseBytes32(number) > 0x020505 || word&0xff == 0 && end > 15 {
			return 0, 0
		}
		lo = lo<<8 | addrset.U32(number*(1+10<<8+100<<16)>>24)
		n += end>>3 + 1
		if octet < 3 && word>>(end&^7)&0xff != '.'^'0' {
			return 0, 0
		}
		next, later = next>>((end+1)&63)|later<<((63-end)&63), later>>((end+1)&63)
	}
	return lo, n - 1
}

// decimal reads a number up to limit, at most three digits and without a leading zero, from text[i] on, and returns
// where it ends; i where there is none.
func decimal(text []byte, i int, limit uint) (n uint, next int) {
	for next = i; next < len(text) && next < i+3 && text[next] >= '0' && text[next] <= '9'; next++ {
		n = n*10 + uint(text[next]-'0')
	}
	if n > limit || next > i+1 && text[i] == '0' {
		return 0, i
	}
	return n, next
}

// range6 reads an IPv6 address or prefix at the beginning of a text, and returns how long that is; 0 for anything else, which may still be
// right.
func range6(text []byte) (r addrset.Range[addrset.U128], n int) {
	lo, i := groups(text)
	if i == 0 || lo.Hi == 0 && lo.Lo>>32 == 0xffff { // an IPv4 address in an IPv6 one
		return r, 0
	}
	if i == len(text) || text[i] != '/' {
		return addrset.Range[addrset.U128]{Lo: lo, Hi: lo}, i
	}
	length, next := decimal(text, i+1, 128)
	if next == i+1 || lo.Mask(int(length)) != lo {
		return r, 0
	}
	return addrset.Range[addrset.U128]{Lo: lo, Hi: lo.Top(int(length))}, next
}

// groups reads an IPv6 address of hexadecimal groups at the beginning of a text, and returns how long that is; 0 for anything else,
// which may still be right.
func groups(text []byte) (lo addrset.U128, n int) {
	var parts [8]uint16
	count, gap := 0, -1 // how many groups there are, and how many of them stand before the `::`
	due := true         // a group must follow
	if bytes.HasPrefix(text, []byte("::")) {
		gap, due, n = 0, false, len("::")
	}
	for count < len(parts) {
		value, next := hexadecimal(text, n)
		if next == n {
			break
		}
		parts[count] = value
		count++
		due, n = false, next
		if n == len(text) || text[n] != ':' {
			break
		}
		due = true
		if n++; n < len(text) && text[n] == ':' {
			if gap >= 0 {
				return lo, 0
			}
			gap, due = count, false
			n++
		}
	}
	if due || (count == len(parts)) == (gap >= 0) {
		return lo, 0
	}
	if gap >= 0 {
		after := parts[gap:count]
		moved := parts
		clear(moved[gap:])
		copy(moved[len(moved)-len(after):], after)
		parts = moved
	}
	for i, part := range parts {
		if i < 4 {
			lo.Hi = lo.Hi<<16 | uint64(part)
		} else {
			lo.Lo = lo.Lo<<16 | uint64(part)
		}
	}
	return lo, n
}

// hexadecimal reads at most four digits from text[i] on, and returns where they end; i where there is none.
func hexadecimal(text []byte, i int) (n uint16, next int) {
	for next = i; next < len(text) && next < i+4; next++ {
		digit := hexDigits[text[next]]
		if digit == noDigit {
			break
		}
		n = n<<4 | uint16(digit)
	}
	return n, next
}

const noDigit = 0xff

// hexDigits is the values of hexadecimal digits, noDigit for other bytes. A processor can't guess whether a digit or a letter comes next.
var hexDigits = func() (values [256]uint8) {
	for c := range values {
		values[c] = noDigit
	}
	for n, c := range "0123456789abcdef" {
		values[c] = uint8(n)
	}
	for n, c := range "ABCDEF" {
		values[c] = uint8(10 + n)
	}
	return values
}()

// add adds a range, which so many more may follow, of either family: the first of one makes room for all.
func add[K addrset.Key[K]](to *addrset.Builder[K], r addrset.Range[K], more int) {
	if to.Len() == 0 {
		to.Grow(more + 1)
	}
	to.Add(r)
}

// isBlank tells whether a byte separates nothing.
func isBlank(b byte) bool { return b == ' ' || b == '\t' || b == '\r' }
