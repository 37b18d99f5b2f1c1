package hostile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLarge runs what is large, or becomes large while it is read.
func TestLarge(t *testing.T) {
	if os.Getenv("HOSTILE") == "" {
		t.Skip("takes minutes, and a quiet machine: scripts/hostile")
	}
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	for _, s := range shapes() {
		t.Run(s.name, func(t *testing.T) {
			d := dir{t, t.TempDir()}
			s.make(d)
			o := measured(t, filepath.Join(d.path, "p.yaml"))
			t.Logf("%-32s %v", s.name, o)
			o.check(t)
			found := ""
			for _, f := range o.Findings {
				if f.Error && (found == "" || f.Code == s.want) {
					found = f.Code
				}
			}
			if s.want != "?" && found != s.want {
				t.Errorf("got %q, want %q: %.300s", found, s.want, o.Output)
			}
		})
	}
}

// shapes is the worst that can be thought of.
func shapes() []shape { return append(dense(), large()...) }

// dense is policies that have as many values as are taken, and are that large.
func dense() []shape {
	var all []shape
	for _, u := range []struct{ name, head, unit, tail string }{
		{"flow", "in: [", "a,", "]"},
		{"list", "in:\n", "- a\n", ""},
		{"nothing", "in:\n", "-\n", ""},
		{"mappings", "in: [", "{},", "]"},
		{"lists", "in: [", "[],", "]"},
		{"lists of one", "in: [", "[a],", "]"},
		{"pairs", "in: [", "a: ,", "]"},
		{"mappings of one", "in:\n", "- a: b\n", ""},
		{"mappings of two", "in:\n", "- a: b\n  c: d\n", ""},
		{"keys alone", "in: {", "a,", "}"},
		{"nested", "in: [", "[[[[[[[[[[[[a]]]]]]]]]]]],", "]"},
		{"quoted", "in: [", "'',", "]"},
		{"anchors", "in: [", "&a b,", "]"},
		{"comments", "in:\n- a\n", "#\n", ""},
		{"comments after values", "in:\n", "- a #\n", ""},
		{"comments before values", "in:\n", "#\n- a\n", ""},
		{"comments with blank lines", "in:\n", "#\n\n- a\n\n#\n\n", ""},
		{"rules", "in:\n", "- {deny: gre}\n", ""},
		{"rules in blocks", "in:\n", "- deny: gre\n", ""},
		{"rules of anything", "in:\n", "- {deny: [any, gre], from: [any, 1::], to: not 1::}\n", ""},
		{"rules that warn", "in:\n", "- {deny: gre, from: 1::1/9}\n", ""},
		{"rules that are wrong", "in:\n", "- {deny: gr, from: x}\n", ""},
		{"tests", "tests:\n", "- {in: gre, expect: deny}\n", ""},
		{"tests of anything", "tests:\n", "- {in: [any, gre], from: [any, 1::], to: not 1::, expect: deny}\n", ""},
		{"addresses", "block: [", "1::,", "]"},
		{"addresses subtracted", "block: [", "not 1::,", "]"},
		{"names", "block: [", "any,", "]"},
		{"interfaces", "in: [{allow: ssh, iface: [", "a,", "]}]"},
		{"users", "out: [{allow: ssh, user: [", "1,", "]}]"},
		{"marks", "in: [{allow: ssh, mark: [", "1,", "]}]"},
		{"services", "in: [{allow: [", "gre,", "]}]"},
		{"ports", "in: [{allow: tcp, sport: [", "1,", "]}]"},
		{"aliases", "x: &a b\nblock: [", "*a,", "]"},
		{"aliases of rules", "in:\n- &a {deny: gre}\n", "- *a\n", ""},
	} {
		for _, padded := range []bool{false, true} {
			name := "full of " + u.name
			if padded {
				name += ", padded"
			}
			all = append(all, shape{name, "?", func(d dir) { d.full(u.head, u.unit, u.tail, padded) }})
		}
	}
	return all
}

// large is the rest.
func large() []shape {
	return []shape{
		{"empty", "", func(d dir) { d.policy() }},
		{"flow of short items", "?", func(d dir) { d.policy("in: [", fill(most, "a,"), "]\n") }},
		{"flow of short items, 1 MB", "?", func(d dir) { d.policy("in: [", fill(mega, "a,"), "]\n") }},
		{"flow of short items, 300 KB", "?", func(d dir) { d.policy("in: [", fill(300_000, "a,"), "]\n") }},
		{"list of short items", "?", func(d dir) { d.policy("in:\n", fill(most, "- a\n")) }},
		{"list of short items, 500 KB", "?", func(d dir) { d.policy("in:\n", fill(500_000, "- a\n")) }},
		{"list of nothing", "?", func(d dir) { d.policy("in:\n", fill(most, "-\n")) }},
		{"list of nothing, 500 KB", "?", func(d dir) { d.policy("in:\n", fill(500_000, "-\n")) }},
		{"empty mappings", "?", func(d dir) { d.policy("in: [", fill(most, "{},"), "]\n") }},
		{"empty mappings, 500 KB", "?", func(d dir) { d.policy("in: [", fill(500_000, "{},"), "]\n") }},
		{"empty lists, 500 KB", "?", func(d dir) { d.policy("in: [", fill(500_000, "[],"), "]\n") }},
		{"short lists, 500 KB", "?", func(d dir) { d.policy("in: [", fill(500_000, "[a],"), "]\n") }},
		{"pairs in a list, 500 KB", "?", func(d dir) { d.policy("in: [", fill(500_000, "a: ,"), "]\n") }},
		{"short rules in flow", "?", func(d dir) { d.policy("in:\n", fill(most, "- {allow: ssh, from: private}\n")) }},
		{"short rules in flow, 500 KB", "", func(d dir) { d.policy("in:\n", fill(500_000, "- {allow: ssh, from: private}\n")) }},
		{"short rules in flow, 1 MB", "?", func(d dir) { d.policy("in:\n", fill(mega, "- {allow: ssh, from: private}\n")) }},
		{"short rules in flow, 2 MB", "?", func(d dir) { d.policy("in:\n", fill(2*mega, "- {allow: ssh, from: private}\n")) }},
		{"shortest rules, 200 KB", "", func(d dir) { d.policy("in:\n", fill(200_000, "- deny: gre\n")) }},
		{"shortest rules, 1 MB", "?", func(d dir) { d.policy("in:\n", fill(mega, "- deny: gre\n")) }},
		{"rules of many keys, 1 MB", "", func(d dir) {
			d.policy("in:\n", fill(mega, "- allow: [ssh, tcp/80-90]\n  from: [10.0.0.0/8, 2001:db8::/32]\n  iface: eth0\n  limit: 5/minute\n"))
		}},
		{"rules of many keys, 16 MB", "?", func(d dir) {
			d.policy("in:\n", fill(most, "- allow: [ssh, tcp/80-90]\n  from: [10.0.0.0/8, 2001:db8::/32]\n  iface: eth0\n  limit: 5/minute\n"))
		}},
		{"addresses in flow", "?", func(d dir) {
			d.policy("block: [", each(1_000_000, func(i int) string { return v4(2*i) + ", " }), "]\n")
		}},
		{"a hundred thousand addresses", "", func(d dir) {
			d.policy("block: [", each(100_000, func(i int) string { return v4(2*i) + ", " }), "]\n")
		}},
		{"a hundred thousand addresses, subtracted", "", func(d dir) {
			d.policy("block: [", each(100_000, func(i int) string { return "not " + v4(2*i) + ", " }), "]\n")
		}},
		{"a hundred thousand IPv6 addresses in a list", "", func(d dir) {
			d.policy("block:\n", each(100_000, func(i int) string { return fmt.Sprintf("- 2001:db8::%x:%x\n", i>>15, 2*i&0xffff) }))
		}},
		{"keys", "?", func(d dir) { d.policy(each(1_000_000, func(i int) string { return fmt.Sprintf("%x: b\n", i) })) }},
		{"keys, 300 KB", "?", func(d dir) { d.policy(each(40_000, func(i int) string { return fmt.Sprintf("%x: b\n", i) })) }},
		{"one key many times, 300 KB", "?", func(d dir) { d.policy(fill(300_000, "a: b\n")) }},
		{"deep flow", "too-large", func(d dir) { d.policy("in: ", fill(8*mega, "["), fill(8*mega-1000, "]"), "\n") }},
		{"ten thousand deep", "too-large", func(d dir) { d.policy("in: ", fill(10_000, "["), fill(10_000, "]"), "\n") }},
		{"thirty deep, many times", "?", func(d dir) {
			d.policy("in:\n", fill(most, "- "+fill(29, "[")+"a"+fill(29, "]")+"\n"))
		}},
		{"thirty deep, 500 KB", "?", func(d dir) {
			d.policy("in:\n", fill(500_000, "- "+fill(29, "[")+"a"+fill(29, "]")+"\n"))
		}},
		{"comments", "too-large", func(d dir) { d.policy(fill(most, "#\n")) }},
		{"comments after values", "?", func(d dir) { d.policy("in:\n", fill(most, "- a #\n")) }},
		{"comments after values, 500 KB", "?", func(d dir) { d.policy("in:\n", fill(500_000, "- a #\n")) }},
		{"comments before values, 500 KB", "?", func(d dir) { d.policy("in:\n", fill(500_000, "#a\n- a\n#\n\n#\n")) }},
		{"comments between words", "?", func(d dir) { d.policy("in:\n", fill(most, "- a #b\n#\n\n#\n")) }},
		{"one comment", "", func(d dir) { d.policy("#", fill(most, "a"), "\n") }},
		{"indented comments", "?", func(d dir) { d.policy("in:\n- allow: ssh\n", fill(most, "  # comment\n")) }},
		{"blank lines", "?", func(d dir) { d.policy("in:\n", fill(most, "\n"), "- allow: ssh\n") }},
		{"blanks", "", func(d dir) { d.policy("in: ", fill(most, " "), "[allow: ssh]\n") }},
		{"tabs", "?", func(d dir) { d.policy("in:", fill(most, "\t"), "[allow: ssh]\n") }},
		{"a long text", "?", func(d dir) { d.policy("in:\n- allow: ssh\n  note: ", fill(most, "a"), "\n") }},
		{"a long text of words", "?", func(d dir) { d.policy("in:\n- allow: ssh\n  note: ", fill(most, "a "), "\n") }},
		{"a long text over lines", "?", func(d dir) { d.policy("in:\n- allow: ssh\n  note: ", fill(most, "a\n   "), "\n") }},
		{"a long name", "?", func(d dir) { d.policy("in:\n- allow: ", fill(most, "a"), "\n") }},
		{"a long name of a file", "?", func(d dir) { d.policy("include: ", fill(most, "a"), "\n") }},
		{"a long pattern", "?", func(d dir) { d.policy("include: \"*", fill(most, "a*"), "\"\n") }},
		{"a long path", "?", func(d dir) { d.policy("include: ", fill(most, "a/"), "\n") }},
		{"quotes", "?", func(d dir) { d.policy("in:\n- allow: ssh\n  note: '", fill(most, "''"), "'\n") }},
		{"escapes", "?", func(d dir) { d.policy("in:\n- allow: ssh\n  note: \"", fill(most, `\n`), "\"\n") }},
		{"escapes of NUL", "?", func(d dir) { d.policy("in:\n- allow: ssh\n  note: \"", fill(most, `\0`), "\"\n") }},
		{"an open quote", "?", func(d dir) { d.policy("in:\n- allow: ssh\n  note: \"", fill(most, `a b`), "\n") }},
		{"an open quote over lines", "?", func(d dir) { d.policy("in:\n- allow: ssh\n  note: \"", fill(most, "a\n "), "\n") }},
		{"an open bracket", "?", func(d dir) { d.policy("in: [", fill(500_000, "a, "), "\n") }},
		{"open brackets", "?", func(d dir) { d.policy("in:\n", fill(500_000, "- [a\n"), "\n") }},
		{"a block scalar", "?", func(d dir) { d.policy("in:\n- allow: ssh\n  note: |\n", fill(most, "   a\n")) }},
		{"a folded scalar", "?", func(d dir) { d.policy("in:\n- allow: ssh\n  note: >\n", fill(most, "   a\n")) }},
		{"a block scalar of blank lines", "?", func(d dir) { d.policy("in:\n- allow: ssh\n  note: |\n   a\n", fill(most, "\n"), "   b\n") }},
		{"a syntax error at the end", "?", func(d dir) {
			d.policy("in:\n", fill(mega, "- {allow: ssh, from: private}\n"), "- {allow: ssh\n")
		}},
		{"a syntax error at the end of 16 MB", "?", func(d dir) {
			d.policy("in:\n- note: \"", fill(most, "a b"), "\"\n- @\n")
		}},
		{"a syntax error after many lines", "?", func(d dir) {
			d.policy(fill(most, "#\n"), "- @\n- a: [\n")
		}},
		{"documents", "too-large", func(d dir) { d.policy(fill(most, "---\n")) }},
		{"documents, 100 KB", "second-document", func(d dir) { d.policy(fill(100_000, "---\na: b\n")) }},
		{"ends of documents", "?", func(d dir) { d.policy(fill(most, "...\n")) }},
		{"directives", "?", func(d dir) { d.write("p.yaml", fill(most, "%YAML 1.2\n"), "---\nversion: 1\n") }},
		{"tag directives", "?", func(d dir) {
			d.write("p.yaml", each(300_000, func(i int) string { return fmt.Sprintf("%%TAG !%x! t\n", i) }), "---\nversion: 1\n")
		}},
		{"anchors", "?", func(d dir) { d.policy("in: [", fill(most, "&a b,"), "]\n") }},
		{"anchors, 500 KB", "?", func(d dir) {
			d.policy("in: [", each(50_000, func(i int) string { return fmt.Sprintf("&%x b,", i) }), "]\n")
		}},
		{"long anchors", "?", func(d dir) {
			d.policy("in: [", each(1000, func(i int) string { return "&a" + fill(16000, "b") + " c," }), "]\n")
		}},
		{"aliases", "?", func(d dir) { d.policy("sets:\n  a: &a 10.0.0.1\nblock: [", fill(300_000, "*a,"), "]\n") }},
		{"aliases of a rule", "?", func(d dir) {
			d.policy("in:\n- &a {allow: [ssh, http, https, tcp/8443], from: [10.0.0.0/8, 192.168.0.1], to: 10.0.0.1}\n", fill(100_000, "- *a\n"))
		}},
		{"aliases of a long text", "?", func(d dir) {
			d.policy("x: &a ", fill(4*mega, "a "), "\nblock: [", fill(300_000, "*a,"), "]\n")
		}},
		{"aliases of a long list", "?", func(d dir) {
			d.policy("sets:\n  x: &a [", each(900, func(i int) string { return v4(2*i) + ", " }), "]\nin:\n", fill(2000, "- {allow: ssh, from: *a}\n"))
		}},
		{"an alias bomb", "?", func(d dir) {
			d.policy("a0: &a0 [x]\n", each(20, func(i int) string {
				return fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, fill(50, fmt.Sprintf("*a%d, ", i)))
			}))
		}},
		{"findings", "?", func(d dir) { d.policy("block: [", fill(500_000, "bad, "), "]\n") }},
		{"findings on one line", "?", func(d dir) { d.policy("block: [", fill(2*mega, "10.0.0.1111, "), "]\n") }},
		{"warnings", "?", func(d dir) { d.policy("block: [", fill(mega, "10.0.0.1/8, "), "]\n") }},
		{"unknown sets beside known ones", "?", func(d dir) {
			d.policy("sets:\n", each(30_000, func(i int) string { return fmt.Sprintf("  s%d: 10.0.0.1\n", i) }), "block: [", fill(200_000, "sx, "), "]\n")
		}},
		{"unknown services beside known ones", "?", func(d dir) {
			d.policy("services:\n", each(30_000, func(i int) string { return fmt.Sprintf("  s%d: tcp/1\n", i) }), "in: [{allow: [", fill(200_000, "sx, "), "]}]\n")
		}},
		{"tests by unknown rules", "?", func(d dir) {
			d.policy("in:\n", each(10_000, func(i int) string { return fmt.Sprintf("- {allow: ssh, id: a%d}\n", i) }), "tests:\n", fill(400_000, "- {in: ssh, expect: deny, by: x}\n"))
		}},
		{"interfaces beside groups", "?", func(d dir) {
			d.policy("interfaces:\n", each(20_000, func(i int) string { return fmt.Sprintf("  lan%d: eth%d\n", i, i) }),
				"in: [{allow: ssh, iface: [", each(20_000, func(i int) string { return fmt.Sprintf("enp%d, ", i) }), "]}]\n")
		}},
		{"interface groups, used often", "?", func(d dir) {
			d.policy("interfaces: {lan: [", each(20_000, func(i int) string { return fmt.Sprintf("eth%d, ", i) }), "]}\nin:\n", fill(200_000, "- {allow: ssh, iface: [lan, a]}\n"))
		}},
		{"ports", "?", func(d dir) {
			d.policy("in: [{allow: [", each(32_000, func(i int) string { return fmt.Sprintf("tcp/%d, ", 2*i+1) }), each(32_000, func(i int) string { return fmt.Sprintf("udp/%d, ", 2*i+1) }), "]}]\n")
		}},
		{"services of many ports, used often", "?", func(d dir) {
			d.policy("services: {s: [", each(32_000, func(i int) string { return fmt.Sprintf("tcp/%d, ", 2*i+1) }), "]}\nin:\n", fill(200_000, "- {allow: [s, http]}\n"))
		}},
		{"source ports", "?", func(d dir) {
			d.policy("in: [{allow: tcp, sport: [", each(32_000, func(i int) string { return fmt.Sprintf("%d, ", 2*i+1) }), "]}]\n")
		}},
		{"sets, many", "?", func(d dir) {
			d.policy("sets:\n", each(40_000, func(i int) string { return fmt.Sprintf("  s%d: 10.0.0.1\n", i) }))
		}},
		{"sets within sets", "?", func(d dir) {
			d.policy("sets:\n  s0: 10.0.0.1\n", each(60, func(i int) string {
				return fmt.Sprintf("  s%d: [%s10.1.0.%d]\n", i+1, fill(1000, fmt.Sprintf("s%d, ", i)), i)
			}))
		}},
		{"a large set, extended often", "?", func(d dir) {
			d.policy("sets:\n  s: [", each(50_000, func(i int) string { return v4(2*i) + ", " }), "]\n",
				each(5000, func(i int) string { return fmt.Sprintf("  t%d: [s, %s]\n", i, v4(1<<24+2*i)) }))
		}},
		{"a large set, used often", "?", func(d dir) {
			d.policy("sets:\n  s: [", each(50_000, func(i int) string { return v4(2*i) + ", " }), "]\nin:\n",
				each(5000, func(i int) string { return fmt.Sprintf("- {allow: ssh, from: [s, not %s]}\n", v4(2*i)) }))
		}},
		{"a large set, named often in one list", "?", func(d dir) {
			d.policy("sets:\n  s: [", each(50_000, func(i int) string { return v4(2*i) + ", " }), "]\nblock: [", fill(200_000, "s, "), "]\n")
		}},
		{"dynamic sets together", "?", func(d dir) {
			d.policy("sets:\n", each(10_000, func(i int) string { return fmt.Sprintf("  d%d: {dynamic: true}\n", i) }),
				"block: [", each(10_000, func(i int) string { return fmt.Sprintf("d%d, ", i) }), "]\n")
		}},
		{"dynamic sets subtracted", "?", func(d dir) {
			d.policy("sets:\n", each(1000, func(i int) string { return fmt.Sprintf("  d%d: {dynamic: true}\n", i) }),
				"in: [{allow: ssh, from: [", each(60, func(i int) string { return fmt.Sprintf("d%d, ", i) }), each(60, func(i int) string { return fmt.Sprintf("not d%d, ", 100+i) }), "]}]\n")
		}},
		{"dynamic sets in large sets", "?", func(d dir) {
			d.policy("sets:\n  s: [", each(20_000, func(i int) string { return v4(2*i) + ", " }), "]\n",
				each(60, func(i int) string { return fmt.Sprintf("  d%d: {dynamic: true}\n  e%d: [s, not d%d]\n", i, i, i) }),
				"in:\n", fill(200_000, "- {allow: ssh, from: ["+each(30, func(i int) string { return fmt.Sprintf("e%d, ", i) })+"]}\n"))
		}},
		{"failsafe", "?", func(d dir) {
			d.policy("failsafe:\n", each(20_000, func(i int) string { return fmt.Sprintf("  tcp/%d: 10.0.0.0/8\n", i+1) }))
		}},
		{"tests", "", func(d dir) { d.policy("tests:\n", fill(500_000, "- {in: any, expect: deny}\n")) }},
		{"tests, 2 MB", "?", func(d dir) { d.policy("tests:\n", fill(2*mega, "- {in: ssh, from: 10.0.0.1, expect: deny}\n")) }},
		{"tests with given sets", "?", func(d dir) {
			d.policy("sets:\n  d: {dynamic: true}\n  s: [", each(20_000, func(i int) string { return v4(2*i) + ", " }), "]\ntests:\n",
				fill(500_000, "- {in: ssh, given: {d: [s, 1.2.3.4]}, expect: deny}\n"))
		}},
		{"users", "?", func(d dir) {
			d.policy("out: [{allow: ssh, user: [", each(100_000, func(i int) string { return fmt.Sprintf("u%d, ", i) }), "]}]\n")
		}},
		{"a list file of short lines", "?", func(d dir) {
			d.policy("block: a\nsets: {a: {file: l}}\n")
			d.write("l", fill(16*mega, "\n"))
		}},
		{"a list file of bad lines", "?", func(d dir) {
			d.policy("block: a\nsets: {a: {file: l}}\n")
			d.write("l", fill(16*mega, "a\n"))
		}},
		{"a list file of short addresses", "?", func(d dir) {
			d.policy("block: a\nsets: {a: {file: l}}\n")
			d.write("l", fill(16*mega, "::\n"))
		}},
		{"a list file of addresses", "", func(d dir) {
			d.policy("block: a\nsets: {a: {file: l}}\n")
			d.write("l", each(2_000_000, func(i int) string { return v4(2*i) + "\n" }))
		}},
		{"a list file of IPv6 addresses, backwards", "", func(d dir) {
			d.policy("block: a\nsets: {a: {file: l}}\n")
			d.write("l", each(1_000_000, func(i int) string { return fmt.Sprintf("%x:%x::\n", 0x3000-i>>16, 0xffff-i&0xffff) }))
		}},
		{"a list file of one line", "?", func(d dir) {
			d.policy("block: a\nsets: {a: {file: l}}\n")
			d.write("l", fill(100*mega, "10.0.0.1 "))
		}},
		{"a large list file", "?", func(d dir) {
			d.policy("block: a\nsets: {a: {file: l}}\n")
			d.write("l", strings.Repeat(each(100_000, func(i int) string { return v4(4*i) + "\n" }), 60))
		}},
		{"a large list file, used often", "?", func(d dir) {
			d.policy("sets: {a: {file: l}}\nin:\n", each(1000, func(i int) string { return fmt.Sprintf("- {allow: ssh, from: [a, not %s]}\n", v4(2*i)) }))
			d.write("l", each(1_000_000, func(i int) string { return v4(2*i) + "\n" }))
		}},
		{"a list file, named by many sets", "?", func(d dir) {
			d.policy("sets:\n", each(30_000, func(i int) string { return fmt.Sprintf("  a%d: {file: l}\n", i) }))
			d.write("l", "10.0.0.1\n")
		}},
		{"missing list files", "?", func(d dir) {
			d.policy("sets:\n", each(30_000, func(i int) string { return fmt.Sprintf("  a%d: {file: l%d}\n", i, i) }))
		}},
		{"many files", "", func(d dir) {
			d.policy("include: r/*\n")
			for i := range 4000 {
				d.write(fmt.Sprintf("r/%d.yaml", i), "in: [{allow: ssh}]\n")
			}
		}},
		{"too many files", "too-large", func(d dir) {
			d.policy("include: r/*\n")
			for i := range 20_000 {
				d.write(fmt.Sprintf("r/%d.yaml", i), "in: [{allow: ssh}]\n")
			}
		}},
		{"files that include all others", "?", func(d dir) {
			d.policy("include: r/*\n")
			for i := range 2000 {
				d.write(fmt.Sprintf("r/%d.yaml", i), "include: '*'\n")
			}
		}},
		{"large files", "?", func(d dir) {
			d.policy("include: r/*\n")
			for i := range 8 {
				d.write(fmt.Sprintf("r/%d.yaml", i), "in:\n", fill(mega, "- {allow: ssh, from: private}\n"))
			}
		}},
		{"files of comments", "?", func(d dir) {
			d.policy("include: r/*\n")
			for i := range 20 {
				d.write(fmt.Sprintf("r/%d.yaml", i), fill(most, "# a\n"))
			}
		}},
		{"missing files", "?", func(d dir) {
			d.policy("include: [", each(200_000, func(i int) string { return fmt.Sprintf("f%d, ", i) }), "]\n")
		}},
		{"patterns", "?", func(d dir) {
			d.policy("include: [", each(20_000, func(i int) string { return fmt.Sprintf("'r/%d*', ", i) }), "]\n")
			for i := range 3000 {
				d.write(fmt.Sprintf("r/x%d.yaml", i), "")
			}
		}},
		{"the whole file system", "?", func(d dir) { d.policy("include: '/*/*/*/*/*/*'\n") }},
		{"a pattern that is slow to match", "?", func(d dir) {
			d.policy("include: '", fill(200, "a*"), "b'\n")
			for i := range 1000 {
				d.write(fill(240, "a")+fmt.Sprint(i), "")
			}
		}},
	}
}
