package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ringwall/netfilter/nstest"
)

func TestFindSession(t *testing.T) {
	const conn = "SSH_CONNECTION=198.51.100.7 50000 192.0.2.1 22"
	want := Session{Peer: netip.MustParseAddrPort("198.51.100.7:50000"), Local: netip.MustParseAddrPort("192.0.2.1:22")}
	for _, c := range []struct {
		name string
		own  string
		// The environments of the ancestors, from the parent up.
		ancestors []string
		err       error
	}{
		{"its own", conn, nil, nil},
		{"behind sudo", "", []string{"SUDO_USER=alice", conn, ""}, nil},
		{"the nearest", "", []string{"A=b\x00" + conn, "SSH_CONNECTION=198.51.100.8 1 192.0.2.1 22"}, nil},
		{"none", "", []string{"", "A=b"}, ErrNoSession},
		{"malformed", "SSH_CONNECTION=x", []string{"SSH_CONNECTION=1 2 3"}, ErrNoSession},
		{"tmux", "TMUX=/tmp/tmux-0/default,1,0\x00" + conn, nil, ErrMultiplexer},
		{"screen behind sudo", "", []string{"", "STY=1.pts-0\x00" + conn}, ErrMultiplexer},
		{"from tmux elsewhere", "", []string{conn, "TMUX=x"}, nil},
	} {
		proc := t.TempDir()
		own := filepath.Join(proc, "own")
		if err := os.Mkdir(own, 0o755); err != nil {
			t.Fatal(err)
		}
		write := func(dir, name, text string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		write(own, "environ", c.own+"\x00")
		const first = 100
		for i, env := range c.ancestors {
			dir := filepath.Join(proc, fmt.Sprint(first+i))
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			parent := first + i + 1
			if i == len(c.ancestors)-1 {
				parent = 1
			}
			write(dir, "environ", env+"\x00")
			write(dir, "status", fmt.Sprintf("Name:\tsh\nPid:\t%d\nPPid:\t%d\n", first+i, parent))
		}
		got, err := findSession(environOf(own), proc, first)
		if !errors.Is(err, c.err) || err == nil && got != want {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

func TestBoot(t *testing.T) {
	a, err := BootID()
	if err != nil || len(a) != 36 || strings.Count(a, "-") != 4 {
		t.Errorf("boot id %q, %v", a, err)
	}
	if before, after := Uptime(), Uptime(); before <= 0 || after < before {
		t.Errorf("uptime %s, then %s", before, after)
	}
}

// TestConnections opens TCP connections of both families and finds both ends of each, every one with a cookie of its own
// that stays.
func TestConnections(t *testing.T) {
	nstest.Enter(t)
	h, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	cookies := map[uint64]bool{}
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ends := [2]netip.AddrPort{netip.MustParseAddrPort(c.LocalAddr().String()), netip.MustParseAddrPort(c.RemoteAddr().String())}
		for _, local := range ends {
			var seen []uint64
			for range 2 {
				list, err := h.Connections()
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range list {
					if c.Local == local && (c.Peer == ends[0] || c.Peer == ends[1]) {
						seen = append(seen, c.Cookie())
					}
				}
			}
			if len(seen) != 2 || seen[0] != seen[1] || seen[0] == 0 || cookies[seen[0]] {
				t.Errorf("%s: cookies %v", local, seen)
				continue
			}
			cookies[seen[0]] = true
		}
	}
}
