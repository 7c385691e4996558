package transport

import "time"

const (
	// arrivalsKept is a power of two: half a second at 6 Mb/s.
	arrivalsKept = 256
	// queueSpan and queuePackets: a queue stands when not one of the latest
	// packets got by without waiting. The shortest wait among them is what jitter
	// does not touch.
	queueSpan    = 60 * time.Millisecond
	queuePackets = 3
	// queueSent is from how much sending they must be: what waited through one and
	// the same standstill comes all at once.
	queueSent = 20 * time.Millisecond
	// baseSpan is for how long the shortest way is remembered: half of it at
	// least, all of it at most. Clocks drift apart by a millisecond meanwhile.
	baseSpan = 8 * time.Second
	// jitterWeight is slow, so that a queue that builds up does not count as
	// jitter before it has been seen.
	jitterWeight = 1.0 / 64
	// jitterMax bounds what is excused.
	jitterMax = 35 * time.Millisecond
	// climbPackets show a queue that grows.
	climbPackets = 4
	// climbBytes leaves out sound, which comes into the queue when some of what is in
	// front of it has left, and so takes less long. climbLook packets are looked at:
	// of the smallest pictures one goes for three of sound.
	climbBytes = 300
	climbLook  = 8 * climbPackets
	// fallMin over three packets is more than a clock's steps.
	fallMin = 5 * time.Millisecond
	// queueFloor is the standing queue that is too long on a path without jitter.
	queueFloor = 50 * time.Millisecond
)

// arrival is one packet that came, by both clocks, whose zeros have nothing to do
// with each other.
type arrival struct {
	sent, at time.Duration
	total    uint64 // bytes sent up to it
	got      uint64 // bytes that came up to it
	way      time.Duration
	bytes    uint16
}

// arrivals remembers what came lately, and how long it took. Pure; it
// allocates nothing.
type arrivals struct {
	ring [arrivalsKept]arrival
	n    int // since the beginning
	// overtaken bytes came since the last of ring.
	overtaken uint64

	started bool
	jitter  time.Duration // mean change of the way between packets
	// The shortest way in this half of baseSpan and in the one before.
	least, before time.Duration
	turned        time.Duration
}

func (a *arrivals) at(i int) *arrival { return &a.ring[i&(arrivalsKept-1)] }

// add takes one packet. Of those that were overtaken only the bytes count: rates
// want an order.
func (a *arrivals) add(p *sentPacket, at time.Duration) {
	way := at - p.at
	next := arrival{sent: p.at, at: at, total: p.total, got: uint64(p.bytes), way: way, bytes: p.bytes}
	if !a.started {
		a.started = true
		a.least, a.before, a.turned = way, way, p.at
	}
	if a.n > 0 {
		last := a.at(a.n - 1)
		if p.total <= last.total {
			a.overtaken += uint64(p.bytes)
			return
		}
		next.at = max(at, last.at)
		next.got += last.got + a.overtaken
		a.overtaken = 0
		d := way - last.way
		a.jitter += time.Duration(jitterWeight * float64(max(d, -d)-a.jitter))
		a.jitter = min(a.jitter, jitterMax)
	}
	if p.at-a.turned > baseSpan/2 {
		a.before, a.least, a.turned = a.least, way, p.at
	}
	a.least = min(a.least, way)
	*a.at(a.n) = next
	a.n++
}

// restart forgets what came: the path stood still since.
func (a *arrivals) restart() { a.n, a.overtaken = 0, 0 }

// base is the shortest way known.
func (a *arrivals) base() time.Duration { return min(a.least, a.before) }

// rebase forgets the shortest way: the path has another.
func (a *arrivals) rebase() {
	way := a.standing() + a.base()
	a.least, a.before = way, way
}

// standing is how long even the luckiest of the latest packets waited.
func (a *arrivals) standing() time.Duration {
	if a.n < queuePackets {
		return 0
	}
	last := a.at(a.n - 1)
	way := last.way
	for i := 1; i < min(a.n, arrivalsKept); i++ {
		p := a.at(a.n - 1 - i)
		if i >= queuePackets && last.at-p.at > queueSpan && last.sent-p.sent > queueSent {
			break
		}
		way = min(way, p.way)
	}
	return max(way-a.base(), 0)
}

// empties reports whether the latest packets took ever less long: a path that
// stood still and lets go looks like a queue, and is none any more.
func (a *arrivals) empties() bool {
	if a.n < queuePackets {
		return false
	}
	x, y, z := a.at(a.n-3).way, a.at(a.n-2).way, a.at(a.n-1).way
	return z < y && y < x && x-z > fallMin
}

// climbs reports whether each of the latest packets of pictures took longer than
// the one before, and none of them alone makes it up: a queue grows with every
// packet, a path that stands still for a moment is one step.
func (a *arrivals) climbs() bool {
	var ways [climbPackets]time.Duration // the latest first
	n := 0
	for i := 1; i <= min(a.n, climbLook) && n < climbPackets; i++ {
		if p := a.at(a.n - i); p.bytes >= climbBytes {
			ways[n] = p.way
			n++
		}
	}
	if n < climbPackets {
		return false
	}
	all := ways[0] - ways[n-1]
	for i := range n - 1 {
		if step := ways[i] - ways[i+1]; step < 0 || step > all*2/3 {
			return false
		}
	}
	return true
}

// tooLong is the standing queue at which the path is taken to be full.
func (a *arrivals) tooLong() time.Duration { return queueFloor + 3*a.jitter }

// rates is how fast packets came, and how fast they had been sent, those that
// were lost in between included, in bits/s.
type rates struct {
	came, sent float64
	// span is the time in which they were sent, grown how much longer the last took
	// than the first.
	span, grown time.Duration
}

// rates looks at what came in the latest span, but at least packets of it. ok is
// false when there are not as many.
func (a *arrivals) rates(span time.Duration, least int) (r rates, ok bool) {
	if a.n <= least {
		return r, false
	}
	last := a.at(a.n - 1)
	first := last
	for i := 1; i < min(a.n, arrivalsKept); i++ {
		p := a.at(a.n - 1 - i)
		if i > least && last.at-p.at > span {
			break
		}
		first = p
	}
	// A millisecond at least: stamps are no better.
	r.span, r.grown = last.sent-first.sent, last.way-first.way
	r.came = float64(last.got-first.got) * 8 / max(last.at-first.at, time.Millisecond).Seconds()
	r.sent = float64(last.total-first.total) * 8 / max(r.span, time.Millisecond).Seconds()
	return r, true
}
