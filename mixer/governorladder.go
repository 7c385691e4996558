package mixer

import (
	"fmt"
	"math"
	"time"

	"mixdown/codec/worker"
)

// Level is how far the process has gone to keep the sound whole while there is
// more to do than it can. Each level includes those before it.
type Level uint8

// The levels. What comes first costs the viewers least.
const (
	// LevelNormal is that everything is as good as it may be.
	LevelNormal Level = iota
	// LevelFast has encoders take less trouble: a little blurrier.
	LevelFast
	// LevelBaseLayer leaves out the temporal layer that nothing refers to: half
	// the pictures a second.
	LevelBaseLayer
	// LevelLowTop sends nobody the largest tier.
	LevelLowTop
	// LevelHalfTiles shows placeholders for half of those who are neither
	// pinned nor shared screens, nor have spoken lately.
	LevelHalfTiles
	// LevelFewTiles shows them for all of these.
	LevelFewTiles
	// NumLevels is how many there are.
	NumLevels
)

// String returns the level's name, as in logs and events.
func (l Level) String() string {
	names := [NumLevels]string{"normal", "fast-encoding", "base-layer", "low-top-tier", "half-tiles", "few-tiles"}
	if l < NumLevels {
		return names[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// Strain is what shows that there is too much to do.
type Strain uint8

const (
	// StrainNone is that nothing does.
	StrainNone Strain = iota
	// StrainQueue is pictures that wait too long for a processor.
	StrainQueue
	// StrainCPU is that the process uses all that it may.
	StrainCPU
	// StrainSound is audio ticks that come too late, which is the worst.
	StrainSound
	// NumStrains is how many there are.
	NumStrains
)

// String returns the strain's name, as in logs, metrics and events.
func (s Strain) String() string {
	names := [NumStrains]string{"none", "queue", "cpu", "sound"}
	if s < NumStrains {
		return names[s]
	}
	return fmt.Sprintf("strain(%d)", uint8(s))
}

// load is what the process has done up to one moment: totals, which only grow.
type load struct {
	at   time.Duration
	cpu  time.Duration // of the process
	pool worker.Stats
	// sound is the audio clock of all rooms.
	sound ClockStats
}

// pressure is what happened between two moments.
type pressure struct {
	passed time.Duration
	// used is what the process has used, working what its pool's threads have
	// spent in tasks, put aside by the kernel or not: both in cores.
	used, working float64
	// waited is what nine of ten tasks waited at most before they ran, late by
	// how much they ended past their deadlines, stuck that none ran although
	// some wait.
	waited, late time.Duration
	stuck        bool
	// soundLate is by how much 19 of 20 audio ticks were late at most,
	// soundSkipped the share that the clock jumped over.
	soundLate    time.Duration
	soundSkipped float64
}

// since returns what happened after the earlier load.
func (l *load) since(earlier *load) pressure {
	p := pressure{passed: l.at - earlier.at}
	if p.passed <= 0 {
		return pressure{}
	}
	seconds := p.passed.Seconds()
	p.used = max(0, (l.cpu-earlier.cpu).Seconds()/seconds)
	p.working = max(0, (l.pool.Busy-earlier.pool.Busy).Seconds()/seconds)
	switch ran := l.pool.Executed - earlier.pool.Executed; {
	case ran >= fewTasks:
		delay, late := l.pool.QueueDelay.Sub(earlier.pool.QueueDelay), l.pool.Lateness.Sub(earlier.pool.Lateness)
		p.waited, p.late = delay.Quantile(0.9), late.Quantile(0.9)
	case ran == 0:
		p.stuck = l.pool.Queued > 0 && earlier.pool.Queued > 0
	}
	lateness := l.sound.Lateness.Sub(earlier.sound.Lateness)
	p.soundLate = lateness.Quantile(0.95)
	ticks, skipped := l.sound.Ticks-earlier.sound.Ticks, l.sound.Skipped-earlier.sound.Skipped
	if ticks+skipped > 0 {
		p.soundSkipped = float64(skipped) / float64(ticks+skipped)
	}
	return p
}

// What is too much, and what is little enough to do more again. Between the two
// nothing changes.
const (
	// Audio ticks of a server at 86% of two cores come 3 to 7 ms late (p99),
	// as measured; beyond 20 ms they come in twos, and clients begin to stretch.
	soundTooLate, soundInTime = 20 * time.Millisecond, 15 * time.Millisecond
	// A pause of the whole machine skips a few ticks at once: that alone is no
	// overload, but sound that keeps losing ticks is.
	soundTooSkipped = 0.1
	// All uplinks' pictures may come in the same moment, so some wait is
	// normal; half a picture's time for one task in ten is not.
	queueTooLong, queueShort = 15 * time.Millisecond, 7500 * time.Microsecond
	// Deadlines are a picture's time away, or half of one. Some tasks have none
	// and are always a bit late.
	tooLate, inTime = 20 * time.Millisecond, 7500 * time.Microsecond
	// fewTasks in a look say nothing: one room runs fifty.
	fewTasks = 10
	// Shares of the cores. Above the lower one, what the next level saves
	// would be missing at once.
	cpuTooMuch, cpuEasy = 0.97, 0.8
	// littleWork, a share of the cores that the pool's threads are busy for, is so
	// little that cutting pictures helps nobody: other processes make us late.
	littleWork = 0.15
)

// strain says what is too much, the worst of it.
func (p *pressure) strain(cores float64) Strain {
	switch {
	case p.soundLate > soundTooLate || p.soundSkipped > soundTooSkipped:
		return StrainSound
	case p.waited > queueTooLong || p.late > tooLate || p.stuck:
		return StrainQueue
	case p.used > cores*cpuTooMuch:
		return StrainCPU
	}
	return StrainNone
}

// calm says that one level less may do: sound and pictures are.
func (p *pressure) calm(cores float64) bool {
	return p.soundLate <= soundInTime && p.soundSkipped == 0 && p.poolCalm(cores)
}

func (p *pressure) poolCalm(cores float64) bool {
	return p.waited <= queueShort && p.late <= inTime && !p.stuck && p.used <= cores*cpuEasy
}

// others says that it cannot be our pictures that are too much.
func (p *pressure) others(cores float64) bool { return p.working < cores*littleWork }

// How long things must last for the ladder to move.
const (
	climbAfter      = 2 * time.Second
	climbAfterSound = time.Second // who hears gaps does not mind a blurry picture
	descendAfter    = 10 * time.Second
	// A climb within relapse of a step down says that the step came too early:
	// the next one waits twice as long, up to longestWait.
	relapse     = 20 * time.Second
	longestWait = 160 * time.Second
	// longestLook bounds what one look counts for: a process that was stopped
	// for a minute was not strained for one.
	longestLook = time.Second
)

// ladder decides on the level. The zero value is at the bottom. It holds no
// clock: time comes with each pressure.
type ladder struct {
	level    Level
	now      time.Duration // the sum of what was looked at
	strained [NumStrains]time.Duration
	calm     time.Duration // for how long, less what was neither calm nor strained
	wait     time.Duration // how long calm must last; 0 is descendAfter
	lowered  time.Duration // when the level last fell
	fell     bool          // lowered means something
}

// step looks at what has happened and reports whether the level changed, by one,
// and for what; StrainNone when it fell.
func (l *ladder) step(p *pressure, cores float64) (changed bool, why Strain) {
	passed := min(p.passed, longestLook)
	l.now += passed
	why = p.strain(cores)
	others := p.others(cores)
	calm := p.calm(cores)
	if others && l.level > LevelFast && p.poolCalm(cores) {
		// Pictures were cut for nothing, whatever becomes of the sound.
		why, calm = StrainNone, true
	}
	switch {
	case why != StrainNone:
		l.calm = 0
		// Any strain counts as the lesser ones too: sound and queue in turns are
		// no reason to wait.
		for s := StrainQueue; s <= why; s++ {
			l.strained[s] += passed
		}
		for s := why + 1; s < NumStrains; s++ {
			l.strained[s] = 0
		}
	case calm:
		l.calm += passed
		l.strained = [NumStrains]time.Duration{}
	default:
		l.calm = max(0, l.calm-passed)
		l.strained = [NumStrains]time.Duration{}
	}
	if l.wait == 0 {
		l.wait = descendAfter
	}
	top := NumLevels - 1
	if others {
		top = LevelFast
	}
	switch {
	case l.level < top && (l.strained[StrainQueue] >= climbAfter || l.strained[StrainSound] >= climbAfterSound):
		if l.fell {
			if l.now-l.lowered <= relapse {
				l.wait = min(2*l.wait, longestWait)
			} else {
				l.wait = descendAfter
			}
			l.fell = false // one step down is answered for once
		}
		l.level++
		l.strained = [NumStrains]time.Duration{}
		return true, why
	case l.level > LevelNormal && l.calm >= l.wait:
		l.level--
		l.calm = 0
		l.lowered, l.fell = l.now, true
		return true, StrainNone
	}
	return false, why
}

// budget is how many cores may be used. It begins as all that there are, falls
// to what was used when the ladder was first climbed, since more could not be
// had (other processes have the rest), and grows back.
type budget struct {
	cores, now float64
}

const (
	// leastBudget is the share that is left of it whatever happens.
	leastBudget = 0.25
	// budgetGrows to all from nothing in that time.
	budgetGrows = 2 * time.Minute
)

// strained notes that no more than used can be had.
func (b *budget) strained(used float64) {
	b.now = math.Min(b.now, math.Max(used, b.cores*leastBudget))
}

// grow gives back some of it.
func (b *budget) grow(passed time.Duration) {
	b.now = math.Min(b.cores, b.now+b.cores*passed.Seconds()/budgetGrows.Seconds())
}
