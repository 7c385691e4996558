package audio

import (
	"math"
	"time"

	"mixdown/codec"
)

const (
	// offsetTicks is how far back the shortest wait is looked for, 1 s: a tick
	// that came late looks like a longer wait, and must not count.
	offsetTicks = 50
	// offsetLearn is how many are needed to judge.
	offsetLearn = 10

	// excessSpare is how much more than what is cut must be there, so that
	// growing and shrinking do not alternate.
	excessSpare = 5 * time.Millisecond
	// excessMuch is from where it is reduced with haste: no clock's drift and
	// no late tick looks like that.
	excessMuch = 60 * time.Millisecond
	// excessRisk is where delay is made longer even within speech; down to
	// there a pause is waited for. Of jitterMargin 1 ms is left.
	excessRisk = -2 * time.Millisecond
	// Joints in speech are at least this many ticks apart: at most 36% faster
	// when there is much to catch up, else 7%.
	cutTicks     = 10
	cutTicksMuch = 2
	// repeatTicks is the same for longer sound: packets are late already, or
	// about to be.
	repeatTicks = 2
	// jointLike is how like each other the two sides of a joint must be, and
	// jointLikeMuch suffices when there is haste.
	jointLike     = 0.8
	jointLikeMuch = 0.5
	// misaligned is the remainder, 1 ms, that is worth cutting off.
	misaligned = codec.SampleRate / 1000
)

// steering corrects the delay by a little at a time.
type steering struct {
	offsets  offsets
	floor    noiseFloor
	wasQuiet bool
	// growing says that sound is being repeated until a whole grain is won:
	// less protects from nothing.
	growing   bool
	sinceJoin int // ticks
}

// offsets remembers for the last second how long the packets waited: now minus
// PTS, in microseconds, relative to the jitter estimate's base.
type offsets struct {
	at      [offsetTicks]int32
	n, next int
}

func (o *offsets) add(us int32) {
	o.at[o.next] = us
	o.next = (o.next + 1) % offsetTicks
	o.n = min(o.n+1, offsetTicks)
	if o.n == 1 {
		o.at[0], o.next = us, 1
	}
}

func (o *offsets) shift(samples int) {
	us := int32(samples * 1000 / (codec.SampleRate / 1000))
	for i := range o.at[:o.n] {
		o.at[i] += us
	}
}

func (o *offsets) low() int32 {
	low := int32(math.MaxInt32)
	for _, us := range o.at[:o.n] {
		low = min(low, us)
	}
	return low
}

// steer looks at the 20 ms that are about to be pulled and corrects the delay
// by a little, where that cannot be heard. It returns their level.
func (p *Playout) steer() (level uint8) {
	s, st := &p.sched, &p.steering
	level = p.level(0)
	st.floor.update(level)
	quiet := p.calm(0)
	calm := quiet && st.wasQuiet
	st.wasQuiet = quiet
	st.sinceJoin++
	if s.gap || s.made > 0 || st.offsets.n == 0 {
		st.growing = false
		return level
	}
	excess := time.Duration(st.offsets.low()-p.jit.low)*time.Microsecond - p.jit.target
	if st.offsets.n < offsetLearn && excess < excessMuch {
		return level
	}
	if p.relayed.mode == RelayOn {
		p.steerRelayed(excess, calm)
		return level
	}
	st.growing = excess < 0 && (st.growing || calm || excess < excessRisk)
	grain := p.grain()
	rest := p.fifo.len() % grain
	// whole is how much can be spared, in whole grains.
	whole := int(max(samplesOf(excess-excessSpare), 0)) / grain * grain
	switch {
	case st.growing:
		if st.sinceJoin >= repeatTicks {
			p.stretch(calm)
		}
	case calm && rest >= misaligned:
		p.cut(rest, min(p.fifo.len()-rest, overlapMost))
	case calm && whole > 0 && p.ahead(2*codec.FrameSamples) && p.calm(codec.FrameSamples):
		p.cut(min(whole, codec.FrameSamples), overlapMost)
	case excess >= excessMuch:
		if st.sinceJoin >= cutTicksMuch {
			p.squeeze(lagMax, jointLikeMuch)
		}
	case whole+rest >= lagMin && st.sinceJoin >= cutTicks:
		if !p.squeeze(min(whole+rest, lagMax), jointLike) {
			st.sinceJoin -= 3 // looking for a joint is not free
		}
	}
	if st.sinceJoin == 0 {
		level = p.level(0)
	}
	return level
}

// grain is the step in which delay can change: what waits decoded is as much
// less than a packet, or than a tick, as it may be.
func (p *Playout) grain() int { return min(p.sched.lastLen, codec.FrameSamples) }

// level returns the level of 20 ms that wait, from a sample on.
func (p *Playout) level(from int) uint8 {
	if p.skipped.all(p.fifo.len() - from) {
		return p.skipped.loud
	}
	return Level(p.fifo.waiting()[from : from+codec.FrameSamples])
}

// calm says that 20 ms that wait, from a sample on, hold no speech, or nobody
// asks for it.
func (p *Playout) calm(from int) bool {
	return p.relayed.mode != RelayOn && p.skipped.all(p.fifo.len()-from) || p.steering.quiet(p.level(from))
}

// quiet says that a level is not speech.
func (st *steering) quiet(level uint8) bool {
	const surely, rather, margin = -60, -40, 4
	return -float64(level) <= max(surely, min(rather, st.floor.dBov+margin))
}

// stretch repeats a period of the sound that is about to be pulled; in a pause
// any length is a period.
func (p *Playout) stretch(calm bool) {
	overlap := overlapMost
	if !p.ahead(lagMax + overlap) {
		overlap = codec.FrameSamples - lagMax
	}
	lag, like := p.fifo.bestLag(lagMax, overlap)
	switch {
	case calm && lag < lagMax/2:
		lag = lagMax
	case !calm && like < jointLike:
		return
	}
	if p.skipped.all(p.fifo.len()) {
		p.skipped.tail += lag
	}
	p.fifo.repeat(lag, overlap)
	p.joined(lag)
	p.count.stretched.Add(uint64(lag))
}

// squeeze leaves out a period of the sound that is about to be pulled, of at
// most so many samples, and says whether that was possible.
func (p *Playout) squeeze(most int, enough float64) bool {
	if !p.ahead(codec.FrameSamples + most) {
		return false
	}
	lag, like := p.fifo.bestLag(most, overlapMost)
	if like < enough {
		return false
	}
	p.cut(lag, overlapMost)
	return true
}

// cut leaves out samples from the start of what waits.
func (p *Playout) cut(samples, overlap int) {
	clean := p.fifo.len()
	if !p.skipped.all(clean) {
		clean -= overlap // what is cut out fades into it
	}
	p.fifo.cut(samples, overlap)
	p.skipped.limit(clean - samples)
	p.joined(-samples)
	p.count.squeezed.Add(uint64(samples))
}

// joined notes that so much more waits than did before. The wait that counts is
// that of the next packet at the tick which needs it; it changes only in whole
// grains.
func (p *Playout) joined(samples int) {
	rest, grain := p.fifo.len()-codec.FrameSamples, p.grain()
	grains := rest/grain - (rest-samples)/grain
	p.steering.offsets.shift(grains * grain)
	p.steering.sinceJoin = 0
}

// ahead decodes until n samples wait, if the packets for it are there without
// a gap, and says whether they do.
func (p *Playout) ahead(n int) bool {
	for p.fifo.len() < n {
		head := p.ring.first()
		if head.frame == nil || head.frame.Seq != p.ring.next || head.jump > 0 || p.sched.gap ||
			head.pts-p.sched.cursor >= shortest {
			return false
		}
		p.play(head, head.pts-p.sched.cursor)
	}
	return true
}
