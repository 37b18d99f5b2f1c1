package syntax

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"ringwall/rules/diag"
)

// maxFindings is how many findings about one file are reported.
const maxFindings = 200

// bom is the byte order mark, which some editors put before UTF-8 too. It means nothing there, and is taken off.
const bom = "\ufeff"

// checkCharacters reports characters that no policy has: those that make the text look other than it is, those that
// some programs take for line breaks and others don't, and bytes that are no text at all.
func checkCharacters(t *text, diags *diag.List) {
	if foreignEncoding(t.src) {
		diags.Errorf(t.span(0, 0), "bad-encoding", "the file is not UTF-8 but UTF-16 or UTF-32").WithHint("save it as UTF-8")
		return
	}
	for i := 0; i < len(t.src); {
		if b := t.src[i]; b >= ' ' && b < 0x7f || b == '\n' || b == '\t' {
			i++
			continue
		}
		r, size := utf8.DecodeRune(t.src[i:])
		at := i
		i += size
		switch {
		case r == utf8.RuneError && size == 1:
			diags.Errorf(t.span(at, i), "bad-encoding", "the file is not UTF-8: here stands the byte %#02x", t.src[at]).
				WithHint("save it as UTF-8")
			return
		case r == 0:
			diags.Errorf(t.span(at, i), "control-character", "the file has NUL characters: it is no text")
			return
		case r == '\r' && i < len(t.src) && t.src[i] == '\n':
		case r == '\r':
			diags.Errorf(t.span(at, i), "control-character", "a carriage return without a line feed").
				WithHint("end lines with a line feed, or with both")
		case r == '\u0085' || r == '\u2028' || r == '\u2029':
			diags.Errorf(t.span(at, i), "control-character", "the character %U: some programs end a line here, and others don't", r).
				WithHint("take it out")
		case at == 0 && r == '\ufeff':
			diags.Errorf(t.span(at, i), "control-character", "a second byte order mark").WithHint("take both out")
		case unicode.IsControl(r):
			diags.Errorf(t.span(at, i), "control-character", "the control character %U", r).WithHint("take it out")
		case unicode.Is(unicode.Bidi_Control, r) && r != '\u200e' && r != '\u200f' && r != '\u061c':
			diags.Errorf(t.span(at, i), "control-character", "the character %U, which makes text show in another order than it stands", r).
				WithHint("take it out")
		}
		if len(*diags) >= maxFindings {
			return
		}
	}
}

// foreignEncoding tells whether a text looks like UTF-16 or UTF-32: by its byte order mark, or by a NUL beside the
// first character.
func foreignEncoding(src []byte) bool {
	return bytes.HasPrefix(src, []byte{0xff, 0xfe}) || bytes.HasPrefix(src, []byte{0xfe, 0xff}) ||
		len(src) >= 2 && (src[0] == 0) != (src[1] == 0)
}
