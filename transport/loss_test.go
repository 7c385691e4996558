package transport

import (
	"net"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"mixdown/codec"
	"mixdown/transport/transporttest"
)

// repairing is a client that asks for what it misses and repeats what is asked
// for, by RTX.
func repairing(t testing.TB) *interceptor.Registry {
	t.Helper()
	r := &interceptor.Registry{}
	generator, err := nack.NewGeneratorInterceptor(nack.GeneratorInterval(10 * time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	responder, err := nack.NewResponderInterceptor()
	if err != nil {
		t.Fatal(err)
	}
	r.Add(generator)
	r.Add(responder)
	return r
}

func linkSpec(t testing.TB, s string) transporttest.Spec {
	t.Helper()
	parsed, err := transporttest.ParseSpec(s)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// TestRepairToClient loses one packet in ten on the way to the client, which
// asks for them again.
func TestRepairToClient(t *testing.T) {
	for _, tc := range []struct {
		name   string
		codecs func(*webrtc.MediaEngine)
	}{{"by RTX", nil}, {"without RTX", onlyVP8}} {
		t.Run(tc.name, func(t *testing.T) {
			e := startEngine(t, Config{})
			h := newRecorder(t)
			c, p, _ := join(t, e, h, RoleViewer, clientConfig{
				video: []string{"recvonly"}, interceptors: repairing(t), codecs: tc.codecs,
				wrap: func(conn net.PacketConn) net.PacketConn {
					return transporttest.WrapPacketConn(conn, linkSpec(t, "loss=10%,delay=5ms"), linkSpec(t, "delay=5ms"), 7)
				},
			})
			if rtx := p.out.video.rtx != 0; rtx != (tc.codecs == nil) {
				t.Fatalf("RTX negotiated: %v", rtx)
			}
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for i := 0; ; i++ {
					f := videoFrame(time.Duration(i)*33*time.Millisecond, i == 0, 2500)
					p.WriteVideo(f)
					f.Release()
					select {
					case <-stop:
						return
					case <-time.After(10 * time.Millisecond):
					}
				}
			}()
			defer func() { close(stop); <-stopped }()
			// Of 200 packets 20 are lost. On a busy machine a request may come
			// after the second for which packets are kept.
			const window, tolerated = 200, 3
			c.wait(t, "lost packets", func() bool {
				have := make(map[uint16]bool)
				for _, pkt := range c.packets["video"] {
					have[pkt.SequenceNumber-c.packets["video"][0].SequenceNumber] = true
				}
				missing := 0
				for i := range uint16(window) {
					if !have[i] {
						missing++
					}
				}
				return missing <= tolerated
			})
			h.wait(t, "the count of repairs", func() bool { return p.Stats().Retransmitted > 5 })
		})
	}
}

// onlyVP8 are the codecs of a client that knows no RTX.
func onlyVP8(m *webrtc.MediaEngine) {
	_ = m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeVP8, ClockRate: videoClockRate,
		RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}},
	}, PayloadType: 120}, webrtc.RTPCodecTypeVideo) // a fresh engine takes it
}

// TestRepairFromClient loses packets on the way from the client; what is missing
// is asked for and comes by RTX. A repair is waited for some 100 ms, which a busy
// machine may need for something else: then it is tried again.
func TestRepairFromClient(t *testing.T) {
	var s PeerStats
	for range 4 {
		if s = repairFromClient(t); s.NACKsSent >= 5 && s.FramesBroken == 0 {
			return
		}
	}
	t.Errorf("stats are %+v", s)
}

func repairFromClient(t *testing.T) PeerStats {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	c, p, _ := join(t, e, h, RolePublisher, clientConfig{
		video: []string{"sendonly"}, interceptors: repairing(t),
		wrap: func(conn net.PacketConn) net.PacketConn {
			return transporttest.WrapPacketConn(conn, linkSpec(t, "delay=5ms"), linkSpec(t, "loss=10%,delay=5ms"), 3)
		},
	})
	const frames = 100
	for i := range frames + 20 {
		if err := c.video[0].WriteRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, Marker: true, SequenceNumber: uint16(i), Timestamp: uint32(i) * 3000},
			Payload: append([]byte{0x90, 0x80, byte(i & 0x7f)}, keyOrDelta(i)...),
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // the pace of the camera
	}
	h.wait(t, "every picture", func() bool { return len(h.video[codec.Camera]) >= frames || p.Stats().FramesBroken > 0 })
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, f := range h.video[codec.Camera][1:] {
		if f.PTS <= h.video[codec.Camera][i].PTS {
			t.Fatalf("picture %d is not after %d", i+1, i)
		}
	}
	return p.Stats()
}

func keyOrDelta(i int) []byte {
	if i%50 == 0 { // the very first may be lost before there is anything to miss
		return vp8Key(640, 360, 300)
	}
	return vp8Delta(300)
}

// TestTransportFeedback: a sender that numbers its packets hears which came.
func TestTransportFeedback(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	r := &interceptor.Registry{}
	numbering, err := twcc.NewHeaderExtensionInterceptor()
	if err != nil {
		t.Fatal(err)
	}
	r.Add(numbering)
	c, _, _ := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv", video: []string{"sendrecv"}, interceptors: r})
	c.talk(t, 0, 10)
	received := func() (n int) {
		for _, packet := range c.rtcp {
			if m, ok := packet.(*rtcp.TransportLayerCC); ok {
				n += len(m.RecvDeltas)
			}
		}
		return n
	}
	c.wait(t, "feedback on all packets", func() bool { return received() == 20 })
	if n := len(c.rtcp); n > 15 {
		t.Errorf("%d packets of RTCP for that", n)
	}
}
