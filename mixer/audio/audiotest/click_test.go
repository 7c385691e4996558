package audiotest

import (
	"testing"
	"time"

	"mixdown/codec"
)

func TestClicksFindsPlantedBreaks(t *testing.T) {
	x := Speech(5, 20*codec.SampleRate)
	if got := Clicks(x); len(got) != 0 {
		t.Fatalf("clicks in clean speech: %v", got)
	}
	tone := Tone(300, 8000, 2*codec.SampleRate)
	if got := Clicks(tone); len(got) != 0 {
		t.Fatalf("clicks in a tone: %v", got)
	}
	// A hole of half a period: the tone goes on out of phase.
	broken := append(append([]int16(nil), tone[:codec.SampleRate]...), tone[codec.SampleRate+80:]...)
	got := Clicks(broken)
	if len(got) != 1 || got[0].At < 998*time.Millisecond || got[0].At > 1002*time.Millisecond {
		t.Errorf("a jump of phase at 1 s: found %v", got)
	}
	// Sound that is switched off, without a fade.
	for i := codec.SampleRate / 2; i < codec.SampleRate; i++ {
		tone[i] = 0
	}
	if got := Clicks(tone); len(got) != 2 {
		t.Errorf("a tone switched off at 0.5 s and on at 1 s: found %v", got)
	}
}
