// Package mediaencoder lets pion/mediadevices encode with the project's own VP8
// encoder:
//
//	selector := mediadevices.NewCodecSelector(
//		mediadevices.WithVideoEncoders(&mediaencoder.VP8{BitrateBps: 1_000_000}))
//
// mediadevices' own VP8 encoder configures libvpx anew for every picture, which
// costs several times the CPU and misses the bitrate, and holds its lock
// while it waits for the camera, so that a key frame cannot be asked for in
// the meantime.
package mediaencoder

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"io"
	"sync"
	"sync/atomic"
	"time"

	mediacodec "github.com/pion/mediadevices/pkg/codec"
	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"

	"mixdown/cmd/mixdown/internal/resize"
	"mixdown/codec"
	"mixdown/codec/vp8"
	"mixdown/codec/yuv"
)

// VP8 builds encoders. It implements mediadevices' codec.VideoEncoderBuilder.
// The zero value is good.
type VP8 struct {
	// BitrateBps is the target. Defaults to 1,000,000.
	BitrateBps int
	// Screen tunes for a shared screen instead of a camera.
	Screen bool
	// Now is the clock that pictures are timed by. Defaults to the time
	// since the encoder was built.
	Now func() time.Duration
}

var _ mediacodec.VideoEncoderBuilder = (*VP8)(nil)

// RTPCodec implements mediadevices' codec.VideoEncoderBuilder.
func (b *VP8) RTPCodec() *mediacodec.RTPCodec { return mediacodec.NewRTPVP8Codec(90_000) }

// Limiter is what BuildVideoEncoder's encoders are besides.
type Limiter interface {
	// Limit bounds size, rate and bitrate from the next picture on. It does not
	// block.
	Limit(codec.UplinkTarget)
}

// BuildVideoEncoder implements mediadevices' codec.VideoEncoderBuilder. The size
// is taken from the pictures as they come, the frame rate from p (30 where it
// says none). The result also is a codec.KeyFrameController, a
// codec.BitRateController and a [Limiter], and safe for concurrent use.
func (b *VP8) BuildVideoEncoder(r video.Reader, p prop.Media) (mediacodec.ReadCloser, error) {
	e := &encoder{source: video.ToI420(r), now: b.Now}
	e.cfg = codec.VideoEncoderConfig{FPS: int(p.FrameRate + 0.5), Screen: b.Screen}
	if e.cfg.FPS < 1 {
		e.cfg.FPS = 30
	}
	if err := e.SetBitRate(cmp.Or(b.BitrateBps, 1_000_000)); err != nil {
		return nil, err
	}
	if e.now == nil {
		begin := time.Now()
		e.now = func() time.Duration { return time.Since(begin) }
	}
	return e, nil
}

type encoder struct {
	source  video.Reader // read by one Read at a time
	now     func() time.Duration
	key     atomic.Bool  // wanted
	bitrate atomic.Int64 // wanted
	limit   atomic.Pointer[codec.UplinkTarget]

	reading sync.Mutex // held through a whole Read

	mu     sync.Mutex // for what follows; never held while the source is read
	cfg    codec.VideoEncoderConfig
	enc    *vp8.Encoder // nil before the first picture
	closed bool
	scaled *codec.VideoFrame // scratch, of the size of cfg; nil where nothing is scaled
	due    time.Duration     // when the next picture is taken, where the rate is bounded
}

var (
	_ mediacodec.KeyFrameController = (*encoder)(nil)
	_ mediacodec.BitRateController  = (*encoder)(nil)
	_ Limiter                       = (*encoder)(nil)
)

// Read waits for the source's next picture and returns it coded. The bytes are
// the caller's until release; without release they are left to the garbage
// collector, and to release twice (mediadevices does) is fine. A picture of
// another size makes a new stream, which begins with a key frame. io.EOF after
// Close.
func (e *encoder) Read() (b []byte, release func(), err error) {
	e.reading.Lock()
	defer e.reading.Unlock()
	for {
		if e.isClosed() {
			return nil, func() {}, io.EOF
		}
		img, done, err := e.source.Read()
		if err != nil {
			return nil, func() {}, err
		}
		f, err := e.encode(img)
		done()
		switch {
		case errors.Is(err, codec.ErrDropped):
			continue
		case err != nil:
			return nil, func() {}, err
		}
		return f.Data, sync.OnceFunc(f.Release), nil
	}
}

func (e *encoder) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

func (e *encoder) encode(img image.Image) (*codec.EncodedFrame, error) {
	p, ok := img.(*image.YCbCr)
	if !ok || p.SubsampleRatio != image.YCbCrSubsampleRatio420 {
		return nil, fmt.Errorf("picture of type %T: want 4:2:0: %w", img, codec.ErrBadConfig)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, io.EOF
	}
	now := e.now()
	limit, bps := codec.UplinkTarget{}, int(e.bitrate.Load())
	if l := e.limit.Load(); l != nil {
		limit = *l
	}
	if limit.BitrateBps > 0 {
		bps = min(bps, max(limit.BitrateBps, minBitrate))
	}
	if !e.takes(now, limit.FPS) {
		return nil, codec.ErrDropped
	}
	y, c := p.YOffset(p.Rect.Min.X, p.Rect.Min.Y), p.COffset(p.Rect.Min.X, p.Rect.Min.Y)
	src := &codec.VideoFrame{
		Width: p.Rect.Dx(), Height: p.Rect.Dy(), StrideY: p.YStride, StrideUV: p.CStride, Y: p.Y[y:], U: p.Cb[c:], V: p.Cr[c:],
	}
	if err := e.resize(src.Width, src.Height, limit, bps); err != nil {
		return nil, err
	}
	if e.scaled != nil {
		if err := yuv.Scale(e.scaled, src); err != nil {
			return nil, err
		}
		src = e.scaled
	}
	if err := e.enc.SetBitrate(bps); err != nil {
		return nil, err
	}
	key := e.key.Swap(false)
	f, err := e.enc.Encode(src, now, key)
	if key && err != nil {
		e.key.Store(true) // it was not fulfilled
	}
	return f, err
}

// takes reports whether the picture of that time is to be coded at so many a
// second; 0 is all. The caller holds mu.
func (e *encoder) takes(now time.Duration, fps int) bool {
	if fps <= 0 || fps >= e.cfg.FPS {
		return true
	}
	step := time.Second / time.Duration(fps)
	if now < e.due-step/4 { // a camera is not punctual
		return false
	}
	e.due = max(e.due+step, now)
	return true
}

// resize makes the encoder, anew where the size changes, for pictures of w x h.
// The caller holds mu.
func (e *encoder) resize(w, h int, limit codec.UplinkTarget, bps int) error {
	outW, outH := w, h
	if limit.Width > 0 || limit.Height > 0 {
		outW, outH = resize.Size(w, h, limit)
	}
	scales := outW != w || outH != h
	if e.enc != nil && outW == e.cfg.Width && outH == e.cfg.Height && scales == (e.scaled != nil) {
		return nil
	}
	if e.enc != nil {
		_ = e.enc.Close() // never fails
	}
	e.enc, e.scaled = nil, nil
	e.cfg.Width, e.cfg.Height, e.cfg.BitrateBps = outW, outH, bps
	enc, err := vp8.NewEncoder(e.cfg)
	if err != nil {
		return err
	}
	e.enc = enc
	if scales {
		e.scaled, err = codec.NewVideoPool(int64(codec.VideoFrameBytes(outW, outH))).Get(outW, outH)
	}
	return err
}

// Controller implements mediadevices' codec.Controllable.
func (e *encoder) Controller() mediacodec.EncoderController { return e }

// ForceKeyFrame makes the next picture a key frame. It does not block.
func (e *encoder) ForceKeyFrame() error {
	e.key.Store(true)
	return nil
}

// SetBitRate changes the target from the next picture on. It does not block.
func (e *encoder) SetBitRate(bps int) error {
	if bps < minBitrate || bps > 100_000_000 {
		return fmt.Errorf("bitrate %d: want %d..100000000: %w", bps, minBitrate, codec.ErrBadConfig)
	}
	e.bitrate.Store(int64(bps))
	return nil
}

const minBitrate = 10_000

// Limit implements [Limiter].
func (e *encoder) Limit(t codec.UplinkTarget) { e.limit.Store(&t) }

// Close frees the encoder. It does not wait for a Read that waits for the
// source; that Read returns io.EOF with the source's next picture.
func (e *encoder) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.enc == nil {
		return nil
	}
	err := e.enc.Close()
	e.enc = nil
	return err
}
