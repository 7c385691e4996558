package audio

import "mixdown/codec"

// Sound is made shorter or longer by whole periods of its own pitch, joined
// with a cross-fade (pitch-synchronous overlap-add): where both sides of the
// joint are alike, it cannot be heard.

const (
	// Pitch periods of voices: 70 to 400 Hz.
	lagMin = codec.SampleRate / 400
	lagMax = codec.SampleRate / 70
	// lagStep is the grain of the search; voices have little above 6 kHz
	// that would show at this distance.
	lagStep = 4
	// overlapMost is over what length the sides of a joint are compared, and
	// cross-faded: 10 ms, a period of most voices.
	overlapMost = codec.SampleRate / 100
)

// cut takes lag samples out of what waits, beginning at its start. There must
// be lag+overlap waiting, and overlap may be seamSamples to overlapMost.
func (f *fifo) cut(lag, overlap int) {
	x := f.waiting()
	// A copy, since the two sides overlap when the lag is short.
	var old [overlapMost]int16
	copy(old[:overlap], x)
	for i, s := range old[:overlap] {
		w := (2*i + 1) * weightOne / (2 * overlap)
		x[lag+i] = int16((int(s)*(weightOne-w) + int(x[lag+i])*w) / weightOne)
	}
	// What was pulled before stays in front of what is read next.
	copy(f.buf[f.start+lag-seamSamples:f.start+lag], f.buf[f.start-seamSamples:f.start])
	f.start += lag
}

// repeat plays the first lag samples of what waits twice. There must be
// lag+overlap waiting.
func (f *fifo) repeat(lag, overlap int) {
	f.room(lag)
	x := f.buf[f.start : f.end+lag]
	copy(x[lag:], x[:len(x)-lag])
	// x[2*lag+i] is what went on at the end of the first time; it is read
	// before it can be written, since lag > 0.
	for i := range overlap {
		w := (2*i + 1) * weightOne / (2 * overlap)
		x[lag+i] = int16((int(x[2*lag+i])*(weightOne-w) + int(x[lag+i])*w) / weightOne)
	}
	f.end += lag
}

// bestLag finds the distance, from lagMin to most, at which the sound that
// waits is most like itself over the length of overlap: one or more periods of
// its pitch. It says how like: 1 is equal, 0 unrelated. There must be
// most+overlap waiting.
func (f *fifo) bestLag(most, overlap int) (lag int, likeness float64) {
	x := f.waiting()
	var own, better float64
	for i := 0; i < overlap; i += lagStep {
		own += float64(x[i]) * float64(x[i])
	}
	try := func(l int) {
		var cross, other int64
		for i := 0; i < overlap; i += lagStep {
			cross += int64(x[i]) * int64(x[l+i])
			other += int64(x[l+i]) * int64(x[l+i])
		}
		// The mean of both energies instead of their product's root also
		// asks for equal loudness.
		if like := 2 * float64(cross) / (own + float64(other) + 1); like > likeness+better {
			lag, likeness = l, like
		}
	}
	// From the longest down: where several periods are alike, the longest
	// takes the fewest joints.
	better = 0.01
	for l := most; l >= lagMin; l -= lagStep {
		try(l)
	}
	if likeness == 0 {
		return 0, 0
	}
	better = 0
	for l, end := max(lag-lagStep+1, lagMin), min(lag+lagStep, most+1); l < end; l++ {
		try(l)
	}
	return lag, likeness
}
