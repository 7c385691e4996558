package transport

import (
	"encoding/binary"
	"io"
	"net/netip"
	"testing"
)

func TestRTCPSendersAreBounded(t *testing.T) {
	var s rtcpSenders
	report := func(ssrc uint32) []byte {
		return binary.BigEndian.AppendUint32([]byte{0x80, 201, 0, 1}, ssrc)
	}
	for i := range uint32(maxStreams) {
		if !s.admit(report(i)) {
			t.Fatalf("sender %d is refused", i)
		}
	}
	for i := range uint32(1000) {
		if s.admit(report(maxStreams + i)) {
			t.Fatalf("sender %d passes", maxStreams+i)
		}
	}
	for i := range uint32(maxStreams) {
		if !s.admit(report(i)) {
			t.Errorf("sender %d is refused later", i)
		}
	}
	for name, b := range map[string][]byte{
		"RTP":       append([]byte{0x80, 96, 0, 1}, make([]byte, 20)...),
		"marked":    append([]byte{0x80, 0x80 | 111, 0, 1}, make([]byte, 20)...),
		"STUN":      append([]byte{0, 1, 0, 0}, make([]byte, 16)...),
		"DTLS":      record(recordData, 1, 1),
		"too short": {0x80, 201, 0, 1},
		"empty":     nil,
	} {
		if !s.admit(b) {
			t.Errorf("%s is refused", name)
		}
	}
	packet := report(maxStreams - 1)
	if n := testing.AllocsPerRun(100, func() { s.admit(packet) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// closedConn is what is left of a path of an ICE session that is over.
type closedConn struct{ addrPortConn }

func (closedConn) WriteToAddrPort([]byte, netip.AddrPort) (int, error) { return 0, io.ErrClosedPipe }

// TestWritesToOldPathsAreLost: of such an error the DTLS stack would end the
// connection, in the middle of an ICE restart.
func TestWritesToOldPathsAreLost(t *testing.T) {
	c := &guardedConn{addrPortConn: closedConn{}}
	if n, err := c.WriteToAddrPort([]byte("late"), netip.AddrPort{}); n != 4 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
