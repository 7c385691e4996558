package transport

import (
	"time"

	"mixdown/codec"
)

const (
	// srtpTag is what SRTP adds to a packet (RFC 3711; 16 bytes with RFC 7714).
	srtpTag = 10
	// videoShare of what a path carries is the picture itself, the rest headers.
	videoShare = 0.96
	// soundBps is taken for sound before it has been measured, each soundSpan.
	soundBps  = 40_000
	soundSpan = time.Second
	// soundKept is what of the measure before is kept at least: pauses end.
	soundKept = 0.9
	// videoMinBps is the least that is told.
	videoMinBps = 10_000

	// waryPacing times the estimate is how fast the queue drains while the path
	// was found full lately: a burst would fill it again.
	waryPacing = 1.2
	// congestedWait is until it is looked again whether a full path has drained.
	// Feedback says so before, as a rule.
	congestedWait = 20 * time.Millisecond

	// nextOver: a larger picture is probed for with that margin, and while less
	// than that is known to be carried.
	nextOver = 1.1
	// startOver times what is being sent is believed at first.
	startOver = 1.25

	// tellChange of the estimate is told at once.
	tellChange = 0.05
	// tellQueue: that the queue of video has become longer than this, or shorter,
	// is told at once.
	tellQueue = 100 * time.Millisecond

	// probeBytes is the shortest old packet that serves for a probe, probePadding
	// what is sent in its place (RFC 3550 section 5.1 has one byte for it).
	probeBytes   = 300
	probePadding = 255
)

// pacedPath is what a pacer knows of the way to its client.
type pacedPath struct {
	est     *estimator
	nextBps int // of the next larger pictures; 0: there are none
	// numbersVideo and numbersSound say which packets have transport-wide numbers.
	numbersVideo, numbersSound bool

	// draining: the queue was thrown away, and what is on its way must come first.
	draining bool
	cursor   int // of the history, for probes

	sound      float64 // bits/s
	soundBytes int
	soundSince time.Duration

	told      int // bits/s
	toldQueue bool
}

func newPacedPath(cfg *pacerConfig) pacedPath {
	p := pacedPath{
		est:          newEstimator(cfg.Seed),
		numbersVideo: cfg.VideoTWCC != 0, numbersSound: cfg.AudioTWCC != 0,
	}
	if cfg.AudioSSRC != 0 {
		p.sound = soundBps
	}
	return p
}

// number gives a packet its transport-wide number, if id is not 0, and tells the
// estimator that it goes out.
func (p *pacedPath) number(pkt *outPacket, id uint8, now time.Duration) {
	if id != 0 {
		// Extensions has room, and the id was checked when it was negotiated.
		_ = pkt.Header.SetExtension(id, pkt.twcc[:])
	}
	n := pkt.size() + srtpTag
	if pkt.Kind == audioPacket {
		p.soundBytes += n
	}
	if id == 0 {
		p.est.sent(n)
		if !p.est.numbered() {
			p.est.probe.sent(n)
		}
		return
	}
	p.est.probe.sent(n)
	seq := p.est.number(n, now)
	pkt.twcc[0], pkt.twcc[1] = byte(seq>>8), byte(seq)
}

// soundIn is the share of sound in what the estimator measures.
func (p *pacedPath) soundIn() float64 {
	if p.est.numbered() && !p.numbersSound {
		return 0
	}
	return p.sound
}

// total is what the path must carry for a picture of that bitrate.
func (p *pacedPath) total(videoBps float64) float64 { return videoBps/videoShare + p.soundIn() }

// videoBps is what the path is believed to carry for video; 0 is unknown.
func (p *pacedPath) videoBps(now time.Duration) int {
	if !p.est.known() {
		return 0
	}
	bps := min(p.est.bps, p.est.limit(now))
	return int(max((bps-p.soundIn())*videoShare, videoMinBps))
}

// setPace tells what Peer.PaceVideo is told.
func (p *pacer) setPace(nowBps, nextBps int, now time.Duration) {
	if nowBps > 0 {
		p.setTarget(nowBps, now)
		if e := p.path.est; !e.known() {
			e.start = p.path.total(startOver * float64(nowBps))
		}
	}
	if nextBps > p.path.nextBps {
		p.path.est.probe.wanted(now)
	}
	p.path.nextBps = nextBps
}

// setRate sets the rate at which queues drain: a multiple of the target, but
// hardly more than the estimate on a path that was full a moment ago, and no more
// than goes between sound where that is guarded.
func (p *pacer) setRate(now time.Duration) {
	p.path.est.media = p.path.total(float64(p.cfg.TargetBps))
	bps := max(float64(p.cfg.TargetBps)*pacingFactor, pacingFloorBps)
	if e := p.path.est; e.known() && e.waryAt(now) {
		bps = min(bps, max(waryPacing*float64(p.path.videoBps(now)), estimateMin))
	}
	if p.guarded() {
		bps = min(bps, guardMost(float64(p.cfg.TargetBps)))
	}
	p.rate = bps / 8
}

// guarded reports whether the path looks so narrow that pictures keep to the
// soundGuard. On others they would only come later. Without transport-wide
// feedback nothing is known of it, and they do not.
func (p *pacer) guarded() bool { return p.path.est.pairs.narrower(guardBelow) }

// fillRate is the rate at which queues drain now, in bytes/s. A probe lends its
// rate to what waits: all of it fills the path alike.
func (p *pacer) fillRate() float64 { return max(p.rate, p.path.est.probe.sending()/8) }

// twcc takes an RTCP packet that isTWCC; false when it is malformed.
func (p *pacer) twcc(b []byte, now time.Duration) bool {
	ok := p.path.est.feedback(b, now)
	p.tickPath(now)
	p.setRate(now)
	return ok
}

// remb takes the client's own estimate.
func (p *pacer) remb(bps float64, now time.Duration) {
	p.path.est.takeREMB(bps, now)
	p.tickPath(now)
	p.setRate(now)
}

// report takes what a receiver report says of the picture, or of the sound when
// there is no picture.
func (p *pacer) report(loss float64, rtt, now time.Duration) {
	p.path.est.takeReport(loss, rtt, now)
	p.tickPath(now)
	p.setRate(now)
}

// tickPath notices what silence means, and lets go of the queue when the path
// carries much less all at once: what waits would come too late, and keep sound
// from coming at all.
func (p *pacer) tickPath(now time.Duration) {
	t := &p.path
	t.est.tick(now)
	if probe := &t.est.probe; probe.state == probeSending && now >= probe.ends {
		probe.close(t.est)
	}
	if span := now - t.soundSince; span >= soundSpan {
		if t.soundSince != 0 && t.soundBytes > 0 {
			t.sound = max(float64(t.soundBytes)*8/span.Seconds(), t.sound*soundKept)
		}
		t.soundBytes, t.soundSince = 0, now
	}
	if !t.est.takeCollapse() {
		return
	}
	p.stats.Collapses++
	t.draining = true
	for p.videoQ.len() > 0 {
		q, _ := p.videoQ.pop()
		p.needKey = p.needKey || !q.frame.Discardable
		p.discard(q)
	}
	if f := p.video.frame; f != nil {
		// Its end was never numbered, so nobody asks for it again.
		p.needKey = p.needKey || !f.Discardable
		p.queuedN -= len(f.Data) - p.video.off
		p.stats.VideoFlushed++
		f.Release()
		p.video.frame = nil
	}
}

// drained reports whether pictures may be queued.
func (p *pacer) drained(now time.Duration) bool {
	if p.path.draining && !p.path.est.congested(now) {
		p.path.draining = false
	}
	return !p.path.draining
}

// nextProbe fills pkt with a packet that is there to fill the path, if one is
// due, and begins and ends probes. It answers as next does.
func (p *pacer) nextProbe(pkt *outPacket, now time.Duration) (ok bool, wait time.Duration) {
	t := &p.path
	probe := &t.est.probe
	if probe.state != probeSending && !p.beginProbe(now) {
		return false, -1
	}
	if due := probe.due(now); due < packetBudget {
		wait = time.Duration(float64(packetBudget-due) / (probe.target / 8) * float64(time.Second))
		return false, min(wait+time.Microsecond, max(probe.ends-now, time.Microsecond))
	}
	p.writeProbe(pkt, now)
	p.spend(pkt, p.cfg.VideoTWCC, now)
	return true, 0
}

// beginProbe starts a probe if it is time for one.
func (p *pacer) beginProbe(now time.Duration) bool {
	t := &p.path
	if t.nextBps <= 0 || p.cfg.RTXPT == 0 || t.draining || p.videoSent.Packets == 0 {
		return false
	}
	need := t.total(nextOver * float64(t.nextBps))
	if !t.est.probe.may(t.est, need, now) || t.est.limit(now) < need && t.est.numbered() {
		return false
	}
	t.est.probe.start(t.est, need, now)
	t.cursor = 0
	return true
}

// writeProbe makes a packet for a probe: an old one again, the latest first, since
// that may even repair something, else padding. Receivers know both (RFC 4588
// section 4, RFC 3550 section 5.1).
func (p *pacer) writeProbe(pkt *outPacket, now time.Duration) {
	p.stats.ProbePackets++
	seq := p.rtxSeq
	p.rtxSeq++
	for range 8 {
		if p.path.cursor >= p.hist.count {
			p.path.cursor = 0
		}
		v := p.hist.get(p.hist.first + uint16(p.hist.count-1-p.path.cursor))
		p.path.cursor++
		if v != nil && v.n >= probeBytes {
			v.writeRTX(pkt, p.cfg.RTXSSRC, p.cfg.RTXPT, seq)
			pkt.Kind = probePacket
			return
		}
	}
	pkt.reset(p.cfg.RTXSSRC, p.cfg.RTXPT, seq, p.video.ts)
	pkt.Header.Padding, pkt.Header.PaddingSize = true, probePadding
	pkt.Payload = pkt.buf[:0]
	pkt.Kind = probePacket
}

// waits reports whether something may be sent by the dispatcher now.
func (p *pacer) waits() bool {
	return p.videoQ.len() > 0 || p.video.frame != nil || p.repairQ.len() > 0
}

// news is what changed of the path and is to be told at once.
func (p *pacer) news(now time.Duration) (fb codec.Feedback, ok bool) {
	t := &p.path
	bps := t.videoBps(now)
	if bps == 0 {
		return fb, false
	}
	delay := p.queueDelay(now)
	change := float64(bps-t.told) / max(float64(t.told), 1)
	if change < tellChange && change > -tellChange && (delay > tellQueue) == t.toldQueue {
		return fb, false
	}
	t.told, t.toldQueue = bps, delay > tellQueue
	return codec.Feedback{EstimateBps: bps, Unprobed: p.cfg.RTXPT == 0, QueueDelay: delay}, true
}
