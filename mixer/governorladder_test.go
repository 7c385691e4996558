package mixer

import (
	"testing"
	"time"

	"mixdown/codec/worker"
)

// Pressures of half a second on two cores.
var (
	calmly   = pressure{passed: 500 * time.Millisecond, used: 0.5, working: 0.4, waited: time.Millisecond}
	soSo     = pressure{passed: 500 * time.Millisecond, used: 1.7, working: 1.4, waited: 10 * time.Millisecond}
	queueing = pressure{passed: 500 * time.Millisecond, used: 1.6, working: 1.9, waited: 33 * time.Millisecond}
	missing  = pressure{passed: 500 * time.Millisecond, used: 1.6, working: 1.9, late: 50 * time.Millisecond}
	full     = pressure{passed: 500 * time.Millisecond, used: 1.98, working: 1.9}
	stuck    = pressure{passed: 500 * time.Millisecond, used: 0.2, working: 2, stuck: true}
	late     = pressure{passed: 500 * time.Millisecond, used: 1.6, working: 1.9, soundLate: 33 * time.Millisecond}
	jumping  = pressure{passed: 500 * time.Millisecond, used: 1.6, working: 1.9, soundSkipped: 0.2}
	idleLate = pressure{passed: 500 * time.Millisecond, used: 0.05, working: 0.01, soundLate: 50 * time.Millisecond}
)

func TestStrain(t *testing.T) {
	both := queueing
	both.soundLate = late.soundLate
	for _, c := range []struct {
		name string
		p    pressure
		want Strain
		calm bool
	}{
		{"calm", calmly, StrainNone, true},
		{"neither", soSo, StrainNone, false},
		{"tasks wait", queueing, StrainQueue, false},
		{"deadlines are missed", missing, StrainQueue, false},
		{"nothing runs", stuck, StrainQueue, false},
		{"all is used", full, StrainCPU, false},
		{"ticks late", late, StrainSound, false},
		{"ticks skipped", jumping, StrainSound, false},
		{"sound comes first", both, StrainSound, false},
		{"nothing happened", pressure{passed: time.Second}, StrainNone, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.p.strain(2); got != c.want {
				t.Errorf("strain %v, want %v", got, c.want)
			}
			if got := c.p.calm(2); got != c.calm {
				t.Errorf("calm %v, want %v", got, c.calm)
			}
		})
	}
}

// TestLadder tells, for each pressure that lasts for some seconds, the level that
// it leads to.
func TestLadder(t *testing.T) {
	type part struct {
		p       pressure
		seconds float64
		want    Level
	}
	for _, c := range []struct {
		name  string
		parts []part
	}{
		{"a moment is nothing", []part{{queueing, 1.5, 0}, {calmly, 1, 0}, {queueing, 1.5, 0}}},
		{"sound for a moment is nothing", []part{{late, 0.5, 0}, {soSo, 0.5, 0}, {late, 0.5, 0}}},
		{"two seconds a level", []part{{queueing, 2, 1}, {queueing, 2, 2}, {queueing, 1.5, 2}, {queueing, 0.5, 3}, {missing, 2, 4}, {full, 2, 5}}},
		{"sound a second", []part{{late, 1, 1}, {jumping, 1, 2}, {late, 3, 5}}},
		{"and no higher", []part{{late, 20, 5}}},
		{"in turns", []part{{late, 0.5, 0}, {queueing, 0.5, 0}, {late, 0.5, 0}, {queueing, 0.5, 1}}},
		{"back after ten seconds", []part{{queueing, 4, 2}, {calmly, 9.5, 2}, {calmly, 0.5, 1}, {calmly, 10, 0}, {calmly, 100, 0}}},
		{"neither holds", []part{{queueing, 4, 2}, {soSo, 100, 2}}},
		{"what is neither takes from the calm", []part{{queueing, 2, 1}, {calmly, 9, 1}, {soSo, 2, 1}, {calmly, 2.5, 1}, {calmly, 0.5, 0}}},
		{"strain begins the calm anew", []part{{queueing, 2, 1}, {calmly, 9.5, 1}, {queueing, 0.5, 1}, {calmly, 9.5, 1}, {calmly, 0.5, 0}}},
		{"a step too early doubles the wait", []part{
			{queueing, 2, 1}, {calmly, 10, 0}, // fell
			{queueing, 2, 1}, {calmly, 19.5, 1}, {calmly, 0.5, 0},
			{queueing, 4, 2}, {calmly, 39.5, 2}, {calmly, 0.5, 1},
		}},
		{"and is forgotten", []part{
			{queueing, 2, 1}, {calmly, 10, 0}, {queueing, 2, 1}, {calmly, 20, 0},
			{calmly, 30, 0}, {queueing, 2, 1}, {calmly, 10, 0},
		}},
		{"who does little has little to give", []part{{idleLate, 20, LevelFast}}},
		{"and gives back what helped nobody", []part{{late, 5, 5}, {idleLate, 40, LevelFast}, {idleLate, 60, LevelFast}, {calmly, 10, 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l ladder
			for i, part := range c.parts {
				for range int(part.seconds * 2) {
					was := l.level
					changed, why := l.step(&part.p, 2)
					if changed != (l.level != was) || changed && (why == StrainNone) != (l.level < was) {
						t.Fatalf("part %d: %v, %v from %v to %v", i, changed, why, was, l.level)
					}
				}
				if l.level != part.want {
					t.Fatalf("part %d: %v, want %v", i, l.level, part.want)
				}
			}
		})
	}
}

func TestLadderWaitIsBounded(t *testing.T) {
	var l ladder
	for range 20 {
		for range 4 {
			l.step(&queueing, 2)
		}
		for l.level > 0 {
			l.step(&calmly, 2)
		}
	}
	if l.wait != longestWait {
		t.Errorf("waits %v, want %v", l.wait, longestWait)
	}
}

// A process that was stopped was not strained all the time.
func TestLadderBelievesNoLookForLong(t *testing.T) {
	p := queueing
	p.passed = time.Hour
	var l ladder
	if l.step(&p, 2); l.level != LevelNormal {
		t.Errorf("%v after one look", l.level)
	}
}

func TestPressureIsWhatHappenedBetween(t *testing.T) {
	before := load{at: time.Hour, cpu: time.Minute, pool: worker.Stats{Executed: 100, Busy: time.Minute}}
	for range 100 {
		before.pool.QueueDelay.Observe(time.Second)
		before.pool.Lateness.Observe(time.Second)
		before.sound.Lateness.Observe(time.Second)
	}
	before.sound.Ticks, before.sound.Skipped = 1000, 500
	after := before
	after.at += 2 * time.Second
	after.cpu += time.Second
	after.pool.Busy += 3 * time.Second
	after.pool.Executed += 10
	for range 10 {
		after.pool.Lateness.Observe(5 * time.Millisecond)
		after.pool.QueueDelay.Observe(2 * time.Millisecond)
		after.sound.Lateness.Observe(10 * time.Millisecond)
	}
	after.sound.Ticks += 90
	after.sound.Skipped += 10
	got := after.since(&before)
	want := pressure{
		passed: 2 * time.Second, used: 0.5, working: 1.5, waited: 2 * time.Millisecond, late: 5 * time.Millisecond,
		soundLate: 10 * time.Millisecond, soundSkipped: 0.1,
	}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	few := before
	few.at += time.Second
	few.pool.Executed++
	few.pool.QueueDelay.Observe(time.Second)
	if got := few.since(&before); got != (pressure{passed: time.Second}) {
		t.Errorf("%+v of one task", got)
	}
	idle := before
	idle.at += time.Second
	idle.pool.Queued, before.pool.Queued = 3, 2
	if got := idle.since(&before); !got.stuck || got.waited != 0 {
		t.Errorf("%+v where tasks wait and none runs", got)
	}
	if got := before.since(&before); got != (pressure{}) {
		t.Errorf("%+v in no time", got)
	}
}

func TestBudgetIsWhatCanBeHad(t *testing.T) {
	b := budget{cores: 4, now: 4}
	b.strained(3)
	b.strained(3.5) // more than was thought to be there
	if b.now != 3 {
		t.Errorf("%v after 3 were used, want 3", b.now)
	}
	b.grow(15 * time.Second)
	if b.now != 3.5 {
		t.Errorf("%v after 15 s, want 3.5", b.now)
	}
	b.strained(0.01)
	if b.now != 1 {
		t.Errorf("%v, want a quarter of 4 at least", b.now)
	}
	b.grow(time.Hour)
	if b.now != 4 {
		t.Errorf("%v after an hour, want all", b.now)
	}
}
