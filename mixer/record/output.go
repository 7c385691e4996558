package record

import (
	"errors"
	"fmt"
	"time"

	"mixdown/codec"
	"mixdown/codec/webm"
)

// output is the writing half of a Recorder: parts and their timelines. Only
// Run's goroutine touches it.
type output struct {
	rec *Recorder

	part          *webm.Writer // nil before the first and after the last
	file          File
	parts         int
	width, height int
	offset        time.Duration // PTS of the part's zero, pauses taken out

	// waiting says that the timeline waits for the frame that fixes offset:
	// the first of the recording, or the first after a pause.
	waiting  bool
	resumeAt time.Duration // where in the part it will stand
	gen      uint64

	// pending is the sound that came while waiting: at most StartTimeout of
	// it, then the recording goes on without pictures.
	pending []*codec.EncodedFrame

	lastKey, lastAsk time.Duration // PTS
}

// keyAskEvery keeps requests apart while a key frame is on its way.
const keyAskEvery = time.Second

// put writes one frame, which it borrows.
func (o *output) put(it item) error {
	if it.gen != o.gen {
		if err := o.pause(it.gen); err != nil {
			return err
		}
	}
	if it.frame.Codec == codec.VP8 {
		return o.video(it.frame)
	}
	return o.audio(it.frame)
}

// pause ends the stretch before gen: what comes next continues where it ends.
func (o *output) pause(gen uint64) error {
	if gen == o.gen {
		return nil
	}
	o.gen = gen
	o.dropPending()
	if o.part == nil {
		return nil
	}
	if err := o.part.Flush(); err != nil {
		return err
	}
	o.waiting, o.resumeAt = true, o.part.Duration()
	o.publish()
	return nil
}

func (o *output) audio(f *codec.EncodedFrame) error {
	if o.part != nil && !o.waiting {
		return o.write(f)
	}
	o.pending = append(o.pending, f.Retain())
	if o.rec.cfg.Video && f.PTS-o.pending[0].PTS < o.rec.cfg.StartTimeout && len(o.pending) < o.rec.cfg.MaxAudioFrames {
		return nil
	}
	return o.startOnAudio()
}

// startOnAudio lets the timeline begin, or go on, at the first pending sound.
func (o *output) startOnAudio() error {
	if len(o.pending) == 0 {
		return nil
	}
	zero := o.pending[0].PTS
	if o.part == nil {
		if err := o.begin(0, 0); err != nil {
			return err
		}
	}
	o.offset, o.waiting = zero-o.resumeAt, false
	return o.writePending()
}

func (o *output) video(f *codec.EncodedFrame) error {
	if f.Key && (f.Width < 1 || f.Height < 1) {
		return o.refused(f)
	}
	fresh := o.part == nil || o.waiting
	resized := o.part != nil && f.Key && (f.Width != o.width || f.Height != o.height)
	if !fresh && !resized {
		o.askForKey(f)
		return o.write(f)
	}
	if !f.Key {
		return o.refused(f)
	}
	if resized {
		// Sound of this picture's time was ahead of it: it belongs to the new part.
		o.part.Cut(f.PTS-o.offset, func(held *codec.EncodedFrame, _ time.Duration) {
			o.pending = append(o.pending, held.Retain())
		})
		if err := o.end(); err != nil {
			return err
		}
	}
	if o.part == nil {
		if err := o.begin(f.Width, f.Height); err != nil {
			return err
		}
	}
	o.offset, o.waiting = f.PTS-o.resumeAt, false
	o.lastKey, o.lastAsk = f.PTS, f.PTS
	if err := o.write(f); err != nil {
		return err
	}
	return o.writePending()
}

// askForKey keeps the file seekable.
func (o *output) askForKey(f *codec.EncodedFrame) {
	if f.Key {
		o.lastKey = f.PTS
	}
	ask := o.rec.cfg.RequestKeyframe
	if ask == nil || f.PTS-o.lastKey < o.rec.cfg.KeyInterval || f.PTS-o.lastAsk < keyAskEvery {
		return
	}
	o.lastAsk = f.PTS
	o.rec.mu.Lock()
	o.rec.mu.stats.KeyRequests++
	o.rec.mu.Unlock()
	ask()
}

// begin opens the next part; the caller fixes its zero.
func (o *output) begin(width, height int) error {
	file, err := o.rec.cfg.Create(o.parts + 1)
	if err != nil {
		return fmt.Errorf("record: part %d: %w", o.parts+1, err)
	}
	cfg := webm.Config{Audio: &webm.AudioTrack{}, Date: o.rec.cfg.Date}
	if width > 0 {
		cfg.Video = &webm.VideoTrack{Width: width, Height: height}
	}
	part, err := webm.NewWriter(file, cfg)
	if err != nil {
		return errors.Join(fmt.Errorf("record: part %d: %w", o.parts+1, err), file.Close())
	}
	o.part, o.file, o.width, o.height = part, file, width, height
	o.resumeAt = 0
	o.parts++
	r := o.rec
	r.mu.Lock()
	r.mu.doneBytes, r.mu.doneDuration = r.mu.status.Bytes, r.mu.status.Duration
	r.mu.status.Parts = append(r.mu.status.Parts, Part{Width: width, Height: height})
	r.mu.Unlock()
	return nil
}

// write hands one frame to the part.
func (o *output) write(f *codec.EncodedFrame) error {
	at := f.PTS - o.offset
	if at < 0 && f.Codec == codec.Opus {
		return nil // from before the first picture, or from within a pause
	}
	err := o.part.Write(f, at)
	switch {
	case err == nil:
	case errors.Is(err, webm.ErrOrder), errors.Is(err, webm.ErrNoTrack), errors.Is(err, codec.ErrNeedKey),
		errors.Is(err, codec.ErrCorrupt), errors.Is(err, codec.ErrTooLarge):
		return o.refused(f)
	default:
		o.publish()
		return err
	}
	o.publish()
	r := o.rec
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.Codec == codec.VP8 {
		r.mu.stats.VideoWritten++
	} else {
		r.mu.stats.AudioWritten++
	}
	if !r.mu.began {
		r.mu.began = true
		if !r.mu.paused {
			r.mu.status.State = Active
		}
	}
	return nil
}

// refused counts a frame that cannot be stored. Pictures that reference it are
// of no use: they wait for a key frame.
func (o *output) refused(f *codec.EncodedFrame) error {
	r := o.rec
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.stats.Refused++
	if f.Codec == codec.VP8 && !f.Discardable {
		r.mu.needKey = true
	}
	return nil
}

func (o *output) writePending() error {
	var err error
	for _, f := range o.pending {
		if err == nil {
			err = o.write(f)
		}
	}
	o.dropPending()
	return err
}

func (o *output) dropPending() {
	for i, f := range o.pending {
		f.Release()
		o.pending[i] = nil
	}
	o.pending = o.pending[:0]
}

// publish makes the part's figures visible.
func (o *output) publish() {
	bytes, duration := o.part.Bytes(), o.part.Duration()
	r := o.rec
	r.mu.Lock()
	defer r.mu.Unlock()
	last := &r.mu.status.Parts[len(r.mu.status.Parts)-1]
	last.Bytes, last.Duration = bytes, duration
	r.mu.status.Bytes, r.mu.status.Duration = r.mu.doneBytes+bytes, r.mu.doneDuration+duration
}

// end finishes the part.
func (o *output) end() error {
	err := o.part.Close()
	o.publish()
	err = errors.Join(err, o.file.Close())
	o.part, o.file = nil, nil
	return err
}

// drain writes what still waits for a key frame that will not come.
func (o *output) drain() error {
	if o.part == nil || o.waiting {
		return o.startOnAudio()
	}
	return nil
}

// close releases everything, finishing the part if there is one.
func (o *output) close() error {
	o.dropPending()
	if o.part == nil {
		return nil
	}
	return o.end()
}
