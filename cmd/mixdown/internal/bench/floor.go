package bench

import (
	"errors"
	"fmt"
	"image"
	"slices"
	"time"

	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/codec/codectest/floor"
	"mixdown/codec/opus"
	"mixdown/codec/vp8"
	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

// Floor is what raw libvpx and libopus need for a run's work, in cores.
type Floor struct {
	// VideoDecode is one decode of every participant's picture at the size sent.
	VideoDecode float64 `json:"videoDecode"`
	// VideoEncode is one encode per running tier.
	VideoEncode float64 `json:"videoEncode"`
	// AudioEncode is talkers+1 Opus encodes, AudioDecode the talkers' decodes.
	AudioEncode float64 `json:"audioEncode"`
	AudioDecode float64 `json:"audioDecode"`
	Total       float64 `json:"total"`
}

// floorWork is what the floor is measured with: the clips and sounds of the run.
type floorWork struct {
	videos  [][][]byte
	audios  [][][]byte
	tiers   []video.Tier
	canvas  map[video.Tier][]*codec.VideoFrame
	ticks   []codec.AudioFrame
	talkers int
	rates   []float64 // of videos, in pictures a second
}

// fps is the highest of the videos' rates.
func (w *floorWork) fps() float64 {
	if len(w.rates) == 0 {
		return 0
	}
	return slices.Max(w.rates)
}

// expected is what a member will probably be asked to send, in a grid of so many.
func (m *member) expected(cfg Config, people int) *clip.Clip {
	tiles := layout.Arrange(cfg.Canvas, people)
	if !cfg.Uplink || cfg.Arrangement != nil || len(tiles) == 0 {
		return m.video.playing()
	}
	all := rungs(cfg.Video)
	size := all[0]
	for _, r := range all {
		if r.Height >= tiles[0].H {
			size = r
		}
	}
	return m.video.sized(codec.UplinkTarget{Width: size.Width, Height: size.Height, FPS: size.FPS})
}

// Settings of the server's encoders, which it does not offer to change: libvpx
// speed and layers as mixer/video asks for, Opus as the server makes it.
const (
	floorSpeed      = 0 // the codec's default, as for a room
	floorLayers     = 2
	floorBitrateBps = 32_000
	floorComplexity = 5
	// floorPictures of a canvas are encoded: 3 s, so that the key frame at the
	// start weighs no more than it does in a real room.
	floorPictures = 90
)

// films are what each member sends; nil is nothing.
func newFloorWork(cfg Config, members []*member, films []*clip.Clip) (*floorWork, error) {
	w := &floorWork{canvas: make(map[video.Tier][]*codec.VideoFrame)}
	for i, m := range members {
		// Of pictures only those that are shown.
		if film := films[i]; film != nil && len(w.videos) < layout.MaxTiles {
			var frames [][]byte
			for _, u := range film.Units {
				frames = append(frames, u.Data)
			}
			w.videos = append(w.videos, frames)
			w.rates = append(w.rates, float64(len(frames))/film.Duration().Seconds())
		}
		if m.talks {
			w.talkers++
			var packets [][]byte
			for _, u := range m.audio.mu.clip.Units[:500] {
				packets = append(packets, u.Data)
			}
			w.audios = append(w.audios, packets)
		}
	}
	var err error
	if w.ticks, err = someSound(w.audios); err != nil || cfg.AudioOnly {
		return w, err
	}
	canvas := cfg.Canvas
	w.tiers = []video.Tier{{Width: canvas.Width, Height: canvas.Height, FPS: canvas.FPS}}
	pool := codec.NewVideoPool(4 << 30)
	full, err := compose(pool, w.videos, canvas)
	if err != nil {
		return nil, err
	}
	for _, t := range w.tiers {
		for _, p := range full {
			if p.Width == t.Width && p.Height == t.Height {
				w.canvas[t] = append(w.canvas[t], p.Retain())
				continue
			}
			scaled, err := pool.Get(t.Width, t.Height)
			if err != nil {
				return nil, err
			}
			if err := yuv.Scale(scaled, p); err != nil {
				return nil, err
			}
			w.canvas[t] = append(w.canvas[t], scaled)
		}
	}
	for _, p := range full {
		p.Release()
	}
	return w, nil
}

// compose draws the canvas as a room would show it: every clip in its tile.
func compose(pool *codec.VideoPool, videos [][][]byte, canvas layout.Canvas) ([]*codec.VideoFrame, error) {
	tiles := layout.Arrange(canvas, len(videos))
	pictures := make([]*codec.VideoFrame, floorPictures)
	for i := range pictures {
		p, err := pool.Get(canvas.Width, canvas.Height)
		if err != nil {
			return nil, err
		}
		if err := yuv.Fill(p, image.Rect(0, 0, canvas.Width, canvas.Height), 16, 128, 128); err != nil {
			return nil, err
		}
		pictures[i] = p
	}
	for n, frames := range videos {
		if n >= len(tiles) {
			break
		}
		dec, err := vp8.NewDecoder(vp8.DecoderConfig{})
		if err != nil {
			return nil, err
		}
		err = drawTile(pool, pictures, frames, dec, tiles[n])
		if err = errors.Join(err, dec.Close()); err != nil {
			return nil, err
		}
	}
	return pictures, nil
}

func drawTile(pool *codec.VideoPool, pictures []*codec.VideoFrame, frames [][]byte, dec *vp8.Decoder, tile layout.Rect) error {
	for i, p := range pictures {
		if err := dec.Decode(frames[i%len(frames)]); err != nil {
			return fmt.Errorf("picture %d: %w", i, err)
		}
		w, h := dec.Size()
		fit := layout.Fit(tile, w, h)
		part, err := pool.Get(fit.W, fit.H)
		if err != nil {
			return err
		}
		if err := dec.Picture(part); err != nil {
			return err
		}
		err = yuv.Blit(p, fit.X, fit.Y, part)
		part.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// someSound is 10 s of what is encoded: two talkers' sum.
func someSound(audios [][][]byte) ([]codec.AudioFrame, error) {
	ticks := make([]codec.AudioFrame, 500)
	for _, packets := range audios[:min(len(audios), 2)] {
		dec, err := opus.NewDecoder()
		if err != nil {
			return nil, err
		}
		var pcm [codec.MaxPacketSamples]int16
		for t := range ticks {
			n, err := dec.Decode(packets[t], pcm[:])
			if err != nil {
				return nil, errors.Join(err, dec.Close())
			}
			for s := range min(n, codec.FrameSamples) {
				ticks[t][s] += pcm[s] / 2
			}
		}
		if err := dec.Close(); err != nil {
			return nil, err
		}
	}
	return ticks, nil
}

// measure runs everything once. It takes about as long as 10 s of the room cost.
func (w *floorWork) measure() (Floor, error) {
	var f Floor
	for i, frames := range w.videos {
		cpu, err := floor.DecodeVP8(frames)
		if err != nil {
			return f, err
		}
		f.VideoDecode += share(cpu, len(frames), w.rates[i])
	}
	for _, t := range w.tiers {
		cpu, err := floor.EncodeVP8(w.canvas[t], codec.VideoEncoderConfig{
			Width: t.Width, Height: t.Height, FPS: t.FPS, BitrateBps: t.DefaultBitrate(), TemporalLayers: floorLayers, Speed: floorSpeed,
		})
		if err != nil {
			return f, err
		}
		f.VideoEncode += share(cpu, floorPictures, float64(t.FPS))
	}
	for _, packets := range w.audios {
		cpu, err := floor.DecodeOpus(packets)
		if err != nil {
			return f, err
		}
		f.AudioDecode += share(cpu, len(packets), 50)
	}
	cpu, err := floor.EncodeOpus(w.ticks, floorBitrateBps, floorComplexity)
	if err != nil {
		return f, err
	}
	f.AudioEncode = float64(w.talkers+1) * share(cpu, len(w.ticks), 50)
	f.Total = f.VideoDecode + f.VideoEncode + f.AudioDecode + f.AudioEncode
	return f, nil
}

// share converts the CPU of n pieces into cores at so many a second.
func share(cpu time.Duration, n int, perSecond float64) float64 {
	return cpu.Seconds() / float64(n) * perSecond
}

// mean of two measurements.
func (f Floor) mean(g Floor) Floor {
	return Floor{
		(f.VideoDecode + g.VideoDecode) / 2, (f.VideoEncode + g.VideoEncode) / 2,
		(f.AudioEncode + g.AudioEncode) / 2, (f.AudioDecode + g.AudioDecode) / 2, (f.Total + g.Total) / 2,
	}
}
