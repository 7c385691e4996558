package transport

import (
	"context"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mixdown/codec"
)

// cpuTime is what this process has used.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// blackHole is a client's socket that stops handing on what it receives, so
// that the client costs little more than the kernel.
type blackHole struct {
	net.PacketConn
	dark atomic.Bool
}

func (b *blackHole) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, addr, err := b.PacketConn.ReadFrom(p)
		// STUN and DTLS pass; SRTP and SRTCP start with 128..191 (RFC 7983).
		if err != nil || !b.dark.Load() || n > 0 && p[0] < 128 {
			return n, addr, err
		}
	}
}

// BenchmarkOutbound is the cost of one packet to a client: pacing, packetising,
// SRTP and the socket, the client's side of the kernel included.
func BenchmarkOutbound(b *testing.B) {
	e := startEngine(b, Config{StartBps: 4_000_000_000})
	h := newRecorder(b)
	hole := &blackHole{}
	_, p, _ := join(b, e, h, RoleViewer, clientConfig{
		audio: "recvonly", video: []string{"recvonly"},
		wrap: func(c net.PacketConn) net.PacketConn { hole.PacketConn = c; return hole },
	})
	hole.dark.Store(true)
	b.ReportAllocs()
	start := cpuTime(b)
	for i := 0; b.Loop(); i++ {
		f := videoFrame(time.Duration(i+1)*33*time.Millisecond, i == 0, 11000)
		verdict := p.WriteVideo(f)
		f.Release()
		if verdict != codec.Sent {
			b.Fatalf("picture %d is %v", i, verdict)
		}
		for p.out.queued() { // the loop is at it
			runtime.Gosched()
		}
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(p.Stats().SentPackets), "cpu-ns/packet")
}

// queued reports whether video waits.
func (o *outbound) queued() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pacer.videoQ.len() > 0 || o.pacer.video.frame != nil
}

// BenchmarkSendto is the floor under BenchmarkOutbound.
func BenchmarkSendto(b *testing.B) {
	a, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	z, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			if _, _, err := z.ReadFromUDPAddrPort(buf); err != nil {
				return
			}
		}
	}()
	to := z.LocalAddr().(*net.UDPAddr).AddrPort()
	pkt := make([]byte, 1150)
	start := cpuTime(b)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if _, err := a.WriteToUDPAddrPort(pkt, to); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(n), "cpu-ns/packet")
	z.Close()
	<-done
}

// BenchmarkRoomOfViewers is what one viewer costs per second of a call: 50
// packets of sound and 30 pictures of 5 packets.
func BenchmarkRoomOfViewers(b *testing.B) {
	const viewers = 8
	e := startEngine(b, Config{})
	var peers [viewers]*Peer
	for i := range peers {
		h := newRecorder(b)
		hole := &blackHole{}
		_, peers[i], _ = join(b, e, h, RoleViewer, clientConfig{
			audio: "recvonly", video: []string{"recvonly"},
			wrap: func(c net.PacketConn) net.PacketConn { hole.PacketConn = c; return hole },
		})
		hole.dark.Store(true)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	start := cpuTime(b)
	began := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	n := 0
	for b.Loop() { // one iteration is 10 ms of the call
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if n%2 == 0 {
			f := audioFrame(time.Duration(n) * 10 * time.Millisecond)
			for _, p := range peers {
				p.WriteAudio(f)
			}
			f.Release()
		}
		if n%10 == 0 || n%10 == 3 || n%10 == 6 {
			f := videoFrame(time.Duration(n)*10*time.Millisecond, n == 0, 5500)
			for _, p := range peers {
				p.WriteVideo(f)
			}
			f.Release()
		}
		n++
	}
	used := cpuTime(b) - start
	var packets uint64
	for _, p := range peers {
		packets += p.Stats().SentPackets
	}
	b.ReportMetric(used.Seconds()/time.Since(began).Seconds()/viewers*1000, "millicores/viewer")
	b.ReportMetric(float64(used)/float64(packets), "cpu-ns/packet")
}

// BenchmarkAccept is what an answer to a browser costs, and its peer's end.
func BenchmarkAccept(b *testing.B) {
	e := startEngine(b, Config{})
	offer := Offer{SDP: readOffer(b, "chromium-participant"), Epoch: time.Now(), Handler: dropAll{}}
	b.ReportAllocs()
	for b.Loop() {
		p, _, err := e.Accept(context.Background(), offer)
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
}
