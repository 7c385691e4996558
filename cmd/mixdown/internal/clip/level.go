package clip

import (
	"fmt"
	"math"

	"mixdown/codec"
)

// voiceLevel is the level, in -dBov, at which [LevelOf] calls a packet voice.
const voiceLevel = 50

// LevelOf returns the RFC 6464 level of some sound.
func LevelOf(pcm []int16) codec.AudioLevel {
	var sum float64
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	if sum == 0 {
		return codec.AudioLevel{DBov: codec.Silence, Valid: true}
	}
	// dBov is relative to the loudest possible square wave (RFC 6464 section 3).
	db := -10 * math.Log10(sum/float64(len(pcm))/(32768*32768))
	level := uint8(min(max(math.Round(db), 0), codec.Silence))
	return codec.AudioLevel{DBov: level, Voice: level < voiceLevel, Valid: true}
}

// Measure returns a copy of a clip of sound whose units know their level, as
// browsers tell it. Data stays shared.
func (c *Clip) Measure(dec codec.AudioDecoder) (*Clip, error) {
	out := *c
	out.Units = append([]Unit(nil), c.Units...)
	var pcm [codec.MaxPacketSamples]int16
	for i := range out.Units {
		n, err := dec.Decode(out.Units[i].Data, pcm[:])
		if err != nil {
			return nil, fmt.Errorf("%w: packet %d: %w", ErrFormat, i, err)
		}
		out.Units[i].Level = LevelOf(pcm[:n])
	}
	return &out, nil
}
