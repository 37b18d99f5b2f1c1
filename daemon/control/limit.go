package control

import (
	"net"
	"sync"
	"sync/atomic"
)

// maxReaders bounds the connections of those who may not write, so that they can't take the daemon's descriptors. Root
// is not held to it, and not kept out by it.
const maxReaders = 32

// limited is a listener that holds readers to maxReaders connections, all of them together.
type limited struct {
	net.Listener
	access  func(Peer) access
	readers atomic.Int32
}

// Accept returns the next connection; those beyond the bound it closes unanswered.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		u, ok := c.(*net.UnixConn)
		if !ok {
			return c, nil
		}
		if p, err := peerOf(u); err == nil && l.access(p) == writes {
			return c, nil
		}
		if l.readers.Add(1) > maxReaders {
			l.readers.Add(-1)
			c.Close()
			continue
		}
		return &counted{UnixConn: u, closed: sync.OnceFunc(func() { l.readers.Add(-1) })}, nil
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	*net.UnixConn
	closed func()
}

// Close closes the connection.
func (c *counted) Close() error {
	c.closed()
	return c.UnixConn.Close()
}
