package syntax_test

import (
	"fmt"
	"strings"
	"testing"

	"ringwall/rules/syntax"
)

// BenchmarkParse reads a policy of a thousand rules.
func BenchmarkParse(b *testing.B) {
	var s strings.Builder
	s.WriteString("version: 1\nin:\n")
	for i := range 1000 {
		fmt.Fprintf(&s, "  - allow: [tcp/%d, udp/%d]\n    from: [10.0.%d.0/24, 2001:db8:%x::/48]\n    note: \"rule %d\"\n    log: true # a comment\n", i+1, i+1, i%256, i, i)
	}
	src := []byte(s.String())
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if _, diags := syntax.Parse("f", src); len(diags) > 0 {
			b.Fatal(diags)
		}
	}
}
