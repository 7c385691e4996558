package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"

	"mixdown/codec"
)

func TestTURNQuotas(t *testing.T) {
	for _, test := range []struct {
		name   string
		cfg    TURNConfig
		reason string
	}{
		{"user", TURNConfig{MaxPerUser: 1}, "user"},
		{"address", TURNConfig{MaxPerAddress: 1}, "address"},
		{"all", TURNConfig{MaxAllocations: 1}, "full"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startTURN(t, test.cfg)
			username, password := s.Credential("p_1")
			first := allocate(t, turnClient(t, s, "udp", username, password))
			second := turnClient(t, s, "udp", username, password)
			if _, err := second.Allocate(); err == nil || !strings.Contains(err.Error(), "486") {
				t.Errorf("the second: %v: want 486", err)
			}
			if n := s.Stats(); n.Refused[test.reason] != 1 || n.Allocations != 1 {
				t.Errorf("%+v", n)
			}
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			untilTURN(t, s, "room for another", func(n TURNStats) bool { return n.Allocations == 0 })
			allocate(t, second)
		})
	}
	t.Run("streams", func(t *testing.T) {
		s := startTURN(t, TURNConfig{MaxPerAddress: 1})
		dialTURN(t, s)
		untilTURN(t, s, "the first", func(n TURNStats) bool { return n.Streams == 1 })
		awaitEnd(t, dialTURN(t, s))
		untilTURN(t, s, "refusal", refusals("address", 1))
	})
}

func TestTURNBandwidth(t *testing.T) {
	media, mediaAddr, change := withFakeMedia(t)
	s := startTURN(t, TURNConfig{MaxBps: 320_000}, change) // 10 kB at once
	username, password := s.Credential("p_1")
	relay := allocate(t, turnClient(t, s, "tcp", username, password))
	var client netip.AddrPort
	buf := make([]byte, 2000)
	got := make(chan int, 1)
	go func() {
		n := 0
		for {
			size, from, err := media.ReadFromUDPAddrPort(buf)
			if err != nil || size == 5 {
				client = from
				got <- n
				return
			}
			n += size
		}
	}()
	packet := make([]byte, 1000)
	began := codec.Now()
	untilTURN(t, s, "packets that are too many", func(n TURNStats) bool {
		for range 20 {
			if _, err := relay.WriteTo(packet, net.UDPAddrFromAddrPort(mediaAddr)); err != nil {
				t.Fatal(err)
			}
		}
		return n.Refused["rate"] >= 50
	})
	untilTURN(t, s, "room for one more", func(TURNStats) bool {
		_, err := relay.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(mediaAddr))
		return err != nil || len(got) > 0
	})
	n, before := <-got, s.Stats()
	if most := 10_000 + 40_000*(codec.Now()-began).Seconds(); n < 5000 || float64(before.ToMedia) > most || n > int(before.ToMedia) {
		t.Errorf("%d bytes passed, %d came: want 10 kB at once, %.0f by now", before.ToMedia, n, most)
	}
	untilTURN(t, s, "packets back that are too many", func(n TURNStats) bool {
		for range 20 {
			if _, err := media.WriteToUDPAddrPort(packet, client); err != nil {
				t.Fatal(err)
			}
		}
		return n.Refused["rate"] >= before.Refused["rate"]+50
	})
}

// TestTURNIdle: what no media socket answers over is ended.
func TestTURNIdle(t *testing.T) {
	media, mediaAddr, change := withFakeMedia(t)
	s := startTURN(t, TURNConfig{IdleTimeout: 100 * time.Millisecond}, change)
	username, password := s.Credential("p_1")
	_ = allocate(t, turnClient(t, s, "tcp", username, password))
	udp := allocate(t, turnClient(t, s, "udp", username, password))
	untilTURN(t, s, "the end of the stream", func(n TURNStats) bool { return n.Allocations == 1 && n.Streams == 0 && n.Refused["idle"] >= 1 })

	// Over UDP it cannot be prolonged.
	p, r := s.onlyRelay(t)
	refresh := &turn.RequestAttributes{Username: username, Realm: "mixdown", SrcAddr: net.UDPAddrFromAddrPort(r.client), Method: stun.MethodRefresh}
	untilTURN(t, s, "one that cannot be prolonged", func(TURNStats) bool {
		_, _, ok := p.authenticate(refresh)
		return !ok
	})
	// But for as long as it is of use.
	if _, err := udp.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(mediaAddr)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	_, from, err := media.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatal(err)
	}
	untilTURN(t, s, "a prolonged one", func(TURNStats) bool {
		if _, err := media.WriteToUDPAddrPort([]byte("welcome"), from); err != nil {
			t.Fatal(err)
		}
		_, _, ok := p.authenticate(refresh)
		return ok
	})
	refresh.SrcAddr = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	refresh.Username, _ = s.cfg.Secret.Credential("p_1", time.Now().Add(-time.Hour))
	if _, _, ok := p.authenticate(refresh); ok {
		t.Error("an old credential without an allocation was taken")
	}
}

// TestTURNLatePeer: near its end an allocation takes no further address.
func TestTURNLatePeer(t *testing.T) {
	s := startTURN(t, TURNConfig{})
	r, err := newTURNRelay(s.ports[0], netip.MustParseAddrPort("192.0.2.1:1"), "1:a", "a", netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.UDPConn.Close()
	known, further := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("203.0.113.7")
	s.targets.add(netip.AddrPortFrom(further, 1), netip.AddrPortFrom(known, 1))
	if !r.permit(known, r.made) {
		t.Error("not permitted")
	}
	late := r.made + lastNewPeer + 1
	if !r.permit(known, late) {
		t.Error("not permitted any more")
	}
	if r.permit(further, late) {
		t.Error("permitted so late")
	}
}

func dialTURN(t testing.TB, s *TURN) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr("turn", "tcp"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// awaitEnd waits until the server closes the connection.
func awaitEnd(t testing.TB, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.Copy(io.Discard, conn); errors.Is(err, context.DeadlineExceeded) || err != nil && strings.Contains(err.Error(), "timeout") {
		t.Fatalf("the stream is open after %v, %d bytes came", patience, n)
	}
}

func TestTURNMalformed(t *testing.T) {
	s := startTURN(t, TURNConfig{})
	// Lengths that overflow, or that hold more than a packet; no STUN at all.
	for _, b := range [][]byte{
		append([]byte{0, 1, 0xff, 0xec, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 40)...),
		append([]byte{0, 1, 0xff, 0xfc, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 40)...),
		append([]byte{0x40, 0, 0xff, 0xff}, make([]byte, 40)...),
		[]byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"),
		{22, 3, 1, 0, 200, 1, 0, 0},
	} {
		before := s.Stats().Refused["malformed"]
		conn := dialTURN(t, s)
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
		awaitEnd(t, conn)
		if n := s.Stats().Refused["malformed"]; n != before+1 {
			t.Errorf("%x: %d refused, before %d", b, n, before)
		}
	}
	// What is whole but not wanted is dropped, and the stream goes on.
	conn := dialTURN(t, s)
	short := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), lifetime(1))
	connect := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodConnect, stun.ClassRequest))
	answer := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassSuccessResponse))
	ask := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	before := s.Stats().Refused["malformed"]
	unwanted := [][]byte{short.Raw, connect.Raw, answer.Raw, {0x40, 0, 0, 0}, {0x40, 0, 0, 2, 'a', 'b', 0, 0}}
	for _, b := range append(unwanted, ask.Raw) {
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 500)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	n, err := io.ReadAtLeast(conn, buf, 20)
	if err != nil || !bytes.Equal(buf[8:20], ask.TransactionID[:]) {
		t.Errorf("the answer to a question is %x, %v", buf[:n], err)
	}
	if n := s.Stats().Refused["malformed"]; n != before+uint64(len(unwanted)) {
		t.Errorf("%d refused, before %d", n, before)
	}
}

func lifetime(seconds byte) stun.RawAttribute {
	return stun.RawAttribute{Type: stun.AttrLifetime, Value: []byte{0, 0, 0, seconds}}
}

// TestTURNFlood: a stranger is answered only so often over UDP.
func TestTURNFlood(t *testing.T) {
	s := startTURN(t, TURNConfig{})
	conn, err := net.Dial("udp4", s.addr("turn", "udp"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	untilTURN(t, s, "refusal", func(n TURNStats) bool {
		for range 50 {
			if _, err := conn.Write(ask); err != nil {
				t.Fatal(err)
			}
		}
		return n.Refused["flood"] > 0
	})
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	untilTURN(t, s, "malformed", refusals("malformed", 1))

	g := greetings{seed: s.ports[0].greetings.seed}
	from, now, n := netip.MustParseAddr("192.0.2.1"), time.Hour, 0
	for g.admit(from, now) {
		n++
	}
	if n != greetingBurst {
		t.Errorf("%d at once: want %d", n, greetingBurst)
	}
	if now += time.Second / greetingRate; !g.admit(from, now) || g.admit(from, now) {
		t.Error("want one more after its time")
	}
}

// TestTURNStrangers: who connects and does not allocate, or does not read, is cut off.
func TestTURNStrangers(t *testing.T) {
	cert, _ := selfSigned(t)
	s := startTURN(t, TURNConfig{
		TLSAddr: "127.0.0.1:0", Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil },
	}, func(s *TURN) { s.strangerTimeout = 50 * time.Millisecond })
	t.Run("silent", func(t *testing.T) {
		awaitEnd(t, dialTURN(t, s))
		untilTURN(t, s, "count", refusals("idle", 1))
	})
	t.Run("half a message", func(t *testing.T) {
		conn := dialTURN(t, s)
		if _, err := conn.Write([]byte{0, 1, 0}); err != nil {
			t.Fatal(err)
		}
		awaitEnd(t, conn)
		untilTURN(t, s, "count", refusals("idle", 2))
	})
	t.Run("no handshake", func(t *testing.T) {
		for i, say := range []string{"", "hello, is this TLS?"} {
			conn, err := net.Dial("tcp", s.addr("turns", "tcp"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte(say)); err != nil {
				t.Fatal(err)
			}
			awaitEnd(t, conn)
			untilTURN(t, s, "count", refusals("tls", uint64(i+1)))
		}
	})
	t.Run("does not read", func(t *testing.T) {
		media, mediaAddr, change := withFakeMedia(t)
		s := startTURN(t, TURNConfig{MaxBps: 1_000_000_000}, change, func(s *TURN) { s.slowTimeout = 50 * time.Millisecond })
		conn, err := net.Dial("tcp", s.addr("turn", "tcp"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.(*net.TCPConn).SetReadBuffer(4096)
		gate := &gatedConn{Conn: conn, closed: make(chan struct{})}
		username, password := s.Credential("p_1")
		c, err := turn.NewClient(&turn.ClientConfig{
			TURNServerAddr: s.addr("turn", "tcp"), Conn: turn.NewSTUNConn(gate), Username: username, Password: password,
			LoggerFactory: pionLog{discardLog},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(); _ = gate.Close() })
		if err := c.Listen(); err != nil {
			t.Fatal(err)
		}
		relay := allocate(t, c)
		if _, err := relay.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(mediaAddr)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1000)
		_, from, err := media.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		gate.shut.Store(true)
		untilTURN(t, s, "the end", func(n TURNStats) bool {
			for range 100 {
				if _, err := media.WriteToUDPAddrPort(buf, from); err != nil {
					t.Fatal(err)
				}
			}
			return n.Refused["slow"] == 1 && n.Streams == 0 && n.Allocations == 0
		})
	})
}

// gatedConn is a connection whose owner may stop reading.
type gatedConn struct {
	net.Conn
	shut   atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (c *gatedConn) Read(b []byte) (int, error) {
	if c.shut.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return c.Conn.Read(b)
}

func (c *gatedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
