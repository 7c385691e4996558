package mixer

import (
	"slices"
	"testing"
	"time"
)

// The tiers of a 720p room, the lowest first.
var testRungs = []int{150_000, 600_000, 1_500_000}

// steps looks at an adapter every 100 ms with the same path until now.
func steps(a *adapter, from, to time.Duration, p path, most int) (moves []int) {
	for now := from; now < to; now += 100 * time.Millisecond {
		if _, moved := a.step(now, p, most); moved {
			moves = append(moves, a.at)
		}
	}
	return moves
}

// fall lets the estimate stay low for long enough, until now.
func fall(a *adapter, now time.Duration, bps int) SwitchReason {
	a.step(now-adaptConfirm, path{estimateBps: bps}, len(a.rungs)-1)
	reason, _ := a.step(now, path{estimateBps: bps}, len(a.rungs)-1)
	return reason
}

func TestAdapterStart(t *testing.T) {
	for _, c := range []struct {
		rungs []int
		want  int
	}{
		{testRungs, 1},
		{testRungs[:2], 1}, // 600 kb/s are modest
		{testRungs[:1], 0},
		{[]int{150_000, 1_500_000}, 0},
		{[]int{150_000, 300_000, 600_000, 1_500_000}, 2},
		{[]int{300_000, 600_000, 1_500_000, 3_000_000}, 1},
		{[]int{1, 2, 3, 4, 5}, 2},
	} {
		if a := newAdapter(c.rungs, 0); a.at != c.want {
			t.Errorf("%v: begins on %d, want %d", c.rungs, a.at, c.want)
		}
	}
}

func TestAdapterDecisions(t *testing.T) {
	const most = 2
	for _, c := range []struct {
		name     string
		at       int
		estimate int
		want     int
		reason   SwitchReason
	}{
		{"content at the top", 2, 2_000_000, 2, 0},
		{"no room above the top", 2, 50_000_000, 2, 0},
		{"short, but above the floor", 2, 900_000, 2, 0},
		{"below the floor of the top", 2, 899_000, 1, SwitchEstimate},
		{"the middle would be below its floor too", 2, 350_000, 0, SwitchEstimate},
		{"the middle would be left again at once", 2, 370_000, 0, SwitchEstimate},
		{"the middle bears it", 2, 400_000, 1, SwitchEstimate},
		{"nothing is below the lowest", 0, 10_000, 0, 0},
		{"far below from the middle", 1, 100_000, 0, SwitchEstimate},
		{"between two", 1, 1_100_000, 1, 0},
		{"room, but not for repairs", 1, 1_181_000, 1, 0},
		{"room to begin with", 1, 1_182_000, 2, SwitchEstimate},
		{"room to begin with, not for the nominal", 0, 473_000, 1, SwitchEstimate},
		{"room for two at once", 0, 2_000_000, 2, SwitchEstimate},
		{"nothing is known", 1, 0, 1, 0},
	} {
		a := newAdapter(testRungs, 0)
		a.at, a.notBefore = c.at, 0
		var reason SwitchReason
		for now := time.Duration(0); now < 2*time.Second; now += 100 * time.Millisecond {
			if r, moved := a.step(now, path{estimateBps: c.estimate}, most); moved {
				reason = r
				break
			}
		}
		if a.at != c.want || reason != c.reason {
			t.Errorf("%s: from %d with %d bit/s to %d by %v, want %d by %v",
				c.name, c.at, c.estimate, a.at, reason, c.want, c.reason)
		}
	}
}

// TestAdapterTakesNothingAway: who goes up needs what those have who are there
// already.
func TestAdapterTakesNothingAway(t *testing.T) {
	a := newAdapter(testRungs, 0)
	a.paid[2] = 1_400_000
	if moves := steps(a, 2*time.Second, 10*time.Second, path{estimateBps: 1_469_000}, 2); moves != nil {
		t.Fatalf("moves %v while others are sent 1.4 Mb/s", moves)
	}
	if next := a.nextBps(10*time.Second, 2); next != 1_400_000 {
		t.Errorf("asks about %d bit/s", next)
	}
	a.paid[2] = 1_200_000
	if moves := steps(a, 10*time.Second, 11*time.Second, path{estimateBps: 1_469_000}, 2); !slices.Equal(moves, []int{2}) {
		t.Fatalf("moves %v while others are sent 1.2 Mb/s", moves)
	}
}

func TestAdapterFallsAtOnce(t *testing.T) {
	a := newAdapter(testRungs, 0)
	// What is over by the next feedback was late feedback.
	for now := time.Duration(0); now < time.Second; now += adaptConfirm {
		est := 100_000
		if now/adaptConfirm%2 == 1 {
			est = 650_000
		}
		if _, moved := a.step(now, path{estimateBps: est}, 2); moved {
			t.Fatalf("moved to %d", a.at)
		}
	}
	a.step(time.Second, path{estimateBps: 100_000}, 2)
	if due := a.due(time.Second); due != time.Second+adaptConfirm {
		t.Errorf("looked at again after %v", due-time.Second)
	}
	if _, moved := a.step(time.Second+adaptConfirm, path{estimateBps: 100_000}, 2); !moved || a.at != 0 {
		t.Fatalf("moved %v to %d", moved, a.at)
	}
}

func TestAdapterWaitsForRoomToLast(t *testing.T) {
	a := newAdapter(testRungs, 0)
	for now := time.Duration(0); now < 10*time.Second; now += 100 * time.Millisecond {
		est := 2_000_000
		if now/(300*time.Millisecond)%2 == 0 {
			est = 1_000_000
		}
		if _, moved := a.step(now, path{estimateBps: est}, 2); moved {
			t.Fatalf("went to %d at %v by an estimate that comes and goes", a.at, now)
		}
	}
	if moves := steps(a, 10*time.Second, 11*time.Second, path{estimateBps: 2_000_000, queue: time.Second}, 2); moves != nil {
		t.Fatalf("went to %v while pictures wait", moves)
	}
	if moves := steps(a, 11*time.Second, 12*time.Second, path{estimateBps: 2_000_000}, 2); !slices.Equal(moves, []int{2}) {
		t.Fatalf("moves %v", moves)
	}
}

func TestAdapterCap(t *testing.T) {
	a := newAdapter(testRungs, 0)
	rich := path{estimateBps: 5_000_000}
	if moves := steps(a, 0, 5*time.Second, rich, 2); !slices.Equal(moves, []int{2}) {
		t.Fatalf("moves %v", moves)
	}
	if reason, moved := a.step(5*time.Second, rich, 1); !moved || reason != SwitchCap || a.at != 1 {
		t.Fatalf("capped: %v %v on %d", moved, reason, a.at)
	}
	if next := a.nextBps(5*time.Second, 1); next != 0 {
		t.Errorf("probes for %d under a cap", next)
	}
	if moves := steps(a, 5*time.Second, 20*time.Second, rich, 1); moves != nil {
		t.Errorf("moves %v under the cap", moves)
	}
	if moves := steps(a, 20*time.Second, 22*time.Second, rich, 2); !slices.Equal(moves, []int{2}) {
		t.Errorf("moves %v without it", moves)
	}
	if a.wait != adaptWaitMin || len(a.fallen) > 0 {
		t.Error("a cap counts as a fall")
	}
}

// TestAdapterBacksOff: a step up that fails doubles the wait, up to a minute;
// the connection is not asked to probe for most of it.
func TestAdapterBacksOff(t *testing.T) {
	a := newAdapter(testRungs, 0)
	now := time.Duration(0)
	var waits []time.Duration
	for range 6 {
		from := now
		for a.at < 2 {
			now += 100 * time.Millisecond
			est := a.nextBps(now, 2) * 11 / 10 // an estimate that probing believes
			if est == 0 {
				est = 600_000
			}
			a.step(now, path{estimateBps: est}, 2)
			if now-from > 3*time.Minute {
				t.Fatal("never goes up")
			}
		}
		waits = append(waits, (now - from).Round(time.Second))
		now += time.Second
		fall(a, now, 700_000)
		if a.at != 1 {
			t.Fatalf("on %d", a.at)
		}
		a.fallen = nil // else a chronic loser
	}
	want := []time.Duration{time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute}
	if !slices.Equal(waits, want) {
		t.Errorf("waits %v, want %v", waits, want)
	}
	// One that lasts is forgiven.
	steps(a, now, now+2*time.Minute, path{estimateBps: 3_000_000}, 2)
	if a.at != 2 || a.wait != adaptWaitMin {
		t.Errorf("on %d, waits %v", a.at, a.wait)
	}
}

func TestAdapterChronicLoser(t *testing.T) {
	a := newAdapter(testRungs, 0)
	now := time.Duration(0)
	falls := 0
	var reason SwitchReason
	for !a.isLosing(now) {
		for now += 100 * time.Millisecond; a.at < 2; now += 100 * time.Millisecond {
			a.step(now, path{estimateBps: 3_000_000}, 2)
		}
		now += 10 * time.Second // each stands longer than its probation
		reason = fall(a, now, 700_000)
		if falls++; falls > adaptFalls {
			t.Fatal("falls for ever")
		}
	}
	if falls != adaptFalls || reason != SwitchLoser || a.at != 0 {
		t.Fatalf("%d falls, %v, on %d", falls, reason, a.at)
	}
	if moves := steps(a, now, now+adaptPenalty-time.Second, path{estimateBps: 3_000_000}, 2); moves != nil {
		t.Errorf("moves %v", moves)
	}
	if next := a.nextBps(now+adaptPenalty/2, 2); next != 0 {
		t.Errorf("probes for %d", next)
	}
	if moves := steps(a, now+adaptPenalty, now+adaptPenalty+2*time.Second, path{estimateBps: 3_000_000}, 2); !slices.Equal(moves, []int{2}) {
		t.Errorf("comes back by %v", moves)
	}
}

// TestAdapterOneFallInSteps: an estimate that drops in steps makes one fall.
func TestAdapterOneFallInSteps(t *testing.T) {
	rungs := []int{100_000, 200_000, 400_000, 800_000, 1_600_000, 3_200_000}
	a := newAdapter(rungs, 0)
	a.at = 5
	now := time.Minute
	for est := 1_900_000; a.at > 0; est /= 2 {
		now += 200 * time.Millisecond
		fall(a, now, est)
	}
	if len(a.fallen) != 1 || a.isLosing(now) {
		t.Errorf("%d falls, losing %v", len(a.fallen), a.isLosing(now))
	}
}

// reports steps an adapter once a second with a new report each.
func reports(a *adapter, p *path, from time.Duration, n int, loss float64, rtt time.Duration) (moves []SwitchReason, now time.Duration) {
	now = from
	for range n {
		now += time.Second
		p.reports++
		p.loss, p.rtt = loss, rtt
		if reason, moved := a.step(now, *p, len(a.rungs)-1); moved {
			moves = append(moves, reason)
		}
	}
	return moves, now
}

// TestAdapterWithoutEstimate: who gives none is tried, and judged by reports.
func TestAdapterWithoutEstimate(t *testing.T) {
	for _, c := range []struct {
		name     string
		estimate int // unprobed
		loss     float64
		rtt      time.Duration
		stays    bool
	}{
		{"clean", 0, 0, 40 * time.Millisecond, true},
		{"as lossy as before", 0, 0.02, 40 * time.Millisecond, true},
		{"lossy", 0, 0.08, 40 * time.Millisecond, false},
		{"slow", 0, 0, 200 * time.Millisecond, false},
		{"clean, an estimate that cannot rise", 800_000, 0, 40 * time.Millisecond, true},
		{"lossy, an estimate that has not fallen yet", 950_000, 0.08, 40 * time.Millisecond, false},
	} {
		a, p := newAdapter(testRungs, 0), path{estimateBps: c.estimate, unprobed: c.estimate > 0}
		moves, now := reports(a, &p, 0, 5, 0.02, 40*time.Millisecond)
		if !slices.Equal(moves, []SwitchReason{SwitchTrial}) || a.at != 2 {
			t.Errorf("%s: moves %v, on %d", c.name, moves, a.at)
			continue
		}
		if c.estimate > 0 {
			p.estimateBps = 950_000
		}
		moves, now = reports(a, &p, now, 3, c.loss, c.rtt)
		if stays := a.at == 2; stays != c.stays {
			t.Errorf("%s: moves %v", c.name, moves)
			continue
		}
		if !c.stays { // he tries again, later
			wait := time.Duration(0)
			for from := now; a.at < 2 && wait < time.Minute; wait = now - from {
				_, now = reports(a, &p, now, 1, 0.02, 40*time.Millisecond)
			}
			if wait < 6*time.Second || wait > 15*time.Second {
				t.Errorf("%s: tries again after %v", c.name, wait)
			}
		}
	}
}

func TestAdapterFallsByReports(t *testing.T) {
	for _, c := range []struct {
		name   string
		p      path
		loss   float64
		rtt    time.Duration
		falls  int
		reason SwitchReason
	}{
		{"half is lost", path{}, 0.5, 40 * time.Millisecond, 1, SwitchReports},
		{"a long queue", path{}, 0, 400 * time.Millisecond, 1, SwitchReports},
		{"a little is lost", path{}, 0.05, 60 * time.Millisecond, 0, 0},
		{"the estimate knows better", path{estimateBps: 1_600_000}, 0.5, 400 * time.Millisecond, 0, 0},
	} {
		a := newAdapter(testRungs, 0)
		a.at = 2
		reports(a, &c.p, 0, 3, 0, 40*time.Millisecond)
		moves, _ := reports(a, &c.p, 3*time.Second, 1, c.loss, c.rtt)
		if len(moves) > 0 {
			t.Errorf("%s: one bad report is enough", c.name)
		}
		moves, _ = reports(a, &c.p, 4*time.Second, 2, c.loss, c.rtt)
		if len(moves) != c.falls || c.falls > 0 && (moves[0] != c.reason || a.at != 1) {
			t.Errorf("%s: moves %v, on %d", c.name, moves, a.at)
		}
	}
	// Who never reports stays where he is.
	a := newAdapter(testRungs, 0)
	if moves := steps(a, 0, time.Minute, path{}, 2); moves != nil {
		t.Errorf("without any report: moves %v", moves)
	}
}

func TestAdapterOtherLadder(t *testing.T) {
	a := newAdapter(testRungs, 0)
	a.at = 2
	a.setRungs([]int{300_000, 675_000, 1_400_000, 3_000_000}, time.Second)
	if a.at != 2 {
		t.Errorf("on %d", a.at)
	}
	a.setRungs([]int{2_000_000}, time.Second)
	if a.at != 0 {
		t.Errorf("on %d", a.at)
	}
}

func TestTierRate(t *testing.T) {
	const nominal = 1_000_000
	r := newTierRate(nominal)
	at := func(now time.Duration, lowest int, shared bool, want int) {
		t.Helper()
		if got, _ := r.follow(now, lowest, shared); abs(got-want) > int(rateStep*nominal) {
			t.Errorf("at %v: %d bit/s, want %d", now, got, want)
		}
	}
	s := time.Second
	at(0, 0, true, nominal)
	at(s, 5_000_000, true, nominal)
	// What nobody watched before begins with what its first watcher can take.
	if bps, changed := newTierRate(nominal).follow(0, 800_000, false); bps != 760_000 || !changed {
		t.Errorf("begins with %d bit/s, told: %v", bps, changed)
	}
	// Others are watching: it takes half a second.
	at(2*s, 900_000, true, nominal)
	at(2*s+400*time.Millisecond, 800_000, true, nominal)
	at(2*s+500*time.Millisecond, 800_000, true, 760_000)
	at(3*s, 100_000, true, 600_000) // never below
	// Slowly up again, also when he has gone.
	at(4*s, 0, true, 680_000)
	at(5*s, 730_000, true, 693_500)
	at(20*s, 0, true, nominal)
	if !r.settled() {
		t.Error("not settled")
	}
	// Who collapses on his way to a lower tier costs nobody anything.
	at(21*s, 700_000, true, nominal)
	at(21*s+300*time.Millisecond, 0, true, nominal)
	at(22*s, 700_000, true, nominal)
	at(22*s+100*time.Millisecond, 0, true, nominal)
	// Alone: sooner.
	at(23*s, 700_000, false, nominal)
	at(23*s+adaptConfirm, 700_000, false, 665_000)
}

func TestTierRateTellsSeldom(t *testing.T) {
	r, told := newTierRate(1_000_000), 0
	r.follow(0, 600_000, false)
	r.follow(adaptConfirm, 600_000, false)
	for now := time.Second; now < 61*time.Second; now += 50 * time.Millisecond {
		if _, changed := r.follow(now, 0, false); changed {
			told++
		}
	}
	if told < 8 || told > 16 || r.told != 1_000_000 {
		t.Errorf("told %d times, the last %d", told, r.told)
	}
}

func TestKeyBudget(t *testing.T) {
	var b keyBudget
	count := func(from, to time.Duration) (n int) {
		for now := from; now < to; now += 50 * time.Millisecond {
			if b.allow(now) {
				n++
			}
		}
		return n
	}
	if n := count(0, time.Second); n != 20 {
		t.Errorf("alone: %d of 20", n)
	}
	b.limit(keysShared)
	if n := count(time.Second, 61*time.Second); n < 60 || n > 66 {
		t.Errorf("one of several: %d in a minute", n)
	}
	b.limit(keysLosing)
	if n := count(70*time.Second, 130*time.Second); n < 11 || n > 13 {
		t.Errorf("a chronic loser: %d in a minute", n)
	}
	if b.kept.Load() == 0 {
		t.Error("what is refused is not counted")
	}
}
