package audio

import (
	"slices"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/mixer/audio/audiotest"
)

// teller is a source whose packets say how loud they are, as [Playout] has
// them: it is decoded only when that is asked for.
type teller struct {
	frames  []codec.AudioFrame
	says    func(level uint8) uint8
	decoded int
	asked   []uint8
	at      int
}

func tellerOf(x []int16) *teller {
	return &teller{frames: ticksOf(x), says: func(level uint8) uint8 { return level }}
}

func (s *teller) Pull(dst *codec.AudioFrame, _ time.Duration, quiet uint8) Info {
	clear(dst[:])
	s.asked = append(s.asked, quiet)
	if s.at >= len(s.frames) {
		return Info{Silent: true, Level: codec.Silence}
	}
	f := &s.frames[s.at]
	s.at++
	level := Level(f[:])
	if said := s.says(level); said >= quiet {
		return Info{Silent: true, Skipped: true, Level: said}
	}
	s.decoded++
	*dst = *f
	return Info{Decoded: 1, Level: level}
}

func (tb *table) tells(csrc uint32, sound []int16) (*Member, *teller) {
	tb.t.Helper()
	s := tellerOf(sound)
	mem, err := tb.Join(csrc, s)
	if err != nil {
		tb.t.Fatal(err)
	}
	return mem, s
}

// Whoever is silent by his level is not decoded, and nothing else changes: the
// mix is the same, bit by bit, as when everybody is.
func TestSkippingIsNotHeard(t *testing.T) {
	const people = 4
	var sounds [people][]int16
	for i := range sounds {
		sounds[i] = speechClip(t, i+1, 30*second)
		// Each speaks for five seconds in turn, over the noise of his room.
		noise := audiotest.Noise(uint64(i), 10, 30*second)
		for at := range sounds[i] {
			if at/(5*second)%people != i {
				sounds[i][at] = 0
			}
			sounds[i][at] += noise[at]
		}
	}
	run := func(skip bool) (heard [][]codec.AudioFrame, s MixStats) {
		tb := newTable(t, 0)
		var members []*Member
		for i, x := range sounds {
			mem, src := tb.tells(uint32(i+1), x)
			if !skip {
				src.says = func(uint8) uint8 { return 0 }
			}
			members = append(members, mem)
		}
		heard = make([][]codec.AudioFrame, people)
		for range 30 * 50 {
			tb.ticks(1)
			for i, mem := range members {
				heard[i] = append(heard[i], tb.hears(mem.Frame()))
			}
		}
		return heard, tb.Stats()
	}
	all, sAll := run(false)
	some, s := run(true)
	for i := range all {
		if !slices.Equal(all[i], some[i]) {
			t.Errorf("member %d hears something else", i)
		}
	}
	t.Logf("%d of %d decoded, %d skipped, %d checked", s.Decoded, sAll.Decoded, s.Skipped, s.Checked)
	if sAll.Decoded != people*1500 || s.Decoded+s.Skipped != sAll.Decoded || s.Decoded*5 > sAll.Decoded*2 {
		t.Errorf("decoded %d of %d, skipped %d", s.Decoded, sAll.Decoded, s.Skipped)
	}
	if s.Distrusted > 0 {
		t.Error("somebody who tells the truth is not trusted")
	}
}

// Of those who are muted nothing is decoded, however loud; their levels are
// known all the same, and when they are let in they are there in a tick.
func TestMutedAreNotDecoded(t *testing.T) {
	tb := newTable(t, 0)
	x := audiotest.Tone(300, 12000, 4*second)
	mem, src := tb.tells(1, x)
	listener := tb.join(2, nil)
	mem.SetMuted(true)
	tb.ticks(50)
	if src.decoded != 0 || mem.Level() != 12 || mem.Speaking() {
		t.Errorf("%d decoded, level %d, %v", src.decoded, mem.Level(), mem.Gate())
	}
	mem.SetMuted(false)
	tb.ticks(2)
	if mem.Gate() != GateOpening {
		t.Errorf("gate is %v two ticks after the mute was lifted", mem.Gate())
	}
	tb.ticks(10)
	if !equal(tb.hears(listener.Frame()), delayed(tb.n-1, x)) {
		t.Error("he is not heard as he is")
	}
	mem.SetGain(0)
	tb.ticks(2)
	before := src.decoded
	tb.ticks(50)
	if src.decoded != before {
		t.Errorf("%d decoded with a gain of 0", src.decoded-before)
	}
}

// When more speak than can be heard, those without a place are judged by their
// levels and not decoded; who gets a place is decoded before he is let in.
func TestCrowdIsNotDecoded(t *testing.T) {
	tb := newTable(t, 3)
	var sources []*teller
	var members []*Member
	for i := range 20 {
		x := louder(audiotest.Tone(200+50*float64(i), 3000, 10*second), 0.5*float64(i))
		if i == 0 {
			// The faintest at first, the loudest from the fifth second on.
			copy(x[5*second:], louder(x[5*second:], 20))
		}
		mem, src := tb.tells(uint32(i+1), x)
		sources, members = append(sources, src), append(members, mem)
	}
	tb.ticks(40)
	s := tb.Stats()
	tb.ticks(200)
	if d := tb.Stats().Decoded - s.Decoded; d != 3*200 {
		t.Errorf("%d decoded in 200 ticks with 3 places", d)
	}
	if members[0].Speaking() {
		t.Error("the faintest has a place")
	}
	for tb.n < 5*50+50 {
		tb.ticks(1)
		for i, mem := range members {
			if src := sources[i]; mem.Gate() == GateOpening && src.asked[len(src.asked)-1] != DecodeAlways {
				t.Fatalf("tick %d: %d is let in without sound", tb.n, i)
			}
		}
	}
	if !members[0].Speaking() {
		t.Errorf("a second after he became the loudest by 10 dB he is not heard")
	}
}

// A client that always claims silence is heard, after a while for good.
func TestFalseLevelsAreFoundOut(t *testing.T) {
	tb := newTable(t, 0)
	x := speechClip(t, 2, 30*second)
	for at := 3 * second; at < len(x); at += 4 * second {
		clear(x[at : at+second])
	}
	mem, src := tb.tells(1, x)
	src.says = func(uint8) uint8 { return 127 }
	honest, _ := tb.tells(2, speechClip(t, 3, 30*second))
	tb.ticks(15 * 50)
	if !mem.trust.none || honest.trust.none || tb.Stats().Distrusted != 1 {
		t.Errorf("after 15 s: %+v, %+v", mem.trust, honest.trust)
	}
	before := src.decoded
	tb.ticks(100)
	if src.decoded != before+100 {
		t.Errorf("%d of 100 decoded", src.decoded-before)
	}
}

// The level of the extension counts where nothing is decoded, the sound's own
// where it is.
func TestLevels(t *testing.T) {
	tb := newTable(t, 0)
	x := append(audiotest.Noise(1, 32768*0.0005, second), audiotest.Tone(300, 12000, second)...)
	mem, src := tb.tells(1, x)
	src.says = func(level uint8) uint8 {
		if level < 60 {
			return 20 // 8 dB less than it is
		}
		return 77
	}
	tb.ticks(10)
	if mem.Level() != 77 || mem.Info().Level != 77 || !mem.Info().Skipped {
		t.Errorf("not decoded: %d, want what he says", mem.Level())
	}
	tb.ticks(60)
	if mem.Level() != 12 {
		t.Errorf("decoded: %d, want what it is", mem.Level())
	}
}

// In a hall of silent people nobody is decoded but for the checks, which are
// spread over time.
func TestNobodyIsLookedAtInSilence(t *testing.T) {
	tb := newTable(t, 0)
	for i := range 100 {
		tb.tells(uint32(1000+i), audiotest.Noise(uint64(i), 8, 8*second))
	}
	var most uint64
	for range 3 * trustTicks / 2 {
		before := tb.Stats().Decoded
		tb.ticks(1)
		most = max(most, tb.Stats().Decoded-before)
	}
	s := tb.Stats()
	if s.Decoded != s.Checked || s.Checked < 100 || s.Checked > 200 || most > 4 || len(tb.active) != 0 {
		t.Errorf("%d decoded, %d of them checks, up to %d in a tick: want one each in 5 s", s.Decoded, s.Checked, most)
	}
}
