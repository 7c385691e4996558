//go:build !nomicrophone

package device

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/gen2brain/malgo"

	"mixdown/codec"
)

// The sound system's own stand-in for hardware takes sound at the right pace.
func TestSpeakerPulls(t *testing.T) {
	const null = malgo.BackendNull + 1 // malgo's own number is that of another one
	ctx, err := malgo.InitContext([]malgo.Backend{null}, malgo.ContextConfig{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := ctx.Uninit(); err != nil {
			t.Error(err)
		}
		ctx.Free()
	}()
	var pulled atomic.Int64
	s, err := openSpeaker(ctx, func(f *codec.AudioFrame) {
		clear(f[:])
		pulled.Add(1)
	})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for pulled.Load() < 25 {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("%d frames in 10 s", pulled.Load())
		}
		time.Sleep(10 * time.Millisecond)
	}
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("25 frames in %v: want about half a second", took)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	n := pulled.Load()
	time.Sleep(50 * time.Millisecond)
	if pulled.Load() != n {
		t.Error("pulled after Close")
	}
}
