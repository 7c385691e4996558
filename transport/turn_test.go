package transport

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/turn/v5"
	"github.com/pion/webrtc/v4"
)

// startTURN runs a server on free loopback ports for the length of a test.
// change may shorten its patience.
func startTURN(t testing.TB, cfg TURNConfig, change ...func(*TURN)) *TURN {
	t.Helper()
	if cfg.Engine == nil {
		cfg.Engine = startEngine(t, Config{})
	}
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	s, err := NewTURN(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(s)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	<-cfg.Engine.running // who is closed before does not run at all
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error("close:", err)
		}
		if err := <-ran; err != nil && !errors.Is(err, ErrClosed) {
			t.Error("run:", err)
		}
		if n := s.Stats(); n.Allocations != 0 || n.Streams != 0 {
			t.Errorf("%d allocations and %d streams are left", n.Allocations, n.Streams)
		}
	})
	return s
}

// url returns the server's URL that begins and ends so.
func (t *TURN) url(scheme, transport string) string {
	for _, u := range t.URLs("127.0.0.1") {
		if strings.HasPrefix(u, scheme+":") && strings.HasSuffix(u, "="+transport) {
			return u
		}
	}
	return ""
}

// addr returns where that URL leads.
func (t *TURN) addr(scheme, transport string) string {
	return strings.TrimSuffix(strings.TrimPrefix(t.url(scheme, transport), scheme+":"), "?transport="+transport)
}

// untilTURN waits for the server's figures.
func untilTURN(t testing.TB, s *TURN, what string, ok func(TURNStats) bool) {
	t.Helper()
	timeout, again := time.After(patience), time.NewTicker(5*time.Millisecond)
	defer again.Stop()
	for !ok(s.Stats()) {
		select {
		case <-again.C:
		case <-timeout:
			t.Fatalf("%s: not within %v: %+v", what, patience, s.Stats())
		}
	}
}

func refusals(reason string, n uint64) func(TURNStats) bool {
	return func(s TURNStats) bool { return s.Refused[reason] >= n }
}

// selfSigned makes a certificate for 127.0.0.1 and the pool that trusts it.
func selfSigned(t testing.TB) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// tlsDialer connects over TLS and believes what a pool says.
type tlsDialer struct{ roots *x509.CertPool }

func (d tlsDialer) Dial(network, addr string) (net.Conn, error) {
	return tls.Dial(network, addr, &tls.Config{RootCAs: d.roots})
}

// TestTURNMedia: a client that may only use the relay is heard, and hears and sees.
func TestTURNMedia(t *testing.T) {
	e := startEngine(t, Config{})
	cert, roots := selfSigned(t)
	s := startTURN(t, TURNConfig{Engine: e, TLSAddr: "127.0.0.1:0", Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }})
	for _, test := range []struct{ name, scheme, transport string }{
		{"udp", "turn", "udp"}, {"tcp", "turn", "tcp"}, {"tls", "turns", "tcp"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := s.Stats()
			name, password := s.Credential("p_" + test.name)
			cfg := clientConfig{audio: "sendrecv", video: []string{"sendrecv"}, relay: &webrtc.ICEServer{
				URLs: []string{s.url(test.scheme, test.transport)}, Username: name, Credential: password,
			}}
			if test.scheme == "turns" {
				cfg.dial = tlsDialer{roots}
			}
			h := newRecorder(t)
			c, p, _ := join(t, e, h, RoleParticipant, cfg)
			pair, err := c.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
			if err != nil || pair.Local.Typ != webrtc.ICECandidateTypeRelay {
				t.Fatalf("the pair is %v, %v: want a relay", pair, err)
			}
			for i := range uint16(5) {
				if err := c.audio.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: i, Timestamp: uint32(i) * 960}, Payload: opusSilence}); err != nil {
					t.Fatal(err)
				}
			}
			h.wait(t, "sound of the client", func() bool { return len(h.audio) >= 5 })
			for i := range 30 { // a large key frame, then small ones
				n := 1000
				if i == 0 {
					n = 60_000
				}
				f := videoFrame(time.Duration(i)*33*time.Millisecond, i == 0, n)
				p.WriteVideo(f)
				f.Release()
			}
			c.wait(t, "pictures for the client", func() bool {
				n := 0
				for _, p := range c.packets["video"] {
					if p.Marker {
						n++
					}
				}
				return n >= 30
			})
			now := s.Stats()
			if now.Made != before.Made+1 || now.Allocations < 1 || now.ToMedia <= before.ToMedia || now.ToClients < before.ToClients+90_000 {
				t.Errorf("before %+v, now %+v", before, now)
			}
			if streams := now.Streams - before.Streams; (streams == 1) != (test.transport == "tcp") {
				t.Errorf("%d streams", streams)
			}
			c.close()
			untilTURN(t, s, "the end of the allocation", func(now TURNStats) bool {
				return now.Allocations == before.Allocations && now.Streams == before.Streams
			})
		})
	}
}

// turnClient is pion's, over UDP, or over TCP.
func turnClient(t testing.TB, s *TURN, transport, username, password string) *turn.Client {
	t.Helper()
	return turnClientOf(t, s, transport, turn.ClientConfig{Username: username, Password: password})
}

func turnClientOf(t testing.TB, s *TURN, transport string, cfg turn.ClientConfig) *turn.Client {
	t.Helper()
	var conn net.PacketConn
	if transport == "udp" {
		udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		conn = udp
	} else {
		tcp, err := net.Dial("tcp", s.addr("turn", "tcp"))
		if err != nil {
			t.Fatal(err)
		}
		conn = turn.NewSTUNConn(tcp)
	}
	addr := s.addr("turn", transport)
	cfg.TURNServerAddr, cfg.STUNServerAddr, cfg.Conn = addr, addr, conn
	// Nothing gets lost here: what is asked twice on a busy machine is refused twice.
	cfg.LoggerFactory, cfg.RTO = pionLog{discardLog}, patience
	c, err := turn.NewClient(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); _ = conn.Close() })
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	return c
}

func allocate(t testing.TB, c *turn.Client) net.PacketConn {
	t.Helper()
	relay, err := c.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = relay.Close() })
	return relay
}

// onlyRelay returns the one allocation there is, and its port.
func (t *TURN) onlyRelay(tb testing.TB) (p *turnPort, r *turnRelay) {
	tb.Helper()
	for _, port := range t.ports {
		port.mu.RLock()
		for _, x := range port.mu.relays {
			p, r = port, x
		}
		port.mu.RUnlock()
	}
	if r == nil {
		tb.Fatal("there is no allocation")
	}
	return p, r
}

// withFakeMedia has the server take a socket of the test's for one of media.
func withFakeMedia(t testing.TB, told ...netip.AddrPort) (*net.UDPConn, netip.AddrPort, func(*TURN)) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	addr := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return conn, addr, func(s *TURN) {
		s.targets.add(addr, addr)
		for _, a := range told {
			s.targets.add(a, addr)
		}
	}
}

// TestTURNReachesOnlyMedia: not another machine, not another socket on this one,
// neither out nor in.
func TestTURNReachesOnlyMedia(t *testing.T) {
	media, mediaAddr, change := withFakeMedia(t)
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s := startTURN(t, TURNConfig{}, change)
	username, password := s.Credential("p_1")
	c := turnClient(t, s, "udp", username, password)
	relay := allocate(t, c)
	for i, foreign := range []string{"192.0.2.1", "10.0.0.1", "169.254.169.254", "127.0.0.2", "0.0.0.0", "224.0.0.1"} {
		if err := c.CreatePermission(&net.UDPAddr{IP: net.ParseIP(foreign), Port: int(mediaAddr.Port())}); err == nil {
			t.Errorf("%s: permitted", foreign)
		}
		if n := s.Stats().Refused["peer"]; n != uint64(i+1) {
			t.Errorf("%s: %d refused", foreign, n)
		}
	}
	otherAddr := other.LocalAddr().(*net.UDPAddr)
	if _, err := relay.WriteTo([]byte("knock knock"), otherAddr); err != nil {
		t.Fatal(err) // its address is permitted
	}
	untilTURN(t, s, "refusal of the port", refusals("port", 1))
	// The client asks for a channel by itself. Each that there is costs memory, and
	// time for every packet: there are none to what is not to be reached.
	untilTURN(t, s, "refusal of the channel", refusals("port", 2))
	if _, err := relay.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(mediaAddr)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	_ = media.SetReadDeadline(time.Now().Add(patience))
	n, from, err := media.ReadFromUDPAddrPort(buf)
	if err != nil || string(buf[:n]) != "hello" {
		t.Fatalf("media got %q, %v", buf[:n], err)
	}
	_ = other.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, _, err := other.ReadFrom(buf); err == nil {
		t.Errorf("the other socket got %q", buf[:n])
	}
	// And back. What comes first would be read first.
	if _, err := other.WriteToUDPAddrPort([]byte("boo"), from); err != nil {
		t.Fatal(err)
	}
	if _, err := media.WriteToUDPAddrPort([]byte("welcome"), from); err != nil {
		t.Fatal(err)
	}
	_ = relay.SetReadDeadline(time.Now().Add(patience))
	if n, from, err := relay.ReadFrom(buf); err != nil || string(buf[:n]) != "welcome" || addrPortOf(from) != mediaAddr {
		t.Errorf("the client got %q from %v, %v", buf[:n], from, err)
	}
}

// TestTURNReachesEveryAddress: relays are on one address of the machine, media
// sockets on all.
func TestTURNReachesEveryAddress(t *testing.T) {
	e := startEngine(t, Config{UDP: []string{":0"}})
	addrs, err := machineAddrs(false)
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range addrs {
		t.Run(addr.String(), func(t *testing.T) {
			media, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
			if err != nil && addr.Is6() {
				t.Logf("listed, but of no use: %v", err) // see listenAll
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer media.Close()
			at := media.LocalAddr().(*net.UDPAddr).AddrPort()
			s := startTURN(t, TURNConfig{Engine: e}, func(s *TURN) { s.targets.add(at, at) })
			username, password := s.Credential("p_1")
			family := turn.RequestedAddressFamilyIPv4
			if addr.Is6() {
				family = turn.RequestedAddressFamilyIPv6
			}
			relay := allocate(t, turnClientOf(t, s, "tcp", turn.ClientConfig{Username: username, Password: password, RequestedAddressFamily: family}))
			if _, err := relay.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(at)); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 100)
			_ = media.SetReadDeadline(time.Now().Add(patience))
			n, from, err := media.ReadFromUDPAddrPort(buf)
			if err != nil || string(buf[:n]) != "hello" {
				t.Fatalf("media got %q, %v", buf[:n], err)
			}
			if _, err := media.WriteToUDPAddrPort([]byte("welcome"), from); err != nil {
				t.Fatal(err)
			}
			_ = relay.SetReadDeadline(time.Now().Add(patience))
			if n, _, err := relay.ReadFrom(buf); err != nil || string(buf[:n]) != "welcome" {
				t.Errorf("the client got %q, %v", buf[:n], err)
			}
			if relay.LocalAddr().String() != from.String() || from.Addr() != s.targets.relay(addr.Is6()) {
				t.Errorf("the relay is said to be at %v, and is at %v", relay.LocalAddr(), from)
			}
		})
	}
}

// TestTURNPublicAddress: clients know the media socket by an address that this
// machine does not have.
func TestTURNPublicAddress(t *testing.T) {
	e, err := New(Config{UDP: []string{"127.0.0.1:0"}, PublicAddresses: []netip.Addr{netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8::9")}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	own := e.Addrs()[0]
	targets := newTURNTargets(e)
	if at, ok := targets.socket(netip.AddrPortFrom(netip.MustParseAddr("203.0.113.9"), own.Port())); !ok || at != own {
		t.Errorf("the public address leads to %v, %v: want %v", at, ok, own)
	}
	if targets.has(netip.MustParseAddr("2001:db8::9")) {
		t.Error("there is a media socket behind an address of another family")
	}

	public := netip.MustParseAddrPort("203.0.113.7:8189")
	media, _, change := withFakeMedia(t, public)
	s := startTURN(t, TURNConfig{}, change)
	username, password := s.Credential("p_1")
	relay := allocate(t, turnClient(t, s, "tcp", username, password))
	if _, err := relay.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(public)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	_ = media.SetReadDeadline(time.Now().Add(patience))
	n, from, err := media.ReadFromUDPAddrPort(buf)
	if err != nil || string(buf[:n]) != "hello" {
		t.Fatalf("media got %q, %v", buf[:n], err)
	}
	if _, err := media.WriteToUDPAddrPort([]byte("welcome"), from); err != nil {
		t.Fatal(err)
	}
	_ = relay.SetReadDeadline(time.Now().Add(patience))
	if n, from, err := relay.ReadFrom(buf); err != nil || string(buf[:n]) != "welcome" || addrPortOf(from) != public {
		t.Errorf("the client got %q from %v, %v", buf[:n], from, err)
	}
}

func TestTURNConfigFaults(t *testing.T) {
	e, err := New(Config{UDP: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, test := range []struct {
		name string
		cfg  TURNConfig
		want string
	}{
		{"nothing", TURNConfig{}, "Engine is nil"},
		{"no address", TURNConfig{Engine: e}, "Addr and TLSAddr are empty"},
		{"no certificate", TURNConfig{Engine: e, TLSAddr: ":0"}, "Certificate is nil"},
		{"secret", TURNConfig{Engine: e, Addr: ":0", Secret: "short"}, "Secret: 5 characters"},
		{"quota", TURNConfig{Engine: e, Addr: ":0", MaxPerUser: -1}, "MaxPerUser is -1"},
		{"rate", TURNConfig{Engine: e, Addr: ":0", MaxBps: -1}, "MaxBps is -1"},
		{"time", TURNConfig{Engine: e, Addr: ":0", IdleTimeout: -1}, "IdleTimeout is -1ns"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := NewTURN(test.cfg); !errors.Is(err, ErrBadConfig) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v: want %q", err, test.want)
			}
		})
	}
	s, err := NewTURN(TURNConfig{Engine: e, Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	taken := s.Addrs()[0].String()
	if _, err := NewTURN(TURNConfig{Engine: e, Addr: taken}); err == nil || !strings.Contains(err.Error(), "TURN over UDP") {
		t.Errorf("a taken port: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Run(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
}

func TestTURNURLs(t *testing.T) {
	cert, _ := selfSigned(t)
	far, _ := machineAddrs(true)
	for _, test := range []struct {
		name     string
		media    Config
		turn     string
		host     string
		wantHost string // "": the first that the machine has
	}{
		{name: "as the client says", turn: "127.0.0.1:0", host: "mix.example.org", wantHost: "mix.example.org"},
		{name: "IPv6", turn: "127.0.0.1:0", host: "2001:db8::1", wantHost: "[2001:db8::1]"},
		{name: "nothing else", turn: "127.0.0.1:0", host: "", wantHost: "127.0.0.1"},
		{name: "localhost only", turn: "127.0.0.1:0", host: "localhost", wantHost: "localhost"},
		{name: "all addresses", turn: ":0", host: "localhost"},
		{name: "all addresses, loopback", turn: ":0", host: "::1"},
		{name: "all addresses, nothing said", turn: ":0", host: ""},
		{name: "public", turn: ":0", host: "127.0.0.1", wantHost: "203.0.113.9",
			media: Config{PublicAddresses: []netip.Addr{netip.MustParseAddr("203.0.113.9")}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.wantHost == "" && far[0].IsLoopback() {
				t.Log("this machine has no network: there is no better address")
				return
			}
			test.media.UDP = []string{"127.0.0.1:0"}
			e, err := New(test.media)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			s, err := NewTURN(TURNConfig{Engine: e, Addr: test.turn, TLSAddr: test.turn,
				Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			addrs, want := s.Addrs(), cmp.Or(test.wantHost, far[0].String())
			n := len(addrs)
			wantURLs := []string{
				fmt.Sprintf("turn:%s:%d?transport=udp", want, addrs[0].Port()),
				fmt.Sprintf("turn:%s:%d?transport=tcp", want, addrs[n-2].Port()), fmt.Sprintf("turns:%s:%d?transport=tcp", want, addrs[n-1].Port()),
			}
			if got := s.URLs(test.host); !slices.Equal(got, wantURLs) {
				t.Errorf("%v: want %v", got, wantURLs)
			}
		})
	}
}

// BenchmarkTURNRelay is what a packet of a picture costs that goes to a client
// over the relay and TCP.
func BenchmarkTURNRelay(b *testing.B) {
	media, mediaAddr, change := withFakeMedia(b)
	s := startTURN(b, TURNConfig{MaxBps: 1 << 40}, change)
	username, password := s.Credential("p_1")
	relay := allocate(b, turnClient(b, s, "tcp", username, password))
	if _, err := relay.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(mediaAddr)); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 2000)
	_, from, err := media.ReadFromUDPAddrPort(buf)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(1200)
	for b.Loop() {
		if _, err := media.WriteToUDPAddrPort(buf[:1200], from); err != nil {
			b.Fatal(err)
		}
		if _, _, err := relay.ReadFrom(buf); err != nil {
			b.Fatal(err)
		}
	}
}
