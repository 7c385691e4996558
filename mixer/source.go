package mixer

import (
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/mixer/audio"
	"mixdown/mixer/layout"
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
	playout *audio.Playout
	sound   sharedSound // the playout, for the audio loop
	// suppressor is made when it is first asked for, by the control loop, which
	// tells the audio loop by facts.suppress.
	suppressor Suppressor
	pictures   [codec.NumSources]*video.Source
	// lastPicture is when each picture last came, on the process's clock; 0 is
	// never.
	lastPicture [codec.NumSources]atomic.Int64
	// held says that the client was asked not to send a picture for the time
	// being, resumed when it was last asked to go on; the control loop's own.
	held    [codec.NumSources]bool
	resumed [codec.NumSources]time.Duration
	// shown is the largest tile of each picture, empty when it has none; the
	// control loop's own.
	shown    [codec.NumSources]layout.Rect
	speaking atomic.Bool
	echo     atomic.Bool // sends back what it is sent; by the audio loop
	// soundCPU is the source's share of the processor time of audio ticks, in
	// nanoseconds.
	soundCPU atomic.Int64
	wake     func()
	sync     lipSync
	frame    time.Duration // of the room's canvas
}

// writeAudio transfers a packet to the playout.
func (s *source) writeAudio(f *codec.EncodedFrame) {
	now := codec.Now()
	s.sync.heard(f, now)
	s.playout.Push(f, now)
}

// writeVideo transfers a frame to a picture's decoder, and wakes the control
// loop when the first one of a source has come: then it gets a tile.
func (s *source) writeVideo(id codec.SourceID, f *codec.EncodedFrame) {
	now := codec.Now()
	before := s.lastPicture[id].Swap(int64(now))
	seen := pictureSeen{mediaTime: mediaTimeOf(f), frame: s.frame}
	s.pictures[id].Write(f)
	seen.fastest, seen.epoch = s.pictures[id].Transit()
	seen.played = s.playout.Timing()
	s.pictures[id].SetDelay(s.sync.seen(id, seen, now))
	if before == 0 || now-time.Duration(before) > screenTimeout {
		s.wake()
	}
}

// shows reports whether the picture has come lately enough to be shown, or would
// have if the client had not been asked to pause it. Control loop only.
func (s *source) shows(id codec.SourceID, now time.Duration) bool {
	last := time.Duration(s.lastPicture[id].Load())
	return last != 0 && (s.held[id] || now-max(last, s.resumed[id]) <= screenTimeout)
}

// close waits for decoders that still run. Nobody may write any more.
func (s *source) close() {
	for _, p := range s.pictures {
		p.Close()
	}
	s.playout.Close()
	if s.suppressor != nil {
		s.suppressor.Close()
	}
}

// sharedSound lets several mixes pull from one playout, in one tick the same
// 20 ms: somebody who whispers to another group is in two. It belongs to the
// audio loop.
type sharedSound struct {
	from *audio.Playout
	// suppressor, when set, works on what was decoded.
	suppressor Suppressor
	// mixes is in how many it is. In one alone it costs nothing.
	mixes  int
	pulled bool
	at     time.Duration
	frame  codec.AudioFrame
	info   audio.Info
	// quiet is the most that any of them has asked for in this tick.
	quiet uint8
}

// Pull implements audio.Puller. now tells the ticks apart.
func (s *sharedSound) Pull(dst *codec.AudioFrame, now time.Duration, quiet uint8) audio.Info {
	if s.mixes < 2 {
		s.pulled = false
		return s.process(dst, s.from.Pull(dst, now, quiet))
	}
	if !s.pulled || s.at != now {
		before := s.quiet
		if !s.pulled {
			before = audio.DecodeAlways
		}
		// What is too quiet for this mix may be wanted by the next, who will
		// probably ask for the same as a tick ago.
		s.info = s.process(&s.frame, s.from.Pull(&s.frame, now, max(quiet, before)))
		s.pulled, s.at, s.quiet = true, now, 0
	}
	s.quiet = max(s.quiet, quiet)
	*dst = s.frame
	return s.info
}

// SetRelay implements audio.Relayer.
func (s *sharedSound) SetRelay(mode audio.RelayMode) { s.from.SetRelay(mode) }

// Packet implements audio.Relayer. Where the sound is worked on, or heard in several
// mixes, its packets are not what is to be heard.
func (s *sharedSound) Packet() (*codec.EncodedFrame, audio.PacketState) {
	f, state := s.from.Packet()
	if state == audio.PacketFit && (s.mixes > 1 || s.suppressor != nil) {
		state = audio.PacketEnding
	}
	return f, state
}

// process takes noise out of what was decoded, if somebody asked for it. What
// was not decoded will not be heard either.
func (s *sharedSound) process(pcm *codec.AudioFrame, info audio.Info) audio.Info {
	if s.suppressor != nil && !info.Skipped {
		s.suppressor.Process(pcm)
		info.Level = audio.Level(pcm[:])
		info.Silent = info.Silent && info.Level == codec.Silence
	}
	return info
}
