//go:build !linux

package transport

import (
	"net"
	"net/netip"
)

// manyMessages is not to be had here.
type manyMessages struct{ n int }

func newManyMessages(*net.UDPConn) *manyMessages { return nil }

func (*manyMessages) read() error { return nil }

func (*manyMessages) join(int) {}

func (*manyMessages) message(int) ([]byte, netip.AddrPort, int) { return nil, netip.AddrPort{}, 0 }

// shareAddress makes no more sockets here.
func shareAddress(conn *net.UDPConn, _ int) ([]*net.UDPConn, error) { return []*net.UDPConn{conn}, nil }
