package transport

import (
	"errors"
	"net"
	"net/netip"
	"sync"
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
// What dispatchers send in one turn goes out together, see sendBatch, and what has
// come is read together, see receiveBatch.
type mediaSocket struct {
	*net.UDPConn
	forged *atomic.Uint64
	batch  *sendBatch

	read *receiveBatch // what the mux reads now; nil before the first
	// With several sockets at the address each has a reader, which hands what it
	// has read to the mux over full and waits for one that was emptied. Bound:
	// two for each socket, one of them being read into; nothing is dropped here.
	shared  []*net.UDPConn // but for the first
	full    chan *receiveBatch
	ended   chan struct{} // closed by Close
	readers sync.WaitGroup
	ending  sync.Once
}

// newMediaSocket takes sockets of one address over; media leave by the first.
// unsent counts what they refuse.
func newMediaSocket(conns []*net.UDPConn, forged, unsent *atomic.Uint64) *mediaSocket {
	return &mediaSocket{
		UDPConn: conns[0], shared: conns[1:], forged: forged, batch: newSendBatch(conns[0], unsent), ended: make(chan struct{}),
	}
}

// conns are all sockets of the address.
func (s *mediaSocket) conns() []*net.UDPConn { return append([]*net.UDPConn{s.UDPConn}, s.shared...) }

// run starts the readers, where one is not enough. They end with Close.
func (s *mediaSocket) run() {
	if len(s.shared) == 0 {
		return
	}
	s.full = make(chan *receiveBatch)
	for _, c := range s.conns() {
		batches := [2]*receiveBatch{newReceiveBatch(c), newReceiveBatch(c)}
		batches[0].emptied = make(chan struct{}, 1)
		batches[1].emptied = make(chan struct{}, 1)
		s.readers.Go(func() { s.serve(batches) })
	}
}

// serve reads from one socket until Close.
func (s *mediaSocket) serve(batches [2]*receiveBatch) {
	for i := range batches {
		batches[i].emptied <- struct{}{}
	}
	for i := 0; ; i = 1 - i {
		r := batches[i]
		select {
		case <-r.emptied:
		case <-s.ended:
			return
		}
		if r.fill() != nil {
			return // it was closed
		}
		select {
		case s.full <- r:
		case <-s.ended:
			return
		}
	}
}

// Close closes the sockets and waits for their readers. Twice is fine.
func (s *mediaSocket) Close() error {
	var err error
	s.ending.Do(func() {
		close(s.ended)
		for _, c := range s.conns() {
			err = errors.Join(err, c.Close())
		}
	})
	s.readers.Wait()
	return err
}

// refill blocks until there is more to read.
func (s *mediaSocket) refill() error {
	if s.full == nil {
		if s.read == nil {
			s.read = newReceiveBatch(s.UDPConn)
		}
		return s.read.fill()
	}
	if s.read != nil {
		s.read.emptied <- struct{}{}
		s.read = nil
	}
	select {
	case s.read = <-s.full:
		return nil
	case <-s.ended:
		return net.ErrClosed
	}
}

// ReadFromAddrPort implements ice.AddrPortReaderWriter, which spares the mux an
// allocation per packet. One goroutine calls it.
func (s *mediaSocket) ReadFromAddrPort(b []byte) (n int, from netip.AddrPort, err error) {
	for {
		if s.read != nil {
			for datagram, from, ok := s.read.next(); ok; datagram, from, ok = s.read.next() {
				if isForged(datagram) {
					s.forged.Add(1)
					continue
				}
				return copy(b, datagram), from, nil
			}
		}
		if err := s.refill(); err != nil {
			return 0, netip.AddrPort{}, err
		}
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
