package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"mixdown/codec"
)

// TURNConfig says what a [TURN] server listens on and what it allows. Engine,
// and one of Addr and TLSAddr, are required.
type TURNConfig struct {
	// Log defaults to one that discards.
	Log *slog.Logger
	// Engine is relayed to, and nobody else.
	Engine *Engine
	// Addr is "host:port" for UDP and TCP; "" is neither. An empty host is all
	// addresses, port 0 any free ones.
	Addr string
	// TLSAddr is "host:port" for TLS over TCP, "" for none.
	TLSAddr string
	// Certificate gives the certificate for a TLS handshake, as
	// [tls.Config.GetCertificate]; it is asked each time. Required with TLSAddr.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Secret is what credentials are signed with. Defaults to a random one.
	Secret TURNSecret
	// Realm defaults to "mixdown".
	Realm string
	// MaxAllocations bounds the allocations, and the streams, there may be.
	// Defaults to 2000.
	MaxAllocations int
	// MaxPerAddress bounds those of one address (IPv6: /64). Defaults to 256:
	// behind it may be an office, and a browser makes one for each of its
	// networks and each of our transports.
	MaxPerAddress int
	// MaxPerUser bounds the allocations of one credential. Defaults to 16.
	MaxPerUser int
	// MaxBps is what one allocation carries in each direction; the rest is dropped and
	// counted. Defaults to 12 Mb/s.
	MaxBps int
	// IdleTimeout is how long an allocation lives that no media socket sends
	// anything to: then it belongs to no session. Defaults to 2 min. It is looked at
	// every few seconds for streams, and over UDP when the client wants to
	// prolong the allocation, which it must every ten minutes.
	IdleTimeout time.Duration
	// MaxAge is how long one lives in any case. Defaults to 24 h.
	MaxAge time.Duration
}

// withDefaults fills in what is zero and reports every fault at once.
func (c TURNConfig) withDefaults() (TURNConfig, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Realm = cmp.Or(c.Realm, "mixdown")
	c.Secret = cmp.Or(c.Secret, NewTURNSecret())
	var errs []error
	if c.Engine == nil {
		errs = append(errs, errors.New("Engine is nil"))
	}
	if c.Addr == "" && c.TLSAddr == "" {
		errs = append(errs, errors.New("Addr and TLSAddr are empty: want one of them"))
	}
	if c.TLSAddr != "" && c.Certificate == nil {
		errs = append(errs, errors.New("Certificate is nil: TLSAddr needs one"))
	}
	if err := c.Secret.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("Secret: %w", err))
	}
	for _, f := range []struct {
		name      string
		n         *int
		byDefault int
	}{
		{"MaxAllocations", &c.MaxAllocations, 2000}, {"MaxPerAddress", &c.MaxPerAddress, 256},
		{"MaxPerUser", &c.MaxPerUser, 16}, {"MaxBps", &c.MaxBps, 12_000_000},
	} {
		if *f.n < 0 {
			errs = append(errs, fmt.Errorf("%s is %d: want more than 0", f.name, *f.n))
		}
		*f.n = cmp.Or(*f.n, f.byDefault)
	}
	for _, f := range []struct {
		name      string
		d         *time.Duration
		byDefault time.Duration
	}{{"IdleTimeout", &c.IdleTimeout, 2 * time.Minute}, {"MaxAge", &c.MaxAge, 24 * time.Hour}} {
		if *f.d < 0 {
			errs = append(errs, fmt.Errorf("%s is %v: want more than 0", f.name, *f.d))
		}
		*f.d = cmp.Or(*f.d, f.byDefault)
	}
	if len(errs) > 0 {
		return c, fmt.Errorf("%w: TURN: %w", ErrBadConfig, errors.Join(errs...))
	}
	return c, nil
}

// TURN is a STUN and TURN server (RFC 8489, RFC 8656) for clients that cannot
// reach the media sockets themselves: a firewall lets no UDP out, say, or only
// TLS. It relays to the media sockets of one [Engine] and to nothing else, so
// that nobody can use it for something else or look around with it. Create it with
// [NewTURN]; it is safe for concurrent use.
//
// It has ports of its own. On the media sockets it could be told apart (RFC 7983),
// but who can reach those needs no relay, and every packet would pay for it.
type TURN struct {
	cfg     TURNConfig
	targets *turnTargets
	ports   []*turnPort

	allocations, streams *turnQuota
	counts               turnCounts
	// As the constants; tests are less patient.
	strangerTimeout, slowTimeout time.Duration

	closed chan struct{}  // closed by Close
	gone   chan struct{}  // closed when nothing is left
	live   sync.WaitGroup // relays and streams; Add only by enter

	mu struct {
		sync.Mutex
		started, closing bool
	}
}

// NewTURN validates the configuration and opens the sockets; nothing is read
// from them before [TURN.Run].
func NewTURN(cfg TURNConfig) (*TURN, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	t := &TURN{
		cfg: cfg, targets: newTURNTargets(cfg.Engine), closed: make(chan struct{}), gone: make(chan struct{}),
		allocations: newTURNQuota(cfg.MaxAllocations, cfg.MaxPerAddress, cfg.MaxPerUser),
		streams:     newTURNQuota(cfg.MaxAllocations, cfg.MaxPerAddress, 0),

		strangerTimeout: turnStrangerTimeout, slowTimeout: turnSlowTimeout,
	}
	if err := t.open(); err != nil {
		for _, p := range t.ports {
			p.close()
		}
		return nil, err
	}
	return t, nil
}

func (t *TURN) open() error {
	if t.cfg.Addr != "" {
		// One for each address, so that answers come from where questions went.
		conns, err := listen(t.cfg.Addr)
		for _, c := range conns {
			p := newTURNPort(t)
			p.udp = c
			t.ports = append(t.ports, p)
		}
		if err != nil {
			return fmt.Errorf("TURN over UDP: %w", err)
		}
		if err := t.listen(t.cfg.Addr, nil); err != nil {
			return fmt.Errorf("TURN over TCP: %w", err)
		}
	}
	if t.cfg.TLSAddr != "" {
		cfg := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: t.cfg.Certificate}
		if err := t.listen(t.cfg.TLSAddr, cfg); err != nil {
			return fmt.Errorf("TURN over TLS: %w", err)
		}
	}
	return nil
}

func (t *TURN) listen(addr string, cfg *tls.Config) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	p := newTURNPort(t)
	p.listener = &turnListener{Listener: l, port: p, tls: cfg}
	t.ports = append(t.ports, p)
	return nil
}

// URLs are what clients are told (RFC 7065), the quickest transport first. host
// is the name or address by which they reach this machine. From "" and from
// loopback nobody can tell that; then it is an address that the server listens on,
// since a client may have come through a tunnel, and Firefox uses no server on
// loopback.
func (t *TURN) URLs(host string) (urls []string) {
	if host == "" || isLoopback(host) {
		if far := t.farAddr(); far.IsValid() {
			host = far.String()
		}
	}
	add := func(scheme string, at net.Addr, transport string) {
		if addr := addrPortOf(at); host != "" || !addr.Addr().IsUnspecified() {
			h := cmp.Or(host, addr.Addr().String())
			urls = append(urls, scheme+":"+net.JoinHostPort(h, strconv.Itoa(int(addr.Port())))+"?transport="+transport)
		}
	}
	udp := false
	for _, p := range t.ports {
		switch {
		case p.udp != nil && !udp:
			udp = true
			add("turn", p.udp.LocalAddr(), "udp")
		case p.listener != nil && p.listener.tls == nil:
			add("turn", p.listener.Addr(), "tcp")
		case p.listener != nil:
			add("turns", p.listener.Addr(), "tcp")
		}
	}
	return urls
}

// farAddr is the address by which most clients reach the server; invalid if that
// is no other than loopback.
func (t *TURN) farAddr() netip.Addr {
	var addrs []netip.Addr
	for _, a := range t.Addrs() {
		if !a.Addr().IsUnspecified() {
			addrs = append(addrs, a.Addr())
			continue
		}
		// Then media are likely to listen on all of them too.
		addrs = slices.Concat(t.cfg.Engine.cfg.PublicAddresses, addrs, []netip.Addr{t.targets.relay4, t.targets.relay6})
	}
	for _, a := range addrs {
		if a.IsValid() && !a.IsLoopback() {
			return a.Unmap()
		}
	}
	return netip.Addr{}
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// Addrs returns the addresses that the server listens on, UDP first.
func (t *TURN) Addrs() (addrs []netip.AddrPort) {
	for _, p := range t.ports {
		if p.udp != nil {
			addrs = append(addrs, addrPortOf(p.udp.LocalAddr()))
		} else {
			addrs = append(addrs, addrPortOf(p.listener.Addr()))
		}
	}
	return addrs
}

// Credential makes one for the server, see [TURNSecret.Credential].
func (t *TURN) Credential(name string) (username, password string) {
	return t.cfg.Secret.Credential(name, time.Now())
}

// Run serves until ctx is done or [TURN.Close] is called, and returns when all
// allocations are gone. It is called once. The error is nil when it was asked to end.
func (t *TURN) Run(ctx context.Context) (err error) {
	t.mu.Lock()
	if t.mu.started || t.mu.closing {
		t.mu.Unlock()
		return ErrClosed
	}
	t.mu.started = true
	t.mu.Unlock()
	for _, p := range t.ports {
		err = errors.Join(err, p.start())
	}
	sweep := time.NewTicker(max(t.cfg.IdleTimeout/16, 10*time.Millisecond))
	defer sweep.Stop()
	for running := err == nil; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-t.closed:
			running = false
		case <-sweep.C:
			now := codec.Now()
			for _, p := range t.ports {
				p.sweep(now)
			}
		}
	}
	t.stop()
	for _, p := range t.ports {
		p.close()
	}
	t.live.Wait()
	close(t.gone)
	return err
}

// stop makes everything new be refused, and Run end.
func (t *TURN) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.closing {
		return
	}
	t.mu.closing = true
	close(t.closed)
	if !t.mu.started {
		for _, p := range t.ports {
			p.close()
		}
		close(t.gone)
	}
}

// Close stops Run, or, if it never ran, closes the sockets; it waits. Twice is fine.
func (t *TURN) Close() error {
	t.stop()
	<-t.gone
	return nil
}

// enter counts one more relay or stream, unless the server is closing. After
// true somebody calls live.Done.
func (t *TURN) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.closing {
		return false
	}
	t.live.Add(1)
	return true
}

func (t *TURN) closing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.closing
}
