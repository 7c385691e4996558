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
