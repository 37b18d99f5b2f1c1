package policy

import (
	"math/rand/v2"
	"testing"
)

// plainLines are lines around what plain reads.
var plainLines = []string{
	`{"in":"tcp/22","from":"203.0.113.9","to":"198.51.100.1","sport":40000,"iface":"eth0","mark":16}`,
	`{"in": "tcp/22", "from": "203.0.113.9", "spoofed": true}`,
	`{"out":"tcp/25","to":"2001:db8::9","user":"postfix","mark":0}`,
	`{"in":"tcp/22","in":"tcp/23"}`,
	`{"in":"tcp/22","nosuch":1}`,
	`{"in":"tcp/22","from":""}`,
	`{"in":"tcp\u002f22","mark":1.5,"sport":-1,"hops":01}`,
	`{}`,
	`{"in":"tcp/22",}`,
}

// hold compares what the quick reader makes of a line with what the decoder does.
func hold(t *testing.T, line string) (plain bool) {
	t.Helper()
	var quick, slow asked
	plain, err := quick.plain(line)
	if !plain {
		return false
	}
	want := slow.json(line)
	if (err == nil) != (want == nil) || err != nil && err.Error() != want.Error() {
		t.Fatalf("%s: %v, want %v", line, err, want)
	}
	if err == nil && quick != slow {
		t.Fatalf("%s: read as %q, want %q", line, quick, slow)
	}
	return true
}

func TestPlainLinesAreReadAlike(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const letters = `{}[]":,\ 019.-etrufalsin/` + "\t\x00\xffé"
	plain := 0
	for _, line := range plainLines {
		if hold(t, line) {
			plain++
		}
		for range 5000 {
			b := []byte(line)
			for range 1 + rng.IntN(3) {
				switch at := rng.IntN(len(b)); rng.IntN(3) {
				case 0:
					b[at] = letters[rng.IntN(len(letters))]
				case 1:
					b = append(b[:at], b[min(len(b), at+1+rng.IntN(4)):]...)
					b = append(b, '}')
				case 2:
					b = []byte(string(b[:at]) + string(letters[rng.IntN(len(letters))]) + string(b[at:]))
				}
			}
			if hold(t, string(b)) {
				plain++
			}
		}
	}
	if plain < 1000 {
		t.Errorf("only %d lines were plain", plain)
	}
	if !hold(t, plainLines[0]) || !hold(t, plainLines[2]) {
		t.Error("a line as programs write it is not read the quick way")
	}
}

func FuzzPlainLine(f *testing.F) {
	for _, line := range plainLines {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) { hold(t, line) })
}
