package transporttest

import (
	"math"
	"slices"
	"testing"
	"time"
)

type arrival struct {
	n  int
	at time.Duration
}

// run pushes count packets of 1000 bytes, one each interval, and pops each
// when it is due.
func run(t *testing.T, spec Spec, seed uint64, count int, interval time.Duration) (out []arrival, stats Stats) {
	t.Helper()
	if err := spec.Validate(); err != nil {
		t.Fatal(err)
	}
	link := NewLink[int](spec, seed)
	drain := func(until time.Duration) {
		for {
			at, ok := link.Next()
			if !ok || at > until {
				return
			}
			n, ok := link.Pop(at)
			if !ok {
				t.Fatalf("Next says %v, Pop has nothing then", at)
			}
			out = append(out, arrival{n, at})
		}
	}
	for i := range count {
		now := time.Duration(i) * interval
		drain(now)
		link.Push(i, 1000, now)
	}
	drain(math.MaxInt64)
	return out, link.Stats()
}

func TestZeroSpecDoesNothing(t *testing.T) {
	out, stats := run(t, Spec{}, 1, 1000, time.Millisecond)
	for i, a := range out {
		if a != (arrival{i, time.Duration(i) * time.Millisecond}) {
			t.Fatalf("packet %d came as %+v", i, a)
		}
	}
	if want := (Stats{In: 1000, Out: 1000}); stats != want {
		t.Errorf("stats %+v, want %+v", stats, want)
	}
}

func TestSameSeedSameResult(t *testing.T) {
	spec := Spec{Loss: 0.1, Burst: 2, Jitter: 20 * time.Millisecond, Free: true, Reorder: 0.1, Duplicate: 0.1}
	a, _ := run(t, spec, 7, 2000, time.Millisecond)
	b, _ := run(t, spec, 7, 2000, time.Millisecond)
	c, _ := run(t, spec, 8, 2000, time.Millisecond)
	if !slices.Equal(a, b) {
		t.Error("the same seed gave different results")
	}
	if slices.Equal(a, c) {
		t.Error("different seeds gave the same result")
	}
}

// TestLoss measures share and runs of losses over 200,000 packets. The share
// of a process with mean run b has a standard deviation of about
// sqrt(p(1-p)(2b-1)/n); five of them are allowed.
func TestLoss(t *testing.T) {
	const count = 200_000
	for _, tc := range []struct{ loss, burst, wantBurst float64 }{
		{0.01, 0, 1 / 0.99}, {0.05, 0, 1 / 0.95}, {0.05, 3, 3}, {0.2, 8, 8}, {0.5, 0, 2},
	} {
		out, stats := run(t, Spec{Loss: tc.loss, Burst: tc.burst}, 3, count, time.Millisecond)
		lost := count - len(out)
		if uint64(lost) != stats.Lost {
			t.Errorf("loss %v: %d lost, stats say %d", tc.loss, lost, stats.Lost)
		}
		sd := math.Sqrt(tc.loss * (1 - tc.loss) * (2*tc.wantBurst - 1) / count)
		if share := float64(lost) / count; math.Abs(share-tc.loss) > 5*sd {
			t.Errorf("loss %v burst %v: %v lost, want within %v", tc.loss, tc.burst, share, 5*sd)
		}
		runs, before := 0, -1
		for _, a := range append(out, arrival{n: count}) {
			if a.n != before+1 {
				runs++
			}
			before = a.n
		}
		// Runs are geometric: mean b, deviation sqrt(b(b-1)).
		mean := float64(lost) / float64(runs)
		if bound := 5*math.Sqrt(tc.wantBurst*(tc.wantBurst-1)/float64(runs)) + 1e-9; math.Abs(mean-tc.wantBurst) > bound {
			t.Errorf("loss %v: mean run %v, want %v +- %v", tc.loss, mean, tc.wantBurst, bound)
		}
	}
	if out, _ := run(t, Spec{Loss: 1}, 1, 100, 0); len(out) != 0 {
		t.Errorf("%d packets survived a loss of 100%%", len(out))
	}
}

func TestDelayIsExact(t *testing.T) {
	out, _ := run(t, Spec{Delay: 30 * time.Millisecond}, 1, 100, time.Millisecond)
	for i, a := range out {
		if want := time.Duration(i)*time.Millisecond + 30*time.Millisecond; a.at != want || a.n != i {
			t.Fatalf("packet %d came as %+v, want at %v", i, a, want)
		}
	}
}

func TestJitterIsUniform(t *testing.T) {
	const count, interval, jitter = 50_000, 20 * time.Millisecond, 30 * time.Millisecond
	spec := Spec{Delay: 10 * time.Millisecond, Jitter: jitter, Free: true}
	out, _ := run(t, spec, 5, count, interval)
	var buckets [10]int
	overtaken, highest := 0, -1
	for _, a := range out {
		extra := a.at - time.Duration(a.n)*interval - spec.Delay
		if extra < 0 || extra >= jitter {
			t.Fatalf("packet %d has a jitter of %v, want [0, %v)", a.n, extra, jitter)
		}
		buckets[extra*10/jitter]++
		if a.n < highest {
			overtaken++
		}
		highest = max(highest, a.n)
	}
	for i, n := range buckets {
		if math.Abs(float64(n)-count/10) > 5*math.Sqrt(count*0.1*0.9) {
			t.Errorf("bucket %d of the jitter holds %d of %d", i, n, count)
		}
	}
	// P(x > y + 2/3) of two uniform numbers is 1/18.
	if share := float64(overtaken) / count; math.Abs(share-1.0/18) > 0.005 {
		t.Errorf("%v of the packets were overtaken, want %v", share, 1.0/18)
	}
}

func TestJitterKeepsOrder(t *testing.T) {
	out, _ := run(t, Spec{Jitter: 50 * time.Millisecond}, 5, 10_000, time.Millisecond)
	for i, a := range out {
		if a.n != i {
			t.Fatalf("packet %d came in place %d", a.n, i)
		}
		if late := a.at - time.Duration(i)*time.Millisecond; late < 0 || late >= 50*time.Millisecond {
			t.Fatalf("packet %d took %v", i, late)
		}
	}
}

func TestReorder(t *testing.T) {
	const count = 100_000
	out, stats := run(t, Spec{Reorder: 0.02, Jitter: 0}, 9, count, 2*time.Millisecond)
	overtaken, highest := 0, -1
	for _, a := range out {
		if a.n < highest {
			overtaken++
			if late := a.at - time.Duration(a.n)*2*time.Millisecond; late != minHold {
				t.Fatalf("packet %d was held back for %v", a.n, late)
			}
		}
		highest = max(highest, a.n)
	}
	sd := math.Sqrt(0.02 * 0.98 / count)
	if share := float64(overtaken) / count; math.Abs(share-0.02) > 5*sd+1.0/count {
		t.Errorf("%v were overtaken, want 0.02", share)
	}
	if uint64(overtaken) > stats.HeldBack {
		t.Errorf("%d overtaken, but only %d held back", overtaken, stats.HeldBack)
	}
}

func TestDuplicate(t *testing.T) {
	const count = 100_000
	out, stats := run(t, Spec{Duplicate: 0.1}, 2, count, time.Millisecond)
	twice := len(out) - count
	if sd := math.Sqrt(0.1 * 0.9 / count); math.Abs(float64(twice)/count-0.1) > 5*sd {
		t.Errorf("%d of %d came twice, want a tenth", twice, count)
	}
	if uint64(twice) != stats.Duplicated {
		t.Errorf("%d came twice, stats say %d", twice, stats.Duplicated)
	}
}

// TestRate offers 800 kb/s to 400 kb/s: what comes out is the rate, what
// waits is the queue, and the rest is lost.
func TestRate(t *testing.T) {
	spec := Spec{RateBps: 400_000, Queue: 200 * time.Millisecond}
	out, stats := run(t, spec, 1, 1000, 10*time.Millisecond)
	span := out[len(out)-1].at - out[0].at
	rate := float64(len(out)-1) * 8000 / span.Seconds()
	if math.Abs(rate-400_000) > 1 {
		t.Errorf("%.0f b/s came out", rate)
	}
	var longest time.Duration
	for _, a := range out {
		longest = max(longest, a.at-time.Duration(a.n)*10*time.Millisecond)
	}
	// The wait, and the packet's own 20 ms.
	if want := 220 * time.Millisecond; longest > want || longest < want-20*time.Millisecond {
		t.Errorf("the longest way took %v, want about %v", longest, want)
	}
	if stats.Overflowed != uint64(1000-len(out)) || stats.Overflowed < 480 || stats.Overflowed > 500 {
		t.Errorf("%d overflowed of 1000, %d came out", stats.Overflowed, len(out))
	}
	// Below its rate a link adds only the packet's own time.
	out, stats = run(t, spec, 1, 100, 25*time.Millisecond)
	if stats.Overflowed != 0 || out[99].at != 99*25*time.Millisecond+20*time.Millisecond {
		t.Errorf("not overloaded: %+v, last at %v", stats, out[99].at)
	}
}

func TestLinkIsBounded(t *testing.T) {
	link := NewLink[int](Spec{Delay: time.Second}, 1)
	for i := range maxInFlight + 10 {
		link.Push(i, 100, 0)
	}
	if link.Len() != maxInFlight || link.Stats().Overflowed != 10 {
		t.Errorf("%d in flight, %+v", link.Len(), link.Stats())
	}
}
