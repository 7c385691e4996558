package audio

import (
	"slices"
	"testing"
	"time"

	"mixdown/codec"
)

const ms = time.Millisecond

// A clean link: nothing is ever concealed, and the wait is little more than
// what the phase between the two clocks costs (10 ms on average).
func TestCleanLinkLatency(t *testing.T) {
	var medians []time.Duration
	for i := range 20 {
		l := newLink(t, talking)
		l.phase = time.Duration(i) * ms
		l.ppm = float64(i-10) * 30
		late, transit := uniform(uint64(i), 3*ms), uniform(uint64(i)+99, 3*ms)
		l.late = func(int) time.Duration { return late() }
		l.delay = func(int64, time.Duration) time.Duration { return transit() }
		l.run(60 * time.Second)
		const settled = 250
		if n := l.concealedSince(settled); n > 0 {
			t.Errorf("phase %v, %v ppm: %d of %d ticks concealed", l.phase, l.ppm, n, l.tick)
		}
		if p99 := l.quantile(settled, 0.99); p99 > 45*ms {
			t.Errorf("phase %v, %v ppm: p99 of latency %v", l.phase, l.ppm, p99)
		}
		medians = append(medians, l.quantile(settled, 0.5))
	}
	slices.Sort(medians)
	t.Logf("medians %v .. %v .. %v", medians[0], medians[10], medians[19])
	if medians[10] > 25*ms {
		t.Errorf("median over all phases %v, want at most 25 ms", medians[10])
	}
}

// 30 ms of uniform jitter, packets overtaking each other.
func TestJitterLoss(t *testing.T) {
	for _, span := range []time.Duration{30 * ms, 60 * ms} {
		l := newLink(t, talking)
		d := uniform(7, span)
		l.delay = func(int64, time.Duration) time.Duration { return d() }
		l.run(10 * time.Second)
		before, from := l.playout.Stats(), l.tick
		l.run(120 * time.Second)
		s := l.playout.Stats()
		late := float64(s.Late-before.Late) / float64(s.Packets-before.Packets)
		concealed := float64(l.concealedSince(from)) / float64(l.tick-from)
		t.Logf("%v: late %.2f%%, concealed %.2f%%, latency p50 %v p95 %v, %+v", span, 100*late, 100*concealed,
			l.quantile(from, 0.5), l.quantile(from, 0.95), s)
		if late > 0.01 || concealed > 0.01 {
			t.Errorf("%v jitter: %.2f%% late, %.2f%% of ticks concealed, want under 1%%", span, 100*late, 100*concealed)
		}
		if p95 := l.quantile(from, 0.95); p95 > span+45*ms {
			t.Errorf("%v jitter: p95 of latency %v", span, p95)
		}
	}
}

// An hour of drift, speech with pauses or none, must neither build up delay nor
// run dry often.
func TestDriftDoesNotAccumulate(t *testing.T) {
	for _, signal := range []struct {
		name string
		f    func(int64) int16
	}{{"speech", talking}, {"no pauses", wave}} {
		for _, ppm := range []float64{-300, 300} {
			l := newLink(t, signal.f)
			l.ppm = ppm
			d := uniform(11, 4*ms)
			l.delay = func(int64, time.Duration) time.Duration { return d() }
			l.run(20 * time.Minute)
			concealed := l.concealedSince(250)
			t.Logf("%s %+v ppm: concealed %d ticks, latency p50 %v p99 %v max %v, %+v", signal.name, ppm, concealed,
				l.quantile(250, 0.5), l.quantile(250, 0.99), l.quantile(250, 1), l.playout.Stats())
			if p99 := l.quantile(250, 0.99); p99 > 75*ms {
				t.Errorf("%s %+v ppm: p99 of latency %v", signal.name, ppm, p99)
			}
			// 360 ms of drift are 18 ticks; without pauses each costs one
			// concealment, with pauses none.
			if want := map[string]int{"speech": 0, "no pauses": 40}[signal.name]; concealed > want {
				t.Errorf("%s %+v ppm: %d ticks concealed, want at most %d", signal.name, ppm, concealed, want)
			}
		}
	}
}

// After a second without packets and the burst of all of them the delay comes
// down again.
func TestStallRecovers(t *testing.T) {
	for _, signal := range []struct {
		name string
		f    func(int64) int16
	}{{"speech", talking}, {"no pauses", wave}} {
		l := newLink(t, signal.f)
		l.delay = func(_ int64, at time.Duration) time.Duration {
			if at > 10*time.Second && at < 11*time.Second {
				return 11*time.Second - at
			}
			return 0
		}
		l.run(11 * time.Second)
		from := l.tick
		l.run(7 * time.Second)
		for i := from; i < l.tick; i += 25 {
			t.Logf("%s %v: latency %v", signal.name, time.Duration(i-from)*codec.FrameDuration, l.latency[i])
		}
		for i := from + 150; i < l.tick; i++ {
			if l.latency[i] > 80*ms {
				t.Errorf("%s: latency %v %v after the stall", signal.name, l.latency[i], time.Duration(i-from)*codec.FrameDuration)
				break
			}
		}
		if got := slices.Max(l.latency[from:]); got > targetMax+codec.FrameDuration {
			t.Errorf("%s: latency reached %v", signal.name, got)
		}
		t.Logf("%+v", l.playout.Stats())
	}
}

// A path whose jitter comes and goes: delay follows up and, soon after, down.
func TestTargetFollowsJitter(t *testing.T) {
	l := newLink(t, talking)
	d := uniform(5, 80*ms)
	l.delay = func(_ int64, at time.Duration) time.Duration {
		if at > 20*time.Second && at < 40*time.Second {
			return d()
		}
		return 0
	}
	l.run(20 * time.Second)
	calm := l.quantile(500, 0.5)
	l.run(20 * time.Second)
	rough := l.quantile(1500, 0.5)
	l.run(20 * time.Second)
	after := l.quantile(2750, 0.5)
	t.Logf("calm %v, rough %v, after %v", calm, rough, after)
	if calm > 30*ms || rough < 70*ms || rough > 125*ms || after > 30*ms {
		t.Errorf("median latency: calm %v, rough %v, after 15 s of calm %v", calm, rough, after)
	}
}
