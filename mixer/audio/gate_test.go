package audio

import (
	"math"
	"slices"
	"testing"

	"mixdown/codec"
	"mixdown/mixer/audio/audiotest"
)

// gateOf runs a gate over sound and returns its states.
func gateOf(x []int16) (states []GateState) {
	var g Gate
	for _, f := range ticksOf(x) {
		states = append(states, g.Step(g.Hear(Level(f[:]))))
	}
	return states
}

func TestGateStates(t *testing.T) {
	var g Gate
	var got []GateState
	for _, open := range []bool{false, true, true, false, false, true, false, true, true} {
		got = append(got, g.Step(open))
	}
	want := []GateState{
		GateClosed, GateOpening, GateOpen, GateClosing, GateClosed,
		GateOpening, GateClosing, GateOpening, GateOpen,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestGateNeverChopsSpeech(t *testing.T) {
	for seed := range uint64(4) {
		speech := audiotest.Speech(seed, 20*codec.SampleRate)
		for _, gainDB := range []float64{0, -10, -20} {
			x := make([]int16, len(speech))
			for i := range x {
				x[i] = int16(float64(speech[i]) * math.Pow(10, gainDB/20))
			}
			states := gateOf(x)
			loud, missed, open := 0, 0, 0
			for i, f := range ticksOf(x) {
				if states[i] != GateClosed {
					open++
				}
				// What a listener would miss: anything within 20 dB of the
				// voice's usual level that is over a quiet room's noise.
				if Level(f[:]) <= uint8(46-gainDB) && Level(f[:]) < 55 {
					loud++
					if states[i] == GateClosed || states[i] == GateClosing {
						missed++
					}
				}
			}
			if missed*200 > loud || loud < 300 {
				t.Errorf("voice %d at %v dB: %d of %d loud ticks cut (open %d of %d)",
					seed, gainDB, missed, loud, open, len(states))
			}
		}
	}
}

func TestGateStaysClosedInQuietRooms(t *testing.T) {
	for _, dBov := range []float64{-60, -70, -80} {
		noise := audiotest.Noise(3, 32768*math.Pow(10, dBov/20), 20*codec.SampleRate)
		for i, s := range gateOf(noise) {
			if s != GateClosed {
				t.Errorf("noise of %v dBov: %v at tick %d", dBov, s, i)
				break
			}
		}
	}
}

func TestGateLearnsAFan(t *testing.T) {
	quiet := audiotest.Noise(3, 32768*math.Pow(10, -75.0/20), 5*codec.SampleRate)
	fan := audiotest.Noise(4, 32768*math.Pow(10, -52.0/20), 20*codec.SampleRate)
	states := gateOf(append(quiet, fan...))
	if states[len(states)-1] != GateClosed {
		t.Errorf("after 20 s of fan the gate is %v", states[len(states)-1])
	}
}

func TestGateHoldsBetweenWords(t *testing.T) {
	word := audiotest.Tone(200, 3000, codec.SampleRate/4)
	pause := make([]int16, codec.SampleRate*2/5)
	end := make([]int16, codec.SampleRate)
	states := gateOf(slices.Concat(word, pause, word, end))
	for i := 1; i < 44+gateHoldTicks; i++ {
		if states[i] != GateOpen {
			t.Fatalf("tick %d: %v within the sentence", i, states[i])
		}
	}
	if i := slices.Index(states, GateClosing); i < 44+gateHoldTicks || i > 47+gateHoldTicks {
		t.Errorf("closing at tick %d", i)
	}
}

func TestScoreHasHysteresis(t *testing.T) {
	speaker := Gate{state: GateOpen, open: gateFreshTicks, loudness: -30}
	newcomer := Gate{loudness: -26}
	if newcomer.Score() > speaker.Score() {
		t.Error("4 dB louder is enough to take the place")
	}
	if newcomer.loudness = -20; newcomer.Score() < speaker.Score() {
		t.Error("10 dB louder is not enough to take the place")
	}
	if speaker.open = 3; newcomer.Score() > speaker.Score() {
		t.Error("somebody just let in is pushed out")
	}
}
