package transport

import (
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of sock_diag(7): SO_MEMINFO fills an array of 32 bit words, of which the
// ninth counts the datagrams that found the receive buffer full.
const (
	memInfoWords = 9
	memInfoDrops = 8
)

// socketDropped returns how many datagrams the kernel has thrown away for want
// of room, or 0 when it does not tell.
func socketDropped(c *net.UDPConn) uint64 {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	var words [memInfoWords]uint32
	size := uint32(unsafe.Sizeof(words))
	told := false
	err = raw.Control(func(fd uintptr) {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&words)), uintptr(unsafe.Pointer(&size)), 0)
		told = errno == 0
	})
	if err != nil || !told {
		return 0
	}
	return uint64(words[memInfoDrops])
}
