package client

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v4/packetio"

	"mixdown/codec"
)

// maxDatagram is more than any path carries.
const maxDatagram = 2048

// socket is what a link needs of one.
type socket interface {
	// read waits for a datagram; at is when it came, on the process's clock.
	read(b []byte) (n int, from netip.AddrPort, at time.Duration, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (n int, err error)
	LocalAddr() net.Addr
	Close() error
}

// plainSocket is a socket of the system's that tells no more than it must.
type plainSocket struct{ *net.UDPConn }

func (s plainSocket) read(b []byte) (int, netip.AddrPort, time.Duration, error) {
	n, from, err := s.ReadFromUDPAddrPort(b)
	return n, from, codec.Now(), err
}

// packetSocket makes a socket of whatever moves datagrams between UDP addresses.
type packetSocket struct{ net.PacketConn }

func (s packetSocket) read(b []byte) (int, netip.AddrPort, time.Duration, error) {
	n, from, err := s.ReadFrom(b)
	at := codec.Now()
	udp, ok := from.(*net.UDPAddr)
	if !ok {
		return n, netip.AddrPort{}, at, err
	}
	return n, udp.AddrPort(), at, err
}

func (s packetSocket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return s.WriteTo(b, net.UDPAddrFromAddrPort(to))
}

// socketOf returns the socket that all media take.
func socketOf(conn net.PacketConn) (socket, error) {
	switch conn := conn.(type) {
	case nil:
		udp, err := net.ListenUDP("udp", nil)
		if err != nil {
			return nil, err
		}
		return stamped(udp), nil
	case *net.UDPConn:
		return stamped(conn), nil
	}
	if _, ok := conn.LocalAddr().(*net.UDPAddr); !ok {
		return nil, fmt.Errorf("Conn is bound to %v: want a UDP socket", conn.LocalAddr())
	}
	return packetSocket{conn}, nil
}

// link is the connection to the server, from the socket to SRTP: ICE (see
// ice.go) finds the path, DTLS (see dtls.go) gives the keys. One goroutine reads
// the socket and calls onRTP and onRTCP; whoever sends, encrypts and writes in
// the same call. There is no queue in it.
type link struct {
	sock    socket
	ice     atomic.Pointer[ice] // the present session
	records *packetio.Buffer    // DTLS records that came, for the handshake and the goodbye
	onRTP   func(h *rtp.Header, payload []byte, size int, now time.Duration)
	onRTCP  func(packets []rtcp.Packet, now time.Duration)

	in      atomic.Pointer[srtp.Context] // the reader's; nil before the keys are known
	plain   []byte                       // the reader's scratch
	header  rtp.Header                   // the reader's scratch
	closing atomic.Bool
	// undecryptable counts packets that the keys do not fit.
	undecryptable atomic.Uint64

	out struct {
		sync.Mutex
		srtp *srtp.Context
		buf  []byte
	}
}

// init is called once, before anything else but setting sock and the callbacks.
func (l *link) init() {
	l.records, l.plain = packetio.NewBuffer(), make([]byte, maxDatagram)
	l.ice.Store(newICE())
}

// errNoKeys says that it is too early to send.
var errNoKeys = errors.New("no keys yet")

// read hands out what comes until the socket is closed.
func (l *link) read() error {
	buf := make([]byte, maxDatagram)
	failed := 0
	for {
		n, from, at, err := l.sock.read(buf)
		if l.closing.Load() {
			return nil
		}
		if err != nil {
			// An answer of ICMP to what was sent, say: what counts is whether it goes on.
			if failed++; failed > 100 {
				return err
			}
			continue
		}
		failed = 0
		l.take(buf[:n], from, at)
	}
}

// take handles one datagram (RFC 7983 tells the protocols apart). It allocates
// nothing for sound.
func (l *link) take(b []byte, from netip.AddrPort, now time.Duration) {
	switch {
	case len(b) < 2:
	case b[0] < 4:
		l.takeSTUN(b, from, now)
	case b[0] >= 20 && b[0] < 64:
		_, _ = l.records.Write(b) // when it is full, DTLS repeats it
	case b[0] >= 128 && b[0] < 192:
		in := l.in.Load()
		switch {
		case in == nil: // too early: there are no keys yet
		case b[1] >= 192 && b[1] < 224:
			l.takeRTCP(in, b, now)
		default:
			l.takeRTP(in, b, now)
		}
	}
}

func (l *link) takeRTP(in *srtp.Context, b []byte, now time.Duration) {
	plain, err := in.DecryptRTP(l.plain, b, &l.header)
	if err != nil {
		l.undecryptable.Add(1)
		return
	}
	if payload, ok := payloadOf(&l.header, plain); ok {
		l.onRTP(&l.header, payload, len(plain), now)
	}
}

// payloadOf is what is behind a packet's header, without its padding (RFC 3550
// section 5.1).
func payloadOf(h *rtp.Header, packet []byte) (payload []byte, ok bool) {
	start, err := h.Unmarshal(packet)
	if err != nil {
		return nil, false
	}
	payload = packet[start:]
	if !h.Padding {
		return payload, true
	}
	if len(payload) == 0 || int(payload[len(payload)-1]) > len(payload) {
		return nil, false
	}
	return payload[:len(payload)-int(payload[len(payload)-1])], true
}

func (l *link) takeRTCP(in *srtp.Context, b []byte, now time.Duration) {
	plain, err := in.DecryptRTCP(nil, b, nil)
	if err != nil {
		l.undecryptable.Add(1)
		return
	}
	if packets, err := rtcp.Unmarshal(plain); err == nil {
		l.onRTCP(packets, now)
	}
}

// writeRTP encrypts and sends one whole packet, which it only reads. It returns
// how many bytes went out.
func (l *link) writeRTP(packet []byte) (int, error) {
	l.out.Lock()
	defer l.out.Unlock()
	if l.out.srtp == nil {
		return 0, errNoKeys
	}
	b, err := l.out.srtp.EncryptRTP(l.out.buf, packet, nil)
	if err != nil {
		return 0, err
	}
	return l.write(b)
}

// writeRTCP encrypts and sends a compound packet. What cannot be sent, while the
// connection closes, is not missed.
func (l *link) writeRTCP(packets ...rtcp.Packet) {
	if raw, err := rtcp.Marshal(packets); err == nil {
		l.sendRTCP(raw)
	}
}

// sendRTCP is writeRTCP of a packet that is made already, which it only reads.
func (l *link) sendRTCP(raw []byte) {
	l.out.Lock()
	defer l.out.Unlock()
	if l.out.srtp == nil {
		return
	}
	if b, err := l.out.srtp.EncryptRTCP(l.out.buf, raw, nil); err == nil {
		_, _ = l.write(b)
	}
}

// write sends a datagram to the server.
func (l *link) write(b []byte) (int, error) {
	to := l.ice.Load().selected.Load()
	if to == nil {
		return 0, errNoKeys
	}
	return l.sock.WriteToUDPAddrPort(b, *to)
}

// close ends read and the handshake.
func (l *link) close() error {
	l.closing.Store(true)
	err := l.sock.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, l.records.Close())
}
