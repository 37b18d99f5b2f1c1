package check

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/policy/policytest"
	"ringwall/rules/source"
	"ringwall/rules/space"
)

// TestAddressWords: addresses in words are what a policy with these sets reads from the same words.
func TestAddressWords(t *testing.T) {
	const sets = `version: 1
sets:
  office: [203.0.113.0/24, 2001:db8:1::/48, 198.51.100.7]
  lab: 10.1.0.0/16
  odd: [10.1.2.0-10.1.2.99, 192.0.2.1]
`
	p := load(t, sets)
	sp, err := space.NewFree(p)
	if err != nil {
		t.Fatal(err)
	}
	n := newNaming(sp, 0, p)
	pools := []string{"office", "lab", "odd", "private", "link-local", "0.0.0.0/0", "::/0", "198.51.100.0/24", "10.1.2.3", "2001:db8::/32", "fe80::1"}
	rapid.Check(t, func(t *rapid.T) {
		var list []string
		for _, name := range rapid.SliceOfN(rapid.SampledFrom(pools), 1, 5).Draw(t, "items") {
			list = append(list, rapid.SampledFrom([]string{"", "not "}).Draw(t, "not")+name)
		}
		want, ok := read(sets, list)
		if !ok {
			return
		}
		four, six := !want.V4.IsEmpty(), !want.V6.IsEmpty()
		items, told := n.addrs(want, four, six)
		if items == nil {
			if four && !want.V4.IsAll() || six && !want.V6.IsAll() {
				t.Fatalf("%v is said to be all", list)
			}
			return
		}
		got, ok := read(sets, items)
		if !ok {
			t.Fatalf("%v is written %v, which can't be read", list, items)
		}
		if four && !got.V4.Equal(want.V4) || six && !got.V6.Equal(want.V6) {
			t.Fatalf("%v is written %v", list, items)
		}
		if told && (!four && !got.V4.IsEmpty() || !six && !got.V6.IsEmpty()) {
			t.Fatalf("%v is written %v, which does not tell the family", list, items)
		}
	})
}

// read is what a policy reads from a list of addresses, false where that is an error or nothing.
func read(sets string, items []string) (addrset.Addrs, bool) {
	text := sets + "in: [{allow: any, from: ['" + strings.Join(items, "', '") + "']}]\n"
	p, diags := policy.Load(source.Memory{"p": text}, "p", policy.Options{})
	if diags.HasErrors() {
		return addrset.Addrs{}, false
	}
	a := p.Lists[policy.In][0].Match.From.Static()
	return a, !a.IsEmpty()
}

// TestChosenWords: values in words stand for exactly the set that they were made of.
func TestChosenWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &policy.Policy{}
		for range 4 {
			p.Lists[policy.In] = append(p.Lists[policy.In], &policy.Rule{Match: policytest.Match(t, policy.In)})
		}
		sp, err := space.NewFree(p)
		if err != nil {
			t.Fatal(err)
		}
		n := newNaming(sp, 0, p)
		whole := sp.Whole(policy.In, false)
		all := whole.Set(space.IIf)
		var set space.Set
		for i := range sp.Interfaces()[1:] {
			if rapid.Bool().Draw(t, "in") {
				set = set.Union(addrset.One(addrset.U32(i + 1)))
			}
		}
		if set.IsEmpty() {
			return
		}
		text := n.interfaces(&found{rules: true, box: whole.With(space.IIf, set)}, space.IIf)
		if strings.Contains(text, " more") {
			return
		}
		one := func(word string) (s space.Set) {
			for i, name := range sp.Interfaces() {
				if name == word {
					s = addrset.One(addrset.U32(i))
				}
			}
			for _, p := range n.patterns {
				if string(p) == word {
					s = sp.Named(p)
				}
			}
			return s
		}
		list := func(words string) (s space.Set) {
			for _, w := range strings.Split(words, ", ") {
				s = s.Union(one(w))
			}
			return s
		}
		got := all
		if rest, ok := strings.CutPrefix(text, "not "); ok {
			got = all.Minus(list(rest))
		} else if some, but, ok := strings.Cut(text, " but "); ok {
			got = one(some).Minus(list(but))
		} else if text != "" {
			got = list(text)
		}
		if !got.Equal(set) {
			t.Fatalf("%v of %v is written %q", set.Ranges(), sp.Interfaces(), text)
		}
	})
}
