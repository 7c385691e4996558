package transport

import (
	"math"
	"time"
)

const (
	// trendBurst is the sending time within which packets are one group: frames
	// go out in one go, and what they show between them is the pacing.
	trendBurst = 5 * time.Millisecond
	// trendWindow groups make a slope.
	trendWindow = 20
	// trendSmoothing is the weight of what was.
	trendSmoothing = 0.9
	// trendGain makes a slope comparable with the threshold, and trendGroupsMax is
	// from how many groups on a slope is fully trusted.
	trendGain, trendGroupsMax = 4.0, 60

	// The threshold, in ms, follows what the path does by itself, up slowly and
	// down slower still: a fixed one starves beside flows that fill queues, or
	// sees congestion in every jitter (draft-ietf-rmcat-gcc-02 section 5.4).
	trendThreshold             = 12.5
	thresholdMin, thresholdMax = 6.0, 600.0
	thresholdUp, thresholdDown = 0.0087, 0.039 // per ms
	thresholdJump              = 15.0          // beyond it by that much is no jitter
	thresholdStep              = 100 * time.Millisecond
	trendOveruse               = 10 * time.Millisecond // for how long at least
	// trendGapMax between two groups is a pause.
	trendGapMax = 2 * time.Second
)

// usage is what a trend says of the path.
type usage int8

const (
	usageNormal usage = iota
	usageOver         // the delay grows
	usageUnder        // queues empty
)

// A trendline tells from the times between groups of packets, at the sender and
// at the receiver, whether a queue builds up: the arrival-time model of
// draft-ietf-rmcat-gcc-02 section 5, with a least-squares slope in place of its
// Kalman filter, as browsers have it. Pure; it allocates nothing.
type trendline struct {
	group, before   arrivalGroup
	hasGroup, pairs bool

	sum, smooth float64 // ms
	groups      int
	first       time.Duration // arrival of the first group
	x, y        [trendWindow]float64
	n, head     int

	slope     float64 // the last one, gained
	threshold float64 // ms
	adapted   time.Duration
	over      time.Duration // for how long it has been above
	counter   int
	state     usage
}

// arrivalGroup is packets that were sent in one go.
type arrivalGroup struct{ firstSent, sent, arrival time.Duration }

func newTrendline() trendline { return trendline{threshold: trendThreshold} }

// arrived takes one packet, in the order of sending.
func (t *trendline) arrived(sent, arrival time.Duration) {
	switch {
	case !t.hasGroup:
		t.group, t.hasGroup = arrivalGroup{sent, sent, arrival}, true
		return
	case sent < t.group.firstSent:
		return
	case sent-t.group.firstSent <= trendBurst:
		t.group.sent = max(t.group.sent, sent)
		t.group.arrival = max(t.group.arrival, arrival)
		return
	}
	if t.pairs {
		t.pair(t.group.sent-t.before.sent, t.group.arrival-t.before.arrival)
	}
	t.before, t.pairs = t.group, true
	t.group = arrivalGroup{sent, sent, arrival}
}

// pair takes what lies between two groups.
func (t *trendline) pair(sent, arrival time.Duration) {
	if arrival < 0 || arrival > trendGapMax || sent > trendGapMax {
		// Reordered groups, a pause or a path that stood still: what follows has
		// nothing to do with what was.
		*t = trendline{threshold: t.threshold, group: t.group, hasGroup: true, adapted: t.adapted}
		return
	}
	at := t.group.arrival
	if t.groups == 0 {
		t.first = at
	}
	t.groups = min(t.groups+1, trendGroupsMax)
	t.sum += milliseconds(arrival - sent)
	t.smooth = trendSmoothing*t.smooth + (1-trendSmoothing)*t.sum
	t.x[t.head], t.y[t.head] = milliseconds(at-t.first), t.smooth
	t.head = (t.head + 1) % trendWindow
	t.n = min(t.n+1, trendWindow)
	if t.n == trendWindow {
		t.judge(t.fit()*float64(t.groups)*trendGain, sent, at)
	}
}

// fit is the slope of the window by least squares, in ms a ms.
func (t *trendline) fit() float64 {
	var mx, my, num, den float64
	for i := range trendWindow {
		mx += t.x[i]
		my += t.y[i]
	}
	mx, my = mx/trendWindow, my/trendWindow
	for i := range trendWindow {
		num += (t.x[i] - mx) * (t.y[i] - my)
		den += (t.x[i] - mx) * (t.x[i] - mx)
	}
	if den == 0 {
		return 0
	}
	return num / den
}

// judge compares a slope with the threshold. A growing delay must last, and go
// on growing.
func (t *trendline) judge(slope float64, span, at time.Duration) {
	switch {
	case slope > t.threshold:
		if t.counter == 0 {
			t.over = span / 2
		} else {
			t.over += span
		}
		t.counter++
		if t.over > trendOveruse && t.counter > 1 && slope >= t.slope {
			t.over, t.counter = 0, 0
			t.state = usageOver
		}
	case slope < -t.threshold:
		t.over, t.counter, t.state = 0, 0, usageUnder
	default:
		t.over, t.counter, t.state = 0, 0, usageNormal
	}
	t.slope = slope
	t.adapt(math.Abs(slope), at)
}

// adapt has the threshold follow.
func (t *trendline) adapt(slope float64, at time.Duration) {
	span := min(at-t.adapted, thresholdStep)
	t.adapted = at
	if slope > t.threshold+thresholdJump || span < 0 {
		return
	}
	k := thresholdDown
	if slope > t.threshold {
		k = thresholdUp
	}
	t.threshold += k * (slope - t.threshold) * milliseconds(span)
	t.threshold = min(max(t.threshold, thresholdMin), thresholdMax)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
