package transport

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"mixdown/codec"
)

// paceVideo makes a frame of n bytes that are all its number.
func paceVideo(stream codec.StreamID, pts time.Duration, n int, kind string) *codec.EncodedFrame {
	f := codec.NewEncodedFrame(n)
	f.Codec, f.Stream, f.PTS = codec.VP8, stream, pts
	f.Data = f.Buffer()[:n]
	for i := range f.Data {
		f.Data[i] = byte(i*7) ^ byte(pts/ms)
	}
	switch kind {
	case "key":
		f.Key = true
	case "T1":
		f.Discardable, f.Temporal, f.LayerSync = true, 1, true
	case "T0":
	default:
		panic(kind)
	}
	return f
}

func paceAudio(pts time.Duration) *codec.EncodedFrame {
	f := codec.NewEncodedFrame(80)
	f.Codec, f.PTS = codec.Opus, pts
	f.Data = append(f.Data, 1, 2, 3, byte(pts/ms))
	return f
}

func testPacer(t testing.TB, change func(*pacerConfig)) *pacer {
	cfg := pacerConfig{AudioSSRC: 10, AudioPT: 111, VideoSSRC: 20, VideoPT: 96, RTXSSRC: 30, RTXPT: 97, Seed: 1}
	if change != nil {
		change(&cfg)
	}
	p := newPacer(cfg)
	t.Cleanup(p.close)
	return p
}

// send pushes and releases.
func send(t testing.TB, p *pacer, now time.Duration, f *codec.EncodedFrame, want codec.Verdict) {
	t.Helper()
	if got := p.pushVideo(f, now); got != want {
		t.Fatalf("pushVideo(PTS %v) = %v, want %v", f.PTS, got, want)
	}
	f.Release()
}

// sent is a packet that the pacer wrote, copied and taken apart.
type sent struct {
	rtp.Header
	payload []byte
	desc    vp8Descriptor
	data    []byte // VP8
	kind    packetKind
	at      time.Duration
}

// drain takes all packets until the pacer has nothing, with the waits that it
// asks for.
func drain(t testing.TB, p *pacer, now time.Duration) (out []sent, end time.Duration) {
	t.Helper()
	var pkt outPacket
	for range 100_000 {
		ok, wait := p.next(&pkt, now)
		if !ok {
			if wait < 0 {
				return out, now
			}
			if wait == 0 {
				t.Fatal("nothing to send, and no time to wait")
			}
			now += wait
			continue
		}
		out = append(out, take(t, &pkt, now))
	}
	t.Fatal("the pacer never ends")
	return nil, 0
}

func take(t testing.TB, pkt *outPacket, now time.Duration) sent {
	t.Helper()
	s := sent{Header: pkt.Header.Clone(), payload: bytes.Clone(pkt.Payload), kind: pkt.Kind, at: now}
	if pkt.size()+16 > packetBudget {
		t.Errorf("a packet of %d bytes leaves no room for SRTP", pkt.size())
	}
	if pkt.Kind == videoDataPacket {
		n, err := s.desc.parse(s.payload)
		if err != nil {
			t.Fatal(err)
		}
		s.data = s.payload[n:]
	}
	return s
}

func ofKind(out []sent, kind packetKind) []sent {
	return slices.DeleteFunc(slices.Clone(out), func(s sent) bool { return s.kind != kind })
}

// TestPacerNumbers sends a stream in which T1 frames are left out here and
// there: what is sent is numbered without a seam.
func TestPacerNumbers(t *testing.T) {
	p := testPacer(t, nil)
	p.video.pictureID, p.video.seq, p.video.tl0 = 0x7fff-20, 1<<16-100, 250 // all of them wrap
	now := time.Second
	var out []sent
	want := make(map[time.Duration][]byte)
	for i := range 1500 {
		pts := time.Duration(i) * 33 * ms
		kind := []string{"T0", "T1"}[i%2]
		if i == 0 {
			kind = "key"
		}
		if kind == "T1" && i%6 == 1 {
			continue // dropped by somebody before the pacer
		}
		size := 500 + i*37%6000
		f := paceVideo(1, pts, size, kind)
		want[pts] = bytes.Clone(f.Data)
		send(t, p, now, f, codec.Sent)
		var more []sent
		more, now = drain(t, p, now)
		out = append(out, more...)
		now += 33 * ms
	}
	var data []byte
	picture, tl0 := out[0].desc.PictureID, out[0].desc.TL0
	frames := 0
	for i, s := range out {
		if i > 0 && s.SequenceNumber != out[i-1].SequenceNumber+1 {
			t.Fatalf("sequence %d after %d", s.SequenceNumber, out[i-1].SequenceNumber)
		}
		if s.SSRC != 20 || s.PayloadType != 96 || s.Version != 2 || len(s.CSRC) != 0 {
			t.Fatalf("header %+v", s.Header)
		}
		first := len(data) == 0
		if s.desc.Start != first || s.desc.Partition != 0 {
			t.Fatalf("packet %d: S is %v", i, s.desc.Start)
		}
		if first && i > 0 {
			picture = (picture + 1) & 0x7fff
			if s.desc.TID == 0 {
				tl0++
			}
		}
		if s.desc.PictureID != picture || s.desc.TL0 != tl0 || !s.desc.LongPicture || !s.desc.HasTID {
			t.Fatalf("packet %d: descriptor %+v, want PictureID %d and TL0PICIDX %d", i, s.desc, picture, tl0)
		}
		if (s.desc.TID == 1) != s.desc.NonReference || (s.desc.TID == 1) != s.desc.LayerSync {
			t.Fatalf("packet %d: descriptor %+v", i, s.desc)
		}
		data = append(data, s.data...)
		if s.Marker {
			pts := durationOf(int64(s.Timestamp-p.video.timeBase), videoClockRate).Round(ms)
			if !bytes.Equal(data, want[pts]) {
				t.Fatalf("the frame of %v came out with other bytes", pts)
			}
			data = data[:0]
			frames++
		}
	}
	if frames != len(want) || picture > 2000 {
		t.Errorf("%d frames of %d, PictureID ended at %d", frames, len(want), picture)
	}
}

// TestPacerTimestamps: exact for any PTS, 13 hours and a wrap included.
func TestPacerTimestamps(t *testing.T) {
	p := testPacer(t, nil)
	for _, pts := range []time.Duration{0, 20 * ms, time.Second / 30, time.Hour, 14 * time.Hour, 1000 * time.Hour} {
		if got, want := p.videoTime(pts)-p.videoTime(0), uint32(ticksOf(pts, 90000)); got != want {
			t.Errorf("video %v: %d ticks, want %d", pts, got, want)
		}
		if got, want := p.audioTime(pts)-p.audioTime(0), uint32(int64(pts)/1000*48/1000); pts%ms == 0 && got != want {
			t.Errorf("audio %v: %d ticks, want %d", pts, got, want)
		}
	}
}

func TestPacerAudio(t *testing.T) {
	p := testPacer(t, func(c *pacerConfig) { c.CSRCLevelID = 3 })
	f := paceAudio(40 * ms)
	for i := range 7 {
		f.Heard = append(f.Heard, codec.Contributor{CSRC: uint32(100 + i), LevelDBov: uint8(20 + i)})
	}
	p.pushAudio(f, 0)
	f.Release()
	f = paceAudio(60 * ms)
	p.pushAudio(f, 0)
	f.Release()
	out, _ := drain(t, p, 0)
	if len(out) != 2 {
		t.Fatalf("%d packets", len(out))
	}
	a, b := out[0], out[1]
	if a.SSRC != 10 || a.PayloadType != 111 || !a.Marker || b.Marker ||
		b.SequenceNumber != a.SequenceNumber+1 || b.Timestamp-a.Timestamp != 960 ||
		a.Timestamp != p.audioTime(40*ms) || !bytes.Equal(a.payload, []byte{1, 2, 3, 40}) {
		t.Errorf("sent %+v and %+v", a.Header, b.Header)
	}
	if !slices.Equal(a.CSRC, []uint32{100, 101, 102, 103, 104}) || len(b.CSRC) != 0 {
		t.Errorf("CSRCs %v and %v, want the five loudest and none", a.CSRC, b.CSRC)
	}
	if got := a.GetExtension(3); !bytes.Equal(got, []byte{20, 21, 22, 23, 24}) || b.Extension {
		t.Errorf("levels %v and %v", got, b.GetExtension(3))
	}
}

// TestPacerAudioFirst: sound never waits for video, however much of it.
func TestPacerAudioFirst(t *testing.T) {
	p := testPacer(t, func(c *pacerConfig) { c.TargetBps = 500_000 })
	send(t, p, 0, paceVideo(1, 0, 100_000, "key"), codec.Sent)
	var pkt outPacket
	now := time.Duration(0)
	for i := range 200 {
		f := paceAudio(time.Duration(i) * 20 * ms)
		p.pushAudio(f, now)
		f.Release()
		if ok, _ := p.next(&pkt, now); !ok || pkt.Kind != audioPacket {
			t.Fatalf("packet %d: sound did not go first", i)
		}
		for {
			ok, wait := p.next(&pkt, now)
			if !ok && (wait < 0 || wait > 5*ms) {
				break
			} else if !ok {
				now += wait
			}
		}
		now += 5 * ms
	}
}

func TestPacerAudioQueueIsBounded(t *testing.T) {
	p := testPacer(t, nil)
	for i := range 20 {
		f := paceAudio(time.Duration(i) * 20 * ms)
		p.pushAudio(f, 0)
		f.Release()
	}
	out, _ := drain(t, p, 0)
	if len(out) != audioQueueMax || p.stats.AudioDropped != 20-audioQueueMax {
		t.Fatalf("%d packets, %+v", len(out), p.stats)
	}
	if out[0].payload[3] != byte(12*20) {
		t.Error("it was not the oldest that went")
	}
	for i := 1; i < len(out); i++ {
		if out[i].SequenceNumber != out[i-1].SequenceNumber+1 {
			t.Error("a drop left a hole in the numbers")
		}
	}
}

// TestPacerRate: a long queue drains at two and a half times the target, and
// no burst exceeds the allowance.
func TestPacerRate(t *testing.T) {
	const target = 2_000_000
	p := testPacer(t, func(c *pacerConfig) { c.TargetBps = target })
	send(t, p, time.Second, paceVideo(1, 0, 300_000, "key"), codec.Sent)
	out, end := drain(t, p, time.Second)
	bytes := 0
	for _, s := range out {
		bytes += s.MarshalSize() + len(s.payload)
	}
	rate := float64(bytes) * 8 / (end - time.Second).Seconds()
	if rate < 2.4*target || rate > 2.6*target {
		t.Errorf("%.0f b/s, want %.0f", rate, pacingFactor*target)
	}
	for i := range out { // in any 20 ms: their share and the burst
		n := 0
		for _, s := range out[i:] {
			if s.at-out[i].at > 20*ms {
				break
			}
			n += s.MarshalSize() + len(s.payload)
		}
		if limit := int(pacingFactor * target / 8 * 0.033); n > limit {
			t.Fatalf("%d bytes in 20 ms from packet %d on, want at most %d", n, i, limit)
		}
	}
}

// TestPacerQueueBound: video past 250 ms of draining is dropped to the next
// key frame; discardable frames go before anything else.
func TestPacerQueueBound(t *testing.T) {
	p := testPacer(t, func(c *pacerConfig) { c.TargetBps = 400_000 }) // drains 125 kB/s, 31 kB in 250 ms
	send(t, p, 0, paceVideo(1, 0, 20_000, "key"), codec.Sent)
	var pkt outPacket
	if ok, _ := p.next(&pkt, 0); !ok { // the key frame is being sent
		t.Fatal("nothing was sent")
	}
	send(t, p, 0, paceVideo(1, 33*ms, 5000, "T1"), codec.Sent)
	send(t, p, 0, paceVideo(1, 66*ms, 5000, "T0"), codec.Sent)
	send(t, p, 0, paceVideo(1, 99*ms, 5000, "T1"), codec.Dropped) // no room, and nobody misses it
	send(t, p, 0, paceVideo(1, 132*ms, 5000, "T0"), codec.Sent)   // in place of the queued T1
	if p.stats.VideoFlushed != 1 || p.videoQ.len() != 2 {
		t.Fatalf("%d frames wait, %+v", p.videoQ.len(), p.stats)
	}
	send(t, p, 0, paceVideo(1, 165*ms, 5000, "T0"), codec.NeedKey)
	if p.stats.Flushes != 1 || p.videoQ.len() != 0 {
		t.Fatalf("%d frames wait, %+v", p.videoQ.len(), p.stats)
	}
	send(t, p, 0, paceVideo(1, 198*ms, 5000, "T0"), codec.NeedKey)
	send(t, p, 0, paceVideo(1, 231*ms, 100, "T1"), codec.NeedKey)
	send(t, p, 0, paceVideo(1, 264*ms, 5000, "key"), codec.Sent)
	send(t, p, 0, paceVideo(1, 297*ms, 500, "T0"), codec.Sent)
	out, _ := drain(t, p, 0)
	last, pictures := out[len(out)-1], map[uint16]int{}
	for _, s := range out {
		pictures[s.desc.PictureID] += len(s.data)
	}
	if len(pictures) != 3 || pictures[last.desc.PictureID] != 500 || pictures[last.desc.PictureID-1] != 5000 {
		t.Errorf("frames sent: %v", pictures)
	}
	if p.queuedN != 0 {
		t.Errorf("%d bytes are counted in an empty queue", p.queuedN)
	}
}

// TestPacerQueueDelay reports the oldest frame's wait.
func TestPacerQueueDelay(t *testing.T) {
	p := testPacer(t, nil)
	if d := p.queueDelay(time.Second); d != 0 {
		t.Errorf("empty: %v", d)
	}
	send(t, p, 10*ms, paceVideo(1, 0, 1000, "key"), codec.Sent)
	send(t, p, 40*ms, paceVideo(1, 33*ms, 1000, "T0"), codec.Sent)
	if d := p.queueDelay(50 * ms); d != 40*ms {
		t.Errorf("%v, want 40 ms", d)
	}
}

// TestPacerSwitch goes from one rendition to another and back.
func TestPacerSwitch(t *testing.T) {
	p := testPacer(t, nil)
	now := time.Second
	step := func(f *codec.EncodedFrame, want codec.Verdict) {
		t.Helper()
		send(t, p, now, f, want)
		_, now = drain(t, p, now)
		now += 10 * ms
	}
	step(paceVideo(1, 0, 900, "T0"), codec.NeedKey) // nothing can start there
	step(paceVideo(1, 33*ms, 900, "key"), codec.Sent)
	step(paceVideo(2, 66*ms, 900, "T0"), codec.NeedKey)            // the new one has to wait
	step(paceVideo(1, 66*ms, 900, "T0"), codec.Sent)               // while the old one goes on
	step(paceVideo(2, 65*ms-switchLag, 900, "key"), codec.NeedKey) // too far behind
	step(paceVideo(1, 99*ms, 900, "T0"), codec.Sent)
	step(paceVideo(2, 132*ms, 900, "key"), codec.Sent)
	step(paceVideo(1, 132*ms, 900, "T0"), codec.Dropped) // late ones of the old stream
	step(paceVideo(1, 165*ms, 900, "key"), codec.Dropped)
	step(paceVideo(2, 165*ms, 900, "T0"), codec.Sent)
	step(paceVideo(2, 165*ms, 900, "T1"), codec.Dropped) // time stands still
	step(paceVideo(1, 132*ms+switchHold, 900, "T0"), codec.NeedKey)
	step(paceVideo(1, 165*ms+switchHold, 900, "key"), codec.Sent)
	if p.stats.Switches != 2 || p.stats.VideoFrames != 6 {
		t.Errorf("%+v", p.stats)
	}
}

// TestPacerSwitchBehind: a larger rendition takes longer to encode, so that its
// key frame comes after the old one's frame of the same canvas. It is taken
// all the same, what waits of the old one is left out, and time goes on.
func TestPacerSwitchBehind(t *testing.T) {
	p := testPacer(t, nil)
	now := time.Second
	send(t, p, now, paceVideo(1, 0, 900, "key"), codec.Sent)
	packets, now := drain(t, p, now)
	last := packets[len(packets)-1].Timestamp
	send(t, p, now, paceVideo(1, 33*ms, 900, "T0"), codec.Sent)
	send(t, p, now, paceVideo(1, 66*ms, 900, "T0"), codec.Sent)
	send(t, p, now, paceVideo(2, 33*ms, 900, "key"), codec.Sent)
	send(t, p, now, paceVideo(1, 99*ms, 900, "T0"), codec.Dropped)
	send(t, p, now, paceVideo(2, 33*ms, 900, "T0"), codec.NeedKey) // within a stream, time does not stand still
	send(t, p, now, paceVideo(2, 66*ms, 900, "key"), codec.Sent)
	send(t, p, now, paceVideo(2, 99*ms, 900, "T0"), codec.Sent)
	packets, _ = drain(t, p, now)
	if len(packets) != 3 || p.stats.VideoFlushed != 2 {
		t.Fatalf("%d packets, %+v", len(packets), p.stats)
	}
	for i, ahead := range []time.Duration{67 * ms, 68 * ms, 99 * ms} {
		if got := packets[i].Timestamp - last; got != uint32(ticksOf(ahead, videoClockRate)) {
			t.Errorf("packet %d is %d ticks after the first, want %v", i, got, ahead)
		}
	}
}

// TestPacerReleases: after close nobody but the test holds a frame.
func TestPacerReleases(t *testing.T) {
	p := newPacer(pacerConfig{AudioSSRC: 1, VideoSSRC: 2, Seed: 3})
	var frames []*codec.EncodedFrame
	push := func(f *codec.EncodedFrame) {
		frames = append(frames, f)
		if f.Codec == codec.Opus {
			p.pushAudio(f, 0)
		} else {
			p.pushVideo(f, 0)
		}
	}
	for i := range 100 {
		push(paceAudio(time.Duration(i) * 20 * ms))
		kind := "T0"
		if i%20 == 0 {
			kind = "key"
		}
		push(paceVideo(codec.StreamID(i/40+1), time.Duration(i)*33*ms, 3000, kind))
		var pkt outPacket
		for range i % 4 {
			p.next(&pkt, time.Duration(i)*5*ms)
		}
	}
	p.close()
	p.close()
	for i, f := range frames {
		if f.Release(); f.Data != nil {
			t.Fatalf("frame %d is still held", i)
		}
	}
}

func TestPacerWithoutStreams(t *testing.T) {
	p := newPacer(pacerConfig{})
	f := paceVideo(1, 0, 100, "key")
	if v := p.pushVideo(f, 0); v != codec.Dropped {
		t.Errorf("video without a video stream: %v", v)
	}
	p.pushAudio(f, 0)
	if ok, wait := p.next(new(outPacket), 0); ok || wait >= 0 {
		t.Error("something to send without any stream")
	}
	if f.Release(); f.Data != nil {
		t.Error("the frame is held")
	}
}

func TestPacerAllocs(t *testing.T) {
	p := testPacer(t, func(c *pacerConfig) { c.CSRCLevelID = 5 })
	var pkt outPacket
	now, i := time.Second, 0
	nacks := make([]uint16, 0, 4)
	step := func() {
		kind := "T0"
		if i == 0 {
			kind = "key"
		}
		v := paceVideo(1, time.Duration(i)*33*ms, 5000, kind)
		p.pushVideo(v, now)
		v.Release()
		a := paceAudio(time.Duration(i) * 20 * ms)
		a.Heard = append(a.Heard, codec.Contributor{CSRC: 7, LevelDBov: 20})
		p.pushAudio(a, now)
		a.Release()
		for ok, wait := p.next(&pkt, now); ok || wait > 0; ok, wait = p.next(&pkt, now) {
			now += max(wait, 0)
		}
		nacks = append(nacks[:0], p.video.seq-1, p.video.seq-2)
		p.nack(nacks, now)
		now += 20 * ms
		i++
	}
	for range 100 {
		step()
	}
	if n := testing.AllocsPerRun(200, step); n > 0.5 {
		t.Errorf("%v allocations a frame", n)
	}
}

// BenchmarkStagePace is one packet of a picture: number, packetise, pace, remember.
func BenchmarkStagePace(b *testing.B) {
	p := testPacer(b, func(c *pacerConfig) { c.TargetBps = 1 << 30 })
	f := paceVideo(1, 0, 6000, "key")
	defer f.Release()
	var pkt outPacket
	now := time.Second
	b.ReportAllocs()
	for range b.N {
		now += ms
		ok, _ := p.next(&pkt, now)
		if !ok {
			f.PTS += 33 * ms
			p.pushVideo(f, now)
		}
	}
}
