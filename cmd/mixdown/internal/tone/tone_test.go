package tone

import (
	"math"
	"testing"
	"time"

	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/codec/opus"
)

func TestLevelsOfPureTones(t *testing.T) {
	pcm := make([]int16, 2*codec.SampleRate)
	for i := range pcm {
		at := float64(i) / codec.SampleRate
		pcm[i] = int16(3276.7*math.Sin(2*math.Pi*440*at) + 327.67*math.Sin(2*math.Pi*1000*at))
	}
	levels := LevelsDB(pcm, []float64{440, 1000, 700})
	for i, want := range []float64{-20, -40} {
		if math.Abs(levels[i]-want) > 0.1 {
			t.Errorf("tone %d: %.2f dB: want %.0f", i, levels[i], want)
		}
	}
	if levels[2] > -90 {
		t.Errorf("where there is no tone: %.1f dB: want below -90", levels[2])
	}
}

func decode(t *testing.T, c *clip.Clip) []int16 {
	t.Helper()
	dec, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	var pcm []int16
	var buf [codec.MaxPacketSamples]int16
	for _, u := range c.Units {
		n, err := dec.Decode(u.Data, buf[:])
		if err != nil {
			t.Fatal(err)
		}
		pcm = append(pcm, buf[:n]...)
	}
	return pcm
}

func TestMakeSurvivesOpus(t *testing.T) {
	c, err := Make(Spec{Hz: 1000, Level: 0.1, Duration: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Units) != 100 || c.Duration() != 2*time.Second {
		t.Fatalf("%d packets, %v: want 100, 2s", len(c.Units), c.Duration())
	}
	if l := c.Units[50].Level; !l.Valid || l.DBov < 22 || l.DBov > 24 {
		t.Errorf("level %+v: want 23 dB below overload, a sine at -20 dBFS", l)
	}
	levels := LevelsDB(decode(t, c), []float64{1000, 1500})
	if math.Abs(levels[0]+20) > 1 {
		t.Errorf("tone comes out at %.1f dB: want -20", levels[0])
	}
	if levels[0]-levels[1] < 40 {
		t.Errorf("500 Hz beside it %.1f dB: want 40 less than the tone", levels[1])
	}
}

func TestNoiseIsAlmostSilent(t *testing.T) {
	c, err := Make(Spec{Noise: 0.0003, Duration: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if l := c.Units[25].Level; l.DBov < 65 || l.Voice {
		t.Errorf("level %+v: want a silent room, 70 or so", l)
	}
}
