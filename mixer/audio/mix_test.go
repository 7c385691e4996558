package audio

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/mixer/audio/audiotest"
)

const second = codec.SampleRate

func TestMixConfig(t *testing.T) {
	broken := errors.New("no memory")
	for _, c := range []MixConfig{
		{},
		{NewEncoder: func() (codec.AudioEncoder, error) { return nil, broken }},
		{NewEncoder: func() (codec.AudioEncoder, error) { return &fakeEncoder{}, nil }, MaxOpen: 65},
		{NewEncoder: func() (codec.AudioEncoder, error) { return &fakeEncoder{}, nil }, MaxOpen: -1},
	} {
		if _, err := NewMix(c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}

func TestEverybodyHearsAllButHimself(t *testing.T) {
	tb := newTable(t, 0)
	tones := [][]int16{
		audiotest.Tone(300, 3000, second), audiotest.Tone(500, 3000, second), audiotest.Tone(700, 3000, second),
	}
	var talkers []*Member
	for i, x := range tones {
		talkers = append(talkers, tb.join(uint32(i+1), x))
	}
	listener := tb.join(9, nil)
	silent := tb.join(10, make([]int16, second))
	for range 20 {
		tb.ticks(1)
	}
	for ; tb.n < 40; tb.ticks(1) {
		at := tb.n - 1
		all := delayed(at, tones...)
		if got := tb.hears(listener.Frame()); !equal(got, all) {
			t.Fatalf("tick %d: the listener does not hear the exact sum", at)
		}
		if listener.Frame() != tb.Shared() || silent.Frame() != tb.Shared() {
			t.Fatalf("tick %d: silent members do not share one frame", at)
		}
		for i, mem := range talkers {
			others := slices.Concat(tones[:i], tones[i+1:])
			if got := tb.hears(mem.Frame()); !equal(got, delayed(at, others...)) {
				t.Fatalf("tick %d: talker %d does not hear exactly the others", at, i)
			}
			if !mem.Personal() || slices.Contains(csrcs(mem.Frame()), mem.CSRC()) || len(mem.Frame().Heard) != 2 {
				t.Fatalf("tick %d: talker %d is told of %v", at, i, mem.Frame().Heard)
			}
		}
	}
	if s := tb.Stats(); s.Open != 3 || s.Personal != 3 || s.Encodes != 4*s.Ticks {
		t.Errorf("%+v: want 4 encodes a tick", s)
	}
}

func TestOwnVoiceIsExactlyZero(t *testing.T) {
	tb := newTable(t, 0)
	alone := tb.join(1, audiotest.Speech(1, 5*second))
	tb.join(2, make([]int16, 5*second))
	for range 250 {
		tb.ticks(1)
		if got := tb.hears(alone.Frame()); got != (codec.AudioFrame{}) {
			t.Fatalf("tick %d: the only talker hears something (%v)", tb.n, alone.Gate())
		}
	}
}

// The laws of mixing, on sums without limits.
func TestLawsOfMixing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	voices := make([]Sum, 50)
	for i := range voices {
		for k := range voices[i] {
			voices[i][k] = r.Int32N(65536) - 32768
		}
	}
	var sum, back, silence Sum
	for i := range voices {
		sum.Add(&voices[i])
	}
	for _, i := range r.Perm(len(voices)) {
		back.Add(&voices[i])
		back.Add(&silence)
	}
	if sum != back {
		t.Error("the order of voices, or silence, changes the sum")
	}
	var minus Sum
	for i := range voices {
		minus.Minus(&sum, &voices[i])
		minus.Add(&voices[i])
		if minus != sum {
			t.Fatalf("mix-minus and voice %d are not the sum", i)
		}
	}
}

func TestOrderOfJoiningChangesNothing(t *testing.T) {
	const people = 12
	var sounds [people][]int16
	for i := range sounds {
		sounds[i] = audiotest.Speech(uint64(i), 3*second)
	}
	run := func(order []int) (heard [people][]codec.AudioFrame) {
		tb := newTable(t, 4)
		var members [people]*Member
		for _, i := range order {
			members[i] = tb.join(uint32(i+1), sounds[i])
		}
		for range 150 {
			tb.ticks(1)
			for i, mem := range members {
				heard[i] = append(heard[i], tb.hears(mem.Frame()))
			}
		}
		return heard
	}
	r := rand.New(rand.NewPCG(3, 2))
	a, b := run(r.Perm(people)), run(r.Perm(people))
	for i := range a {
		if !slices.Equal(a[i], b[i]) {
			t.Errorf("member %d hears something else", i)
		}
	}
}

func TestAtMostMaxOpen(t *testing.T) {
	tb := newTable(t, 3)
	var members []*Member
	peak := 1000.0
	for i := range 10 {
		members = append(members, tb.join(uint32(i+1), audiotest.Tone(200+50*float64(i), int(peak), 2*second)))
		peak *= 1.3
	}
	for range 80 {
		tb.ticks(1)
		if open := tb.Stats().Open; open > 3 {
			t.Fatalf("tick %d: %d gates open", tb.n, open)
		}
	}
	for i, mem := range members {
		if mem.Speaking() != (i >= 7) {
			t.Errorf("member %d of 10, the last being the loudest: %v", i, mem.Gate())
		}
	}
	if got := csrcs(tb.Shared()); !slices.Equal(got, []uint32{10, 9, 8}) {
		t.Errorf("heard %v, want the loudest first", got)
	}
	if s := tb.Stats(); s.Crowded == 0 || s.Personal > 6 {
		t.Errorf("%+v", s)
	}
}

func TestHeardNamesFive(t *testing.T) {
	tb := newTable(t, 0)
	tb.SetOutside(1)
	var first *Member
	for i := range 8 {
		mem := tb.join(uint32(i+1), audiotest.Tone(200+50*float64(i), 9000-1000*i, second))
		if i == 0 {
			first = mem
		}
	}
	tb.ticks(20)
	if got := csrcs(tb.Shared()); !slices.Equal(got, []uint32{1, 2, 3, 4, 5}) {
		t.Errorf("shared: %v", got)
	}
	if got := csrcs(first.Frame()); !slices.Equal(got, []uint32{2, 3, 4, 5, 6}) {
		t.Errorf("the loudest hears %v", got)
	}
	if h := tb.Shared().Heard[0]; h.LevelDBov != 14 {
		t.Errorf("level %d, want 14 (a sine of -14.2 dBov)", h.LevelDBov)
	}
	var names []uint32
	tb.Heard(func(mem *Member, _ uint8) bool {
		names = append(names, mem.CSRC())
		return len(names) < 2
	})
	if !slices.Equal(names, []uint32{1, 2}) {
		t.Errorf("Heard gave %v", names)
	}
}

func TestMuteAndGainFade(t *testing.T) {
	tb := newTable(t, 0)
	mem := tb.join(1, audiotest.Tone(300, 12000, 4*second))
	listener := tb.join(2, nil)
	var out []int16
	steps := map[int]func(){
		20: func() { mem.SetMuted(true) },
		40: func() { mem.SetMuted(false) },
		60: func() { mem.SetGain(0.5) },
		80: func() { mem.SetGain(2) },
		90: func() { mem.SetGain(0) },
	}
	for i := range 100 {
		if f := steps[i]; f != nil {
			f()
		}
		tb.ticks(1)
		pcm := tb.hears(listener.Frame())
		out = append(out, pcm[:]...)
	}
	for _, test := range []struct{ tick, want int }{{15, 12}, {30, 127}, {50, 12}, {70, 18}, {85, 6}, {95, 127}} {
		if got := Level(out[test.tick*960:][:960]); int(got) != test.want {
			t.Errorf("tick %d: level %d, want %d", test.tick, got, test.want)
		}
	}
	if clicks := audiotest.Clicks(out); len(clicks) > 0 {
		t.Errorf("clicks: %v", clicks)
	}
	if tb.ticks(1); mem.Level() != 12 {
		t.Errorf("level of a muted member is %d, want his own", mem.Level())
	}
}

func TestLeavingInMidWordFades(t *testing.T) {
	tb := newTable(t, 0)
	mem := tb.join(1, audiotest.Tone(330, 12000, second))
	listener := tb.join(2, nil)
	var out []int16
	for i := range 50 {
		if i == 25 {
			tb.Leave(mem)
			tb.Leave(mem)
		}
		tb.ticks(1)
		pcm := tb.hears(listener.Frame())
		out = append(out, pcm[:]...)
	}
	if clicks := audiotest.Clicks(out); len(clicks) > 0 {
		t.Errorf("clicks: %v", clicks)
	}
	if Level(out[27*960:]) != codec.Silence {
		t.Error("he is still heard")
	}
}

func TestNobodyListensNothingIsCoded(t *testing.T) {
	tb := newTable(t, 0)
	mem := tb.join(1, audiotest.Tone(300, 12000, 4*second))
	if err := mem.SetListening(false); err != nil {
		t.Fatal(err)
	}
	tb.ticks(30)
	if s := tb.Stats(); s.Encodes != 0 || tb.Shared() != nil || mem.Frame() != nil || !mem.Speaking() {
		t.Errorf("%+v", s)
	}
	tb.SetOutside(1)
	tb.ticks(10)
	if s := tb.Stats(); s.Encodes != 10 || tb.Shared() == nil || mem.Frame() != nil {
		t.Errorf("a recorder listens: %+v", s)
	}
	if err := mem.SetListening(true); err != nil {
		t.Fatal(err)
	}
	tb.ticks(10)
	if s := tb.Stats(); s.Encodes != 30 || mem.Frame() == nil || mem.Frame() == tb.Shared() {
		t.Errorf("the talker listens too: %+v", s)
	}
	if err := mem.SetListening(false); err != nil {
		t.Fatal(err)
	}
	tb.SetOutside(0)
	tb.ticks(10)
	if s := tb.Stats(); s.Encodes != 30 || s.Personal != 0 {
		t.Errorf("nobody listens again: %+v", s)
	}
}

func TestJoinRefusesTakenCSRC(t *testing.T) {
	tb := newTable(t, 0)
	a := tb.join(1, nil)
	if _, err := tb.Join(1, nil); err == nil {
		t.Error("no error")
	}
	tb.Leave(a)
	tb.join(1, nil)
}

func TestEncodeErrorHurtsOneTickOnly(t *testing.T) {
	tb := newTable(t, 0)
	tb.SetOutside(1)
	mem := tb.join(1, audiotest.Tone(300, 12000, second))
	tb.ticks(10)
	tb.encoders[0].fail = errors.New("broken")
	if err := tb.Tick(time.Second, time.Second); err == nil || tb.Shared() != nil {
		t.Error("a failed encode is not told")
	}
	if mem.Frame() == nil {
		t.Error("it took another's frame with it")
	}
	tb.encoders[0].fail = nil
	tb.ticks(1)
	if tb.Shared() == nil || tb.Stats().EncodeErrors != 1 {
		t.Errorf("%+v", tb.Stats())
	}
}

func TestFramesCarryWhatTransportsNeed(t *testing.T) {
	tb := newTable(t, 0)
	tb.SetOutside(1)
	mem := tb.join(1, audiotest.Tone(300, 12000, second))
	tb.ticks(20)
	const far = 100 * time.Hour
	if err := tb.Tick(far, time.Second); err != nil {
		t.Fatal(err)
	}
	own, shared := mem.Frame(), tb.Shared()
	if own.PTS != far || shared.PTS != far || own.Codec != codec.Opus || own.Stream == shared.Stream || own.Stream == 0 {
		t.Errorf("own %+v, shared %+v", own, shared)
	}
	kept := shared.Retain()
	data := slices.Clone(kept.Data)
	tb.ticks(5)
	if !slices.Equal(kept.Data, data) {
		t.Error("a retained frame changed")
	}
	kept.Release()
}

func TestEncoderThatCannotBeMade(t *testing.T) {
	broken := errors.New("no memory")
	made := 0
	m, err := NewMix(MixConfig{NewEncoder: func() (codec.AudioEncoder, error) {
		if made++; made > 1 {
			return nil, broken
		}
		return &fakeEncoder{}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Join(1, &player{}); !errors.Is(err, broken) {
		t.Errorf("join: %v, want the encoder's error", err)
	}
	if mem, err := m.Join(1, nil); err != nil || mem.Frame() != nil {
		t.Errorf("a listener needs no encoder of his own: %v", err)
	}
	if err := errors.Join(m.Close(), m.Close()); err != nil {
		t.Error(err)
	}
	if _, err := m.Join(2, nil); !errors.Is(err, codec.ErrClosed) {
		t.Errorf("join after close: %v", err)
	}
	if err := m.Tick(0, 0); !errors.Is(err, codec.ErrClosed) {
		t.Errorf("tick after close: %v", err)
	}
}

func TestMoreTailsThanEncoders(t *testing.T) {
	// Two take turns with one place: while the first is in his tail, the
	// encoder that was provided for him is still his.
	tb := newTable(t, 1)
	var members []*Member
	for i := range 6 {
		x := make([]int16, 2*second)
		copy(x[i*second/5:], audiotest.Tone(300, 8000, second/10))
		members = append(members, tb.join(uint32(i+1), x))
	}
	for range 100 {
		tb.ticks(1)
		for _, mem := range members {
			if mem.Gate() != GateClosed && !mem.Personal() {
				t.Fatalf("tick %d: %d hears himself", tb.n, mem.CSRC())
			}
		}
		if open := tb.Stats().Open; open > 1 {
			t.Fatalf("tick %d: %d gates open", tb.n, open)
		}
	}
}
