package vp8

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/codectest"
)

func TestParseHeader(t *testing.T) {
	key := func(change func(b []byte) []byte) []byte {
		// A shown key frame of 176x144 with a first partition of 4 bytes.
		b := []byte{4<<5 | 1<<4, 0, 0, 0x9d, 0x01, 0x2a, 176, 0, 144, 0, 1, 2, 3, 4, 5}
		return change(b)
	}
	same := func(b []byte) []byte { return b }
	for _, c := range []struct {
		name string
		data []byte
		want Header
		bad  bool
	}{
		{name: "key frame", data: key(same), want: Header{Key: true, Show: true, Width: 176, Height: 144}},
		{name: "upscaling bits are not size", data: key(func(b []byte) []byte { b[7], b[9] = 0x40, 0xc0; return b }),
			want: Header{Key: true, Show: true, Width: 176, Height: 144}},
		{name: "largest", data: key(func(b []byte) []byte { copy(b[6:], []byte{0xff, 0xff, 0xff, 0xff}); return b }),
			want: Header{Key: true, Show: true, Width: 16383, Height: 16383}},
		{name: "hidden key frame", data: key(func(b []byte) []byte { b[0] &^= 1 << 4; return b }), want: Header{Key: true, Width: 176, Height: 144}},
		{name: "inter frame", data: []byte{1<<5 | 1<<4 | 1, 0, 0, 9}, want: Header{Show: true}},
		{name: "version 3", data: []byte{1<<5 | 1<<4 | 3<<1 | 1, 0, 0, 9}, want: Header{Show: true}},
		{name: "empty", bad: true},
		{name: "half a tag", data: []byte{0x31, 0}, bad: true},
		{name: "version 4", data: []byte{1<<5 | 1<<4 | 4<<1 | 1, 0, 0, 9}, bad: true},
		{name: "no first partition", data: []byte{1<<4 | 1, 0, 0, 9}, bad: true},
		{name: "first partition past the end", data: []byte{2<<5 | 1<<4 | 1, 0, 0, 9}, bad: true},
		{name: "half a key head", data: key(func(b []byte) []byte { return b[:9] }), bad: true},
		{name: "no start code", data: key(func(b []byte) []byte { b[3] = 0; return b }), bad: true},
		{name: "no width", data: key(func(b []byte) []byte { b[6] = 0; return b }), bad: true},
		{name: "no height", data: key(func(b []byte) []byte { b[8] = 0; return b }), bad: true},
		{name: "key frame cut off", data: key(func(b []byte) []byte { return b[:13] }), bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := ParseHeader(c.data)
			if h != c.want || (err != nil) != c.bad || err != nil && !errors.Is(err, codec.ErrCorrupt) {
				t.Errorf("%+v, %v, want %+v", h, err, c.want)
			}
		})
	}
}

// TestParsesWhatIsEncoded compares heads with what the encoder says of its frames.
func TestParsesWhatIsEncoded(t *testing.T) {
	enc, err := NewEncoder(codec.VideoEncoderConfig{Width: 161, Height: 91, FPS: 30, BitrateBps: 300_000, TemporalLayers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	for n, f := range codectest.Encode(t, enc, codectest.Scene{}.Frames(t, 161, 91, 10)) {
		h, err := ParseHeader(f.Data)
		if err != nil || h.Key != f.Key || !h.Show || h.Key && (h.Width != 161 || h.Height != 91) {
			t.Errorf("frame %d: %+v, %v", n, h, err)
		}
	}
}

func TestHeaderAllocatesNothing(t *testing.T) {
	data := []byte{1<<5 | 1<<4 | 1, 0, 0, 9}
	if n := testing.AllocsPerRun(100, func() { _, _ = ParseHeader(data) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestBombIsCheap refuses many frames that ask for 400 MB each; the time
// limit of the test run would not suffice if libvpx saw any of them.
func TestBombIsCheap(t *testing.T) {
	dec, err := NewDecoder(DecoderConfig{MaxWidth: 640, MaxHeight: 360})
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	bomb := []byte{4<<5 | 1<<4, 0, 0, 0x9d, 0x01, 0x2a, 0xff, 0x3f, 0xff, 0x3f, 1, 2, 3, 4, 5}
	for range 100_000 {
		if err := dec.Decode(bomb); !errors.Is(err, codec.ErrTooLarge) {
			t.Fatalf("%v, want ErrTooLarge", err)
		}
	}
}

func TestDecoderRefuses(t *testing.T) {
	if _, err := NewDecoder(DecoderConfig{MaxWidth: -1}); !errors.Is(err, codec.ErrBadConfig) {
		t.Errorf("%v, want ErrBadConfig", err)
	}
}

// smallStream is a key frame and its successors.
func smallStream(t testing.TB) []*codec.EncodedFrame {
	t.Helper()
	enc, err := NewEncoder(codec.VideoEncoderConfig{Width: 64, Height: 48, FPS: 30, BitrateBps: 100_000, TemporalLayers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return codectest.Encode(t, enc, codectest.Scene{}.Frames(t, 64, 48, 4))
}

func FuzzParseHeader(f *testing.F) {
	for _, frame := range smallStream(f) {
		f.Add(bytes.Clone(frame.Data))
		f.Add(bytes.Clone(frame.Data[:5]))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ParseHeader(data)
		switch {
		case err != nil && (!errors.Is(err, codec.ErrCorrupt) || h != Header{}):
			t.Fatalf("%+v, %v", h, err)
		case err == nil && h.Key != (h.Width > 0 && h.Height > 0), h.Width > 16383, h.Height > 16383, h.Width < 0, h.Height < 0:
			t.Fatalf("%+v", h)
		}
	})
}

func FuzzDecoder(f *testing.F) {
	stream := smallStream(f)
	for _, frame := range stream {
		f.Add(bytes.Clone(frame.Data))
		f.Add(bytes.Clone(frame.Data[:len(frame.Data)/2]))
	}
	good := bytes.Clone(stream[0].Data)
	dst := codectest.NewFrame(f, 40, 30)
	f.Fuzz(func(t *testing.T, data []byte) {
		dec, err := NewDecoder(DecoderConfig{MaxWidth: 256, MaxHeight: 256})
		if err != nil {
			t.Fatal(err)
		}
		defer dec.Close()
		for i, frame := range [][]byte{data, good, data, data, good, data} {
			err := dec.Decode(frame)
			known := err == nil || errors.Is(err, codec.ErrCorrupt) || errors.Is(err, codec.ErrTooLarge) || errors.Is(err, codec.ErrNeedKey)
			if !known || err != nil && bytes.Equal(frame, good) {
				t.Fatalf("frame %d: %v", i, err)
			}
			w, h := dec.Size()
			if w < 0 || h < 0 || w > 256 || h > 256 {
				t.Fatalf("frame %d: %dx%d", i, w, h)
			}
			if err := dec.Picture(dst); (err == nil) != (w > 0) || err != nil && !errors.Is(err, codec.ErrNoPicture) {
				t.Fatalf("picture %d of %dx%d: %v", i, w, h, err)
			}
		}
	})
}

func benchmarkEncode(b *testing.B, c codec.VideoEncoderConfig) {
	c.FPS = 30
	enc, err := NewEncoder(c)
	if err != nil {
		b.Fatal(err)
	}
	defer enc.Close()
	pictures, n := codectest.Scene{}.Frames(b, c.Width, c.Height, 60), 0
	b.ReportAllocs()
	for b.Loop() {
		f, err := enc.Encode(pictures[n%len(pictures)], time.Duration(n)*time.Second/30, false)
		if err == nil {
			f.Release()
		} else if !errors.Is(err, codec.ErrDropped) {
			b.Fatal(err)
		}
		n++
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, c := range []struct {
		name string
		codec.VideoEncoderConfig
	}{
		{"720p/1layer", codec.VideoEncoderConfig{Width: 1280, Height: 720, BitrateBps: 1_500_000}},
		{"720p/2layers", codec.VideoEncoderConfig{Width: 1280, Height: 720, BitrateBps: 1_500_000, TemporalLayers: 2}},
		{"720p/2layers/speed6", codec.VideoEncoderConfig{Width: 1280, Height: 720, BitrateBps: 1_500_000, TemporalLayers: 2, Speed: 6}},
		{"720p/2layers/speed8", codec.VideoEncoderConfig{Width: 1280, Height: 720, BitrateBps: 1_500_000, TemporalLayers: 2, Speed: 8}},
		{"360p/2layers", codec.VideoEncoderConfig{Width: 640, Height: 360, BitrateBps: 500_000, TemporalLayers: 2}},
		{"180p/2layers", codec.VideoEncoderConfig{Width: 320, Height: 180, BitrateBps: 150_000, TemporalLayers: 2}},
	} {
		b.Run(c.name, func(b *testing.B) { benchmarkEncode(b, c.VideoEncoderConfig) })
	}
}

func BenchmarkDecode(b *testing.B) {
	enc, err := NewEncoder(codec.VideoEncoderConfig{Width: 640, Height: 360, FPS: 30, BitrateBps: 500_000})
	if err != nil {
		b.Fatal(err)
	}
	defer enc.Close()
	stream := codectest.Encode(b, enc, codectest.Scene{}.Frames(b, 640, 360, 60))
	dec, err := NewDecoder(DecoderConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer dec.Close()
	n := 0
	b.Run("640x360", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := dec.Decode(stream[n%len(stream)].Data); err != nil {
				b.Fatal(err)
			}
			n++
		}
	})
	b.Run("picture 426x240", func(b *testing.B) {
		dst := codectest.NewFrame(b, 426, 240)
		b.ReportAllocs()
		for b.Loop() {
			if err := dec.Picture(dst); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSetBitrate(b *testing.B) {
	enc, err := NewEncoder(codec.VideoEncoderConfig{Width: 1280, Height: 720, FPS: 30, BitrateBps: 1_000_000, TemporalLayers: 2})
	if err != nil {
		b.Fatal(err)
	}
	defer enc.Close()
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		if err := enc.SetBitrate(1_000_000 + n%2*100_000); err != nil {
			b.Fatal(err)
		}
		n++
	}
}
