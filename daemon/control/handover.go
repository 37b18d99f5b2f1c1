package control

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"ringwall/rules/source"
)

// handover is a request that contents of files follow, as they are: in JSON, a list of a million addresses would take several times its length in
// memory.
type handover interface {
	// take reads the contents, which end the request.
	take(r io.Reader) error
}

// detached is a bundle without the contents of its files, how long these are, and they themselves in the order of the files' names.
func detached(b *source.Bundle) (rest *source.Bundle, sizes map[string]int64, contents [][]byte) {
	if b == nil {
		return nil, nil, nil
	}
	rest, sizes = &source.Bundle{Files: maps.Clone(b.Files), Globs: b.Globs, Names: b.Names}, make(map[string]int64)
	for _, name := range slices.Sorted(maps.Keys(b.Files)) {
		if c := b.Files[name]; len(c.Data) > 0 {
			rest.Files[name] = source.Content{Failure: c.Failure}
			sizes[name] = int64(len(c.Data))
			contents = append(contents, c.Data)
		}
	}
	return rest, sizes, contents
}

// take puts the contents into the bundle. What is read, and the memory for it, is bounded before.
func (p *PolicyRequest) take(r io.Reader) error {
	if len(p.Sizes) == 0 {
		return nil
	}
	if p.Bundle == nil {
		return errors.New("contents without files")
	}
	if err := skip(r, "\n"); err != nil {
		return err
	}
	room := int64(maxRequest)
	for _, name := range slices.Sorted(maps.Keys(p.Sizes)) {
		c, ok := p.Bundle.Files[name]
		switch size := p.Sizes[name]; {
		case !ok || len(c.Data) > 0:
			return fmt.Errorf("contents of %q, which has others or none", name)
		case size < 0:
			return fmt.Errorf("contents of %q, of %d bytes", name, size)
		case size > room:
			return &http.MaxBytesError{Limit: maxRequest}
		default:
			room -= size
			c.Data = make([]byte, size)
		}
		if _, err := io.ReadFull(r, c.Data); err != nil {
			return fmt.Errorf("contents of %q: %w", name, err)
		}
		p.Bundle.Files[name] = c
	}
	p.Sizes = nil
	switch n, err := io.CopyN(io.Discard, r, 1); {
	case n > 0:
		return errors.New("more contents than files")
	case err != io.EOF:
		return err
	}
	return nil
}

// skip reads a text that must come.
func skip(r io.Reader, text string) error {
	got := make([]byte, len(text))
	if _, err := io.ReadFull(r, got); err != nil {
		return err
	}
	if string(got) != text {
		return fmt.Errorf("%q in the place of %q", got, text)
	}
	return nil
}

// setBody gives a request its JSON, and the contents that follow it.
func setBody(r *http.Request, about []byte, contents [][]byte) {
	parts := [][]byte{about}
	if len(contents) > 0 {
		parts = slices.Concat(parts, [][]byte{{'\n'}}, contents)
	}
	r.GetBody = func() (io.ReadCloser, error) {
		var readers []io.Reader
		for _, p := range parts {
			readers = append(readers, bytes.NewReader(p))
		}
		return io.NopCloser(io.MultiReader(readers...)), nil
	}
	r.Body, _ = r.GetBody()
	for _, p := range parts {
		r.ContentLength += int64(len(p))
	}
	if r.ContentLength == 0 {
		r.Body, r.GetBody = http.NoBody, nil
	}
}
