package mixer

import (
	"slices"
	"time"
)

// Constants of the policy. Bitrates are judged against the nominal bitrate of
// a rung.
const (
	// adaptFloor of the nominal is the least that a rung can be sent with:
	// below, the next smaller picture looks better. A rung's bitrate follows its
	// watchers down to there.
	adaptFloor = 0.6
	// adaptLanding is what a rung must leave to one who falls: a bit above the
	// floor, or he would fall again at once.
	adaptLanding = 0.65
	// adaptConfirm is how long an estimate must be below the floor: when feedback
	// comes late, connections believe the worst until it is there. They slow down
	// by themselves meanwhile, so that waiting fills no queue.
	adaptConfirm = 100 * time.Millisecond
	// adaptClimb of the nominal is what a rung is begun with at least: enough
	// above the floor to stay, or a link that carries less than the nominal
	// would never be sent that picture again, once it has fallen.
	adaptClimb = 0.75
	// adaptMargin times what a rung is sent with is wanted before going up to it:
	// a key frame comes first, and repairs are on top. Connections prove a little
	// more than that when they are asked for it.
	adaptMargin = 1.05
	// adaptSustain is how long the margin must last: estimates overshoot.
	adaptSustain = 500 * time.Millisecond
	// adaptModest is a bitrate that most links carry.
	adaptModest = 700_000
	// adaptStart is how long nobody goes up who has just come, adaptSettle who
	// has just gone up: the estimate has to catch up with what is sent.
	adaptStart  = time.Second
	adaptSettle = 2 * time.Second
	// adaptProbation is how long a step up is on trial. A fall within it was its
	// fault.
	adaptProbation = 5 * time.Second
	// adaptWaitMin is how long one who has fallen waits before he goes up. Each
	// step up that fails doubles it up to adaptWaitMax, and one that lasts for
	// adaptProven brings it back.
	adaptWaitMin = 5 * time.Second
	adaptWaitMax = 60 * time.Second
	adaptProven  = 30 * time.Second
	// adaptAhead is how long before that wait is over the connection may begin to
	// find out whether there is room: probing takes it a second. Less than
	// adaptSettle: a probe that fails is judged by what has arrived lately, which
	// was less before the step up.
	adaptAhead = time.Second
	// adaptFalls within adaptFallsIn make a chronic loser, who stays on the
	// lowest rung for adaptPenalty: each fall and each return costs the others
	// a key frame.
	adaptFalls   = 4
	adaptFallsIn = 2 * time.Minute
	adaptPenalty = time.Minute
	// adaptQueue of unsent pictures says that there is no room to go up,
	// whatever is believed.
	adaptQueue = 100 * time.Millisecond
)

// What reports say where there is no estimate to go by. A path has the loss and
// the round trip that it has; what counts is how much more they become.
const (
	// trialLoss and trialRTT above what was usual end a trial at the first
	// report.
	trialLoss = 0.05
	trialRTT  = 100 * time.Millisecond
	// reportLoss and reportRTT above it make a report a bad one, and
	// reportsBad of those in a row a fall.
	reportLoss = 0.10
	reportRTT  = 300 * time.Millisecond
	reportsBad = 2
	// trialMaxLoss is the most usual loss with which a trial is begun.
	trialMaxLoss = 0.05
)

// SwitchReason says why a client is sent another rendition.
type SwitchReason uint8

const (
	// SwitchEstimate is what the path is believed to carry.
	SwitchEstimate SwitchReason = iota
	// SwitchReports is loss or round trips, for want of an estimate.
	SwitchReports
	// SwitchTrial is a step up to see what happens, for want of an estimate.
	SwitchTrial
	// SwitchLoser is the fourth fall within two minutes, which leads to the
	// lowest tier and keeps the client there for one.
	SwitchLoser
	// SwitchCap is a server that saves its processor.
	SwitchCap
	// NumSwitchReasons is how many there are.
	NumSwitchReasons
)

// String returns the reason as metrics spell it.
func (r SwitchReason) String() string {
	if r >= NumSwitchReasons {
		return "unknown"
	}
	return [...]string{"estimate", "reports", "trial", "loser", "cap"}[r]
}

// AdaptStats counts by reason how often clients were sent another rendition.
type AdaptStats struct {
	Up, Down [NumSwitchReasons]uint64
}

func (s *AdaptStats) add(o AdaptStats) {
	for i := range s.Up {
		s.Up[i] += o.Up[i]
		s.Down[i] += o.Down[i]
	}
}

// path is what is known of the way to a client.
type path struct {
	// estimateBps is what it is believed to carry for pictures; 0 is unknown.
	estimateBps int
	// unprobed says that the estimate cannot rise much above what is sent,
	// because nothing else is.
	unprobed bool
	// reports counts the client's reports; loss (0..1) and rtt are of the last.
	reports uint64
	loss    float64
	rtt     time.Duration
	// queue is how long the oldest unsent picture waits.
	queue time.Duration
}

// adapter is the policy for one client: on which rung of a ladder it is. The
// rungs are the nominal bitrates, in bit/s, of what it may be sent, the lowest
// first. It is pure: time is an argument, which only has to go forward.
type adapter struct {
	rungs []int
	// paid is what others are sent on each rung at present, 0 where there is
	// nobody: who goes up takes nothing away from them.
	paid  []int
	at    int           // the rung, an index
	since time.Duration // on it

	climbed   bool          // the last move was up
	trial     bool          // and made without an estimate
	wait      time.Duration // after a fall
	notBefore time.Duration // the next step up
	above     bool          // the estimate is above the next rung's margin
	aboveFrom time.Duration
	under     bool // the estimate is below the rung's floor
	underFrom time.Duration
	fallen    []time.Duration // the last falls, adaptFalls at most
	losing    time.Duration   // until when the client is a chronic loser

	reports  uint64 // judged so far
	bad      int    // bad ones in a row
	baseLoss float64
	baseRTT  time.Duration // 0 is unknown
}

// newAdapter begins on the middle rung: a client that cannot take it is not
// drowned, and one that can is soon higher. Of two in the middle it is the
// upper one if most links carry that.
func newAdapter(rungs []int, now time.Duration) *adapter {
	at := (len(rungs) - 1) / 2
	if upper := len(rungs) / 2; upper > at && rungs[upper] <= adaptModest {
		at = upper
	}
	return &adapter{rungs: rungs, paid: make([]int, len(rungs)), at: at, since: now, wait: adaptWaitMin, notBefore: now + adaptStart}
}

// setRungs gives the client another ladder, and puts it on the rung that is
// nearest below the one that it was on. What was learned is kept.
func (a *adapter) setRungs(rungs []int, now time.Duration) {
	if slices.Equal(a.rungs, rungs) {
		return
	}
	was := a.rungs[a.at]
	a.rungs, a.paid, a.at, a.since = rungs, make([]int, len(rungs)), 0, now
	for i, bps := range rungs {
		if bps <= was {
			a.at = i
		}
	}
	a.climbed, a.trial, a.above, a.under = false, false, false, false
}

// step brings the client up to date with its path. most is the highest rung
// that is to be had at present. It reports whether the rung has changed, and
// why.
func (a *adapter) step(now time.Duration, p path, most int) (SwitchReason, bool) {
	most = min(max(most, 0), len(a.rungs)-1)
	bad := a.judge(now, p)
	if a.climbed && now-a.since >= adaptProven {
		a.climbed, a.trial, a.wait = false, false, adaptWaitMin
	}
	if a.at > most {
		a.move(now, most)
		a.climbed = false
		a.notBefore = max(a.notBefore, now+adaptSettle)
		return SwitchCap, true
	}
	if to, reason := a.below(now, p, bad); to < a.at {
		return a.fall(now, to, reason), true
	}
	to, reason := a.higher(now, p, most)
	if to > a.at {
		a.move(now, to)
		a.climbed, a.trial = true, reason == SwitchTrial
		a.notBefore = now + adaptSettle
		return reason, true
	}
	return 0, false
}

// judge looks at a report that is new, and says whether it, or it and the one
// before, are reason enough to fall.
func (a *adapter) judge(now time.Duration, p path) (bad bool) {
	if p.reports == a.reports {
		return false
	}
	a.reports = p.reports
	onTrial := a.trial && a.onProbation(now)
	loss, rtt, needed := reportLoss, reportRTT, reportsBad
	if onTrial {
		loss, rtt, needed = trialLoss, trialRTT, 1
	}
	if p.loss >= a.baseLoss+loss || a.baseRTT > 0 && p.rtt >= a.baseRTT+rtt {
		a.bad++
		return a.bad >= needed
	}
	a.bad = 0
	if !onTrial {
		a.baseLoss += 0.3 * (p.loss - a.baseLoss)
	}
	switch {
	case p.rtt <= 0:
	case a.baseRTT == 0 || p.rtt < a.baseRTT:
		a.baseRTT = p.rtt
	default: // a path that has become longer is found out in a minute or so
		a.baseRTT += (p.rtt - a.baseRTT) / 64
	}
	return false
}

// below is the rung to fall to, or the present one.
func (a *adapter) below(now time.Duration, p path, bad bool) (int, SwitchReason) {
	if a.at == 0 {
		return 0, 0
	}
	est := float64(p.estimateBps)
	under := est > 0 && est < adaptFloor*float64(a.rungs[a.at])
	if under && !a.under {
		a.underFrom = now
	}
	a.under = under
	if under && now-a.underFrom >= adaptConfirm {
		to := a.at - 1
		for to > 0 && est < adaptLanding*float64(a.rungs[to]) {
			to--
		}
		return to, SwitchEstimate
	}
	// Where there is an estimate it knows better than reports, but on a trial
	// it may not have noticed yet.
	if bad && (est == 0 || a.trial) {
		return a.at - 1, SwitchReports
	}
	return a.at, 0
}

// fall goes down and remembers. Falls that follow each other closely are one:
// an estimate that drops does so in steps.
func (a *adapter) fall(now time.Duration, to int, reason SwitchReason) SwitchReason {
	if a.onProbation(now) {
		a.wait = min(2*a.wait, adaptWaitMax)
	}
	if n := len(a.fallen); n == 0 || a.climbed || now-a.fallen[n-1] >= adaptProbation {
		a.fallen = append(a.fallen, now)
	}
	a.fallen = slices.DeleteFunc(a.fallen, func(at time.Duration) bool { return now-at > adaptFallsIn })
	if len(a.fallen) >= adaptFalls {
		a.fallen = a.fallen[:0]
		a.losing = now + adaptPenalty
		to, reason = 0, SwitchLoser
	}
	a.move(now, to)
	a.climbed, a.trial = false, false
	a.notBefore = max(now+a.wait, a.losing)
	return reason
}

// higher is the rung to go up to, or the present one.
func (a *adapter) higher(now time.Duration, p path, most int) (int, SwitchReason) {
	if a.at >= most {
		a.above = false
		return a.at, 0
	}
	est := p.estimateBps
	above := est >= a.wanted(a.at+1)
	if above && !a.above {
		a.aboveFrom = now
	}
	a.above = above
	switch {
	case now < a.notBefore || p.queue >= adaptQueue:
	case above && now-a.aboveFrom >= adaptSustain:
		to := a.at + 1
		for to < most && est >= a.wanted(to+1) {
			to++ // one key frame instead of two
		}
		return to, SwitchEstimate
	case above || est > 0 && !p.unprobed:
		// It will be known for certain.
	case p.reports == 0 || now-a.since < adaptWaitMin || a.bad > 0 || a.baseLoss > trialMaxLoss:
	case est > 0 && est < a.rungs[a.at]:
	default:
		return a.at + 1, SwitchTrial
	}
	return a.at, 0
}

// begins is the bitrate with which the client would begin on a rung.
func (a *adapter) begins(rung int) int {
	return max(int(adaptClimb*float64(a.rungs[rung])), a.paid[rung])
}

// wanted is the estimate that is wanted before going up to a rung.
func (a *adapter) wanted(rung int) int { return int(adaptMargin * float64(a.begins(rung))) }

func (a *adapter) move(now time.Duration, to int) {
	a.at, a.since, a.above, a.under, a.bad = to, now, false, false, 0
}

// onProbation reports whether the client has just gone up.
func (a *adapter) onProbation(now time.Duration) bool {
	return a.climbed && now-a.since < adaptProbation
}

// isLosing reports whether the client is a chronic loser, who has no say in
// what others are sent.
func (a *adapter) isLosing(now time.Duration) bool { return now < a.losing }

// isStarving reports whether the path does not carry the lowest rung.
func (a *adapter) isStarving(p path) bool {
	return a.at == 0 && p.estimateBps > 0 && float64(p.estimateBps) < adaptFloor*float64(a.rungs[0])
}

// nextBps is the bitrate that the connection should find out about: that with
// which the client would begin on the rung above, or 0 when he would not go up
// anyway.
func (a *adapter) nextBps(now time.Duration, most int) int {
	if a.at >= min(most, len(a.rungs)-1) || now+adaptAhead < a.notBefore {
		return 0
	}
	return a.begins(a.at + 1)
}

// due is when a decision may come by time alone, for one who was looked at: far
// off where nothing is in the offing.
func (a *adapter) due(looked time.Duration) time.Duration {
	if at := a.underFrom + adaptConfirm; a.under && at > looked {
		return at
	}
	if at := max(a.aboveFrom+adaptSustain, a.notBefore); a.above && at > looked {
		return at
	}
	return looked + time.Hour
}

// alarms are the estimates below and above which a decision may be due at
// once, for one who is sent sentBps; otherwise it is soon enough to look once a
// second.
func (a *adapter) alarms(now time.Duration, sentBps, most int) (below, above int) {
	above = int(^uint(0) >> 1)
	if a.at < min(most, len(a.rungs)-1) && !a.above { // if it is, the time is known
		above = a.wanted(a.at + 1)
	}
	if a.at == 0 && float64(sentBps) <= adaptFloor*float64(a.rungs[0]) || a.isLosing(now) {
		return 0, above
	}
	return max(int(float64(sentBps)/rateShare), int(adaptFloor*float64(a.rungs[a.at]))), above
}
