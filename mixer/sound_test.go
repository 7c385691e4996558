package mixer

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/ogg/oggtest"
	"mixdown/codec/opus"
	"mixdown/mixer/audio/audiotest"
)

// writeTone makes an Ogg file with a tone.
func writeTone(t *testing.T, path string, hz float64, length time.Duration) {
	t.Helper()
	enc, err := opus.NewEncoder(opus.EncoderConfig{BitrateBps: 64000})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	var packets [][]byte
	var pcm codec.AudioFrame
	for n := range int(length / codec.FrameDuration) {
		for i := range pcm {
			pcm[i] = int16(6000 * math.Sin(2*math.Pi*hz*float64(n*codec.FrameSamples+i)/codec.SampleRate))
		}
		packet := make([]byte, 1275)
		size, err := enc.Encode(&pcm, packet)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, packet[:size])
	}
	if err := os.WriteFile(path, oggtest.File(oggtest.Head(1, 312, 0), 0, packets...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestInputIsHeardByAllAndEnds(t *testing.T) {
	dir := t.TempDir()
	writeTone(t, filepath.Join(dir, "tone.ogg"), 1310, 2*time.Second)
	if err := os.WriteFile(filepath.Join(dir, "text.ogg"), []byte("not a sound"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	m := newManager(t)
	m.cfg.Media = root
	r := newTestRoom(t, m, RoomConfig{})
	tones := []float64{440, 1310}
	p, c := enter(t, r, "one")
	defer speak(t, p, 440, 80, 128, 128)()
	_, d := enter(t, r, "two")
	await(t, "the participant", func() bool { return hears(d, tones)[0] })

	in, err := r.Play(t.Context(), InputRequest{File: "tone.ogg", GainDB: -3})
	if err != nil {
		t.Fatal(err)
	}
	if in.Duration < 1900*time.Millisecond || in.Duration > 2*time.Second {
		t.Errorf("it lasts %v, want 2 s", in.Duration)
	}
	await(t, "the file and the participant at one", func() bool { h := hears(d, tones); return h[0] && h[1] })
	await(t, "the file alone at who speaks", func() bool { h := hears(c, tones); return !h[0] && h[1] })
	if got, err := r.Input(in.ID); err != nil || got.File != "tone.ogg" {
		t.Errorf("%+v, %v", got, err)
	}
	await(t, "its end", func() bool { return len(r.Inputs()) == 0 })
	await(t, "silence of it", func() bool { return !hears(d, tones)[1] })
	if _, err := r.Input(in.ID); KindOf(err) != NotFound {
		t.Errorf("after its end: %v, want NotFound", err)
	}

	// One that is ended, and one that plays when the room ends.
	in, err = r.Play(t.Context(), InputRequest{File: "tone.ogg"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.EndInput(t.Context(), in.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.EndInput(t.Context(), in.ID); KindOf(err) != NotFound {
		t.Errorf("ended twice: %v, want NotFound", err)
	}
	if _, err := r.Play(t.Context(), InputRequest{File: "tone.ogg"}); err != nil {
		t.Fatal(err)
	}

	for field, req := range map[string]InputRequest{
		"/file":  {File: "../x.ogg"},
		"/gain":  {File: "tone.ogg", GainDB: 99},
		"/group": {File: "tone.ogg", Group: "nobody"},
	} {
		var e *Error
		if _, err := r.Play(t.Context(), req); !errors.As(err, &e) || e.Kind != Invalid || e.Field != field {
			t.Errorf("%+v: %v, want Invalid of %s", req, err, field)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.ogg"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "none.ogg", "text.ogg", "pipe.ogg"} {
		if _, err := r.Play(t.Context(), InputRequest{File: name}); KindOf(err) != Invalid {
			t.Errorf("file %q: %v, want Invalid", name, err)
		}
	}
	for len(r.Inputs()) < maxInputs {
		if _, err := r.Play(t.Context(), InputRequest{File: "tone.ogg"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Play(t.Context(), InputRequest{File: "tone.ogg"}); KindOf(err) != Exhausted {
		t.Errorf("one too many: %v, want Exhausted", err)
	}
}

func TestFloorIsTold(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	p, _ := enter(t, r, "one")
	q, _ := enter(t, r, "two")
	stop := speak(t, p, 440, 80, 128, 128)
	await(t, "the first has the floor", func() bool { return r.main.dominant() == p.ID() })
	stop()
	defer speak(t, q, 700, 80, 128, 128)()
	await(t, "the second has the floor", func() bool { return r.main.dominant() == q.ID() })
	q.Leave(nil)
	await(t, "nobody has the floor", func() bool { return r.main.dominant() == "" })
}

func TestLossChoosesTheClass(t *testing.T) {
	var c lossClass
	c.limit(0, true)
	reports := func(n int, fraction float64) {
		for range n {
			c.report(fraction)
		}
	}
	for _, step := range []struct {
		n        int
		fraction float64
		want     int
	}{
		{10, 0, 0},
		{1, 0.05, 0},            // a single bad second
		{10, 0.04, 1},           // for long
		{3, 0.01, 1},            // it stays
		{10, 0.2, 2},            // much
		{5, 0.05, 2},            // a little better
		{10, 0, 0},              // good again
		{1, math.NaN(), 0},      // nonsense
		{1, math.Inf(1), 0},     // and more of it
		{100, -1, 0}, {2, 1, 2}, // nearly nothing comes through
	} {
		reports(step.n, step.fraction)
		if got := c.class(); got != step.want {
			t.Errorf("after %d reports of %v: class %d, want %d", step.n, step.fraction, got, step.want)
		}
	}
}

func TestClientsLimitTheirClass(t *testing.T) {
	for _, tc := range []struct {
		maxBps int
		fec    bool
		want   int
	}{{0, true, 2}, {0, false, 0}, {40_000, true, 1}, {39_999, true, 0}, {6_000, true, 0}} {
		var c lossClass
		c.limit(tc.maxBps, tc.fec)
		for range 50 {
			c.report(0.3)
		}
		if got := c.class(); got != tc.want {
			t.Errorf("at most %d b/s, correction %v: class %d, want %d", tc.maxBps, tc.fec, got, tc.want)
		}
	}
}

func TestPoorLinksShareAnEncodeOfTheirOwn(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	p, _ := enter(t, r, "speaker")
	defer speak(t, p, 440, 80, 128, 128)()
	q, c := enter(t, r, "poor")
	q.LimitSound(0, true)
	_, d := enter(t, r, "good")
	tones := []float64{440}
	await(t, "both hear", func() bool { return hears(c, tones)[0] && hears(d, tones)[0] })
	for range 10 {
		q.Feedback(codec.Feedback{AudioReport: true, AudioLossFraction: 0.2, RTT: 50 * time.Millisecond})
	}
	// The change waits for a pause in what he hears.
	changed := func() bool { return m.Stats().Mix.ClassChanges > 0 }
	if _, err := r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Muted: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	await(t, "a change of class", changed)
	if _, err := r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Muted: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	await(t, "both hear again", func() bool { return hears(c, tones)[0] && hears(d, tones)[0] })
	if info := q.Info(); info.RTT != 50*time.Millisecond {
		t.Errorf("RTT %v, want what was reported", info.RTT)
	}
}

func ptr[T any](v T) *T { return &v }

// halver stands for a noise suppressor.
type halver struct{ closed *bool }

func (h halver) Process(pcm *codec.AudioFrame) {
	for i := range pcm {
		pcm[i] /= 32
	}
}

func (h halver) Close() error {
	*h.closed = true
	return nil
}

func TestSuppressionCanBeAskedFor(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{NoLevelling: true})
	p, _ := enter(t, r, "speaker")
	stop := speak(t, p, 440, 80, 128, 128)
	defer stop()
	_, c := enter(t, r, "listener")
	level := func() float64 {
		last := locked(c, func() []int16 { return c.mu.pcm[max(0, len(c.mu.pcm)-codec.SampleRate/5):] })
		return audiotest.TonePower(last, 440)
	}
	await(t, "the tone", func() bool { return level() > -25 })
	set := func(on bool) error {
		_, err := r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Suppress: &on})
		return err
	}
	if err := set(true); KindOf(err) != Unavailable {
		t.Errorf("without a suppressor: %v, want Unavailable", err)
	}
	closed := false
	r.cfg.Codecs.Suppressor = func() (Suppressor, error) { return halver{&closed}, nil }
	for _, on := range []bool{true, false} {
		if err := set(on); err != nil {
			t.Fatal(err)
		}
		await(t, "the tone, processed or not", func() bool { return (level() < -40) == on && level() > -60 })
	}
	if closed {
		t.Error("the suppressor was closed in use")
	}
	stop()
	p.Leave(nil)
	if err := m.DeleteRoom(t.Context(), r.Info().ID); err != nil {
		t.Fatal(err)
	}
	<-r.Done()
	if !closed {
		t.Error("the suppressor was not closed")
	}
}
