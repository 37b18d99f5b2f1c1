package control

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringwall/daemon/enforce"
)

// patience is how long a test waits for what must come at once but for a busy machine.
const patience = 20 * time.Second

// TestBoundsAreSet holds that every phase of a connection has an end, so that the tests below, which shorten them, say something.
func TestBoundsAreSet(t *testing.T) {
	s, err := Listen(filepath.Join(t.TempDir(), "s"), noGroup, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.socket.close()
	for name, d := range map[string]time.Duration{
		"headers": s.http.ReadHeaderTimeout, "request": s.http.ReadTimeout, "answer": s.http.WriteTimeout, "idle": s.http.IdleTimeout,
	} {
		if d <= 0 || d > 5*time.Minute {
			t.Errorf("%s: %v", name, d)
		}
	}
	if s.http.MaxHeaderBytes <= 0 || s.http.MaxHeaderBytes > 64<<10 {
		t.Errorf("headers: %d bytes", s.http.MaxHeaderBytes)
	}
}

// closes tells how a connection ended: by the server, in time, whatever it said before.
func closes(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("still open after %v; it said %q", patience, said)
	}
	return string(said)
}

// dialed connects to a server.
func dialed(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// trickle sends a byte now and then for as long as somebody takes them.
func trickle(c net.Conn, text string) {
	for i := 0; ; i++ {
		if _, err := io.WriteString(c, text[i%len(text):][:1]); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestSlowClients has clients take their time in every phase of a request: each is cut off, and others are served meanwhile.
func TestSlowClients(t *testing.T) {
	const short = 200 * time.Millisecond
	path := serveWith(t, here(t), noGroup, func(s *http.Server) {
		s.ReadHeaderTimeout, s.ReadTimeout, s.IdleTimeout = short, 2*short, short
	})
	for name, start := range map[string]func(net.Conn){
		"silent":  func(net.Conn) {},
		"headers": func(c net.Conn) { io.WriteString(c, "GET /status HTTP/1.1\r\n"); go trickle(c, "X-Slow: a\r\n") },
		"line":    func(c net.Conn) { go trickle(c, "a") },
		"body": func(c net.Conn) {
			io.WriteString(c, "POST /apply HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
			go trickle(c, " ")
		},
		"chunks": func(c net.Conn) {
			io.WriteString(c, "POST /apply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
			go trickle(c, "1\r\n \r\n")
		},
		"afterwards": func(c net.Conn) { io.WriteString(c, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			c := dialed(t, path)
			start(c)
			if code, _ := answerTo(t, path, uint32(os.Getuid()), uint32(os.Getgid()), nil, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n"); code != http.StatusOK {
				t.Errorf("another client is told %d", code)
			}
			said := closes(t, c)
			if ok := strings.HasPrefix(said, "HTTP/1.1 200 "); ok != (name == "afterwards") {
				t.Errorf("it said %q", said)
			}
		})
	}
}

// endless is a Service whose metrics never end, and which tells when somebody has given up writing them.
type endless struct {
	*fake
	ended chan error
}

func (e *endless) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for line := bytes.Repeat([]byte("x"), 64<<10); ; {
			if _, err := w.Write(line); err != nil {
				e.ended <- err
				return
			}
		}
	})
}

// TestDeafClient has a client ask and never read the answer.
func TestDeafClient(t *testing.T) {
	svc := &endless{here(t), make(chan error, 1)}
	path := serveWith(t, svc, noGroup, func(s *http.Server) { s.WriteTimeout = 200 * time.Millisecond })
	io.WriteString(dialed(t, path), "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case <-svc.ended:
	case <-time.After(patience):
		t.Error("the daemon writes for ever")
	}
}

// waiting is a Service whose answer waits for the end of the request's time.
type waiting struct{ *fake }

func (w waiting) Status(ctx context.Context) (*Status, error) {
	if _, ok := ctx.Deadline(); !ok {
		return nil, errors.New("a question without an end")
	}
	return w.fake.Status(ctx)
}

func (w waiting) Reload(ctx context.Context) (*enforce.Report, error) {
	if _, ok := ctx.Deadline(); !ok {
		return nil, errors.New("a request without an end")
	}
	return w.fake.Reload(ctx)
}

// TestRequestsEnd holds that what is asked of the daemon has a deadline.
func TestRequestsEnd(t *testing.T) {
	c, err := Dial(t.Context(), serve(t, waiting{here(t)}, noGroup))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.Reload(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestSizes sends more than is taken, in headers and bodies, announced or not.
func TestSizes(t *testing.T) {
	path := serve(t, here(t), noGroup)
	for _, c := range []struct {
		name, head, piece string
		status            int
	}{
		{"headers", "GET /status HTTP/1.1\r\nHost: x\r\n", "X-Long: " + strings.Repeat("a", 1000) + "\r\n", http.StatusRequestHeaderFieldsTooLarge},
		{"a header", "GET /status HTTP/1.1\r\nHost: x\r\nX-Long: ", strings.Repeat("a", 1000), http.StatusRequestHeaderFieldsTooLarge},
		{"the path", "GET /", strings.Repeat("a", 1000), http.StatusRequestHeaderFieldsTooLarge},
		{"a body", "POST /apply HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n{\"entry\": \"", strings.Repeat("a", 1<<20), http.StatusRequestEntityTooLarge},
		{"chunks", "POST /apply HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[\"a\r\n", "100000\r\n" + strings.Repeat("a", 1<<20) + "\r\n", http.StatusRequestEntityTooLarge},
		{"a question", "POST /bans HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"set\":\"\r\n", "400\r\n" + strings.Repeat("a", 1<<10) + "\r\n", http.StatusRequestEntityTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dialed(t, path)
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			go func() {
				_, err := io.WriteString(conn, c.head)
				for err == nil { // until nobody takes it any more
					_, err = io.WriteString(conn, c.piece)
				}
			}()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status {
				t.Errorf("%d, want %d", resp.StatusCode, c.status)
			}
		})
	}
}

// TestStrangersAreToldOneThing sends whatever HTTP gives occasion for, as somebody who may not even read: the answer has always the
// same bytes, and what is no request gets no other.
func TestStrangersAreToldOneThing(t *testing.T) {
	const stranger = 65534
	svc := here(t)
	path := serve(t, svc, func(string) (uint32, bool) { return 4242, true })
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, request := range []string{
		"GET /status HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET //status HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /../status HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /status HTTP/1.1\r\n\r\n",
		"GET /status HTTP/1.0\r\n\r\n",
		"GET /status HTTP/1.1\r\nHost: x\r\nRingwall-Control: 99\r\n\r\n",
		"GET /status HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
		"GET /status HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: -2\r\n\r\n{}",
		"GET /status HTTP/9.9\r\n\r\n", "hello", "\x16\x03\x01\x00\x00", "\r\n", "\x00", strings.Repeat("A", 100_000),
	} {
		conn := dialAs(t, path, stranger, stranger, nil)
		go io.WriteString(conn, request) // in part, where it is long
		if said := closes(t, conn); said != refusal {
			t.Errorf("%.20q: %q", request, said)
		}
	}
	if len(svc.asked) > 0 {
		t.Errorf("carried out: %q", svc.asked)
	}
	// The answer is one that a client understands.
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(refusal)), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusForbidden || string(body) != `{"error":"not allowed"}`+"\n" || resp.Header.Get(versionHeader) != Version {
		t.Errorf("%v: %q, %v", resp, body, err)
	}
}
