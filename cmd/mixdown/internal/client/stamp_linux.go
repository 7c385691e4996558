package client

import (
	"net"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"mixdown/codec"
)

// stampedSocket tells when the kernel had each datagram. A process that plays
// hundreds of clients is late to read what comes to all of them at once, and
// that is no delay of the server's.
type stampedSocket struct {
	*net.UDPConn
	control []byte // one reader's scratch
}

// maxStampAge is what a stamp can be behind: more is a wall clock that was set.
const maxStampAge = time.Second

// stamped turns the stamps on; without them the time of reading has to do.
func stamped(conn *net.UDPConn) socket {
	raw, err := conn.SyscallConn()
	if err != nil {
		return plainSocket{conn}
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) })
	if err != nil || set != nil {
		return plainSocket{conn}
	}
	return &stampedSocket{conn, make([]byte, unix.CmsgSpace(int(unsafe.Sizeof(unix.Timespec{}))))}
}

// read implements socket.
func (s *stampedSocket) read(b []byte) (n int, from netip.AddrPort, at time.Duration, err error) {
	n, control, _, from, err := s.ReadMsgUDPAddrPort(b, s.control)
	at = codec.Now()
	if err == nil {
		if age := time.Since(stampOf(s.control[:control])); age > 0 && age < maxStampAge {
			at -= age
		}
	}
	return n, from, at, err
}

// stampOf reads the stamp that comes with a datagram (socket(7)); without one
// it is the beginning of time.
func stampOf(control []byte) time.Time {
	var ts unix.Timespec
	if len(control) < unix.CmsgLen(int(unsafe.Sizeof(ts))) {
		return time.Time{}
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0])) // a block of its own is aligned
	if h.Level != unix.SOL_SOCKET || h.Type != unix.SCM_TIMESTAMPNS {
		return time.Time{}
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&ts)), unsafe.Sizeof(ts)), control[unix.CmsgLen(0):])
	return time.Unix(ts.Unix())
}
