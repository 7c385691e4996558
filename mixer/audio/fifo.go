package audio

import "mixdown/codec"

const (
	// seamSamples is the length of a cross-fade where sound is joined: 5 ms.
	seamSamples = codec.SampleRate / 200
	// weightOne is 1 in the fixed point of cross-fades; with 8 bits their
	// steps could be heard in soft voices.
	weightOne = 1 << 15
	// fifoSamples holds two ticks, the longest packet and the lag of a splice.
	fifoSamples = 2*codec.FrameSamples + codec.MaxPacketSamples + codec.FrameSamples
)

// fifo holds decoded sound that was not pulled yet, and the last 5 ms that
// were, for joining to.
type fifo struct {
	buf        [seamSamples + 2*fifoSamples]int16
	start, end int // buf[start:end] waits; buf[start-seamSamples:start] was pulled
}

func (f *fifo) init() { f.start, f.end = seamSamples, seamSamples }

func (f *fifo) len() int { return f.end - f.start }

// waiting returns what waits, oldest first; valid until the next call.
func (f *fifo) waiting() []int16 { return f.buf[f.start:f.end] }

// room returns n samples of memory after the end, for a decoder to write into.
// Its capacity ends there too: some decoders look at nothing else. The FIFO is
// large enough for the longest packet on top of whatever may wait.
func (f *fifo) room(n int) []int16 {
	if f.end+n > len(f.buf) {
		keep := f.start - seamSamples
		copy(f.buf[:], f.buf[keep:f.end])
		f.start, f.end = seamSamples, f.end-keep
	}
	return f.buf[f.end : f.end+n : f.end+n]
}

// append makes the first n samples of what room returned part of the sound.
func (f *fifo) append(n int) { f.end += n }

// read moves the oldest samples to dst; there must be enough.
func (f *fifo) read(dst []int16) {
	f.start += copy(dst, f.buf[f.start:f.end])
}

// join softens the edge between what there is and new sound that does not
// continue it, the n samples that are about to be appended: the old sound is
// led on, turned about its last point so that value and slope go on, while it
// fades into the new one.
func (f *fifo) join(n int) {
	n = min(n, seamSamples-1)
	last := f.end - 1
	for i := range n {
		w := (2*i + 1) * weightOne / (2 * n)
		old, fresh := 2*int(f.buf[last])-int(f.buf[last-1-i]), int(f.buf[f.end+i])
		f.buf[f.end+i] = int16(max(min((old*(weightOne-w)+fresh*w)/weightOne, 32767), -32768))
	}
}

// cut takes lag samples out of what waits, beginning at its start, with a
// cross-fade of 5 ms. There must be lag+seamSamples waiting.
func (f *fifo) cut(lag int) {
	x := f.waiting()
	// A copy, since the two sides overlap when the lag is short.
	old := [seamSamples]int16(x)
	for i, s := range old {
		w := (2*i + 1) * weightOne / (2 * seamSamples)
		x[lag+i] = int16((int(s)*(weightOne-w) + int(x[lag+i])*w) / weightOne)
	}
	// What was pulled before stays in front of what is read next.
	copy(f.buf[f.start+lag-seamSamples:f.start+lag], f.buf[f.start-seamSamples:f.start])
	f.start += lag
}

const (
	// Pitch periods of voices: 70 to 400 Hz.
	lagMin = codec.SampleRate / 400
	lagMax = codec.SampleRate / 70
	// lagStep is the grain of the search; voices have little above 6 kHz
	// that would show at this distance.
	lagStep = 4
)

// bestLag finds the distance at which the sound that waits is most like
// itself, that is one or more periods of its pitch, and how like: 1 is equal,
// 0 unrelated. There must be lagMax+seamSamples waiting.
func (f *fifo) bestLag() (lag int, likeness float64) {
	x := f.waiting()
	var own, better float64
	for i := 0; i < seamSamples; i += lagStep {
		own += float64(x[i]) * float64(x[i])
	}
	try := func(l int) {
		var cross, other int64
		for i := 0; i < seamSamples; i += lagStep {
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
	// takes the fewest splices.
	better = 0.01
	for l := lagMax; l >= lagMin; l -= lagStep {
		try(l)
	}
	better = 0
	for l, end := max(lag-lagStep+1, lagMin), min(lag+lagStep, lagMax); l < end; l++ {
		try(l)
	}
	return lag, likeness
}
