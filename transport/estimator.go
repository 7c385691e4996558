package transport

import "time"

const (
	// estimateMin leaves sound alive; estimateMax is beyond any tier.
	estimateMin, estimateMax = 50_000, 50_000_000
	// backOff is what is taken of the rate at which a full path delivered: the
	// rest empties its queue (draft-ietf-rmcat-gcc-02 section 5.5).
	backOff = 0.85
	// growth a second, as long as the estimate is made use of.
	growth = 0.08
	// usedShare of the estimate must be sent for it to grow, and it grows up to
	// provenShare of what came through: beyond, only a probe tells.
	usedShare, provenShare = 0.75, 1.2

	// shortSpan tells what a full path delivers now, longSpan what is made use of.
	shortSpan, longSpan = 100 * time.Millisecond, 500 * time.Millisecond
	shortPackets        = 4
	longPackets         = 10
	// provenSpan is the shortest time of sending that proves a rate: less is one
	// picture.
	provenSpan = 300 * time.Millisecond

	// ownShare: when that much of what is sent comes through while a queue
	// stands, the queue is not ours alone.
	ownShare = 0.8
	// fullShare: when less than that comes through, while the delay grows by as
	// much as a queue that is too long or much is lost, the path is full.
	fullShare = 0.6
	// soundOnly is less than any path carries: who sends no more did not fill it.
	soundOnly = 80_000
	// littleShare of the estimate, or less, is little to be sending.
	littleShare = 0.6
	// shareStep times the estimate is the least that is left at once on a path
	// that others fill, each shareEvery.
	shareStep  = 0.7
	shareEvery = 300 * time.Millisecond
	// trendTrust percent of a queue that is too long must stand for a trend to
	// count: jitter has trends.
	trendTrust = 60
	// rebaseAfter: a queue that stands this long, whatever we do, is how the path
	// is. rebaseShrink is what counts as doing something.
	rebaseAfter  = time.Second
	rebaseShrink = 20 * time.Millisecond

	// lossSpan and lossPackets make a share of loss. Below lossHarmless paths are
	// just like that (radio); beyond, some policer drops what is too much.
	lossSpan     = 300 * time.Millisecond
	lossPackets  = 20
	lossHarmless = 0.1
	// lossSudden in one report, of lossBurst packets at least, is a queue that
	// overflows.
	lossSudden = 0.4
	lossBurst  = 5

	// usualInterval is between two feedbacks of browsers, until it is known.
	usualInterval = 100 * time.Millisecond
	// stallMin and the multiple of the usual rhythm are after how much silence,
	// with packets on their way, feedback has stopped. Every stallStep of silence
	// halves the estimate.
	stallMin   = 300 * time.Millisecond
	stallTimes = 3
	// stallPackets is how many must be on their way: few may all be lost.
	stallPackets = 5
	stallStep    = 500 * time.Millisecond
	// feedbackLost is after how long without feedback reports rule again.
	feedbackLost = 5 * time.Second

	// wary is for how long after congestion the path is only filled as far as the
	// estimate says.
	wary = 15 * time.Second
	// windowSlack is what may be on its way beyond a round trip with feedback, and
	// windowLoose how many times that while nothing is wrong: key frames.
	windowSlack = 100 * time.Millisecond
	windowLoose = 2.5
	windowMin   = 5 * packetBudget

	// collapse: less than this share of what is sent is carried now.
	collapse = 0.7
)

// An estimator believes to know what the way to a client carries, everything
// together, in bits/s. It goes by the client's transport-wide feedback: when
// every packet arrived. Delay is the first sign of a full path, and how fast it
// delivers then is what it carries; that nothing is delayed proves only what has
// been sent. Without such feedback it goes by what the client itself believes
// (REMB), or by receiver reports (see estimatorreports.go).
//
// Pure: time is an argument. It is not safe for concurrent use, does not block,
// and allocates nothing once running.
type estimator struct {
	log      sentLog
	clock    arrivalClock
	ways     arrivals
	trend    trendline
	probe    prober
	pairs    pairMeter
	reports  reportControl
	sentAll  uint64 // bytes, numbered or not
	reported int64  // the first number that nothing was said of

	start float64 // bits/s to begin with; 0: there are no pictures yet
	media float64 // bits/s that are to be sent, probes not counted
	bps   float64 // 0: nothing is known yet

	heard    time.Duration // the latest feedback; 0: none
	began    time.Duration // when there was an estimate first
	interval time.Duration // between two, mean
	trip     time.Duration // from sending to feedback, at its shortest

	decreased time.Duration // the latest decrease
	full      time.Duration // since when a queue stands; 0: it does not
	fullest   time.Duration // how long it was then
	lost      int           // of the current window
	told      int
	lostSince time.Duration
	loss      float64 // of the window before

	stalled     bool
	stalledAt   time.Duration // the latest halving
	beforeStall float64

	collapsed bool // taken by takeCollapse
}

func newEstimator(seed uint64) *estimator {
	return &estimator{log: newSentLog(), trend: newTrendline(), probe: newProber(seed), interval: usualInterval}
}

// known reports whether there is an estimate.
func (e *estimator) known() bool { return e.bps > 0 }

// numbered reports whether transport-wide feedback is what rules.
func (e *estimator) numbered() bool { return e.heard != 0 }

// sent notes a packet that goes out now without a transport-wide number.
func (e *estimator) sent(bytes int) { e.sentAll += uint64(bytes) }

// number notes a packet that goes out now, and returns its number.
func (e *estimator) number(bytes int, now time.Duration) uint16 {
	e.sentAll += uint64(bytes)
	return e.log.add(bytes, now)
}

// feedback takes an RTCP packet that isTWCC; false when it is malformed or
// tells of what was never sent.
func (e *estimator) feedback(b []byte, now time.Duration) bool {
	r, ok := parseTWCC(b)
	if !ok || r.count == 0 {
		return false
	}
	first, ok := e.log.extend(r.base, r.count)
	if !ok {
		return false
	}
	e.rhythm(now)
	e.log.expire(now)
	// What no report told of: that report was lost.
	for n := max(e.reported, e.log.next-sentLogSize); n < first; n++ {
		e.log.settle(e.log.at(n), sentUnknown)
	}
	reference := e.clock.unwrap(r.reference)
	lost, told := e.lost, e.told
	for w := r.walk(); w.next(); {
		number := first + int64(w.index)
		switch {
		case !w.received:
			e.missed(number, number+int64(w.n))
		case w.timed:
			e.arrived(number, reference+w.arrival, now)
		}
	}
	e.reported = max(e.reported, first+int64(r.count))
	e.control(e.lost-lost, e.told-told, now)
	e.probe.reported(e, now)
	return true
}

// rhythm notes when feedback came, and ends a stall.
func (e *estimator) rhythm(now time.Duration) {
	if e.bps == 0 && e.start > 0 {
		e.bps, e.began = e.start, now
	}
	if e.heard != 0 {
		span := min(now-e.heard, stallMin) // longer is a pause
		e.interval += (span - e.interval) / 8
	}
	e.heard = now
}

// missed takes packets that had not come.
func (e *estimator) missed(from, to int64) {
	for n := max(from, e.log.next-sentLogSize); n < to; n++ {
		if p := e.log.at(n); p.state == sentOnWay {
			e.log.settle(p, sentLost)
			e.lost++
			e.told++
		}
	}
}

// arrived takes a packet that came.
func (e *estimator) arrived(number int64, at, now time.Duration) {
	if !e.log.holds(number) {
		return
	}
	p := e.log.at(number)
	switch p.state {
	case sentArrived:
		return
	case sentLost: // it was only late
		e.lost = max(e.lost-1, 0)
	default:
		e.told++
	}
	e.log.settle(p, sentArrived)
	p.state = sentArrived
	e.ways.add(p, at)
	e.trend.arrived(p.at, at)
	e.pairs.arrived(number, p, at)
	e.probe.arrived(number, p, at)
	trip := max(now-p.at, 0)
	if e.trip == 0 || trip < e.trip {
		e.trip = trip
	} else {
		e.trip += (trip - e.trip) / 256
	}
}

// control judges what a feedback told: so many packets of so many were lost.
func (e *estimator) control(lost, told int, now time.Duration) {
	if !e.known() {
		return
	}
	if e.stalled {
		e.recover(lost, told, now)
		return
	}
	short, ok := e.ways.rates(shortSpan+2*e.ways.jitter, shortPackets)
	if !ok {
		return
	}
	standing, tooLong := e.ways.standing(), e.ways.tooLong()
	full := short.came < fullShare*short.sent && short.sent > soundOnly
	over := standing > tooLong || full && short.grown > tooLong && e.ways.climbs() ||
		e.trend.state == usageOver && standing > tooLong*trendTrust/100
	over = over && !e.ways.empties() || full && lost >= lossBurst && float64(lost) > lossSudden*float64(told)
	switch {
	case over:
		e.decrease(short, standing, now)
	case standing < tooLong/2 && e.trend.state != usageUnder:
		e.full = 0
		e.increase(min(e.interval, longSpan), now)
	}
	e.judgeLoss(now)
	e.bps = min(max(e.bps, estimateMin), estimateMax)
}

// recover ends a stall, of which this is the first feedback: so many packets of so
// many were lost. When few were, only the feedback had been held up.
func (e *estimator) recover(lost, told int, now time.Duration) {
	e.stalled = false
	e.ways.restart()
	e.trend = newTrendline()
	e.lost, e.told, e.lostSince = 0, 0, now
	if float64(lost) < lossHarmless*float64(told) {
		e.bps = max(e.bps, backOff*e.beforeStall)
	}
	// A path that was away often comes back as it was: that is asked soon.
	e.decreased = now - probeSettle
	e.probe.notBefore = min(e.probe.notBefore, now+probeAgain)
}

// decrease has the estimate follow what a full path delivers. It may do so at
// each feedback: the same delivery gives the same estimate.
func (e *estimator) decrease(r rates, standing, now time.Duration) {
	through := r.came >= ownShare*r.sent || r.sent < soundOnly
	if e.full == 0 {
		e.full, e.fullest = now, standing
	} else if now-e.full > rebaseAfter {
		if through && standing > e.fullest-rebaseShrink {
			e.ways.rebase()
			e.trend = newTrendline()
			e.full = 0
			return
		}
		e.full, e.fullest = now, standing
	}
	came := r.came
	if long, ok := e.ways.rates(longSpan, longPackets); ok && through {
		came = max(came, long.came) // it is about a little, and this is the better measure
	}
	target := backOff * came
	if through && r.came < littleShare*e.bps {
		// Little is sent and all of it comes through, late: others fill the path,
		// and how much of it could be ours cannot be seen.
		if now-e.decreased < shareEvery && e.decreased != 0 {
			return
		}
		target = max(target, shareStep*e.bps)
	}
	if target < e.bps {
		e.bps = target
		e.decreased = now
		e.collapsed = e.collapsed || !through && e.bps < collapse*min(r.sent, e.media)
	}
	e.probe.failed(now)
}

// increase has the estimate grow with what has been proven.
func (e *estimator) increase(span, now time.Duration) {
	r, ok := e.ways.rates(longSpan, longPackets)
	if !ok || r.span < provenSpan {
		return
	}
	used := min(r.came, r.sent)
	if used > e.bps {
		e.bps = used
	} else if used > usedShare*e.bps && e.loss < lossHarmless {
		e.bps = max(e.bps, min(e.bps*(1+growth*span.Seconds()), provenShare*used))
	}
}

// judgeLoss closes a window of loss when it is full.
func (e *estimator) judgeLoss(now time.Duration) {
	if e.told < lossPackets || now-e.lostSince < lossSpan {
		return
	}
	e.loss = float64(e.lost) / float64(e.told)
	e.lost, e.told, e.lostSince = 0, 0, now
	if e.loss <= lossHarmless {
		return
	}
	if r, ok := e.ways.rates(longSpan, longPackets); ok {
		// What does come through is carried.
		if target := max(e.bps*(1-e.loss/2), r.came); target < e.bps {
			e.bps, e.decreased = target, now
		}
	}
}

// tick notices silence. It is called whenever something may be sent.
func (e *estimator) tick(now time.Duration) {
	e.log.expire(now)
	if e.heard == 0 {
		e.reports.tick(e, now)
		return
	}
	if e.probe.tick(now) {
		e.probe.failed(now)
	}
	if e.log.packets < stallPackets || !e.known() {
		e.stalled = e.stalled && e.log.packets > 0 // nothing is on its way: try
		return
	}
	since := max(e.heard, e.log.at(e.log.oldest).at)
	if now-since < max(stallMin, stallTimes*e.interval)+e.trip {
		return
	}
	switch {
	case !e.stalled:
		e.stalled, e.stalledAt, e.beforeStall = true, now, e.bps
		e.collapsed = true
		e.probe.failed(now)
	case now-e.stalledAt < stallStep:
		return
	}
	e.stalledAt = now
	e.bps = max(e.bps/2, estimateMin)
	e.decreased = now
	if now-e.heard > feedbackLost {
		e.heard, e.stalled = 0, false // reports rule
	}
}

// waryAt reports whether the path was found full lately.
func (e *estimator) waryAt(now time.Duration) bool {
	return e.decreased != 0 && now-e.decreased < wary
}

// congested reports whether as much is on its way as the path may hold: until
// some of it has come, only sound is sent.
func (e *estimator) congested(now time.Duration) bool {
	if e.heard == 0 {
		return false
	}
	if e.stalled {
		return true
	}
	window := max(e.bps, e.probe.rateNow()) / 8 * (e.trip + e.interval + windowSlack).Seconds()
	if !e.waryAt(now) {
		window *= windowLoose
	}
	return float64(e.log.flight) > max(window, windowMin)
}

// takeCollapse reports, once, that the path carries much less than was sent.
func (e *estimator) takeCollapse() bool {
	c := e.collapsed
	e.collapsed = false
	return c
}
