package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	screen, terminal := io.Pipe()
	go func() {
		end := progress(terminal, time.Millisecond)
		time.Sleep(20 * time.Millisecond) // what takes its time
		end()
		terminal.Close()
	}()
	shown, err := io.ReadAll(screen)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(shown); !strings.HasPrefix(s, "\r\x1b[Kworking: ") || !strings.HasSuffix(s, "ms\r\x1b[K") {
		t.Errorf("%q", s)
	}

	var quick strings.Builder
	progress(&quick, time.Hour)()
	if quick.Len() > 0 {
		t.Errorf("of what takes no time: %q", quick.String())
	}
}
