//go:build !linux

package client

import "net"

// stamped has no stamps to turn on here: the time of reading has to do.
func stamped(conn *net.UDPConn) socket { return plainSocket{conn} }
