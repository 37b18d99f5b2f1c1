package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// CorruptError tells that a file of the state directory is not what was written. Nothing of it was used.
type CorruptError struct {
	Path   string
	Reason string
	Err    error // may be nil
}

func (e *CorruptError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s is corrupt: %s: %v", e.Path, e.Reason, e.Err)
	}
	return fmt.Sprintf("%s is corrupt: %s", e.Path, e.Reason)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// A sealed file is a line that names its kind, its format and the SHA-256 of what follows, then what follows. To see
// whether one is whole without Ringwall: tail -n +2 FILE | sha256sum.
const sealFormat = "ringwall %s 1 sha256:%s\n"

// seal writes a sealed file. The body is written twice, the same both times: to find its digest, and to the file.
func (d Dir) seal(name string, body func(io.Writer) error) error {
	h := sha256.New()
	if err := body(h); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(d.path, name), err)
	}
	return d.write(name, func(w io.Writer) error {
		if _, err := fmt.Fprintf(w, sealFormat, name, hex.EncodeToString(h.Sum(nil))); err != nil {
			return err
		}
		return body(w)
	})
}

// just writes a body that is in memory.
func just(body []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(body)
		return err
	}
}

// sealJSON seals a value as JSON.
func (d Dir) sealJSON(name string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(d.path, name), err)
	}
	return d.seal(name, just(body))
}

// unsealJSON reads what sealJSON wrote, with unseal's errors.
func unsealJSON[T any](d Dir, name string) (T, error) {
	var v, none T
	body, err := d.unseal(name)
	if err != nil {
		return none, err
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return none, d.corrupt(name, "it does not parse", err)
	}
	return v, nil
}

// unseal reads a sealed file. The error is a *CorruptError where its digest or its form is wrong.
func (d Dir) unseal(name string) ([]byte, error) {
	data, err := d.read(name)
	if err != nil {
		return nil, err
	}
	return d.open(name, name, data)
}

// open returns the body of a sealed file's contents, of a kind.
func (d Dir) open(name, kind string, data []byte) ([]byte, error) {
	head, body, found := bytes.Cut(data, []byte("\n"))
	f := strings.Fields(string(head))
	switch {
	case !found || len(f) != 4 || f[0] != "ringwall" || f[1] != kind:
		return nil, d.corrupt(name, "its first line is not that of a stored "+kind, nil)
	case f[2] != "1":
		return nil, d.corrupt(name, "format "+f[2]+" is not known to this version", nil)
	case f[3] != "sha256:"+digest(body):
		return nil, d.corrupt(name, "its digest is wrong", nil)
	}
	return body, nil
}

func (d Dir) corrupt(name, reason string, err error) error {
	return &CorruptError{Path: filepath.Join(d.path, name), Reason: reason, Err: err}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
