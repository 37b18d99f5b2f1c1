package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	screen, terminal := io.Pipe()
	go func() {
		m := newMeter(terminal, time.Millisecond)
		time.Sleep(20 * time.Millisecond) // what takes its time
		m.tell("reading a list")
		time.Sleep(20 * time.Millisecond)
		m.end()
		terminal.Close()
	}()
	shown, err := io.ReadAll(screen)
	if err != nil {
		t.Fatal(err)
	}
	s := string(shown)
	if !strings.HasPrefix(s, "\r\x1b[Kworking: ") || !strings.Contains(s, "\r\x1b[Kreading a list: ") || !strings.HasSuffix(s, "ms\r\x1b[K") {
		t.Errorf("%q", s)
	}

	var quick strings.Builder
	newMeter(&quick, time.Hour).end()
	if quick.Len() > 0 {
		t.Errorf("of what takes no time: %q", quick.String())
	}
	var none *meter // where there is no terminal
	none.tell("anything")
	none.end()
}
