package source

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
)

// Bundle is what a load read, failures too: an FS that replays that load without a file system. It travels as JSON,
// contents in base64. The zero Bundle has no files. Who takes one from elsewhere bounds the size of its JSON; there
// is nothing else in it to distrust, since it names files but opens none.
type Bundle struct {
	Files map[string]Content  `json:"files,omitempty"` // by the name they were asked for
	Globs map[string]Matches  `json:"globs,omitempty"` // by pattern
	Names map[string]Identity `json:"names,omitempty"` // by the name that was to be resolved
}

// Content is what came of reading a file.
type Content struct {
	Data    []byte   `json:"data,omitempty"`
	Failure *Failure `json:"failure,omitempty"`
}

// Matches is what came of a pattern.
type Matches struct {
	Names   []string `json:"names,omitempty"`
	Failure *Failure `json:"failure,omitempty"`
}

// Identity is what came of resolving a name.
type Identity struct {
	Canonical string   `json:"canonical,omitempty"`
	Failure   *Failure `json:"failure,omitempty"`
}

var _ FS = (*Bundle)(nil)

// ReadFile replays the reading of a file. One that was never read does not exist.
func (b *Bundle) ReadFile(name string, limit int64) ([]byte, error) {
	c, ok := b.Files[name]
	switch {
	case !ok:
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	case c.Failure != nil:
		return nil, c.Failure.err()
	case int64(len(c.Data)) > limit:
		return nil, &fs.PathError{Op: "read", Path: name, Err: tooLarge(limit)}
	}
	return c.Data, nil
}

// Glob replays a pattern. One that was never asked for matches nothing.
func (b *Bundle) Glob(pattern string) ([]string, error) {
	m := b.Globs[pattern]
	if m.Failure != nil {
		return nil, m.Failure.err()
	}
	return slices.Clone(m.Names), nil
}

// Canonical replays the resolving of a name.
func (b *Bundle) Canonical(name string) (string, error) {
	id, ok := b.Names[name]
	switch {
	case !ok:
		return "", &fs.PathError{Op: "resolve", Path: name, Err: fs.ErrNotExist}
	case id.Failure != nil:
		return "", id.Failure.err()
	}
	return id.Canonical, nil
}

// Digest is a SHA-256 in hexadecimal of everything that a load could see: names, contents, matches, failures, and
// which names are one file. Where the files really lie does not count, so that a swapped symlink to equal files
// changes nothing.
func (b *Bundle) Digest() string { return b.digest(nil) }

// digest is Digest, where the sums of some files are known already.
func (b *Bundle) digest(sums map[string]func() [sha256.Size]byte) string {
	d := digest{sha256.New()}
	d.count(len(b.Files))
	for _, name := range slices.Sorted(maps.Keys(b.Files)) {
		c := b.Files[name]
		d.text(name)
		sum := c.sum(sums[name])
		d.Write(sum[:])
		d.failure(c.Failure)
	}
	d.count(len(b.Globs))
	for _, pattern := range slices.Sorted(maps.Keys(b.Globs)) {
		m := b.Globs[pattern]
		d.text(pattern)
		d.count(len(m.Names))
		for _, name := range m.Names {
			d.text(name)
		}
		d.failure(m.Failure)
	}
	d.count(len(b.Names))
	first := map[string]int{} // by canonical name, the first name that has it
	for i, name := range slices.Sorted(maps.Keys(b.Names)) {
		id := b.Names[name]
		if _, ok := first[id.Canonical]; !ok {
			first[id.Canonical] = i
		}
		d.text(name)
		d.count(first[id.Canonical])
		d.failure(id.Failure)
	}
	return hex.EncodeToString(d.Sum(nil))
}

// digest feeds a hash with parts that can't run into each other.
type digest struct{ hash.Hash }

func (d digest) count(n int) { d.Write(append(strconv.AppendInt(nil, int64(n), 10), ' ')) }

func (d digest) text(s string) {
	d.count(len(s))
	d.Write([]byte(s))
}

func (d digest) failure(f *Failure) {
	if f == nil {
		d.count(0)
		return
	}
	d.count(1)
	d.text(string(f.Kind))
	d.text(f.Text)
}

// WriteJSON writes what json.Marshal makes of the bundle, and does not hold the contents of files in memory once more.
func (b *Bundle) WriteJSON(w io.Writer) error {
	rest := *b
	rest.Files = nil
	about, err := json.Marshal(rest)
	if err != nil || len(b.Files) == 0 {
		_, e := w.Write(about)
		return errors.Join(err, e)
	}
	out := textWriter{w: w}
	out.text(`{"files":{`)
	for i, name := range slices.Sorted(maps.Keys(b.Files)) {
		c := b.Files[name]
		if i > 0 {
			out.text(",")
		}
		out.json(name)
		out.text(":{")
		if len(c.Data) > 0 {
			out.text(`"data":"`)
			out.base64(c.Data)
			out.text(`"`)
		}
		if c.Failure != nil {
			if len(c.Data) > 0 {
				out.text(",")
			}
			out.text(`"failure":`)
			out.json(c.Failure)
		}
		out.text("}")
	}
	out.text("}")
	if len(about) > len("{}") {
		out.text(",")
	}
	out.text(string(about[1:]))
	return out.err
}

// textWriter writes until something fails.
type textWriter struct {
	w   io.Writer
	err error
}

func (t *textWriter) text(s string) {
	if t.err == nil {
		_, t.err = io.WriteString(t.w, s)
	}
}

func (t *textWriter) json(v any) {
	data, err := json.Marshal(v)
	if t.err == nil {
		t.err = err
	}
	t.text(string(data))
}

func (t *textWriter) base64(data []byte) {
	if t.err != nil {
		return
	}
	enc := base64.NewEncoder(base64.StdEncoding, t.w)
	if _, t.err = enc.Write(data); t.err == nil {
		t.err = enc.Close()
	}
}

// Watched is what to watch for a change of what was read.
type Watched struct {
	Files []string // names as they were asked for, those that do not exist too, and where symlinks led; sorted
	Globs []string // patterns; sorted
}

// Watched is the paths whose change could change what was read. Symlinks on the way to a name, and the directories in
// which a pattern searches, follow from these.
func (b *Bundle) Watched() Watched {
	files := slices.Collect(maps.Keys(b.Files))
	for name, id := range b.Names {
		files = append(files, name)
		if id.Failure == nil {
			files = append(files, id.Canonical)
		}
	}
	slices.Sort(files)
	return Watched{Files: slices.Compact(files), Globs: slices.Sorted(maps.Keys(b.Globs))}
}

// Text returns the text of a file that was read, false where it was not: what prints diagnostics takes it from here.
func (b *Bundle) Text(name string) ([]byte, bool) {
	c, ok := b.Files[name]
	return c.Data, ok && c.Failure == nil
}
