//go:build !linux

package transport

import "net"

// unsentBytes is asked for as the whole of the send buffer.
const unsentBytes = 128 << 10

// boundUnsent keeps the kernel from holding megabytes of old pictures.
func boundUnsent(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(unsentBytes)
	}
}
