package bench

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"time"

	"mixdown/cmd/mixdown/internal/bench/marker"
	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/cmd/mixdown/internal/tone"
	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/codec/vp8"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

// Clips that fetch-clips.sh makes; with more participants they repeat.
const clipCount = 16

// What the clips are.
var asFetched = layout.Canvas{Width: 640, Height: 360, FPS: 30}

// videoBitrateBps is what a picture of 640x360@30 is sent with; others get what
// their size deserves by the curve of [video.Tier.DefaultBitrate].
const videoBitrateBps = 500_000

// streams makes and holds what is sent; clips are shared as far as they go. Its
// methods may be called side by side.
type streams struct {
	cfg Config

	mu     sync.Mutex
	videos map[madeOf]*once
	quiet  *clip.Clip // with DTX
	steady *clip.Clip
}

// madeOf is what was made of a clip.
type madeOf struct {
	clip     int
	size     layout.Canvas
	numbered bool
}

// once is a clip that the first who wants it makes.
type once struct {
	sync.Once
	clip *clip.Clip
	err  error
}

func newStreams(cfg Config) *streams { return &streams{cfg: cfg, videos: make(map[madeOf]*once)} }

// video returns the i-th participant's pictures, numbered or not.
func (s *streams) video(i int, numbered bool) (*clip.Clip, error) {
	return s.made(i, s.cfg.Video, numbered)
}

// made returns them in another size.
func (s *streams) made(i int, size layout.Canvas, numbered bool) (*clip.Clip, error) {
	n := i%clipCount + 1
	key := madeOf{n, size, numbered}
	s.mu.Lock()
	v := s.videos[key]
	if v == nil {
		v = &once{}
		s.videos[key] = v
	}
	s.mu.Unlock()
	v.Do(func() {
		v.clip, v.err = clip.Load(filepath.Join(s.cfg.Clips, fmt.Sprintf("video-%02d.ivf", n)))
		if v.err != nil {
			v.err = fmt.Errorf("%w (make clips fetches them)", v.err)
		} else if s.cfg.Still || numbered || size != asFetched {
			fetched := v.clip
			v.clip, v.err = s.kept(fetched, size, numbered, func() (*clip.Clip, error) {
				if s.cfg.Still {
					return still(fetched, size)
				}
				return remake(fetched, size, numbered)
			})
		}
	})
	return v.clip, v.err
}

// speech returns the i-th participant's words with his tone, and his probe if he
// is one of several talkers.
func (s *streams) speech(i, talkers int) (*clip.Clip, error) {
	speech, err := clip.Load(filepath.Join(s.cfg.Clips, fmt.Sprintf("speech-%02d.ogg", i%clipCount+1)))
	if err != nil {
		return nil, fmt.Errorf("%w (make clips fetches them)", err)
	}
	spec := tone.Spec{
		Hz: toneOf(i), Level: toneLevel, Speech: speech, SpeechGain: 0.5,
		Noise: quietNoise, Duration: soundSeconds * time.Second,
	}
	if p, ok := probeOf(i, talkers); ok {
		spec.Add = p.add
	}
	return tone.Make(spec)
}

// quietNoise is the amplitude of a room in which nobody speaks: nobody is
// perfectly silent.
const quietNoise = 0.0003

// silence returns what somebody sends who says nothing: with DTX, as browsers do
// when the answer allows it, which is three packets a second; or steady, every
// packet of a quiet room, so that what follows can begin on time.
func (s *streams) silence(steady bool) (*clip.Clip, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.quiet
	if steady {
		c = &s.steady
	}
	if *c == nil {
		made, err := tone.Make(tone.Spec{
			Noise: quietNoise, Duration: soundSeconds * time.Second, Encoder: opus.EncoderConfig{DTX: !steady},
		})
		if err != nil {
			return nil, err
		}
		*c = made
	}
	return *c, nil
}

// encoding is how a participant's picture is coded.
func encoding(to layout.Canvas) codec.VideoEncoderConfig {
	share := float64(video.Tier{Width: to.Width, Height: to.Height, FPS: to.FPS}.DefaultBitrate()) /
		float64(video.Tier{Width: asFetched.Width, Height: asFetched.Height, FPS: asFetched.FPS}.DefaultBitrate())
	return codec.VideoEncoderConfig{
		Width: to.Width, Height: to.Height, FPS: to.FPS, BitrateBps: int(math.Round(videoBitrateBps * share)),
	}
}

// remake decodes a clip and codes it again at another size and rate, if so wanted
// with its number on each picture: that of its unit. It takes about 2 ms of CPU for a
// picture of 640x360.
func remake(c *clip.Clip, to layout.Canvas, numbered bool) (out *clip.Clip, err error) {
	dec, err := vp8.NewDecoder(vp8.DecoderConfig{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dec.Close()) }()
	picture, err := codec.NewVideoPool(int64(codec.VideoFrameBytes(to.Width, to.Height))).Get(to.Width, to.Height)
	if err != nil {
		return nil, err
	}
	defer picture.Release()
	step := time.Second / time.Duration(to.FPS)
	var decoded time.Duration // media time up to which src is decoded
	src := 0
	return film(to, min(int(c.Duration()/step), marker.Numbers), func(n, unit int) (*codec.VideoFrame, error) {
		// The picture of this instant: some are left out, or come twice.
		for ; src < len(c.Units) && (src == 0 || decoded <= time.Duration(n)*step); src++ {
			if err := dec.Decode(c.Units[src].Data); err != nil {
				return nil, fmt.Errorf("picture %d: %w", src, err)
			}
			decoded += c.Units[src].Duration
		}
		if err := dec.Picture(picture); err != nil || !numbered {
			return picture, err
		}
		return picture, marker.DrawNumber(picture, unit)
	})
}

// film codes n pictures; picture gets the number of each and that of the unit it
// becomes. The two differ where rate control leaves one out: then the one before
// lasts longer.
func film(to layout.Canvas, n int, picture func(n, unit int) (*codec.VideoFrame, error)) (out *clip.Clip, err error) {
	enc, err := vp8.NewEncoder(encoding(to))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, enc.Close()) }()
	out = &clip.Clip{Codec: codec.VP8, Width: to.Width, Height: to.Height}
	step := time.Second / time.Duration(to.FPS)
	for i := range n {
		p, err := picture(i, len(out.Units))
		if err != nil {
			return nil, err
		}
		f, err := enc.Encode(p, time.Duration(i)*step, false)
		if errors.Is(err, codec.ErrDropped) && len(out.Units) > 0 {
			out.Units[len(out.Units)-1].Duration += step
			continue
		}
		if err != nil {
			return nil, err
		}
		out.Units = append(out.Units, clip.Unit{Data: append([]byte(nil), f.Data...), Duration: step, Key: f.Key})
		f.Release()
	}
	if len(out.Units) == 0 {
		return nil, errors.New("a clip too short for one picture")
	}
	return out, nil
}

// beep is a loop of sound in which a marker sounds once.
type beep struct {
	id   int
	clip *clip.Clip
	// input is the sample of the loop at which the marker begins, as captured;
	// coded is where it begins in what a decoder makes of the loop.
	input, coded int
}

// beepAt is where in its loop a marker begins: within the second packet, so that
// a decoder that comes from other sound has settled.
const beepAt = codec.FrameSamples

// beepAmplitude is that of somebody who speaks up.
const beepAmplitude = 0.25

// makeBeep makes a loop of that length with marker id, beginning offset samples
// later than beepAt.
func makeBeep(id, offset int, length time.Duration) (*beep, error) {
	b := &beep{id: id, input: beepAt + offset}
	c, err := tone.Make(tone.Spec{
		Noise: quietNoise, Duration: length,
		Add: func(pcm []int16, from int) { marker.AddSound(pcm, b.input-from, id, beepAmplitude) },
	})
	if err != nil {
		return nil, err
	}
	b.clip = c
	// What is coded is known only by decoding it, as the server will.
	dec, err := opus.NewDecoder()
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	var pcm []int16
	var buf [codec.MaxPacketSamples]int16
	for _, u := range c.Units[:min(len(c.Units), 10)] {
		n, err := dec.Decode(u.Data, buf[:])
		if err != nil {
			return nil, err
		}
		pcm = append(pcm, buf[:n]...)
	}
	at, fit := marker.FindSound(pcm, id)
	if fit < marker.FoundAt {
		return nil, fmt.Errorf("marker %d is not to be found in its own loop: fit %.2f, want %.2f", id, fit, marker.FoundAt)
	}
	b.coded = at
	return b, nil
}
