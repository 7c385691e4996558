package device

import (
	"context"
	"testing"
	"time"

	_ "github.com/pion/mediadevices/pkg/driver/audiotest"
	_ "github.com/pion/mediadevices/pkg/driver/videotest"
	"go.uber.org/goleak"

	"mixdown/codec/opus"
	"mixdown/codec/vp8"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The test drivers of mediadevices stand in for hardware.
func TestCameraGivesDecodablePictures(t *testing.T) {
	camera, err := OpenCamera(CameraConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer camera.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	dec, err := vp8.NewDecoder(vp8.DecoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	keys := 0
	for n := 0; n < 300 && keys < 2; n++ {
		u, err := camera.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 && !u.Key {
			t.Error("the first picture is no key frame")
		}
		if err := dec.Decode(u.Data); err != nil {
			t.Fatalf("picture %d: %v", n, err)
		}
		if u.Key {
			keys++
		}
		if n == 5 {
			camera.RequestKeyframe()
		}
	}
	if keys != 2 {
		t.Errorf("%d key frames: want the first one and the one asked for", keys)
	}
	if w, h := dec.Size(); w < 16 || h < 16 {
		t.Errorf("pictures of %dx%d", w, h)
	}
}

func TestMicrophoneGivesSound(t *testing.T) {
	mic, err := openMicrophone()
	if err != nil {
		t.Fatal(err)
	}
	defer mic.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for n := range 10 {
		u, err := mic.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := opus.Duration(u.Data); err != nil || d != 960 {
			t.Fatalf("packet %d: %d samples, %v: want 960", n, d, err)
		}
		if !u.Level.Voice {
			t.Errorf("packet %d: level %+v: want the test driver's sine to count as voice", n, u.Level)
		}
	}
}

func TestCloseTwice(t *testing.T) {
	mic, err := openMicrophone()
	if err != nil {
		t.Fatal(err)
	}
	if err := mic.Close(); err != nil {
		t.Error(err)
	}
	if err := mic.Close(); err != nil {
		t.Error(err)
	}
	if _, err := mic.Next(context.Background()); err == nil {
		// Units that were captured before may come; the end must follow.
		for range queueLength {
			if _, err = mic.Next(context.Background()); err != nil {
				return
			}
		}
		t.Error("Next after Close never failed")
	}
}
