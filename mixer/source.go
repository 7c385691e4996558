package mixer

import (
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/mixer/audio"
	"mixdown/mixer/video"
)

// screenTimeout is how long a shared screen keeps its tile without a picture.
// Browsers repeat a still screen about once a second; five of those missing
// means that sharing has ended.
const screenTimeout = 5 * time.Second

// source is what one contributor gives to a room: sound by way of its playout,
// and up to two pictures. It knows nothing of participants, so that files and
// links to other servers can be sources as well.
type source struct {
	playout  *audio.Playout
	pictures [codec.NumSources]*video.Source
	// lastPicture is when each picture last came, on the process's clock; 0 is
	// never.
	lastPicture [codec.NumSources]atomic.Int64
	speaking    atomic.Bool
	// soundCPU is the source's share of the processor time of audio ticks, in
	// nanoseconds.
	soundCPU atomic.Int64
	wake     func()
}

// writeVideo transfers a frame to a picture's decoder, and wakes the control
// loop when the first one of a source has come: then it gets a tile.
func (s *source) writeVideo(id codec.SourceID, f *codec.EncodedFrame) {
	now := codec.Now()
	before := s.lastPicture[id].Swap(int64(now))
	s.pictures[id].Write(f)
	if before == 0 || now-time.Duration(before) > screenTimeout {
		s.wake()
	}
}

// shows reports whether the picture has come lately enough to be shown.
func (s *source) shows(id codec.SourceID, now time.Duration) bool {
	last := s.lastPicture[id].Load()
	return last != 0 && now-time.Duration(last) <= screenTimeout
}

// close waits for decoders that still run. Nobody may write any more.
func (s *source) close() {
	for _, p := range s.pictures {
		p.Close()
	}
	s.playout.Close()
}
