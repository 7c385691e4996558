package audio

import (
	"math"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/mixer/audio/audiotest"
)

// speakerphone is somebody whose microphone hears his loudspeaker, and himself.
type speakerphone struct {
	own   []codec.AudioFrame
	heard []codec.AudioFrame // what he was sent
	delay int                // ticks
	gain  float64
	at    int
}

func (s *speakerphone) Pull(dst *codec.AudioFrame, _ time.Duration, _ uint8) Info {
	clear(dst[:])
	if s.at < len(s.own) {
		*dst = s.own[s.at]
	}
	if k := s.at - s.delay; k >= 0 && k < len(s.heard) {
		for i, x := range s.heard[k] {
			dst[i] += int16(math.Round(s.gain * float64(x)))
		}
	}
	s.at++
	level := Level(dst[:])
	return Info{Decoded: 1, Level: level, Silent: level == codec.Silence}
}

// phone joins somebody with a loudspeaker.
func (tb *table) phone(csrc uint32, own []int16, delay int, dB float64) (*Member, *speakerphone) {
	tb.t.Helper()
	s := &speakerphone{own: ticksOf(own), delay: delay, gain: math.Pow(10, dB/20)}
	mem, err := tb.Join(csrc, s)
	if err != nil {
		tb.t.Fatal(err)
	}
	return mem, s
}

// run ticks and plays to the loudspeaker.
func (s *speakerphone) run(tb *table, mem *Member, ticks int) {
	for range ticks {
		tb.ticks(1)
		s.heard = append(s.heard, tb.hears(mem.Frame()))
	}
}

// An open loudspeaker is found out within seconds of speech, and the others do
// not hear themselves through it any more. When its owner speaks, he is heard.
func TestEchoIsHeldBack(t *testing.T) {
	for _, test := range []struct {
		delay int
		dB    float64
	}{{8, -6}, {12, -12}, {20, -18}} {
		tb := newTable(t, 0)
		noise := audiotest.Noise(5, 10, 60*second)
		story := plus(slices.Concat(speechClip(t, 1, 28*second), make([]int16, 4*second), speechClip(t, 3, 28*second)), noise)
		clear(story[20*second : 27*second])
		// He has something to say while the other is silent.
		own := audiotest.Noise(6, 10, 60*second)
		lay(own, 21, speechClip(t, 2, 5*second))
		tb.join(1, story)
		mem, phone := tb.phone(2, own, test.delay, test.dB)
		listener := tb.join(3, nil)
		phone.run(tb, mem, 8*50)
		if !mem.Echo() {
			t.Errorf("%+v: no echo found in 8 s", test)
			continue
		}
		held := tb.Stats().EchoHeld
		var open int
		for tb.n < 20*50 {
			phone.run(tb, mem, 1)
			if mem.Gate() != GateClosed {
				open++
			}
		}
		if open > 25 || tb.Stats().EchoHeld == held {
			t.Errorf("%+v: the gate was open for %d of 600 ticks of echo (%d held)", test, open, tb.Stats().EchoHeld-held)
		}
		open = 0
		for tb.n < 26*50 {
			phone.run(tb, mem, 1)
			if mem.Gate() != GateClosed && tb.n > 21*50+25 {
				open++
			}
		}
		if open < 200 {
			t.Errorf("%+v: he speaks and is heard in %d of 225 ticks", test, open)
		}
		// Still known after a pause.
		open = 0
		for tb.n < 40*50 {
			phone.run(tb, mem, 1)
			if mem.Gate() != GateClosed && tb.n > 28*50 {
				open++
			}
		}
		if !mem.Echo() || open > 25 {
			t.Errorf("%+v: after a pause the gate was open for %d of 600 ticks of echo (echo known: %v)", test, open, mem.Echo())
		}
		if listener.Echo() {
			t.Errorf("%+v: a listener is said to echo", test)
		}
	}
}

// People who talk to each other, over one another too, are no echo.
func TestConversationIsNoEcho(t *testing.T) {
	tb := newTable(t, 0)
	var members []*Member
	for i := range 4 {
		x := speechClip(t, i+5, 30*second)
		for at := range x {
			// Turns of 2 to 3 s with half a second of overlap.
			if (at/(second/2)+3*i)%14 >= 6 {
				x[at] = 0
			}
		}
		members = append(members, tb.join(uint32(i+1), plus(x, audiotest.Noise(uint64(i), 8, len(x)))))
	}
	for range 30 * 50 {
		tb.ticks(1)
		for i, mem := range members {
			if mem.Echo() {
				t.Fatalf("tick %d: %d is said to echo", tb.n, i)
			}
		}
	}
	if s := tb.Stats(); s.EchoHeld > 0 {
		t.Errorf("%+v", s)
	}
}

// Without detection somebody else may say that there is echo.
func TestSetEcho(t *testing.T) {
	tb := newTable(t, 0)
	x := audiotest.Tone(300, 6000, 4*second)
	clear(x[2*second:])
	tb.join(1, x)
	own := make([]int16, 8*second)
	lay(own, 3.5, audiotest.Tone(500, 6000, second))
	mem, phone := tb.phone(2, own, 10, -6)
	mem.SetEchoDetection(false)
	mem.SetEcho(true)
	phone.run(tb, mem, 3*50)
	if s := tb.Stats(); mem.Speaking() || s.EchoHeld < 50 || s.ToPersonal != 1 {
		t.Errorf("echo is heard: %+v", s)
	}
	phone.run(tb, mem, 50)
	if !mem.Speaking() {
		t.Error("he speaks while nothing is sent, and is not heard")
	}
	mem.SetEcho(false)
	if mem.Echo() {
		t.Error("echo although it was taken back")
	}
}
