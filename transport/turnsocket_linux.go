package transport

import (
	"net"

	"golang.org/x/sys/unix"
)

// unsentBytes is what a stream may hold that has not left: what waits longer in
// front of it is counted, and dropped when it is old. A tenth of a second at 2.5 Mb/s.
const unsentBytes = 32 << 10

// boundUnsent keeps the kernel from holding megabytes of old pictures, as it
// does for those who want throughput (tcp(7), TCP_NOTSENT_LOWAT).
func boundUnsent(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes)
	})
}
