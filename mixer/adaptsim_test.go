package mixer

import (
	"slices"
	"testing"
	"time"
)

// A simLink is a model of a path and of a connection that estimates it: a
// bottleneck with a queue, an estimate that follows what arrives and falls when
// the queue grows, and probes that back off.
type simLink struct {
	capacity func(now time.Duration) float64 // bit/s
	queue    float64                         // bits that wait
	lost     float64                         // bits since the last report
	sentBits float64                         // likewise

	arrived [10]float64 // bits per step, the last 500 ms
	n       int
	// The estimate. seen is the queue of simLag ago.
	estimate  float64
	delays    [simLag]time.Duration
	probing   time.Duration // until when; 0: not
	probeAt   time.Duration
	probeWait time.Duration
	unprobed  bool
	silent    bool // there is no estimate
	path      path
}

const (
	simStep  = 50 * time.Millisecond
	simLag   = 4 // steps until the estimate sees what happens
	simQueue = 300 * time.Millisecond
)

// step sends sentBps for one step and returns what the connection says then.
func (l *simLink) step(now time.Duration, sentBps, nextBps float64) path {
	if l.estimate == 0 {
		l.estimate, l.probeWait = 600_000, 5*time.Second
	}
	probe := 0.0
	nextBps *= 1.1
	switch {
	case l.unprobed || nextBps <= l.estimate:
		l.probing = 0
	case l.probing == 0 && now >= l.probeAt:
		l.probing = now + time.Second
	}
	if l.probing > 0 {
		probe = max(nextBps-sentBps, 0)
	}
	capacity, dt := l.capacity(now), simStep.Seconds()
	in := (sentBps + probe) * dt
	out := min(l.queue+in, capacity*dt)
	l.queue += in - out
	l.sentBits += in
	if most := capacity * simQueue.Seconds(); l.queue > most {
		l.lost += l.queue - most
		l.queue = most
	}
	delay := time.Duration(l.queue / capacity * float64(time.Second))
	seen := l.delays[l.n%simLag]
	l.delays[l.n%simLag] = delay
	l.arrived[l.n%len(l.arrived)] = out / dt
	l.n++
	rate := 0.0
	for _, bps := range l.arrived {
		rate += bps / float64(len(l.arrived))
	}
	switch {
	case seen > 50*time.Millisecond:
		l.estimate = min(l.estimate, 0.85*rate)
		if l.probing > 0 {
			l.probing, l.probeAt = 0, now+l.probeWait
			l.probeWait = min(2*l.probeWait, time.Minute)
		}
	case l.probing > 0 && now >= l.probing:
		l.estimate, l.probing, l.probeWait = nextBps, 0, 5*time.Second
		l.probeAt = now
	case l.estimate < 1.5*sentBps:
		l.estimate *= 1 + 0.08*dt
	}
	l.path.queue = 0
	l.path.unprobed = l.unprobed
	if !l.silent {
		l.path.estimateBps = int(l.estimate)
	}
	if l.n%20 == 0 {
		l.path.reports++
		l.path.loss, l.path.rtt = l.lost/l.sentBits, 40*time.Millisecond+delay
		l.lost, l.sentBits = 0, 0
	}
	return l.path
}

// A simRun is one client on its own ladder in front of a simLink.
type simRun struct {
	*adapter
	link  *simLink
	rates []*tierRate
	now   time.Duration
	next  float64
	moves []simMove
	// overload is the time with a queue of over half its bound.
	overload time.Duration
}

type simMove struct {
	at     time.Duration
	rung   int
	reason SwitchReason
}

func newSimRun(link *simLink) *simRun {
	s := &simRun{adapter: newAdapter(testRungs, 0), link: link}
	for _, bps := range testRungs {
		s.rates = append(s.rates, newTierRate(bps))
	}
	return s
}

func (s *simRun) until(end time.Duration) {
	for ; s.now < end; s.now += simStep {
		p := s.link.step(s.now, float64(s.rates[s.at].told), s.next)
		if reason, moved := s.step(s.now, p, 2); moved {
			s.rates[s.at] = newTierRate(s.rungs[s.at]) // as a room does
			s.moves = append(s.moves, simMove{s.now, s.at, reason})
		}
		s.rates[s.at].follow(s.now, p.estimateBps, false)
		s.next = float64(s.nextBps(s.now, 2))
		if s.link.queue > s.link.capacity(s.now)*simQueue.Seconds()/2 {
			s.overload += simStep
		}
	}
}

// since counts the moves from then on.
func (s *simRun) movesSince(from time.Duration) (n int) {
	for _, m := range s.moves {
		if m.at >= from {
			n++
		}
	}
	return n
}

func constant(bps float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return bps }
}

// TestSimCollapse: 3 Mb/s fall to 300 kb/s and come back.
func TestSimCollapse(t *testing.T) {
	const falls, recovers = 20 * time.Second, 32 * time.Second
	link := &simLink{capacity: func(now time.Duration) float64 {
		if now >= falls && now < recovers {
			return 300_000
		}
		return 3_000_000
	}}
	s := newSimRun(link)
	s.until(falls)
	if s.at != 2 || s.moves[0].at > 6*time.Second {
		t.Fatalf("before the fall on %d, moves %v", s.at, s.moves)
	}
	s.until(falls + time.Second)
	if s.at != 0 {
		t.Errorf("a second after the fall on %d, moves %v", s.at, s.moves)
	}
	s.overload = 0
	s.until(falls + 3*time.Second)
	if s.overload > time.Second {
		t.Errorf("the link is overloaded for %v more", s.overload)
	}
	s.overload = 0
	s.until(recovers)
	if n := s.movesSince(falls + time.Second); n > 0 || s.overload > 2*time.Second {
		t.Errorf("not stable: %d moves, %v of overload; %v", n, s.overload, s.moves)
	}
	s.until(recovers + 15*time.Second)
	if s.at != 2 {
		t.Errorf("15 s after the recovery on %d, moves %v", s.at, s.moves)
	}
	s.until(recovers + time.Minute)
	if s.at != 2 || len(s.fallen) != 1 {
		t.Errorf("at the end on %d, %d falls, moves %v", s.at, len(s.fallen), s.moves)
	}
}

// TestSimConstantLinks: whatever a link carries, a client finds the right rung
// and stays there.
func TestSimConstantLinks(t *testing.T) {
	for _, c := range []struct {
		bps  float64
		want []int // any of these
	}{
		{100_000, []int{0}}, {250_000, []int{0}}, {450_000, []int{0, 1}}, {550_000, []int{1}}, {700_000, []int{1}},
		{1_000_000, []int{1}}, {1_200_000, []int{1, 2}}, {1_500_000, []int{2}}, {1_800_000, []int{2}}, {2_500_000, []int{2}}, {20_000_000, []int{2}},
	} {
		s := newSimRun(&simLink{capacity: constant(c.bps)})
		s.until(30 * time.Second)
		settled := len(s.moves)
		s.until(3 * time.Minute)
		if !slices.Contains(c.want, s.at) || len(s.moves)-settled > 1 || settled > 3 {
			t.Errorf("%.0f bit/s: on %d, moves %v", c.bps, s.at, s.moves)
		}
	}
}

// TestSimWithoutProbes: trials take the place of probes, and of the estimate.
func TestSimWithoutProbes(t *testing.T) {
	for _, silent := range []bool{false, true} {
		rich := newSimRun(&simLink{capacity: constant(3_000_000), unprobed: true, silent: silent})
		rich.until(time.Minute)
		if rich.at != 2 || len(rich.moves) != 1 {
			t.Errorf("silent %v, room enough: on %d, moves %v", silent, rich.at, rich.moves)
		}
		poor := newSimRun(&simLink{capacity: constant(900_000), unprobed: true, silent: silent})
		poor.until(5 * time.Minute)
		up, busy := 0, poor.overload
		for _, m := range poor.moves {
			if m.rung == 2 {
				up++
			}
		}
		if up < 2 || up > 8 || busy > 20*time.Second {
			t.Errorf("silent %v, no room: %d trials, %v of overload, moves %v", silent, up, busy, poor.moves)
		}
	}
}

// TestSimRestlessLink: a link that comes and goes makes a chronic loser, not a
// key frame every few seconds.
func TestSimRestlessLink(t *testing.T) {
	s := newSimRun(&simLink{capacity: func(now time.Duration) float64 {
		if now/(8*time.Second)%2 == 0 {
			return 4_000_000
		}
		return 300_000
	}})
	s.until(10 * time.Minute)
	if n := len(s.moves); n > 50 {
		t.Errorf("%d moves in ten minutes: %v", n, s.moves)
	}
	if n := s.movesSince(9 * time.Minute); n > 6 {
		t.Errorf("%d moves in the last minute", n)
	}
}
