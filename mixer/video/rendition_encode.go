package video

import (
	"errors"
	"time"

	"mixdown/codec"
	"mixdown/codec/yuv"
)

// encoding is what the task keeps between frames.
type encoding struct {
	encoder       codec.VideoEncoder
	width, height int
	bitrateBps    int
	speed         int
	baseOnly      bool
	broken        bool          // the encoder is to be made anew
	started       bool          // lastPTS means something
	lastPTS       time.Duration // of the last frame given to the encoder
	keyed         bool          // lastKey means something
	lastKey       time.Duration // PTS of the last key frame
	failed        bool          // lastFail means something
	lastFail      time.Duration // PTS of the last encoder error
	lastLog       time.Duration // on codec.Now's clock; 0 is never
}

// encode codes one canvas, in the base layer if so asked, and lends the result
// to everybody. It reports whether it could. Of the task.
func (r *Rendition) encode(canvas *codec.VideoFrame, base bool) bool {
	e := &r.enc
	pts := canvas.PTS
	if e.started && pts <= e.lastPTS {
		return false // an encoder's time never stands still
	}
	start := codec.Now()
	w, h := r.c.Tier.sizeOf(canvas.Width, canvas.Height)
	if !r.prepare(w, h, pts) {
		return false
	}
	picture := canvas
	if w != canvas.Width || h != canvas.Height {
		scaled, err := r.c.Frames.Get(w, h)
		if err == nil {
			defer scaled.Release()
			err = yuv.Scale(scaled, canvas)
		}
		if err != nil {
			r.count(func(s *RenditionStats) { s.NoMemory++ })
			return false
		}
		picture = scaled
	}
	key, answered := r.keyDue(pts)
	e.started, e.lastPTS = true, pts
	if base {
		e.encoder.StartPattern()
	}
	out, err := e.encoder.Encode(picture, pts, key)
	if err != nil {
		r.unanswer(answered)
		r.encodeFailed(err, pts)
		return false
	}
	r.published(out, pts, codec.Now()-start, answered)
	r.deliver(out, true)
	out.Release()
	return true
}

// prepare makes the encoder fit the size and bitrate, and reports whether
// there is one. Of the task.
func (r *Rendition) prepare(w, h int, pts time.Duration) bool {
	e := &r.enc
	bps, speed := int(r.bitrate.Load()), int(r.speed.Load())
	reason := KeyStart
	if e.encoder != nil && (e.broken || e.width != w || e.height != h) {
		reason = KeySize
		r.dropEncoder()
	}
	if e.broken {
		reason = KeyError
	}
	if e.encoder == nil {
		// An encoder that fails at once is not to cost a key frame per tick.
		if e.failed && pts-e.lastFail < keyWindow {
			return false
		}
		encoder, err := r.c.NewEncoder(codec.VideoEncoderConfig{
			Width: w, Height: h, FPS: r.c.Tier.FPS, BitrateBps: bps,
			TemporalLayers: 2, Speed: speed, Screen: r.c.Screen,
		})
		if err != nil {
			r.encodeFailed(err, pts)
			return false
		}
		e.encoder, e.width, e.height, e.bitrateBps, e.speed, e.broken = encoder, w, h, bps, speed, false
		e.baseOnly = false
		r.RequestKeyframe(reason)
		e.keyed = false // what it codes first is a key frame, window or not
	}
	if e.bitrateBps != bps {
		if err := e.encoder.SetBitrate(bps); err != nil {
			r.encodeFailed(err, pts)
			return false
		}
		e.bitrateBps = bps
	}
	if e.speed != speed {
		if err := e.encoder.SetSpeed(speed); err != nil {
			r.encodeFailed(err, pts)
			return false
		}
		e.speed = speed
	}
	if on := r.baseOnly.Load(); on != e.baseOnly {
		if err := e.encoder.SetBaseLayerOnly(on); err != nil {
			r.encodeFailed(err, pts)
			return false
		}
		e.baseOnly = on
	}
	return true
}

// keyDue says whether the frame at pts is to be a key frame, and which reasons
// that answers. Of the task.
func (r *Rendition) keyDue(pts time.Duration) (key bool, answered [NumKeyReasons]bool) {
	if r.enc.keyed && pts-r.enc.lastKey < keyWindow {
		return false, answered
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	answered = r.mu.wanted
	r.mu.wanted = [NumKeyReasons]bool{}
	return answered != [NumKeyReasons]bool{}, answered
}

// unanswer puts reasons back whose key frame did not come. Of the task.
func (r *Rendition) unanswer(reasons [NumKeyReasons]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, wanted := range reasons {
		r.mu.wanted[i] = r.mu.wanted[i] || wanted
	}
}

// encodeFailed counts err. Of the task.
func (r *Rendition) encodeFailed(err error, pts time.Duration) {
	if errors.Is(err, codec.ErrDropped) {
		r.count(func(s *RenditionStats) { s.RateDropped++ })
		return
	}
	e := &r.enc
	e.broken, e.failed, e.lastFail = true, true, pts
	r.count(func(s *RenditionStats) { s.Errors++ })
	if now := codec.Now(); e.lastLog == 0 || now-e.lastLog >= time.Second {
		e.lastLog = now
		r.c.Log.Error("video encoder failed; making a new one", "tier", r.c.Tier.String(), "err", err)
	}
}

// published counts a coded frame and what it answered. Of the task.
func (r *Rendition) published(out *codec.EncodedFrame, pts, took time.Duration, answered [NumKeyReasons]bool) {
	if out.Key {
		r.enc.keyed, r.enc.lastKey = true, pts
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.mu.stats
	s.Encoded++
	s.Bytes += uint64(len(out.Data))
	r.mu.width, r.mu.height = out.Width, out.Height
	r.mu.rest.coded(pts, out.Key, out.Sharp && !out.Discardable)
	s.EncodeTime += took
	s.EncodeTimes.Observe(took)
	if !out.Key {
		return
	}
	s.Keyframes++
	for reason := NumKeyReasons; reason > 0; reason-- {
		if answered[reason-1] {
			s.KeyframesFor[reason-1]++
			break
		}
	}
}

// deliver lends out to everybody who can use it. Of the task. The list is read
// here and not before the encode: whoever's wish this key frame answered was
// in the list by the time the wish was read. begins says that one who has had
// nothing yet can begin with a key frame like this.
func (r *Rendition) deliver(out *codec.EncodedFrame, begins bool) {
	for _, s := range *r.subs.Load() {
		if s.closed.Load() || !s.started && !(out.Key && begins) {
			continue
		}
		s.started = true
		if s.sink.WriteVideo(out) == codec.NeedKey {
			r.RequestKeyframe(KeySink)
		}
	}
}

func (r *Rendition) count(add func(*RenditionStats)) {
	r.mu.Lock()
	add(&r.mu.stats)
	r.mu.Unlock()
}

// dropEncoder frees the encoder. Of the task, or of finish.
func (r *Rendition) dropEncoder() {
	if r.enc.encoder != nil {
		r.enc.encoder.Close()
		r.enc.encoder = nil
	}
}
