package audio

import (
	"testing"

	"mixdown/codec"
	"mixdown/mixer/audio/audiotest"
)

func filled(x []int16) *fifo {
	f := new(fifo)
	f.init()
	copy(f.room(len(x)), x)
	f.append(len(x))
	return f
}

func drained(f *fifo) []int16 {
	x := make([]int16, f.len())
	f.read(x)
	return x
}

func TestFifoKeepsOrder(t *testing.T) {
	f := new(fifo)
	f.init()
	in, out := 0, 0
	for range 200 {
		for f.len() < 960 {
			room := f.room(codec.MaxPacketSamples)
			for i := range room[:700] {
				room[i] = int16(in)
				in++
			}
			f.append(700)
		}
		var dst codec.AudioFrame
		f.read(dst[:])
		for _, s := range dst {
			if s != int16(out) {
				t.Fatalf("sample %d is %d", out, s)
			}
			out++
		}
	}
}

// Whatever the lag, and at the best one, a cut is not heard.
func TestFifoCutDoesNotClick(t *testing.T) {
	for _, hz := range []float64{90, 140, 220, 350} {
		tone := audiotest.Tone(hz, 9000, 4800)
		f := filled(tone)
		var head [1200]int16
		f.read(head[:])
		lag, like := f.bestLag(lagMax, overlapMost)
		if like < 0.98 {
			t.Errorf("%v Hz: a tone is only %.2f like itself at lag %d", hz, like, lag)
		}
		f.cut(lag, overlapMost)
		rest := drained(f)
		if len(rest) != 3600-lag {
			t.Errorf("%v Hz: %d samples left after a cut of %d", hz, len(rest), lag)
		}
		if clicks := audiotest.Clicks(append(head[:], rest...)); len(clicks) > 0 {
			t.Errorf("%v Hz: best lag %d: %v", hz, lag, clicks)
		}
	}
	for lag := lagMin; lag <= lagMax; lag += 7 {
		f := filled(audiotest.Tone(130, 9000, 4800))
		var head [1200]int16
		f.read(head[:])
		f.cut(lag, overlapMost)
		x := append(head[:], drained(f)...)
		for i := 1; i < len(x); i++ {
			if d := int(x[i]) - int(x[i-1]); d > 400 || d < -400 {
				t.Fatalf("lag %d: a step of %d at %d", lag, d, i)
			}
		}
	}
}

func TestFifoJoinIsSmooth(t *testing.T) {
	f := filled(audiotest.Tone(130, 9000, 1000))
	x := audiotest.Tone(330, 9000, 2000)[77:]
	copy(f.room(len(x)), x)
	f.join(len(x))
	f.append(len(x))
	out := drained(f)
	for i := 1; i < len(out); i++ {
		if d := int(out[i]) - int(out[i-1]); d > 800 || d < -800 {
			t.Fatalf("a step of %d at %d", d, i)
		}
	}
}
