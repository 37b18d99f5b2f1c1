package main

import (
	"fmt"
	"io"
	"time"
)

// progress tells on a terminal that a verb still works, and for how long, once that is longer than it takes to wonder.
// What it returns ends that and wipes the line.
func progress(terminal io.Writer, every time.Duration) (end func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(every)
		defer tick.Stop()
		began, told := time.Now(), false
		for {
			select {
			case <-tick.C:
				told = true
				fmt.Fprintf(terminal, "\r\x1b[Kworking: %s", time.Since(began).Round(every))
			case <-stop:
				if told {
					fmt.Fprint(terminal, "\r\x1b[K")
				}
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}
