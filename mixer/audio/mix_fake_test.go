package audio

import (
	"errors"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
)

// fakeEncoder notes what it was given. Its packet is its number and a counter
// that CopyFrom copies, as a real encoder's state would be.
type fakeEncoder struct {
	id     byte
	state  uint32
	last   codec.AudioFrame
	fail   error
	closed int
}

func (e *fakeEncoder) Encode(pcm *codec.AudioFrame, dst []byte) (int, error) {
	if e.fail != nil {
		return 0, e.fail
	}
	e.last = *pcm
	e.state++
	return copy(dst, []byte{e.id, byte(e.state >> 8), byte(e.state)}), nil
}

func (e *fakeEncoder) CopyFrom(src codec.AudioEncoder) error {
	e.state = src.(*fakeEncoder).state
	return nil
}
func (e *fakeEncoder) SetBitrate(int) error    { return nil }
func (e *fakeEncoder) SetPacketLoss(int) error { return nil }
func (e *fakeEncoder) Close() error            { e.closed++; return nil }

// player is a source that plays sound from memory, then silence.
type player struct{ frames []codec.AudioFrame }

func (p *player) Pull(dst *codec.AudioFrame, _ time.Duration, _ uint8) Info {
	clear(dst[:])
	if len(p.frames) > 0 {
		*dst, p.frames = p.frames[0], p.frames[1:]
	}
	level := Level(dst[:])
	return Info{Decoded: 1, Level: level, Silent: level == codec.Silence}
}

// table is a mix with fake encoders.
type table struct {
	*Mix
	t        *testing.T
	encoders []*fakeEncoder
	n        int
}

func newTable(t *testing.T, maxOpen int) *table {
	tb := &table{t: t}
	m, err := NewMix(MixConfig{MaxOpen: maxOpen, NoDTX: true, NoLevelling: true, NewEncoder: func() (codec.AudioEncoder, error) {
		e := &fakeEncoder{id: byte(len(tb.encoders))}
		tb.encoders = append(tb.encoders, e)
		return e, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	tb.Mix = m
	t.Cleanup(func() {
		if err := errors.Join(m.Close(), m.Close()); err != nil {
			t.Error(err)
		}
		for i, e := range tb.encoders {
			if e.closed != 1 {
				t.Errorf("encoder %d closed %d times", i, e.closed)
			}
		}
	})
	return tb
}

func (tb *table) join(csrc uint32, sound []int16) *Member {
	tb.t.Helper()
	var src Puller
	if sound != nil {
		src = &player{ticksOf(sound)}
	}
	mem, err := tb.Join(csrc, src)
	if err != nil {
		tb.t.Fatal(err)
	}
	return mem
}

func (tb *table) ticks(n int) {
	tb.t.Helper()
	for range n {
		if err := tb.Tick(time.Duration(tb.n)*codec.FrameDuration, time.Duration(tb.n)*codec.FrameDuration); err != nil {
			tb.t.Fatal(err)
		}
		tb.n++
	}
}

// hears returns what the encoder behind a frame was given.
func (tb *table) hears(f *codec.EncodedFrame) codec.AudioFrame {
	tb.t.Helper()
	if f == nil {
		tb.t.Fatal("no frame")
	}
	return tb.encoders[f.Data[0]].last
}

func csrcs(f *codec.EncodedFrame) (list []uint32) {
	for _, h := range f.Heard {
		list = append(list, h.CSRC)
	}
	return list
}

// delayed is the sum of tick frames k-1 and k as a limiter gives them out.
func delayed(at int, sounds ...[]int16) (out codec.AudioFrame) {
	for i := range out {
		k := at*codec.FrameSamples + i - LimiterDelay
		var s int32
		for _, x := range sounds {
			if k >= 0 && k < len(x) {
				s += int32(x[k])
			}
		}
		out[i] = int16(s)
	}
	return out
}

func equal(a, b codec.AudioFrame) bool { return slices.Equal(a[:], b[:]) }
