package bench

import (
	"errors"
	"fmt"
	"image"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/codec/vp8"
	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
)

// tint is the colour of a picture that is nothing else: it can be found wherever
// a layout puts it and however large. How light it is changes with every picture,
// so that a tile that stands still shows as well.
type tint struct{ u, v uint8 }

// tints are far from each other and from what cameras see.
var tints = []tint{{50, 200}, {200, 50}, {210, 205}, {45, 60}}

// A tint goes from tintDark to tintLight and back in steps of tintStep.
const (
	tintDark, tintLight, tintStep = 60, 200, 5
	tintPeriod                    = 2 * (tintLight - tintDark) / tintStep
	// tintNear is how far a colour may be off after coding, twice. Steps of light
	// below tintSame are coding noise.
	tintNear = 20
	tintSame = tintStep / 2.0
)

// light returns how light the n-th picture is.
func (tint) light(n int) uint8 {
	n %= tintPeriod
	return uint8(tintDark + tintStep*min(n, tintPeriod-n))
}

// film returns a loop of it.
func (t tint) film(to layout.Canvas) (*clip.Clip, error) {
	picture, err := codec.NewVideoPool(int64(codec.VideoFrameBytes(to.Width, to.Height))).Get(to.Width, to.Height)
	if err != nil {
		return nil, err
	}
	defer picture.Release()
	return film(to, 5*tintPeriod, func(n, _ int) (*codec.VideoFrame, error) {
		return picture, yuv.Fill(picture, image.Rect(0, 0, to.Width, to.Height), t.light(n), t.u, t.v)
	})
}

// find returns what share of a picture has the colour, and how light that is in
// the middle.
func (t tint) find(f *codec.VideoFrame) (share, light float64) {
	const every = 2 // samples of chroma: enough for a tile of a hundredth
	n, hits, sum := 0, 0, 0
	for y := 0; y < f.Height/2; y += every {
		u, v, luma := f.U[y*f.StrideUV:], f.V[y*f.StrideUV:], f.Y[2*y*f.StrideY:]
		for x := 0; x < f.Width/2; x += every {
			n++
			if near(u[x], t.u) && near(v[x], t.v) {
				hits++
				sum += int(luma[2*x])
			}
		}
	}
	return float64(hits) / float64(max(n, 1)), float64(sum) / float64(max(hits, 1))
}

func near(a, b uint8) bool { return max(a, b)-min(a, b) <= tintNear }

// tintLook is what one picture shows of each tint.
type tintLook struct {
	arrival time.Duration
	share   [4]float64
	light   [4]float64
}

// look decodes pictures. undecodable is when those came that could not be.
func look(pictures []seenPicture, of []tint) (looks []tintLook, undecodable []time.Duration, err error) {
	dec, err := vp8.NewDecoder(vp8.DecoderConfig{MaxWidth: layout.MaxSide, MaxHeight: layout.MaxSide})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, dec.Close()) }()
	pool := codec.NewVideoPool(1 << 30)
	for _, p := range pictures {
		if dec.Decode(p.data) != nil {
			undecodable = append(undecodable, p.arrival)
			continue
		}
		picture, err := pool.Get(dec.Size())
		if err != nil {
			return nil, nil, err
		}
		err = dec.Picture(picture)
		l := tintLook{arrival: p.arrival}
		for i, t := range of {
			if err == nil {
				l.share[i], l.light[i] = t.find(picture)
			}
		}
		picture.Release()
		if err != nil {
			return nil, nil, err
		}
		looks = append(looks, l)
	}
	return looks, undecodable, nil
}

// judgeLooks counts the pictures of a span, and those in which one of the first
// n tints covers less than its share; freezes are the times during which one
// stayed the same.
func judgeLooks(looks []tintLook, n int, s span, least float64) (decoded, black int, freezes []client.Gap) {
	var light [4]float64
	var since [4]time.Duration
	for _, l := range looks {
		if l.arrival <= s.from || l.arrival > s.to {
			continue
		}
		decoded++
		dark := false
		for i := range n {
			if since[i] == 0 {
				since[i] = s.from
			}
			if l.share[i] < least {
				dark = true
				continue
			}
			if d := l.light[i] - light[i]; d < -tintSame || d > tintSame {
				freezes = append(freezes, client.Gap{End: l.arrival, Length: l.arrival - since[i]})
				light[i], since[i] = l.light[i], l.arrival
			}
		}
		if dark {
			black++
		}
	}
	for i := range n {
		if since[i] > 0 { // one that is open at the end
			freezes = append(freezes, client.Gap{End: s.to, Length: s.to - since[i]})
		}
	}
	return decoded, black, freezes
}

// firstDecoded returns when the first picture that can be decoded had come, from
// the moment the offer was posted.
func (m *member) firstDecoded() (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dec, err := vp8.NewDecoder(vp8.DecoderConfig{MaxWidth: layout.MaxSide, MaxHeight: layout.MaxSide})
	if err != nil {
		return 0, err
	}
	for _, p := range m.firsts {
		if dec.Decode(p.data) == nil {
			return m.client.Stats().VideoReceived.First + p.arrival - m.firsts[0].arrival, dec.Close()
		}
	}
	return 0, errors.Join(fmt.Errorf("%s: none of the first %d pictures could be decoded", m.name(), len(m.firsts)), dec.Close())
}
