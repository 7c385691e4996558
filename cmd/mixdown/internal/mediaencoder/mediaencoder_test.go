package mediaencoder

import (
	"errors"
	"image"
	"io"
	"testing"
	"time"

	mediacodec "github.com/pion/mediadevices/pkg/codec"
	"github.com/pion/mediadevices/pkg/codec/vpx"
	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"
	"go.uber.org/goleak"

	"mixdown/codec"
	"mixdown/codec/codectest"
	"mixdown/codec/vp8"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// images returns pictures of the test scene as mediadevices hands them out.
func images(t testing.TB, w, h, count int) (list []*image.YCbCr) {
	t.Helper()
	for _, f := range (codectest.Scene{}).Frames(t, w, h, count) {
		list = append(list, &image.YCbCr{
			Y: f.Y, Cb: f.U, Cr: f.V, YStride: f.StrideY, CStride: f.StrideUV,
			SubsampleRatio: image.YCbCrSubsampleRatio420, Rect: image.Rect(0, 0, w, h),
		})
	}
	return list
}

// play reads the pictures one after the other, then io.EOF.
func play(list []*image.YCbCr) video.Reader {
	return video.ReaderFunc(func() (image.Image, func(), error) {
		if len(list) == 0 {
			return nil, func() {}, io.EOF
		}
		p := list[0]
		list = list[1:]
		return p, func() {}, nil
	})
}

func at30() func() time.Duration {
	n := time.Duration(0)
	return func() time.Duration { n++; return n * time.Second / 30 }
}

func build(t testing.TB, r video.Reader) mediacodec.ReadCloser {
	t.Helper()
	e, err := (&VP8{BitrateBps: 500_000, Now: at30()}).BuildVideoEncoder(r, prop.Media{Video: prop.Video{FrameRate: 30}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func TestReadsAndDecodes(t *testing.T) {
	const w, h = 161, 91
	e := build(t, play(append(images(t, w, h, 10), images(t, 2*w, 2*h, 10)...)))
	dec, err := vp8.NewDecoder(vp8.DecoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	for n := range 20 {
		if n == 5 {
			if err := e.Controller().(mediacodec.KeyFrameController).ForceKeyFrame(); err != nil {
				t.Fatal(err)
			}
		}
		b, release, err := e.Read()
		if err != nil {
			t.Fatal(err)
		}
		head, err := vp8.ParseHeader(b)
		if want := n == 0 || n == 5 || n == 10; err != nil || head.Key != want {
			t.Errorf("frame %d: key %v, %v, want %v", n, head.Key, err, want)
		}
		if err := dec.Decode(b); err != nil {
			t.Errorf("frame %d: %v", n, err)
		}
		release()
		release()
		scale := 1 + n/10
		if gw, gh := dec.Size(); gw != scale*w || gh != scale*h {
			t.Errorf("frame %d is %dx%d", n, gw, gh)
		}
	}
	if _, _, err := e.Read(); err != io.EOF {
		t.Errorf("after the last picture: %v, want io.EOF", err)
	}
}

func TestCloses(t *testing.T) {
	e := build(t, play(images(t, 64, 48, 3)))
	if _, _, err := e.Read(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := e.Read(); err != io.EOF {
		t.Errorf("Read after Close: %v, want io.EOF", err)
	}
}

// TestControlsWhileWaiting uses every control while a Read waits for a picture.
func TestControlsWhileWaiting(t *testing.T) {
	waiting, picture := make(chan struct{}), make(chan *image.YCbCr)
	e := build(t, video.ReaderFunc(func() (image.Image, func(), error) {
		close(waiting)
		return <-picture, func() {}, nil
	}))
	ended := make(chan error, 1)
	go func() {
		_, _, err := e.Read()
		ended <- err
	}()
	<-waiting
	c := e.Controller()
	if err := errors.Join(c.(mediacodec.KeyFrameController).ForceKeyFrame(), c.(mediacodec.BitRateController).SetBitRate(200_000), e.Close()); err != nil {
		t.Error(err)
	}
	picture <- images(t, 64, 48, 1)[0]
	if err := <-ended; err != io.EOF {
		t.Errorf("the Read that waited: %v, want io.EOF", err)
	}
}

func TestRefuses(t *testing.T) {
	if _, err := (&VP8{BitrateBps: 1}).BuildVideoEncoder(play(nil), prop.Media{}); !errors.Is(err, codec.ErrBadConfig) {
		t.Errorf("bitrate of 1: %v, want ErrBadConfig", err)
	}
	if _, _, err := build(t, play(images(t, 8, 8, 1))).Read(); !errors.Is(err, codec.ErrBadConfig) {
		t.Errorf("picture of 8x8: %v, want ErrBadConfig", err)
	}
}

// bitrate codes pictures and returns the rate in b/s at 30 a second.
func bitrate(t testing.TB, e mediacodec.ReadCloser, pictures int) int {
	t.Helper()
	bits := 0
	for range pictures {
		b, release, err := e.Read()
		if err != nil {
			t.Fatal(err)
		}
		bits += 8 * len(b)
		release()
	}
	return bits * 30 / pictures
}

func TestObeysBitrate(t *testing.T) {
	const pictures = 90
	got := bitrate(t, build(t, play(images(t, 320, 180, pictures))), pictures)
	if got < 350_000 || got > 600_000 {
		t.Errorf("%d b/s, want about 500000", got)
	}
}

// BenchmarkEncoders sets ours beside mediadevices' own: the same pictures
// through the same interface, 1.5 Mb/s asked for.
func BenchmarkEncoders(b *testing.B) {
	const w, h, pictures = 1280, 720, 60
	theirs, err := vpx.NewVP8Params()
	if err != nil {
		b.Fatal(err)
	}
	theirs.BitRate = 1_500_000
	theirs.RateControlEndUsage = vpx.RateControlCBR
	list := images(b, w, h, pictures)
	for name, builder := range map[string]mediacodec.VideoEncoderBuilder{
		"ours": &VP8{BitrateBps: 1_500_000, Now: at30()}, "mediadevices": &theirs,
	} {
		b.Run(name, func(b *testing.B) {
			n, bits := 0, 0
			e, err := builder.BuildVideoEncoder(video.ReaderFunc(func() (image.Image, func(), error) {
				n++
				return list[n%pictures], func() {}, nil
			}), prop.Media{Video: prop.Video{Width: w, Height: h, FrameRate: 30}})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			b.ReportAllocs()
			for b.Loop() {
				data, release, err := e.Read()
				if err != nil {
					b.Fatal(err)
				}
				bits += 8 * len(data)
				release()
			}
			b.ReportMetric(float64(bits)*30/float64(n)/1000, "kb/s")
		})
	}
}

// What is asked for bounds size, rate and bitrate, from a key frame on.
func TestLimit(t *testing.T) {
	e := build(t, play(images(t, 640, 360, 90)))
	defer e.Close()
	limiter := e.Controller().(Limiter)
	dec, err := vp8.NewDecoder(vp8.DecoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	read := func(n int) (keys, bytes int) {
		t.Helper()
		for range n {
			b, release, err := e.Read()
			if err != nil {
				t.Fatal(err)
			}
			if err := dec.Decode(b); err != nil {
				t.Fatal(err)
			}
			if head, _ := vp8.ParseHeader(b); head.Key {
				keys++
			}
			bytes += len(b)
			release()
		}
		return keys, bytes
	}
	expect := func(what string, w, h int) {
		t.Helper()
		if gotW, gotH := dec.Size(); gotW != w || gotH != h {
			t.Errorf("%s: %dx%d, want %dx%d", what, gotW, gotH, w, h)
		}
	}
	read(5)
	expect("at first", 640, 360)
	limiter.Limit(codec.UplinkTarget{Width: 320, Height: 180, FPS: 30, BitrateBps: 200_000})
	if keys, _ := read(10); keys != 1 {
		t.Errorf("%d key frames when the size changed, want 1", keys)
	}
	expect("320x180", 320, 180)
	limiter.Limit(codec.UplinkTarget{Width: 1280, Height: 720})
	read(5)
	expect("more than there is", 640, 360)
	// Of what is left, half the pictures.
	limiter.Limit(codec.UplinkTarget{FPS: 15})
	coded := 0
	for {
		_, release, err := e.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		release()
		coded++
	}
	if coded < 30 || coded > 37 {
		t.Errorf("%d of 70 pictures are coded at half the rate", coded)
	}
}
