package audio

import (
	"fmt"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/mixer/audio/audiotest"
)

// mute is a source that costs nothing: packets that say that they are silent.
type mute struct{ level uint8 }

func (s *mute) Pull(_ *codec.AudioFrame, _ time.Duration, quiet uint8) Info {
	if s.level >= quiet {
		return Info{Silent: true, Skipped: true, Level: s.level}
	}
	return Info{Silent: true, Level: codec.Silence, Decoded: 1}
}

// endless plays the same for ever.
type endless struct {
	frames []codec.AudioFrame
	at     int
}

func (s *endless) Pull(dst *codec.AudioFrame, _ time.Duration, _ uint8) Info {
	*dst = s.frames[s.at%len(s.frames)]
	s.at++
	return Info{Decoded: 1, Level: 20}
}

// hall is many who listen and few who talk, with encoders that cost nothing.
func hall(t testing.TB, people, talking int) *Mix {
	m, err := NewMix(MixConfig{NewEncoder: func() (codec.AudioEncoder, error) { return &fakeEncoder{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	for i := range people {
		var src Puller = &mute{70}
		if i < talking {
			src = &endless{frames: ticksOf(audiotest.Speech(uint64(i), second))}
		}
		if _, err := m.Join(uint32(i+1), src); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 100 {
		tickMix(t, m, n)
	}
	return m
}

// A tick of a full house allocates nothing, whatever its members do.
func TestMixAllocatesNothing(t *testing.T) {
	for _, talking := range []int{0, 3, 20} {
		m := hall(t, 100, talking)
		for i, mem := range m.members {
			if i%7 == 0 {
				mem.SetLevelling(true)
				mem.SetEcho(true)
			}
		}
		n := 100
		if allocs := testing.AllocsPerRun(200, func() { tickMix(t, m, n); n++ }); allocs != 0 && !raceEnabled {
			t.Errorf("%d talk: %v allocations a tick", talking, allocs)
		}
	}
}

// BenchmarkMix is a tick without codecs and jitter buffers: what mixing itself
// costs.
func BenchmarkMix(b *testing.B) {
	for _, c := range []struct{ people, talking int }{{30, 0}, {30, 2}, {30, 30}, {500, 0}, {500, 3}} {
		b.Run(fmt.Sprintf("people=%d/talking=%d", c.people, c.talking), func(b *testing.B) {
			m := hall(b, c.people, c.talking)
			n := 100
			b.ReportAllocs()
			for b.Loop() {
				tickMix(b, m, n)
				n++
			}
		})
	}
}
