package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"ringwall/rules/decide"
	"ringwall/rules/policy"
)

// batch is some lines of --stdin, and their answers. Batches go from the reader through one of the answerers to the writer, in the
// order that they were read in, and back.
type batch struct {
	first   int    // number of the first line
	text    []byte // the lines, one after the other
	ends    []int  // where they end in text
	answers []byte // a line each
	bad     int    // how many are errors
	done    chan struct{}
}

// The bounds of a batch, and of a line.
const (
	batchLines = 512
	batchBytes = 64 << 10
	maxLine    = 1 << 20
)

// explainLines answers line by line. A line that can't be answered gets an error in its place, and the verb fails.
func (f *front) explainLines(p *policy.Policy, asked policy.Options) error {
	workers := runtime.GOMAXPROCS(0)
	batches := 4 * workers
	free, todo, order := make(chan *batch, batches), make(chan *batch, batches), make(chan *batch, batches)
	for range batches {
		free <- &batch{done: make(chan struct{}, 1)}
	}
	var all sync.WaitGroup
	index := decide.New(p)
	for range workers {
		a := newAnswerer(p, asked, index)
		all.Go(func() {
			for b := range todo {
				a.answer(b)
				b.done <- struct{}{}
			}
		})
	}
	bad := 0
	failed := make(chan error, 1)
	all.Go(func() {
		defer close(free)
		for b := range order {
			<-b.done
			if _, err := f.stdout.Write(b.answers); err != nil {
				failed <- fmt.Errorf("write the answers: %w", err)
				return
			}
			bad += b.bad
			free <- b
		}
	})
	in := bufio.NewScanner(f.stdin)
	in.Buffer(make([]byte, 0, 64<<10), maxLine)
	for n, more := 1, true; more; {
		b, ok := <-free
		if !ok {
			break // nobody takes more answers
		}
		more = b.read(in, n)
		n += len(b.ends)
		order <- b
		todo <- b
	}
	close(order)
	close(todo)
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("read the packets: %w", err)
	}
	if bad > 0 {
		return fmt.Errorf("%s could not be answered", count(bad, "line"))
	}
	return nil
}

// read fills a batch with lines, the first of which has a number. False where there are no more: the scanner must not be asked again.
func (b *batch) read(in *bufio.Scanner, first int) (more bool) {
	b.first, b.text, b.ends = first, b.text[:0], b.ends[:0]
	for len(b.ends) < batchLines && len(b.text) < batchBytes {
		if !in.Scan() {
			return false
		}
		b.text = append(b.text, in.Bytes()...)
		b.ends = append(b.ends, len(b.text))
	}
	return true
}

// answerer answers lines. It belongs to one goroutine.
type answerer struct {
	query   *policy.Query
	asker   *decide.Asker
	packets []policy.Packet
	known   map[policy.Decision]string // the answers that there were, as lines
}

func newAnswerer(p *policy.Policy, asked policy.Options, index *decide.Index) *answerer {
	return &answerer{query: policy.NewQuery(p, asked), asker: index.Asker(), known: make(map[policy.Decision]string)}
}

// answer answers the lines of a batch.
func (a *answerer) answer(b *batch) {
	b.answers, b.bad = b.answers[:0], 0
	text, from := string(b.text), 0
	for i, end := range b.ends {
		d, err := a.decide(text[from:end])
		from = end
		if err != nil {
			b.bad++
			b.answers = append(b.answers, inJSON(failure{fmt.Sprintf("line %d: %v", b.first+i, err)})...)
			continue
		}
		line, ok := a.known[d]
		if !ok {
			line = inJSON(brief{d.Verdict.String(), ruleName(d), place(d)})
			a.known[d] = line
		}
		b.answers = append(b.answers, line...)
	}
}

// decide is what is decided about a line. What stands for several packets is answered where all are decided alike.
func (a *answerer) decide(line string) (first policy.Decision, err error) {
	if a.packets, err = a.query.JSON(a.packets[:0], line); err != nil {
		return first, err
	}
	first = a.asker.Decide(&a.packets[0])
	for i := range a.packets[1:] {
		if d := a.asker.Decide(&a.packets[1+i]); d.Verdict != first.Verdict || d.By != first.By {
			return first, fmt.Errorf("this is several packets, which are not decided alike: %s, and %s", &a.packets[0], &a.packets[1+i])
		}
	}
	return first, nil
}

// brief is the answer about one line.
type brief struct {
	Verdict string  `json:"verdict"`
	Rule    *string `json:"rule"`
	At      string  `json:"at"`
}

// failure is the answer about a line that is no packet.
type failure struct {
	Error string `json:"error"`
}

// inJSON is an answer as a line.
func inJSON[T brief | failure](answer T) string {
	var line strings.Builder
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(answer); err != nil {
		panic(err) // strings always have a JSON form
	}
	return line.String()
}
