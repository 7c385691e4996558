package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

// startMux runs a mux on loopback for the length of a test.
func startMux(t testing.TB) *tcpMux { return startImpatientMux(t, patience) }

func startImpatientMux(t testing.TB, withStrangers time.Duration) *tcpMux {
	t.Helper()
	l, err := listenStream("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := newTCPMux(new(atomic.Uint64))
	m.patience = withStrangers
	m.listeners = append(m.listeners, l)
	m.run()
	t.Cleanup(func() {
		for range 2 {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
		if n := m.connections.Load(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		if len(m.mu.shares)+len(m.mu.strangers)+len(m.mu.perClient) != 0 {
			t.Errorf("left are %v, %v, %v", m.mu.shares, m.mu.strangers, m.mu.perClient)
		}
	})
	return m
}

// listenAs is what an agent of that user fragment listens on.
func listenAs(t testing.TB, m *tcpMux, ufrag string) *tcpShare {
	t.Helper()
	conns, err := (&tcpForPeer{m, new(atomic.Uint64)}).GetAllConns(ufrag, false, net.IPv4(127, 0, 0, 1))
	if err != nil || len(conns) != 1 {
		t.Fatalf("%d connections, %v", len(conns), err)
	}
	return conns[0].(*tcpShare)
}

// frame is a packet as it goes over TCP.
func frame(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// check is a STUN check for a user fragment.
func check(t testing.TB, ufrag string) []byte {
	t.Helper()
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(ufrag+":theirs"))
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// dialMux connects, and says what is to be said first.
func dialMux(t testing.TB, m *tcpMux, first []byte) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", m.listeners[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(first); err != nil {
		t.Fatal(err)
	}
	return conn
}

// expectFrame reads one frame.
func expectFrame(t testing.TB, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, 2+len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != string(frame([]byte(want))) {
		t.Fatalf("got %q, %v: want %q", b, err, want)
	}
}

// expectEnd waits until the mux has closed a connection.
func expectEnd(t testing.TB, conn net.Conn) {
	t.Helper()
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && (err == nil || !strings.Contains(err.Error(), "reset")) {
		t.Fatalf("read %d bytes, %v: want the end", n, err)
	}
}

func expectPacket(t testing.TB, s *tcpShare, want string) (from netip.AddrPort) {
	t.Helper()
	b := make([]byte, 2000)
	n, from, err := s.ReadFromAddrPort(b)
	if err != nil || string(b[:n]) != want {
		t.Fatalf("got %q, %v: want %q", b[:n], err, want)
	}
	return from
}

// TestTCPConnection: packets go both ways, and another connection takes over from
// one that broke.
func TestTCPConnection(t *testing.T) {
	m := startMux(t)
	share := listenAs(t, m, "ours")
	hello := check(t, "ours")
	for range 3 {
		conn := dialMux(t, m, append(frame(hello), frame([]byte{128, 1, 2})...))
		from := expectPacket(t, share, string(hello))
		expectPacket(t, share, "\x80\x01\x02")
		if from.String() != conn.LocalAddr().String() {
			t.Errorf("it comes from %v, was sent from %v", from, conn.LocalAddr())
		}
		for _, word := range []string{"one", "two", strings.Repeat("long", 300)} {
			if n, err := share.WriteToAddrPort([]byte(word), from); err != nil || n != len(word) {
				t.Fatalf("wrote %d, %v", n, err)
			}
			expectFrame(t, conn, word)
		}
		conn.Close()
	}
	// What cannot be sent is lost, and no reason to end what is above.
	lost := m.unsent.Load()
	if n, err := share.WriteTo([]byte("nobody"), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}); n != 6 || err != nil || m.unsent.Load() != lost+1 {
		t.Errorf("writing to nobody: %d, %v, %d unsent", n, err, m.unsent.Load()-lost)
	}
	// What was given to a connection before its end still goes out.
	conn := dialMux(t, m, frame(hello))
	from := expectPacket(t, share, string(hello))
	if _, err := share.WriteToAddrPort([]byte("goodbye"), from); err != nil {
		t.Fatal(err)
	}
	(&tcpForPeer{m, nil}).RemoveConnByUfrag("ours")
	expectFrame(t, conn, "goodbye")
	expectEnd(t, conn)
	if _, _, err := share.ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading after the end: %v", err)
	}
}

// TestTCPAddresses: an agent is given something to listen on at the addresses
// that are offered, once.
func TestTCPAddresses(t *testing.T) {
	m := startMux(t)
	peer := &tcpForPeer{m, new(atomic.Uint64)}
	share, err := peer.GetConnByUfrag("a", false, net.IPv4(127, 0, 0, 1))
	if err != nil || share.LocalAddr().String() != m.listeners[0].Addr().String() {
		t.Fatalf("%v, %v", share, err)
	}
	if _, err := peer.GetConnByUfrag("a", false, net.IPv4(127, 0, 0, 1)); err == nil {
		t.Error("the same again is no error")
	}
	for _, ip := range []net.IP{net.IPv6loopback, net.IPv4(192, 0, 2, 1)} {
		if conns, err := peer.GetAllConns("b", ip.To4() == nil, ip); len(conns) != 0 || err != nil {
			t.Errorf("%v: %v, %v", ip, conns, err)
		}
	}
	if _, err := peer.GetAllConns("b", false, nil); err == nil {
		t.Error("no address is no error")
	}
	_ = m.Close()
	if _, err := peer.GetAllConns("b", false, net.IPv4(127, 0, 0, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("after the end: %v", err)
	}
}

// TestTCPStrangers: who does not say whose he is, is shown out.
func TestTCPStrangers(t *testing.T) {
	m := startMux(t)
	listenAs(t, m, "ours")
	answer, err := stun.Build(stun.TransactionID, stun.BindingSuccess, stun.NewUsername("ours:theirs"))
	if err != nil {
		t.Fatal(err)
	}
	nameless, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		t.Fatal(err)
	}
	words := map[string][]byte{
		"of another":    frame(check(t, "another")),
		"of nobody":     frame(check(t, "")),
		"an answer":     frame(answer.Raw),
		"without name":  frame(nameless.Raw),
		"another thing": []byte("GET / HTTP/1.1\r\n\r\n"),
		"nothing":       frame(nil),
		"too long":      frame(make([]byte, maxFirstFrame+1)),
		"cut":           frame(check(t, "ours"))[:30],
	}
	for name, first := range words {
		conn := dialMux(t, m, first)
		if name == "cut" {
			_ = conn.(*net.TCPConn).CloseWrite()
		}
		expectEnd(t, conn)
	}
	if n := m.refused.Load(); n != uint64(len(words)) {
		t.Errorf("%d were refused, want %d", n, len(words))
	}
}

// TestTCPManyStrangers: of one address, only so many are waited for, and not for
// long.
func TestTCPManyStrangers(t *testing.T) {
	m := startMux(t)
	share := listenAs(t, m, "ours")
	var conns []net.Conn
	for range maxStrangersPerClient {
		conns = append(conns, dialMux(t, m, nil))
	}
	expectEnd(t, dialMux(t, m, frame(check(t, "ours")))) // one too many
	// Who says whose he is makes room for another.
	hello := check(t, "ours")
	if _, err := conns[0].Write(frame(hello)); err != nil {
		t.Fatal(err)
	}
	expectPacket(t, share, string(hello))
	conns = append(conns, dialMux(t, m, frame(hello)))
	expectPacket(t, share, string(hello))
	for _, c := range conns {
		c.Close()
	}
	expectEnd(t, dialMux(t, startImpatientMux(t, time.Millisecond), nil))
}

// TestTCPTooManyPaths: of one client's connections the one that was silent for
// the longest gives way to a new one.
func TestTCPTooManyPaths(t *testing.T) {
	m := startMux(t)
	share := listenAs(t, m, "ours")
	hello := check(t, "ours")
	var conns []net.Conn
	for range maxSharePaths {
		conns = append(conns, dialMux(t, m, frame(hello)))
		expectPacket(t, share, string(hello))
	}
	if _, err := conns[0].Write(frame([]byte("here"))); err != nil { // the eldest, but not silent
		t.Fatal(err)
	}
	expectPacket(t, share, "here")
	late := dialMux(t, m, frame(hello))
	expectPacket(t, share, string(hello))
	expectEnd(t, conns[1])
	for i, c := range []net.Conn{conns[0], conns[2], conns[3], late} {
		if _, err := c.Write(frame([]byte{byte(i)})); err != nil {
			t.Fatal(err)
		}
		expectPacket(t, share, string([]byte{byte(i)}))
	}
	// A frame that is too long ends its connection, and no other.
	if _, err := late.Write(frame(make([]byte, maxTCPFrame+1))); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, late)
}

// TestTCPGuards: what is dropped of UDP is dropped here too.
func TestTCPGuards(t *testing.T) {
	m := startMux(t)
	share := listenAs(t, m, "ours")
	hello := check(t, "ours")
	conn := dialMux(t, m, frame(hello))
	expectPacket(t, share, string(hello))
	var all []byte
	for ssrc := range maxStreams + 5 {
		all = append(all, frame(binary.BigEndian.AppendUint32([]byte{0x80, 200, 0, 1}, uint32(ssrc)))...)
	}
	all = append(all, frame(make([]byte, 0))...)
	all = append(all, frame([]byte{recordAlert, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0})...)
	all = append(all, frame([]byte("last"))...)
	if _, err := conn.Write(all); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	for range maxStreams {
		if _, _, err := share.ReadFromAddrPort(b); err != nil {
			t.Fatal(err)
		}
	}
	expectPacket(t, share, "last")
	if p, f := share.policed.Load(), m.forged.Load(); p != 5 || f != 1 {
		t.Errorf("%d policed, %d forged: want 5 and 1", p, f)
	}
}

// TestTCPSlowReader: a client that does not read holds up nobody, and bounds what
// is kept for it.
func TestTCPSlowReader(t *testing.T) {
	m := startMux(t)
	share := listenAs(t, m, "ours")
	hello := check(t, "ours")
	dialMux(t, m, frame(hello))
	from := expectPacket(t, share, string(hello))
	packet := make([]byte, 1200)
	const bytes = 64 << 20
	for range bytes / len(packet) {
		if _, err := share.WriteToAddrPort(packet, from); err != nil {
			t.Fatal(err)
		}
	}
	if lost := m.unsent.Load() * uint64(len(packet)); lost < bytes/2 {
		t.Errorf("%d bytes of %d were dropped", lost, bytes)
	}
	share.mu.Lock()
	path := share.mu.paths[from]
	share.mu.Unlock()
	path.mu.Lock()
	kept := cap(path.mu.queue.buf)
	path.mu.Unlock()
	if kept > 4*maxTCPQueue {
		t.Errorf("%d bytes are kept", kept)
	}
}

func TestTCPQueue(t *testing.T) {
	var q tcpQueue
	packet := bytes.Repeat([]byte{7}, 1000)
	taken := func(b []byte) (n int) {
		r := bufio.NewReaderSize(bytes.NewReader(b), tcpFrameHeader+maxTCPFrame)
		for {
			f, err := nextFrame(r, maxTCPFrame)
			if errors.Is(err, io.EOF) {
				return n
			}
			if err != nil || !bytes.Equal(f, packet) {
				t.Fatalf("frame is %v, %v", f, err)
			}
			skipFrame(r, f)
			n++
		}
	}
	pushed := 0
	for q.push(packet, time.Duration(pushed)*time.Millisecond) {
		pushed++
	}
	if pushed != maxTCPQueue/1002 {
		t.Errorf("%d were taken", pushed)
	}
	out, stale := q.take(make([]byte, 0, 3100), tcpStale+50*time.Millisecond-1)
	if n := taken(out); n != 3 || stale != 50 {
		t.Errorf("%d frames, %d stale: want 3 and 50", n, stale)
	}
	out, stale = q.take(nil, tcpStale+53*time.Millisecond)
	if n := taken(out); n != 1 || stale != 0 {
		t.Errorf("%d frames, %d stale: want the one that fits nowhere", n, stale)
	}
	if !q.push(packet, time.Second) {
		t.Error("there is no room again")
	}
	out, stale = q.take(make([]byte, 0, tcpWriteBytes), time.Second)
	if n := taken(out); n != 1 || stale != pushed-54 {
		t.Errorf("%d frames, %d stale: want the new one", n, stale)
	}
	if out, stale = q.take(nil, time.Second); len(out)+stale+len(q.buf)+len(q.at) != 0 || cap(q.buf) > maxTCPQueue/8 {
		t.Errorf("left are %d bytes, %d stale, %+v", len(out), stale, q)
	}
	if q.push(make([]byte, 1<<16), 0) {
		t.Error("a packet whose length does not fit was taken")
	}
}

// TestTCPAllocations: what a packet costs on its way out.
func TestTCPAllocations(t *testing.T) {
	m := startMux(t)
	share := listenAs(t, m, "ours")
	hello := check(t, "ours")
	conn := dialMux(t, m, frame(hello))
	from := expectPacket(t, share, string(hello))
	packet, got := make([]byte, 1200), make([]byte, 1202)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := share.WriteToAddrPort(packet, from); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, got); err != nil {
			t.Fatal(err)
		}
	}); n > 0.5 {
		t.Errorf("%v allocations a packet", n)
	}
}

// FuzzTCPFrames: nothing that comes over a connection makes its reader panic, and
// what it reads is what the lengths say.
func FuzzTCPFrames(f *testing.F) {
	hello := check(f, "ours")
	f.Add(frame(hello))
	f.Add(append(frame(hello), frame([]byte("x"))...))
	f.Add([]byte{0, 0, 0, 1})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(stream), tcpFrameHeader+maxTCPFrame)
		first, err := nextFrame(r, maxFirstFrame)
		if err != nil {
			return
		}
		_ = checkedUfrag(slices.Clone(first))
		again := []byte{}
		for {
			b, err := nextFrame(r, maxTCPFrame)
			if err != nil {
				break
			}
			again = append(again, frame(b)...)
			skipFrame(r, b)
		}
		if !bytes.HasPrefix(stream, again) {
			t.Errorf("read %x of %x", again, stream)
		}
	})
}

// TestTCPPort: unless something else is said, TCP has the port of UDP.
func TestTCPPort(t *testing.T) {
	var e *Engine
	for try := 1; ; try++ { // what is free for UDP may be somebody's for TCP
		e = startEngine(t, Config{UDP: []string{":0"}})
		tcp, udp := e.TCPAddrs(), e.Addrs()
		if len(tcp) == 1 && tcp[0].Port() == udp[0].Port() && tcp[0].Addr().IsUnspecified() {
			break
		}
		if try == 10 {
			t.Fatalf("TCP is at %v, UDP at %v", tcp, udp)
		}
	}
	_, _, answer := join(t, e, newRecorder(t), RoleParticipant, clientConfig{audio: "sendrecv"})
	if !strings.Contains(answer.SDP, "tcptype passive") {
		t.Errorf("no TCP candidate in\n%s", answer.SDP)
	}
	e = startEngine(t, Config{NoTCP: true})
	if tcp := e.TCPAddrs(); len(tcp) != 0 || e.TCP() != (TCPStats{}) {
		t.Errorf("TCP is at %v", tcp)
	}
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, bad := range [][]string{{"127.0.0.1"}, {"127.0.0.1:http:"}, {taken.Addr().String()}, {"127.0.0.1:0", taken.Addr().String()}} {
		if _, err := New(Config{UDP: []string{"127.0.0.1:0"}, TCP: bad}); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
	if _, err := New(Config{NoTCP: true, TCP: []string{"127.0.0.1:0"}}); !errors.Is(err, ErrBadConfig) {
		t.Errorf("both: error is %v", err)
	}
	// It tells what it does.
	e = startEngine(t, Config{TCP: []string{"127.0.0.1:0"}})
	h := newRecorder(t)
	_, p, _ := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv", network: webrtc.NetworkTypeTCP4})
	if s := e.TCP(); s.Connections == 0 {
		t.Errorf("stats are %+v", s)
	}
	_ = p.Close()
	h.wait(t, "the connection's end", func() bool { return e.TCP().Connections == 0 })
}

// TestTCPStrangersOfOneNetwork: who has a whole network of IPv6 is one client.
func TestTCPStrangersOfOneNetwork(t *testing.T) {
	m := newTCPMux(new(atomic.Uint64))
	from := func(i byte) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: i})
	}
	var conns []*net.TCPConn
	for i := range byte(maxStrangersPerClient) {
		conns = append(conns, new(net.TCPConn))
		if !m.admit(conns[i], from(i)) {
			t.Fatalf("stranger %d is refused", i)
		}
	}
	if m.admit(new(net.TCPConn), from(99)) {
		t.Error("one too many is admitted")
	}
	if !m.admit(new(net.TCPConn), netip.MustParseAddr("2001:db8:0:1::1")) {
		t.Error("another network is refused")
	}
	m.mu.Lock()
	m.known(conns[0])
	m.mu.Unlock()
	if !m.admit(conns[0], from(99)) {
		t.Error("there is room for one, and it is refused")
	}
}
