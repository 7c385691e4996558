package transport

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
	"golang.org/x/net/proxy"

	"mixdown/codec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for something that takes milliseconds.
const patience = 10 * time.Second

// startEngine runs an engine on a free loopback port for the length of a test.
func startEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	if cfg.UDP == nil {
		cfg.UDP = []string{"127.0.0.1:0"}
	}
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- e.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error("close:", err)
		}
		if err := <-ran; err != nil {
			t.Error("run:", err)
		}
		if n := e.Peers(); n != 0 {
			t.Errorf("%d peers are left", n)
		}
	})
	return e
}

// recorder is a Handler that keeps what it gets.
type recorder struct {
	mu       sync.Mutex
	audio    []*codec.EncodedFrame
	video    [codec.NumSources][]*codec.EncodedFrame
	feedback []codec.Feedback
	closed   int
	err      error
	after    int // calls after PeerClosed
	changed  chan struct{}
	hook     func() // called with every frame
}

func newRecorder(t testing.TB) *recorder {
	r := &recorder{changed: make(chan struct{})}
	t.Cleanup(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, list := range append(r.video[:], r.audio) {
			for _, f := range list {
				f.Release()
			}
		}
		if r.after > 0 {
			t.Errorf("%d calls after PeerClosed", r.after)
		}
		if r.closed > 1 {
			t.Errorf("PeerClosed was called %d times", r.closed)
		}
	})
	return r
}

func (r *recorder) note(f func()) {
	r.mu.Lock()
	if r.closed > 0 {
		r.after++
	}
	f()
	close(r.changed)
	r.changed = make(chan struct{})
	hook := r.hook
	r.mu.Unlock()
	if hook != nil {
		hook()
	}
}

func (r *recorder) WriteAudio(f *codec.EncodedFrame) {
	r.note(func() { r.audio = append(r.audio, f) })
}
func (r *recorder) WriteVideo(s codec.SourceID, f *codec.EncodedFrame) {
	r.note(func() { r.video[s] = append(r.video[s], f) })
}
func (r *recorder) Feedback(f codec.Feedback) {
	r.note(func() { r.feedback = append(r.feedback, f) })
}
func (r *recorder) PeerClosed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed++
	r.err = err
	close(r.changed)
	r.changed = make(chan struct{})
}

// wait returns once ok, which is called under the recorder's lock, says so.
func (r *recorder) wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	timeout, again := time.After(patience), time.NewTicker(10*time.Millisecond)
	defer again.Stop()
	for {
		r.mu.Lock()
		done, changed := ok(), r.changed
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-again.C: // ok may look at counters, which tell nobody
		case <-timeout:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func (r *recorder) linkIs(want codec.LinkState) func() bool {
	return func() bool {
		return slices.ContainsFunc(r.feedback, func(f codec.Feedback) bool { return f.Link == want })
	}
}

func (r *recorder) isClosed() bool { return r.closed > 0 }

// client is a pion client in the test's process, with a socket of its own.
type client struct {
	pc    *webrtc.PeerConnection
	conn  net.PacketConn
	mux   *ice.UDPMuxDefault
	audio *webrtc.TrackLocalStaticRTP
	video []*webrtc.TrackLocalStaticRTP
	send  []*webrtc.RTPSender

	mu      sync.Mutex
	packets map[string][]*rtp.Packet // by kind
	tracks  map[string]*webrtc.TrackRemote
	rtcp    []rtcp.Packet
	changed chan struct{}
	up      chan struct{}
	once    sync.Once
	readers sync.WaitGroup
}

type clientConfig struct {
	// directions of audio and of each video line; "" is none
	audio string
	video []string
	// wrap may put something in front of the socket
	wrap func(net.PacketConn) net.PacketConn
	// codecs: nil registers Opus, VP8 and RTX
	codecs func(*webrtc.MediaEngine)
	data   bool
	// interceptors of the client; nil is none
	interceptors *interceptor.Registry
	// relay, when set, is the only way; dial connects to it, over TCP
	relay *webrtc.ICEServer
	dial  proxy.Dialer
	// network that the client has; zero is UDP4
	network webrtc.NetworkType
	// roams says that each ICE session has a socket of its own
	roams bool
	// lite clients do not check, so the server must
	lite bool
}

func newClient(t testing.TB, cfg clientConfig) *client {
	t.Helper()
	c := &client{
		packets: make(map[string][]*rtp.Packet), tracks: make(map[string]*webrtc.TrackRemote),
		changed: make(chan struct{}), up: make(chan struct{}),
	}
	if cfg.network == 0 {
		cfg.network = webrtc.NetworkTypeUDP4
	}
	var s webrtc.SettingEngine
	quiet := pionLog{discardLog}
	if !cfg.roams && (cfg.network == webrtc.NetworkTypeUDP4 || cfg.network == webrtc.NetworkTypeUDP6) {
		address := net.IPv4(127, 0, 0, 1)
		if cfg.network == webrtc.NetworkTypeUDP6 {
			address = net.IPv6loopback
		}
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: address})
		if err != nil {
			t.Fatal(err)
		}
		c.conn = udp
		if cfg.wrap != nil {
			c.conn = cfg.wrap(udp)
		}
		c.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: c.conn, Logger: quiet.NewLogger("")})
	}
	var err error
	m := &webrtc.MediaEngine{}
	if cfg.codecs != nil {
		cfg.codecs(m)
	} else if m, err = newMediaEngine(); err != nil {
		t.Fatal(err)
	}
	s.LoggerFactory = quiet
	var servers webrtc.Configuration
	if cfg.relay != nil {
		servers.ICEServers, servers.ICETransportPolicy = []webrtc.ICEServer{*cfg.relay}, webrtc.ICETransportPolicyRelay
		s.SetICEProxyDialer(cfg.dial)
		s.SetRelayAcceptanceMinWait(0) // there is nothing better to wait for
	} else if c.mux != nil {
		s.SetICEUDPMux(c.mux)
	}
	s.SetIncludeLoopbackCandidate(true)
	s.SetLite(cfg.lite)
	s.SetNetworkTypes([]webrtc.NetworkType{cfg.network})
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	if cfg.interceptors == nil {
		cfg.interceptors = &interceptor.Registry{}
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(s), webrtc.WithInterceptorRegistry(cfg.interceptors))
	if c.pc, err = api.NewPeerConnection(servers); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.close() })
	c.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			c.once.Do(func() { close(c.up) })
		}
	})
	c.pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		c.readers.Add(2)
		go c.readTrack(track)
		go c.readRTCP(receiver.ReadRTCP)
	})
	add := func(kind webrtc.RTPCodecType, mime, direction string) {
		d := webrtc.NewRTPTransceiverDirection(direction)
		var tr *webrtc.RTPTransceiver
		if d == webrtc.RTPTransceiverDirectionRecvonly {
			_, err = c.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: d})
		} else {
			track, terr := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mime}, kind.String(), "client")
			if terr != nil {
				t.Fatal(terr)
			}
			if kind == webrtc.RTPCodecTypeAudio {
				c.audio = track
			} else {
				c.video = append(c.video, track)
			}
			if tr, err = c.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: d}); err == nil {
				c.send = append(c.send, tr.Sender())
				c.readers.Add(1)
				go c.readRTCP(tr.Sender().ReadRTCP)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if cfg.audio != "" {
		add(webrtc.RTPCodecTypeAudio, webrtc.MimeTypeOpus, cfg.audio)
	}
	for _, d := range cfg.video {
		add(webrtc.RTPCodecTypeVideo, webrtc.MimeTypeVP8, d)
	}
	if cfg.data {
		if _, err := c.pc.CreateDataChannel("mixdown", nil); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *client) close() {
	_ = c.pc.GracefulClose()
	if c.mux != nil {
		_ = c.mux.Close()
	}
	c.readers.Wait()
}

func (c *client) note(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *client) readTrack(track *webrtc.TrackRemote) {
	defer c.readers.Done()
	kind := track.Kind().String()
	c.note(func() { c.tracks[kind] = track })
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		c.note(func() { c.packets[kind] = append(c.packets[kind], p) })
	}
}

func (c *client) readRTCP(read func() ([]rtcp.Packet, interceptor.Attributes, error)) {
	defer c.readers.Done()
	for {
		packets, _, err := read()
		if err == io.EOF || err == io.ErrClosedPipe || len(packets) == 0 {
			return
		}
		c.note(func() { c.rtcp = append(c.rtcp, packets...) })
	}
}

func (c *client) wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	timeout, again := time.After(patience), time.NewTicker(10*time.Millisecond)
	defer again.Stop()
	for {
		c.mu.Lock()
		done, changed := ok(), c.changed
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-again.C: // ok may look at counters, which tell nobody
		case <-timeout:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// offer returns a complete offer.
func (c *client) offer(t testing.TB) string {
	t.Helper()
	offer, err := c.pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	return c.pc.LocalDescription().SDP
}

func (c *client) answer(t testing.TB, sdp string) {
	t.Helper()
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
		t.Fatalf("client refuses the answer: %v\n%s", err, sdp)
	}
}

// awaitUp waits until the client can send: before, pion drops without a word.
func (c *client) awaitUp(t testing.TB) {
	t.Helper()
	select {
	case <-c.up:
	case <-time.After(patience):
		t.Fatal("client did not connect")
	}
}

// join connects a client and waits until both ends are up.
func join(t testing.TB, e *Engine, h *recorder, role Role, cfg clientConfig) (*client, *Peer, Answer) {
	t.Helper()
	c := newClient(t, cfg)
	p, answer, err := e.Accept(context.Background(), Offer{SDP: c.offer(t), Role: role, Epoch: time.Now(), CNAME: "room", Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	c.answer(t, answer.SDP)
	c.awaitUp(t)
	h.wait(t, "link up", h.linkIs(codec.LinkUp))
	return c, p, answer
}

// opusSilence is a packet that says 20 ms of nothing.
var opusSilence = []byte{0xf8, 0xff, 0xfe}

// vp8Key and vp8Delta return frames that have a right header and are filled up
// to n bytes.
func vp8Key(width, height, n int) []byte {
	b := make([]byte, max(n, 10))
	copy(b, []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, byte(width), byte(width >> 8), byte(height), byte(height >> 8)})
	return b
}

func vp8Delta(n int) []byte {
	b := make([]byte, max(n, 10))
	b[0] = 0x11
	return b
}

// audioFrame and videoFrame make outbound frames.
func audioFrame(pts time.Duration) *codec.EncodedFrame {
	f := codec.NewEncodedFrame(len(opusSilence))
	f.Codec, f.PTS, f.Stream = codec.Opus, pts, 1
	f.Data = append(f.Data, opusSilence...)
	f.Heard = append(f.Heard, codec.Contributor{CSRC: 77, LevelDBov: 20})
	return f
}

func videoFrame(pts time.Duration, key bool, n int) *codec.EncodedFrame {
	f := codec.NewEncodedFrame(n)
	f.Codec, f.PTS, f.Stream, f.Key = codec.VP8, pts, 2, key
	if key {
		f.Data = append(f.Data, vp8Key(640, 360, n)...)
	} else {
		f.Data = append(f.Data, vp8Delta(n)...)
	}
	return f
}
