package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ringwall/netfilter/nstest"
)

// stream is a connection on which only the peer sends, all the while.
type stream struct {
	name     string
	received atomic.Int64
}

// newStream connects the namespaces of a pair; inbound means that the peer connects, and orphaned that the host does not
// listen any more.
func newStream(t *testing.T, p nstest.Pair, host, peer string, inbound, orphaned bool) *stream {
	t.Helper()
	from, to, at := p.Host, p.Peer, peer
	if inbound {
		from, to, at = p.Peer, p.Host, host
	}
	var l net.Listener
	var dialed net.Conn
	var err error
	to.Do(t, func() { l, err = net.Listen("tcp", net.JoinHostPort(at, "0")) })
	if err != nil {
		t.Fatal(err)
	}
	from.Do(t, func() { dialed, err = net.DialTimeout("tcp", l.Addr().String(), 5*time.Second) })
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); dialed.Close(); accepted.Close() })
	if orphaned {
		l.Close()
	}
	sender, receiver := accepted, dialed
	if inbound {
		sender, receiver = dialed, accepted
	}
	s := &stream{name: fmt.Sprintf("%s, inbound %t, orphaned %t", at, inbound, orphaned)}
	go func() {
		for piece := make([]byte, 1000); ; time.Sleep(time.Millisecond) {
			if _, err := sender.Write(piece); err != nil {
				return
			}
		}
	}()
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := receiver.Read(buf)
			s.received.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	return s
}

// TestFirstApply puts the first rules up on a host that tracked nothing, while its peers send and it only receives: by
// apply, and by the daemon's start.
func TestFirstApply(t *testing.T) {
	dir := t.TempDir()
	policy := filepath.Join(dir, "p.yaml")
	text := "version: 1\ndefaults: {in: deny, out: deny}\nin: [{allow: ssh, from: 192.0.2.1}]\n"
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	verb := func(ctx context.Context, state, name string) error {
		var out strings.Builder
		f := &front{
			args:  []string{name, "--config", policy, "--state-dir", filepath.Join(dir, state), "--socket", filepath.Join(dir, state+".sock")},
			stdin: strings.NewReader(""), stdout: &out, stderr: &out, getenv: func(string) string { return "" },
		}
		if code := f.serve(ctx); code != 0 {
			return fmt.Errorf("%s: exit code %d: %s", name, code, out.String())
		}
		return nil
	}
	for name, enforce := range map[string]func(*testing.T, *nstest.NS){
		"apply": func(t *testing.T, ns *nstest.NS) {
			ns.Do(t, func() {
				if err := verb(t.Context(), "a", "apply"); err != nil {
					t.Fatal(err)
				}
			})
		},
		"run": func(t *testing.T, ns *nstest.NS) {
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			if err := ns.Go(func() { ended <- verb(ctx, "r", "run") }); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
			ns.Do(t, func() {
				for deadline := time.Now().Add(10 * time.Second); verb(t.Context(), "r", "status") != nil; time.Sleep(10 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatal("not enforced in ten seconds")
					}
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := nstest.NewPair(t)
			var streams []*stream
			for _, f := range [][2]string{{nstest.Host4, nstest.Peer4}, {nstest.Host6, nstest.Peer6}} {
				streams = append(streams,
					newStream(t, p, f[0], f[1], false, false),
					newStream(t, p, f[0], f[1], true, false),
					newStream(t, p, f[0], f[1], true, true))
			}
			enforce(t, p.Host)

			// The wall stands: what is not admitted does not get in.
			p.Peer.Do(t, func() {
				if c, err := net.DialTimeout("tcp", net.JoinHostPort(nstest.Host4, "22"), 300*time.Millisecond); err == nil {
					c.Close()
					t.Error("connected")
				} else if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() {
					t.Errorf("not dropped: %v", err)
				}
			})
			for _, s := range streams {
				more := s.received.Load() + 200_000
				for deadline := time.Now().Add(10 * time.Second); s.received.Load() < more; time.Sleep(5 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Errorf("%s: cut: %d bytes of 200,000", s.name, 200_000-(more-s.received.Load()))
						break
					}
				}
			}
		})
	}
}
