package transport

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"mixdown/codec"
)

// TestSenderReportsAreExact: both streams, at any instant, map the same wall
// clock to the same PTS, whatever was sent when.
func TestSenderReportsAreExact(t *testing.T) {
	p := testPacer(t, nil)
	epoch := time.Date(2026, 5, 6, 7, 8, 9, 123456789, time.UTC)
	if got := senderReports(p, "cn", epoch, epoch.Add(time.Second)); got != nil {
		t.Errorf("reports before anything was sent: %v", got)
	}
	a, v := paceAudio(0), paceVideo(1, 0, 5000, "key")
	p.pushAudio(a, 0)
	p.pushVideo(v, 0)
	a.Release()
	v.Release()
	out, _ := drain(t, p, 0)
	audioBytes, videoBytes := 0, 0
	for _, s := range out {
		if s.kind == audioPacket {
			audioBytes += len(s.payload)
		} else {
			videoBytes += len(s.payload)
		}
	}
	for _, since := range []time.Duration{0, 1234567 * time.Microsecond, 26 * time.Hour} {
		packets := senderReports(p, "cn", epoch, epoch.Add(since))
		raw, err := rtcp.Marshal(packets)
		if err != nil {
			t.Fatal(err)
		}
		back, err := rtcp.Unmarshal(raw)
		if err != nil || len(back) != 3 {
			t.Fatalf("%d packets, %v", len(back), err)
		}
		audio, video, sdes := back[0].(*rtcp.SenderReport), back[1].(*rtcp.SenderReport), back[2].(*rtcp.SourceDescription)
		if audio.SSRC != 10 || audio.PacketCount != 1 || int(audio.OctetCount) != audioBytes ||
			video.SSRC != 20 || int(video.PacketCount) != len(out)-1 || int(video.OctetCount) != videoBytes {
			t.Errorf("%v\n%v", audio, video)
		}
		if audio.NTPTime != video.NTPTime || codec.NTPTime(audio.NTPTime) != codec.NTPTimeOf(epoch.Add(since)) {
			t.Error("the reports are of different instants")
		}
		// What a receiver computes: the wall clock of PTS 20 ms and back.
		for name, s := range map[string]struct {
			sr   *rtcp.SenderReport
			rtp  uint32
			rate int64
		}{"audio": {audio, p.audioTime(20 * ms), 48000}, "video": {video, p.videoTime(20 * ms), 90000}} {
			c := senderClock{rate: s.rate}
			c.report(codec.NTPTime(s.sr.NTPTime), s.sr.RTPTime)
			if since < 6*time.Hour {
				got := c.capture(s.rtp).Time().Sub(epoch)
				if d := got - 20*ms; d < -15*time.Microsecond || d > 15*time.Microsecond { // a tick is 21 or 11 us
					t.Errorf("%s: PTS 20 ms is %v after the epoch, by the report of %v", name, got, since)
				}
			}
		}
		if len(sdes.Chunks) != 2 || sdes.Chunks[0].Items[0].Text != "cn" || sdes.Chunks[1].Source != 20 {
			t.Errorf("%v", sdes)
		}
	}
}

// TestReceptionLogLoss follows appendix A.3 of RFC 3550 by hand.
func TestReceptionLogLoss(t *testing.T) {
	l := newReceptionLog(7, 90000)
	if _, ok := l.report(0); ok {
		t.Error("a report about nothing")
	}
	push := func(from, to int, but ...int) {
		for i := from; i < to; i++ {
			lost := false
			for _, b := range but {
				lost = lost || b == i
			}
			if !lost {
				l.push(&rtp.Header{SequenceNumber: uint16(65500 + i), Timestamp: uint32(i) * 900}, time.Duration(i)*10*ms)
			}
		}
	}
	push(0, 100, 10, 20, 50)
	b, ok := l.report(time.Second)
	if !ok || b.SSRC != 7 || b.TotalLost != 3 || b.FractionLost != 3*256/100 || b.Jitter != 0 ||
		b.LastSequenceNumber&0xffff != uint32(uint16(65500+99-1<<16)) || b.LastSenderReport != 0 || b.Delay != 0 {
		t.Errorf("%+v", b)
	}
	cycles := b.LastSequenceNumber >> 16
	push(100, 200)
	if b, _ = l.report(time.Second); b.FractionLost != 0 || b.TotalLost != 3 || b.LastSequenceNumber>>16 != cycles {
		t.Errorf("without loss: %+v", b)
	}
	push(150, 160) // duplicates
	if b, _ = l.report(time.Second); b.FractionLost != 0 || b.TotalLost != 0 {
		t.Errorf("with duplicates: %+v", b)
	}
	if b, _ = l.report(time.Second); b.FractionLost != 0 {
		t.Errorf("nothing new: %+v", b)
	}
	l.senderReport(0x0123456789abcdef, 10*time.Second)
	if b, _ = l.report(12500 * ms); b.LastSenderReport != 0x456789ab || b.Delay != 5<<15 {
		t.Errorf("LSR %x, DLSR %x", b.LastSenderReport, b.Delay)
	}
	push(30000, 30002) // a restart
	if b, _ = l.report(13 * time.Second); b.FractionLost != 0 {
		t.Errorf("after a restart: %+v", b)
	}
}

// TestReceptionLogJitter: a uniform jitter of w has a mean difference of w/3
// between neighbours, across a wrap of the timestamp too.
func TestReceptionLogJitter(t *testing.T) {
	l := newReceptionLog(7, 48000)
	rng := rand.New(rand.NewPCG(1, 1))
	sum, n := 0.0, 0
	for i := range 5000 {
		at := time.Duration(i)*20*ms + time.Duration(rng.Int64N(int64(30*ms)))
		l.push(&rtp.Header{SequenceNumber: uint16(i), Timestamp: 1<<32 - 960*2000 + uint32(i)*960}, at)
		if i > 200 {
			b, _ := l.report(at)
			sum += float64(b.Jitter)
			n++
		}
	}
	if mean := sum / float64(n) / 48; mean < 9 || mean > 11 {
		t.Errorf("jitter %.1f ms, want 10", mean)
	}
}

// TestPathReport closes the circle: our sender report, a client's reception
// report, what we make of it.
func TestPathReport(t *testing.T) {
	p := testPacer(t, nil)
	f := paceVideo(1, 0, 5000, "key")
	p.pushVideo(f, 0)
	f.Release()
	out, _ := drain(t, p, 0)
	epoch := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	wall := epoch.Add(time.Minute)
	sr := senderReports(p, "cn", epoch, wall)[0].(*rtcp.SenderReport)
	client := newReceptionLog(20, 90000)
	for i, s := range out {
		if i != 1 {
			client.push(&s.Header, time.Duration(i)*ms)
		}
	}
	client.senderReport(codec.NTPTime(sr.NTPTime), 5*time.Second)
	block, _ := client.report(5*time.Second + 300*ms)
	var r pathReport
	if !r.receive(p, &block, wall.Add(300*ms+80*ms)) {
		t.Fatal("the block is not about us")
	}
	if d := r.RTT - 80*ms; d < -ms/10 || d > ms/10 {
		t.Errorf("RTT %v, want 80 ms", r.RTT)
	}
	if want := 1 / float64(len(out)); r.VideoLoss > want || r.VideoLoss < want-1.0/256 || r.AudioLoss != 0 {
		t.Errorf("loss %v, want %v", r.VideoLoss, want)
	}
	rtt := r.RTT
	for _, lie := range []rtcp.ReceptionReport{
		{SSRC: 20, LastSenderReport: 1, Delay: 0},
		{SSRC: 20, LastSenderReport: block.LastSenderReport, Delay: 1 << 31},
		{SSRC: 20, LastSenderReport: 0, Delay: 77},
		{SSRC: 0}, {SSRC: 99, LastSenderReport: block.LastSenderReport},
	} {
		r.receive(p, &lie, wall.Add(time.Second))
		if r.RTT != rtt {
			t.Errorf("believed %+v: RTT %v", lie, r.RTT)
		}
	}
	if r.Reports != 4 {
		t.Errorf("%d reports were about us, want 4", r.Reports)
	}
	// A clock that is a little off gives next to nothing, never less.
	block.Delay += 1000
	if r = (pathReport{}); !r.receive(p, &block, wall.Add(300*ms)) || r.RTT <= 0 || r.RTT > ms {
		t.Errorf("RTT %v", r.RTT)
	}
}
