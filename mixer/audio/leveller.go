package audio

import (
	"math"

	"mixdown/codec"
)

const (
	// levelTarget is the loudness of speech that speakers are brought to, in
	// dBov, while they speak (ITU-T P.56 calls it the active level): about what
	// the gain control of browsers gives, so that most need no correction, and
	// close to 20 dB of room for the peaks.
	levelTarget = -21.0
	// levelSlack is how far from it nobody hears a difference worth correcting:
	// within, sound passes bit by bit.
	levelSlack = 2.0
	// levelMaxDB bounds the correction. More than 12 dB up and the room of a
	// far microphone is what one hears.
	levelMaxDB = 12.0
	// levelFloorMax is how loud, in dBov, the noise under a voice may get by
	// raising it.
	levelFloorMax = -50.0
	// levelUpDB and levelDownDB are the steps in a tick of speech: 3 dB and 6
	// dB a second. Slower than syllables and words, so what is within a
	// sentence stays as it was said; too loud is mended faster than too faint.
	levelUpDB   = 3.0 / 50
	levelDownDB = 6.0 / 50
	// levelWarmTicks is how much speech must have been heard before the first
	// correction: 0.6 s. levelMemoryTicks is what the mean goes back: 3 s of
	// speech, without its pauses.
	levelWarmTicks   = 30
	levelMemoryTicks = 150
	// levelRest is how many dB the wanted gain must move before the gain
	// follows again, so that it rests between corrections instead of creeping.
	levelRest = 1.0
	// levelNoiseTicks is how much of his noise must have been heard before
	// anything is raised: 200 ms. levelNoiseMemory is how slowly its estimate
	// follows: 2 s of pauses.
	levelNoiseTicks  = 10
	levelNoiseMemory = 1.0 / 100
)

// leveller brings one speaker to the common loudness. It follows his active
// speech level, in ticks that stand out of the noise, and moves its gain only in
// those: a pause is left as it is, and noise is never raised above a bound. The
// zero value is ready, with a gain of 0 dB.
type leveller struct {
	power  float64 // mean over speech; 1 is 0 dBov
	heard  int     // ticks of speech, up to levelMemoryTicks
	noise  float64 // of the pauses, in dBov
	pauses int     // ticks of them, up to levelNoiseTicks
	gainDB float64
	moving bool // on the way to where the gain should be
}

// pause takes a tick that is not speech, in dBov.
func (l *leveller) pause(dBov float64) {
	if l.pauses == 0 {
		l.noise = max(dBov, floorLowest)
	}
	l.pauses = min(l.pauses+1, levelNoiseTicks)
	if dBov > -codec.Silence {
		// Digital silence is a device that is off or a sender's DTX, and tells
		// nothing of the noise under his voice.
		l.noise += levelNoiseMemory * (max(dBov, floorLowest) - l.noise)
	}
}

// speech takes a tick of speech, in dBov, and reports whether the gain changed.
func (l *leveller) speech(dBov float64) bool {
	l.heard = min(l.heard+1, levelMemoryTicks)
	// A plain mean first, then one that forgets.
	l.power += (math.Pow(10, dBov/10) - l.power) / float64(l.heard)
	if l.heard < levelWarmTicks {
		return false
	}
	off := l.wanted() - l.gainDB
	l.moving = off != 0 && (l.moving || math.Abs(off) > levelRest)
	if l.moving {
		l.gainDB += min(max(off, -levelDownDB), levelUpDB)
	}
	return l.moving
}

// wanted is the gain in dB that suits what was heard.
func (l *leveller) wanted() float64 {
	var want float64
	switch active := 10 * math.Log10(max(l.power, 1e-12)); {
	case active > levelTarget+levelSlack:
		want = levelTarget + levelSlack - active
	case active < levelTarget-levelSlack && l.pauses == levelNoiseTicks:
		want = min(levelTarget-levelSlack-active, max(0, levelFloorMax-l.noise))
	}
	return min(max(want, -levelMaxDB), levelMaxDB)
}
