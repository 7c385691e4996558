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

	"mixdown/codec"
	"mixdown/codec/vp8"
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

// BuildVideoEncoder implements mediadevices' codec.VideoEncoderBuilder. The size
// is taken from the pictures as they come, the frame rate from p (30 where it
// says none). The result also is a codec.KeyFrameController and a
// codec.BitRateController, and safe for concurrent use.
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

	reading sync.Mutex // held through a whole Read

	mu     sync.Mutex // for what follows; never held while the source is read
	cfg    codec.VideoEncoderConfig
	enc    *vp8.Encoder // nil before the first picture
	closed bool
}

var (
	_ mediacodec.KeyFrameController = (*encoder)(nil)
	_ mediacodec.BitRateController  = (*encoder)(nil)
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
	bps := int(e.bitrate.Load())
	if w, h := p.Rect.Dx(), p.Rect.Dy(); e.enc == nil || w != e.cfg.Width || h != e.cfg.Height {
		if e.enc != nil {
			_ = e.enc.Close() // never fails
		}
		var err error
		e.cfg.Width, e.cfg.Height, e.cfg.BitrateBps = w, h, bps
		if e.enc, err = vp8.NewEncoder(e.cfg); err != nil {
			e.enc = nil
			return nil, err
		}
	}
	if err := e.enc.SetBitrate(bps); err != nil {
		return nil, err
	}
	y, c := p.YOffset(p.Rect.Min.X, p.Rect.Min.Y), p.COffset(p.Rect.Min.X, p.Rect.Min.Y)
	key := e.key.Swap(false)
	f, err := e.enc.Encode(&codec.VideoFrame{
		Width: e.cfg.Width, Height: e.cfg.Height, StrideY: p.YStride, StrideUV: p.CStride, Y: p.Y[y:], U: p.Cb[c:], V: p.Cr[c:],
	}, e.now(), key)
	if key && err != nil {
		e.key.Store(true) // it was not fulfilled
	}
	return f, err
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
	if bps < 10_000 || bps > 100_000_000 {
		return fmt.Errorf("bitrate %d: want 10000..100000000: %w", bps, codec.ErrBadConfig)
	}
	e.bitrate.Store(int64(bps))
	return nil
}

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
