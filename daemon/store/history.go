package store

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Good is one of the last good policies, in the history.
type Good struct {
	Digest  string    `json:"digest"`
	Entry   string    `json:"entry"`
	Rules   int       `json:"rules"`
	Source  string    `json:"source"` // as with LastGood
	Who     string    `json:"who"`
	Applied time.Time `json:"applied"`
	Commit  string    `json:"commit,omitempty"` // of the git repository that the entry file lies in
	Dirty   bool      `json:"dirty,omitempty"`  // a file says something else than that repository's index
}

// The bounds of the history.
const (
	maxGood  = 10
	packFrom = 64 << 10 // bytes of a policy that is worth compressing
)

// The history is an index, and a directory that holds each policy by its digest, as it stood in last-good: the newest
// as another name of that file, so that it is written once, older ones compressed where they are long.
const policiesDir = "policies"

// AddGood puts the stored last good policy at the beginning of the history, from wherever in it the same policy was. One that
// stands there already stays as it is, since a boot applies it again. Beyond ten the oldest go.
func (d Dir) AddGood(g Good) error {
	if !isDigest(g.Digest) {
		return fmt.Errorf("history: %q is no digest", g.Digest)
	}
	all, err := d.History()
	if corrupt := (*CorruptError)(nil); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.As(err, &corrupt) {
		return err
	}
	if len(all) > 0 && all[0].Digest == g.Digest {
		g = all[0]
	}
	all = slices.DeleteFunc(all, func(o Good) bool { return o.Digest == g.Digest })
	all = append([]Good{g}, all...)
	all = all[:min(len(all), maxGood)]
	if err := d.linkLastGood(g.Digest); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	if err := d.sealJSON(historyFile, all); err != nil {
		return err
	}
	if err := d.tidyPolicies(all); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// History returns the last good policies, the newest first, with LastGood's errors.
func (d Dir) History() ([]Good, error) {
	all, err := unsealJSON[[]Good](d, historyFile)
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		if !isDigest(g.Digest) {
			return nil, d.corrupt(historyFile, "it has a policy without a digest", nil)
		}
	}
	return all, nil
}

// GoodPolicy returns the policy of the history that has a digest, with LastGood's errors.
func (d Dir) GoodPolicy(digest string) (LastGood, error) {
	if !isDigest(digest) {
		return LastGood{}, fmt.Errorf("history: %q is no digest", digest)
	}
	name := filepath.Join(policiesDir, digest)
	data, err := d.read(name)
	if err != nil {
		return LastGood{}, err
	}
	if bytes.HasPrefix(data, []byte("\x1f\x8b")) {
		if data, err = unpack(data); err != nil {
			return LastGood{}, d.corrupt(name, "it can't be unpacked", err)
		}
	}
	return d.parsePolicy(name, lastGoodFile, data)
}

// isDigest tells whether a text is a digest, and so fit for a file's name.
func isDigest(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && s != ""
}

// policies is the directory of the policies.
func (d Dir) policies() Dir { return Dir{filepath.Join(d.path, policiesDir), d.lost} }

// linkLastGood makes the stored last good policy a file of the history too.
func (d Dir) linkLastGood(digest string) error {
	p := d.policies()
	if err := os.Mkdir(p.path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	fresh := filepath.Join(p.path, ".link")
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	from := filepath.Join(d.path, lastGoodFile)
	if err := os.Link(from, fresh); err != nil {
		return p.pack(from, digest) // a file system without links
	}
	if err := os.Rename(fresh, filepath.Join(p.path, digest)); err != nil {
		return err
	}
	os.Remove(fresh) // it stays where both are one file already
	return p.sync()
}

// tidyPolicies removes the policies that the history does not name, and packs those that are long and not the newest.
func (d Dir) tidyPolicies(all []Good) error {
	p := d.policies()
	entries, err := os.ReadDir(p.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(p.path, e.Name())
		switch i := slices.IndexFunc(all, func(g Good) bool { return g.Digest == e.Name() }); {
		case i < 0:
			err = os.Remove(path)
		case i > 0:
			err = p.packLong(path, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// packLong packs a policy, where it is long and not packed.
func (d Dir) packLong(path string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil || info.Size() < packFrom {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 2)
	if _, err := io.ReadFull(f, head); err != nil || string(head) == "\x1f\x8b" {
		return err
	}
	return d.pack(path, e.Name())
}

// pack writes a compressed copy of a file, which may be the one it replaces.
func (d Dir) pack(from, name string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.write(name, func(w io.Writer) error {
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return err
		}
		if _, err := io.Copy(z, f); err != nil {
			return err
		}
		return z.Close()
	})
}

// unpack undoes pack.
func unpack(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}
