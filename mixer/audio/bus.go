package audio

import "mixdown/codec"

// Sum is 20 ms of added-up sound. It is exact: 65,536 voices at full scale fit
// in 32 bits, so nothing is clipped or rounded before a [Limiter], and taking a
// voice out again leaves exactly the others.
type Sum [codec.FrameSamples]int32

// Add puts v into the sum.
func (s *Sum) Add(v *Sum) {
	for i, x := range v {
		s[i] += x
	}
}

// Minus sets s to all - own: the mix-minus of whoever said own.
func (s *Sum) Minus(all, own *Sum) {
	for i := range s {
		s[i] = all[i] - own[i]
	}
}

// fadeSamples is how long gains take to change: 10 ms.
const fadeSamples = codec.SampleRate / 100

// setScaled sets s to pcm times a gain that goes from `from` to `to` within the
// first 10 ms, along a curve without corners.
func (s *Sum) setScaled(pcm *codec.AudioFrame, from, to float64) {
	rest := 0
	if from != to {
		for i := range fadeSamples {
			s[i] = scaled(pcm[i], from+(to-from)*fadeCurve(i))
		}
		rest = fadeSamples
	}
	switch to {
	case 0:
		clear(s[rest:])
	case 1:
		for i := rest; i < len(s); i++ {
			s[i] = int32(pcm[i])
		}
	default:
		for i := rest; i < len(s); i++ {
			s[i] = scaled(pcm[i], to)
		}
	}
}

// fadeCurve goes from 0 to 1 over fadeSamples with a level start and end.
func fadeCurve(i int) float64 {
	t := (float64(i) + 0.5) / fadeSamples
	return t * t * (3 - 2*t)
}

// scaled rounds half away from zero, so that it is odd: a voice and its
// inverse still cancel.
func scaled(s int16, gain float64) int32 {
	x := float64(s) * gain
	if x < 0 {
		return int32(x - 0.5)
	}
	return int32(x + 0.5)
}
