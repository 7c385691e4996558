package audio

import (
	"math"

	"mixdown/codec"
)

// Level returns the loudness of pcm as RFC 6464 section 3 defines it: minus the
// RMS in dBov, 0 (a square wave at full scale) to 127 (silence). A sine at full
// scale is 3.
func Level(pcm []int16) uint8 {
	var energy int64
	for _, s := range pcm {
		energy += int64(s) * int64(s)
	}
	return levelOf(float64(energy), len(pcm))
}

// levelOf turns a sum of n squares into a level.
func levelOf(energy float64, n int) uint8 {
	if n == 0 || energy <= 0 {
		return codec.Silence
	}
	db := -10 * math.Log10(energy/float64(n)/(32768*32768))
	return uint8(math.Round(min(max(db, 0), codec.Silence)))
}

// noiseFloor follows the loudness of what is there when nobody speaks: it drops
// with every dip and rises slowly. Speech dips to the floor between syllables
// about once a second, so the estimate rises at most a few dB while somebody
// talks without a pause. Values are in dBov, negative. The zero value is ready.
type noiseFloor struct {
	dBov   float64
	primed bool
}

const (
	// floorLowest keeps digital silence (a muted device, DTX) from making
	// every breath stand out.
	floorLowest = -80
	// floorFirst bounds the first guess: somebody who joins in mid-word must
	// not have his voice taken for the noise.
	floorFirst = -55
	// floorRise is 3 dB a second: a fan that starts is learnt in 10 s.
	floorRise = 3.0 / 50
	// floorFall is the share of a dip that is followed at once; a single
	// odd frame counts little.
	floorFall = 0.3
)

// update takes the level of one tick.
func (f *noiseFloor) update(level uint8) {
	db := max(-float64(level), floorLowest)
	switch {
	case !f.primed:
		f.dBov, f.primed = min(db, floorFirst), true
	case db < f.dBov:
		f.dBov += floorFall * (db - f.dBov)
	default:
		f.dBov = min(f.dBov+floorRise, db)
	}
}
