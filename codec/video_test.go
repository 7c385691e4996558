package codec

import (
	"errors"
	"testing"
)

// Sizes that are not asked for any more are freed, whether their pictures were
// idle by then or came back later; those in use stay.
func TestVideoPoolForgetsSizes(t *testing.T) {
	p := NewVideoPool(64 << 20)
	get := func(w, h int) *VideoFrame {
		t.Helper()
		f, err := p.Get(w, h)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for i := range 20 {
		get(640, 320+2*i).Release()
	}
	late := get(1280, 720)
	busy := func(n int) {
		for range n {
			get(320, 180).Release()
		}
	}
	busy(3 * sweepEvery)
	if got, want := p.Used(), int64(VideoFrameBytes(320, 180)+VideoFrameBytes(1280, 720)); got != want {
		t.Errorf("%d bytes are kept, want %d: one of each size in use", got, want)
	}
	late.Release()
	if again := get(1280, 720); again != late {
		t.Error("a size that was just given back is not used again")
	} else {
		again.Release()
	}
	busy(3 * sweepEvery)
	if got, want := p.Used(), int64(VideoFrameBytes(320, 180)); got != want {
		t.Errorf("%d bytes are kept, want %d", got, want)
	}
	if n := testing.AllocsPerRun(1000, func() { get(320, 180).Release() }); n != 0 {
		t.Errorf("%v allocations for a picture that was there", n)
	}
}

func TestVideoPoolKeepsItsBudget(t *testing.T) {
	size := int64(VideoFrameBytes(320, 180))
	p := NewVideoPool(2 * size)
	a, _ := p.Get(320, 180)
	b, err := p.Get(320, 180)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Get(320, 180); !errors.Is(err, ErrBudget) {
		t.Errorf("beyond the budget: %v", err)
	}
	a.Release()
	b.Release()
	// Another size takes the place of idle pictures.
	if _, err := p.Get(322, 180); err != nil {
		t.Error(err)
	}
	if used := p.Used(); used > 2*size {
		t.Errorf("%d of %d bytes used", used, 2*size)
	}
}
