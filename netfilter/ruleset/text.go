package ruleset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"ringwall/rules/addrset"
)

// WriteNFT writes the whole table in the syntax of nft 1.0.6, for `nft -f` in an empty rule set. Loaded so it lists as it does
// when it came over netlink, but that nft has rules ask for the family of every address, where the chain knows it, too. Elements of dynamic
// sets are not part of it. The error is w's, or says what nft cannot express.
func (r *Ruleset) WriteNFT(w io.Writer) error {
	p := printer{w: bufio.NewWriter(w)}
	p.line("table inet %s {", TableName)
	for _, c := range r.Counters {
		p.line("\tcounter %s {\n\t}", c.Name)
	}
	for _, l := range r.Limits {
		p.line("\tlimit %s {\n\t\t%s\n\t}", l.Name, rateText(l.Rate))
	}
	for _, s := range r.Sets {
		p.set(s)
	}
	for _, m := range r.Maps {
		p.verdictMap(m)
	}
	for _, c := range r.Chains {
		p.chain(c)
	}
	p.line("}")
	return errors.Join(append(p.errs, p.w.Flush())...)
}

// Text is the rule in nft's syntax.
func (r *Rule) Text() (string, error) {
	var b strings.Builder
	p := printer{w: bufio.NewWriter(&b)}
	p.rule(r)
	p.w.Flush()
	return strings.TrimSpace(b.String()), errors.Join(p.errs...)
}

// printer writes a table, and collects what it could not write.
type printer struct {
	w    *bufio.Writer
	errs []error
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

func (p *printer) fail(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

func (p *printer) set(s *Set) {
	family := "ipv4_addr"
	if s.V6 {
		family = "ipv6_addr"
	}
	p.line("\tset %s {\n\t\ttype %s", s.Name, family)
	if s.Size != 0 {
		p.line("\t\tsize %d", s.Size)
	}
	var flags []string
	if s.Packets {
		flags = append(flags, "dynamic")
	}
	if s.Interval {
		flags = append(flags, "interval")
	}
	if s.Timed {
		flags = append(flags, "timeout")
	}
	if flags != nil {
		p.line("\t\tflags %s", strings.Join(flags, ","))
	}
	if s.Timeout != 0 {
		p.line("\t\ttimeout %ds", s.Timeout)
	}
	if s.Comment != "" {
		p.line("\t\tcomment %s", p.quoted(s.Comment))
	}
	writeElements(p, s, s.Elems4)
	writeElements(p, s, s.Elems6)
	p.line("\t}")
}

func writeElements[K addrset.Address[K]](p *printer, set *Set, s addrset.Set[K]) {
	if s.IsEmpty() {
		return
	}
	p.w.WriteString("\t\telements = {")
	sep := "\n\t\t\t"
	var buf []byte
	element := func() {
		p.w.WriteString(sep)
		p.w.Write(buf)
		sep = ",\n\t\t\t"
	}
	if set.Interval {
		for _, r := range s.Ranges() {
			buf = addrset.AppendRange(buf[:0], r)
			element()
		}
	} else {
		Keys(s.Ranges(), set.Length, func(k K) {
			buf = k.Addr().AppendTo(buf[:0])
			element()
		})
	}
	p.w.WriteString("\n\t\t}\n")
}

func (p *printer) chain(c *Chain) {
	p.line("\tchain %s {", c.Name)
	if h := c.Hook; h != nil {
		policy := "accept"
		if h.Drop {
			policy = "drop"
		}
		p.line("\t\ttype filter hook %s priority %d; policy %s;", h.Point, h.Priority, policy)
	}
	for _, r := range c.Rules {
		p.w.WriteString("\t\t")
		p.rule(r)
		p.w.WriteByte('\n')
	}
	p.line("\t}")
}

func (p *printer) rule(r *Rule) {
	for i, e := range r.Exprs {
		if i > 0 {
			p.w.WriteByte(' ')
		}
		p.w.WriteString(p.expr(e))
	}
	if r.Comment != "" {
		p.w.WriteString(" comment " + p.quoted(r.Comment))
	}
}

// expr is an expression as text. Every type of this package has a case here.
func (p *printer) expr(e Expr) string {
	switch e := e.(type) {
	case Cmp:
		return p.cmp(e)
	case In:
		if len(e.Elems) == 1 && !e.Not && bytes.Equal(e.Elems[0].Hi, bytes.Repeat([]byte{0xff}, e.Field.Size())) && !bytes.Equal(e.Elems[0].Lo, e.Elems[0].Hi) {
			return p.cmp(Cmp{Field: e.Field, Op: Ge, Value: e.Elems[0].Lo})
		}
		return e.Field.String() + unequal(e.Not) + p.anonymous(e)
	case Lookup:
		return p.masked(e.Field, e.Mask) + unequal(e.Not) + "@" + e.Set
	case VMap:
		elems := make([]string, len(e.Elems))
		for i, el := range e.Elems {
			elems[i] = p.interval(e.Field, el.Interval) + " : " + verdictText(el.Verdict)
		}
		return e.Field.String() + " vmap { " + strings.Join(elems, ", ") + " }"
	case VMapRef:
		return p.vmapRef(e)
	case Count:
		return "counter name " + p.quoted(e.Counter)
	case LimitRef:
		return "limit name " + p.quoted(e.Limit)
	case Limit:
		return "limit " + rateText(e.Rate)
	case ConnLimit:
		return connLimitText(e)
	case Meter:
		switch {
		case e.Rate != nil:
			return fmt.Sprintf("update @%s { %s limit %s }", e.Set, p.masked(e.Field, e.Mask), rateText(*e.Rate))
		case e.Conns != nil:
			return fmt.Sprintf("add @%s { %s %s }", e.Set, p.masked(e.Field, e.Mask), connLimitText(*e.Conns))
		}
		p.fail("a meter of set %s that counts nothing", e.Set)
		return ""
	case Log:
		if e.Prefix == "" {
			return fmt.Sprintf("log group %d", e.Group)
		}
		return fmt.Sprintf("log prefix %s group %d", p.quoted(e.Prefix), e.Group)
	case SetLabel:
		return fmt.Sprintf("ct label set %d", e.Bit)
	case Label:
		if e.Not {
			return fmt.Sprintf("ct label ! %d", e.Bit)
		}
		return fmt.Sprintf("ct label %d", e.Bit)
	case Reject:
		return rejectText(e.With)
	case Verdict:
		return verdictText(e)
	}
	p.fail("an expression %T has no text", e)
	return ""
}

func unequal(not bool) string {
	if not {
		return " != "
	}
	return " "
}

func (p *printer) cmp(c Cmp) string {
	i, ok := c.Field.info()
	if !ok {
		p.fail("%s has no text", c.Field)
		return ""
	}
	if c.Wildcard {
		return i.nft + operator(c.Op) + p.quoted(string(c.Value)+"*")
	}
	if c.Mask == nil {
		if i.form == bits {
			// Without a sign nft asks for the bits, whatever the others are.
			return i.nft + " " + c.Op.String() + " " + p.value(c.Field, c.Value)
		}
		return i.nft + operator(c.Op) + p.value(c.Field, c.Value)
	}
	if i.form == bits && num(c.Value) == 0 && (c.Op == Eq || c.Op == Ne) {
		if c.Op == Eq {
			return i.nft + " ! " + p.value(c.Field, c.Mask)
		}
		return i.nft + " " + p.value(c.Field, c.Mask)
	}
	if length, ok := prefixLength(c.Mask); ok && i.form == address && (c.Op == Eq || c.Op == Ne) {
		return fmt.Sprintf("%s%s%s/%d", i.nft, operator(c.Op), p.value(c.Field, c.Value), length)
	}
	return fmt.Sprintf("%s %s %s", p.masked(c.Field, c.Mask), c.Op, p.value(c.Field, c.Value))
}

// operator is the operator with blanks around it; equality needs none.
func operator(o Op) string {
	if o == Eq {
		return " "
	}
	return " " + o.String() + " "
}

// masked is the field, and its mask where it has one.
func (p *printer) masked(f Field, mask []byte) string {
	if mask == nil {
		return f.String()
	}
	if i, _ := f.info(); i.form == bits {
		return fmt.Sprintf("%s & %#x", i.nft, num(mask))
	}
	return f.String() + " & " + p.value(f, mask)
}

// prefixLength is the number of leading ones of a mask that has no others.
func prefixLength(mask []byte) (int, bool) {
	ones, bits := net.IPMask(mask).Size()
	return ones, bits != 0
}

// anonymous is the text of a set without a name. nft makes a comparison of a set with one range.
func (p *printer) anonymous(in In) string {
	elems := make([]string, len(in.Elems))
	for i, el := range in.Elems {
		elems[i] = p.interval(in.Field, el)
	}
	if len(elems) == 1 {
		return elems[0]
	}
	return "{ " + strings.Join(elems, ", ") + " }"
}

func (p *printer) interval(f Field, i Interval) string {
	if bytes.Equal(i.Lo, i.Hi) {
		return p.value(f, i.Lo)
	}
	if info, _ := f.info(); info.form == address {
		return string(appendAddresses(i))
	}
	return p.value(f, i.Lo) + "-" + p.value(f, i.Hi)
}

// appendAddresses is a range of addresses as a prefix where it is one, else as first-last.
func appendAddresses(i Interval) []byte {
	lo, _ := netip.AddrFromSlice(i.Lo)
	hi, _ := netip.AddrFromSlice(i.Hi)
	if lo.Is4() && hi.Is4() {
		return addrset.AppendRange(nil, addrset.Range[addrset.U32]{Lo: addrset.V4(lo), Hi: addrset.V4(hi)})
	}
	return addrset.AppendRange(nil, addrset.Range[addrset.U128]{Lo: addrset.V6(lo), Hi: addrset.V6(hi)})
}

// value is a value as nft reads it.
func (p *printer) value(f Field, v []byte) string {
	i, ok := f.info()
	if !ok || len(v) != i.size && i.form != name {
		p.fail("%s has no value of %d bytes", f, len(v))
		return ""
	}
	switch i.form {
	case hex:
		return fmt.Sprintf("%#x", num(v))
	case name:
		return p.quoted(string(v))
	case address:
		a, _ := netip.AddrFromSlice(v)
		return a.String()
	case ether:
		return net.HardwareAddr(v).String()
	case seconds:
		const second = 1e9
		if num(v)%second != 0 {
			p.fail("a time of %d nanoseconds is no whole second", num(v))
		}
		return fmt.Sprint(num(v) / second)
	case bits:
		return i.bitNames(num(v))
	case word:
		for _, w := range i.words {
			if w.value == num(v) {
				return w.name
			}
		}
	}
	return fmt.Sprint(num(v))
}

// bitNames is the names of the bits that are set; a number where one has no name.
func (i fieldInfo) bitNames(v uint64) string {
	var names []string
	rest := v
	for _, w := range i.words {
		if v&w.value != 0 {
			names = append(names, w.name)
			rest &^= w.value
		}
	}
	if rest != 0 || names == nil {
		return fmt.Sprintf("%#x", v)
	}
	return strings.Join(names, ",")
}

// quoted is a string in quotes. nft knows no escapes.
func (p *printer) quoted(s string) string {
	if strings.ContainsAny(s, "\"\n\x00") {
		p.fail("nft cannot write the string %q", s)
	}
	return `"` + s + `"`
}

func rateText(r Rate) string {
	over := ""
	if r.Over {
		over = "over "
	}
	unit := map[uint64]string{1: "second", 60: "minute", 3600: "hour", 86400: "day"}[r.Unit]
	return fmt.Sprintf("rate %s%d/%s burst %d packets", over, r.Packets, unit, r.Burst)
}

func connLimitText(c ConnLimit) string { return fmt.Sprintf("ct count over %d", c.Max) }

func rejectText(w RejectWith) string {
	return "reject with " + nameOf(w, "tcp reset", "icmpx port-unreachable", "icmpx admin-prohibited")
}

func verdictText(v Verdict) string {
	text := nameOf(v.Kind, "accept", "drop", "return", "jump", "goto")
	if v.Chain != "" {
		return text + " " + v.Chain
	}
	return text
}
