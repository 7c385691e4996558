package yuv

import (
	"testing"

	"mixdown/codec"
)

func TestAlike(t *testing.T) {
	pool := codec.NewVideoPool(1 << 24)
	get := func(w, h int) *codec.VideoFrame {
		f, err := pool.Get(w, h)
		if err != nil {
			t.Fatal(err)
		}
		for i := range f.Y {
			f.Y[i] = byte(i)
		}
		for i := range f.U {
			f.U[i], f.V[i] = byte(3*i), byte(5*i)
		}
		return f
	}
	for _, size := range [][2]int{{1, 1}, {2, 2}, {33, 7}, {420, 236}} {
		a, b := get(size[0], size[1]), get(size[0], size[1])
		if !Alike(a, b, 0) {
			t.Errorf("%v: a picture is not like itself", size)
		}
		uv := (a.Width+1)/2 - 1 + ((a.Height+1)/2-1)*a.StrideUV
		for what, last := range map[string][2]*byte{
			"luma": {&a.Y[a.Width-1+(a.Height-1)*a.StrideY], &b.Y[a.Width-1+(a.Height-1)*a.StrideY]},
			"u":    {&a.U[uv], &b.U[uv]},
			"v":    {&a.V[uv], &b.V[uv]},
		} {
			*last[0], *last[1] = 100, 102
			if !Alike(a, b, 2) || Alike(a, b, 1) || !Alike(b, a, 2) || Alike(b, a, 1) {
				t.Errorf("%v: a difference of 2 in the last sample of %s is not one of 2", size, what)
			}
			*last[1] = *last[0]
		}
		// What lies beside a row is no picture.
		if a.StrideY > a.Width {
			b.Y[a.Width] ^= 0xff
			if !Alike(a, b, 0) {
				t.Errorf("%v: beside the picture", size)
			}
		}
		if Alike(a, get(size[0]+2, size[1]), 255) {
			t.Errorf("%v: another size", size)
		}
		if n := testing.AllocsPerRun(10, func() { Alike(a, b, 2) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func BenchmarkAlike(b *testing.B) {
	pool := codec.NewVideoPool(1 << 24)
	x, _ := pool.Get(640, 360)
	y, _ := pool.Get(640, 360)
	for b.Loop() {
		if !Alike(x, y, 2) {
			b.Fatal("no")
		}
	}
}
