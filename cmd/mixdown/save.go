package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/codec"
	"mixdown/codec/webm"
)

// saver writes what a client receives into a WebM file, as it came. A nil
// saver does nothing. Its methods are called by the client one at a time.
type saver struct {
	file *os.File
	webm *webm.Writer // made by the first key frame, whose size it needs
	// zero is each track's PTS at the file's start. Both tracks count from
	// their own first packet; what ties them together is when those came.
	start           time.Duration // codec.Now of the file's zero
	audioZero       time.Duration
	audioSet        bool
	videoZero       time.Duration
	videoSet        bool
	width, height   int
	frames, packets int
	dropped         int // before the first key frame, or after an error
	err             error
}

func newSaver(path string) (*saver, error) {
	f, err := create(path)
	if err != nil {
		return nil, fmt.Errorf("--save: %w", err)
	}
	return &saver{file: f}, nil
}

// video is a client's OnVideo.
func (s *saver) video(f client.Frame) {
	if s.webm == nil && s.err == nil && f.Key {
		s.width, s.height = f.Width, f.Height
		s.webm, s.err = webm.NewWriter(s.file, webm.Config{
			Video: &webm.VideoTrack{Width: f.Width, Height: f.Height},
			Audio: &webm.AudioTrack{},
		})
		s.start, s.videoZero, s.videoSet = codec.Now(), f.PTS, true
	}
	if !s.videoSet && s.webm != nil {
		if !f.Key || f.Width != s.width || f.Height != s.height {
			s.dropped++
			return
		}
		s.videoSet, s.videoZero = true, f.PTS-(codec.Now()-s.start)
	}
	if s.write(codec.VP8, f.Data, f.Key, f.PTS-s.videoZero) {
		s.frames++
	}
}

// rejoined says that what comes from now on is of another connection: the file
// goes on with its next key frame, and has a pause as long as it took. (Such a
// picture has the same size, which was asked for as constant; of another one
// only the sound is stored.)
func (s *saver) rejoined() {
	if s != nil {
		s.audioSet, s.videoSet = false, false
	}
}

// audio is a client's OnAudio.
func (s *saver) audio(p client.Packet) {
	if s.webm == nil {
		s.dropped++
		return
	}
	if !s.audioSet {
		s.audioSet = true
		s.audioZero = p.PTS - (codec.Now() - s.start)
	}
	if s.write(codec.Opus, p.Data, true, p.PTS-s.audioZero) {
		s.packets++
	}
}

func (s *saver) write(c codec.Codec, data []byte, key bool, at time.Duration) bool {
	if s.webm == nil || s.err != nil {
		s.dropped++
		return false
	}
	f := codec.NewEncodedFrame(len(data))
	defer f.Release()
	f.Codec, f.Key, f.PTS = c, key, at
	f.Data = append(f.Data, data...)
	err := s.webm.Write(f, at)
	switch {
	case err == nil:
		return true
	case errors.Is(err, webm.ErrOrder), errors.Is(err, codec.ErrNeedKey):
		s.dropped++ // reordered on the way: a file wants them in order
	default:
		s.err = err
	}
	return false
}

// Close finishes the file. Without a picture there is nothing to finish.
func (s *saver) Close() error {
	if s == nil {
		return nil
	}
	err := s.err
	if s.webm != nil {
		err = errors.Join(err, s.webm.Close())
	} else if err == nil {
		err = errors.New("--save: no key frame has come: the file is empty")
	}
	return errors.Join(err, s.file.Close())
}

func (s *saver) summary() string {
	return fmt.Sprintf("%s: %dx%d, %d pictures, %d packets of sound, %d not stored",
		s.file.Name(), s.width, s.height, s.frames, s.packets, s.dropped)
}
