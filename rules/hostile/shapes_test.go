package hostile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ringwall/rules/syntax"
)

// shape is a policy of many bytes that is made when it is needed.
type shape struct {
	name string
	want string // the code of an error; empty: it is a good policy
	make func(d dir)
}

// dir is where the files of a shape lie; p.yaml is the entry.
type dir struct {
	t    testing.TB
	path string
}

// write makes a file.
func (d dir) write(name string, parts ...string) {
	path := filepath.Join(d.path, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		d.t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, p := range parts {
		if _, err := f.WriteString(p); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		d.t.Fatal(err)
	}
}

// policy writes the entry file.
func (d dir) policy(parts ...string) {
	d.write("p.yaml", append([]string{"version: 1\n"}, parts...)...)
}

// fill is as many copies as come to a number of bytes.
func fill(bytes int, s string) string { return strings.Repeat(s, bytes/len(s)) }

// each is the results of f for 0 to n-1.
func each(n int, f func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(f(i))
	}
	return b.String()
}

const mega = 1 << 20

// most is a little less than a policy may have.
const most = 16*mega - 1000

func v4(i int) string { return fmt.Sprintf("%d.%d.%d.%d", 1+i>>24&127, i>>16&255, i>>8&255, i&255) }

// full is a policy of as many units as are taken, with values that are as short as can be. Padded, it has a comment of
// many bytes besides, and for that more units.
func (d dir) full(head, unit, tail string, padded bool) {
	taken := func(n int) bool {
		_, found := syntax.Parse("f", []byte("version: 1\n"+head+strings.Repeat(unit, n)+tail))
		for _, f := range found {
			if f.Code == "too-large" {
				return false
			}
		}
		return true
	}
	few, many := 0, 1_000_000/len(unit)
	for many-few > many/200 {
		if n := (few + many) / 2; taken(n) {
			few = n
		} else {
			many = n
		}
	}
	if !padded {
		d.policy(head, strings.Repeat(unit, few), tail)
		return
	}
	each := float64(110_000+few*len(unit)/10) / float64(few) // values of a unit
	d.policy(head, strings.Repeat(unit, int(590_000/each)), tail, "\n#", fill(most-len(head+tail)-int(590_000/each)*len(unit), "a"), "\n")
}
