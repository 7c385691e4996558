package transport

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"mixdown/codec"
)

var discardLog = slog.New(slog.DiscardHandler)

// soundPacket and picturePacket are what the client sends; pictures have one
// packet each.
func soundPacket(i int) *rtp.Packet {
	return &rtp.Packet{
		Header:  rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: uint32(i) * 960},
		Payload: opusSilence,
	}
}

func picturePacket(i int) *rtp.Packet {
	data := vp8Delta(400)
	if i == 0 {
		data = vp8Key(640, 360, 400)
	}
	return &rtp.Packet{
		Header:  rtp.Header{Version: 2, Marker: true, SequenceNumber: uint16(i), Timestamp: uint32(i) * 3000},
		Payload: append([]byte{0x90, 0x80, byte(i & 0x7f)}, data...),
	}
}

// talk sends packets from to to of sound and of each picture.
func (c *client) talk(t testing.TB, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if c.audio != nil {
			if err := c.audio.WriteRTP(soundPacket(i)); err != nil {
				t.Fatal(err)
			}
		}
		for _, track := range c.video {
			if err := track.WriteRTP(picturePacket(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// play sends n packets of sound and n pictures of three packets each.
func play(p *Peer, n int) (verdicts [3]int) {
	for i := range n {
		a := audioFrame(time.Duration(i) * codec.FrameDuration)
		p.WriteAudio(a)
		a.Release()
		v := videoFrame(time.Duration(i)*33*time.Millisecond, i == 0, 3000)
		verdicts[p.WriteVideo(v)]++
		v.Release()
		time.Sleep(5 * time.Millisecond) // the pace of a source
		for end := time.Now().Add(patience); p.soundWaits() && time.Now().Before(end); {
			time.Sleep(time.Millisecond) // on a busy machine: what is too much is dropped
		}
	}
	return verdicts
}

// soundWaits reports whether there is sound that was not sent yet.
func (p *Peer) soundWaits() bool {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	return !p.out.closed && p.out.pacer.audioQ.len() > 0
}

func TestRoles(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config Config
		role   Role
		client clientConfig
		want   Answer
	}{
		{
			"participant", Config{}, RoleParticipant,
			clientConfig{audio: "sendrecv", video: []string{"sendrecv", "sendonly"}, data: true},
			Answer{SendsAudio: true, SendsVideo: true, ReceivesAudio: true, ReceivesCamera: true, ReceivesScreen: true},
		},
		{
			"participant, full ICE", Config{FullICE: true}, RoleParticipant,
			clientConfig{audio: "sendrecv", video: []string{"sendrecv"}},
			Answer{SendsAudio: true, SendsVideo: true, ReceivesAudio: true, ReceivesCamera: true},
		},
		{
			"publisher", Config{}, RolePublisher,
			clientConfig{audio: "sendrecv", video: []string{"sendonly"}},
			Answer{ReceivesAudio: true, ReceivesCamera: true},
		},
		{
			"viewer", Config{}, RoleViewer,
			clientConfig{audio: "recvonly", video: []string{"recvonly"}},
			Answer{SendsAudio: true, SendsVideo: true},
		},
		{
			"only sound", Config{}, RoleParticipant, clientConfig{audio: "sendrecv"},
			Answer{SendsAudio: true, ReceivesAudio: true},
		},
		{
			"only pictures", Config{}, RoleParticipant, clientConfig{video: []string{"sendrecv"}},
			Answer{SendsVideo: true, ReceivesCamera: true},
		},
		{
			"each direction on a line of its own", Config{}, RoleParticipant,
			clientConfig{audio: "sendonly", video: []string{"sendonly", "recvonly"}},
			Answer{SendsVideo: true, ReceivesAudio: true, ReceivesCamera: true},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := startEngine(t, tc.config)
			h := newRecorder(t)
			c, p, answer := join(t, e, h, tc.role, tc.client)
			tc.want.SDP, tc.want.UFrag = answer.SDP, answer.UFrag
			tc.want.AudioFEC = answer.SendsAudio // as the client's offer says
			if answer.SendsVideo {
				tc.want.VideoSent = codec.VP8
			}
			if answer.ReceivesCamera {
				tc.want.VideoReceived = codec.VP8
			}
			if answer != tc.want {
				t.Errorf("answer says %+v, want %+v", answer, tc.want)
			}
			const n = 20
			count := func(is bool) int {
				if is {
					return n
				}
				return 0
			}
			if tc.role != RoleViewer {
				c.talk(t, 0, n)
			}
			h.wait(t, "media from the client", func() bool {
				return len(h.audio) == count(answer.ReceivesAudio) &&
					len(h.video[codec.Camera]) == count(answer.ReceivesCamera) &&
					len(h.video[codec.Screen]) == count(answer.ReceivesScreen)
			})
			play(p, n)
			c.wait(t, "media to the client", func() bool {
				return len(c.packets["audio"]) == count(answer.SendsAudio) &&
					len(c.packets["video"]) == 3*count(answer.SendsVideo)
			})
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if h.closed != 1 || h.err != nil {
				t.Errorf("PeerClosed %d times, %v", h.closed, h.err)
			}
			if err := p.Close(); err != nil { // twice is fine
				t.Error(err)
			}
		})
	}
}

func TestFramesArriveAsSent(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	c, p, _ := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv", video: []string{"sendrecv"}})
	c.talk(t, 0, 5)
	h.wait(t, "media", func() bool { return len(h.audio) == 5 && len(h.video[codec.Camera]) == 5 })
	for i := range 5 {
		a, v := h.audio[i], h.video[codec.Camera][i]
		if got, want := a.PTS-h.audio[0].PTS, time.Duration(i)*codec.FrameDuration; got != want {
			t.Errorf("sound %d is at %v, want %v", i, got, want)
		}
		if a.Codec != codec.Opus || string(a.Data) != string(opusSilence) || a.Arrival == 0 {
			t.Errorf("sound %d is %+v", i, a)
		}
		if v.Codec != codec.VP8 || len(v.Data) != 400 || v.Key != (i == 0) {
			t.Errorf("picture %d has %d bytes, key %v", i, len(v.Data), v.Key)
		}
	}
	if v := h.video[codec.Camera][0]; v.Width != 640 || v.Height != 360 {
		t.Errorf("key frame is %dx%d", v.Width, v.Height)
	}

	play(p, 3)
	c.wait(t, "media to the client", func() bool { return len(c.packets["audio"]) == 3 && len(c.packets["video"]) == 9 })
	for i, pkt := range c.packets["audio"] {
		if len(pkt.CSRC) != 1 || pkt.CSRC[0] != 77 {
			t.Errorf("sound %d has CSRCs %v", i, pkt.CSRC)
		}
		if got := pkt.Timestamp - c.packets["audio"][0].Timestamp; got != uint32(i)*960 {
			t.Errorf("sound %d is %d ticks in", i, got)
		}
	}
	for i, pkt := range c.packets["video"] {
		if pkt.SequenceNumber != c.packets["video"][0].SequenceNumber+uint16(i) || pkt.Marker != (i%3 == 2) {
			t.Errorf("picture packet %d has number %d, marker %v", i, pkt.SequenceNumber, pkt.Marker)
		}
	}
	if s := p.Stats(); !s.Connected || s.SentPackets != 12 || s.ReceivedPackets != 10 || s.SendErrors != 0 {
		t.Errorf("stats are %+v", s)
	}
}

// TestReportsShareOneEpoch is the lip sync of a client: what both streams'
// sender reports say of the room's zero.
func TestReportsShareOneEpoch(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	c := newClient(t, clientConfig{audio: "recvonly", video: []string{"recvonly"}})
	epoch := time.Now().Add(-time.Hour)
	p, answer, err := e.Accept(context.Background(), Offer{SDP: c.offer(t), Role: RoleViewer, Epoch: epoch, CNAME: "room", Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	c.answer(t, answer.SDP)
	h.wait(t, "link up", h.linkIs(codec.LinkUp))
	play(p, 3)
	reports := func() (list []*rtcp.SenderReport, names int) {
		for _, packet := range c.rtcp {
			switch m := packet.(type) {
			case *rtcp.SenderReport:
				list = append(list, m)
			case *rtcp.SourceDescription:
				for _, chunk := range m.Chunks {
					if chunk.Items[0].Text == "room" {
						names++
					}
				}
			}
		}
		return list, names
	}
	c.wait(t, "reports of both streams", func() bool {
		list, names := reports()
		return len(list) >= 4 && names >= 4 && len(c.packets["audio"]) == 3 && len(c.packets["video"]) == 9
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	list, _ := reports()
	for _, r := range list {
		first, rate := c.packets["audio"][0], int64(audioClockRate)
		if r.SSRC != first.SSRC {
			first, rate = c.packets["video"][0], videoClockRate
		}
		if r.SSRC != first.SSRC {
			t.Fatalf("report of %d, which sent nothing", r.SSRC)
		}
		// The first packet of each is the room's zero.
		pts := durationOf(int64(r.RTPTime-first.Timestamp), rate)
		zero := codec.NTPTime(r.NTPTime).Time().Add(-pts)
		if off := zero.Sub(epoch).Abs(); off > 25*time.Microsecond {
			t.Errorf("by its report the zero of stream %d is off by %v", r.SSRC, off)
		}
	}
}

func TestKeyframeRequests(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	c, p, _ := join(t, e, h, RoleParticipant, clientConfig{video: []string{"sendrecv"}})
	c.talk(t, 0, 1)
	h.wait(t, "a picture", func() bool { return len(h.video[codec.Camera]) == 1 })

	plis := func() (n int) {
		for _, packet := range c.rtcp {
			if _, ok := packet.(*rtcp.PictureLossIndication); ok {
				n++
			}
		}
		return n
	}
	start := time.Now()
	for i := 1; time.Since(start) < 1200*time.Millisecond; i++ {
		p.RequestKeyframe(codec.Camera)
		p.RequestKeyframe(codec.Screen) // there is none
		c.talk(t, i, i+1)
		time.Sleep(2 * time.Millisecond)
	}
	c.wait(t, "PLIs", func() bool { return plis() >= 2 })
	c.mu.Lock()
	got, elapsed := plis(), time.Since(start)
	if most := int(elapsed/pliInterval) + 1; got > most {
		t.Errorf("%d PLIs in %v, want 2..%d", got, elapsed, most)
	}
	c.mu.Unlock()

	play(p, 1) // so that there is a stream to ask for
	h.mu.Lock()
	h.feedback = nil
	h.mu.Unlock()
	for range 20 {
		packets := []rtcp.Packet{
			&rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: p.out.videoSSRC},
			&rtcp.FullIntraRequest{SenderSSRC: 1, FIR: []rtcp.FIREntry{{SSRC: p.out.videoSSRC}}},
		}
		if err := c.pc.WriteRTCP(packets); err != nil {
			t.Fatal(err)
		}
	}
	asked := func() (n int) {
		for _, f := range h.feedback {
			if f.KeyframeWanted {
				n++
			}
		}
		return n
	}
	h.wait(t, "the client's request", func() bool { return asked() > 0 && p.Stats().PLIsReceived == 40 })
	if n := asked(); n > 5 {
		t.Errorf("40 requests at once were passed on %d times", n)
	}
}

func TestUplinkCap(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	c, p, _ := join(t, e, h, RoleParticipant, clientConfig{video: []string{"sendrecv"}})
	p.LimitUplink(codec.Camera, codec.UplinkTarget{Width: 320, Height: 180, BitrateBps: 200_000})
	c.talk(t, 0, 2)
	c.wait(t, "REMB", func() bool {
		for _, packet := range c.rtcp {
			if m, ok := packet.(*rtcp.ReceiverEstimatedMaximumBitrate); ok && m.Bitrate > 290_000 && m.Bitrate < 310_000 {
				return true
			}
		}
		return false
	})
	p.LimitUplink(codec.Camera, codec.UplinkTarget{})
	c.wait(t, "the cap to be lifted", func() bool {
		m, ok := c.rtcp[len(c.rtcp)-1].(*rtcp.ReceiverEstimatedMaximumBitrate)
		return ok && m.Bitrate > 10e6
	})
}

func TestReceptionReports(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	c, p, _ := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv", video: []string{"sendrecv"}})
	c.talk(t, 0, 10)
	c.wait(t, "our report about the client", func() bool {
		for _, packet := range c.rtcp {
			if m, ok := packet.(*rtcp.ReceiverReport); ok && len(m.Reports) > 0 {
				return true
			}
			if m, ok := packet.(*rtcp.SenderReport); ok && len(m.Reports) > 0 {
				return true
			}
		}
		return false
	})
	play(p, 2)
	// The client's report about us.
	var sr *rtcp.SenderReport
	c.wait(t, "a sender report", func() bool {
		for _, packet := range c.rtcp {
			if m, ok := packet.(*rtcp.SenderReport); ok && m.SSRC == p.out.videoSSRC {
				sr = m
			}
		}
		return sr != nil
	})
	err := c.pc.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{
		SSRC: p.out.videoSSRC, FractionLost: 64, LastSenderReport: uint32(sr.NTPTime >> 16),
	}, {
		SSRC: p.out.audioSSRC, FractionLost: 128, LastSenderReport: uint32(sr.NTPTime >> 16),
	}}}, &rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: 9, Bitrate: 1_500_000, SSRCs: []uint32{p.out.videoSSRC}}})
	if err != nil {
		t.Fatal(err)
	}
	h.wait(t, "feedback on each stream", func() bool {
		var picture, sound bool
		for _, f := range h.feedback {
			good := f.RTT > 0 && f.RTT < patience
			picture = picture || good && f.Report && !f.AudioReport && f.LossFraction == 0.25
			sound = sound || good && f.AudioReport && !f.Report && f.AudioLossFraction == 0.5 && f.LossFraction == 0
		}
		return picture && sound
	})
	// Whoever gets sound only reports on the path with it.
	s2 := newRecorder(t)
	c2, p2, _ := join(t, e, s2, RoleViewer, clientConfig{audio: "recvonly"})
	if err := c2.pc.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{{SSRC: p2.out.audioSSRC, FractionLost: 32}}}}); err != nil {
		t.Fatal(err)
	}
	s2.wait(t, "feedback on sound", func() bool {
		return slices.ContainsFunc(s2.feedback, func(f codec.Feedback) bool {
			return f.Report && f.AudioReport && f.LossFraction == 0.125 && f.AudioLossFraction == 0.125
		})
	})
	// The client's own estimate, less sound and headers.
	h.wait(t, "estimate", func() bool { bps := p.Stats().EstimateBps; return bps > 1_380_000 && bps < 1_440_000 })
}

// TestUndeclaredStreams is about clients that name no SSRC in their offer.
func TestUndeclaredStreams(t *testing.T) {
	for _, tc := range []struct {
		name string
		mid  bool
	}{{"told apart by MID", true}, {"told apart by payload type", false}} {
		t.Run(tc.name, func(t *testing.T) {
			e := startEngine(t, Config{})
			h := newRecorder(t)
			c := newClient(t, clientConfig{audio: "sendonly", video: []string{"sendonly", "sendonly"}})
			var kept []string
			for line := range strings.Lines(c.offer(t)) {
				if !strings.HasPrefix(line, "a=ssrc") && (tc.mid || !strings.Contains(line, uriMID)) {
					kept = append(kept, line)
				}
			}
			p, answer, err := e.Accept(context.Background(), Offer{SDP: strings.Join(kept, ""), Epoch: time.Now(), Handler: h})
			if err != nil {
				t.Fatal(err)
			}
			c.answer(t, answer.SDP)
			c.awaitUp(t)
			h.wait(t, "link up", h.linkIs(codec.LinkUp))
			id := p.plan.lines[0].ext.mid
			for i := range 5 {
				tracks := append([]*webrtc.TrackLocalStaticRTP{c.audio}, c.video...)
				for n, track := range tracks {
					pkt := picturePacket(i)
					if n == 0 {
						pkt = soundPacket(i)
					}
					if tc.mid {
						if err := pkt.SetExtension(id, []byte(p.plan.lines[n].mid)); err != nil {
							t.Fatal(err)
						}
					}
					if n == 2 && !tc.mid {
						continue // cannot be told from the camera
					}
					if err := track.WriteRTP(pkt); err != nil {
						t.Fatal(err)
					}
				}
			}
			screens := 0
			if tc.mid {
				screens = 5
			}
			h.wait(t, "media", func() bool {
				return len(h.audio) == 5 && len(h.video[codec.Camera]) == 5 && len(h.video[codec.Screen]) == screens
			})
		})
	}
}

func TestBeforeAndAfterConnection(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	c := newClient(t, clientConfig{audio: "recvonly", video: []string{"recvonly"}})
	p, _, err := e.Accept(context.Background(), Offer{SDP: c.offer(t), Epoch: time.Now(), Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	v := videoFrame(0, true, 100)
	defer v.Release()
	a := audioFrame(0)
	defer a.Release()
	if got := p.WriteVideo(v); got != codec.NeedKey {
		t.Errorf("before the connection a picture is %v", got)
	}
	p.WriteAudio(a)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if got := p.WriteVideo(v); got == codec.Sent {
		t.Errorf("after Close a picture is %v", got)
	}
	p.WriteAudio(a)
	p.RequestKeyframe(codec.Camera)
	p.RequestKeyframe(codec.NumSources)
	p.LimitUplink(codec.NumSources, codec.UplinkTarget{})
	if s := p.Stats(); s.Connected || s.SentPackets != 0 {
		t.Errorf("stats are %+v", s)
	}
	if h.closed != 1 {
		t.Errorf("PeerClosed %d times", h.closed)
	}
}

func TestUnconnectedSessionsDie(t *testing.T) {
	e := startEngine(t, Config{ConnectTimeout: 150 * time.Millisecond})
	h := newRecorder(t)
	p, _, err := e.Accept(context.Background(), Offer{SDP: readOffer(t, "chromium-participant"), Epoch: time.Now(), Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	h.wait(t, "PeerClosed", h.isClosed)
	if !errors.Is(h.err, ErrNeverConnected) {
		t.Errorf("closed by %v", h.err)
	}
	<-p.Done()
	if n := e.Peers(); n != 0 {
		t.Errorf("%d peers are left", n)
	}
}

func TestGoodbyeIsNoticedAtOnce(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	c, _, _ := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv"})
	start := time.Now()
	if err := c.pc.Close(); err != nil {
		t.Fatal(err)
	}
	h.wait(t, "PeerClosed", h.isClosed)
	if h.err != nil {
		t.Errorf("closed by %v", h.err)
	}
	if took := time.Since(start); took > 6*time.Second { // silence takes 8
		t.Errorf("noticed after %v", took)
	}
}

func TestVanishedClient(t *testing.T) {
	t.Parallel() // 9 s of waiting
	for _, full := range []bool{false, true} {
		t.Run(map[bool]string{false: "ice-lite", true: "full ICE"}[full], func(t *testing.T) {
			t.Parallel()
			e := startEngine(t, Config{FullICE: full})
			h := newRecorder(t)
			c, _, _ := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv"})
			c.talk(t, 0, 3)
			h.wait(t, "media", func() bool { return len(h.audio) == 3 })
			start := time.Now()
			if err := c.conn.Close(); err != nil { // pulls the plug
				t.Fatal(err)
			}
			h.wait(t, "link lost", h.linkIs(codec.LinkLost))
			if took := time.Since(start); took > 9*time.Second {
				t.Errorf("link lost after %v", took)
			}
			h.wait(t, "PeerClosed", h.isClosed)
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("closed after %v", took)
			}
			if !errors.Is(h.err, ErrVanished) {
				t.Errorf("closed by %v", h.err)
			}
		})
	}
}

// TestCloseDuringTraffic closes from all sides while frames come and go.
func TestCloseDuringTraffic(t *testing.T) {
	e := startEngine(t, Config{})
	for range 5 {
		h := newRecorder(t)
		c, p, _ := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv", video: []string{"sendrecv"}})
		h.mu.Lock()
		h.hook = func() { // what a mixer may do in a callback
			p.RequestKeyframe(codec.Camera)
			p.Stats()
			a := audioFrame(0)
			p.WriteAudio(a)
			a.Release()
		}
		h.mu.Unlock()
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				_ = c.audio.WriteRTP(soundPacket(i)) // fails at the end
				_ = c.video[0].WriteRTP(picturePacket(i))
				time.Sleep(time.Millisecond)
			}
		}()
		h.wait(t, "media", func() bool { return len(h.audio) > 5 })
		go p.Close()
		play(p, 5)
		p.Close()
		close(stop)
		<-done
		if h.closed != 1 {
			t.Fatalf("PeerClosed %d times", h.closed)
		}
	}
}
