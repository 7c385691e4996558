package webm

import (
	"fmt"
	"time"

	"mixdown/codec"
)

const (
	// maxLateMs is how far behind the newest block a block may be: its time
	// within the Cluster has 16 bits.
	maxLateMs = 30_000
	// maxHeld bounds the blocks held back per track; Window bounds them
	// first unless packets are very short. The oldest is written then.
	maxHeld = 256
)

// block is a frame that waits for its turn.
type block struct {
	frame *codec.EncodedFrame
	at    time.Duration
	ms    int64
}

// track is one track's state.
type track struct {
	number byte
	// lastMs is the newest time handed in, -1 before the first.
	lastMs int64
	// end is when what was written ends; last is the start of its last block.
	end, last time.Duration
	written   bool

	held [maxHeld]block // a ring
	head int
	n    int
}

func (t *track) push(b block) { t.held[(t.head+t.n)%maxHeld] = b; t.n++ }

func (t *track) pop() block {
	b := t.held[t.head]
	t.held[t.head] = block{}
	t.head, t.n = (t.head+1)%maxHeld, t.n-1
	return b
}

// order holds blocks back until the other track has come as far, so that they
// leave in order of time.
type order struct {
	windowMs     int64
	video, audio *track // nil for none
	newestMs     int64  // of all that was handed in
}

func newOrder(cfg Config) order {
	o := order{windowMs: millis(cfg.Window), newestMs: -1}
	if cfg.Video != nil {
		o.video = &track{number: videoNumber, lastMs: -1}
	}
	if cfg.Audio != nil {
		o.audio = &track{number: audioNumber, lastMs: -1}
	}
	return o
}

// take retains a frame, or refuses it; see [Writer.Write] for the errors.
func (o *order) take(f *codec.EncodedFrame, at time.Duration) error {
	t := o.video
	if f.Codec == codec.Opus {
		t = o.audio
	}
	ms := millis(at)
	switch {
	case t == nil || f.Codec != codec.VP8 && f.Codec != codec.Opus:
		return fmt.Errorf("webm: %v: %w", f.Codec, ErrNoTrack)
	case ms < 0 || ms <= t.lastMs || ms < o.newestMs-maxLateMs:
		return ErrOrder
	case t == o.video && t.lastMs < 0 && !f.Key:
		return codec.ErrNeedKey
	case len(f.Data) == 0:
		return fmt.Errorf("webm: empty frame: %w", codec.ErrCorrupt)
	case len(f.Data) > maxBlockBytes:
		return codec.ErrTooLarge
	}
	t.lastMs = ms
	o.newestMs = max(o.newestMs, ms)
	t.push(block{f.Retain(), at, ms})
	return nil
}

// next returns the track whose first held block is to be written now, or nil;
// all says that nothing waits any more.
func (o *order) next(all bool) *track {
	t, other := o.video, o.audio
	if t == nil || t.n == 0 || other != nil && other.n > 0 && other.held[other.head].ms < t.held[t.head].ms {
		t, other = other, t
	}
	if t == nil || t.n == 0 {
		return nil
	}
	ms := t.held[t.head].ms
	switch {
	case all, other == nil, other.n > 0, t.n == maxHeld:
		return t
	case ms <= other.lastMs: // the other one goes on behind it
		return t
	case o.newestMs-ms >= o.windowMs:
		return t
	}
	return nil
}

// cut hands what is held back at or after at to take, which must not keep the
// frame without retaining it.
func (o *order) cut(at time.Duration, take func(f *codec.EncodedFrame, at time.Duration)) {
	for _, t := range []*track{o.video, o.audio} {
		if t == nil {
			continue
		}
		for n := t.n; n > 0; n-- {
			b := t.pop()
			if b.at < at {
				t.push(b) // the ring turns once: the order stays
				continue
			}
			take(b.frame, b.at)
			b.frame.Release()
		}
	}
}

// flags are those of a SimpleBlock with f on track t.
func (o *order) flags(t *track, f *codec.EncodedFrame) byte {
	switch {
	case t == o.audio || f.Key:
		return flagKey
	case f.Discardable:
		return flagDiscardable
	}
	return 0
}
