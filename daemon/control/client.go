package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"ringwall/daemon/enforce"
	"ringwall/netfilter/host"
)

// ErrNoDaemon tells that no daemon listens on the socket. Whoever then finds the kernel's table owned meets a daemon
// that listens elsewhere, or one that cannot be reached: see kernel.OwnedError.
var ErrNoDaemon = errors.New("no daemon listens")

// ErrDenied tells that the daemon does not serve the caller.
var ErrDenied = errors.New("permission denied")

// Client speaks to one daemon.
type Client struct {
	socket string
	http   *http.Client
	pid    atomic.Int32 // of the process that listens, by the kernel's word; 0 before the first connection
	hello  Hello
}

// maxAnswer bounds what a client reads of an answer.
const maxAnswer = 256 << 20

// Dial finds the daemon behind a socket. The error is ErrNoDaemon where none listens, ErrDenied where the socket is
// not for the caller, and a *NamespaceError where the daemon serves another network namespace than that of the
// calling thread.
func Dial(ctx context.Context, socket string) (*Client, error) {
	here, err := host.CurrentNamespace()
	if err != nil {
		return nil, err
	}
	c := &Client{socket: socket}
	c.http = &http.Client{Transport: &http.Transport{DialContext: c.dial}}
	hello, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	if err := c.call(hello, http.MethodGet, pathHello, nil, &c.hello); err != nil {
		c.Close()
		return nil, err
	}
	if c.hello.Namespace != here {
		c.Close()
		return nil, &NamespaceError{Socket: socket, PID: c.hello.PID}
	}
	return c, nil
}

// helloTimeout is how long a daemon may take to say who it is, which it does whatever else it is busy with.
const helloTimeout = 10 * time.Second

// dial connects to the socket, and notes who listens there, should it never answer.
func (c *Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.socket)
	if err != nil {
		return nil, err
	}
	if p, err := peerOf(conn); err == nil {
		c.pid.Store(p.PID)
	}
	return conn, nil
}

// Close lets the connection go.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Hello is what the daemon said of itself.
func (c *Client) Hello() Hello { return c.hello }

// Status asks what the daemon does at the moment.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	s := &Status{}
	return s, c.call(ctx, http.MethodGet, pathStatus, nil, s)
}

// Show asks for the enforced policy with its counters.
func (c *Client) Show(ctx context.Context) (*enforce.Page, error) {
	p := &enforce.Page{}
	return p, c.call(ctx, http.MethodGet, pathShow, nil, p)
}

// Apply hands a policy's contents to the daemon and waits until it is enforced. It holds until the watched files
// change or the daemon restarts. A policy that is refused is a Report, and no error. set fills in more of the request.
func (c *Client) Apply(ctx context.Context, cand *enforce.Candidate, strict bool, set ...func(*PolicyRequest)) (*enforce.Report, error) {
	return c.policy(ctx, pathApply, cand, &PolicyRequest{Strict: strict}, set...)
}

// Confirm keeps the change that awaits its confirmation.
func (c *Client) Confirm(ctx context.Context, req ConfirmRequest) (*enforce.Report, error) {
	r := &enforce.Report{}
	return r, c.call(ctx, http.MethodPost, pathConfirm, &req, r)
}

// Rollback goes back to a policy of the history.
func (c *Client) Rollback(ctx context.Context, req RollbackRequest) (*enforce.Report, error) {
	r := &enforce.Report{}
	return r, c.call(ctx, http.MethodPost, pathRollback, &req, r)
}

// History lists the last good policies, the newest first.
func (c *Client) History(ctx context.Context) ([]enforce.Past, error) {
	var list []enforce.Past
	return list, c.call(ctx, http.MethodGet, pathHistory, nil, &list)
}

// DryRun asks what Apply would do; with nft the report has the whole compiled table.
func (c *Client) DryRun(ctx context.Context, cand *enforce.Candidate, strict, nft bool, sessions ...host.Session) (*enforce.Report, error) {
	return c.policy(ctx, pathDryRun, cand, &PolicyRequest{Strict: strict, NFT: nft, Sessions: sessions})
}

func (c *Client) policy(ctx context.Context, path string, cand *enforce.Candidate, req *PolicyRequest, set ...func(*PolicyRequest)) (*enforce.Report, error) {
	req.Entry, req.Bundle = cand.Entry, cand.Bundle
	for _, f := range set {
		f(req)
	}
	var contents [][]byte
	req.Bundle, req.Sizes, contents = detached(req.Bundle)
	r := &enforce.Report{}
	return r, c.call(ctx, http.MethodPost, path, req, r, contents...)
}

// Reload has the daemon read its own files again and waits for the outcome.
func (c *Client) Reload(ctx context.Context) (*enforce.Report, error) {
	r := &enforce.Report{}
	return r, c.call(ctx, http.MethodPost, pathReload, struct{}{}, r)
}

// Ban adds to a dynamic set.
func (c *Client) Ban(ctx context.Context, req enforce.BanRequest) (*enforce.BanReport, error) {
	r := &enforce.BanReport{}
	return r, c.call(ctx, http.MethodPost, pathBan, &req, r)
}

// Unban takes addresses out of a dynamic set.
func (c *Client) Unban(ctx context.Context, set string, prefixes []netip.Prefix) (*enforce.BanReport, error) {
	r := &enforce.BanReport{}
	return r, c.call(ctx, http.MethodPost, pathUnban, &UnbanRequest{Set: set, Prefixes: prefixes}, r)
}

// Bans lists what the dynamic sets hold; with a set's name that one alone.
func (c *Client) Bans(ctx context.Context, set string) ([]enforce.Ban, error) {
	var bans []enforce.Ban
	return bans, c.call(ctx, http.MethodPost, pathBans, &BansRequest{Set: set}, &bans)
}

// TakeDown removes the daemon's table. The wall stays open until the next apply or reload, or the daemon's restart.
func (c *Client) TakeDown(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, pathTakeDown, struct{}{}, &struct{}{})
}

// Metrics is the daemon's metrics in Prometheus' text form.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	return c.roundTrip(ctx, http.MethodGet, pathMetrics, nil)
}

// call sends in as JSON, with contents of files behind it, and reads the answer into out.
func (c *Client) call(ctx context.Context, method, path string, in, out any, contents ...[]byte) error {
	var about []byte
	if in != nil {
		var err error
		if about, err = json.Marshal(in); err != nil {
			return fmt.Errorf("request %s: %w", path, err)
		}
	}
	answer, err := c.roundTrip(ctx, method, path, about, contents...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: answer to %s: %w", c.socket, path, err)
	}
	return nil
}

// withoutURL is an error of the HTTP client without the made-up address that it names.
func withoutURL(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}

// roundTrip returns the body of a successful answer.
func (c *Client) roundTrip(ctx context.Context, method, path string, about []byte, contents ...[]byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://ringwall"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", path, err)
	}
	setBody(req, about, contents)
	req.Header.Set(versionHeader, Version)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%s: %w", c.socket, ErrNoDaemon)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return nil, fmt.Errorf("%s: %w", c.socket, ErrDenied)
	case err != nil:
		return nil, fmt.Errorf("%s: the daemon (pid %d) does not answer: %w", c.socket, c.pid.Load(), withoutURL(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: answer to %s: %w", c.socket, path, err)
	}
	if v := resp.Header.Get(versionHeader); v != Version {
		return nil, fmt.Errorf("%s: speaks version %q of the control protocol, not %s: the daemon and this program are of different releases; restart the daemon", c.socket, v, Version)
	}
	if resp.StatusCode == http.StatusOK {
		return answer, nil
	}
	var f failure
	if err := json.Unmarshal(answer, &f); err != nil || f.Error == "" {
		f.Error = resp.Status
	}
	if resp.StatusCode == http.StatusForbidden {
		return nil, fmt.Errorf("%s: %w: %s", c.socket, ErrDenied, f.Error)
	}
	return nil, errors.New(f.Error)
}
