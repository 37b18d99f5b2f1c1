package policy

import (
	"fmt"
	"net/netip"
	"strings"

	"ringwall/rules/diag"
)

// addrRange is the addresses from lo to hi that one literal of a policy stands for: an address, a prefix or a range.
type addrRange struct {
	lo, hi netip.Addr
	// masked is the prefix that was meant, where the literal had bits set below its length.
	masked netip.Prefix
}

// complaint is what is wrong with a value, and how to write it.
type complaint struct{ code, message, hint string }

func complain(code, hint, format string, args ...any) *complaint {
	return &complaint{code, fmt.Sprintf(format, args...), hint}
}

// report makes a diagnostic of a complaint.
func (c *complaint) report(errorf reporter, at diag.Span) {
	errorf(at, c.code, "%s", c.message).Hint = c.hint
}

// reporter adds a finding to a list.
type reporter = func(at diag.Span, code, format string, args ...any) *diag.Diagnostic

// literal reads an address, a prefix or a range a-b.
func literal(text string) (addrRange, *complaint) {
	r, c := literalItem(text)
	if c == nil || !isSeveral(text) {
		return r, c
	}
	// Several values in one, or one that is broken up: look at what it would be without.
	if whole := strings.ReplaceAll(text, " ", ""); !strings.Contains(text, ",") {
		if _, still := literalItem(whole); still == nil && strings.ContainsAny(whole, "/-") {
			return r, complain("bad-address", "write `"+whole+"`", "a blank stands within %s", quote(text))
		}
	}
	return r, complain("bad-address", asList(separate(text)), "%s is not one value", quote(text))
}

// literalItem reads a text without commas, and with blanks only around the dash of a range.
func literalItem(text string) (addrRange, *complaint) {
	if from, to, ok := strings.Cut(text, "-"); ok {
		return addressRange(strings.TrimSpace(from), strings.TrimSpace(to))
	}
	if addr, length, ok := strings.Cut(text, "/"); ok {
		return prefix(addr, length)
	}
	a, c := parseAddress(text)
	return addrRange{lo: a, hi: a}, c
}

// addressRange reads the two ends of a range.
func addressRange(from, to string) (addrRange, *complaint) {
	if strings.Contains(from, "/") || strings.Contains(to, "/") {
		return addrRange{}, prefixRange(from, to)
	}
	lo, c := parseAddress(from)
	if c != nil {
		return addrRange{}, c
	}
	hi, c := parseAddress(to)
	switch {
	case c != nil && lo.Is4() && len(to) <= 3 && isDigits(to):
		return addrRange{}, complain("bad-address", "write `"+from+"-"+from[:strings.LastIndex(from, ".")+1]+to+"`",
			"the end of the range %s is no address", quote(from+"-"+to))
	case c != nil:
		return addrRange{}, c
	case lo.Is4() != hi.Is4():
		return addrRange{}, complain("bad-address", "", "the ends of the range are of two families")
	case hi.Less(lo):
		return addrRange{}, complain("reversed-range", "write `"+to+"-"+from+"`", "the range is reversed")
	}
	return addrRange{lo: lo, hi: hi}, nil
}

// prefixRange is the complaint about a range with a prefix for an end.
func prefixRange(from, to string) *complaint {
	c := complain("bad-address", "", "a range reaches from an address to an address, without lengths")
	if strings.Contains(to, "-") {
		return c
	}
	lo, wrong := literalItem(from)
	hi, alsoWrong := literalItem(to)
	if wrong == nil && alsoWrong == nil && lo.lo.Is4() == hi.hi.Is4() && lo.lo.Less(hi.hi) {
		c.hint = "write `" + lo.lo.String() + "-" + hi.hi.String() + "`"
	}
	return c
}

// prefix reads an address and a prefix length.
func prefix(addr, length string) (addrRange, *complaint) {
	a, c := parseAddress(addr)
	if c != nil && c.code == "mapped-address" {
		const mapped = 128 - 32 // bits before the IPv4 address
		bits, wrong := number(length, 128)
		if wrong != "" || bits < mapped {
			c.hint = ""
			return addrRange{}, c
		}
		c.hint = "write `" + netip.PrefixFrom(a.Unmap(), int(bits-mapped)).Masked().String() + "`"
		return addrRange{}, c
	}
	if c != nil {
		if full := padded(addr); full != "" && isDigits(length) {
			c.hint = "write `" + full + "/" + length + "`"
		}
		return addrRange{}, c
	}
	if a.Is4() && strings.Contains(length, ".") {
		return addrRange{}, netmask(a, length)
	}
	bits, wrong := number(length, uint64(a.BitLen()))
	switch {
	case wrong != "" && isDigits(length) && length[0] != '0':
		family := "IPv4"
		if a.Is6() {
			family = "IPv6"
		}
		return addrRange{}, complain("bad-prefix", "", "/%s is too long: an %s prefix has at most %d bits", printable(length), family, a.BitLen())
	case wrong != "":
		return addrRange{}, complain("bad-prefix", "", "the prefix length %s", "of "+quote(addr+"/"+length)+" is no number from 0 to "+fmt.Sprint(a.BitLen()))
	}
	p := netip.PrefixFrom(a, int(bits)).Masked()
	b := addrRange{lo: p.Addr(), hi: lastOf(p)}
	if p.Addr() != a {
		b.masked = p
	}
	return b, nil
}

// netmask is the complaint about a prefix with a mask for a length.
func netmask(a netip.Addr, mask string) *complaint {
	c := complain("netmask", "", "%s is a netmask, and prefixes have a length", quote(mask))
	m, err := netip.ParseAddr(mask)
	if err != nil || !m.Is4() {
		return complain("bad-prefix", "", "%s is no prefix length", quote(mask))
	}
	b := m.As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	for bits := 0; bits <= 32; bits++ {
		if full := ^uint32(0) << (32 - bits); n == full || n == ^full {
			c.hint = "write `" + netip.PrefixFrom(a, bits).Masked().String() + "`"
			break
		}
	}
	return c
}

// parseAddress reads one address.
func parseAddress(text string) (netip.Addr, *complaint) {
	a, err := netip.ParseAddr(text)
	switch {
	case err == nil && a.Zone() != "":
		return a, complain("bad-address", "write `"+a.WithZone("").String()+"`, and the interface as `iface`", "%s names an interface", quote(text))
	case err == nil && a.Is4In6():
		return a, complain("mapped-address", "write `"+a.Unmap().String()+"`", "%s never occurs in a packet", quote(text))
	case err == nil:
		return a, nil
	}
	c := complain("bad-address", "", "%s is no address", quote(text))
	host, _, _ := strings.Cut(text, ":")
	switch {
	case text == "":
		c.message = "an address is missing"
	case text != "" && strings.ContainsRune("@$%+", rune(text[0])) && isName(text[1:]):
		c.hint = "a set is named without a sign: `" + printable(text[1:]) + "`"
	case strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]"):
		c.hint = "write it without brackets: `" + printable(strings.Trim(text, "[]")) + "`"
	case padded(text) != "":
		full := padded(text)
		c.message = quote(text) + " is a part of an address"
		c.hint = fmt.Sprintf("write `%s/%d`", full, 8*(1+strings.Count(strings.TrimRight(text, ".*"), ".")))
	case isIPv4(host) && strings.Count(text, ":") == 1:
		c.message = quote(text) + " is an address with a port"
		c.hint = "ports stand with the verdict: `allow: tcp/22`"
	case strings.Trim(text, "0123456789.") == "" && strings.Count(text, ".") == 3:
		for part := range strings.SplitSeq(text, ".") {
			if _, wrong := number(part, 255); wrong != "" {
				c.hint = wrong
				break
			}
		}
	}
	return a, c
}

// padded completes `10`, `192.168.1`, `192.168.1.` or `10.*` to an IPv4 address, and is empty for anything else.
func padded(text string) string {
	parts := strings.Split(strings.TrimSuffix(text, "."), ".")
	stars := false
	for i, p := range parts {
		if p == "*" && i > 0 {
			stars = true
			parts[i] = "0"
			continue
		}
		if _, wrong := number(p, 255); wrong != "" || stars {
			return ""
		}
	}
	if len(parts) > 4 || len(parts) == 4 && !stars {
		return ""
	}
	for len(parts) < 4 {
		parts = append(parts, "0")
	}
	return strings.Join(parts, ".")
}

// isIPv4 tells whether a text is an IPv4 address.
func isIPv4(text string) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && a.Is4()
}

// isDigits tells whether a text is decimal digits alone.
func isDigits(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }
