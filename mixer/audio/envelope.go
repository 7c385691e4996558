package audio

import (
	"math"

	"mixdown/codec"
)

const (
	// envelopeBlocks are in a tick: 10 ms each, short enough for syllables and
	// their onsets.
	envelopeBlocks = 2
	// envelopeBands are, for want of anything cheaper, those of a Haar
	// transform: roughly 0-1, 1-2 and 2-4 kHz. What tells a voice from another
	// is mostly that its bands do not rise and fall together.
	envelopeBands = 3
	// envelopeDecimate takes 48 kHz to 8 kHz.
	envelopeDecimate = 6
	// envelopeFloor is where loudness ends, in dB: below it there is nothing
	// to compare, and digital silence has to be some number.
	envelopeFloor = -80
)

// Envelope is the course of loudness within 20 ms of sound: all that an
// [EchoDetector] needs to know of it. It costs about a microsecond to make, so
// the one of a mix that many hear is made once for all of them. The zero value
// is not silence; see [Envelope.Measure] and [EchoDetector.Feed].
type Envelope struct {
	// bands are in dB, envelopeFloor or more; full scale is about 0.
	bands [envelopeBlocks][envelopeBands]float32
	// loud is all bands together.
	loud [envelopeBlocks]float32
}

// silentEnvelope is that of no sound.
var silentEnvelope = func() (e Envelope) {
	e.Measure(new(codec.AudioFrame))
	return e
}()

// Measure sets e to the envelope of pcm. It allocates nothing.
func (e *Envelope) Measure(pcm *codec.AudioFrame) {
	const samples = codec.FrameSamples / envelopeBlocks
	for b := range envelopeBlocks {
		var low, mid, high float32
		// Four values at 8 kHz at a time: their sum and differences are the
		// bands. The means fold what is above 4 kHz onto what is below; of
		// both sounds that are compared alike.
		for x := pcm[b*samples : (b+1)*samples]; len(x) >= 4*envelopeDecimate; x = x[4*envelopeDecimate:] {
			p, q := decimate(x[0:]), decimate(x[envelopeDecimate:])
			r, s := decimate(x[2*envelopeDecimate:]), decimate(x[3*envelopeDecimate:])
			pq, rs := p+q, r+s
			low += (pq + rs) * (pq + rs)
			mid += (pq - rs) * (pq - rs)
			high += 2 * ((p-q)*(p-q) + (r-s)*(r-s))
		}
		// A quarter of the sum of squares of each is the energy, of values
		// that are sums of six.
		const scale = 1.0 / (4 * samples / envelopeDecimate * envelopeDecimate * envelopeDecimate * 32768 * 32768)
		e.bands[b] = [envelopeBands]float32{decibel(low * scale), decibel(mid * scale), decibel(high * scale)}
		e.loud[b] = decibel((low + mid + high) * scale)
	}
}

// decimate adds up the samples that one value at 8 kHz stands for.
func decimate(x []int16) float32 {
	_ = x[envelopeDecimate-1]
	return float32(int32(x[0]) + int32(x[1]) + int32(x[2]) + int32(x[3]) + int32(x[4]) + int32(x[5]))
}

// decibel turns a power into dB, envelopeFloor or more.
func decibel(power float32) float32 {
	const floor = 1e-8
	return float32(10 * math.Log10(float64(max(power, floor))))
}
