package transport

import (
	"net"

	"golang.org/x/sys/unix"
)

// maxUnsent is what the kernel takes of a connection before it is on its way:
// the delay of 4 MB, which it would take otherwise, no conference bears.
const maxUnsent = 16 << 10

// limitUnsent keeps the kernel's queue short (TCP_NOTSENT_LOWAT, Linux 3.12).
func limitUnsent(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return // it is closed
	}
	_ = raw.Control(func(fd uintptr) {
		// Without, there is only more delay on poor paths.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	})
}
