package kernel

import (
	"testing"

	"ringwall/netfilter/ruleset"
)

// FuzzDecode feeds the decoder what no kernel sends: it must say so, and not fall over.
func FuzzDecode(f *testing.F) {
	for _, c := range every().Chains {
		for _, r := range c.Rules {
			enc := ruleEncoder{batch: newBatch(ruleset.TableName, 1, 0)}
			for _, e := range r.Exprs {
				enc.expr(e)
			}
			var b builder
			for _, e := range enc.out {
				b.nest(1, func() { b.buf = append(b.buf, e...) })
			}
			f.Add(b.buf)
		}
	}
	d, err := newDecoder()
	if err != nil {
		f.Fatal(err)
	}
	d.sets[anonymousSet] = &anonymous{elems: []setElement{{lo: []byte{1}}, {lo: []byte{2, 0}}}}
	for _, m := range every().Maps {
		d.maps[m.Name] = m
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		exprs, err := d.rule(b)
		if err == nil && len(exprs) > 0 && ruleKey(&ruleset.Rule{Exprs: exprs}) == "" {
			t.Errorf("decoded to what has no key: %v", exprs)
		}
		parseElement(b)
		if m, ours := parseSet(b).verdictMap(); ours {
			elems, err := mapElems(m, pair([]setElement{parseElement(b)}, m.Interval))
			if err == nil && len(elems) > 0 && len(elems[0].Lo) != m.KeySize() {
				t.Errorf("a key of %d bytes in a map of %v", len(elems[0].Lo), m.Keys)
			}
		}
		parseObject(b)
		for range attrs(b) {
		}
		_ = split(b, func(message) error { return nil })
	})
}
