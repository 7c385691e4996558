package audio

import (
	"testing"

	"mixdown/codec"
	"mixdown/mixer/audio/audiotest"
)

func TestLevel(t *testing.T) {
	square := make([]int16, 960)
	for i := range square {
		square[i] = 32767
		if i%2 == 0 {
			square[i] = -32768
		}
	}
	for _, test := range []struct {
		name string
		pcm  []int16
		want uint8
	}{
		{"nothing", nil, 127},
		{"digital silence", make([]int16, 960), 127},
		{"square at full scale", square, 0},
		{"sine at full scale", audiotest.Tone(1000, 32767, 960), 3},
		{"sine 20 dB lower", audiotest.Tone(1000, 3277, 960), 23},
		{"one bit of noise", []int16{1, -1, 1, -1}, 90},
	} {
		if got := Level(test.pcm); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

// ticksOf cuts sound into ticks.
func ticksOf(x []int16) (frames []codec.AudioFrame) {
	for ; len(x) >= codec.FrameSamples; x = x[codec.FrameSamples:] {
		frames = append(frames, codec.AudioFrame(x[:codec.FrameSamples]))
	}
	return frames
}
