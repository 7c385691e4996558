package transport

import (
	"net"
	"net/netip"
	"sync/atomic"
)

// mediaSocket is a UDP socket that drops forged DTLS records as they come.
//
// Records of epoch 0 are neither encrypted nor authentic. Of those, only
// handshake messages and the change of the cipher are of use; but a
// close_notify in plain text, or data, makes the DTLS stack close an established
// connection. Everybody who can forge a source address could so throw out any
// client whose address and port he knows. RFC 6347 section 4.1.2.7 would have
// such records dropped in silence. What is lost with them is the alert that
// says why a handshake has failed: the peer then ends by its ConnectTimeout.
//
// What dispatchers send in one turn goes out together, see sendBatch.
type mediaSocket struct {
	*net.UDPConn
	forged *atomic.Uint64
	batch  *sendBatch
}

// ReadFromAddrPort implements ice.AddrPortReaderWriter, which spares the mux an
// allocation per packet.
func (s *mediaSocket) ReadFromAddrPort(b []byte) (n int, from netip.AddrPort, err error) {
	for {
		n, from, err = s.ReadFromUDPAddrPort(b)
		if err != nil || !isForged(b[:n]) {
			return n, from, err
		}
		s.forged.Add(1)
	}
}

// WriteToAddrPort implements ice.AddrPortReaderWriter. Media that is written
// while a dispatcher has its turn waits for the end of that.
func (s *mediaSocket) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	// RFC 7983 section 7: SRTP and SRTCP, which only dispatchers send.
	if len(b) > 0 && b[0]>>6 == 2 && s.batch.write(b, to) {
		return len(b), nil
	}
	return s.WriteToUDPAddrPort(b, to)
}

// Of a DTLS record (RFC 6347 section 4.1): content types, and the length of
// what stands before the content.
const (
	recordAlert  = 21
	recordData   = 23
	recordHeader = 13 // type, version (2), epoch (2), sequence number (6), length (2)
)

// isForged reports whether a datagram holds a DTLS record that nobody sends
// who means well: an alert or data in plain text.
func isForged(b []byte) bool {
	// RFC 7983 section 7: the first byte tells DTLS from STUN, TURN and SRTP.
	for len(b) >= recordHeader && b[0] >= 20 && b[0] <= 63 {
		plain := b[3] == 0 && b[4] == 0
		if plain && (b[0] == recordAlert || b[0] == recordData) {
			return true
		}
		b = b[min(recordHeader+int(b[11])<<8+int(b[12]), len(b)):]
	}
	return false
}
