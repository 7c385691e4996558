package audio

import (
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/mixer/audio/audiotest"
)

const ms = time.Millisecond

// simulated is how much time a simulation covers: what is usual, with -short less,
// and with MIXDOWN_LONG=1 in the environment all that is worth a wait.
func simulated(short, usual, long time.Duration) time.Duration {
	switch {
	case os.Getenv("MIXDOWN_LONG") != "":
		return long
	case testing.Short():
		return short
	}
	return usual
}

// A clean link: nothing is ever concealed, and the wait is little more than
// what the phase between the two clocks costs (10 ms on average). Twenty
// senders at random phases, whose clocks are up to 300 ppm off; packets and
// ticks are up to 3 ms late.
func TestCleanLinkLatency(t *testing.T) {
	speech := coded(t, audiotest.Speech(41, 60*second))
	for _, test := range []struct {
		name string
		link func(i int) *link
		long time.Duration
	}{
		{"arithmetic", func(int) *link { return newLink(t, talking) }, simulated(time.Minute, 10*time.Minute, 10*time.Minute)},
		{"Opus", func(i int) *link {
			l := newRealLink(t)
			l.replay(speech[i*100:])
			return l
		}, simulated(10*time.Second, 30*time.Second, 10*time.Minute)},
	} {
		r := rand.New(rand.NewPCG(8, 9))
		var all []time.Duration
		for i := range 20 {
			l := test.link(i)
			l.phase = time.Duration(r.Int64N(int64(codec.FrameDuration)))
			l.ppm = 600*r.Float64() - 300
			late, transit := uniform(uint64(i), 3*ms), uniform(uint64(i)+99, 3*ms)
			l.late = func(int) time.Duration { return late() }
			l.delay = func(int64, time.Duration) time.Duration { return transit() }
			l.run(test.long)
			const settled = 250
			if n := l.concealedSince(settled); n > 0 {
				t.Errorf("%s, phase %v, %.0f ppm: %d of %d ticks concealed", test.name, l.phase, l.ppm, n, l.tick)
			}
			if p99 := l.quantile(settled, 0.99); p99 > 45*ms {
				t.Errorf("%s, phase %v, %.0f ppm: p99 of latency %v", test.name, l.phase, l.ppm, p99)
			}
			all = append(all, l.latency[settled:]...)
		}
		slices.Sort(all)
		p50, p99 := all[len(all)/2], all[len(all)*99/100]
		t.Logf("%s: 20 senders for %v: from packet sent to tick p50 %v, p99 %v", test.name, test.long, p50, p99)
		if p50 > 25*ms || p99 > 45*ms {
			t.Errorf("%s: p50 %v, p99 %v, want at most 25 and 45 ms", test.name, p50, p99)
		}
	}
}

// inOrder makes a delay one in which no packet overtakes another.
func inOrder(delay func() time.Duration) func(int64, time.Duration) time.Duration {
	var last time.Duration
	return func(_ int64, at time.Duration) time.Duration {
		last = max(last, at+delay())
		return last - at
	}
}

// Uniform jitter: packets overtaking each other, and in order.
func TestJitterLoss(t *testing.T) {
	any := func(d func() time.Duration) func(int64, time.Duration) time.Duration {
		return func(int64, time.Duration) time.Duration { return d() }
	}
	for _, test := range []struct {
		span  time.Duration
		delay func(func() time.Duration) func(int64, time.Duration) time.Duration
		p95   time.Duration
	}{{30 * ms, any, 75 * ms}, {60 * ms, any, 105 * ms}, {60 * ms, inOrder, 110 * ms}} {
		span := test.span
		l := newLink(t, talking)
		l.delay = test.delay(uniform(7, span))
		l.run(10 * time.Second)
		before, from := l.playout.Stats(), l.tick
		l.run(120 * time.Second)
		s := l.playout.Stats()
		late := float64(s.Late-before.Late) / float64(s.Packets-before.Packets)
		concealed := float64(l.concealedSince(from)) / float64(l.tick-from)
		t.Logf("%v: late %.2f%%, concealed %.2f%%, latency p50 %v p95 %v, %+v", span, 100*late, 100*concealed,
			l.quantile(from, 0.5), l.quantile(from, 0.95), s)
		if late > 0.005 || concealed > 0.005 {
			t.Errorf("%v jitter: %.2f%% late, %.2f%% of ticks concealed, want under 0.5%%", span, 100*late, 100*concealed)
		}
		if p95 := l.quantile(from, 0.95); p95 > test.p95 {
			t.Errorf("%v jitter: p95 of latency %v, want at most %v", span, p95, test.p95)
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
			l.run(simulated(10*time.Minute, time.Hour, time.Hour))
			concealed := l.concealedSince(250)
			t.Logf("%s %+v ppm: concealed %d ticks, latency p50 %v p99 %v max %v, %+v", signal.name, ppm, concealed,
				l.quantile(250, 0.5), l.quantile(250, 0.99), l.quantile(250, 1), l.playout.Stats())
			if p99, most := l.quantile(250, 0.99), l.quantile(250, 1); p99 > 40*ms || most > 50*ms {
				t.Errorf("%s %+v ppm: latency p99 %v, at most %v", signal.name, ppm, p99, most)
			}
			// An hour is 1.08 s of drift, 54 ticks.
			if s := l.playout.Stats(); concealed > 0 || s.Underruns > 3 {
				t.Errorf("%s %+v ppm: %d ticks concealed, %d underruns", signal.name, ppm, concealed, s.Underruns)
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
		for i := from; i < from+175; i += 25 {
			t.Logf("%s %v: latency %v", signal.name, time.Duration(i-from)*codec.FrameDuration, l.latency[i])
		}
		if i := from + 150; slices.Max(l.latency[i:]) > 60*ms {
			t.Errorf("%s: latency %v more than 3 s after the stall", signal.name, slices.Max(l.latency[i:]))
		}
		if got := slices.Max(l.latency[from:]); got > targetMax+codec.FrameDuration {
			t.Errorf("%s: latency reached %v", signal.name, got)
		}
		if s := l.playout.Stats(); s.Splices != 1 {
			t.Errorf("%s: %d splices, want 1", signal.name, s.Splices)
		}
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

// The same with real speech, over and over, whether senders tell their levels
// or not: silence goes first, at most one splice a stall, and no clicks.
func TestStallsInSpeech(t *testing.T) {
	const every = 8 * time.Second
	for seed := range uint64(simulated(1, 3, 3)) {
		x := audiotest.Speech(50+seed, 60*second)
		if real, ok := clip(t, "speech-02.ogg"); ok && seed == 0 {
			x = slices.Concat(real, real)
		}
		for _, telling := range []bool{false, true} {
			l := newRealLink(t)
			l.phase = time.Duration(3+5*seed) * ms
			l.delay = func(_ int64, at time.Duration) time.Duration {
				if in := at % every; in >= every-time.Second {
					return every - in
				}
				return 0
			}
			l.replay(coded(t, x))
			if telling {
				l.edit = said(levelsOf(x), l.edit)
			}
			l.run(every)
			for k := 1; k <= 6; k++ {
				before := l.playout.Stats().Splices
				l.run(every)
				end := k * int(every/codec.FrameDuration) // of the stall
				t.Logf("voice %d, stall %d: latency at once %v, after 1 s %v, 2 s %v, 3 s %v", seed, k,
					l.latency[end], l.latency[end+50], l.latency[end+100], l.latency[end+150])
				if worst := slices.Max(l.latency[end+150 : end+350]); worst > 60*ms {
					t.Errorf("voice %d, stall %d: latency %v more than 3 s after it", seed, k, worst)
				}
				if n := l.playout.Stats().Splices - before; n > 1 {
					t.Errorf("voice %d, stall %d: %d splices", seed, k, n)
				}
			}
			s := l.playout.Stats()
			t.Logf("voice %d, telling %v: %+v", seed, telling, s)
			if clicks := audiotest.Clicks(l.pcm); len(clicks) > 0 {
				t.Errorf("voice %d: clicks at %v", seed, clicks)
			}
		}
	}
}
