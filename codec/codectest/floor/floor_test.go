package floor

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mixdown/codec"
	"mixdown/codec/codectest"
	"mixdown/codec/opus"
	"mixdown/codec/vp8"
)

var video = codec.VideoEncoderConfig{Width: 640, Height: 360, FPS: 30, BitrateBps: 500_000, TemporalLayers: 2}

// stream codes a second of the test scene.
func stream(t testing.TB, c codec.VideoEncoderConfig) (frames [][]byte) {
	t.Helper()
	enc, err := vp8.NewEncoder(c)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	for _, f := range codectest.Encode(t, enc, codectest.Scene{}.Frames(t, c.Width, c.Height, 30)) {
		frames = append(frames, f.Data)
	}
	return frames
}

func packets(t testing.TB, ticks []codec.AudioFrame) [][]byte {
	t.Helper()
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return codectest.EncodeAudio(t, enc, ticks)
}

func TestEachMeasures(t *testing.T) {
	ticks := codectest.Voice{}.Frames(50)
	for name, measure := range map[string]func() (time.Duration, error){
		"EncodeVP8":  func() (time.Duration, error) { return EncodeVP8(codectest.Scene{}.Frames(t, 640, 360, 5), video) },
		"DecodeVP8":  func() (time.Duration, error) { return DecodeVP8(stream(t, video)) },
		"EncodeOpus": func() (time.Duration, error) { return EncodeOpus(ticks, 32_000, 5) },
		"DecodeOpus": func() (time.Duration, error) { return DecodeOpus(packets(t, ticks)) },
	} {
		if d, err := measure(); err != nil || d <= 0 {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	_, noPictures := EncodeVP8(nil, video)
	_, wrongSize := EncodeVP8(codectest.Scene{}.Frames(t, 64, 48, 1), video)
	_, noFrames := DecodeVP8(nil)
	_, noTicks := EncodeOpus(nil, 32_000, 5)
	_, noPackets := DecodeOpus(nil)
	for _, err := range []error{noPictures, wrongSize, noFrames, noTicks, noPackets} {
		if !errors.Is(err, codec.ErrBadConfig) {
			t.Errorf("%v, want ErrBadConfig", err)
		}
	}
	if _, err := DecodeVP8([][]byte{{1, 2, 3}}); !errors.Is(err, errFailed) {
		t.Errorf("no VP8 at all: %v, want errFailed", err)
	}
}

// threadTime is the CPU time of the calling thread.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// compare reports our codecs' CPU time per frame as a multiple of the raw one's,
// the two taking turns.
func compare(b *testing.B, frames int, raw func() (time.Duration, error), ours func() error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var rawTime, ourTime time.Duration
	for b.Loop() {
		d, err := raw()
		if err != nil {
			b.Fatal(err)
		}
		rawTime += d
		begin := threadTime()
		if err := ours(); err != nil {
			b.Fatal(err)
		}
		ourTime += threadTime() - begin
	}
	b.ReportMetric(float64(ourTime)/float64(rawTime), "x-raw")
	b.ReportMetric(float64(ourTime.Microseconds())/float64(frames*b.N), "us/frame")
}

func BenchmarkAgainstRaw(b *testing.B) {
	for name, c := range map[string]codec.VideoEncoderConfig{
		"encode 1280x720": {Width: 1280, Height: 720, FPS: 30, BitrateBps: 1_500_000, TemporalLayers: 2},
		"encode 640x360":  video,
	} {
		pictures := codectest.Scene{}.Frames(b, c.Width, c.Height, 30)
		b.Run(name, func(b *testing.B) {
			compare(b, len(pictures), func() (time.Duration, error) { return EncodeVP8(pictures, c) }, func() error {
				enc, err := vp8.NewEncoder(c)
				if err != nil {
					return err
				}
				defer enc.Close()
				for n, p := range pictures {
					f, err := enc.Encode(p, time.Duration(n)*time.Second/30, false)
					if err != nil {
						return err
					}
					f.Release()
				}
				return nil
			})
		})
	}
	frames := stream(b, video)
	b.Run("decode 640x360", func(b *testing.B) {
		compare(b, len(frames), func() (time.Duration, error) { return DecodeVP8(frames) }, func() error {
			dec, err := vp8.NewDecoder(vp8.DecoderConfig{})
			if err != nil {
				return err
			}
			defer dec.Close()
			for _, f := range frames {
				if err := dec.Decode(f); err != nil {
					return err
				}
			}
			return nil
		})
	})
	ticks := codectest.Voice{}.Frames(100)
	b.Run("encode Opus", func(b *testing.B) {
		buf := make([]byte, 1275)
		compare(b, len(ticks), func() (time.Duration, error) { return EncodeOpus(ticks, 32_000, 5) }, func() error {
			enc, err := opus.NewEncoder(opus.EncoderConfig{})
			if err != nil {
				return err
			}
			defer enc.Close()
			for i := range ticks {
				if _, err := enc.Encode(&ticks[i], buf); err != nil {
					return err
				}
			}
			return nil
		})
	})
	coded := packets(b, ticks)
	b.Run("decode Opus", func(b *testing.B) {
		pcm := make([]int16, codec.MaxPacketSamples)
		compare(b, len(coded), func() (time.Duration, error) { return DecodeOpus(coded) }, func() error {
			dec, err := opus.NewDecoder()
			if err != nil {
				return err
			}
			defer dec.Close()
			for _, p := range coded {
				if _, err := dec.Decode(p, pcm); err != nil {
					return err
				}
			}
			return nil
		})
	})
}
