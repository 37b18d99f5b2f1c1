package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/rules/source"
)

// socketPair is both ends of a connection.
func socketPair(t *testing.T) (server, client *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// one is a listener that has one connection, and ends when that is closed.
type one struct {
	conn   net.Conn
	closed chan struct{}
}

func (o *one) Accept() (net.Conn, error) {
	if c := o.conn; c != nil {
		o.conn = nil
		return c, nil
	}
	<-o.closed
	return nil, net.ErrClosed
}

func (o *one) Close() error   { return nil }
func (o *one) Addr() net.Addr { return &net.UnixAddr{Name: "fuzz", Net: "unix"} }

// tell is a connection that tells when it is closed.
type tell struct {
	*net.UnixConn
	closed func()
}

func (t tell) Close() error {
	defer t.closed()
	return t.UnixConn.Close()
}

// converse has a peer send bytes to the daemon, on a connection of its own, and returns what it hears and what the server logs.
func converse(t *testing.T, svc Service, peer Peer, sent []byte) (heard []byte, logged string) {
	t.Helper()
	const group = 4242
	var said strings.Builder
	s := &Server{socket: &socket{group: group, hasGroup: true}, log: slog.New(slog.DiscardHandler)}
	srv := &http.Server{
		Handler: s.routes(svc), MaxHeaderBytes: maxHeader, DisableGeneralOptionsHandler: true, ErrorLog: log.New(&said, "", 0),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context { return context.WithValue(ctx, peerKey{}, peer) },
	}
	server, client := socketPair(t)
	defer client.Close()
	if err := client.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	l := &one{closed: make(chan struct{})}
	l.conn = tell{server, sync.OnceFunc(func() { close(l.closed) })}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	go func() {
		client.Write(sent)
		client.CloseWrite()
	}()
	heard, err := io.ReadAll(client)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("no end: %q", heard)
	}
	<-served
	return heard, said.String()
}

// FuzzConnection sends arbitrary bytes to the daemon, as root and as one who may only read. Nothing may panic or hang, every answer
// is HTTP with one of the few codes, and a reader changes nothing.
func FuzzConnection(f *testing.F) {
	for _, path := range []string{pathHello, pathStatus, pathShow, pathMetrics, pathHistory, pathObserved, "/", "//", "*", "/%2e%2e/status"} {
		f.Add(true, []byte("GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"))
	}
	for path, body := range map[string]string{
		pathBans: `{"set":"banned"}`, pathBan: `{"set":"banned","prefixes":["192.0.2.1/32"],"for":1}`, pathUnban: `{"prefixes":["::/0"]}`,
		pathReload: `{}`, pathTakeDown: `{}`, pathConfirm: `{"any_session":true}`, pathRollback: `{"number":-1}`,
		pathApply:   `{"entry":"p.yaml","bundle":{"files":{"p.yaml":{"data":"dmVyc2lvbjogMQo="}},"names":{"p.yaml":{"canonical":"/p.yaml"}}},"strict":true}`,
		pathDryRun:  `{"entry":"p.yaml","bundle":null,"nft":true}`,
		pathObserve: `{"entry":"p.yaml","for":-1}`, pathEndWatch: `{}`,
	} {
		request := "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: "
		f.Add(true, []byte(request+strconv.Itoa(len(body))+"\r\n\r\n"+body))
		f.Add(false, []byte(request+strconv.Itoa(len(body))+"\r\n\r\n"+body+"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"))
		f.Add(true, []byte(request+strconv.Itoa(len(body)+1)+"\r\n\r\n"+body))
	}
	const parts = `{"entry":"p.yaml","bundle":{"files":{"p.yaml":{}}},"sizes":{"p.yaml":11}}` + "\nversion: 1\n"
	f.Add(true, []byte("POST /apply HTTP/1.1\r\nHost: x\r\nContent-Length: "+strconv.Itoa(len(parts))+"\r\n\r\n"+parts))
	f.Add(true, []byte("POST /observe HTTP/1.1\r\nHost: x\r\nContent-Length: "+strconv.Itoa(len(parts)+9)+"\r\n\r\n"+parts))
	f.Add(false, []byte("POST /reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"))
	f.Add(false, []byte("GET /status HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nRingwall-Control: 99\r\n\r\n"))
	f.Fuzz(func(t *testing.T, root bool, sent []byte) {
		svc := &fake{}
		peer := Peer{UID: 65534, Groups: []uint32{4242}}
		if root {
			peer = Peer{}
		}
		heard, logged := converse(t, svc, peer, sent)
		if strings.Contains(logged, "panic") {
			t.Fatal(logged)
		}
		if !root && (len(svc.asked) > 0 || svc.apply != nil || svc.ban.Set != "" || len(svc.ban.Prefixes) > 0) {
			t.Errorf("a reader did: %q, %v, %v", svc.asked, svc.apply, svc.ban)
		}
		answers := bufio.NewReader(bytes.NewReader(heard))
		for {
			if _, err := answers.Peek(1); err == io.EOF {
				return
			}
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				return // of HEAD and the like, which ReadResponse must be told of
			}
			switch resp.StatusCode {
			case 100, 200, 301, 307, 308, 400, 403, 404, 405, 413, 414, 417, 431, 500, 501, 505:
			default:
				t.Errorf("code %d", resp.StatusCode)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				return
			}
		}
	})
}

// FuzzPolicyRequest decodes a policy that was handed over, and looks at its files as a load does. What was decoded must be the same after
// another way over the wire.
func FuzzPolicyRequest(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"entry":"p.yaml","bundle":null}`, `{"bundle":{"files":{"a":{"data":"AA=="},"b":{"failure":{"kind":"untrusted","op":"open","path":"b","text":"x"}}}}}`,
		`{"bundle":{"globs":{"*":{"names":["a","b"]},"[":{"failure":{"kind":"bad-pattern","text":""}}}}}`,
		`{"bundle":{"names":{"a":{"canonical":"/a"},"b":{"canonical":"/a"},"c":{"failure":{}}}},"strict":true,"nft":true,"force":true}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var req PolicyRequest
		if json.Unmarshal(data, &req) != nil || req.Bundle == nil {
			return
		}
		b := req.Bundle
		b.Watched()
		for name := range b.Files {
			_, err := b.ReadFile(name, 1<<10)
			_ = errors.Is(err, source.ErrUntrusted) || err != nil && err.Error() == ""
			b.Text(name)
		}
		for pattern := range b.Globs {
			_, _ = b.Glob(pattern)
		}
		for name := range b.Names {
			_, _ = b.Canonical(name)
		}
		var text bytes.Buffer
		if err := b.WriteJSON(&text); err != nil {
			t.Fatal(err)
		}
		var again source.Bundle
		if err := json.Unmarshal(text.Bytes(), &again); err != nil || again.Digest() != b.Digest() {
			t.Errorf("%v\n%s\nbecomes\n%s", err, data, &text)
		}
	})
}
