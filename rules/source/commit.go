package source

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"path/filepath"
	"regexp"
	"strings"
)

// Commit is where a policy stands in a git repository.
type Commit struct {
	ID    string // in hexadecimal
	Dirty bool   // a file of the policy says something else than the repository's index, or is not in it
}

// The bounds of what is read of a repository.
const (
	maxRef   = 64 << 10 // bytes of a file that names a commit or a directory
	maxIndex = 64 << 20 // of the index, and of the packed references
	maxRefs  = 5        // references that lead to each other
)

// Commit finds the commit that is checked out where the policy's entry file lies: that of HEAD. It starts no program and
// reads a few small files. There is none where the file lies in no repository, where nothing is committed yet, and where
// the repository is of a form that is not known here.
func (b *Bundle) Commit(entry string) (Commit, bool) {
	top, repo, ok := repository(filepath.Dir(b.place(entry)))
	if !ok {
		return Commit{}, false
	}
	id, err := repo.head()
	if err != nil {
		return Commit{}, false
	}
	c := Commit{ID: id}
	if staged, err := repo.index(len(id) / 2); err == nil {
		for name, content := range b.Files {
			path, inside := strings.CutPrefix(b.place(name), top+"/")
			if inside && content.Failure == nil && staged[path] != blobID(content.Data, len(id)/2) {
				c.Dirty = true
			}
		}
	}
	return c, true
}

// place is where a file lies, symlinks resolved.
func (b *Bundle) place(name string) string {
	if id, ok := b.Names[name]; ok && id.Failure == nil {
		return id.Canonical
	}
	return name
}

// gitDirs is a repository's directories: the one of the work tree, and the one that all its work trees share.
type gitDirs struct{ own, common string }

// repository finds the work tree that an absolute directory lies in.
func repository(dir string) (top string, g gitDirs, ok bool) {
	for filepath.IsAbs(dir) {
		own := filepath.Join(dir, ".git")
		if text, err := small(own); err == nil { // a linked work tree, or a submodule
			to, found := strings.CutPrefix(text, "gitdir: ")
			if !found {
				return "", g, false
			}
			own = from(dir, to)
		}
		if _, err := small(filepath.Join(own, "HEAD")); err == nil {
			g = gitDirs{own, own}
			if common, err := small(filepath.Join(own, "commondir")); err == nil {
				g.common = from(own, common)
			}
			return dir, g, true
		}
		if dir == "/" {
			break
		}
		dir = filepath.Dir(dir)
	}
	return "", g, false
}

// from is a path as seen from a directory.
func from(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// small reads a file of one line.
func small(path string) (string, error) {
	data, err := OS{}.ReadFile(path, maxRef)
	return strings.TrimRight(string(data), "\n"), err
}

// objectID is the name of a git object.
var objectID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// head is the commit that HEAD leads to.
func (g gitDirs) head() (string, error) {
	text, err := small(filepath.Join(g.own, "HEAD"))
	for range maxRefs {
		if err != nil || objectID.MatchString(text) {
			return text, err
		}
		ref, ok := strings.CutPrefix(text, "ref: ")
		if !ok || !strings.HasPrefix(ref, "refs/") || strings.Contains(ref, "..") {
			break
		}
		text, err = g.ref(ref)
	}
	return "", errors.New("HEAD leads to no commit")
}

// ref reads a reference from its file, or from that of the packed ones.
func (g gitDirs) ref(name string) (string, error) {
	for _, dir := range []string{g.own, g.common} {
		if text, err := small(filepath.Join(dir, name)); err == nil {
			return text, nil
		}
	}
	packed, err := OS{}.ReadFile(filepath.Join(g.common, "packed-refs"), maxIndex)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(packed)) {
		if id, ref, _ := strings.Cut(strings.TrimRight(line, "\n"), " "); ref == name {
			return id, nil
		}
	}
	return "", fmt.Errorf("no reference %s", name)
}

// index is the files that git would commit next: the blob of each, by path. Versions 2 and 3 are known, with object names
// of so many bytes.
func (g gitDirs) index(idBytes int) (map[string]string, error) {
	data, err := OS{}.ReadFile(filepath.Join(g.own, "index"), maxIndex)
	if err != nil {
		return nil, err
	}
	malformed := errors.New("the index is malformed, or of an unknown version")
	if len(data) < 12 || string(data[:4]) != "DIRC" {
		return nil, malformed
	}
	version, count := binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])
	if version != 2 && version != 3 {
		return nil, malformed
	}
	const stat = 40 // bytes of times, device, inode, mode, owner and size
	staged := map[string]string{}
	rest := data[12:]
	for range count {
		head := stat + idBytes + 2
		if len(rest) < head {
			return nil, malformed
		}
		id, flags := rest[stat:stat+idBytes], binary.BigEndian.Uint16(rest[stat+idBytes:])
		if extended := flags&0x4000 != 0; extended {
			head += 2
		}
		end := bytes.IndexByte(rest[min(head, len(rest)):], 0)
		if end < 0 {
			return nil, malformed
		}
		if stage := flags >> 12 & 3; stage == 0 {
			staged[string(rest[head:head+end])] = hex.EncodeToString(id)
		}
		size := (head + end + 8) / 8 * 8 // one to eight bytes of padding
		if len(rest) < size {
			return nil, malformed
		}
		rest = rest[size:]
	}
	return staged, nil
}

// blobID is the name that git gives to a file's contents, of so many bytes.
func blobID(data []byte, idBytes int) string {
	var h hash.Hash = sha1.New()
	if idBytes == sha256.Size {
		h = sha256.New()
	}
	fmt.Fprintf(h, "blob %d\x00", len(data))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}
