package control

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// maxReaders bounds the connections of those who may not write, so that they can't take the daemon's descriptors. Root
// is not held to it, and not kept out by it.
const maxReaders = 32

// limited is a listener that holds readers to maxReaders connections, all of them together, and refuses those who may not even read.
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
		may := none
		if p, err := peerOf(u); err == nil {
			may = l.access(p)
		}
		if may == writes {
			return c, nil
		}
		if l.readers.Add(1) > maxReaders {
			l.readers.Add(-1)
			c.Close()
			continue
		}
		reader := &counted{UnixConn: u, closed: sync.OnceFunc(func() { l.readers.Add(-1) })}
		if may == none {
			go refuse(reader)
			continue
		}
		return reader, nil
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	*net.UnixConn
	closed func()
}

// refusal is the whole of what a stranger is told.
const refusal = "HTTP/1.1 403 Forbidden\r\n" + versionHeader + ": " + Version + "\r\nContent-Type: application/json\r\n" +
	"Content-Length: 24\r\nConnection: close\r\n\r\n" + `{"error":"not allowed"}` + "\n"

// refuse gives the same answer to whatever somebody asks, and looks at none of it.
func refuse(c *counted) {
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(refuseTimeout)); err != nil {
		return
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		return
	}
	if _, err := io.WriteString(c, refusal); err != nil || c.CloseWrite() != nil {
		return
	}
	// What is unread when the socket is closed would take the answer with it.
	_, _ = io.CopyN(io.Discard, c, maxHeader)
}

// refuseTimeout is how long a stranger may take.
const refuseTimeout = 5 * time.Second

// Close closes the connection.
func (c *counted) Close() error {
	c.closed()
	return c.UnixConn.Close()
}
