//go:build !nodlopen

package h264

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mixdown/codec"
	"mixdown/codec/codectest"
	"mixdown/codec/h264/h264test"
)

// TestLoadSaysWhy: what cannot be loaded is told by name.
func TestLoadSaysWhy(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/nowhere/libopenh264.so": "/nowhere/libopenh264.so",
		text:                      "text.so",
		"libm.so.6":               "another library than OpenH264",
	} {
		if _, err := Load(path); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	l := library(t)
	if l.Path() == "" || strings.Count(l.Version(), ".") != 2 {
		t.Errorf("%q, version %q", l.Path(), l.Version())
	}
}

// TestBombIsCheap refuses many frames that ask for 400 MB each; the time limit of
// the test run would not suffice if the library saw any of them.
func TestBombIsCheap(t *testing.T) {
	dec, err := library(t).NewDecoder(DecoderConfig{MaxWidth: 640, MaxHeight: 368})
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	bomb := h264test.Frame(h264test.SPS(16382, 16382), []byte{0x68, 0xce, 0x3c, 0x80}, []byte{0x65, 0x88, 1})
	for range 20_000 {
		if err := dec.Decode(bomb); !errors.Is(err, codec.ErrTooLarge) {
			t.Fatalf("%v, want ErrTooLarge", err)
		}
	}
}

// smallStream is a key frame and its successors.
func smallStream(t testing.TB) []*codec.EncodedFrame {
	t.Helper()
	enc, err := library(t).NewEncoder(codec.VideoEncoderConfig{Width: 64, Height: 48, FPS: 30, BitrateBps: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return codectest.Encode(t, enc, codectest.Scene{}.Frames(t, 64, 48, 4))
}

func FuzzDecoder(f *testing.F) {
	stream := smallStream(f)
	for _, frame := range stream {
		f.Add(bytes.Clone(frame.Data))
		f.Add(bytes.Clone(frame.Data[:len(frame.Data)/2]))
	}
	good := bytes.Clone(stream[0].Data)
	dst := codectest.NewFrame(f, 40, 30)
	l := library(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		dec, err := l.NewDecoder(DecoderConfig{MaxWidth: 256, MaxHeight: 256})
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
