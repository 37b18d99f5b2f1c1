package control

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"

	"ringwall/daemon/enforce"
	"ringwall/rules/source"
)

// TestHandover hands files over, one of them larger than JSON may be, and one of them empty: they arrive as they are, and stay with the client.
func TestHandover(t *testing.T) {
	svc := here(t)
	c, err := Dial(t.Context(), serve(t, svc, noGroup))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bundle := func() *source.Bundle {
		return &source.Bundle{
			Files: map[string]source.Content{
				"a.txt": {Data: bytes.Repeat([]byte("192.0.2.1\n"), maxJSON/8)}, "b.txt": {}, "z.yaml": {Data: []byte{0, '\n', 0xff}},
				"none.yaml": {Failure: &source.Failure{Kind: source.Missing}},
			},
			Globs: map[string]source.Matches{"*": {Names: []string{"a.txt"}}},
		}
	}
	cand := &enforce.Candidate{Entry: "p.yaml", Bundle: bundle()}
	if _, err := c.Apply(t.Context(), cand, false); err != nil {
		t.Fatal(err)
	}
	want := &PolicyRequest{Entry: "p.yaml", Bundle: bundle()}
	if !reflect.DeepEqual(svc.apply, want) {
		t.Error("something else arrives")
	}
	if !reflect.DeepEqual(cand.Bundle, want.Bundle) {
		t.Error("the client's own is another")
	}
}

// TestHandoverRefusals sends contents that are not as announced. None of it is taken.
func TestHandoverRefusals(t *testing.T) {
	const files = `{"entry":"p","bundle":{"files":{"a":{},"b":{},"full":{"data":"AA=="}}},"sizes":`
	svc := here(t)
	path := serve(t, svc, noGroup)
	for _, c := range []struct {
		name, body string
		length     int // that is announced, 0 for that of the body
		status     int
		text       string
	}{
		{"as announced", files + `{"b":1,"a":2}}` + "\nAAB", 0, http.StatusOK, "true"},
		{"empty", files + `{"a":0}}` + "\n", 0, http.StatusOK, "true"},
		{"no such file", files + `{"c":1}}` + "\nA", 0, http.StatusBadRequest, `contents of \"c\"`},
		{"twice", files + `{"full":1}}` + "\nA", 0, http.StatusBadRequest, `contents of \"full\"`},
		{"no files", `{"entry":"p","bundle":null,"sizes":{"a":1}}` + "\nA", 0, http.StatusBadRequest, "contents without files"},
		{"negative", files + `{"a":-1}}` + "\n", 0, http.StatusBadRequest, "-1 bytes"},
		{"too large", files + fmt.Sprintf(`{"a":%d}}`, maxRequest+1) + "\n", maxRequest - 1, http.StatusRequestEntityTooLarge, "too large"},
		{"too large together", files + fmt.Sprintf(`{"a":1,"b":%d}}`, maxRequest) + "\nA", maxRequest - 1, http.StatusRequestEntityTooLarge, "too large"},
		{"too much JSON", files + strings.Repeat(" ", maxJSON), 0, http.StatusRequestEntityTooLarge, "too large"},
		{"too little", files + `{"a":9}}` + "\nA", 0, http.StatusBadRequest, "unexpected EOF"},
		{"too much", files + `{"a":1}}` + "\nAB", 0, http.StatusBadRequest, "more contents"},
		{"no newline", files + `{"a":1}}` + "A", 0, http.StatusBadRequest, "in the place of"},
		{"nothing", files + `{"a":1}}`, 0, http.StatusBadRequest, "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			svc.apply = nil
			if c.length == 0 {
				c.length = len(c.body)
			}
			request := fmt.Sprintf("POST /apply HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", c.length, c.body)
			code, body := answerTo(t, path, uint32(os.Getuid()), uint32(os.Getgid()), nil, request)
			if code != c.status || !strings.Contains(body, c.text) {
				t.Errorf("%d %.200s, want %d and %q", code, body, c.status, c.text)
			}
			if taken := svc.apply != nil; taken != (c.status == http.StatusOK) {
				t.Errorf("carried out: %v", taken)
			}
			if c.name == "as announced" && (string(svc.apply.Bundle.Files["a"].Data) != "AA" || string(svc.apply.Bundle.Files["b"].Data) != "B") {
				t.Errorf("got %v", svc.apply.Bundle.Files)
			}
		})
	}
}
