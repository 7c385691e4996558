package audio

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/audio/audiotest"
)

// classMix is a mix with real encoders in classes.
func classMix(t testing.TB, classes ...Class) *Mix {
	t.Helper()
	m, err := NewMix(MixConfig{
		Classes: classes, NoLevelling: true,
		NewEncoder: func() (codec.AudioEncoder, error) { return opus.NewEncoder(opus.EncoderConfig{FEC: true}) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func joinMix(t testing.TB, m *Mix, csrc uint32, sound []int16) *Member {
	t.Helper()
	var src Puller
	if sound != nil {
		src = &player{ticksOf(sound)}
	}
	mem, err := m.Join(csrc, src)
	if err != nil {
		t.Fatal(err)
	}
	return mem
}

func tickMix(t testing.TB, m *Mix, n int) {
	t.Helper()
	at := time.Duration(n) * codec.FrameDuration
	if err := m.Tick(at, at); err != nil {
		t.Fatal(err)
	}
}

var threeClasses = []Class{{BitrateBps: 32_000}, {BitrateBps: 48_000, PacketLossPercent: 15}, {BitrateBps: 20_000}}

func TestClassesAreChecked(t *testing.T) {
	for name, classes := range map[string][]Class{
		"four":           {{32_000, 0}, {32_000, 0}, {32_000, 0}, {32_000, 0}},
		"no rate":        {{}},
		"not hybrid":     {{BitrateBps: 32_000}, {BitrateBps: 8_000}},
		"impossible FEC": {{BitrateBps: 32_000, PacketLossPercent: 101}},
	} {
		made, closed := 0, 0
		if _, err := NewMix(MixConfig{Classes: classes, NewEncoder: func() (codec.AudioEncoder, error) {
			enc, err := opus.NewEncoder(opus.EncoderConfig{})
			made++
			return &closeCounter{enc, &closed}, err
		}}); err == nil {
			t.Errorf("%s: no error", name)
		}
		if made != closed {
			t.Errorf("%s: %d encoders made, %d closed", name, made, closed)
		}
	}
	m := classMix(t, threeClasses...)
	mem := joinMix(t, m, 1, nil)
	for _, class := range []int{-1, 3} {
		if mem.SetClass(class) == nil {
			t.Errorf("class %d: no error", class)
		}
	}
}

type closeCounter struct {
	*opus.Encoder
	n *int
}

func (c *closeCounter) Close() error { *c.n++; return c.Encoder.Close() }

// A tick codes once for each class that somebody listens in, and each at its
// rate.
func TestOneEncodePerClassInUse(t *testing.T) {
	m := classMix(t, threeClasses...)
	m.config.NoDTX = true
	talker := joinMix(t, m, 1, audiotest.Speech(1, 30*second))
	if err := talker.SetListening(false); err != nil {
		t.Fatal(err)
	}
	var listeners []*Member
	for i := range 9 {
		listeners = append(listeners, joinMix(t, m, uint32(10+i), nil))
	}
	n := 0
	run := func(ticks int) (encodes uint64, kbps [3]float64) {
		before := m.Stats()
		for range ticks {
			tickMix(t, m, n)
			n++
			for i, l := range listeners {
				if l.Frame() == nil {
					t.Fatalf("tick %d: nothing for %d", n, i)
				}
				kbps[l.Class()] += float64(8*len(l.Frame().Data)) * 50 / 1000 / float64(ticks)
			}
		}
		return m.Stats().Encodes - before.Encodes, kbps
	}
	run(20)
	if e, _ := run(100); e != 100 {
		t.Errorf("one class: %d encodes in 100 ticks", e)
	}
	for i, l := range listeners {
		if err := l.SetClass(i % 3); err != nil {
			t.Fatal(err)
		}
	}
	run(300) // there is a pause in three seconds of speech... and in six for sure
	for i, l := range listeners {
		if l.Class() != i%3 {
			t.Errorf("listener %d is still in class %d", i, l.Class())
		}
	}
	e, kbps := run(400)
	if e != 1200 {
		t.Errorf("three classes: %d encodes in 400 ticks", e)
	}
	for class, want := range []float64{32, 48, 20} {
		if got := kbps[class] / 3; got < want*0.6 || got > want*1.25 {
			t.Errorf("class %d: %.1f kb/s in speech, want about %.0f", class, got, want)
		}
	}
	if s := m.Stats(); s.ClassChanges != 6 {
		t.Errorf("%d changes of class, want 6", s.ClassChanges)
	}
	for _, l := range listeners {
		if l.Class() > 0 {
			m.Leave(l)
		}
	}
	listeners = listeners[:0]
	if e, _ := run(100); e != 100 {
		t.Errorf("one class again: %d encodes in 100 ticks", e)
	}
	if m.Shared() == nil {
		t.Error("class 0 has listeners and no frame")
	}
}

// A class changes only where it is not heard, for those who hear the shared
// mix and for those who are in it.
func TestClassChangesInQuietOnly(t *testing.T) {
	story := audiotest.Speech(1, 20*second)
	m := classMix(t, threeClasses...)
	m.config.NoDTX = true
	joinMix(t, m, 1, story)
	joinMix(t, m, 2, audiotest.Speech(5, 20*second))
	listener, talker := joinMix(t, m, 3, nil), joinMix(t, m, 4, audiotest.Tone(300, 4000, 20*second))
	members := []*Member{listener, talker}
	decoders := []*opus.Decoder{realDecoder(t), realDecoder(t)}
	heard := make([][]int16, 2)
	changes := make([]int, 2)
	pcm := make([]int16, codec.MaxPacketSamples)
	for n := range 20 * 50 {
		if n%25 == 10 {
			for _, mem := range members {
				if err := mem.SetClass((mem.wantClass + 1) % 3); err != nil {
					t.Fatal(err)
				}
			}
		}
		before := []int{listener.Class(), talker.Class()}
		tickMix(t, m, n)
		for i, mem := range members {
			if mem.Class() != before[i] {
				changes[i]++
				in := &m.room.pcm
				if mem.out != nil {
					in = &mem.out.pcm
				}
				if l := Level(in[:]); l < returnQuiet {
					t.Errorf("tick %d: %d changes its class at -%d dBov", n, i, l)
				}
			}
			got, err := decoders[i].Decode(mem.Frame().Data, pcm)
			if err != nil {
				t.Fatal(err)
			}
			heard[i] = append(heard[i], pcm[:got]...)
		}
	}
	// The listener hears a tone without a pause until it stops being sound that
	// stands out.
	if changes[1] < 5 {
		t.Errorf("changes: %v", changes)
	}
	for i, x := range heard {
		if clicks := audiotest.Clicks(x); len(clicks) > 0 {
			t.Errorf("%d hears clicks: %v", i, clicks)
		}
	}
}

// Whoever speaks out of a class goes on in it, bit by bit.
func TestPersonalMixIsACopyOfTheClass(t *testing.T) {
	m := classMix(t, threeClasses...)
	story := audiotest.Speech(1, 20*second)
	joinMix(t, m, 1, story)
	mem := joinMix(t, m, 2, interjections(20*second))
	if err := mem.SetClass(1); err != nil {
		t.Fatal(err)
	}
	witness, err := opus.NewEncoder(opus.EncoderConfig{FEC: true})
	if err != nil {
		t.Fatal(err)
	}
	defer witness.Close()
	packet := make([]byte, maxPacketBytes)
	compared, following := 0, false
	for n := range 20 * 50 {
		tickMix(t, m, n)
		switch {
		case !mem.Personal():
			following = false
		case mem.Gate() == GateOpening:
			following = true
		}
		shared := m.classes[1].enc.(*opus.Encoder)
		if following {
			size, err := witness.Encode(&mem.out.pcm, packet)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(packet[:size], mem.Frame().Data) {
				t.Fatalf("tick %d: not what his class' encoder would have sent", n)
			}
			compared++
		} else if err := witness.CopyFrom(shared); err != nil {
			t.Fatal(err)
		}
	}
	if mem.Class() != 1 || compared < 100 {
		t.Errorf("class %d, %d packets compared", mem.Class(), compared)
	}
}

// While nobody is heard nothing is coded, and what is sent instead is what
// libopus' DTX sends. Listeners hear silence, and then the first word: whole, if
// they get the last silent packet right before it.
func TestSilenceIsNotCoded(t *testing.T) {
	m := classMix(t, threeClasses...)
	// One second of a voice, three of nothing, and again from where it is loud.
	clip := speechClip(t, 1, 4*second)
	onset := clip[2*second:]
	for Level(onset[:960]) > 20 {
		onset = onset[960:]
	}
	for _, x := range [][]int16{clip[:second], onset[:second]} {
		for i := range second / 50 {
			x[len(x)-1-i] = int16(int(x[len(x)-1-i]) * i / (second / 50))
		}
	}
	words := slices.Concat(clip[:second], make([]int16, 3*second), onset[:second], make([]int16, 3*second))
	joinMix(t, m, 1, words)
	listener, other := joinMix(t, m, 2, nil), joinMix(t, m, 3, nil)
	if err := other.SetClass(1); err != nil {
		t.Fatal(err)
	}
	m.SetOutside(1)
	receivers := [...]*receiver{{name: "file"}, {name: "network"}, {name: "primed"}}
	for _, r := range receivers {
		r.dec = realDecoder(t)
	}
	var sent, first, after, encodes int
	paused := false
	var last []byte
	for n := range 8 * 50 {
		before := m.Stats().Encodes
		tickMix(t, m, n)
		f := listener.Frame()
		if f == nil || f.PTS != time.Duration(n)*codec.FrameDuration || f.DTX != other.Frame().DTX || m.Shared() != f {
			t.Fatalf("tick %d: %+v", n, f)
		}
		if f.DTX && (m.Stats().Encodes != before || len(f.Heard) > 0) {
			t.Errorf("tick %d: silence was coded, or has contributors", n)
		}
		if n > 100 && n < 190 {
			encodes += int(m.Stats().Encodes - before)
		}
		starts, ends := f.DTX && !paused, !f.DTX && paused
		if starts {
			first++
			if len(f.Data) != 1 {
				t.Errorf("tick %d: the pause starts with %x", n, f.Data)
			}
		}
		if ends {
			after++
			receivers[2].prime(t, last)
		}
		paused, last = f.DTX, slices.Clone(f.Data)
		receivers[0].take(t, f.Data)
		if f.DTX && !starts {
			receivers[1].take(t, nil)
			receivers[2].take(t, nil)
			continue
		}
		sent++
		receivers[1].take(t, f.Data)
		receivers[2].take(t, f.Data)
	}
	t.Logf("%d of 400 packets sent, %d starts of pauses, %d ends", sent, first, after)
	if sent > 230 || first < 10 || after < 10 {
		t.Errorf("%d packets sent, %d first of a pause, %d after one", sent, first, after)
	}
	if encodes > 2*5 {
		t.Errorf("%d encodes in 1.8 s of silence, two classes", encodes)
	}
	for _, r := range receivers {
		if clicks := audiotest.Clicks(r.heard); len(clicks) > 0 {
			t.Errorf("%s: clicks at %v", r.name, clicks)
		}
		for n := 2 * 50; n < 4*50; n++ {
			if l := r.level(n); l < 80 {
				t.Errorf("%s: tick %d of the pause is at -%d dBov", r.name, n, l)
			}
		}
		// A decoder that bridged the pause by itself expects the voice to be
		// fainter than it is, for some packets.
		most := map[string]int{"file": 1, "primed": 1, "network": 14}[r.name]
		for n := 201; n < 206; n++ {
			if off := r.level(n) - receivers[0].level(n); off > most || off < -most {
				t.Errorf("%s: tick %d after the pause is %d dB too faint", r.name, n, off)
			}
		}
	}
}

// receiver is somebody who decodes.
type receiver struct {
	name  string
	dec   *opus.Decoder
	heard []int16
}

func (r *receiver) take(t *testing.T, packet []byte) {
	t.Helper()
	pcm := make([]int16, codec.MaxPacketSamples)
	n, err := codec.FrameSamples, error(nil)
	if packet == nil {
		err = r.dec.Conceal(pcm[:n])
	} else {
		n, err = r.dec.Decode(packet, pcm)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.heard = append(r.heard, pcm[:n]...)
}

// prime decodes a packet in place of what was made up for it.
func (r *receiver) prime(t *testing.T, packet []byte) {
	r.heard = r.heard[:len(r.heard)-codec.FrameSamples]
	r.take(t, packet)
}

func (r *receiver) level(tick int) int {
	return int(Level(r.heard[tick*codec.FrameSamples:][:codec.FrameSamples]))
}

// Silence costs nothing, however many listen; who does not want that, pays.
func TestNoDTX(t *testing.T) {
	tb := newTable(t, 0)
	tb.join(1, make([]int16, second))
	tb.ticks(100)
	if s := tb.Stats(); s.Encodes != 100 || s.Silent != 0 || tb.Shared().DTX {
		t.Errorf("%+v", s)
	}
	tb.config.NoDTX = false
	tb.ticks(1000)
	if s := tb.Stats(); s.Encodes != 100+1000/dtxRefresh || s.Silent != 1000 {
		t.Errorf("%+v: want one encode in %d ticks", s, dtxRefresh)
	}
}

func TestClassEncoderFails(t *testing.T) {
	tb := newTable(t, 0)
	tb.join(1, audiotest.Tone(300, 6000, second))
	tb.SetOutside(1)
	broken := errors.New("broken")
	tb.encoders[0].fail = broken
	if err := tb.Tick(0, 0); !errors.Is(err, broken) || tb.Stats().EncodeErrors != 1 {
		t.Errorf("%v, %+v", err, tb.Stats())
	}
}

// Of three who speak two leave, and somebody comes before the next tick.
func TestJoinAfterManyHaveLeft(t *testing.T) {
	m := classMix(t)
	var speakers []*Member
	for i := range 3 {
		speakers = append(speakers, joinMix(t, m, uint32(i+1), audiotest.Tone(440, 9000, 2*codec.SampleRate)))
	}
	for n := range 50 {
		tickMix(t, m, n)
	}
	if len(m.heard) != len(speakers) {
		t.Fatalf("%d are heard, want all %d", len(m.heard), len(speakers))
	}
	for _, mem := range speakers {
		m.Leave(mem)
	}
	joinMix(t, m, 9, nil)
	tickMix(t, m, 50)
}

// A mix of one's own that could never be coded has no packet to rest on, nor has
// one whose encoder somebody else had before.
func TestOwnEncoderFailsInSilence(t *testing.T) {
	tb := newTable(t, 0)
	tb.SetOutside(1)
	mem := tb.join(1, audiotest.Tone(300, 6000, 2*second))
	broken := errors.New("broken")
	tb.config.NoDTX, tb.encoders[1].fail = false, broken // the first encoder is the shared mix's
	for i := range 2 * dtxRefresh {
		at := time.Duration(i) * codec.FrameDuration
		if err := tb.Tick(at, at); mem.Personal() && !errors.Is(err, broken) || mem.Frame() != nil {
			t.Fatalf("tick %d: %v, %v", i, err, mem.Frame())
		}
	}
	if !mem.Personal() {
		t.Error("he has no mix of his own: that tells nothing")
	}
}
