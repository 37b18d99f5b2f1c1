package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// JSON reads a packet from one JSON object with the same keys, and appends what Words would return; values are strings, numbers or
// booleans. The packets may share the line's memory.
func (q *Query) JSON(dst []Packet, line string) ([]Packet, error) {
	var a asked
	plain, err := a.plain(line)
	if !plain {
		a = asked{}
		err = a.json(line)
	}
	if err != nil {
		return dst, err
	}
	return q.packets(dst, &a)
}

// json takes all keys of a JSON object up.
func (a *asked) json(line string) error {
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	token, err := d.Token()
	if err != nil {
		return jsonError(err)
	}
	if token != json.Delim('{') {
		return errors.New("expected a JSON object")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return jsonError(err)
		}
		value, err := d.Token()
		if err != nil {
			return jsonError(err)
		}
		text, name := "", key.(string) // the decoder takes nothing else for a key
		switch v := value.(type) {
		case string:
			text = v
		case json.Number:
			text = v.String()
		case bool:
			text = strconv.FormatBool(v)
		default:
			return fmt.Errorf("%s: expected a string or a number", printable(name))
		}
		if err := a.set(name, text); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return jsonError(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// jsonError is what the decoder complains of. An end too early is named as such.
func jsonError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the JSON object is cut short")
	}
	return fmt.Errorf("not JSON: %w", err)
}

// plain takes the keys of a JSON object up where it is written as programs write it: one blank at most between two tokens, no
// escapes, strings and whole numbers. Where it is not, plain tells so, and another must read the line from its beginning. The error is set's.
func (a *asked) plain(line string) (plain bool, err error) {
	if len(line) < 2 || line[0] != '{' || line[len(line)-1] != '}' {
		return false, nil
	}
	for rest := line[1 : len(line)-1]; ; rest = rest[1:] {
		key, after, ok := plainString(strings.TrimPrefix(rest, " "))
		if !ok || after == "" || after[0] != ':' {
			return false, nil
		}
		text, after, ok := plainValue(strings.TrimPrefix(after[1:], " "))
		switch {
		case !ok:
			return false, nil
		case after == "":
			return true, a.set(key, text)
		case after[0] != ',':
			return false, nil
		}
		if err := a.set(key, text); err != nil {
			return true, err
		}
		rest = after
	}
}

// plainString cuts a string of plain characters off.
func plainString(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", s, false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[1:i], s[i+1:], true
		case c < ' ' || c > '~' || c == '\\':
			return "", s, false
		}
	}
	return "", s, false
}

// plainValue cuts a plain string, or a number of a few digits, off.
func plainValue(s string) (text, rest string, ok bool) {
	if s != "" && s[0] == '"' {
		return plainString(s)
	}
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return s[:n], s[n:], n == 1 || n > 1 && s[0] != '0'
}
