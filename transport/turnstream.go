package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// turnStrangerTimeout is how long a stream may be open without an allocation.
	turnStrangerTimeout = 20 * time.Second
	// turnSlowTimeout is how long a client may take to make room for one message.
	turnSlowTimeout = 5 * time.Second
)

// turnStream is a client's TCP or TLS connection. pion reads whole and valid
// messages from it, one at a time, whatever comes over it.
//
// Queue: what waits to be sent is what the kernel holds, which limitUnsent
// bounds; writes wait for room, and packets in front of the relay, see turnRelay.
type turnStream struct {
	net.Conn  // encrypted, if it is TLS
	port      *turnPort
	client    netip.AddrPort
	handshake func(context.Context) error // nil: done, or none
	buf       [2 * maxTURNFrame]byte
	off, end  int         // what is in buf
	slow      atomic.Bool // counted: several may have been writing
	once      sync.Once
}

// Read gives one message. One goroutine calls it.
func (s *turnStream) Read(p []byte) (int, error) {
	counts := &s.port.turn.counts
	if s.handshake != nil {
		if err := s.handshake(context.Background()); err != nil { // bounded by the deadline
			counts.refuse(refusedTLS)
			return 0, err
		}
		s.handshake = nil
	}
	for {
		n, err := turnFrameSize(s.buf[s.off:s.end])
		if err != nil {
			counts.refuse(refusedMalformed)
			return 0, err
		}
		if n > 0 && n <= s.end-s.off {
			frame := s.buf[s.off : s.off+n]
			s.off += n
			if _, ok := s.port.take(frame); !ok {
				continue
			}
			if len(p) < n {
				return 0, io.ErrShortBuffer
			}
			return copy(p, frame), nil
		}
		if s.off > 0 {
			s.end = copy(s.buf[:], s.buf[s.off:s.end])
			s.off = 0
		}
		m, err := s.Conn.Read(s.buf[s.end:])
		s.end += m
		if err != nil && m == 0 {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				counts.refuse(refusedIdle)
			}
			return 0, err
		}
	}
}

// Write sends one message. It waits for a client that does not read, but not
// for long. It is safe for concurrent use.
func (s *turnStream) Write(p []byte) (int, error) {
	_ = s.Conn.SetWriteDeadline(time.Now().Add(s.port.turn.slowTimeout))
	n, err := s.Conn.Write(p)
	if err != nil { // a part of a message may be on its way
		if errors.Is(err, os.ErrDeadlineExceeded) && !s.slow.Swap(true) {
			s.port.turn.counts.refuse(refusedSlow)
		}
		_ = s.Close()
	}
	return n, err
}

// Close ends it. Twice is fine.
func (s *turnStream) Close() (err error) {
	s.once.Do(func() {
		s.port.forgetStream(s)
		err = s.Conn.Close()
		s.port.turn.streams.give(s.client.Addr(), "")
		s.port.turn.live.Done()
	})
	return err
}

// inUse lets the stream live for as long as its allocation, and else for a moment.
func (s *turnStream) inUse(yes bool) {
	var deadline time.Time
	if !yes {
		deadline = time.Now().Add(s.port.turn.strangerTimeout)
	}
	_ = s.Conn.SetReadDeadline(deadline)
}

// turnListener accepts streams within the quota; it implements net.Listener.
type turnListener struct {
	net.Listener
	port *turnPort
	tls  *tls.Config // nil: plain TCP
}

// Accept returns a turnStream. Only a closed listener makes it fail, since pion
// would never call it again.
func (l *turnListener) Accept() (net.Conn, error) {
	const first, slowest = 5 * time.Millisecond, time.Second
	for wait := first; ; {
		conn, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil { // no more file descriptors, say
			select {
			case <-l.port.turn.closed:
			case <-time.After(wait):
			}
			wait = min(2*wait, slowest)
			continue
		}
		wait = first
		if s := l.port.admitStream(conn, l.tls); s != nil {
			return s, nil
		}
		_ = conn.Close()
	}
}
