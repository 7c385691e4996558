// Package device captures camera and microphone through pion/mediadevices and
// codes what it captures with the project's own encoders: those of mediadevices
// take several times the CPU.
//
// A [Camera] and a [Microphone] are sources for package client. Each has a
// goroutine that reads the device and encodes; a reader that is too slow loses
// what is newest, counted. A [Speaker] plays what is pulled.
package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/mediadevices"
	mediacodec "github.com/pion/mediadevices/pkg/codec"
	_ "github.com/pion/mediadevices/pkg/driver/camera" // finds /dev/video*; harmless without
	"github.com/pion/mediadevices/pkg/frame"
	"github.com/pion/mediadevices/pkg/prop"
	"github.com/pion/mediadevices/pkg/wave"
	"github.com/pion/webrtc/v4"

	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/cmd/mixdown/internal/mediaencoder"
	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/codec/vp8"
)

// queueLength bounds the coded units that wait for a reader; more are dropped
// and counted in Dropped.
const queueLength = 8

// capture is what both devices have in common.
type capture struct {
	units   chan clip.Unit
	track   mediadevices.Track
	done    chan struct{} // closed when the goroutine has ended
	err     error         // why; set before done is closed
	key     atomic.Bool
	dropped atomic.Uint64
	once    sync.Once
	ending  atomic.Bool
}

func start(track mediadevices.Track, run func(*capture) error) *capture {
	c := &capture{units: make(chan clip.Unit, queueLength), track: track, done: make(chan struct{})}
	go func() { // Close waits for it
		defer close(c.done)
		c.err = run(c)
		if c.err == nil || errors.Is(c.err, io.EOF) {
			c.err = errors.New("the device has ended")
		}
	}()
	return c
}

func (c *capture) put(u clip.Unit) {
	select {
	case c.units <- u:
	default:
		c.dropped.Add(1)
	}
}

// Next waits for the next coded unit.
func (c *capture) Next(ctx context.Context) (clip.Unit, error) {
	select {
	case u := <-c.units:
		return u, nil
	case <-c.done:
		return clip.Unit{}, c.err
	case <-ctx.Done():
		return clip.Unit{}, ctx.Err()
	}
}

// RequestKeyframe makes the next picture a key frame.
func (c *capture) RequestKeyframe() { c.key.Store(true) }

// Live is true: devices keep their own time.
func (c *capture) Live() bool { return true }

// Dropped is the number of units lost because nobody read them.
func (c *capture) Dropped() uint64 { return c.dropped.Load() }

// closeAfter is how long a device may take to give the unit that lets its
// reader see the end.
const closeAfter = time.Second

// Close stops the device and waits for the goroutine; twice is fine. The reader
// ends first: some drivers never wake one that they are closed under. One
// that hangs for good is left behind, with an error.
func (c *capture) Close() error {
	var err error
	c.once.Do(func() {
		c.ending.Store(true)
		select {
		case <-c.done:
		case <-time.After(closeAfter):
		}
		err = c.track.Close()
		select {
		case <-c.done:
		case <-time.After(closeAfter):
			err = errors.Join(err, errors.New("the device does not react"))
		}
	})
	return err
}

// CameraConfig says what to ask of the camera; it gives what it can.
type CameraConfig struct {
	// Width, Height and FPS default to 640, 360 and 30.
	Width, Height, FPS int
	// BitrateBps defaults to 500,000.
	BitrateBps int
}

// Camera is an open camera. It implements client.Resizer.
type Camera struct {
	*capture
	limiter mediaencoder.Limiter
}

// Limit implements client.Resizer.
func (c *Camera) Limit(t codec.UplinkTarget) { c.limiter.Limit(t) }

// OpenCamera opens the best camera there is. The error says when there is none.
func OpenCamera(cfg CameraConfig) (*Camera, error) {
	if cfg.Width == 0 || cfg.Height == 0 {
		cfg.Width, cfg.Height = 640, 360
	}
	if cfg.FPS == 0 {
		cfg.FPS = 30
	}
	if cfg.BitrateBps == 0 {
		cfg.BitrateBps = 500_000
	}
	selector := mediadevices.NewCodecSelector(mediadevices.WithVideoEncoders(&mediaencoder.VP8{BitrateBps: cfg.BitrateBps}))
	stream, err := mediadevices.GetUserMedia(mediadevices.MediaStreamConstraints{
		Codec: selector,
		Video: func(c *mediadevices.MediaTrackConstraints) {
			c.Width, c.Height = prop.Int(cfg.Width), prop.Int(cfg.Height)
			c.FrameRate = prop.Float(cfg.FPS)
			c.FrameFormat = prop.FrameFormatOneOf{frame.FormatI420, frame.FormatYUYV, frame.FormatYUY2, frame.FormatUYVY, frame.FormatNV12, frame.FormatMJPEG, frame.FormatI444}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("no camera to be had (is there a /dev/video0 that this user may read?): %w", err)
	}
	track := stream.GetVideoTracks()[0].(*mediadevices.VideoTrack)
	reader, err := track.NewEncodedReader(webrtc.MimeTypeVP8)
	if err != nil {
		return nil, errors.Join(err, track.Close())
	}
	limiter, ok := reader.Controller().(mediaencoder.Limiter)
	if !ok {
		return nil, errors.Join(errors.New("the camera's encoder is not ours"), reader.Close(), track.Close())
	}
	return &Camera{start(track, func(c *capture) error { return film(c, reader) }), limiter}, nil
}

// film reads coded pictures until the track ends.
func film(c *capture, reader mediadevices.EncodedReadCloser) (err error) {
	defer func() { err = errors.Join(err, reader.Close()) }()
	keys, _ := reader.Controller().(mediacodec.KeyFrameController)
	for {
		if c.key.Swap(false) && keys != nil {
			if err := keys.ForceKeyFrame(); err != nil {
				return err
			}
		}
		coded, release, err := reader.Read()
		if err != nil {
			return err
		}
		head, err := vp8.ParseHeader(coded.Data)
		if err == nil {
			c.put(clip.Unit{Data: append([]byte(nil), coded.Data...), Key: head.Key})
		}
		release()
		if err != nil {
			return err
		}
		if c.ending.Load() {
			return io.EOF
		}
	}
}

// Microphone is an open microphone. It implements client.Source.
type Microphone struct{ *capture }

// OpenMicrophone opens the default microphone. The error says when there is none.
func OpenMicrophone() (*Microphone, error) {
	if err := registerMicrophones(); err != nil {
		return nil, err
	}
	return openMicrophone()
}

func openMicrophone() (*Microphone, error) {
	stream, err := mediadevices.GetUserMedia(mediadevices.MediaStreamConstraints{
		Audio: func(c *mediadevices.MediaTrackConstraints) {
			c.SampleRate, c.ChannelCount = prop.IntExact(codec.SampleRate), prop.Int(1)
			c.Latency = prop.Duration(codec.FrameDuration)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("no microphone to be had: %w", err)
	}
	track := stream.GetAudioTracks()[0].(*mediadevices.AudioTrack)
	return &Microphone{start(track, func(c *capture) error { return listen(c, track) })}, nil
}

// listen reads and encodes sound until the track ends.
func listen(c *capture, track *mediadevices.AudioTrack) error {
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		return err
	}
	defer enc.Close()
	reader := track.NewReader(false)
	var (
		pcm    codec.AudioFrame
		filled int
		packet [1275]byte
	)
	for {
		chunk, release, err := reader.Read()
		if err != nil {
			return err
		}
		info := chunk.ChunkInfo()
		for i := range info.Len {
			if pcm[filled], err = mono(chunk, i, info.Channels); err != nil {
				release()
				return err
			}
			if filled++; filled < len(pcm) {
				continue
			}
			filled = 0
			n, err := enc.Encode(&pcm, packet[:])
			if err != nil {
				release()
				return err
			}
			c.put(clip.Unit{
				Data: append([]byte(nil), packet[:n]...), Key: true,
				Duration: codec.FrameDuration, Level: clip.LevelOf(pcm[:]),
			})
		}
		release()
		if c.ending.Load() {
			return io.EOF
		}
	}
}

// mono is one sample, the mean of all channels.
func mono(chunk wave.Audio, i, channels int) (int16, error) {
	switch chunk := chunk.(type) {
	case *wave.Int16Interleaved:
		sum := 0
		for ch := range channels {
			sum += int(chunk.Data[i*channels+ch])
		}
		return int16(sum / channels), nil
	case *wave.Float32Interleaved:
		var sum float32
		for ch := range channels {
			sum += chunk.Data[i*channels+ch]
		}
		return int16(min(max(sum/float32(channels)*32767, -32768), 32767)), nil
	}
	return 0, fmt.Errorf("microphone gives %T: want interleaved samples", chunk)
}
