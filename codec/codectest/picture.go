package codectest

import (
	"math"
	"testing"

	"mixdown/codec"
)

// Scene draws moving test pictures: smooth shading, fine texture and a few hard
// edges that move at different speeds, so that a coder has to predict, and
// the energy falls with frequency roughly as in nature. It is the
// same for everybody: no randomness, no state.
type Scene struct {
	// Seed makes different scenes.
	Seed uint32
	// Still freezes everything but a small moving patch, as a shared screen does.
	Still bool
}

// NewFrame returns a picture of its own pool. It fails the test on an error.
func NewFrame(t testing.TB, width, height int) *codec.VideoFrame {
	t.Helper()
	f, err := codec.NewVideoPool(int64(codec.VideoFrameBytes(width, height))).Get(width, height)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Frame returns picture n of the scene, in a pool of its own.
func (s Scene) Frame(t testing.TB, width, height, n int) *codec.VideoFrame {
	t.Helper()
	f := NewFrame(t, width, height)
	s.Draw(f, n)
	return f
}

// Frames returns the first count pictures of the scene.
func (s Scene) Frames(t testing.TB, width, height, count int) []*codec.VideoFrame {
	t.Helper()
	list := make([]*codec.VideoFrame, count)
	for n := range list {
		list[n] = s.Frame(t, width, height, n)
	}
	return list
}

// Draw paints picture n over all of f. Positions are relative to the size, so
// pictures of different sizes show the same scene.
func (s Scene) Draw(f *codec.VideoFrame, n int) {
	shift := float64(n)
	if s.Still {
		shift = 0
	}
	// A unit is 1/640 of the width: the scene has the same detail at any size.
	unit := 640 / float64(f.Width)
	phase := float64(s.Seed%97) * 0.37
	columns := make([]float64, f.Width)
	for x := range columns {
		u := float64(x)*unit + shift*1.5
		columns[x] = 30*math.Sin(u*0.011+phase) + 12*math.Sin(u*0.057+2*phase) + 5*math.Sin(u*0.31)
	}
	for y := range f.Height {
		v := float64(y)*unit + shift*0.5
		row := 25*math.Sin(v*0.017+phase) + 10*math.Sin(v*0.083) + 4*math.Sin(v*0.37+phase)
		line := f.Y[y*f.StrideY : y*f.StrideY+f.Width]
		for x := range line {
			tx, ty := int(float64(x)*unit+shift*1.5), int(v)
			line[x] = clamp(120 + columns[x] + row + grain(s.Seed, tx, ty))
		}
	}
	for y := range (f.Height + 1) / 2 {
		for x := range (f.Width + 1) / 2 {
			u, v := float64(2*x)*unit+shift*1.5, float64(2*y)*unit
			f.U[y*f.StrideUV+x] = clamp(128 + 30*math.Sin(u*0.009+v*0.004+phase))
			f.V[y*f.StrideUV+x] = clamp(128 + 30*math.Cos(v*0.012-u*0.003+phase))
		}
	}
	s.drawBoxes(f, float64(n)/unit)
}

// drawBoxes paints three boxes with hard edges; shift is in luma samples.
func (s Scene) drawBoxes(f *codec.VideoFrame, shift float64) {
	boxes := 3
	if s.Still {
		boxes = 1
	}
	for i := range boxes {
		w, h := f.Width/(6+2*i), f.Height/(5+i)
		speed := [...]float64{2, -1.25, 3.5}[i]
		x0 := int(float64(f.Width*(i+1)/4)+shift*speed) % max(1, f.Width)
		if x0 < 0 {
			x0 += f.Width
		}
		y0 := f.Height * (i + 1) / 5
		for y := y0; y < min(y0+h, f.Height); y++ {
			for x := x0; x < min(x0+w, f.Width); x++ {
				f.Y[y*f.StrideY+x] = uint8(40 + 70*i)
				f.U[y/2*f.StrideUV+x/2] = uint8(90 + 40*i)
				f.V[y/2*f.StrideUV+x/2] = uint8(170 - 40*i)
			}
		}
	}
}

// grain is a little noise that moves with the picture, -3..3.
func grain(seed uint32, x, y int) float64 {
	h := uint32(x)*0x9e3779b1 ^ uint32(y)*0x85ebca6b ^ seed
	h ^= h >> 15
	h *= 0x2c1b3c6d
	h ^= h >> 12
	return float64(h%7) - 3
}

func clamp(v float64) uint8 { return uint8(min(max(v, 16), 235)) }
