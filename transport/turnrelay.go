package transport

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"mixdown/codec"
)

// turnRelay is an allocation: the socket from which a client's packets go to the
// media sockets, and from nowhere else to nowhere else.
//
// It has an address of the media sockets, and what it is told to be it is: bound
// to loopback, which nobody else reaches, it made Chromium see a path that it
// had not asked for, and other clients may refuse such an address. Its packets
// stay on this machine all the same, and what comes from elsewhere is dropped.
//
// Queue: the socket's receive buffer, relayBytes. When the client's stream is
// slower than what is sent to it, the kernel drops, and counts.
type turnRelay struct {
	*net.UDPConn
	port     *turnPort
	client   netip.AddrPort
	username string
	name     string // in it
	made     time.Duration
	useful   atomic.Int64 // when a media socket sent something last, on the process's clock
	once     sync.Once

	up, down turnBucket // of the goroutines that write and read

	mu struct {
		sync.Mutex
		// permitted are the addresses that the client may send to; turnTargets bounds them.
		permitted map[netip.Addr]struct{}
		// known says by which address the client knows a media socket, where
		// that is not the socket's own. Bound: the media sockets.
		known map[netip.AddrPort]netip.AddrPort
	}
}

const (
	// relayBytes is a tenth of a second at 10 Mb/s, and 1 s of pictures at 1 Mb/s:
	// old pictures are of no use, but a key frame must fit.
	relayBytes = 128 << 10
	// lastNewPeer is the age after which an allocation may not be used towards
	// further addresses.
	//
	// pion stops the timer of a permission at the allocation's end, and sets it a
	// moment after the permission can be found. An allocation that ended in
	// between would take the process down. It ends by its own timer, not before
	// minLifetime, or where its client's messages are handled, which is no danger.
	lastNewPeer = (minLifetime - 60) * time.Second
)

// newTURNRelay makes one; the quota was taken.
func newTURNRelay(p *turnPort, client netip.AddrPort, username, name string, at netip.Addr) (*turnRelay, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(relayBytes) // larger ones are only later
	r := &turnRelay{UDPConn: conn, port: p, client: client, username: username, name: name, made: codec.Now()}
	r.useful.Store(int64(r.made))
	r.mu.permitted = make(map[netip.Addr]struct{})
	r.mu.known = make(map[netip.AddrPort]netip.AddrPort)
	return r, nil
}

// permit reports whether packets may go to an address of ours.
func (r *turnRelay) permit(peer netip.Addr, now time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.mu.permitted[peer]; ok {
		return true
	}
	if now-r.made > lastNewPeer || !r.port.turn.targets.has(peer) {
		return false
	}
	r.mu.permitted[peer] = struct{}{}
	return true
}

// spent says that the allocation may not be prolonged: no media socket has
// answered for long, so it belongs to no session, or it is too old.
func (r *turnRelay) spent(now time.Duration) bool {
	cfg := &r.port.turn.cfg
	return now-time.Duration(r.useful.Load()) > cfg.IdleTimeout || now-r.made > cfg.MaxAge
}

// ReadFrom gives what media sockets send. An error says that the relay was closed.
func (r *turnRelay) ReadFrom(b []byte) (int, net.Addr, error) {
	cfg, counts := &r.port.turn.cfg, &r.port.turn.counts
	for {
		n, from, err := r.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return 0, nil, err
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if err != nil || !r.port.turn.targets.is(from) {
			continue
		}
		now := codec.Now()
		r.useful.Store(int64(now))
		if !r.down.take(float64(n), float64(cfg.MaxBps)/8, float64(cfg.MaxBps)/32, now) {
			counts.refuse(refusedRate)
			continue
		}
		counts.toClients.Add(uint64(n))
		r.mu.Lock()
		if known, ok := r.mu.known[from]; ok {
			from = known
		}
		r.mu.Unlock()
		return n, net.UDPAddrFromAddrPort(from), nil
	}
}

// WriteTo sends to a media socket; what is for anybody else is dropped and
// counted, and so is what is too much. pion checked that there is a permission
// for the address; it does not look at ports.
func (r *turnRelay) WriteTo(b []byte, to net.Addr) (int, error) {
	cfg, counts := &r.port.turn.cfg, &r.port.turn.counts
	peer := addrPortOf(to)
	socket, ok := r.port.turn.targets.socket(peer)
	if !ok {
		counts.refuse(refusedPort)
		return len(b), nil
	}
	if !r.up.take(float64(len(b)), float64(cfg.MaxBps)/8, float64(cfg.MaxBps)/32, codec.Now()) {
		counts.refuse(refusedRate)
		return len(b), nil
	}
	if socket != peer {
		r.mu.Lock()
		r.mu.known[socket] = peer
		r.mu.Unlock()
	}
	if _, err := r.WriteToUDPAddrPort(b, socket); err != nil {
		return len(b), nil // as on any network
	}
	counts.toMedia.Add(uint64(len(b)))
	return len(b), nil
}

// Close ends it; pion calls it at the allocation's end, in one of several ways.
func (r *turnRelay) Close() error {
	r.once.Do(func() {
		r.port.forget(r)
		_ = r.UDPConn.Close() // what is under way in it does not matter
		r.port.turn.allocations.give(r.client.Addr(), r.name)
		r.port.turn.live.Done()
	})
	return nil
}

// turnTargets are the media sockets: by the addresses that clients are told,
// where each is.
type turnTargets struct {
	sockets map[netip.AddrPort]netip.AddrPort // key and value may be the same
	own     map[netip.AddrPort]struct{}       // the values
	addrs   map[netip.Addr]struct{}           // of the keys
	ports   map[uint16]struct{}               // of the keys
	// relay4 and relay6 are the address of relays: that of the first media
	// socket of the family, which is the most reachable. Zero is none.
	relay4, relay6 netip.Addr
}

func newTURNTargets(e *Engine) *turnTargets {
	t := &turnTargets{
		sockets: make(map[netip.AddrPort]netip.AddrPort), own: make(map[netip.AddrPort]struct{}), addrs: make(map[netip.Addr]struct{}),
		ports: make(map[uint16]struct{}),
	}
	for _, socket := range e.Addrs() {
		t.add(socket, socket)
	}
	for _, public := range e.cfg.PublicAddresses { // see arrangeCandidates
		for _, socket := range e.Addrs() {
			told := netip.AddrPortFrom(public.Unmap(), socket.Port())
			if _, known := t.sockets[told]; !known && told.Addr().Is4() == socket.Addr().Unmap().Is4() {
				t.add(told, socket)
			}
		}
	}
	return t
}

// add makes a socket known by an address that clients are told.
func (t *turnTargets) add(told, socket netip.AddrPort) {
	told = netip.AddrPortFrom(told.Addr().Unmap().WithZone(""), told.Port())
	socket = netip.AddrPortFrom(socket.Addr().Unmap(), socket.Port())
	t.sockets[told], t.own[socket], t.addrs[told.Addr()], t.ports[told.Port()] = socket, struct{}{}, struct{}{}, struct{}{}
	relay := &t.relay4
	if socket.Addr().Is6() {
		relay = &t.relay6
	}
	if !relay.IsValid() {
		*relay = socket.Addr()
	}
}

// socket returns where a media socket is that is known by an address.
func (t *turnTargets) socket(told netip.AddrPort) (netip.AddrPort, bool) {
	s, ok := t.sockets[told]
	return s, ok
}

// is reports whether a packet came from a media socket.
func (t *turnTargets) is(from netip.AddrPort) bool {
	_, ok := t.own[from]
	return ok
}

// has reports whether media sockets are known by an address.
func (t *turnTargets) has(a netip.Addr) bool {
	_, ok := t.addrs[a]
	return ok
}

// hasPort reports whether a media socket has a port.
func (t *turnTargets) hasPort(port uint16) bool {
	_, ok := t.ports[port]
	return ok
}

// relay is the address of relays; invalid when no media socket
// could be reached over that family.
func (t *turnTargets) relay(v6 bool) netip.Addr {
	if v6 {
		return t.relay6
	}
	return t.relay4
}

// addrPortOf returns an address of pion's as ours; invalid for other kinds.
func addrPortOf(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
