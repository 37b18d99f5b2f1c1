package compile

import (
	"fmt"
	"testing"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// manyRules is a policy of so many rules, each with addresses and ports of its own.
func manyRules(n int) *policy.Policy {
	p := &policy.Policy{Base: policy.DefaultBase(), Defaults: [3]policy.Verdict{policy.Deny, policy.Allow, policy.Deny}}
	for i := range n {
		ports := addrset.Between(policy.Key(policy.ProtoTCP, uint16(i)), policy.Key(policy.ProtoTCP, uint16(i)|7))
		from := addrset.U32(0x0a000000 + 256*i)
		p.Lists[policy.In] = append(p.Lists[policy.In], &policy.Rule{
			ID: fmt.Sprintf("rule-%d", i),
			Match: policy.Match{
				What:  policy.What{V4: ports, V6: ports},
				From:  policy.Addrs{Terms: []policy.Term{{Static: addrset.Addrs{V4: addrset.Between(from, from+255)}}}},
				To:    policy.AnyAddrs(),
				Sport: addrset.All[addrset.U16](),
			},
		})
	}
	return p
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		p := manyRules(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := Compile(p, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		p := manyRules(n)
		rs, err := Compile(p, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := Verify(p, rs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
