package transport

import (
	"math/rand/v2"
	"testing"
	"time"

	"mixdown/codec"
)

func TestTicks(t *testing.T) {
	for _, tc := range []struct {
		d     time.Duration
		rate  int64
		ticks int64
	}{
		{0, 90000, 0}, {time.Second, 90000, 90000}, {20 * ms, 48000, 960}, {time.Second / 30, 90000, 3000},
		{-20 * ms, 48000, -960}, {-time.Nanosecond, 90000, 0}, {100 * 365 * 24 * time.Hour, 90000, 100 * 365 * 24 * 3600 * 90000},
	} {
		if got := ticksOf(tc.d, tc.rate); got != tc.ticks {
			t.Errorf("ticksOf(%v, %d) = %d, want %d", tc.d, tc.rate, got, tc.ticks)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		ticks := rng.Int64N(1<<49) - 1<<48
		for _, rate := range []int64{48000, 90000} {
			if got := ticksOf(durationOf(ticks, rate), rate); got != ticks {
				t.Fatalf("%d ticks of %d Hz came back as %d", ticks, rate, got)
			}
		}
	}
}

func TestTimeUnwrapper(t *testing.T) {
	var u timeUnwrapper
	want := int64(1<<32 - 50)
	if got := u.unwrap(1<<32 - 50); got != want {
		t.Fatalf("first is %d", got)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		want += rng.Int64N(1<<31) - 1<<29
		if got := u.unwrap(uint32(want)); got != want {
			t.Fatalf("%d came out as %d", want, got)
		}
	}
}

func TestSeqTracker(t *testing.T) {
	var s seqTracker
	first, v := s.unwrap(65000)
	if v != seqOK {
		t.Fatal(v)
	}
	step := func(seq uint16, want int64, verdict seqVerdict) {
		t.Helper()
		got, v := s.unwrap(seq)
		if v != verdict || v == seqOK && got != want {
			t.Fatalf("unwrap(%d) = %d, %v; want %d, %v", seq, got, v, want, verdict)
		}
	}
	step(65001, first+1, seqOK)
	step(64999, first-1, seqOK) // late
	step(100, first+636, seqOK) // wrapped
	step(65001, first+1, seqOK) // late, from before the wrap
	step(30000, 0, seqStray)
	step(101, first+637, seqOK)
	step(30001, 0, seqStray)   // not its successor any more
	step(30000, 0, seqStray)   // going down
	step(30001, 0, seqRestart) // now it is
	high, _ := s.unwrap(30002)
	if high <= first+637 || uint16(high) != 30002 {
		t.Errorf("after the restart numbers go on at %d, before it was %d", high, first+637)
	}
	if n, ok := s.near(29990); !ok || n != high-12 {
		t.Errorf("near = %d, %v", n, ok)
	}
	if _, ok := s.near(30003); ok {
		t.Error("a repair of what was never sent")
	}
	if _, ok := s.near(20000); ok {
		t.Error("a repair of the distant past")
	}
	if _, ok := new(seqTracker).near(1); ok {
		t.Error("a repair before anything")
	}
}

func TestSenderClock(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, rate := range []int64{48000, 90000} {
		c := senderClock{rate: rate}
		if c.capture(5) != 0 {
			t.Error("an instant before any report")
		}
		c.report(codec.NTPTimeOf(at), 1000)
		for _, d := range []time.Duration{0, time.Second, -time.Second, 20 * ms, -20 * ms, time.Minute, -time.Minute} {
			got := c.capture(1000 + uint32(ticksOf(d, rate))).Time().Sub(at)
			if diff := got - d; diff < -time.Microsecond || diff > time.Microsecond {
				t.Errorf("%d Hz, %v after the report: %v", rate, d, got)
			}
		}
		for _, d := range []time.Duration{61 * time.Second, -61 * time.Second, 5 * time.Hour} {
			if got := c.capture(1000 + uint32(ticksOf(d, rate))); got != 0 {
				t.Errorf("%d Hz, %v after the report: %v, want nothing", rate, d, got.Time())
			}
		}
		// Around the wrap.
		c.report(codec.NTPTimeOf(at), 1<<32-1000)
		if got := c.capture(uint32(ticksOf(20*ms, rate)) - 1000).Time().Sub(at); (got - 20*ms).Abs() > time.Microsecond {
			t.Errorf("%d Hz, 20ms later across the wrap: %v", rate, got)
		}
		c.report(0, 2000)
		if c.capture(5) != 0 {
			t.Error("an instant of a sender without a clock")
		}
	}
}
