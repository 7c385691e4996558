package mixer

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/audio"
)

func TestPacketsAreHandedOnWhereNothingIsLost(t *testing.T) {
	for _, tc := range []struct {
		told   bool
		maxBps int
		loss   float64
		want   int
	}{{false, 0, 0, 0}, {true, 0, 0, 64_000}, {true, 24_000, 0, 24_000}, {true, 510_000, 0, 64_000}, {true, 0, 0.05, 0}} {
		var c lossClass
		if tc.told {
			c.limit(tc.maxBps, false)
		}
		for range 20 {
			c.report(tc.loss)
		}
		if got := c.relayBps(); got != tc.want {
			t.Errorf("%+v: %d b/s", tc, got)
		}
	}
}

// chat sends phrases of a tone with pauses, with their levels, in real time, until
// the test calls stop.
func chat(t *testing.T, p *Participant, hz float64) (stop func()) {
	t.Helper()
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		defer enc.Close()
		ticker := time.NewTicker(codec.FrameDuration)
		defer ticker.Stop()
		var pcm codec.AudioFrame
		for n := int64(0); ; n++ {
			clear(pcm[:])
			// Each in a rhythm of his own: else one is taken for the other's echo.
			if n%(40+int64(hz)/40) > 10 {
				for i := range pcm {
					pcm[i] = int16(4200 * math.Sin(2*math.Pi*hz*float64(n*codec.FrameSamples+int64(i))/codec.SampleRate))
				}
			}
			f := codec.NewEncodedFrame(1275)
			size, err := enc.Encode(&pcm, f.Buffer())
			if err != nil {
				t.Error(err)
				return
			}
			f.Codec, f.Data = codec.Opus, f.Buffer()[:size]
			f.Seq, f.PTS, f.Arrival = n, time.Duration(n)*codec.FrameDuration, codec.Now()
			f.Level = codec.AudioLevel{DBov: audio.Level(pcm[:]), Valid: true}
			p.WriteAudio(f)
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// Two who hear only each other get each other's packets; whatever else is to be
// heard, or is to be heard otherwise, is.
func TestTwoAreRelayed(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	tones := []float64{440, 770, 1310}
	p, c := enter(t, r, "one")
	q, d := enter(t, r, "two")
	p.LimitSound(0, true)
	q.LimitSound(0, true)
	defer chat(t, p, tones[0])()
	stop := chat(t, q, tones[1])
	defer func() { stop() }()
	mix := func() audio.MixStats { return m.Stats().Mix }
	// passes waits until both, or neither, are relayed.
	passes := func(what string) {
		before := mix()
		await(t, what, func() bool { s := mix(); return s.ToRelay-s.FromRelay == 2 && s.Relayed > before.Relayed+50 })
		await(t, what+": they hear each other", func() bool {
			return slices.Equal(hears(c, tones), []bool{false, true, false}) && slices.Equal(hears(d, tones), []bool{true, false, false})
		})
	}
	passes("at first")
	await(t, "both are taken to speak", func() bool { return p.Info().Speaking && q.Info().Speaking })

	x, e := enter(t, r, "three")
	stopThird := chat(t, x, tones[2])
	await(t, "all hear all others", func() bool {
		return slices.Equal(hears(c, tones), []bool{false, true, true}) &&
			slices.Equal(hears(d, tones), []bool{true, false, true}) && slices.Equal(hears(e, tones), []bool{true, true, false})
	})
	await(t, "nobody is relayed", func() bool { s := mix(); return s.ToRelay == s.FromRelay })
	stopThird()
	x.Leave(nil)
	passes("without the third")

	if _, err := r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Muted: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	await(t, "the muted is not heard", func() bool { return !slices.Contains(hears(d, tones), true) })
	if _, err := r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Muted: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	passes("unmuted")

	r.cfg.Codecs.Suppressor = func() (Suppressor, error) { return halver{new(bool)}, nil }
	if _, err := r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Suppress: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	await(t, "who is worked on is not relayed", func() bool { s := mix(); return s.ToRelay-s.FromRelay == 1 })
	if _, err := r.UpdateParticipant(t.Context(), p.ID(), ParticipantPatch{Suppress: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	passes("as he is")

	for range 20 {
		q.Feedback(codec.Feedback{AudioReport: true, AudioLossFraction: 0.1, RTT: 50 * time.Millisecond})
	}
	await(t, "whose link loses is not relayed to", func() bool { s := mix(); return s.ToRelay-s.FromRelay == 1 })
	await(t, "he hears all the same", func() bool { return hears(d, tones)[0] })

	stop()
	q.Leave(nil)
	await(t, "the last one hears nothing", func() bool { return !slices.Contains(hears(c, tones), true) })
	await(t, "nobody is relayed to in the end", func() bool { s := mix(); return s.ToRelay == s.FromRelay })
}
