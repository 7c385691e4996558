package transport

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/transport/v4/packetio"

	"mixdown/codec"
)

// dropAll is a Handler that keeps nothing.
type dropAll struct{}

func (dropAll) WriteAudio(f *codec.EncodedFrame)                   { f.Release() }
func (dropAll) WriteVideo(_ codec.SourceID, f *codec.EncodedFrame) { f.Release() }
func (dropAll) Feedback(codec.Feedback)                            {}
func (dropAll) PeerClosed(error)                                   {}

// offlinePeer is a peer of which only the part behind SRTP exists: what is
// written to its buffers is handled as if it had been decrypted.
func offlinePeer(t testing.TB, h Handler) *Peer {
	t.Helper()
	plan, err := parseOffer(readOffer(t, "chromium-participant"), RoleParticipant, h264Ways{})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := Config{MaxUplinkPackets: 1 << 30, MaxUplinkBps: 1 << 40}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	p := &Peer{
		cfg: &cfg, log: cfg.Log, handler: h, plan: plan,
		deadlineIndex: -1, ending: make(chan struct{}), done: make(chan struct{}),
	}
	p.out.audioSSRC, p.out.videoSSRC = 1001, 1002
	p.out.pacer = newPacer(pacerConfig{AudioSSRC: 1001, VideoSSRC: 1002, RTXSSRC: 1003, RTXPT: 97, AudioPT: 111, VideoPT: 96})
	p.in.init(plan, &cfg, 1001)
	return p
}

// streamsOf are the SSRCs that the recorded offer declares, ours, and some that
// nobody has heard of.
var streamsOf = []uint32{2573355466, 1964495580, 1621629988, 3643788868, 2161514503, 1001, 1002, 1003, 0, 7, 8}

// hostilePackets are well-formed packets to start from.
func hostilePackets(t testing.TB) (media, control [][]byte) {
	t.Helper()
	add := func(p *rtp.Packet, mid string) {
		_ = p.SetExtension(3, []byte{0, 9}) // transport-cc: cannot fail
		if mid != "" {
			_ = p.SetExtension(4, []byte(mid))
		}
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		media = append(media, b)
	}
	for i, ssrc := range streamsOf {
		sound := soundPacket(i)
		sound.SSRC, sound.PayloadType = ssrc, 111
		add(sound, "0")
		red := soundPacket(2 * i) // each second one is missing
		red.SSRC, red.PayloadType = ssrc, 63
		red.Payload = redPayload(redBlock{111, 960, opusSilence}, redBlock{111, 0, opusSilence})
		add(red, "0")
		picture := picturePacket(i % 3)
		picture.SSRC, picture.PayloadType = ssrc, 96
		add(picture, "1")
		repair := picturePacket(i)
		repair.SSRC, repair.PayloadType = ssrc, 97
		repair.Payload = append([]byte{0, byte(i)}, repair.Payload...)
		add(repair, "")
	}
	for _, packets := range [][]rtcp.Packet{
		{&rtcp.SenderReport{SSRC: 1964495580, NTPTime: 1 << 60, RTPTime: 5, Reports: []rtcp.ReceptionReport{{SSRC: 1002, LastSenderReport: 1}}}},
		{&rtcp.ReceiverReport{SSRC: 5, Reports: []rtcp.ReceptionReport{{SSRC: 1001, FractionLost: 255, TotalLost: 1<<24 - 1}}}},
		{&rtcp.PictureLossIndication{MediaSSRC: 1002}, &rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: 1002}}}},
		{&rtcp.TransportLayerNack{MediaSSRC: 1002, Nacks: []rtcp.NackPair{{PacketID: 1, LostPackets: 0xffff}}}},
		{&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e6, SSRCs: []uint32{1002}}},
		{&rtcp.Goodbye{Sources: []uint32{1964495580}}},
		{&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{Source: 3, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "x"}}}}}},
	} {
		b, err := rtcp.Marshal(packets)
		if err != nil {
			t.Fatal(err)
		}
		control = append(control, b)
	}
	return media, control
}

// FuzzInbound feeds decrypted packets, cut out of the fuzzer's bytes, to a
// peer: nothing that an authenticated client sends may make it panic.
func FuzzInbound(f *testing.F) {
	media, control := hostilePackets(f)
	for i, m := range media {
		f.Add(uint8(i%len(streamsOf)), m, control[i%len(control)])
	}
	f.Fuzz(func(t *testing.T, stream uint8, media, control []byte) {
		p := offlinePeer(t, dropAll{})
		defer p.in.close()
		defer p.out.close()
		ssrc := streamsOf[int(stream)%len(streamsOf)]
		in := p.buffer(packetio.RTPBufferPacket, ssrc)
		ctl := p.buffer(packetio.RTCPBufferPacket, ssrc)
		for len(media) > 0 {
			n := min(len(media), 64)
			_, _ = in.Write(media[:n]) // a sink takes everything
			_, _ = in.Write(media)
			_, _ = ctl.Write(control)
			media = media[n:]
		}
		// What the loop would do, without a connection to write to.
		p.in.mu.Lock()
		for _, l := range p.in.lines {
			if l.video != nil {
				p.deliver(l, codec.Now()+time.Second)
				p.request(l, codec.Now()+time.Second)
			}
		}
		p.in.mu.Unlock()
		p.receptionBlocks(codec.Now())
	})
}

// TestHostilePackets sends 10,000 broken packets through one client's session
// while another client of the engine is talking: nothing happens to him, and
// memory stays flat.
func TestHostilePackets(t *testing.T) {
	e := startEngine(t, Config{MaxUplinkPackets: 1 << 20, MaxUplinkBps: 1 << 30})
	good := newRecorder(t)
	friend, _, _ := join(t, e, good, RoleParticipant, clientConfig{audio: "sendrecv", video: []string{"sendrecv"}})
	evil := newRecorder(t)
	c, p, _ := join(t, e, evil, RoleParticipant, clientConfig{audio: "sendrecv", video: []string{"sendrecv"}})

	media, control := hostilePackets(t)
	random := rand.New(rand.NewPCG(1, 2))
	var sinks [2][]interface{ Write([]byte) (int, error) }
	for _, ssrc := range streamsOf {
		sinks[0] = append(sinks[0], p.buffer(packetio.RTPBufferPacket, ssrc))
		sinks[1] = append(sinks[1], p.buffer(packetio.RTCPBufferPacket, ssrc))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 10_000 {
		kind := i & 1
		list := [][][]byte{media, control}[kind]
		b := append([]byte(nil), list[random.IntN(len(list))]...)
		for range random.IntN(4) {
			b[random.IntN(len(b))] = byte(random.Uint32())
		}
		b = b[:random.IntN(len(b)+1)]
		if _, err := sinks[kind][random.IntN(len(streamsOf))].Write(b); err != nil {
			t.Fatal(err)
		}
		if i%500 == 0 {
			// Over the wire too, as far as pion's client lets it out.
			_ = c.video[0].WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(random.Uint32())}, Payload: b})
			_ = c.pc.WriteRTCP([]rtcp.Packet{(*rtcp.RawPacket)(&b)})
			friend.talk(t, i/500, i/500+1)
		}
	}
	good.wait(t, "the friend's media", func() bool { return len(good.audio) == 20 && len(good.video[codec.Camera]) == 20 })
	for i, f := range good.audio {
		if f.Seq != good.audio[0].Seq+int64(i) {
			t.Errorf("sound %d has number %d", i, f.Seq)
		}
	}
	// What came of the evil one is the recorder's; the rest must not grow.
	evil.mu.Lock()
	for i := range evil.video {
		for _, f := range evil.video[i] {
			f.Release()
		}
		evil.video[i] = nil
	}
	for _, f := range evil.audio {
		f.Release()
	}
	evil.audio = nil
	closed := evil.closed
	evil.mu.Unlock()
	if closed > 0 {
		t.Errorf("the peer closed: %v", evil.err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("heap has grown by %d bytes", grown)
	}
	if s := p.Stats(); s.Malformed == 0 || s.Unknown == 0 {
		t.Errorf("nothing was counted: %+v", s)
	}
}

// TestInboundAllocations: what a packet costs here besides its frame, which
// comes from a pool.
func TestInboundAllocations(t *testing.T) {
	p := offlinePeer(t, dropAll{})
	defer p.in.close()
	defer p.out.close()
	sound := p.buffer(packetio.RTPBufferPacket, 2573355466)
	camera := p.buffer(packetio.RTPBufferPacket, 1964495580)
	i := 0
	buf := make([]byte, 1500)
	write := func() {
		for n, pkt := range []*rtp.Packet{soundPacket(i), picturePacket(i)} {
			pkt.PayloadType = []uint8{111, 96}[n]
			size, err := pkt.MarshalTo(buf)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := []interface{ Write([]byte) (int, error) }{sound, camera}[n].Write(buf[:size]); err != nil {
				t.Fatal(err)
			}
		}
		i++
	}
	for range 100 {
		write()
	}
	making := testing.AllocsPerRun(200, func() { // what the test itself needs
		for _, pkt := range []*rtp.Packet{soundPacket(i), picturePacket(i)} {
			_, _ = pkt.MarshalTo(buf)
		}
	})
	allowed := 0.5
	if raceDetector {
		allowed = 4 // then pools give things away at random
	}
	if n := testing.AllocsPerRun(200, write) - making; n > allowed {
		t.Errorf("%.1f allocations for two packets", n)
	}
	if s := p.Stats(); s.Unknown+s.Malformed > 0 {
		t.Errorf("stats are %+v", s)
	}
}

// BenchmarkInbound is the cost of one packet behind SRTP.
func BenchmarkInbound(b *testing.B) {
	p := offlinePeer(b, dropAll{})
	defer p.in.close()
	sound := p.buffer(packetio.RTPBufferPacket, 2573355466)
	pkt := soundPacket(0)
	pkt.PayloadType = 111
	buf, err := pkt.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		buf[2], buf[3] = byte(i>>8), byte(i)
		if _, err := sound.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// nowhere is a webrtc.TrackLocalWriter that sends nothing.
type nowhere struct{}

func (nowhere) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	return h.MarshalSize() + len(payload), nil
}
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }

// TestOutboundAllocations: what a frame costs from WriteVideo to SRTP.
func TestOutboundAllocations(t *testing.T) {
	p := offlinePeer(t, dropAll{})
	defer p.in.close()
	defer p.out.close()
	p.out.audio, p.out.video = &outTrack{writer: nowhere{}}, &outTrack{writer: nowhere{}}
	p.out.pacer.setTarget(1_000_000_000, 0)
	p.connected.Store(true)
	a, v := audioFrame(0), videoFrame(0, true, 6000)
	defer a.Release()
	defer v.Release()
	send := func() {
		// Nobody else sees these frames: their time may go on.
		a.PTS += codec.FrameDuration
		v.PTS += codec.FrameDuration
		p.WriteAudio(a)
		if verdict := p.WriteVideo(v); verdict != codec.Sent {
			t.Fatal(verdict)
		}
		for p.send() < time.Second {
		}
	}
	for range 200 {
		send()
	}
	if n := testing.AllocsPerRun(500, send); n > 0 {
		t.Errorf("%v allocations for a packet of sound and a picture", n)
	}
	if s := p.Stats(); s.SentPackets != 701*7 {
		t.Errorf("%d packets were sent, want %d", s.SentPackets, 701*7)
	}
}
