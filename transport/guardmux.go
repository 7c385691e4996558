package transport

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/pion/ice/v4"
)

// guardMux is the engine's mux as one peer sees it: RTCP from too many senders
// is left out.
//
// The SRTP session keeps a replay window for each SSRC that has ever sent RTCP,
// 200 bytes, and forgets none. A client that made up a new one for each
// report grew the server by 18 MB a second (measured), and no handler of ours
// ever saw it, since a report about nobody goes to no stream.
type guardMux struct {
	ice.UDPMux
	policed *atomic.Uint64
}

// addrPortConn is what the mux hands out: addresses without allocations.
type addrPortConn interface {
	net.PacketConn
	ice.AddrPortReaderWriter
}

// GetConn implements ice.UDPMux.
func (m *guardMux) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	conn, err := m.UDPMux.GetConn(ufrag, addr)
	if err != nil {
		return nil, err
	}
	fast, ok := conn.(addrPortConn)
	if !ok {
		return nil, errors.Join(errors.New("the mux's connections have no AddrPort methods"), conn.Close())
	}
	return &guardedConn{addrPortConn: fast, policed: m.policed}, nil
}

// guardedConn is one peer's share of one socket. One goroutine reads from it.
type guardedConn struct {
	addrPortConn
	senders rtcpSenders
	policed *atomic.Uint64
}

// ReadFromAddrPort implements ice.AddrPortReaderWriter.
func (c *guardedConn) ReadFromAddrPort(b []byte) (n int, from netip.AddrPort, err error) {
	for {
		n, from, err = c.addrPortConn.ReadFromAddrPort(b)
		if err != nil || c.senders.admit(b[:n]) {
			return n, from, err
		}
		c.policed.Add(1)
	}
}

// WriteToAddrPort implements ice.AddrPortReaderWriter. What comes too late for the
// ICE session that it belongs to is lost, and no error: see tcpShare.
func (c *guardedConn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	n, err := c.addrPortConn.WriteToAddrPort(b, to)
	if errors.Is(err, io.ErrClosedPipe) {
		return len(b), nil
	}
	return n, err
}

// rtcpSenders are the SSRCs that have sent RTCP so far: at most maxStreams,
// later ones are refused. They are looked at before they are authentic, so
// somebody who forges the client's address could use them up; then the client's
// new streams lack reports, and those that it has already go on.
type rtcpSenders struct {
	known [maxStreams]uint32
	n     int
}

// admit reports whether a datagram may pass: it is no SRTCP, or its sender,
// which is not encrypted (RFC 3711 section 3.4), is one of the first.
func (s *rtcpSenders) admit(b []byte) bool {
	// RFC 5761 section 4 tells RTCP from RTP.
	if len(b) < 8 || b[0]>>6 != 2 || b[1] < 192 || b[1] > 223 {
		return true
	}
	ssrc := binary.BigEndian.Uint32(b[4:])
	for _, k := range s.known[:s.n] {
		if k == ssrc {
			return true
		}
	}
	if s.n == len(s.known) {
		return false
	}
	s.known[s.n] = ssrc
	s.n++
	return true
}
