package transport

import "time"

const (
	// reportPatience is for how long a report may be away; they come each second.
	reportPatience = 2 * time.Second
	// reportsLost is after how long without any the path is taken to be worse.
	reportsLost = 4 * time.Second
	// rembFresh is for how long a client's own estimate holds.
	rembFresh = 5 * time.Second
	// tripGrown is the growth of the round trip that is a queue.
	tripGrown = 100 * time.Millisecond
	// tripForget is by how much a second the shortest round trip is forgotten.
	tripForget = 5 * time.Millisecond
	// lossNone allows the estimate to grow.
	lossNone = 0.02
)

// reportControl is what receiver reports and REMB say, for clients without
// transport-wide feedback: once a second, and nothing of single packets. It is
// part of an estimator.
type reportControl struct {
	heard  time.Duration // the latest report; 0: none
	sent   uint64        // bytes, up to then
	rtt    time.Duration // the latest
	least  time.Duration // the shortest
	bad    bool          // the latest spoke of loss or a queue
	halved time.Duration
	remb   float64 // the client's own estimate; 0: none
	rembAt time.Duration
}

// calm reports whether reports come and speak of nothing bad.
func (r *reportControl) calm(now time.Duration) bool {
	return r.heard != 0 && now-r.heard < reportPatience && !r.bad
}

// rembRules reports whether the client's own estimate is what counts.
func (r *reportControl) rembRules(now time.Duration) bool {
	return r.remb > 0 && now-r.rembAt < rembFresh
}

// limit is what the client itself believes, or no limit.
func (e *estimator) limit(now time.Duration) float64 {
	if e.reports.rembRules(now) {
		return e.reports.remb
	}
	return estimateMax
}

// takeREMB takes the client's own estimate (draft-alvestrand-rmcat-remb), of
// everything that it gets.
func (e *estimator) takeREMB(bps float64, now time.Duration) {
	r := &e.reports
	r.remb, r.rembAt = min(max(bps, estimateMin), estimateMax), now
	if e.numbered() {
		return // a bound, see limit
	}
	before := e.bps
	e.bps = r.remb
	if before > 0 && e.bps < collapse*before {
		e.collapsed = e.collapsed || e.bps < collapse*min(e.sentRate(now), e.media)
		e.decreased = now
	}
	if e.probe.state != probeIdle && e.bps >= e.probe.need {
		e.probe.succeeded(e, e.bps, now)
	}
}

// sentRate is the rate since the latest report, in bits/s.
func (e *estimator) sentRate(now time.Duration) float64 {
	r := &e.reports
	span := now - r.heard
	if r.heard == 0 || span < 100*time.Millisecond {
		return 0
	}
	return float64(e.sentAll-r.sent) * 8 / span.Seconds()
}

// takeReport takes what a receiver report says of the picture. rtt is the round
// trip that this report tells, 0 if it does not.
func (e *estimator) takeReport(loss float64, rtt, now time.Duration) {
	r := &e.reports
	rate, span := e.sentRate(now), now-r.heard
	first := r.heard == 0
	if !first && rate == 0 {
		return // one came a moment ago: of the other stream
	}
	if rtt > 0 {
		r.rtt = rtt
		r.least += time.Duration(float64(tripForget) * min(span, reportsLost).Seconds())
		if r.least > rtt || first || r.least == 0 {
			r.least = rtt
		}
	}
	r.heard, r.sent = now, e.sentAll
	queued := r.rtt > r.least+tripGrown
	r.bad = loss > lossHarmless || queued
	if e.numbered() {
		return
	}
	e.loss = loss
	if e.bps == 0 && e.start > 0 {
		e.bps, e.began = e.start, now
	}
	if !e.known() {
		return
	}
	if !r.rembRules(now) && !first {
		e.follow(rate, loss, queued, span, now)
	}
	e.judgeReportedProbe(loss, queued, now)
	e.bps = min(max(e.bps, estimateMin), estimateMax)
}

// follow is rate control by one report about the rate at which was sent.
func (e *estimator) follow(rate, loss float64, queued bool, span, now time.Duration) {
	came := rate * (1 - loss)
	target := e.bps
	if loss > lossHarmless {
		target = min(e.bps*(1-loss/2), rate*(1-loss/2))
	}
	if queued {
		target = min(target, backOff*came)
	}
	switch {
	case target < e.bps:
		e.collapsed = e.collapsed || target < collapse*min(rate, e.media)
		e.bps, e.decreased = target, now
	case loss < lossNone && !queued && came > e.bps:
		e.bps = came
	case loss < lossNone && !queued && came > usedShare*e.bps:
		e.bps = max(e.bps, min(e.bps*(1+growth*min(span, reportsLost).Seconds()), provenShare*came))
	}
}

// judgeReportedProbe judges a probe by the first report that may know of it.
func (e *estimator) judgeReportedProbe(loss float64, queued bool, now time.Duration) {
	p, r := &e.probe, &e.reports
	if p.state == probeSending {
		if queued || loss > lossHarmless {
			p.failed(now)
		}
		return
	}
	if p.state != probeWaiting || now < p.sendingEnded+r.rtt {
		return
	}
	if queued || loss > lossHarmless/2 {
		p.failed(now)
		return
	}
	if !r.rembRules(now) {
		p.succeeded(e, p.rate(), now)
	} else {
		p.failed(now) // the client was not convinced
	}
}

// tick takes reports that do not come for a bad sign.
func (r *reportControl) tick(e *estimator, now time.Duration) {
	if e.probe.tick(now) {
		e.probe.failed(now)
	}
	if e.bps == 0 || r.heard == 0 || now-max(r.heard, r.halved) < reportsLost || e.sentAll == r.sent {
		return
	}
	r.halved = now
	e.bps, e.decreased = max(e.bps/2, estimateMin), now
}
