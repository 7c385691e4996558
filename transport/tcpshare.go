package transport

import (
	"bufio"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"

	"mixdown/codec"
)

const (
	// tcpFrameHeader is the length in front of each packet (RFC 4571 section 2).
	tcpFrameHeader = 2
	// maxTCPFrame is more than browsers put into one packet; who sends longer
	// ones is cut off.
	maxTCPFrame = 4096
)

// The queue of what is to be sent on one connection. It is short, since what the
// kernel holds comes on top, and in time, since a stream that was repaired had
// better go on with what is new: clients ask for pictures again, and late sound is of
// no use. Bound: maxTCPQueue bytes, of packets younger than tcpStale. Drop policy:
// what does not fit is dropped, what is too old is not sent. Counter:
// tcpMux.unsent.
const (
	maxTCPQueue = 256 << 10
	tcpStale    = 400 * time.Millisecond
	// tcpWriteBytes go to the kernel at a time: what it has taken grows old
	// without notice.
	tcpWriteBytes = 16 << 10
	// tcpFarewell is how long the last words of a connection may take.
	tcpFarewell = 500 * time.Millisecond
)

// tcpShare is what one peer's ICE agent listens on at one of our addresses: all
// connections of its client there. It implements net.PacketConn and
// ice.AddrPortReaderWriter. One goroutine reads from it.
type tcpShare struct {
	mux     *tcpMux
	ufrag   string
	local   netip.AddrPort
	policed *atomic.Uint64
	senders rtcpSenders // the reader's
	// in hands frames over: unbuffered, so that the reader of a connection waits
	// for the agent and the kernel for that, which slows the client down.
	in     chan tcpFrame
	closed chan struct{}

	mu struct {
		sync.Mutex
		closed bool
		paths  map[netip.AddrPort]*tcpPath // at most maxSharePaths
	}
}

var _ ice.AddrPortReaderWriter = (*tcpShare)(nil)

// tcpFrame is a packet that came, lent until path.taken.
type tcpFrame struct {
	data []byte
	path *tcpPath
}

// add takes one more connection, or returns false if it is too late.
func (s *tcpShare) add(path *tcpPath) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return false
	}
	var oldest *tcpPath
	for _, p := range s.mu.paths {
		if oldest == nil || p.heard.Load() < oldest.heard.Load() {
			oldest = p
		}
	}
	if old := s.mu.paths[path.from]; old != nil {
		old.end()
	} else if len(s.mu.paths) >= maxSharePaths {
		delete(s.mu.paths, oldest.from)
		oldest.end()
	}
	s.mu.paths[path.from] = path
	return true
}

// drop forgets a connection that has ended.
func (s *tcpShare) drop(path *tcpPath) {
	path.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.paths[path.from] == path {
		delete(s.mu.paths, path.from)
	}
}

// Close ends the connections, once what they were given is sent. It does not
// wait; twice is fine.
func (s *tcpShare) Close() error {
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return nil
	}
	s.mu.closed = true
	close(s.closed)
	for _, p := range s.mu.paths {
		p.end()
	}
	s.mu.Unlock()
	s.mux.forget(s)
	return nil
}

// ReadFromAddrPort implements ice.AddrPortReaderWriter.
func (s *tcpShare) ReadFromAddrPort(b []byte) (n int, from netip.AddrPort, err error) {
	for {
		select {
		case f := <-s.in:
			n, from = copy(b, f.data), f.path.from
			f.path.taken <- struct{}{}
		case <-s.closed:
			return 0, netip.AddrPort{}, net.ErrClosed
		}
		switch {
		case isForged(b[:n]):
			s.mux.forged.Add(1)
		case !s.senders.admit(b[:n]):
			s.policed.Add(1)
		default:
			return n, from, nil
		}
	}
}

// WriteToAddrPort implements ice.AddrPortReaderWriter. It does not block: what
// the connection does not take is dropped, as on any network, and so is what is for
// one that has ended. Of an error there the DTLS stack would take its connection
// for broken, though the client comes again, or begins another ICE session.
func (s *tcpShare) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	s.mu.Lock()
	path := s.mu.paths[to]
	s.mu.Unlock()
	if path == nil || !path.push(b, codec.Now()) {
		s.mux.unsent.Add(1)
	}
	return len(b), nil
}

// ReadFrom implements net.PacketConn.
func (s *tcpShare) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := s.ReadFromAddrPort(b)
	return n, net.TCPAddrFromAddrPort(from), err
}

// WriteTo implements net.PacketConn.
func (s *tcpShare) WriteTo(b []byte, to net.Addr) (int, error) {
	return s.WriteToAddrPort(b, plainAddr(to))
}

// LocalAddr implements net.PacketConn.
func (s *tcpShare) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(s.local) }

// SetDeadline does nothing, nor do the others: agents set one only to end what
// they close right after.
func (s *tcpShare) SetDeadline(time.Time) error      { return nil }
func (s *tcpShare) SetReadDeadline(time.Time) error  { return nil }
func (s *tcpShare) SetWriteDeadline(time.Time) error { return nil }

// tcpPath is one connection. It has two goroutines: one reads, one writes.
type tcpPath struct {
	conn   *net.TCPConn
	share  *tcpShare
	from   netip.AddrPort
	reader *bufio.Reader
	taken  chan struct{} // one slot: the agent has copied the frame
	heard  atomic.Int64  // when a frame last came
	wake   chan struct{} // one slot: there is something to send, or it is over
	once   sync.Once
	ended  chan struct{} // closed by end

	mu struct {
		sync.Mutex
		queue tcpQueue
	}
}

// end lets the connection send what it was given and no more. It does not block.
func (p *tcpPath) end() {
	p.once.Do(func() {
		now := time.Now()
		_ = p.conn.SetReadDeadline(now) // fails only if it is closed
		_ = p.conn.SetWriteDeadline(now.Add(tcpFarewell))
		close(p.ended)
	})
}

// read hands out what comes until the connection ends.
func (p *tcpPath) read() {
	for {
		frame, err := nextFrame(p.reader, maxTCPFrame)
		if err != nil {
			return
		}
		p.heard.Store(int64(codec.Now()))
		if len(frame) > 0 {
			select {
			case p.share.in <- tcpFrame{frame, p}:
				<-p.taken
			case <-p.ended:
				return
			}
		}
		skipFrame(p.reader, frame)
	}
}

// push queues a packet; it reports false when there is no room.
func (p *tcpPath) push(b []byte, now time.Duration) bool {
	p.mu.Lock()
	ok := p.mu.queue.push(b, now)
	p.mu.Unlock()
	if ok {
		select {
		case p.wake <- struct{}{}:
		default: // it is awake already
		}
	}
	return ok
}

// write sends what is queued until the connection ends, and closes it.
func (p *tcpPath) write() {
	defer p.conn.Close() // what could be written was
	buf := make([]byte, 0, tcpWriteBytes)
	for over := false; ; {
		p.mu.Lock()
		var stale int
		buf, stale = p.mu.queue.take(buf[:0], codec.Now())
		p.mu.Unlock()
		p.share.mux.unsent.Add(uint64(stale))
		if len(buf) > 0 {
			if _, err := p.conn.Write(buf); err != nil {
				p.end() // ends read too
				return
			}
			continue
		}
		if over {
			return
		}
		select {
		case <-p.wake:
		case <-p.ended:
			over = true // what was pushed before is sent yet
		}
	}
}

// tcpQueue is a queue of packets, as they go over the wire.
type tcpQueue struct {
	buf  []byte // frames, end to end; those before off are gone
	off  int
	at   []time.Duration // when each frame was pushed
	sent int             // how many of them are gone
}

// push copies a packet to the end. It reports false when there is no room.
func (q *tcpQueue) push(b []byte, now time.Duration) bool {
	if len(q.buf)-q.off+tcpFrameHeader+len(b) > maxTCPQueue || len(b) > 1<<16-1 {
		return false
	}
	q.buf = binary.BigEndian.AppendUint16(q.buf, uint16(len(b)))
	q.buf = append(q.buf, b...)
	q.at = append(q.at, now)
	return true
}

// take appends frames to dst, as many as fit in its capacity but at least one,
// and returns how many were left out, having waited too long.
func (q *tcpQueue) take(dst []byte, now time.Duration) (_ []byte, stale int) {
	for q.sent < len(q.at) {
		n := tcpFrameHeader + int(binary.BigEndian.Uint16(q.buf[q.off:]))
		if late := now-q.at[q.sent] > tcpStale; late {
			stale++
		} else if len(dst) == 0 || len(dst)+n <= cap(dst) {
			dst = append(dst, q.buf[q.off:q.off+n]...)
		} else {
			break
		}
		q.off += n
		q.sent++
	}
	if q.off > len(q.buf)/2 { // so each byte is moved once at most
		q.buf = append(q.buf[:0], q.buf[q.off:]...)
		q.at = append(q.at[:0], q.at[q.sent:]...)
		q.off, q.sent = 0, 0
		if len(q.buf) == 0 && cap(q.buf) > maxTCPQueue/8 {
			q.buf = nil // poor moments are rare, connections many
		}
	}
	return dst, stale
}
