package audio

import "mixdown/codec"

const (
	// limitBlock is how many samples share one step of the gain.
	limitBlock = 16
	// limitAhead is how many blocks the limiter looks ahead.
	limitAhead = 4
	// LimiterDelay is by how many samples a [Limiter] delays: 1.33 ms. Long
	// enough for the gain to come down without a click, and well under what
	// anybody can notice.
	LimiterDelay = limitBlock * limitAhead
	// limitCeiling is -0.2 dBFS: what is below passes bit by bit. The rest is
	// room for the codec, whose output overshoots its input a little.
	limitCeiling = 32000
	// limitRelease is the share of the way back to unity per block. The gain
	// recovers 63% within 150 ms: faster is heard as distortion of low
	// voices, slower as the others ducking after each shout (pumping).
	limitRelease = limitBlock / (0.150 * codec.SampleRate)
	// limitUnity is where the release snaps to 1, so that the limiter becomes
	// transparent again instead of approaching it for ever; -0.004 dB.
	limitUnity = 0.9995
)

// Limiter turns an exact sum into 16 bits without clipping: it sees peaks
// 1.33 ms before they come and turns the gain down smoothly until then. Sound
// that stays below -0.2 dBFS passes unchanged, delayed by [LimiterDelay].
//
// It holds its state by value: assignment copies it, so that two outputs can go
// on from the same past. The zero value is ready.
type Limiter struct {
	delay [LimiterDelay]int32 // the newest input that is not output yet
	need  [limitAhead]float32 // 1 - the gain that each of those blocks needs
	curve [limitAhead]float32 // the last values of cut, whose mean is the gain
	cut   float32             // 1 - held gain: jumps up, is released slowly
	end   float32             // 1 - gain at the end of the last output
	busy  bool                // any of need, curve, cut or end is not zero
}

// Process sets dst to in, limited and delayed.
func (l *Limiter) Process(dst *codec.AudioFrame, in *Sum) {
	if !l.busy && peak(in[:]) <= limitCeiling {
		for i, s := range l.delay {
			dst[i] = int16(s)
		}
		for i, s := range in[:len(in)-LimiterDelay] {
			dst[LimiterDelay+i] = int16(s)
		}
		copy(l.delay[:], in[len(in)-LimiterDelay:])
		return
	}
	for start := 0; start < len(in); start += limitBlock {
		l.block(dst[start:start+limitBlock], in[start:start+limitBlock])
	}
	l.busy = l.cut != 0 || l.end != 0
}

// block takes one block in and puts the oldest one out. The gain within it goes
// in a line from the last block's end to its own end, and both ends are at or
// below what the block needs: each is a mean of limitAhead held values, every
// one of which has seen this block's peak.
func (l *Limiter) block(dst []int16, in []int32) {
	var need float32
	if p := peak(in); p > limitCeiling {
		need = 1 - limitCeiling/float32(p)
	}
	// The oldest block leaves need last, so that the held value still covers
	// it while it is being output.
	held := need
	for _, n := range l.need {
		held = max(held, n)
	}
	copy(l.need[:], l.need[1:])
	l.need[limitAhead-1] = need
	if l.cut *= 1 - limitRelease; l.cut < 1-limitUnity {
		l.cut = 0
	}
	l.cut = max(l.cut, held)
	copy(l.curve[:], l.curve[1:])
	l.curve[limitAhead-1] = l.cut
	var end float32
	for _, c := range l.curve {
		end += c
	}
	end /= limitAhead

	if l.end == 0 && end == 0 {
		for i, s := range l.delay[:limitBlock] {
			dst[i] = int16(s)
		}
	} else {
		step := (end - l.end) / limitBlock
		gain := 1 - l.end
		for i, s := range l.delay[:limitBlock] {
			gain -= step
			// The clamp is for rounding only; the gain already fits.
			dst[i] = int16(max(min(float32(s)*gain, 32767), -32768))
		}
	}
	l.end = end
	copy(l.delay[:], l.delay[limitBlock:])
	copy(l.delay[LimiterDelay-limitBlock:], in)
}

// peak returns the largest magnitude.
func peak(x []int32) int32 {
	var low, high int32
	for _, s := range x {
		low, high = min(low, s), max(high, s)
	}
	return max(high, -low)
}
