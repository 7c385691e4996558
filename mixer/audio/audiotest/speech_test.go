package audiotest

import (
	"math"
	"testing"

	"mixdown/codec"
)

func TestTonePower(t *testing.T) {
	x := Tone(1000, 32767, codec.SampleRate)
	if got := TonePower(x, 1000); math.Abs(got+3.01) > 0.05 {
		t.Errorf("full-scale sine: %.2f dBov, want -3.01", got)
	}
	if got := TonePower(x, 1100); got > -90 {
		t.Errorf("100 Hz beside the tone: %.1f dBov, want under -90", got)
	}
}

func TestSpeechIsLikeSpeech(t *testing.T) {
	x := Speech(1, 10*codec.SampleRate)
	var loud, quiet int
	var energy float64
	for i := 0; i+960 <= len(x); i += 960 {
		var e float64
		for _, s := range x[i : i+960] {
			e += float64(s) * float64(s)
		}
		switch db := 10 * math.Log10(e/960/(32768*32768)); {
		case db > -45:
			loud++
			energy += e / 960
		case db < -60:
			quiet++
		}
	}
	mean := 10 * math.Log10(energy/float64(loud)/(32768*32768))
	if loud < 250 || quiet < 50 || mean < -30 || mean > -20 {
		t.Errorf("%d loud ticks of %.1f dBov, %d quiet ones of 500", loud, mean, quiet)
	}
}
