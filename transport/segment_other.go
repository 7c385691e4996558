//go:build !linux

package transport

import "net"

const dontWait = 0

// canSegment reports that trains cannot be sent here.
func canSegment(*net.UDPConn) bool { return false }

func newSegmentControl() []byte { return nil }

func setSegmentSize([]byte, int) {}
