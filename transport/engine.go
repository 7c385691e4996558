package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

// Config says what an [Engine] listens on and what its peers may do. The zero
// value works.
type Config struct {
	// Log defaults to one that discards.
	Log *slog.Logger
	// UDP are the sockets for media, "host:port" each; an empty host is all
	// addresses that the machine has at the start, port 0 any free port.
	// Defaults to [":8189"].
	UDP []string
	// TCP are the sockets for clients that no UDP reaches (RFC 6544). Defaults to
	// the addresses and ports of UDP, and to none with NoTCP.
	TCP   []string
	NoTCP bool
	// PublicAddresses are those under which clients reach the sockets by way of
	// a translation that keeps ports: candidates with them come first.
	PublicAddresses []netip.Addr
	// FullICE makes the server check paths itself (RFC 8445), which it needs
	// when it has no address that clients can reach. Off, it is an ICE-lite
	// agent: it sends nothing to an address before that address has proved
	// that it knows the session's password, so it is no port scanner.
	FullICE bool
	// ConnectTimeout is how long a client may take from its answer to the
	// first media key. Defaults to 15 s.
	ConnectTimeout time.Duration
	// LostAfter is the silence after which Feedback says LinkLost. Defaults to 3 s.
	LostAfter time.Duration
	// VanishAfter is the silence after which the Peer closes with
	// [ErrVanished]; it is noticed up to a second later. Defaults to 8 s.
	VanishAfter time.Duration
	// GatherTimeout bounds the making of an answer. Defaults to 5 s.
	GatherTimeout time.Duration
	// MaxPeers bounds the peers at one time, those still connecting included.
	// Defaults to 1000.
	MaxPeers int
	// StartBps is the rate at which a client's path is taken to be until it
	// is known, or until PaceVideo says what is sent: the pacer spreads pictures
	// at it. Defaults to 4 Mb/s.
	StartBps int
	// MaxUplinkPackets and MaxUplinkBps are what one client may send, all
	// streams together, per second; the rest is dropped and counted. They
	// default to 2000 packets and 12 Mb/s.
	MaxUplinkPackets, MaxUplinkBps int
	// SendH264 and ReceiveH264 say that clients that offer no VP8 may be sent H.264
	// (constrained baseline, packetization mode 1), and may send it: what is behind
	// the Handlers codes and decodes it.
	SendH264, ReceiveH264 bool
	// NoRED refuses redundancy (RFC 2198) of sound. Accepted, clients that offer
	// it send each packet of speech twice, which hides bursts of loss that
	// Opus's own correction does not, and takes some 30 kb/s of their uplink
	// while they talk.
	NoRED bool
	// PlayoutDelay is how late clients that can shall show pictures at most, a
	// multiple of 10 ms up to [MaxPlayoutDelay]; 0 leaves it to them. With up to
	// 500 ms Chromium shows each as soon as it is decoded, whatever the sound does.
	PlayoutDelay time.Duration
	// Readers is how many sockets share each of UDP's addresses, each with a reader
	// of its own; the kernel spreads the clients over them. Reading takes about a
	// microsecond a packet, so more than one is for machines with many cores.
	// Defaults to one for each eight; elsewhere than on Linux it is always one.
	Readers int
}

// withDefaults fills in what is zero and reports every fault at once.
func (c Config) withDefaults() (Config, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if len(c.UDP) == 0 {
		c.UDP = []string{":8189"}
	}
	var errs []error
	duration := func(name string, d *time.Duration, byDefault time.Duration) {
		if *d < 0 {
			errs = append(errs, fmt.Errorf("%s is %v: want more than 0", name, *d))
		} else if *d == 0 {
			*d = byDefault
		}
	}
	number := func(name string, n *int, byDefault int) {
		if *n < 0 {
			errs = append(errs, fmt.Errorf("%s is %d: want more than 0", name, *n))
		} else if *n == 0 {
			*n = byDefault
		}
	}
	duration("ConnectTimeout", &c.ConnectTimeout, 15*time.Second)
	duration("LostAfter", &c.LostAfter, 3*time.Second)
	duration("VanishAfter", &c.VanishAfter, 8*time.Second)
	duration("GatherTimeout", &c.GatherTimeout, 5*time.Second)
	number("Readers", &c.Readers, max(1, runtime.NumCPU()/8))
	number("MaxPeers", &c.MaxPeers, 1000)
	number("StartBps", &c.StartBps, 4_000_000)
	number("MaxUplinkPackets", &c.MaxUplinkPackets, 2000)
	number("MaxUplinkBps", &c.MaxUplinkBps, 12_000_000)
	if c.NoTCP && len(c.TCP) > 0 {
		errs = append(errs, errors.New("NoTCP is set, and so is TCP: want one of them"))
	}
	if d := c.PlayoutDelay; d < 0 || d > MaxPlayoutDelay || d%playoutUnit != 0 {
		errs = append(errs, fmt.Errorf("PlayoutDelay is %v: want 0 to %v, in steps of %v", d, MaxPlayoutDelay, playoutUnit))
	}
	errs = append(errs, checkPublic(c.PublicAddresses)...)
	if c.VanishAfter <= c.LostAfter {
		errs = append(errs, fmt.Errorf("VanishAfter is %v: want more than LostAfter, %v", c.VanishAfter, c.LostAfter))
	}
	if len(errs) > 0 {
		return c, fmt.Errorf("%w: %w", ErrBadConfig, errors.Join(errs...))
	}
	return c, nil
}

// Engine owns the media sockets and everything that its peers share. Create it
// with [New]; it is safe for concurrent use.
type Engine struct {
	cfg   Config
	conns []*net.UDPConn
	media *webrtc.MediaEngine
	cert  webrtc.Certificate

	running chan struct{} // closed when Run has set up mux
	closed  chan struct{} // closed by Close
	gone    chan struct{} // closed when nothing is left
	mux     ice.UDPMux    // set before running is closed
	tcp     *tcpMux       // nil: none
	sockets []*mediaSocket
	forged  atomic.Uint64 // see Forged
	unsent  atomic.Uint64 // see Unsent

	// failures are of clients that did not connect, and of SRTP.
	failures failures

	// dispatchers share the peers between them; accepted counts those.
	dispatchers []*dispatcher
	accepted    atomic.Uint64

	mu struct {
		sync.Mutex
		started, closing bool
		peers            map[*Peer]struct{} // nil values never
		reserved         int                // Accept calls under way
		past             Stats              // of the peers that have gone
	}
	accepts sync.WaitGroup // Accept calls under way; Add only under mu while not closing
}

// New validates the configuration and opens the sockets, so that a taken port
// is known at once; nothing is read from them before [Engine.Run].
func New(cfg Config) (*Engine, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		cfg: cfg, running: make(chan struct{}), closed: make(chan struct{}), gone: make(chan struct{}),
	}
	e.mu.peers = make(map[*Peer]struct{})
	if e.media, err = newMediaEngine(); err != nil {
		return nil, err
	}
	if e.cert, err = newCertificate(); err != nil {
		return nil, err
	}
	if err := e.listen(); err != nil {
		e.closeConns()
		return nil, err
	}
	for i, c := range e.conns {
		conns, err := shareAddress(c, e.cfg.Readers)
		if err != nil {
			e.closeConns()
			return nil, fmt.Errorf("media socket %s, %d times: %w", c.LocalAddr(), e.cfg.Readers, err)
		}
		e.conns[i] = conns[0]
		e.sockets = append(e.sockets, newMediaSocket(conns, &e.forged, &e.unsent))
	}
	// One can serve some two thousand viewers; half of the cores is for the codecs.
	for range max(1, runtime.NumCPU()/2) {
		e.dispatchers = append(e.dispatchers, newDispatcher(e.sockets))
	}
	return e, nil
}

func (e *Engine) closeConns() {
	for _, c := range e.conns {
		_ = c.Close() // nothing was written that could be lost
	}
	for _, s := range e.sockets {
		_ = s.Close()
	}
	if e.tcp != nil {
		_ = e.tcp.Close()
	}
}

// Run serves until ctx is done or [Engine.Close] is called, then closes every
// peer and returns when all of them, and the sockets, are gone. It is called
// once. The error is nil when it was asked to end.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	if e.mu.started || e.mu.closing {
		e.mu.Unlock()
		return ErrClosed
	}
	e.mu.started = true
	logger := pionLog{e.cfg.Log}.NewLogger("mux")
	muxes := make([]ice.UDPMux, 0, len(e.conns))
	for _, s := range e.sockets {
		s.run()
		muxes = append(muxes, ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: s, Logger: logger}))
	}
	e.mux = ice.NewMultiUDPMuxDefault(muxes...)
	for _, d := range e.dispatchers {
		go d.run() // until stop, below
	}
	if e.tcp != nil {
		e.tcp.run()
	}
	close(e.running)
	e.mu.Unlock()

	select {
	case <-ctx.Done():
		e.stop()
	case <-e.closed:
	}
	e.accepts.Wait() // from here on the set of peers only shrinks
	e.mu.Lock()
	peers := make([]*Peer, 0, len(e.mu.peers))
	for p := range e.mu.peers {
		peers = append(peers, p)
	}
	e.mu.Unlock()
	for _, p := range peers {
		p.end(nil)
	}
	for _, p := range peers {
		<-p.Done()
	}
	for _, d := range e.dispatchers {
		d.stop()
	}
	err := e.mux.Close() // also closes the sockets, which ends their readers
	if e.tcp != nil {
		err = errors.Join(err, e.tcp.Close())
	}
	close(e.gone)
	return err
}

// stop makes Accept refuse and Run end.
func (e *Engine) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.closing {
		return
	}
	e.mu.closing = true
	close(e.closed)
	if !e.mu.started {
		e.closeConns()
		close(e.gone)
	}
}

// Close stops Run, or, if it never ran, closes the sockets; it waits. Twice is
// fine. It must not be called from a Handler method.
func (e *Engine) Close() error {
	e.stop()
	<-e.gone
	return nil
}

// Addrs returns the addresses that the media sockets are bound to, in the
// order of Config.UDP; an empty host makes one socket for each address of the
// machine, all with the same port.
func (e *Engine) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, 0, len(e.conns))
	for _, c := range e.conns {
		addrs = append(addrs, c.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	return addrs
}

// TCPAddrs returns the addresses that the TCP sockets for media are bound to.
func (e *Engine) TCPAddrs() (addrs []netip.AddrPort) {
	if e.tcp != nil {
		for _, l := range e.tcp.listeners {
			addrs = append(addrs, plainAddr(l.Addr()))
		}
	}
	return addrs
}

// TCPStats counts connections for media. All but Connections grow.
type TCPStats struct {
	// Connections there are now.
	Connections int
	// Refused connections were too many, or did not say in time whose they are.
	Refused uint64
	// Unsent packets did not fit a connection's queue, or waited in it too long.
	Unsent uint64
}

// TCP returns what the TCP sockets have done.
func (e *Engine) TCP() (s TCPStats) {
	if e.tcp != nil {
		s = TCPStats{int(e.tcp.connections.Load()), e.tcp.refused.Load(), e.tcp.unsent.Load()}
	}
	return s
}

// Peers returns how many peers there are, those still connecting included.
func (e *Engine) Peers() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.mu.peers)
}

// Forged returns how many datagrams were dropped because they held DTLS records
// that anybody could have made, to end somebody's connection.
func (e *Engine) Forged() uint64 { return e.forged.Load() }

// Unsent returns how many datagrams the sockets refused: their buffers were
// full, or there was no way to the client.
func (e *Engine) Unsent() uint64 { return e.unsent.Load() }

// reserve makes room for one more peer. After nil the caller calls release.
func (e *Engine) reserve(ctx context.Context) error {
	select { // Run may not have got as far yet
	case <-e.running:
	case <-e.closed:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrClosed, ctx.Err())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.closing {
		return ErrClosed
	}
	if n := len(e.mu.peers) + e.mu.reserved; n >= e.cfg.MaxPeers {
		return fmt.Errorf("%w: %d of %d", ErrExhausted, n, e.cfg.MaxPeers)
	}
	e.mu.reserved++
	e.accepts.Add(1)
	return nil
}

// release ends a reservation; p is nil if no peer came of it.
func (e *Engine) release(p *Peer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.reserved--
	if p != nil {
		e.mu.peers[p] = struct{}{}
	}
	e.accepts.Done()
}

// dispatcher returns the one that serves the next peer.
func (e *Engine) dispatcher() *dispatcher {
	return e.dispatchers[e.accepted.Add(1)%uint64(len(e.dispatchers))]
}

func (e *Engine) forget(p *Peer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.mu.peers[p]; ok {
		e.mu.past.add(p.totals())
		delete(e.mu.peers, p)
	}
}

// newCertificate makes the one certificate of this process. Clients learn its
// fingerprint from the answer and look at nothing else in it (RFC 8827 section
// 6.5); pion refuses to start with an expired one, hence the long life.
func newCertificate() (webrtc.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return webrtc.Certificate{}, fmt.Errorf("DTLS key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return webrtc.Certificate{}, fmt.Errorf("DTLS certificate: %w", err)
	}
	now := time.Now()
	cert, err := webrtc.NewCertificate(key, x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "mixdown"},
		Issuer:       pkix.Name{CommonName: "mixdown"},
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.AddDate(20, 0, 0),
		Version:      2,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return webrtc.Certificate{}, fmt.Errorf("DTLS certificate: %w", err)
	}
	return *cert, nil
}

// newMediaEngine registers what is spoken, and nothing else. The numbers are
// only defaults: an answer uses those of its offer.
func newMediaEngine() (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	err := m.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: audioClockRate, Channels: 2,
			SDPFmtpLine:  opusFmtp,
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "transport-cc"}},
		},
		PayloadType: 111,
	}, webrtc.RTPCodecTypeAudio)
	if err != nil {
		return nil, fmt.Errorf("register Opus: %w", err)
	}
	for _, c := range []webrtc.RTPCodecParameters{
		{RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeVP8, ClockRate: videoClockRate,
			RTCPFeedback: []webrtc.RTCPFeedback{
				{Type: "goog-remb"}, {Type: "transport-cc"}, {Type: "ccm", Parameter: "fir"},
				{Type: "nack"}, {Type: "nack", Parameter: "pli"},
			},
		}, PayloadType: 96},
		{RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeRTX, ClockRate: videoClockRate, SDPFmtpLine: "apt=96",
		}, PayloadType: 97},
		{RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeH264, ClockRate: videoClockRate, SDPFmtpLine: h264Fmtp,
			RTCPFeedback: []webrtc.RTCPFeedback{
				{Type: "goog-remb"}, {Type: "transport-cc"}, {Type: "ccm", Parameter: "fir"},
				{Type: "nack"}, {Type: "nack", Parameter: "pli"},
			},
		}, PayloadType: 102},
		{RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeRTX, ClockRate: videoClockRate, SDPFmtpLine: "apt=102",
		}, PayloadType: 103},
	} {
		if err := m.RegisterCodec(c, webrtc.RTPCodecTypeVideo); err != nil {
			return nil, fmt.Errorf("register %s: %w", c.MimeType, err)
		}
	}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		uris := []string{uriMID, uriTWCC, uriCaptureTime}
		if kind == webrtc.RTPCodecTypeAudio {
			uris = append(uris, uriLevel, uriCSRCLevel)
		} else {
			uris = append(uris, uriPlayoutDelay)
		}
		for _, uri := range uris {
			if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind); err != nil {
				return nil, fmt.Errorf("register %s: %w", uri, err)
			}
		}
	}
	return m, nil
}
