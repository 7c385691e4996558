package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/transport"
	"mixdown/transport/transporttest"
)

// patience is how long a test waits for something that takes milliseconds.
const patience = 20 * time.Second

// server is the project's own transport behind the smallest of APIs: what the
// client and it agree on, they agree on without sharing code.
type server struct {
	url    string
	events http.HandlerFunc // of a session; nil: there are none

	mu      sync.Mutex
	peer    *transport.Peer
	answer  transport.Answer
	sound   []*codec.EncodedFrame
	frames  int // pictures
	keys    int
	reports []codec.Feedback
	left    int // sessions deleted
	closed  error
	gone    bool
}

func startServer(t testing.TB, cfg transport.Config) *server {
	t.Helper()
	cfg.UDP = []string{"127.0.0.1:0"}
	engine, err := transport.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- engine.Run(context.Background()) }()
	s := &server{}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			s.mu.Lock()
			s.left++
			s.mu.Unlock()
			return
		}
		if r.Method == http.MethodGet {
			if s.events == nil {
				http.NotFound(w, r)
				return
			}
			s.events(w, r)
			return
		}
		offer, _ := io.ReadAll(r.Body)
		p, answer, err := engine.Accept(r.Context(), transport.Offer{SDP: string(offer), Epoch: time.Now(), Handler: s})
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.peer, s.answer = p, answer
		s.mu.Unlock()
		w.Header().Set("Location", "/v1/sessions/x")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, answer.SDP)
	}))
	s.url = h.URL + "/r/room"
	t.Cleanup(func() {
		h.Close()
		if err := errors.Join(engine.Close(), <-ran); err != nil {
			t.Error(err)
		}
		for _, f := range s.sound {
			f.Release()
		}
	})
	return s
}

func (s *server) WriteAudio(f *codec.EncodedFrame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sound = append(s.sound, f)
}

func (s *server) WriteVideo(_ codec.SourceID, f *codec.EncodedFrame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames++
	if f.Key {
		s.keys++
	}
	f.Release()
}

func (s *server) Feedback(f codec.Feedback) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = append(s.reports, f)
}

func (s *server) PeerClosed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone, s.closed = true, err
}

// until waits for ok, which is called under the server's lock.
func (s *server) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		done := ok()
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// run runs a client until the returned function is called, which gives Run's error.
func run(t testing.TB, cfg Config) (c *Client, stop func() error) {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ran
	})
	t.Cleanup(func() { _ = stop() })
	select {
	case <-c.Connected():
	case err := <-ran:
		ran <- err
		t.Fatalf("it did not connect: %v", err)
	case <-time.After(patience):
		t.Fatal("it did not connect")
	}
	return c, stop
}

// soundClip is n packets of 20 ms; the ones that pause says are DTX.
func soundClip(n int, pause func(i int) bool) *clip.Clip {
	c := &clip.Clip{Codec: codec.Opus}
	for i := range n {
		u := clip.Unit{Data: []byte{0xf8, byte(i), byte(i >> 8)}, Key: true, Duration: codec.FrameDuration, Level: codec.AudioLevel{DBov: uint8(i % 128), Voice: true, Valid: true}}
		if pause != nil && pause(i) {
			u.Data = u.Data[:1]
		}
		c.Units = append(c.Units, u)
	}
	return c
}

// pictureClip is a key frame and n more pictures, of several packets each.
func pictureClip(n int) *clip.Clip {
	c := &clip.Clip{Codec: codec.VP8, Width: 640, Height: 360}
	for i := range n + 1 {
		head := []byte{0x11, 0, 0}
		if i == 0 {
			head = []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01}
		}
		// The first partition is all there is (RFC 6386 section 9.1).
		head[0] |= byte(3000&7) << 5
		head[1], head[2] = 3000>>3&0xff, 3000>>11
		c.Units = append(c.Units, clip.Unit{Data: append(head, make([]byte, 3000)...), Key: i == 0, Duration: 20 * time.Millisecond})
	}
	return c
}

// mix is a frame of what the server sends.
func mix(tick int, dtx bool) *codec.EncodedFrame {
	f := codec.NewEncodedFrame(3)
	f.Codec, f.PTS, f.DTX = codec.Opus, time.Duration(tick)*codec.FrameDuration, dtx
	f.Data = append(f.Data, 0xf8, 0xff, 0xfe)
	f.Heard = append(f.Heard, codec.Contributor{CSRC: 77, LevelDBov: 21}, codec.Contributor{CSRC: 78, LevelDBov: 33})
	return f
}

func TestBothWays(t *testing.T) {
	for name, cfg := range map[string]transport.Config{"ICE-lite": {}, "full ICE": {FullICE: true}} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, cfg)
			var mu sync.Mutex
			var got []Packet
			var pictures []Frame
			c, stop := run(t, Config{
				URL: s.url, Video: Loop(pictureClip(50)), Audio: Loop(soundClip(500, nil)),
				OnAudio: func(p Packet) {
					mu.Lock()
					defer mu.Unlock()
					p.Data, p.Heard = slices.Clone(p.Data), slices.Clone(p.Heard)
					got = append(got, p)
				},
				OnVideo: func(f Frame) {
					mu.Lock()
					defer mu.Unlock()
					pictures = append(pictures, f)
				},
			})
			s.until(t, "media from the client", func() bool { return len(s.sound) > 20 && s.frames > 20 })
			for i := range 10 {
				f := mix(i, false)
				s.peer.WriteAudio(f)
				f.Release()
				v := codec.NewEncodedFrame(3000)
				u := pictureClip(1).Units[min(i, 1)]
				v.Codec, v.Stream, v.PTS, v.Key = codec.VP8, 9, time.Duration(i)*33*time.Millisecond, u.Key
				v.Data = append(v.Data, u.Data...)
				s.peer.WriteVideo(v)
				v.Release()
				s.until(t, "it", func() bool { return c.Stats().AudioReceived.Packets == uint64(i+1) })
			}
			s.until(t, "the pictures", func() bool { return c.Stats().VideoReceived.Frames == 10 })
			// Round trips come from reports that answer the server's.
			s.until(t, "reports on both streams", func() bool {
				var sound, picture bool
				for _, f := range s.reports {
					sound = sound || f.AudioReport && f.RTT > 0
					picture = picture || f.Report && f.RTT > 0
				}
				return sound && picture
			})
			if err := stop(); err != nil {
				t.Error(err)
			}
			s.until(t, "its goodbye", func() bool { return s.left == 1 && s.gone })
			if s.closed != nil {
				t.Errorf("the peer ended with %v", s.closed)
			}
			for i, f := range s.sound {
				if f.Seq-s.sound[0].Seq != int64(i) || f.PTS-s.sound[0].PTS != time.Duration(i)*codec.FrameDuration || f.Level.DBov != f.Data[1]&0x7f || !f.Level.Voice {
					t.Fatalf("packet %d came as %+v", i, f)
				}
			}
			if f := s.sound[len(s.sound)-1]; f.Capture == 0 {
				t.Error("no sender report came in time")
			}
			if len(got) != 10 || len(pictures) != 10 {
				t.Fatalf("%d packets and %d pictures came", len(got), len(pictures))
			}
			for i, p := range got {
				if p.PTS != time.Duration(i)*codec.FrameDuration || string(p.Data) != "\xf8\xff\xfe" || len(p.Heard) != 2 || p.Heard[1] != (codec.Contributor{CSRC: 78, LevelDBov: 33}) {
					t.Errorf("packet %d is %+v", i, p)
				}
			}
			st := c.Stats()
			if st.AudioReceived.Lost != 0 || st.VideoReceived.Lost != 0 || st.VideoReceived.Width != 640 || st.AudioSent.Packets == 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestRepetitionFillsHoles: over a path that loses packets the server gets the
// sound whole, from the packets that came after.
func TestRepetitionFillsHoles(t *testing.T) {
	for _, red := range []int{1, 2} {
		s := startServer(t, transport.Config{})
		_, stop := run(t, Config{URL: s.url, NoVideo: true, RED: red, Audio: Loop(soundClip(1<<15, nil)), Conn: impaired(t, transporttest.Spec{Loss: 0.2})})
		s.until(t, "sound", func() bool { return len(s.sound) > 60 })
		if err := stop(); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		sound := s.sound
		s.mu.Unlock()
		redundant, holes := 0, 0
		for i, f := range sound {
			if f.Redundant {
				redundant++
			}
			if i > 0 {
				holes += int(f.Seq - sound[i-1].Seq - 1)
			}
			if n := int64(f.Data[1]) | int64(f.Data[2])<<8; n != f.Seq-sound[0].Seq+int64(sound[0].Data[1]) {
				t.Fatalf("packet %d of the clip came as number %d", n, f.Seq-sound[0].Seq)
			}
		}
		if redundant == 0 || holes > redundant/2 {
			t.Errorf("RED %d: %d of %d packets came again, %d are missing", red, redundant, len(sound), holes)
		}
	}
}

func TestRepetitionIsNotForced(t *testing.T) {
	s := startServer(t, transport.Config{NoRED: true})
	_, stop := run(t, Config{URL: s.url, NoVideo: true, RED: 2, Audio: Loop(soundClip(500, nil))})
	s.until(t, "sound", func() bool { return len(s.sound) > 5 })
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// impaired is a socket on a bad path; the client closes it.
func impaired(t testing.TB, out transporttest.Spec) net.PacketConn {
	t.Helper()
	return transporttest.WrapPacketConn(udpSocket(t), transporttest.Spec{}, out, 3)
}

func udpSocket(t testing.TB) net.PacketConn {
	t.Helper()
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return udp
}

// TestSilenceIsNotSent: of a pause the server gets the beginning, an update each
// 400 ms, and no hole in the numbers.
func TestSilenceIsNotSent(t *testing.T) {
	s := startServer(t, transport.Config{})
	// Sound, then DTX that the encoder refreshes once: as libopus does it.
	speaks := func(i int) bool { return i < 5 || i == 25 || i >= 40 }
	c, stop := run(t, Config{URL: s.url, NoVideo: true, Audio: Loop(soundClip(1<<15, func(i int) bool { return !speaks(i) }))})
	s.until(t, "sound after the pause", func() bool { return len(s.sound) >= 12 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	want := []int{0, 1, 2, 3, 4, 5, 25, 26, 40, 41, 42, 43}
	for i, tick := range want {
		f := s.sound[i]
		if f.Seq-s.sound[0].Seq != int64(i) || f.PTS != time.Duration(tick)*codec.FrameDuration {
			t.Errorf("packet %d is number %d, at %v: want %v", i, f.Seq-s.sound[0].Seq, f.PTS, time.Duration(tick)*codec.FrameDuration)
		}
	}
	if st := c.Stats().AudioSent; st.Silent != 19+13 {
		t.Errorf("%d units were silent, want 32", st.Silent)
	}
}

// TestPausesOfTheServer are no loss and no gap.
func TestPausesOfTheServer(t *testing.T) {
	s := startServer(t, transport.Config{})
	c, stop := run(t, Config{URL: s.url, NoVideo: true})
	s.until(t, "link up", func() bool { return len(s.reports) > 0 })
	sent := uint64(0)
	for i := range 200 {
		f := mix(i, i > 10 && i < 190)
		s.peer.WriteAudio(f)
		f.Release()
		switch {
		case i <= 11 || i > 190: // of the pause the first packet comes,
			sent++
		case i == 190: // and the last, before the sound that ends it
			sent += 2
		}
		s.until(t, fmt.Sprintf("packet %d of tick %d", sent, i), func() bool { return c.Stats().AudioReceived.Packets == sent })
	}
	if st := c.Stats().AudioReceived; st.Lost != 0 || st.Paused != 177*codec.FrameDuration {
		t.Errorf("%+v: want no loss and 177 ticks of pause", st)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestPictureOverLoss: what is lost on the way out is asked for and comes again,
// each way.
func TestPictureOverLoss(t *testing.T) {
	s := startServer(t, transport.Config{})
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	bad := transporttest.Spec{Loss: 0.05}
	c, stop := run(t, Config{URL: s.url, Video: Loop(pictureClip(5000)), Conn: transporttest.WrapPacketConn(udp, bad, bad, 7)})
	s.until(t, "link up", func() bool { return len(s.reports) > 0 })
	units := pictureClip(1).Units
	for i := range 100 {
		v := codec.NewEncodedFrame(4000)
		u := units[min(i, 1)]
		v.Codec, v.Stream, v.PTS, v.Key = codec.VP8, 9, time.Duration(i)*33*time.Millisecond, u.Key
		v.Data = append(v.Data, u.Data...)
		s.peer.WriteVideo(v)
		v.Release()
		time.Sleep(5 * time.Millisecond) // the pace of a source
	}
	s.until(t, "pictures", func() bool { return s.frames > 100 && c.Stats().VideoReceived.Frames > 60 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	st := c.Stats()
	if st.VideoReceived.Missing == 0 || st.VideoReceived.Lost > st.VideoReceived.Missing/2 {
		t.Errorf("%d packets missing, %d for good", st.VideoReceived.Missing, st.VideoReceived.Lost)
	}
	if st.VideoSent.Resent == 0 {
		t.Error("the server asked for nothing again")
	}
}

func TestServerGoes(t *testing.T) {
	s := startServer(t, transport.Config{})
	c, err := New(Config{URL: s.url, NoVideo: true})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- c.Run(context.Background()) }()
	<-c.Connected()
	s.until(t, "link up", func() bool { return len(s.reports) > 0 })
	if err := s.peer.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ran:
		if !errors.Is(err, ErrDisconnected) {
			t.Errorf("Run returned %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it did not notice")
	}
}

// TestNoServer: nobody answers the checks.
func TestNoServer(t *testing.T) {
	s := startServer(t, transport.Config{})
	c, err := New(Config{URL: s.url, NoVideo: true, ConnectTimeout: 300 * time.Millisecond, Conn: impaired(t, transporttest.Spec{Loss: 1})})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); !errors.Is(err, ErrNoConnection) {
		t.Errorf("Run returned %v", err)
	}
	if s.left != 1 {
		t.Error("the session was not given up")
	}
	// Nor does one that was told to stop complain.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err = New(Config{URL: s.url})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(ctx); err != nil {
		t.Errorf("Run returned %v", err)
	}
}
