package hostile_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"
)

// TestCorpus runs what is small and vicious. Want is what must stand in the output; empty: nothing is said.
func TestCorpus(t *testing.T) {
	for name, c := range corpus() {
		t.Run(name, func(t *testing.T) {
			d := dir{t, t.TempDir()}
			c.make(d)
			o := measured(t, filepath.Join(d.path, "p.yaml"))
			o.check(t)
			if !strings.Contains(string(o.Output), c.want) || c.want == "" && len(o.Output) > 0 {
				t.Errorf("got:\n%s\nwant: %s", o.Output, c.want)
			}
			if accepted := c.want == "" || strings.HasPrefix(c.want, "warning: "); o.Accepted != accepted {
				t.Errorf("accepted: %v", o.Accepted)
			}
		})
	}
}

// entry is a policy of the corpus.
type entry struct {
	want string
	make func(d dir)
}

// of is a policy of one file, without what policy adds.
func of(text string) func(d dir) { return func(d dir) { d.write("p.yaml", text) } }

// must fails the test where a file can't be made.
func (d dir) must(err error) {
	if err != nil {
		d.t.Fatal(err)
	}
}

// at is the path of a file.
func (d dir) at(name string) string { return filepath.Join(d.path, name) }

// utf16le is a text in UTF-16.
func utf16le(text string) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(text)) {
		b.WriteByte(byte(u))
		b.WriteByte(byte(u >> 8))
	}
	return b.String()
}

func corpus() map[string]entry {
	return map[string]entry{
		// Encodings.
		"NUL":                    {"error: the file has NUL characters", of("version: 1\nin: [\x00]\n")},
		"NUL alone":              {"error: the file", of("\x00")},
		"NULs":                   {"error: the file", of(strings.Repeat("\x00", 4096))},
		"BOM":                    {"", of("\ufeffversion: 1\n")},
		"two BOMs":               {"error: a second byte order mark", of("\ufeff\ufeffversion: 1\n")},
		"BOM within":             {"can't be seen", of("version: 1\nin: [{deny: any, note: \"a\ufeffb\"}]\n")},
		"CRLF":                   {"", of("version: 1\r\nin:\r\n- allow: ssh\r\n  note: \"a\"\r\n")},
		"CR alone":               {"error: a carriage return without a line feed", of("version: 1\rin: []\r")},
		"CR hides a rule":        {"error: a carriage return without a line feed", of("version: 1\n# a comment\rin: [{allow: any}]\n")},
		"UTF-16":                 {"error: the file is not UTF-8 but UTF-16", of("\xff\xfe" + utf16le("version: 1\n"))},
		"UTF-16 without a mark":  {"error: the file is not UTF-8 but UTF-16", of(utf16le("version: 1\n"))},
		"UTF-32":                 {"error: the file is not UTF-8 but UTF-16 or UTF-32", of("\xff\xfe\x00\x00v\x00\x00\x00")},
		"Latin-1":                {"error: the file is not UTF-8", of("version: 1\n# caf\xe9\n")},
		"overlong":               {"error: the file is not UTF-8", of("version: 1\n# \xc0\xaf\n")},
		"surrogate":              {"error: the file is not UTF-8", of("version: 1\n# \xed\xa0\x80\n")},
		"beyond Unicode":         {"error: the file is not UTF-8", of("version: 1\n# \xf4\x90\x80\x80\n")},
		"line separator":         {"error: the character U+2028", of("version: 1\n# a\u2028in: [{allow: any}]\n")},
		"next line":              {"error: the character U+0085", of("version: 1\n# a\u0085in: [{allow: any}]\n")},
		"escape sequence":        {`\x1b[2J`, of("version: 1\n# \x1b[2J\n")},
		"C1 control":             {`\x9b`, of("version: 1\n# \u009b2J\n")},
		"escapes in quotes":      {"error:", of("version: 1\nin: [{allow: \"\\e[31m\\a\\0\"}]\n")},
		"escapes in a key":       {"error:", of("version: 1\n\"\\e]0;x\\a\": 1\n")},
		"turned text":            {"error: the character U+202E", of("version: 1\nin: [{deny: any, note: \"\u202e txet\"}]\n")},
		"turned text, escaped":   {"error:", of("version: 1\nin: [{deny: any, note: \"\\u202e\"}]\n")},
		"tag characters":         {"error:", of("version: 1\nin: [{deny: any, from: \U000e0041\U000e0042}]\n")},
		"no-break space":         {"looks like a blank", of("version: 1\nin: [{deny: any, from: not\u00a010.0.0.1}]\n")},
		"wide and combining":     {"error: unknown service", of("version: 1\nin: [{deny: 日本e\u0301}]\n")},
		"empty":                  {"error: the file is empty", of("")},
		"blanks alone":           {"error: the file is empty", of(" \n\t\n")},
		"comment alone":          {"error: the policy has no version", of("# nothing\n")},
		"ends in a quote":        {"error:", of("version: 1\nin: [\"")},
		"ends in a bracket":      {"error:", of("version: 1\nin: [")},
		"ends in an escape":      {"error:", of("version: 1\nin: \"\\")},
		"ends in a tag":          {"error:", of("version: 1\nin: !")},
		"ends in an anchor":      {"error:", of("version: 1\nin: &")},
		"ends in an alias":       {"error:", of("version: 1\nin: *")},
		"ends in a block header": {"error:", of("version: 1\nin: |9")},
		"ends in a key":          {"error:", of("version: 1\nin")},
		"ends in a directive":    {"error:", of("%YAML")},

		// Structure.
		"tab for indentation":       {"error: a tab in the indentation", of("version: 1\nin:\n\t- allow: ssh\n")},
		"tab after blanks":          {"error:", of("version: 1\nin:\n  - allow: ssh\n \t from: 10.0.0.1\n")},
		"tag":                       {"error: the tag `!!str` has no place", of("version: !!str 1\n")},
		"tag that makes binary":     {"error: the tag `!!binary` has no place", of("version: 1\nin: [{allow: ssh, note: !!binary aGk=}]\n")},
		"tag of a language":         {"error: the tag", of("version: 1\nin: !!python/object/apply:os.system [ls]\n")},
		"bang":                      {"error: `!` does not negate", of("version: 1\nin: [{allow: ssh, from: ! private}]\n")},
		"bang in a list":            {"error: `!` does not negate", of("version: 1\nin: [{allow: ssh, from: [!private]}]\n")},
		"merge key":                 {"error: `<<` merges nothing", of("version: 1\nin:\n- &a {allow: ssh, from: 10.0.0.1}\n- {<<: *a, deny: any}\n")},
		"merge keys in a list":      {"error: `<<` merges nothing", of("version: 1\nin:\n- &a {allow: ssh}\n- {<<: [*a, *a]}\n")},
		"duplicate key":             {"error: the key `from` stands twice", of("version: 1\nin:\n- allow: ssh\n  from: 10.0.0.1\n  from: 0.0.0.0/0\n")},
		"duplicate key in flow":     {"error: the key `from` stands twice", of("version: 1\nin: [{allow: ssh, from: 10.0.0.1, from: 0.0.0.0/0}]\n")},
		"duplicate key in quotes":   {"error: the key `from` stands twice", of("version: 1\nin: [{allow: ssh, from: 10.0.0.1, \"fr\\x6fm\": any}]\n")},
		"duplicate list":            {"error: the key `in` stands twice", of("version: 1\nin: [{deny: any}]\nin: [{allow: any}]\n")},
		"duplicate keys, many":      {"error: this file has more mistakes", of("version: 1\nx: {" + strings.Repeat("a: b, ", 1000) + "}\n")},
		"second document":           {"error: a second document begins here", of("version: 1\n---\nin: [{allow: any}]\n")},
		"second document, broken":   {"error: a second document begins here", of("version: 1\n---\nin: [\n")},
		"end of a document":         {"error: a second document begins here", of("version: 1\n...\nin: [{allow: any}]\n")},
		"directive":                 {"", of("%YAML 1.1\n---\nversion: 1\n")},
		"tag directive":             {"error:", of("%TAG ! tag:x,2000:\n---\nversion: !a 1\n")},
		"list at the top":           {"error: a policy is a mapping", of("- version: 1\n")},
		"text at the top":           {"error: a policy is a mapping", of("version 1\n")},
		"number at the top":         {"error: a policy is a mapping", of("1\n")},
		"null":                      {"error: the policy has no version", of("~: 1\n")},
		"keys that are lists":       {"error: a list is no key", of("version: 1\n? [a, b]\n: c\n")},
		"keys that are mappings":    {"error:", of("version: 1\n{a: b}: c\n")},
		"key that is an alias":      {"error: an alias is no key", of("version: &v 1\n*v : 2\n")},
		"key that is nothing":       {"error: a key is missing", of("version: 1\n: 2\n")},
		"key that is long":          {"error:", of("version: 1\n" + strings.Repeat("k", 2000) + ": 2\n")},
		"alias without an anchor":   {"error:", of("version: 1\nblock: *a\n")},
		"alias of itself":           {"error: the alias stands within what it stands for", of("version: 1\nblock: &a [*a]\n")},
		"alias of a mapping around": {"error: the alias stands within what it stands for", of("version: 1\nsets: &a\n  b: {c: *a}\n")},
		"alias bomb":                {"error: here the policy has more than", bomb(9)},
		"alias bomb, deep":          {"error:", bomb(60)},
		"ten thousand lists":        {"error: lists and mappings lie more than 32 deep", of("version: 1\nin: " + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "\n")},
		"ten thousand mappings":     {"error: lists and mappings lie more than 32 deep", of("version: 1\nin: " + strings.Repeat("{a: ", 10_000) + strings.Repeat("}", 10_000) + "\n")},
		"ten thousand dashes":       {"error: lists and mappings lie more than 32 deep", of("version: 1\nin:\n" + strings.Repeat("- ", 10_000) + "a\n")},
		"ten thousand questions":    {"error: lists and mappings lie more than 32 deep", of("version: 1\nin:\n" + strings.Repeat("? ", 10_000) + "a\n")},
		"ten thousand indentations": {"error: lists and mappings lie more than 32 deep", of("version: 1\n" + each(1000, func(i int) string { return strings.Repeat(" ", i) + "a:\n" }))},
		"ten thousand open":         {"error: lists and mappings lie more than 32 deep", of("version: 1\nin: " + strings.Repeat("[", 10_000))},
		"ten thousand closed":       {"error:", of("version: 1\nin: " + strings.Repeat("]", 10_000))},
		"a megabyte of text":        {"error: the text has 1048576 characters, at most 1000", of("version: 1\nin: [{deny: any, note: " + strings.Repeat("a", mega) + "}]\n")},
		"a megabyte of digits":      {"error:", of("version: " + strings.Repeat("1", mega) + "\n")},
		"a megabyte of address":     {"error:", of("version: 1\nblock: " + strings.Repeat("1.", mega/2) + "\n")},
		"a megabyte of colons":      {"error:", of("version: 1\nblock: \"" + strings.Repeat(":", mega) + "\"\n")},
		"a megabyte of not":         {"error:", of("version: 1\nblock: " + strings.Repeat("not ", mega/4) + "\n")},
		"a megabyte of commas":      {"error:", of("version: 1\nblock: a" + strings.Repeat(",a", mega/2) + "\n")},
		"a megabyte of ports":       {"error:", of("version: 1\nin: [{allow: tcp/" + strings.Repeat("1-", mega/2) + "}]\n")},
		"a megabyte of protocols":   {"error:", of("version: 1\nin: [{allow: " + strings.Repeat("tcp+", mega/4) + "x/1}]\n")},
		"a megabyte of duration":    {"", of("version: 1\nsets: {a: {dynamic: true, timeout: " + strings.Repeat("1s", mega/2) + "}}\n")},
		"a megabyte of limit":       {"error:", of("version: 1\nin: [{allow: ssh, limit: " + strings.Repeat("1/", mega/2) + "}]\n")},
		"a megabyte of mark":        {"error:", of("version: 1\nin: [{allow: ssh, mark: 0x" + strings.Repeat("0", mega) + "/}]\n")},
		"a megabyte of date":        {"error:", of("version: 1\nin: [{allow: ssh, expires: 2027-01-31" + strings.Repeat("0", mega) + "}]\n")},
		"a megabyte of id":          {"error:", of("version: 1\nin: [{allow: ssh, id: " + strings.Repeat("a", mega) + "}]\n")},
		"a megabyte of pattern":     {"error:", of("version: 1\ninclude: \"" + strings.Repeat("[a-", mega/3) + "\"\n")},
		"a cycle of sets":           {"contains itself: a > b > a", of("version: 1\nsets: {a: b, b: a}\n")},
		"a set of itself":           {"contains itself", of("version: 1\nsets: {a: [10.0.0.1, a]}\n")},
		"a cycle of services":       {"contains itself", of("version: 1\nservices: {a: b, b: [c, a], c: a}\n")},
		"sets a hundred deep":       {"error: sets nest at most 64 deep", of("version: 1\nsets:\n  s0: 10.0.0.1\n" + backwards(100))},

		// Files.
		"include of itself":        {`includes itself`, of("version: 1\ninclude: p.yaml\n")},
		"include cycle":            {`includes itself, by way of this file`, files("a: include: b", "b: include: p.yaml")},
		"include cycle by symlink": {`includes itself`, func(d dir) { d.policy("include: q.yaml\n"); d.must(os.Symlink("p.yaml", d.at("q.yaml"))) }},
		"include cycle by hard link": {"", func(d dir) { // another file, as far as a path tells; it is read once more and adds nothing
			d.policy("include: q\n")
			d.write("q", "{}\n")
			d.must(os.Link(d.at("q"), d.at("r")))
		}},
		"include chain":     {"error: files include each other at most 32 deep", chain(100)},
		"missing include":   {`error: "nothing.yaml" does not exist`, of("version: 1\ninclude: nothing.yaml\n")},
		"dangling symlink":  {`does not exist`, func(d dir) { d.policy("include: q\n"); d.must(os.Symlink("nowhere", d.at("q"))) }},
		"symlink of itself": {`error: cannot read "q": too many levels of symbolic links`, func(d dir) { d.policy("include: q\n"); d.must(os.Symlink("q", d.at("q"))) }},
		"symlinks of each other": {`too many levels of symbolic links`, func(d dir) {
			d.policy("include: q\n")
			d.must(os.Symlink("r", d.at("q")))
			d.must(os.Symlink("q", d.at("r")))
		}},
		"symlinks in a directory": {`error:`, func(d dir) {
			d.policy("include: 'd/*/*/*/*'\n")
			d.must(os.Mkdir(d.at("d"), 0o755))
			d.must(os.Symlink(".", d.at("d/a")))
			d.must(os.Symlink(".", d.at("d/b")))
		}},
		"directory": {`error: cannot read "d": not a regular file but a directory`, func(d dir) { d.policy("include: d\n"); d.must(os.Mkdir(d.at("d"), 0o755)) }},
		"pipe":      {`error: cannot read "q": not a regular file but a pipe`, func(d dir) { d.policy("include: q\n"); d.must(syscall.Mkfifo(d.at("q"), 0o644)) }},
		"pipe by pattern": {`not a regular file but a pipe`, func(d dir) {
			d.policy("include: 'd/*'\n")
			d.must(os.Mkdir(d.at("d"), 0o755))
			d.must(syscall.Mkfifo(d.at("d/q"), 0o644))
		}},
		"pipe by symlink": {`not a regular file but a pipe`, func(d dir) {
			d.policy("include: r\n")
			d.must(syscall.Mkfifo(d.at("q"), 0o644))
			d.must(os.Symlink("q", d.at("r")))
		}},
		"pipe as the entry": {`error: cannot read "p.yaml": not a regular file but a pipe`, func(d dir) { d.must(syscall.Mkfifo(d.at("p.yaml"), 0o644)) }},
		"pipe as a list":    {`not a regular file but a pipe`, func(d dir) { d.policy("sets: {a: {file: q}}\nblock: a\n"); d.must(syscall.Mkfifo(d.at("q"), 0o644)) }},
		"pipe as a directory": {`error:`, func(d dir) {
			d.policy("include: 'q/*'\n")
			d.must(syscall.Mkfifo(d.at("q"), 0o644))
			d.policy("include: ['q/*', q/x]\n")
		}},
		"socket": {`error: cannot read "q": not a regular file but a socket`, func(d dir) {
			d.policy("include: q\n")
			d.t.Chdir(d.path)
			l, err := net.Listen("unix", "q")
			d.must(err)
			d.t.Cleanup(func() { l.Close() })
		}},
		"zeros without end":       {`error: cannot read "/dev/zero": not a regular file but a device`, of("version: 1\ninclude: /dev/zero\n")},
		"random without end":      {`not a regular file but a device`, of("version: 1\nsets: {a: {file: /dev/urandom}}\nblock: a\n")},
		"terminal":                {`error: cannot read "/dev/tty"`, of("version: 1\ninclude: /dev/tty\n")},
		"devices by pattern":      {`not a regular file but a device`, of("version: 1\ninclude: '/dev/[nz]*'\n")},
		"a file of the kernel":    {"error:", of("version: 1\ninclude: /proc/self/status\n")},
		"memory of the process":   {"error:", of("version: 1\ninclude: /proc/self/mem\n")},
		"standard input":          {"error:", of("version: 1\ninclude: /proc/self/fd/0\n")},
		"a directory without end": {"error:", of("version: 1\ninclude: '/proc/self/root/proc/self/root/proc/self/root/*/*/*'\n")},
		"a path through a file":   {"error:", of("version: 1\ninclude: p.yaml/x\n")},
		"a path of blanks":        {"error:", of("version: 1\ninclude: \" \"\n")},
		"a path with NUL":         {"error:", of("version: 1\ninclude: \"a\\0b\"\n")},
		"a path with escapes":     {"error:", of("version: 1\ninclude: \"\\e[2J\\n\"\n")},
		"a path that is long":     {"error:", of("version: 1\ninclude: " + strings.Repeat("a", 3000) + "\n")},
		"a path of many steps up": {"error:", of("version: 1\ninclude: " + strings.Repeat("../", 1300) + "x\n")},
		"a name with escapes":     {`\x1b[2J`, func(d dir) { d.policy("include: 'd/*'\n"); d.write("d/\x1b[2J\n.yaml", "in: [\n") }},
		"a name that is no UTF-8": {"not UTF-8", func(d dir) { d.policy("include: 'd/*'\n"); d.write("d/\xff.yaml", "in: []\n") }},
		"a pattern that is none":  {"error: \"[\" is no pattern", of("version: 1\ninclude: '['\n")},
		"a sparse file":           {`error: "q" is too large: a policy has at most 16 MB in all its files`, func(d dir) { d.policy("include: q\n"); d.write("q"); d.must(os.Truncate(d.at("q"), 1<<40)) }},
		"a sparse entry":          {`is too large: a policy has at most 16 MB`, func(d dir) { d.write("p.yaml"); d.must(os.Truncate(d.at("p.yaml"), 1<<40)) }},
		"a sparse list": {`is too large: a policy has at most 64 MB of list files`, func(d dir) {
			d.policy("sets: {a: {file: q}}\nblock: a\n")
			d.write("q")
			d.must(os.Truncate(d.at("q"), 1<<40))
		}},
		"a broken file of many": {"error:", func(d dir) {
			d.policy("include: 'd/*'\n")
			d.write("d/a", "in: [{allow: ssh}]\n")
			d.write("d/b", "in: [{allow: \n")
		}},
		"a list of NULs": {"error:", func(d dir) { d.policy("sets: {a: {file: q}}\nblock: a\n"); d.write("q", strings.Repeat("\x00", mega)) }},
		"a list with escapes": {`\x1b`, func(d dir) {
			d.policy("sets: {a: {file: q}}\nblock: a\n")
			d.write("q", "10.0.0.1\n\x1b[2J\x1b]0;x\x07\n")
		}},
		"a list in UTF-16": {"error:", func(d dir) {
			d.policy("sets: {a: {file: q}}\nblock: a\n")
			d.write("q", "\xff\xfe"+utf16le("10.0.0.1\n"))
		}},
		"a list with CRLF and BOM": {"", func(d dir) {
			d.policy("sets: {a: {file: q}}\nblock: a\n")
			d.write("q", "\ufeff10.0.0.1\r\n10.0.0.2\r\n")
		}},
		"a list of one long line": {"error:", func(d dir) { d.policy("sets: {a: {file: q}}\nblock: a\n"); d.write("q", fill(8*mega, "10.0.0.1,")) }},
		"a list that is a policy": {"error:", func(d dir) { d.policy("sets: {a: {file: p.yaml}}\nblock: a\n") }},
		"a policy that is a list": {"error:", func(d dir) { d.policy("include: q\n"); d.write("q", "10.0.0.1\n10.0.0.2\n") }},
	}
}

// bomb is lists that stand for ten times the one before.
func bomb(n int) func(d dir) {
	return of("version: 1\nx:\n  - &a0 [a, a]\n" + each(n, func(i int) string {
		return fmt.Sprintf("  - &a%d [%s]\n", i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 10))
	}))
}

// backwards is sets of which each names the one before, the last first.
func backwards(n int) string {
	return each(n, func(i int) string { return fmt.Sprintf("  s%d: s%d\n", n-i, n-i-1) })
}

// files is an entry that includes the first of others, each "NAME: text".
func files(texts ...string) func(d dir) {
	return func(d dir) {
		first, _, _ := strings.Cut(texts[0], ": ")
		d.policy("include: ", first, "\n")
		for _, text := range texts {
			name, content, _ := strings.Cut(text, ": ")
			d.write(name, content+"\n")
		}
	}
}

// chain is files of which each includes the next.
func chain(n int) func(d dir) {
	return func(d dir) {
		d.policy("include: q0\n")
		for i := range n {
			d.write(fmt.Sprintf("q%d", i), fmt.Sprintf("include: q%d\n", i+1))
		}
		d.write(fmt.Sprintf("q%d", n), "{}\n")
	}
}
