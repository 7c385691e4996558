package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"

	"mixdown/codec"
)

// Bounds on TCP connections for media. Strangers are those that have not said
// yet whose they are.
const (
	maxStrangers          = 256
	maxStrangersPerClient = 16
	strangerTimeout       = 5 * time.Second
	// maxFirstFrame is more than any check needs.
	maxFirstFrame = 512
	// maxSharePaths is how many connections one peer may have to one of our
	// addresses; browsers open one, and another when it breaks. The one not
	// heard from for the longest gives way.
	maxSharePaths = 4
)

// tcpMux takes media over TCP for all peers: passive candidates (RFC 6544),
// packets framed by their length (RFC 4571). It is for clients whose networks
// let no UDP out. The first frame of a connection, a STUN check, tells by its
// user fragment which peer it belongs to; whether it tells the truth, the
// peer's ICE agent finds out, which takes nothing from addresses that have not
// passed its check.
//
// pion has such a mux. There, a client that does not read blocks whoever writes,
// which here is a dispatcher that serves others; a candidate whose last
// connection breaks takes no other; and connections for peers that do not exist
// are kept for a while, any number of them.
type tcpMux struct {
	listeners []*tcpListener
	served    sync.WaitGroup // by listeners and connections
	forged    *atomic.Uint64
	patience  time.Duration // with strangers

	connections     atomic.Int64
	refused, unsent atomic.Uint64

	mu struct {
		sync.Mutex
		closed bool
		// shares are what peers listen on, by their user fragments.
		shares    map[string][]*tcpShare
		strangers map[*net.TCPConn]netip.Prefix
		perClient map[netip.Prefix]int
	}
}

// tcpListener is one socket, and the addresses at which it is offered.
type tcpListener struct {
	*net.TCPListener
	port  uint16
	hosts []netip.Addr
}

// newTCPMux counts in forged what isForged. The listeners that it is given are
// its own; nothing is accepted before run.
func newTCPMux(forged *atomic.Uint64) *tcpMux {
	m := &tcpMux{forged: forged, patience: strangerTimeout}
	m.mu.shares = make(map[string][]*tcpShare)
	m.mu.strangers = make(map[*net.TCPConn]netip.Prefix)
	m.mu.perClient = make(map[netip.Prefix]int)
	return m
}

// run accepts connections until Close.
func (m *tcpMux) run() {
	for _, l := range m.listeners {
		m.served.Go(func() { m.accept(l) })
	}
}

// Close ends everything and waits; twice is fine.
func (m *tcpMux) Close() error {
	m.mu.Lock()
	m.mu.closed = true
	var shares []*tcpShare
	for _, list := range m.mu.shares {
		shares = append(shares, list...)
	}
	for conn := range m.mu.strangers {
		_ = conn.Close() // nothing was written
	}
	m.mu.Unlock()
	var errs []error
	for _, l := range m.listeners {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	for _, s := range shares {
		_ = s.Close()
	}
	m.served.Wait()
	return errors.Join(errs...)
}

// acceptPause is how long a listener rests that has failed: the process has run
// out of files, say.
const acceptPause = 50 * time.Millisecond

func (m *tcpMux) accept(l *tcpListener) {
	for {
		conn, err := l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(acceptPause)
		case !m.admit(conn, remoteOf(conn).Addr()):
			m.refused.Add(1)
			_ = conn.Close() // nothing was written
		default:
			m.served.Go(func() { m.meet(conn) })
		}
	}
}

// admit counts one more stranger, or refuses.
func (m *tcpMux) admit(conn *net.TCPConn, addr netip.Addr) bool {
	from := household(addr)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed || len(m.mu.strangers) >= maxStrangers || m.mu.perClient[from] >= maxStrangersPerClient {
		return false
	}
	m.mu.strangers[conn] = from
	m.mu.perClient[from]++
	return true
}

// known is the opposite of admit. The caller holds mu.
func (m *tcpMux) known(conn *net.TCPConn) {
	from, ok := m.mu.strangers[conn]
	if !ok {
		return
	}
	delete(m.mu.strangers, conn)
	if m.mu.perClient[from]--; m.mu.perClient[from] <= 0 {
		delete(m.mu.perClient, from)
	}
}

// meet finds out whose a connection is, and serves it until its end.
func (m *tcpMux) meet(conn *net.TCPConn) {
	_ = conn.SetReadDeadline(time.Now().Add(m.patience)) // fails only if it is closed
	r := bufio.NewReaderSize(conn, tcpFrameHeader+maxTCPFrame)
	first, err := nextFrame(r, maxFirstFrame)
	path := (*tcpPath)(nil)
	if err == nil {
		path = m.bind(conn, r, checkedUfrag(first))
	}
	if path == nil {
		m.mu.Lock()
		m.known(conn)
		m.mu.Unlock()
		m.refused.Add(1)
		_ = conn.Close() // nothing was written
		return
	}
	m.connections.Add(1)
	defer m.connections.Add(-1)
	m.served.Go(path.write)
	path.read()
	path.share.drop(path)
}

// bind gives the connection to the peer of a user fragment; nil if there is none.
func (m *tcpMux) bind(conn *net.TCPConn, r *bufio.Reader, ufrag string) *tcpPath {
	local := localOf(conn)
	m.mu.Lock()
	defer m.mu.Unlock()
	var share *tcpShare
	for _, s := range m.mu.shares[ufrag] {
		// Clients may come by an address that is not offered: that of a tunnel, say.
		if s.local == local || share == nil && s.local.Addr().Is4() == local.Addr().Is4() {
			share = s
		}
	}
	if share == nil || m.mu.closed {
		return nil
	}
	m.known(conn)
	limitUnsent(conn)
	_ = conn.SetReadDeadline(time.Time{}) // fails only if it is closed
	path := &tcpPath{
		conn: conn, share: share, from: remoteOf(conn), reader: r,
		taken: make(chan struct{}, 1), wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	path.heard.Store(int64(codec.Now()))
	if !share.add(path) {
		return nil
	}
	return path
}

// checkedUfrag is the user fragment of ours that a check is for (RFC 8445 section
// 7.2.2), or "".
func checkedUfrag(b []byte) string {
	m := &stun.Message{Raw: b}
	if !stun.IsMessage(b) || m.Decode() != nil || m.Type != stun.BindingRequest {
		return ""
	}
	var name stun.Username
	if name.GetFrom(m) != nil {
		return ""
	}
	ours, _, _ := strings.Cut(name.String(), ":")
	return ours
}

func localOf(conn *net.TCPConn) netip.AddrPort  { return plainAddr(conn.LocalAddr()) }
func remoteOf(conn *net.TCPConn) netip.AddrPort { return plainAddr(conn.RemoteAddr()) }

// plainAddr is an address as maps have it: IPv4 is IPv4, without zones.
func plainAddr(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// tcpForPeer is the mux as one peer's ICE agent sees it. It implements
// ice.TCPMux and ice.AllConnsGetter.
type tcpForPeer struct {
	mux     *tcpMux
	policed *atomic.Uint64
}

// GetAllConns makes what the agent listens on at one of the machine's addresses:
// nothing, where none is offered.
func (t *tcpForPeer) GetAllConns(ufrag string, _ bool, local net.IP) ([]net.PacketConn, error) {
	host, ok := netip.AddrFromSlice(local)
	if !ok {
		return nil, fmt.Errorf("no address: %v", local)
	}
	host = host.Unmap()
	m := t.mux
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.closed {
		return nil, io.ErrClosedPipe
	}
	var conns []net.PacketConn
	for _, l := range m.listeners {
		at := netip.AddrPortFrom(host, l.port)
		offered := slices.Contains(l.hosts, host)
		if !offered || slices.ContainsFunc(m.mu.shares[ufrag], func(s *tcpShare) bool { return s.local == at }) {
			continue
		}
		s := &tcpShare{
			mux: m, ufrag: ufrag, local: at, policed: t.policed,
			in: make(chan tcpFrame), closed: make(chan struct{}),
		}
		s.mu.paths = make(map[netip.AddrPort]*tcpPath)
		m.mu.shares[ufrag] = append(m.mu.shares[ufrag], s)
		conns = append(conns, s)
	}
	return conns, nil
}

// GetConnByUfrag is not called: agents prefer GetAllConns.
func (t *tcpForPeer) GetConnByUfrag(ufrag string, is6 bool, local net.IP) (net.PacketConn, error) {
	conns, err := t.GetAllConns(ufrag, is6, local)
	if err == nil && len(conns) == 0 {
		err = errors.New("not offered at this address")
	}
	if err != nil {
		return nil, err
	}
	return conns[0], nil
}

// RemoveConnByUfrag closes what the agent listens on.
func (t *tcpForPeer) RemoveConnByUfrag(ufrag string) {
	t.mux.mu.Lock()
	shares := t.mux.mu.shares[ufrag]
	t.mux.mu.Unlock()
	for _, s := range slices.Clone(shares) {
		_ = s.Close()
	}
}

// Close does nothing: the mux is everybody's.
func (t *tcpForPeer) Close() error { return nil }

// forget takes a share out.
func (m *tcpMux) forget(s *tcpShare) {
	m.mu.Lock()
	defer m.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(m.mu.shares[s.ufrag]), func(o *tcpShare) bool { return o == s })
	if len(left) == 0 {
		delete(m.mu.shares, s.ufrag)
	} else {
		m.mu.shares[s.ufrag] = left
	}
}

// nextFrame returns the next frame (RFC 4571 section 2), valid until the next
// call or Discard; the frame stays in r until skipFrame.
func nextFrame(r *bufio.Reader, longest int) ([]byte, error) {
	header, err := r.Peek(tcpFrameHeader)
	if err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(header))
	if n > longest {
		return nil, fmt.Errorf("a frame of %d bytes", n)
	}
	b, err := r.Peek(tcpFrameHeader + n)
	if err != nil {
		return nil, err
	}
	return b[tcpFrameHeader:], nil
}

// skipFrame takes what nextFrame returned out of r.
func skipFrame(r *bufio.Reader, frame []byte) {
	_, _ = r.Discard(tcpFrameHeader + len(frame)) // it is in the buffer
}
