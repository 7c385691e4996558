package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/pion/turn/v5"

	"mixdown/codec"
)

// turnPort is one socket on which TURN is spoken, with a server of pion's.
type turnPort struct {
	turn     *TURN
	udp      *net.UDPConn  // nil: listener
	listener *turnListener // nil: udp
	server   *turn.Server  // TURN.Run's

	greetings greetings // the UDP reader's

	mu struct {
		sync.RWMutex
		// relays and streams by client; the quotas bound them.
		relays  map[netip.AddrPort]*turnRelay
		streams map[netip.AddrPort]*turnStream
		dropped uint64 // by the sockets of relays that are gone
	}
}

func newTURNPort(t *TURN) *turnPort {
	p := &turnPort{turn: t, greetings: greetings{seed: maphash.MakeSeed()}}
	p.mu.relays = make(map[netip.AddrPort]*turnRelay)
	p.mu.streams = make(map[netip.AddrPort]*turnStream)
	return p
}

// start has pion serve.
func (p *turnPort) start() error {
	cfg := turn.ServerConfig{
		LoggerFactory: pionLog{p.turn.cfg.Log},
		Realm:         p.turn.cfg.Realm,
		AuthHandler:   p.authenticate,
		QuotaHandler:  p.mayAllocate,
		EventHandler: turn.EventHandler{OnAuth: func(_, _ net.Addr, _, _, _, _ string, ok bool) {
			if !ok {
				p.turn.counts.refuse(refusedForged)
			}
		}},
		// Only media sockets are ever permitted, so there is no use in asking again.
		PermissionTimeout: p.turn.cfg.MaxAge + time.Hour,
		// What a client gets that asks for nothing else.
		AllocationLifetime: minLifetime * time.Second,
	}
	if p.udp != nil {
		cfg.PacketConnConfigs = []turn.PacketConnConfig{{
			PacketConn: turnUDP{p.udp, p}, RelayAddressGenerator: turnAllocator{p}, PermissionHandler: p.permit,
		}}
	} else {
		cfg.ListenerConfigs = []turn.ListenerConfig{{
			Listener: p.listener, RelayAddressGenerator: turnAllocator{p}, PermissionHandler: p.permit,
		}}
	}
	var err error
	p.server, err = turn.NewServer(cfg)
	return err
}

// close closes the socket and all streams; allocations follow.
func (p *turnPort) close() {
	if p.udp != nil {
		_ = p.udp.Close() // answers that are lost do not matter
	} else {
		_ = p.listener.Close()
	}
	for _, s := range p.openStreams() {
		_ = s.Close()
	}
}

func (p *turnPort) openStreams() []*turnStream {
	p.mu.RLock()
	defer p.mu.RUnlock()
	list := make([]*turnStream, 0, len(p.mu.streams))
	for _, s := range p.mu.streams {
		list = append(list, s)
	}
	return list
}

// sweep closes streams whose allocations are spent. Allocations over UDP then
// cannot be prolonged, see authenticate.
func (p *turnPort) sweep(now time.Duration) {
	for _, s := range p.openStreams() {
		if r := p.relay(s.client); r != nil && r.spent(now) {
			p.turn.counts.refuse(refusedIdle)
			_ = s.Close()
		}
	}
}

// relay returns a client's allocation, or nil.
func (p *turnPort) relay(client netip.AddrPort) *turnRelay {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.mu.relays[client]
}

func (p *turnPort) forget(r *turnRelay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.dropped += socketDropped(r.UDPConn)
	if p.mu.relays[r.client] != r {
		return // the client has made a new one already
	}
	delete(p.mu.relays, r.client)
	if s := p.mu.streams[r.client]; s != nil {
		s.inUse(false)
	}
}

func (p *turnPort) forgetStream(s *turnStream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.streams[s.client] == s {
		delete(p.mu.streams, s.client)
	}
}

// admitStream makes a stream of a connection, or returns nil.
func (p *turnPort) admitStream(conn net.Conn, cfg *tls.Config) *turnStream {
	s := &turnStream{Conn: conn, port: p, client: addrPortOf(conn.RemoteAddr())}
	if why, ok := p.turn.streams.take(s.client.Addr(), ""); !ok {
		p.turn.counts.refuse(why)
		return nil
	}
	if !p.turn.enter() {
		p.turn.streams.give(s.client.Addr(), "")
		return nil
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		limitUnsent(tcp) // what waits longer waits where it is dropped and counted
	}
	if cfg != nil {
		encrypted := tls.Server(conn, cfg)
		s.Conn, s.handshake = encrypted, encrypted.HandshakeContext
	}
	s.inUse(false)
	p.mu.Lock()
	p.mu.streams[s.client] = s
	p.mu.Unlock()
	if p.turn.closing() { // it may have missed this one
		_ = s.Close()
	}
	return s
}

// The name that pion knows an allocation by: all there is to know of its client.
func userID(username string, client netip.AddrPort) string { return username + " " + client.String() }

func parseUserID(id string) (username, name string, client netip.AddrPort, err error) {
	username, addr, _ := strings.Cut(id, " ")
	_, name, _ = strings.Cut(username, ":")
	client, err = netip.ParseAddrPort(addr)
	return username, name, client, err
}

// authenticate is turn.AuthHandler: it gives the key that the message must be
// signed with.
func (p *turnPort) authenticate(a *turn.RequestAttributes) (id string, key []byte, ok bool) {
	return p.keyFor(a, time.Now())
}

// keyFor takes a credential for new allocations until it ends, and for one that
// it has opened for as long as that is of use to somebody.
func (p *turnPort) keyFor(a *turn.RequestAttributes, now time.Time) (id string, key []byte, ok bool) {
	t, client := p.turn, addrPortOf(a.SrcAddr)
	ends, _, ok := parseTURNUsername(a.Username)
	if !ok || a.Realm != t.cfg.Realm {
		t.counts.refuse(refusedForged)
		return "", nil, false
	}
	switch r := p.relay(client); {
	case r != nil && r.username == a.Username:
		if a.Method == methodRefresh && r.spent(codec.Now()) {
			t.counts.refuse(refusedIdle)
			return "", nil, false
		}
	default:
		left := ends.Sub(now)
		if left <= 0 || left > TURNCredentialLife+turnClockSkew {
			t.counts.refuse(refusedExpired)
			return "", nil, false
		}
	}
	return userID(a.Username, client), turn.GenerateAuthKey(a.Username, a.Realm, t.cfg.Secret.password(a.Username)), true
}

// mayAllocate is turn.QuotaHandler; turnAllocator has the last word.
func (p *turnPort) mayAllocate(id, _ string, _ net.Addr) bool {
	_, name, client, err := parseUserID(id)
	if err != nil {
		return false
	}
	why, full := p.turn.allocations.full(client.Addr(), name)
	if full {
		p.turn.counts.refuse(why)
	}
	return !full
}

// permit is turn.PermissionHandler.
func (p *turnPort) permit(client net.Addr, peer net.IP) bool {
	addr, _ := netip.AddrFromSlice(peer)
	r := p.relay(addrPortOf(client))
	if r == nil || !r.permit(addr.Unmap(), codec.Now()) {
		p.turn.counts.refuse(refusedPeer)
		return false
	}
	return true
}

// turnAllocator makes relays; it implements turn.RelayAddressGenerator.
type turnAllocator struct{ port *turnPort }

var (
	errNoTCPRelay  = errors.New("relaying over TCP (RFC 6062) is not done here")
	errNoSuchRelay = errors.New("no relay")
)

// Validate implements turn.RelayAddressGenerator.
func (turnAllocator) Validate() error { return nil }

// AllocateListener implements turn.RelayAddressGenerator.
func (turnAllocator) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNoTCPRelay
}

// AllocateConn implements turn.RelayAddressGenerator.
func (turnAllocator) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) {
	return nil, errNoTCPRelay
}

// AllocatePacketConn implements turn.RelayAddressGenerator. Without a user pion
// tries ports, to find an even one (EVEN-PORT): nobody needs that.
func (a turnAllocator) AllocatePacketConn(cfg turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	p, t := a.port, a.port.turn
	username, name, client, err := parseUserID(cfg.UserID)
	if err != nil || cfg.RequestedPort != 0 {
		return nil, nil, errNoSuchRelay
	}
	at := t.targets.relay(cfg.Network == "udp6")
	if !at.IsValid() {
		t.counts.refuse(refusedFamily)
		return nil, nil, fmt.Errorf("%w: media has no address for %s", errNoSuchRelay, cfg.Network)
	}
	if why, ok := t.allocations.take(client.Addr(), name); !ok {
		t.counts.refuse(why)
		return nil, nil, fmt.Errorf("%w: %s", errNoSuchRelay, turnRefusals[why])
	}
	if !t.enter() {
		t.allocations.give(client.Addr(), name)
		return nil, nil, net.ErrClosed
	}
	r, err := newTURNRelay(p, client, username, name, at)
	if err != nil {
		t.allocations.give(client.Addr(), name)
		t.live.Done()
		return nil, nil, err
	}
	t.counts.made.Add(1)
	p.mu.Lock()
	p.mu.relays[client] = r
	if s := p.mu.streams[client]; s != nil {
		s.inUse(true)
	}
	p.mu.Unlock()
	return r, net.UDPAddrFromAddrPort(addrPortOf(r.LocalAddr())), nil
}

// take looks at a message of a client's, and counts it if pion is not to see it.
//
// pion asks about the address of a channel's other end but not about its port: a
// client could have all 16384 channels there are, all to our own address, each
// with a timer and in a list that is searched for every packet.
func (p *turnPort) take(b []byte) (m turnMessage, ok bool) {
	m, err := parseTURN(b)
	switch {
	case err != nil || !m.wanted():
		p.turn.counts.refuse(refusedMalformed)
	case m.binds() && !p.turn.targets.hasPort(m.peerPort):
		p.turn.counts.refuse(refusedPort)
	default:
		return m, true
	}
	return m, false
}

// turnUDP is a port's UDP socket as pion sees it: what comes is a message that
// clients send, and, from strangers, not more than can be answered.
type turnUDP struct {
	*net.UDPConn
	port *turnPort
}

// ReadFrom implements net.PacketConn. One goroutine calls it. Only a closed
// socket makes it fail, since pion would never call it again.
func (u turnUDP) ReadFrom(b []byte) (int, net.Addr, error) {
	p := u.port
	for {
		n, from, err := u.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return 0, nil, err
		}
		if err != nil {
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		m, ok := p.take(b[:n])
		switch {
		case !ok:
		case p.relay(from) != nil:
			return n, net.UDPAddrFromAddrPort(from), nil
		case !m.greets():
			// Of an allocation that has ended.
		case !p.greetings.admit(from.Addr(), codec.Now()):
			p.turn.counts.refuse(refusedFlood)
		default:
			return n, net.UDPAddrFromAddrPort(from), nil
		}
	}
}
