package codec

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// EncodedFrame is one coded picture or one coded packet of sound. It is
// immutable once published and reference counted; see the package comment.
// Get one from [NewEncodedFrame].
type EncodedFrame struct {
	Codec Codec
	// Stream is the encoder history the frame belongs to.
	Stream StreamID
	// PTS is on the room's clock for outbound frames and on the source's
	// clock for inbound ones.
	PTS time.Duration
	// Capture is, of inbound frames, the sender's instant by its sender
	// reports (RFC 3550 section 6.4.1). Zero is unknown.
	Capture NTPTime
	// Arrival is, of inbound frames, when the last packet of the frame came,
	// on the process's monotonic clock.
	Arrival time.Duration
	// Seq is, of inbound sound, the packet's extended RTP sequence number: a
	// gap in Seq is loss, a gap in PTS alone is the sender's DTX.
	Seq int64
	// Redundant says that an inbound packet of sound was lost on its way and
	// comes as a later packet's redundancy (RFC 2198): Arrival is that packet's,
	// Level is not known, Seq and PTS are its own.
	Redundant bool
	// DTX says that outbound sound is silence which need not be sent (RFC 7587
	// section 3.1.3): a receiver that gets nothing makes its own.
	DTX bool
	// Data is the coded bytes, without any RTP payload descriptor.
	Data []byte
	// Key says that a decoder can start here.
	Key bool
	// Discardable says that no later frame references this one.
	Discardable bool
	// Temporal is the temporal layer; 0 is the base.
	Temporal uint8
	// LayerSync says that the frame references layer 0 only (RFC 7741's Y).
	LayerSync bool
	// Sharp says, of a picture that an encoder made, that it looks like the one
	// that was coded: to code that again would make nothing better.
	Sharp bool
	// Width and Height are the coded picture's size; 0 for sound, and for
	// inbound frames that are not Key.
	Width, Height int
	// Level is, of inbound sound, what the sender said of its loudness.
	Level AudioLevel
	// Heard is, of outbound sound, who is in it, loudest first.
	Heard []Contributor

	refs atomic.Int32
	buf  []byte
}

// Encoded frames are pooled by capacity in powers of two, from 256 bytes to
// 1 MiB; larger ones are left to the garbage collector.
const (
	minClassBits = 8
	maxClassBits = 20
)

var encodedPools [maxClassBits - minClassBits + 1]sync.Pool

// NewEncodedFrame returns a frame with one reference, every field zero, and
// Data empty with room for at least capacity bytes. It does not block.
func NewEncodedFrame(capacity int) *EncodedFrame {
	class := 0
	if capacity > 1<<minClassBits {
		class = bits.Len(uint(capacity-1)) - minClassBits
	}
	if class >= len(encodedPools) {
		f := &EncodedFrame{buf: make([]byte, capacity)}
		f.Data = f.buf[:0]
		f.refs.Store(1)
		return f
	}
	f, _ := encodedPools[class].Get().(*EncodedFrame)
	if f == nil {
		f = &EncodedFrame{buf: make([]byte, 1<<(class+minClassBits))}
	}
	f.Data = f.buf[:0]
	f.refs.Store(1)
	return f
}

// Buffer returns the frame's whole memory for a producer to write into before
// it publishes the frame; set Data to the part that was filled.
func (f *EncodedFrame) Buffer() []byte { return f.buf }

// Retain adds a reference and returns f.
func (f *EncodedFrame) Retain() *EncodedFrame {
	if f.refs.Add(1) <= 1 {
		panic("codec: EncodedFrame retained after its last Release")
	}
	return f
}

// Release gives one reference back. The last one returns the memory to the
// pool: the caller must not touch f afterwards.
func (f *EncodedFrame) Release() {
	switch n := f.refs.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("codec: EncodedFrame released once too often")
	}
	heard, buf := f.Heard[:0], f.buf
	*f = EncodedFrame{Heard: heard, buf: buf}
	class := bits.Len(uint(len(buf)-1)) - minClassBits
	if len(buf) == 1<<(class+minClassBits) && class >= 0 && class < len(encodedPools) {
		encodedPools[class].Put(f)
	}
}
