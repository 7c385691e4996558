//go:build !linux

package transport

import "net"

// limitUnsent keeps what waits in the kernel short where it cannot be told what
// is on its way.
func limitUnsent(conn *net.TCPConn) { _ = conn.SetWriteBuffer(64 << 10) }
