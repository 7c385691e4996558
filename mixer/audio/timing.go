package audio

import (
	"math"
	"sync/atomic"
	"time"

	"mixdown/codec"
)

// Timing is when a source's sound is played, for pictures to be shown at the
// same time.
type Timing struct {
	// Stream is whose PTS it is about; 0 is nobody's, nothing was played yet.
	Stream codec.StreamID
	// Played relates the source's clock to the process's: a sample is pulled at
	// its PTS + Played. All that playout adds is in it, and the network's delay.
	Played time.Duration
	// Fastest is what Played would be if the sound waited for nothing: as the
	// fastest recent packet came. The difference is what playout adds.
	Fastest time.Duration
}

// timingTicks is half of how far back the least of Played is looked for: a tick
// that comes late looks as if the sound were late, and is not to move pictures.
const timingTicks = 10

// timing keeps a [Timing]: the goroutine that pulls writes, anybody reads. It is
// no matter if what is read is half of one and half of the next: they differ by
// little, or by stream.
type timing struct {
	low, before time.Duration // the least of this half and of the one before
	ticks       int
	of          codec.StreamID

	stream          atomic.Uint64
	offset, fastest atomic.Int64
}

// played notes one tick in which sound of a stream was played.
func (t *timing) played(stream codec.StreamID, offset, fastest time.Duration) {
	switch {
	case t.of != stream:
		t.of, t.ticks = stream, 0
		t.low, t.before = offset, math.MaxInt64
	case t.ticks == timingTicks:
		t.ticks, t.before, t.low = 0, t.low, offset
	}
	t.ticks++
	t.low = min(t.low, offset)
	t.offset.Store(int64(min(t.low, t.before)))
	t.fastest.Store(int64(fastest))
	t.stream.Store(uint64(stream))
}

// Timing says when the source's sound is played. In pauses it stays what it was.
// Any goroutine may ask.
func (p *Playout) Timing() Timing {
	t := &p.timing
	return Timing{
		Stream: codec.StreamID(t.stream.Load()),
		Played: time.Duration(t.offset.Load()), Fastest: time.Duration(t.fastest.Load()),
	}
}
