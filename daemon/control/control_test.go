package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ringwall/daemon/enforce"
	"ringwall/daemon/observe"
	"ringwall/daemon/store"
	"ringwall/netfilter/host"
	"ringwall/netfilter/nstest"
	"ringwall/rules/diag"
	"ringwall/rules/source"
)

// fake is a Service that remembers what it was asked.
type fake struct {
	hello Hello
	asked []string
	apply *PolicyRequest
	ban   enforce.BanRequest

	confirm  ConfirmRequest
	rollback RollbackRequest

	observed *ObserveRequest
}

var _ Service = (*fake)(nil)

func (f *fake) Hello() Hello { return f.hello }

func (f *fake) Status(context.Context) (*Status, error) {
	return &Status{Hello: f.hello, Enforced: true, Source: enforce.Files, Reload: Reload{
		Diagnostics: diag.List{{Severity: diag.Warning, Code: "unused", Message: "m", At: diag.Span{Pos: diag.Pos{File: "p.yaml", Line: 3, Col: 2}, Len: 4}}},
	}}, nil
}

func (f *fake) Show(context.Context) (*enforce.Page, error) {
	return nil, errors.New("nothing to show")
}

func (f *fake) Apply(_ context.Context, req *PolicyRequest) (*enforce.Report, error) {
	f.apply = req
	return &enforce.Report{Policy: req.Entry, Applied: true, Source: enforce.Socket}, nil
}

func (f *fake) DryRun(_ context.Context, req *PolicyRequest) (*enforce.Report, error) {
	return &enforce.Report{Policy: req.Entry, NFT: fmt.Sprint(req.NFT)}, nil
}

func (f *fake) Reload(context.Context) (*enforce.Report, error) {
	f.asked = append(f.asked, "reload")
	return &enforce.Report{}, nil
}

func (f *fake) Ban(_ context.Context, req enforce.BanRequest) (*enforce.BanReport, error) {
	f.ban = req
	return &enforce.BanReport{Set: "banned"}, nil
}

func (f *fake) Unban(_ context.Context, req UnbanRequest) (*enforce.BanReport, error) {
	return &enforce.BanReport{Set: req.Set, Removed: len(req.Prefixes)}, nil
}

func (f *fake) Bans(_ context.Context, req BansRequest) ([]enforce.Ban, error) {
	return []enforce.Ban{{Set: req.Set, Prefix: netip.MustParsePrefix("192.0.2.1/32")}}, nil
}

func (f *fake) TakeDown(context.Context) error {
	f.asked = append(f.asked, "take-down")
	return nil
}

func (f *fake) Observe(ctx context.Context, req *ObserveRequest) (*Observed, error) {
	f.observed = req
	return f.Observed(ctx)
}

func (f *fake) Observed(context.Context) (*Observed, error) {
	return &Observed{Report: &observe.Report{Policy: "new.yaml", Cases: []observe.Case{{List: "in", Packets: 7}}}}, nil
}

func (f *fake) EndObservation(context.Context) (*Observed, error) {
	f.asked = append(f.asked, "end observation")
	return &Observed{}, nil
}

func (f *fake) Confirm(_ context.Context, req ConfirmRequest) (*enforce.Report, error) {
	f.confirm = req
	return &enforce.Report{Applied: true}, nil
}

func (f *fake) Rollback(_ context.Context, req RollbackRequest) (*enforce.Report, error) {
	f.rollback = req
	return &enforce.Report{Applied: true}, nil
}

func (f *fake) History(ctx context.Context) ([]enforce.Past, error) {
	peer, _ := PeerOf(ctx)
	return []enforce.Past{{Number: 3, Good: store.Good{Digest: "d", Who: fmt.Sprint(peer.PID)}}}, nil
}

func (f *fake) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ringwall_rules 3\n") })
}

// noGroup is a host without the group.
func noGroup(string) (uint32, bool) { return 0, false }

// serve runs a server on a socket of its own, in a directory that everybody may enter.
func serve(t *testing.T, svc Service, lookup func(string) (uint32, bool)) string {
	t.Helper()
	return serveWith(t, svc, lookup, func(*http.Server) {})
}

// serveWith is serve with other settings of the server.
func serveWith(t *testing.T, svc Service, lookup func(string) (uint32, bool), set func(*http.Server)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	s, err := Listen(path, lookup, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	set(s.http)
	done := make(chan error, 1)
	go func() { done <- s.Serve(svc) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return path
}

// here is a fake in the namespace of the test.
func here(t *testing.T) *fake {
	t.Helper()
	ns, err := host.CurrentNamespace()
	if err != nil {
		t.Fatal(err)
	}
	return &fake{hello: Hello{Build: "test", PID: os.Getpid(), Namespace: ns}}
}

func TestCalls(t *testing.T) {
	svc := here(t)
	ctx := t.Context()
	c, err := Dial(ctx, serve(t, svc, noGroup))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if diff := cmp.Diff(svc.hello, c.Hello()); diff != "" {
		t.Error(diff)
	}

	status, err := c.Status(ctx)
	want, _ := svc.Status(ctx)
	if diff := cmp.Diff(want, status); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := c.Show(ctx); err == nil || err.Error() != "nothing to show" {
		t.Errorf("the service's error arrives as %v", err)
	}

	cand := &enforce.Candidate{Entry: "p.yaml", Bundle: &source.Bundle{
		Files: map[string]source.Content{"p.yaml": {Data: []byte("version: 1\n")}},
		Names: map[string]source.Identity{"p.yaml": {Canonical: "/etc/p.yaml"}},
	}}
	r, err := c.Apply(ctx, cand, true)
	if err != nil || !r.Applied || r.Source != enforce.Socket {
		t.Errorf("apply: %+v, %v", r, err)
	}
	if diff := cmp.Diff(&PolicyRequest{Entry: "p.yaml", Bundle: cand.Bundle, Strict: true}, svc.apply); diff != "" {
		t.Error(diff)
	}
	if r, err := c.DryRun(ctx, cand, false, true); err != nil || r.NFT != "true" {
		t.Errorf("dry-run: %+v, %v", r, err)
	}

	ban := enforce.BanRequest{Set: "banned", Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8::/48")}, For: time.Hour}
	if _, err := c.Ban(ctx, ban); err != nil {
		t.Error(err)
	}
	if fmt.Sprint(ban) != fmt.Sprint(svc.ban) {
		t.Errorf("ban arrives as %v", svc.ban)
	}
	if r, err := c.Unban(ctx, "x", ban.Prefixes); err != nil || r.Set != "x" || r.Removed != 1 {
		t.Errorf("unban: %+v, %v", r, err)
	}
	bans, err := c.Bans(ctx, "x")
	if err != nil || len(bans) != 1 || bans[0].Set != "x" || !bans[0].Until.IsZero() {
		t.Errorf("bans: %+v, %v", bans, err)
	}
	if _, err := c.Reload(ctx); err != nil {
		t.Error(err)
	}
	if err := c.TakeDown(ctx); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"reload", "take-down"}, svc.asked); diff != "" {
		t.Error(diff)
	}
	session := &host.Session{Peer: netip.MustParseAddrPort("198.51.100.7:50000"), Local: netip.MustParseAddrPort("192.0.2.1:22")}
	confirm := ConfirmRequest{Session: session, AnySession: true, Says: "alice"}
	if r, err := c.Confirm(ctx, confirm); err != nil || !r.Applied {
		t.Errorf("confirm: %+v, %v", r, err)
	}
	if diff := cmp.Diff(confirm, svc.confirm, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	rollback := RollbackRequest{Number: 2, Confirm: time.Minute, ConfirmRequest: ConfirmRequest{NoSession: "none"}}
	if r, err := c.Rollback(ctx, rollback); err != nil || !r.Applied {
		t.Errorf("rollback: %+v, %v", r, err)
	}
	if diff := cmp.Diff(rollback, svc.rollback); diff != "" {
		t.Error(diff)
	}
	if h, err := c.History(ctx); err != nil || len(h) != 1 || h[0].Number != 3 || h[0].Who != fmt.Sprint(os.Getpid()) {
		t.Errorf("history: %+v, %v", h, err)
	}
	if m, err := c.Metrics(ctx); err != nil || string(m) != "ringwall_rules 3\n" {
		t.Errorf("metrics: %q, %v", m, err)
	}
}

func TestDialWithoutDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("no socket: %v", err)
	}
	leave(t, path)
	if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("a socket without a listener: %v", err)
	}
}

// TestDialNamesWhoIsSilent has a process listen that never answers.
func TestDialNamesWhoIsSilent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	want := fmt.Sprintf("%s: the daemon (pid %d) does not answer: %v", path, os.Getpid(), context.DeadlineExceeded)
	if _, err := Dial(ctx, path); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// leave makes a socket that nobody listens on, as a killed daemon leaves it.
func leave(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestDialRefusesAnotherNamespace(t *testing.T) {
	svc := here(t)
	svc.hello.Namespace.Inode++
	svc.hello.Namespace.Cookie++
	_, err := Dial(t.Context(), serve(t, svc, noGroup))
	var other *NamespaceError
	if !errors.As(err, &other) || other.PID != os.Getpid() {
		t.Errorf("got %v", err)
	}
}

func TestListenTakesOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "s")
	log := slog.New(slog.DiscardHandler)
	first, err := Listen(path, noGroup, log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, noGroup, log); !errors.Is(err, ErrInUse) {
		t.Errorf("a second daemon gets %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	leave(t, path)
	again, err := Listen(path, noGroup, log)
	if err != nil {
		t.Fatalf("after a killed daemon: %v", err)
	}
	defer again.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("without the group the socket is %v, %v", info.Mode(), err)
	}
}

// dialAs connects as somebody else.
func dialAs(t *testing.T, path string, uid, gid uint32, groups []uint32) net.Conn {
	t.Helper()
	if os.Geteuid() != 0 {
		nstest.Missing(t, "takes root, to be somebody else")
	}
	type result struct {
		conn net.Conn
		err  error
	}
	ch := make(chan result)
	go func() {
		// Raw calls change this thread alone, and it ends with the goroutine.
		runtime.LockOSThread()
		var p unsafe.Pointer
		if len(groups) > 0 {
			p = unsafe.Pointer(&groups[0])
		}
		for _, call := range [][4]uintptr{
			{unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(p), 0},
			{unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)},
			{unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
		} {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				ch <- result{nil, errno}
				return
			}
		}
		c, err := net.Dial("unix", path)
		ch <- result{c, err}
	}()
	r := <-ch
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.conn.Close() })
	return r.conn
}

// answerTo sends a request as somebody else and returns the status and body of the answer.
func answerTo(t *testing.T, path string, uid, gid uint32, groups []uint32, request string) (status int, body string) {
	t.Helper()
	conn := dialAs(t, path, uid, gid, groups)
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestAccess(t *testing.T) {
	const group, stranger = 4242, 65534
	svc := here(t)
	path := serve(t, svc, func(string) (uint32, bool) { return group, true })
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Fatalf("socket: %v, %v", info.Mode(), err)
	}
	status := "GET /status HTTP/1.1\r\nHost: x\r\n\r\n"
	reload := "POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
	for _, member := range []struct {
		name   string
		gid    uint32
		groups []uint32
	}{{"primary group", group, nil}, {"supplementary group", stranger, []uint32{7, group}}} {
		t.Run(member.name, func(t *testing.T) {
			if code, _ := answerTo(t, path, stranger, member.gid, member.groups, status); code != http.StatusOK {
				t.Errorf("a member reads: %d", code)
			}
			if code, body := answerTo(t, path, stranger, member.gid, member.groups, reload); code != http.StatusForbidden {
				t.Errorf("a member writes: %d %s", code, body)
			}
		})
	}
	if code, body := answerTo(t, path, 0, 0, nil, reload); code != http.StatusOK {
		t.Errorf("root writes: %d %s", code, body)
	}
	if diff := cmp.Diff([]string{"reload"}, svc.asked); diff != "" {
		t.Errorf("carried out: %s", diff)
	}

	// Whoever gets past the rights of the file all the same learns nothing, not even which paths there are.
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, request := range []string{status, reload, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"} {
		code, body := answerTo(t, path, stranger, stranger, nil, request)
		if code != http.StatusForbidden || body != `{"error":"not allowed"}`+"\n" {
			t.Errorf("a stranger's %.12q: %d %s", request, code, body)
		}
	}
}

func TestRefusals(t *testing.T) {
	path := serve(t, here(t), noGroup)
	for _, c := range []struct {
		name, request string
		status        int
		text          string
	}{
		{"method", "GET /reload HTTP/1.1\r\nHost: x\r\n\r\n", http.StatusMethodNotAllowed, "wrong method"},
		{"version", "GET /status HTTP/1.1\r\nHost: x\r\nRingwall-Control: 99\r\n\r\n", http.StatusBadRequest, "version " + Version},
		{"unknown field", "POST /ban HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{\"a\": 12}", http.StatusBadRequest, "unknown field"},
		{"long question", "POST /bans HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n{\"set\": \"" + strings.Repeat("a", 69990) + "\"}", http.StatusRequestEntityTooLarge, "request"},
		{"no JSON", "POST /apply HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{{{", http.StatusBadRequest, "request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, c.request)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || !strings.Contains(string(body), c.text) {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
		})
	}
}

// TestReadersAreBounded has a member of the group keep more connections than readers get: the last is closed, root is
// still served, and a place that is given up is free again.
func TestReadersAreBounded(t *testing.T) {
	const group, member = 4242, 65534
	path := serve(t, here(t), func(string) (uint32, bool) { return group, true })
	status := "GET /status HTTP/1.1\r\nHost: x\r\n\r\n"
	answered := func(c net.Conn) bool {
		io.WriteString(c, status)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		return err == nil && resp.StatusCode == http.StatusOK
	}
	var held []net.Conn
	for range maxReaders {
		c := dialAs(t, path, member, group, nil)
		if !answered(c) {
			t.Fatalf("connection %d is not answered", len(held)+1)
		}
		held = append(held, c)
	}
	if answered(dialAs(t, path, member, group, nil)) {
		t.Errorf("more than %d connections of readers are answered", maxReaders)
	}
	if code, _ := answerTo(t, path, 0, 0, nil, status); code != http.StatusOK {
		t.Errorf("root is kept out: %d", code)
	}
	held[0].Close()
	for deadline := time.Now().Add(5 * time.Second); !answered(dialAs(t, path, member, group, nil)); {
		if time.Now().After(deadline) {
			t.Fatal("a place that was given up stays taken")
		}
	}
}
