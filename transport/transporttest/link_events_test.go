package transporttest

import (
	"math"
	"testing"
	"time"
)

// TestOutages: exactly what is sent into the window is lost, and what is on
// its way when it begins arrives.
func TestOutages(t *testing.T) {
	const interval = 10 * time.Millisecond
	for _, tc := range []struct {
		name   string
		outage Outage
		down   func(at time.Duration) bool
	}{
		{"once", Outage{At: 10 * time.Second, For: 2 * time.Second}, func(at time.Duration) bool {
			return at >= 10*time.Second && at < 12*time.Second
		}},
		{"again and again", Outage{At: 5 * time.Second, For: time.Second, Every: 20 * time.Second}, func(at time.Duration) bool {
			s := at / time.Second
			return s == 5 || s == 25 || s == 45
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const count = 6000
			out, stats := run(t, Spec{Delay: 50 * time.Millisecond, Outages: []Outage{tc.outage}}, 1, count, interval)
			came := make([]bool, count)
			for _, a := range out {
				came[a.n] = true
				if took := a.at - time.Duration(a.n)*interval; took != 50*time.Millisecond {
					t.Fatalf("packet %d took %v", a.n, took)
				}
			}
			lost := uint64(0)
			for i, c := range came {
				at := time.Duration(i) * interval
				if c == tc.down(at) {
					t.Fatalf("the packet sent at %v: arrived is %v", at, c)
				}
				if !c {
					lost++
				}
			}
			if stats.Dropped != lost || stats.Lost != 0 {
				t.Errorf("%d lost, stats say %+v", lost, stats)
			}
		})
	}
}

// TestOutageLeavesTheRestAlone: the seed gives the same losses outside of the
// window, so that runs with and without it can be compared.
func TestOutageLeavesTheRestAlone(t *testing.T) {
	spec := Spec{Loss: 0.2}
	without, _ := run(t, spec, 3, 2000, time.Millisecond)
	spec.Outages = []Outage{{At: 500 * time.Millisecond, For: 100 * time.Millisecond}}
	with, _ := run(t, spec, 3, 2000, time.Millisecond)
	i := 0
	for _, a := range without {
		if a.n >= 500 && a.n < 600 {
			continue
		}
		if i >= len(with) || with[i] != a {
			t.Fatalf("packet %d, outside of the outage, is not as without it", a.n)
		}
		i++
	}
	if i != len(with) {
		t.Errorf("%d packets arrived, want %d", len(with), i)
	}
}

// TestRateChanges offers 4 Mb/s to a link that falls from 3 Mb/s to 300 kb/s
// and recovers: in each span what comes out is that span's rate.
func TestRateChanges(t *testing.T) {
	spec, err := ParseSpec("rate=3mbps,rate=300kbps@10s,rate=3mbps@25s,queue=300ms")
	if err != nil {
		t.Fatal(err)
	}
	out, stats := run(t, spec, 1, 20_000, 2*time.Millisecond) // 40 s of 4 Mb/s
	for _, span := range []struct {
		from, to time.Duration
		bps      float64
	}{{time.Second, 10 * time.Second, 3e6}, {10 * time.Second, 25 * time.Second, 300e3}, {25 * time.Second, 40 * time.Second, 3e6}} {
		bits := 0.0
		for _, a := range out {
			if a.at > span.from && a.at <= span.to {
				bits += 8000
			}
		}
		// One packet more or less at each end.
		if got := bits / (span.to - span.from).Seconds(); math.Abs(got-span.bps) > 2*8000/(span.to-span.from).Seconds() {
			t.Errorf("from %v to %v %.0f b/s came out, want %.0f", span.from, span.to, got, span.bps)
		}
	}
	longest := time.Duration(0)
	for _, a := range out {
		longest = max(longest, a.at-time.Duration(a.n)*2*time.Millisecond)
	}
	// The bound of the queue, and the packet's own 27 ms at 300 kb/s.
	if longest < 300*time.Millisecond || longest > 327*time.Millisecond {
		t.Errorf("the longest way took %v, want about 327 ms", longest)
	}
	if stats.Overflowed != uint64(20_000-len(out)) {
		t.Errorf("%d of 20000 came out, %d overflowed", len(out), stats.Overflowed)
	}
}

// TestRateWithoutLimit: what waits when the limit ends goes at once.
func TestRateWithoutLimit(t *testing.T) {
	spec := Spec{RateBps: 80_000, Rates: []RateStep{{At: time.Second}}, Queue: 10 * time.Second}
	out, _ := run(t, spec, 1, 100, 10*time.Millisecond) // ten times the rate
	for i, a := range out {
		want := min(time.Duration(i+1)*100*time.Millisecond, time.Second)
		if late := a.at - want; a.n != i || late < -time.Microsecond || late > time.Microsecond {
			t.Fatalf("packet %d came as %+v, want at %v", i, a, want)
		}
	}
	if len(out) != 100 {
		t.Errorf("%d of 100 came out", len(out))
	}
}
