package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/transport/v4/packetio"
)

func TestEngineConfig(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  Config
	}{
		{"negative timeout", Config{ConnectTimeout: -1}},
		{"vanishes before it is lost", Config{LostAfter: 5 * time.Second, VanishAfter: 4 * time.Second}},
		{"negative bound", Config{MaxPeers: -1}},
		{"no port", Config{UDP: []string{"127.0.0.1"}}},
		{"no number", Config{UDP: []string{"127.0.0.1:http:"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := New(tc.cfg); !errors.Is(err, ErrBadConfig) {
				t.Errorf("error is %v", err)
			}
		})
	}
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := New(Config{UDP: []string{"127.0.0.1:0", taken.LocalAddr().String()}}); err == nil {
		t.Error("a taken port is no error")
	}
}

func TestEngineSockets(t *testing.T) {
	e := startEngine(t, Config{UDP: []string{":0", "127.0.0.1:0"}})
	addrs := e.Addrs()
	if len(addrs) < 2 {
		t.Fatalf("addresses are %v", addrs)
	}
	all := addrs[:len(addrs)-1]
	loopback := false
	for _, a := range all {
		if a.Port() != all[0].Port() || a.Port() == 0 {
			t.Errorf("port of %v is another than of %v", a, all[0])
		}
		loopback = loopback || a.Addr() == netip.MustParseAddr("127.0.0.1")
	}
	if !loopback {
		t.Errorf("no loopback in %v", all)
	}
	// A client that has only a loopback address connects.
	h := newRecorder(t)
	join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv"})
}

func TestEngineLife(t *testing.T) {
	t.Run("closed before it ran", func(t *testing.T) {
		e, err := New(Config{UDP: []string{"127.0.0.1:0"}})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := e.Run(context.Background()); !errors.Is(err, ErrClosed) {
			t.Errorf("Run says %v", err)
		}
		offer := Offer{SDP: readOffer(t, "chromium-viewer"), Epoch: time.Now(), Handler: newRecorder(t)}
		if _, _, err := e.Accept(context.Background(), offer); !errors.Is(err, ErrClosed) {
			t.Errorf("Accept says %v", err)
		}
	})
	t.Run("ends with its context and takes its peers along", func(t *testing.T) {
		e, err := New(Config{UDP: []string{"127.0.0.1:0"}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		h := newRecorder(t)
		accepted := make(chan *Peer, 1)
		go func() { // waits for Run
			p, _, err := e.Accept(context.Background(), Offer{SDP: readOffer(t, "chromium-viewer"), Epoch: time.Now(), Handler: h})
			if err != nil {
				t.Error(err)
			}
			accepted <- p
		}()
		go func() { ran <- e.Run(ctx) }()
		p := <-accepted
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run says %v", err)
		}
		<-p.Done()
		if h.closed != 1 || h.err != nil {
			t.Errorf("PeerClosed %d times with %v", h.closed, h.err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAcceptRefuses(t *testing.T) {
	e := startEngine(t, Config{MaxPeers: 1})
	h := newRecorder(t)
	good := Offer{SDP: readOffer(t, "chromium-participant"), Epoch: time.Now(), Handler: h}
	with := func(change func(*Offer)) Offer {
		o := good
		change(&o)
		return o
	}
	for _, tc := range []struct {
		name  string
		offer Offer
		want  error
	}{
		{"no handler", with(func(o *Offer) { o.Handler = nil }), ErrBadConfig},
		{"no epoch", with(func(o *Offer) { o.Epoch = time.Time{} }), ErrBadConfig},
		{"odd role", with(func(o *Offer) { o.Role = 9 }), ErrBadConfig},
		{"odd name", with(func(o *Offer) { o.CNAME = "a b" }), ErrBadConfig},
		{"garbage", with(func(o *Offer) { o.SDP = "garbage" }), ErrBadSDP},
		{"wrong direction", with(func(o *Offer) { o.SDP, o.Role = readOffer(t, "obs"), RoleViewer }), ErrNoUsableCodec},
	} {
		if _, _, err := e.Accept(context.Background(), tc.offer); !errors.Is(err, tc.want) {
			t.Errorf("%s: error is %v, want %v", tc.name, err, tc.want)
		}
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	quick := with(func(o *Offer) { o.Handler = newRecorder(t) })
	if p, _, err := e.Accept(cancelled, quick); err == nil {
		p.Close() // gathering may have been quicker
	}
	p, _, err := e.Accept(context.Background(), good)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Accept(context.Background(), good); !errors.Is(err, ErrExhausted) {
		t.Errorf("one too many: error is %v", err)
	}
	p.Close()
	h2 := newRecorder(t)
	good.Handler = h2
	p, _, err = e.Accept(context.Background(), good)
	if err != nil {
		t.Fatalf("room was not given back: %v", err)
	}
	p.Close()
}

// TestManyLives is for the leak check that ends this package's tests.
func TestManyLives(t *testing.T) {
	e := startEngine(t, Config{})
	offer := readOffer(t, "chromium-participant")
	for range 100 {
		p, _, err := e.Accept(context.Background(), Offer{SDP: offer, Epoch: time.Now(), Handler: newRecorder(t)})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		h := newRecorder(t)
		c, p, _ := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv", video: []string{"sendrecv"}, data: true})
		c.talk(t, 0, 1)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		c.close()
	}
}

func TestMisbehaviour(t *testing.T) {
	for kind, name := range map[packetio.BufferPacketType]string{packetio.RTPBufferPacket: "RTP", packetio.RTCPBufferPacket: "RTCP"} {
		t.Run("too many streams in "+name, func(t *testing.T) {
			e := startEngine(t, Config{})
			h := newRecorder(t)
			_, p, _ := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv"})
			for i := range maxStreams + 1 {
				p.buffer(kind, uint32(i))
			}
			h.wait(t, "PeerClosed", h.isClosed)
			if !errors.Is(h.err, ErrMisbehaved) {
				t.Errorf("closed by %v", h.err)
			}
		})
	}
	t.Run("too many packets", func(t *testing.T) {
		e := startEngine(t, Config{MaxUplinkPackets: 10})
		h := newRecorder(t)
		c, p, _ := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv"})
		c.talk(t, 0, 50)
		h.wait(t, "packets to be dropped", func() bool {
			s := p.Stats()
			return s.ReceivedPackets == 50 && s.Policed >= 30 && len(h.audio) == int(50-s.Policed)
		})
	})
}
