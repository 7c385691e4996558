// Package resize sends a stored picture as small as the server asks for: what is
// asked for in full goes out as it was stored, the rest is decoded, scaled and
// coded anew while it is played.
//
//	source, err := resize.Loop(c) // a client.Resizer
//	defer source.Close()
package resize

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/codec/vp8"
)

// Size returns how large a picture of w x h is to be for a target: its shape,
// within the target's bounds, even, and never enlarged. It is not less than the
// 16x16 that encoders want.
func Size(w, h int, t codec.UplinkTarget) (int, int) {
	outW, outH := w, h
	if t.Width > 0 && outW > t.Width {
		outW, outH = t.Width, nearestEven(h*t.Width, w)
	}
	if t.Height > 0 && outH > t.Height {
		outW, outH = nearestEven(w*t.Height, h), t.Height
	}
	return max(outW&^1, 16), max(outH&^1, 16)
}

// nearestEven is a/b rounded to an even number.
func nearestEven(a, b int) int { return (a + b) / (2 * b) * 2 }

// Player plays a clip for ever, at the size that is asked for. It is a
// client.Resizer.
type Player struct {
	clip *clip.Clip
	fps  float64 // of the clip

	mu      sync.Mutex
	target  codec.UplinkTarget // under mu
	changed bool               // the target, since Next looked last; under mu
	restart bool               // a key frame is wanted; under mu

	// Of Next and Close, one at a time.
	using   sync.Mutex
	closed  bool
	player  *clip.Player
	dec     *vp8.Decoder // nil while the clip goes out as it is
	enc     *vp8.Encoder
	cfg     codec.VideoEncoderConfig
	picture *codec.VideoFrame
	last    *codec.EncodedFrame // that Next returned
	step    int                 // of so many of the clip's pictures one is sent
	skip    int                 // of the next ones so many are not
	pts     time.Duration
}

// Loop returns a player of a clip of VP8. The clip may be shared.
func Loop(c *clip.Clip) (*Player, error) {
	if c.Codec != codec.VP8 || len(c.Units) == 0 {
		return nil, fmt.Errorf("%w: want pictures in VP8", clip.ErrFormat)
	}
	// The header says so as well, and need not tell the truth.
	head, err := vp8.ParseHeader(c.Units[0].Data)
	if err != nil || !head.Key {
		return nil, fmt.Errorf("%w: the first picture is no key frame", clip.ErrFormat)
	}
	p := &Player{clip: c, player: c.Play(), step: 1}
	p.cfg.Width, p.cfg.Height = head.Width, head.Height
	p.fps = float64(len(c.Units)) / c.Duration().Seconds()
	return p, nil
}

// Limit implements client.Resizer.
func (p *Player) Limit(t codec.UplinkTarget) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed = p.changed || t != p.target
	p.target = t
}

// RequestKeyframe implements client.Source.
func (p *Player) RequestKeyframe() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restart = true
}

// Live implements client.Source.
func (p *Player) Live() bool { return false }

// Next implements client.Source. A unit without data is a picture that the
// encoder left out.
func (p *Player) Next(context.Context) (clip.Unit, error) {
	p.using.Lock()
	defer p.using.Unlock()
	if p.closed {
		return clip.Unit{}, codec.ErrClosed
	}
	p.mu.Lock()
	target, changed, key := p.target, p.changed, p.restart
	p.changed, p.restart = false, false
	p.mu.Unlock()
	if p.last != nil {
		p.last.Release()
		p.last = nil
	}
	if changed {
		if err := p.follow(target); err != nil {
			return clip.Unit{}, err
		}
	}
	if p.enc == nil {
		if key {
			p.player.Restart()
		}
		return p.player.Next(), nil
	}
	return p.transcode(key)
}

// follow sets up what a target needs.
func (p *Player) follow(t codec.UplinkTarget) error {
	head, err := vp8.ParseHeader(p.clip.Units[0].Data)
	if err != nil {
		return err
	}
	cfg := codec.VideoEncoderConfig{FPS: max(1, int(p.fps+0.5)), BitrateBps: t.BitrateBps}
	cfg.Width, cfg.Height = Size(head.Width, head.Height, t)
	p.step = 1
	if t.FPS > 0 {
		p.step = max(1, int(p.fps/float64(t.FPS)+0.5))
		cfg.FPS = max(1, cfg.FPS/p.step)
	}
	stored := int(float64(8*p.clip.Bytes()) / p.clip.Duration().Seconds())
	if t.BitrateBps == 0 || t.BitrateBps > stored {
		cfg.BitrateBps = stored // what it is coded from is no better
	}
	if cfg.Width == head.Width && cfg.Height == head.Height && p.step == 1 {
		p.free() // whatever the bitrate: the clip is what it is
		p.player.Restart()
		return nil
	}
	if p.enc != nil && cfg.Width == p.cfg.Width && cfg.Height == p.cfg.Height && cfg.FPS == p.cfg.FPS {
		p.cfg = cfg
		return p.enc.SetBitrate(cfg.BitrateBps)
	}
	if p.dec == nil {
		if p.dec, err = vp8.NewDecoder(vp8.DecoderConfig{}); err != nil {
			p.dec = nil
			return err
		}
		p.player.Restart()
	}
	if p.enc != nil {
		_ = p.enc.Close() // never fails
	}
	if p.enc, err = vp8.NewEncoder(cfg); err != nil {
		p.enc = nil
		return err
	}
	if p.picture != nil {
		p.picture.Release()
	}
	p.picture, err = codec.NewVideoPool(int64(codec.VideoFrameBytes(cfg.Width, cfg.Height))).Get(cfg.Width, cfg.Height)
	p.cfg, p.skip = cfg, 0
	return err
}

// transcode codes the clip's next picture that counts.
func (p *Player) transcode(key bool) (clip.Unit, error) {
	for ; p.skip > 0; p.skip-- {
		if err := p.dec.Decode(p.player.Next().Data); err != nil {
			return clip.Unit{}, fmt.Errorf("decoding the clip: %w", err)
		}
	}
	u := p.player.Next()
	if err := p.dec.Decode(u.Data); err != nil {
		return clip.Unit{}, fmt.Errorf("decoding the clip: %w", err)
	}
	if err := p.dec.Picture(p.picture); err != nil {
		return clip.Unit{}, err
	}
	p.skip = p.step - 1
	u.Duration *= time.Duration(p.step)
	f, err := p.enc.Encode(p.picture, p.pts, key)
	p.pts += u.Duration
	switch {
	case errors.Is(err, codec.ErrDropped):
		if key {
			p.RequestKeyframe()
		}
		return clip.Unit{Duration: u.Duration}, nil
	case err != nil:
		return clip.Unit{}, err
	}
	p.last = f
	return clip.Unit{Data: f.Data, Duration: u.Duration, Key: f.Key}, nil
}

// free gives the codecs back.
func (p *Player) free() {
	if p.dec != nil {
		_ = p.dec.Close() // neither fails
		p.dec = nil
	}
	if p.enc != nil {
		_ = p.enc.Close()
		p.enc = nil
	}
	if p.picture != nil {
		p.picture.Release()
		p.picture = nil
	}
}

// Close frees the codecs; twice is fine. Next fails afterwards.
func (p *Player) Close() error {
	p.using.Lock()
	defer p.using.Unlock()
	p.closed = true
	if p.last != nil {
		p.last.Release()
		p.last = nil
	}
	p.free()
	return nil
}
