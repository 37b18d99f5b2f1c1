package policy

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
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

	v4 []addrset.Range[addrset.U32]
	v6 []addrset.Range[addrset.U128]
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

// parse reads the whole text. It makes one pass over the bytes, and no string of a line with an IPv4 address.
func (f *listFile) parse(data []byte) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for number := 1; len(data) > 0 && (!f.errs || f.found <= maxFindings); number++ {
		line := data
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			line, data = data[:i], data[i+1:]
		} else {
			data = nil
		}
		f.line(line, number)
	}
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
	f.sum = addrset.Addrs{V4: addrset.Take(f.v4), V6: addrset.Take(f.v6)}
	f.v4, f.v6 = nil, nil
}

// line reads one line.
func (f *listFile) line(line []byte, number int) {
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
	if lo, bits, ok := prefix4(text); ok {
		host := addrset.U32(uint64(1)<<(32-bits) - 1)
		if lo&host == 0 {
			f.v4 = extend(f.v4, addrset.Range[addrset.U32]{Lo: lo, Hi: lo | host})
			return
		}
	} else if f.prefix6(text) {
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
		f.v4 = append(f.v4, addrset.Range[addrset.U32]{Lo: addrset.V4(b.lo), Hi: addrset.V4(b.hi)})
	} else {
		f.v6 = append(f.v6, addrset.Range[addrset.U128]{Lo: addrset.V6(b.lo), Hi: addrset.V6(b.hi)})
	}
}

// prefix4 reads a.b.c.d or a.b.c.d/n. What it does not take may still be right.
func prefix4(text []byte) (lo addrset.U32, bits uint, ok bool) {
	i := 0
	for octet := range 4 {
		if octet > 0 {
			if i == len(text) || text[i] != '.' {
				return 0, 0, false
			}
			i++
		}
		n, next := decimal(text, i, 255)
		if next == i {
			return 0, 0, false
		}
		lo, i = lo<<8|addrset.U32(n), next
	}
	if i == len(text) {
		return lo, 32, true
	}
	if text[i] != '/' {
		return 0, 0, false
	}
	bits, next := decimal(text, i+1, 32)
	return lo, bits, next == len(text) && next > i+1
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

// prefix6 takes a plain IPv6 address or prefix up.
func (f *listFile) prefix6(text []byte) bool {
	if bytes.IndexByte(text, ':') < 0 {
		return false
	}
	s := string(text)
	if bytes.IndexByte(text, '/') < 0 {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || !a.Is6() || a.Is4In6() {
			return false
		}
		k := addrset.V6(a)
		f.v6 = extend(f.v6, addrset.Range[addrset.U128]{Lo: k, Hi: k})
		return true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is6() || p.Addr().Is4In6() || p.Masked() != p {
		return false
	}
	f.v6 = extend(f.v6, addrset.Range[addrset.U128]{Lo: addrset.V6(p.Addr()), Hi: addrset.V6(lastOf(p))})
	return true
}

// extend adds a range to those before it, to the last of them where it follows that: lists are mostly sorted.
func extend[K addrset.Key[K]](rs []addrset.Range[K], r addrset.Range[K]) []addrset.Range[K] {
	if n := len(rs); n > 0 && r.Lo.Compare(rs[n-1].Lo) >= 0 && (rs[n-1].Hi == rs[n-1].Hi.Last() || r.Lo.Compare(rs[n-1].Hi.Next()) <= 0) {
		if r.Hi.Compare(rs[n-1].Hi) > 0 {
			rs[n-1].Hi = r.Hi
		}
		return rs
	}
	return append(rs, r)
}

// isBlank tells whether a byte separates nothing.
func isBlank(b byte) bool { return b == ' ' || b == '\t' || b == '\r' }
