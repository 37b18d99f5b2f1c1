package nstest

import (
	"net"
	"testing"
)

// Listen takes TCP connections at an address of the namespace until the test ends. Each has serve on a goroutine of its own, and is
// closed when that returns.
func (ns *NS) Listen(t testing.TB, addr string, serve func(net.Conn)) net.Listener {
	t.Helper()
	var l net.Listener
	var err error
	ns.Do(t, func() { l, err = net.Listen("tcp", addr) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l
}
