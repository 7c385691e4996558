package transport

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiveMessages are read in one system call at most. A client's picture is some
// packets that follow each other, and others come while the reader is at the last
// ones.
const receiveMessages = 8

// mmsghdr is recvmmsg's (recvmmsg(2)).
type mmsghdr struct {
	unix.Msghdr
	n uint32
}

// manyMessages reads several messages in one system call.
type manyMessages struct {
	conn     syscall.RawConn
	receive  func(fd uintptr) bool // made once, so that read allocates nothing
	err      error                 // of receive
	n        int                   // messages that were read
	headers  [receiveMessages]mmsghdr
	iovecs   [receiveMessages]unix.Iovec
	names    [receiveMessages]unix.RawSockaddrInet6 // the longer of the two kinds
	controls [receiveMessages][]byte
	buffers  [receiveMessages][]byte
}

// newManyMessages has the kernel put together what follows each other, where it
// knows how (UDP_GRO, Linux 5.0). nil: conn cannot be had in the raw.
func newManyMessages(conn *net.UDPConn) *manyMessages {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	m := &manyMessages{conn: raw}
	m.join(1)
	for i := range m.headers {
		m.controls[i], m.buffers[i] = make([]byte, unix.CmsgSpace(4)), make([]byte, maxDatagram)
		m.iovecs[i].Base = &m.buffers[i][0]
		m.iovecs[i].SetLen(maxDatagram)
		h := &m.headers[i].Msghdr
		h.Name, h.Iov, h.Control = (*byte)(unsafe.Pointer(&m.names[i])), &m.iovecs[i], &m.controls[i][0]
		h.SetIovlen(1)
	}
	m.receive = func(fd uintptr) bool {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&m.headers[0])), receiveMessages, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			m.n = int(n)
		case unix.EAGAIN:
			return false
		case unix.EINTR:
		default:
			m.err = os.NewSyscallError("recvmmsg", errno)
		}
		return true
	}
	return m
}

// join says whether (1) or not (0) the kernel may put datagrams together. Where it
// does not know how, it does not.
func (m *manyMessages) join(on int) {
	_ = m.conn.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, on) })
}

// read blocks until there is at least one message.
func (m *manyMessages) read() error {
	for m.n, m.err = 0, nil; m.n == 0; {
		for i := range m.headers {
			h := &m.headers[i].Msghdr // the kernel has written into it
			h.Namelen = unix.SizeofSockaddrInet6
			h.SetControllen(len(m.controls[i]))
		}
		if err := m.conn.Read(m.receive); err != nil {
			return err
		}
		if m.err != nil {
			return m.err
		}
	}
	return nil
}

// message returns one of those that were read, who has sent it, and how long each
// datagram in it is, which but for the last is above 0.
func (m *manyMessages) message(i int) (b []byte, from netip.AddrPort, size int) {
	b = m.buffers[i][:m.headers[i].n]
	size = len(b)
	// The only control message that was asked for. It is aligned: it begins a
	// block of its own.
	if h := (*unix.Cmsghdr)(unsafe.Pointer(&m.controls[i][0])); int(m.headers[i].Controllen) >= unix.CmsgLen(4) &&
		h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO {
		if n := int(int32(binary.NativeEndian.Uint32(m.controls[i][unix.CmsgLen(0):]))); n > 0 {
			size = n
		}
	}
	return b, socketAddr(&m.names[i]), size
}

func socketAddr(name *unix.RawSockaddrInet6) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&name.Port))[:]) // at one place in both kinds
	if name.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr), port)
	}
	addr := netip.AddrFrom16(name.Addr)
	if name.Scope_id != 0 {
		addr = addr.WithZone(strconv.FormatUint(uint64(name.Scope_id), 10))
	}
	return netip.AddrPortFrom(addr, port)
}

// shareAddress makes n sockets of one, which all have its address: the kernel
// spreads the clients over them (SO_REUSEPORT, socket(7)). conn is closed, having
// shown that the address was free; on an error too.
func shareAddress(conn *net.UDPConn, n int) (conns []*net.UDPConn, err error) {
	if n <= 1 {
		return []*net.UDPConn{conn}, nil
	}
	addr := conn.LocalAddr()
	if err := conn.Close(); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		if err != nil {
			return err
		}
		return os.NewSyscallError("setsockopt", failed)
	}}
	for range n {
		c, err := config.ListenPacket(context.Background(), "udp", addr.String())
		if err != nil {
			for _, c := range conns {
				_ = c.Close() // unused
			}
			return nil, err
		}
		conns = append(conns, setBuffers(c.(*net.UDPConn)))
	}
	return conns, nil
}
