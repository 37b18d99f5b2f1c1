package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// meter tells on a terminal what a verb is doing, and for how long, once that is longer than it takes to wonder. A nil meter tells
// nothing.
type meter struct {
	terminal      io.Writer
	stop, stopped chan struct{}

	mu    sync.Mutex
	phase string
}

// newMeter begins to tell, as often as every; end ends it.
func newMeter(terminal io.Writer, every time.Duration) *meter {
	m := &meter{terminal: terminal, stop: make(chan struct{}), stopped: make(chan struct{}), phase: "working"}
	go m.run(every)
	return m
}

// run draws the line, and wipes it at the end.
func (m *meter) run(every time.Duration) {
	defer close(m.stopped)
	tick := time.NewTicker(every)
	defer tick.Stop()
	began, told := time.Now(), false
	for {
		select {
		case <-tick.C:
			told = true
			m.mu.Lock()
			fmt.Fprintf(m.terminal, "\r\x1b[K%s: %s", m.phase, time.Since(began).Round(every))
			m.mu.Unlock()
		case <-m.stop:
			if told {
				fmt.Fprint(m.terminal, "\r\x1b[K")
			}
			return
		}
	}
}

// tell says what is being done from now on.
func (m *meter) tell(phase string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.phase = phase
}

// end ends the telling and wipes the line.
func (m *meter) end() {
	if m == nil {
		return
	}
	close(m.stop)
	<-m.stopped
}
