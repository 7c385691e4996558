package transport

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// receiveBatch is what one system call has read from a socket: several messages
// where the kernel gives several, each of them one datagram, or several of one
// sender and, but for the last, of one size (UDP_GRO). It is used by one goroutine
// at a time, and allocates nothing for a datagram.
type receiveBatch struct {
	conn *net.UDPConn
	many *manyMessages // nil: one at a time
	one  []byte        // then

	at   int            // which message is next
	rest []byte         // of the message before at
	size int            // of each datagram in rest
	from netip.AddrPort // of rest

	emptied chan struct{} // of mediaSocket: it may be filled again
}

// maxDatagram is what UDP can carry, and the kernel puts together.
const maxDatagram = 64 << 10

func newReceiveBatch(conn *net.UDPConn) *receiveBatch {
	r := &receiveBatch{conn: conn, many: newManyMessages(conn)}
	if r.many == nil {
		r.one = make([]byte, maxDatagram)
	}
	return r
}

// fill blocks until there is at least one datagram, and forgets those before. The
// error wraps net.ErrClosed when the socket was closed.
func (r *receiveBatch) fill() error {
	r.at, r.rest = 0, nil
	if r.many != nil {
		err := r.many.read()
		if !errors.Is(err, syscall.ENOSYS) {
			return err
		}
		r.many.join(0)
		r.many, r.one = nil, make([]byte, maxDatagram)
	}
	n, from, err := r.conn.ReadFromUDPAddrPort(r.one[:cap(r.one)])
	r.one, r.from = r.one[:max(n, 0)], from
	return err
}

// message takes the next message; false when there is none.
func (r *receiveBatch) message() bool {
	if r.many != nil {
		if r.at == r.many.n {
			return false
		}
		r.rest, r.from, r.size = r.many.message(r.at)
	} else {
		if r.at == 1 {
			return false
		}
		r.rest, r.size = r.one, len(r.one)
	}
	r.at++
	return true
}

// next gives the datagrams of the last fill one by one, lent until the next fill;
// ok is false when there are no more.
func (r *receiveBatch) next() (datagram []byte, from netip.AddrPort, ok bool) {
	if len(r.rest) == 0 && !r.message() {
		return nil, netip.AddrPort{}, false
	}
	n := min(r.size, len(r.rest)) // of an empty datagram: nothing
	datagram, r.rest = r.rest[:n:n], r.rest[n:]
	return datagram, r.from, true
}
