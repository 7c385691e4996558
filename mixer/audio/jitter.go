package audio

import (
	"math"
	"slices"
	"time"
)

const (
	// jitterWindow is how many ticks of transit times are remembered: 10 s.
	// Long enough to cover what comes back every few seconds (a radio
	// scanning), short enough to follow a path that got better.
	jitterWindow = 512
	// jitterAllowed is how many of 1,000 ticks may bring packets too late.
	// A stall and the burst after it are one tick, hence forgiven.
	jitterAllowed = 10
	// jitterSmall is what is covered without any exception: small and regular
	// disturbances (scheduling, a busy radio) must cost nothing at all.
	jitterSmall = 10 * time.Millisecond
	// jitterMargin is for the grain of clocks, and leaves some seconds to wait
	// for a pause when a clock's drift has used up the delay.
	jitterMargin = 3 * time.Millisecond
	// jitterDrain is how much faster than the tick before a tick's packets
	// must be to count as the same disturbance: a queue on the way that
	// empties. It is one event like a burst at once, and as rare; what counts
	// is its first packet.
	jitterDrain = 5 * time.Millisecond
	// targetFirst is assumed before anything is known.
	targetFirst = 10 * time.Millisecond
	// targetMin stays although every packet was in time: 5 ms for the wake-up
	// of the reader that comes late once in a while.
	targetMin = 5 * time.Millisecond
	// targetMax is where delay hurts a conversation more than loss.
	targetMax = 400 * time.Millisecond
	// repairMost is the most by which the target grows for the sake of lost
	// packets that later ones bring along: three packets of 20 ms.
	repairMost = 65 * time.Millisecond
	// jitterLearn is how many ticks with packets the estimate needs before it
	// makes exceptions: 1 s.
	jitterLearn = 50
	// jitterEvery is how many ticks apart the window is looked through.
	jitterEvery = 10
	// jitterHold is how many estimates, 3 s of them, must want less delay before
	// there is less: what is just about rare enough to be allowed would else
	// have the sound stretched and squeezed all the time.
	jitterHold = 15
	// jitterFar is where times relative to the base, in microseconds, want a
	// new base: a quarter of an hour, or 34 days of drift at 300 ppm.
	jitterFar = 1 << 30
	// noTransit marks a tick that brought nothing.
	noTransit = math.MinInt32
)

// jitter estimates how long the first sample of a packet must wait so that
// nearly every packet is there when its turn comes. A packet's transit time is
// its arrival minus its PTS, two clocks whose distance is unknown: only
// differences of transit mean something, so all are taken relative to the
// fastest packet of the window. That also absorbs the drift of the two clocks,
// 3 ms within the window at 300 ppm.
//
// A packet that was lost and that a later one brought along (RED, FEC) arrived
// with that one: to the estimate it is a late packet like any other. So the
// target grows for the sake of repair if, and only if, so much is lost that it
// pays.
//
// Transits are kept in microseconds relative to base.
type jitter struct {
	base   time.Duration
	slow   [jitterWindow]int32 // the slowest packet of each tick, or noTransit
	fast   [jitterWindow]int32 // the fastest, or noTransit
	ticks  int                 // ticks in the window
	next   int
	low    int32 // the fastest of the window
	target time.Duration
	wanted [jitterHold]time.Duration // the last estimates
	stale  bool                      // nothing has come for the whole window, or base is too far

	tickSlow, tickFast int32
	lastSlow           int32 // of the last tick that brought something
}

// reset forgets everything; transit becomes the reference.
func (j *jitter) reset(transit time.Duration) {
	j.base, j.ticks, j.next, j.low, j.target, j.stale = transit, 0, 0, 0, targetFirst, false
	j.tickSlow, j.tickFast, j.lastSlow = noTransit, noTransit, noTransit
	j.wanted = [jitterHold]time.Duration{}
}

// since returns how much slower than the fastest of the window a transit is.
func (j *jitter) since(transit time.Duration) time.Duration {
	return transit - j.base - time.Duration(j.low)*time.Microsecond
}

// add takes the transit of one packet, which must be within minutes of the
// reference.
func (j *jitter) add(transit time.Duration) {
	us := int32((transit - j.base) / time.Microsecond)
	if j.tickSlow == noTransit {
		j.tickSlow, j.tickFast = us, us
	}
	j.tickSlow, j.tickFast = max(j.tickSlow, us), min(j.tickFast, us)
	j.low = min(j.low, us)
}

// addRepair takes the transit of a lost packet that came with another one.
func (j *jitter) addRepair(transit time.Duration) {
	if since := j.since(transit); since > 0 && since <= repairMost {
		j.add(transit)
	}
}

// tick ends the packets of one tick.
func (j *jitter) tick() {
	slow := j.tickSlow
	if slow != noTransit {
		if j.lastSlow != noTransit && slow < j.lastSlow-int32(jitterDrain/time.Microsecond) {
			slow = noTransit
		}
		j.lastSlow = j.tickSlow
	}
	j.slow[j.next], j.fast[j.next] = slow, j.tickFast
	j.tickSlow, j.tickFast = noTransit, noTransit
	j.next = (j.next + 1) % jitterWindow
	j.ticks = min(j.ticks+1, jitterWindow)
	if j.next%jitterEvery == 0 {
		j.estimate()
	}
}

// estimate looks through the window.
func (j *jitter) estimate() {
	// The allowed exceptions, largest first, and one more: the largest sample
	// that must be covered.
	const most = jitterWindow*jitterAllowed/1000 + 1
	var top [most]int32
	for i := range top {
		top[i] = noTransit
	}
	n, low := 0, int32(math.MaxInt32)
	for i, x := range j.slow[:j.ticks] {
		if j.fast[i] == noTransit {
			continue
		}
		n++
		low = min(low, j.fast[i])
		if x <= top[most-1] {
			continue
		}
		at := most - 1
		for at > 0 && top[at-1] < x {
			top[at] = top[at-1]
			at--
		}
		top[at] = x
	}
	if n == 0 || low > jitterFar || low < -jitterFar {
		j.stale = true
		return
	}
	j.low = low
	above := func(i int) time.Duration { return time.Duration(max(top[i], low)-low) * time.Microsecond }
	need := max(above(n*jitterAllowed/1000), min(above(0), jitterSmall))
	first := targetMin
	if n < jitterLearn {
		// Too little to go below the first guess, and one stall must not
		// count.
		need, first = above(min(1, n-1)), targetFirst
	}
	copy(j.wanted[1:], j.wanted[:])
	j.wanted[0] = min(max(need+jitterMargin, first), targetMax)
	if n < jitterLearn {
		clear(j.wanted[1:])
	}
	j.target = slices.Max(j.wanted[:])
}
