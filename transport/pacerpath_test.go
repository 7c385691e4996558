package transport

import (
	"encoding/binary"
	"testing"
	"time"

	"mixdown/codec"
)

// pathPacer is a pacer whose client takes transport-wide numbers, with the first
// feedback taken: all that was sent has come.
func pathPacer(t testing.TB, change func(*pacerConfig)) (p *pacer, now time.Duration) {
	p = testPacer(t, func(c *pacerConfig) {
		c.AudioTWCC, c.VideoTWCC = 3, 3
		if change != nil {
			change(c)
		}
	})
	now = 16 * twccReference
	p.setPace(500_000, 0, now)
	send(t, p, now, paceVideo(1, 0, 9000, "key"), codec.Sent)
	_, now = drain(t, p, now)
	now = (now/twccReference + 2) * twccReference
	tellAll(t, p, now)
	return p, now
}

// tellAll has the client say that all that was sent has come, in good time.
func tellAll(t testing.TB, p *pacer, now time.Duration) {
	t.Helper()
	l := &p.path.est.log
	first := p.path.est.reported
	if n := int(l.next - first); n > 0 && !p.twcc(allCame(nil, uint16(first), n, uint32(now/twccReference), 1), now) {
		t.Fatal("refused")
	}
	if l.flight != 0 {
		t.Fatalf("%d bytes are on their way", l.flight)
	}
}

func numberOf(t testing.TB, s sent) uint16 {
	t.Helper()
	ext := s.GetExtension(3)
	if len(ext) != 2 {
		t.Fatalf("a packet of kind %d has no transport-wide number", s.kind)
	}
	return binary.BigEndian.Uint16(ext)
}

// TestPacerTransportNumbers: whatever is sent is numbered in one sequence.
func TestPacerTransportNumbers(t *testing.T) {
	p, now := pathPacer(t, nil)
	next := uint16(p.path.est.log.next)
	send(t, p, now, paceVideo(1, 40*ms, 5000, "T0"), codec.Sent)
	f := paceAudio(40 * ms)
	f.Heard = append(f.Heard, codec.Contributor{CSRC: 9})
	p.cfg.CSRCLevelID, p.audio.levelID = 4, 4
	p.pushAudio(f, now)
	f.Release()
	p.nack([]uint16{p.hist.first}, now)
	out, _ := drain(t, p, now)
	if len(out) != 1+1+5 || out[0].kind != audioPacket || out[1].kind != rtxPacket || len(out[0].GetExtension(4)) != 1 {
		t.Fatalf("%d packets, the first of kinds %d and %d", len(out), out[0].kind, out[1].kind)
	}
	for i, s := range out {
		if got := numberOf(t, s); got != next+uint16(i) {
			t.Errorf("packet %d has number %d, want %d", i, got, next+uint16(i))
		}
	}
	if got := p.path.est.log.packets; got != len(out) {
		t.Errorf("%d packets are on their way, want %d", got, len(out))
	}
}

// TestPacerCollapse: when the path falls, pictures stop at once and come back with
// a key frame once it is empty. Sound goes on.
func TestPacerCollapse(t *testing.T) {
	p, now := pathPacer(t, nil)
	p.setPace(3_000_000, 0, now)
	p.path.est.bps = 4_000_000
	send(t, p, now, paceVideo(1, 40*ms, 60_000, "T0"), codec.Sent)
	send(t, p, now, paceVideo(1, 80*ms, 20_000, "T0"), codec.Sent)
	var pkt outPacket
	for range 20 {
		if ok, wait := p.next(&pkt, now); !ok {
			now += wait
		}
	}
	p.path.est.bps, p.path.est.decreased, p.path.est.collapsed = 200_000, now, true
	f := paceAudio(100 * ms)
	p.pushAudio(f, now)
	f.Release()
	if ok, _ := p.next(&pkt, now); !ok || pkt.Kind != audioPacket {
		t.Fatal("sound does not go on")
	}
	if ok, _ := p.next(&pkt, now); ok || p.videoQ.len() > 0 || p.queuedN != 0 || p.video.frame != nil || p.stats.Collapses != 1 {
		t.Fatalf("pictures go on: %+v", p.stats)
	}
	// Nobody asks for a key frame that could only wait.
	send(t, p, now, paceVideo(1, 120*ms, 20_000, "T0"), codec.Dropped)
	send(t, p, now, paceVideo(1, 160*ms, 20_000, "key"), codec.Dropped)
	tellAll(t, p, (now/twccReference+1)*twccReference)
	send(t, p, now, paceVideo(1, 200*ms, 2_000, "T0"), codec.NeedKey)
	send(t, p, now, paceVideo(1, 240*ms, 2_000, "key"), codec.Sent)
	if out, _ := drain(t, p, now); len(ofKind(out, videoDataPacket)) != 2 {
		t.Error("the key frame does not go out")
	}
}

// TestPacerWindow: no more than the path holds is on its way, and then only sound
// goes.
func TestPacerWindow(t *testing.T) {
	p, now := pathPacer(t, nil)
	p.path.est.bps, p.path.est.decreased = 400_000, now // wary
	send(t, p, now, paceVideo(1, 40*ms, 200_000, "T0"), codec.Sent)
	var pkt outPacket
	for end := now + 280*ms; now < end; {
		if ok, wait := p.next(&pkt, now); !ok {
			now += wait
		}
	}
	window := 400_000 / 8 * (p.path.est.trip + p.path.est.interval + windowSlack).Seconds()
	if flight := float64(p.path.est.log.flight); flight > window+2*packetBudget || flight < window/2 {
		t.Errorf("%.0f bytes are on their way, want %.0f at most", flight, window)
	}
	tellAll(t, p, (now/twccReference+1)*twccReference)
	if ok, _ := p.next(&pkt, now); !ok {
		t.Error("nothing goes out on the empty path")
	}
}

// TestPacerDropsDiscardableEarly: from half of the bound on.
func TestPacerDropsDiscardableEarly(t *testing.T) {
	p := testPacer(t, func(c *pacerConfig) { c.TargetBps = 1_000_000 })
	bound := int(p.rate * videoQueueMax.Seconds())
	send(t, p, 0, paceVideo(1, 0, bound/3, "key"), codec.Sent)
	send(t, p, 0, paceVideo(1, 20*ms, bound/8, "T1"), codec.Sent)
	send(t, p, 0, paceVideo(1, 40*ms, bound/8, "T1"), codec.Dropped)
	send(t, p, 0, paceVideo(1, 60*ms, bound/8, "T0"), codec.Sent)
}

// TestPacerProbe: on top of the media old packets go out again, so that all of it
// is what the probe wants, and no longer than that.
func TestPacerProbe(t *testing.T) {
	for name, old := range map[string]bool{"old packets": true, "padding": false} {
		t.Run(name, func(t *testing.T) {
			p, now := pathPacer(t, nil)
			if !old {
				p.hist.clear()
			}
			now += probeFirst
			p.setPace(500_000, 1_000_000, now)
			began := now
			var out []sent
			bytes := 0
			var pkt outPacket
			for ; now < began+500*ms; now += ms {
				if (now-began)%(40*ms) == 0 {
					f := paceVideo(1, 100*ms+now-began, 2500, "T0")
					p.pushVideo(f, now) // until feedback is missed
					f.Release()
				}
				if !old {
					p.hist.clear()
				}
				for ok, _ := p.next(&pkt, now); ok; ok, _ = p.next(&pkt, now) {
					s := take(t, &pkt, now)
					out = append(out, s)
					if s.at < began+probeSpan {
						bytes += pkt.size() + srtpTag
					}
				}
			}
			probes := ofKind(out, probePacket)
			if len(probes) == 0 || p.stats.ProbePackets != uint64(len(probes)) {
				t.Fatalf("%d packets of probes, %+v", len(probes), p.stats)
			}
			for _, s := range probes {
				if s.SSRC != p.cfg.RTXSSRC || s.PayloadType != p.cfg.RTXPT {
					t.Fatalf("a probe on SSRC %d", s.SSRC)
				}
				numberOf(t, s)
				if !old && (!s.Padding || s.PaddingSize != probePadding || len(s.payload) > 0) {
					t.Fatal("no padding")
				}
				if old && (s.Padding || len(s.payload) < probeBytes) {
					t.Fatal("no old packet")
				}
			}
			last := probes[len(probes)-1].at
			if last > began+probeSpanMax/2 || p.path.est.probe.state != probeIdle {
				t.Errorf("it went on for %v, state %d", last-began, p.path.est.probe.state)
			}
			want := probeOver * p.path.total(nextOver*1_000_000)
			if got := float64(bytes) * 8 / probeSpan.Seconds(); got < 0.85*want || got > 1.15*want {
				t.Errorf("%.0f bits/s in all, want %.0f", got, want)
			}
			// Nothing was told of it: it failed, and the next waits.
			if p.path.est.probe.failures != 1 || p.path.est.probe.notBefore < now {
				t.Errorf("%+v", p.path.est.probe.failures)
			}
		})
	}
}

// TestPathNews: what is not known is not told, then what changes.
func TestPathNews(t *testing.T) {
	p := testPacer(t, func(c *pacerConfig) { c.AudioTWCC, c.VideoTWCC = 3, 3 })
	if _, ok := p.news(0); ok {
		t.Error("news of a path that nothing is known of")
	}
	p, now := pathPacer(t, nil)
	fb, ok := p.news(now)
	if !ok || fb.EstimateBps < 550_000 || fb.EstimateBps > 700_000 || fb.Unprobed || fb.Report {
		t.Errorf("first %+v, %v", fb, ok)
	}
	if _, ok := p.news(now); ok {
		t.Error("the same news twice")
	}
	p.path.est.bps *= 1.02
	if _, ok := p.news(now); ok {
		t.Error("two percent are no news")
	}
	p.path.est.bps *= 0.9
	if fb, ok := p.news(now); !ok || fb.EstimateBps > 600_000 {
		t.Errorf("%+v, %v after a fall", fb, ok)
	}
	send(t, p, now, paceVideo(1, 100*ms, 2000, "T0"), codec.Sent)
	if fb, ok := p.news(now + tellQueue + ms); !ok || fb.QueueDelay != tellQueue+ms {
		t.Errorf("%+v, %v with a queue", fb, ok)
	}
}
