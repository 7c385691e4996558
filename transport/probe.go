package transport

import "time"

const (
	// probeSpan is long enough for a rate when arrivals do not jitter, and
	// probeJitter times the jitter is added: its share of the measure must stay
	// small.
	probeSpan    = 150 * time.Millisecond
	probeSpanMax = time.Second
	probeJitter  = 10
	// probeReported is the span when only reports will tell, and nothing stops it:
	// long enough to overflow what is too narrow, short enough for sound.
	probeReported = 600 * time.Millisecond
	// probeOver is the rate of a probe in terms of what it is to prove, so that
	// what it proves is above that.
	probeOver = 1.15
	// probeWait is for how long after its end a probe may be told of, beyond
	// round trip and rhythm.
	probeWait = 400 * time.Millisecond
	// probeEvenly: a path that delivers this share of the rate of sending was not
	// full.
	probeEvenly = 0.9
	// probeHopeless ends a probe before its time, as soon as a third of it has been
	// told of.
	probeHopeless = 0.7
	// probePackets that came make a measure.
	probePackets = 8

	// probeFirst is from the first feedback to the first probe: so much must have
	// been heard to know what is usual.
	probeFirst = 200 * time.Millisecond
	// probeAgain is between two probes that both succeed: one tier a time.
	probeAgain = 300 * time.Millisecond
	// After probes that fail the next waits, twice as long each time.
	probeBackoff, probeBackoffMax = 5 * time.Second, time.Minute
	// probeSettle is after a decrease: the queue is still there.
	probeSettle = 2 * time.Second
)

type probeState uint8

const (
	probeIdle    probeState = iota
	probeSending            // packets go out on top of the media
	probeWaiting            // all are out, and are told of soon
)

// A prober finds out whether the path carries more than is being sent: for a
// moment old packets go out again on top, and what comes of all of it is
// measured. It stops when delay or loss say so, and waits twice as long after
// each failure. It is part of an estimator.
type prober struct {
	state       probeState
	need        float64       // bits/s to prove
	target      float64       // bits/s to send
	began, ends time.Duration // when waiting, ends is of the patience
	// sendingEnded is when the last packet went out.
	sendingEnded time.Duration
	first, last  int64 // transport-wide numbers
	bytes        int   // sent since it began

	backoff   time.Duration
	notBefore time.Duration
	// hinted says that the probe began early, because the path looked wider.
	hinted      bool
	hintBackoff time.Duration
	hintAfter   time.Duration

	// What came: first and last in the order of sending, and sums for the slope of
	// the way, in seconds, over the time of sending.
	n, got       int
	from, until  arrival
	x, y, xx, xy float64
	random       uint64
	failures     uint64
	successes    uint64
	started      uint64
}

func newProber(seed uint64) prober {
	return prober{backoff: probeBackoff, hintBackoff: probeBackoff, random: seed}
}

// spread varies a wait by a quarter: clients behind one bottleneck that failed
// together must not try again together.
func (p *prober) spread(d time.Duration) time.Duration {
	p.random = p.random*6364136223846793005 + 1442695040888963407 // Knuth's MMIX
	return d*3/4 + d/2*time.Duration(p.random>>54)/1024
}

// may reports whether a probe that proves need, in bits/s, may begin.
func (p *prober) may(e *estimator, need float64, now time.Duration) bool {
	if p.state != probeIdle || !e.known() || e.bps >= need || e.stalled {
		return false
	}
	early := now < p.notBefore
	if early && (now < p.hintAfter || !e.pairs.wider(need)) {
		return false
	}
	if e.decreased != 0 && now-e.decreased < probeSettle || e.loss > lossHarmless {
		return false
	}
	if e.numbered() {
		if now-e.began < probeFirst || e.ways.standing() > e.ways.tooLong()/2 {
			return false
		}
	} else if !e.reports.calm(now) {
		return false
	}
	p.hinted = early
	return true
}

// wanted says that something larger is to be proven than before: what failed for
// less says nothing new, but after a success nothing has failed.
func (p *prober) wanted(now time.Duration) {
	if p.backoff == probeBackoff && p.failures == 0 {
		p.notBefore = min(p.notBefore, now)
	}
}

// start begins a probe.
func (p *prober) start(e *estimator, need float64, now time.Duration) {
	span := probeReported
	switch {
	case e.numbered():
		span = min(probeSpan+probeJitter*e.ways.jitter, probeSpanMax)
	case e.reports.rembRules(now):
		span = probeSpanMax // the client must be convinced
	}
	p.state, p.need, p.target = probeSending, need, need*probeOver
	p.began, p.ends = now, now+span
	p.first, p.bytes, p.n, p.got = e.log.next, 0, 0, 0
	p.started++
}

// sent counts a packet, of whatever kind.
func (p *prober) sent(bytes int) {
	if p.state == probeSending {
		p.bytes += bytes
	}
}

// due is how many bytes are to go out now on top of what has.
func (p *prober) due(now time.Duration) int {
	if p.state != probeSending {
		return 0
	}
	return int(p.target/8*(now-p.began).Seconds()) - p.bytes
}

// rateNow is the rate of the probe that is being sent or on its way; 0 without.
func (p *prober) rateNow() float64 {
	if p.state == probeIdle {
		return 0
	}
	return p.target
}

// sending is the rate of the probe that is being sent; 0 without.
func (p *prober) sending() float64 {
	if p.state != probeSending {
		return 0
	}
	return p.target
}

// tick moves on with time. It reports whether nothing came of the probe.
func (p *prober) tick(now time.Duration) (failed bool) {
	return p.state == probeWaiting && now > p.ends
}

// close ends the sending.
func (p *prober) close(e *estimator) {
	p.state, p.last, p.sendingEnded = probeWaiting, e.log.next, p.ends
	p.ends += e.trip + 2*e.interval + probeWait
	if !e.numbered() {
		p.ends += reportPatience
	}
}

// rate is what was sent, in bits/s.
func (p *prober) rate() float64 {
	return float64(p.bytes) * 8 / max(p.sendingEnded-p.began, time.Millisecond).Seconds()
}

// arrived takes a packet that came.
func (p *prober) arrived(number int64, s *sentPacket, at time.Duration) {
	if p.state == probeIdle || number < p.first || p.state == probeWaiting && number >= p.last {
		return
	}
	this := arrival{sent: s.at, total: s.total, way: at - s.at}
	if p.n == 0 {
		p.from, p.until = this, this
		p.x, p.y, p.xx, p.xy = 0, 0, 0, 0
	} else {
		p.got += int(s.bytes)
	}
	if s.total > p.until.total {
		p.until = this
	}
	p.n++
	x, y := (this.sent - p.from.sent).Seconds(), (this.way - p.from.way).Seconds()
	p.x, p.y, p.xx, p.xy = p.x+x, p.y+y, p.xx+x*x, p.xy+x*y
}

// measure is the rate that came through, and the rate of sending. On a full path
// the way grows by a second for each second of what is too much; all packets
// together tell how fast, where first and last alone would tell of jitter.
func (p *prober) measure() (came, sent float64, ok bool) {
	out := p.until.sent - p.from.sent
	if p.n < probePackets || out < probeSpan/3 {
		return 0, 0, false
	}
	all := float64(p.until.total - p.from.total)
	sent = all * 8 / out.Seconds()
	n := float64(p.n)
	slope := 0.0
	if den := n*p.xx - p.x*p.x; den > 0 {
		slope = max((n*p.xy-p.x*p.y)/den, 0)
	}
	came = sent / (1 + slope)
	if share := float64(p.got) / all; share < 1-lossHarmless {
		came *= share
	}
	return came, sent, true
}

// giveUp ends a probe early when what came of it so far says enough.
func (p *prober) giveUp(e *estimator, now time.Duration) {
	if came, sent, ok := p.measure(); ok && came < probeHopeless*sent {
		e.bps = max(e.bps, backOff*came)
		p.failed(now)
	}
}

// reported judges a probe whose packets have all been told of.
func (p *prober) reported(e *estimator, now time.Duration) {
	if p.state == probeSending {
		p.giveUp(e, now)
	}
	if p.state != probeWaiting || e.reported < p.last {
		return
	}
	came, sent, ok := p.measure()
	switch proven := min(came, sent); {
	case !ok:
		p.failed(now)
	case came < probeEvenly*sent:
		// It was full, and this is what it delivers.
		e.bps = max(e.bps, backOff*came)
		p.failed(now)
	case proven < p.need:
		// We were late ourselves: there is no telling.
		e.bps = max(e.bps, proven)
		p.state, p.notBefore = probeIdle, now+probeAgain
	default:
		p.succeeded(e, proven, now)
	}
}

func (p *prober) succeeded(e *estimator, proven float64, now time.Duration) {
	e.bps = max(e.bps, proven)
	e.decreased = 0 // there is nothing to be wary of
	p.successes++
	p.state, p.notBefore = probeIdle, now+probeAgain
	p.backoff, p.hintBackoff = probeBackoff, probeBackoff
}

// failed ends a probe and puts off the next. Without one it only puts off.
func (p *prober) failed(now time.Duration) {
	if p.state == probeIdle {
		// Congestion of its own: what was learnt before is worth nothing.
		p.notBefore = max(p.notBefore, now+p.spread(probeBackoff))
		p.hintAfter = max(p.hintAfter, now+probeSettle)
		return
	}
	p.state = probeIdle
	p.failures++
	p.notBefore = now + p.spread(p.backoff)
	if p.hinted {
		p.hintAfter = now + p.spread(p.hintBackoff)
		p.hintBackoff = min(2*p.hintBackoff, probeBackoffMax)
		return
	}
	p.hintAfter = now + probeSettle
	p.backoff = min(2*p.backoff, probeBackoffMax)
}

const (
	// pairSpan is how close together two packets of a pair are sent, pairBytes how
	// long the second must be for its time on the wire to tell.
	pairSpan  = 2 * time.Millisecond
	pairBytes = 500
	// pairFaster: a pair that comes this much faster than a rate speaks for it.
	pairFaster = 2.0
	// pairsEnough speak in a row, more or less, before it is believed.
	pairsEnough, pairsMax = 8, 12
	// pairsMean are about as many as the mean is of, which shall not mind readers
	// that are late; one that stood still counts as pairSlowest bits/s.
	pairsMean   = 48
	pairSlowest = 300_000
)

// A pairMeter looks at packets that went out together. A narrow path pulls them
// apart, a wide one does not. That proves nothing, but says when it is worth
// asking again: paths do not get better by the clock.
type pairMeter struct {
	number   int64
	sent, at time.Duration
	rates    [pairsMax]float64 // bits/s, the latest pairs
	n        int
	spread   float64 // seconds a bit, mean
}

// arrived takes a packet that came.
func (m *pairMeter) arrived(number int64, p *sentPacket, at time.Duration) {
	if number == m.number+1 && p.at-m.sent <= pairSpan && p.bytes >= pairBytes && at >= m.at {
		rate := float64(p.bytes) * 8 / max(at-m.at, time.Millisecond/2).Seconds()
		m.rates[m.n%pairsMax] = rate
		m.n++
		m.spread += (1/max(rate, pairSlowest) - m.spread) / float64(min(m.n, pairsMean))
	}
	m.number, m.sent, m.at = number, p.at, at
}

// wider reports whether most of the latest pairs speak for more than need.
func (m *pairMeter) wider(need float64) bool {
	if m.n < pairsMax {
		return false
	}
	faster := 0
	for _, r := range m.rates {
		if r > pairFaster*need {
			faster++
		}
	}
	return faster >= pairsEnough
}

// narrower reports whether pairs in the mean speak for less than bps. What a reader
// that is late takes from one it adds to another.
func (m *pairMeter) narrower(bps float64) bool { return m.n >= pairsMax && m.spread*bps > 1 }
