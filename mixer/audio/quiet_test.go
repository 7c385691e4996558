package audio

import (
	"math"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/audio/audiotest"
)

// said gives packets the level that a client measures of each (RFC 6464).
func said(levels []uint8, edit func(*codec.EncodedFrame) *codec.EncodedFrame) func(*codec.EncodedFrame) *codec.EncodedFrame {
	return func(f *codec.EncodedFrame) *codec.EncodedFrame {
		if f = edit(f); f != nil {
			f.Level = codec.AudioLevel{DBov: levels[int(f.Seq)%len(levels)], Valid: true}
		}
		return f
	}
}

func levelsOf(x []int16) (levels []uint8) {
	for _, f := range ticksOf(x) {
		levels = append(levels, Level(f[:]))
	}
	return levels
}

// snr compares two sounds, in dB. What differs by less than -75 dBov, which is
// the grain of comfort noise, is the same.
func snr(want, got []int16) float64 {
	var signal, noise float64
	for i := range want {
		d := float64(want[i]) - float64(got[i])
		signal += float64(want[i]) * float64(want[i])
		noise += d * d
	}
	if noise/float64(len(want)) < 6*6 {
		return math.Inf(1)
	}
	return 10 * math.Log10(signal/noise)
}

// A playout that skips what is silent gives, of all that is not, the sound of
// one that decodes everything, from the first sample of an onset on.
func TestSkippedSilenceLosesNoOnset(t *testing.T) {
	const quiet, hold = 50, 8
	length := simulated(30*time.Second, time.Minute, time.Minute)
	x := audiotest.Speech(21, int(length/time.Second)*second)
	for _, c := range []opus.EncoderConfig{{}, {DTX: true}, {FEC: true, PacketLossPercent: 10}} {
		packets, levels := codedWith(t, c, x), levelsOf(x)
		var links [2]*link
		for i := range links {
			l := newRealLink(t)
			l.phase = 5 * ms
			l.replay(packets)
			l.edit = said(levels, l.edit)
			links[i] = l
		}
		all, some := links[0], links[1]
		open := hold // ticks that a gate stays open after sound
		some.quiet = func(int) uint8 {
			if n := len(some.infos); n > 0 && some.infos[n-1].Level < quiet {
				open = hold
			}
			if open--; open > 0 {
				return DecodeAlways
			}
			return quiet
		}
		all.run(length)
		some.run(length)
		onsets, skipped, worst := 0, 0, math.Inf(1)
		for i, info := range some.infos {
			want, got := all.pcm[i*codec.FrameSamples:][:codec.FrameSamples], some.pcm[i*codec.FrameSamples:][:codec.FrameSamples]
			if info.PTS != all.infos[i].PTS {
				t.Fatalf("%+v: tick %d plays %v, the other playout %v", c, i, info.PTS, all.infos[i].PTS)
			}
			if info.Skipped {
				skipped++
				if !info.Silent || Level(got) != codec.Silence {
					t.Fatalf("tick %d: skipped, but %+v", i, info)
				}
				if info.Level < quiet || info.Decoded != 0 {
					t.Fatalf("tick %d: %+v", i, info)
				}
				continue
			}
			if i > 0 && some.infos[i-1].Skipped {
				onsets++
				worst = min(worst, snr(want, got))
				worst = min(worst, snr(want[:240], got[:240]))
			}
		}
		s := some.playout.Stats()
		t.Logf("%+v: %d of %d ticks skipped, %d onsets, worst SNR %.1f dB, %d packets decoded, %d undecoded", c, skipped, some.tick, onsets, worst,
			some.decodes(), s.Undecoded)
		if onsets < 10 || skipped < 200 || worst < 25 {
			t.Errorf("%+v: %d onsets, %d ticks skipped, worst SNR of an onset %.1f dB, want 25", c, onsets, skipped, worst)
		}
		if uint64(some.decodes()) > s.Packets-s.Undecoded+uint64(3*onsets) {
			t.Errorf("%+v: %d decodes for %d packets that were wanted and %d onsets", c, some.decodes(), s.Packets-s.Undecoded, onsets)
		}
	}
}

// decodes counts all that the decoder did.
func (l *link) decodes() (n int) {
	for _, info := range l.infos {
		n += info.Decoded
	}
	return n
}

// What a long packet holds is there at once when it is wanted after all.
func TestSkippedPacketIsPutBack(t *testing.T) {
	for _, samples := range []int{120, 480, 960, 2880, 5760} {
		l := newLink(t, loud)
		l.samples, l.phase = samples, 1*ms
		l.edit = func(f *codec.EncodedFrame) *codec.EncodedFrame {
			f.Level = codec.AudioLevel{DBov: 60, Valid: true}
			return f
		}
		l.quiet = func(tick int) uint8 {
			if tick >= 320 && tick < 350 || tick < 300 {
				return DecodeAlways
			}
			return 60
		}
		l.run(8 * time.Second)
		for i, info := range l.infos[310:320] {
			if !info.Skipped || info.Level != 60 {
				t.Errorf("%d samples: tick %d: %+v", samples, i, info)
			}
		}
		if n := breaks(l.pcm[320*codec.FrameSamples:350*codec.FrameSamples], 0); n > 0 {
			t.Errorf("%d samples: %d breaks after the sound was wanted again", samples, n)
		}
		if a, b := l.latency[290], l.latency[399]; a != b {
			t.Errorf("%d samples: latency went from %v to %v", samples, a, b)
		}
	}
}

// Loss, pauses and senders that tell no level, while nobody listens.
func TestSkipping(t *testing.T) {
	level := func(v uint8, valid bool) func(*codec.EncodedFrame) *codec.EncodedFrame {
		return func(f *codec.EncodedFrame) *codec.EncodedFrame {
			f.Level = codec.AudioLevel{DBov: v, Valid: valid}
			return f
		}
	}
	run := func(edit func(*codec.EncodedFrame) *codec.EncodedFrame, lost func(int64) bool) *link {
		l := newLink(t, wave)
		l.edit, l.lost = edit, lost
		l.quiet = func(int) uint8 { return 50 }
		l.run(4 * time.Second)
		return l
	}
	never := func(int64) bool { return false }
	if l := run(level(60, false), never); l.decoder.decoded < 190 {
		t.Errorf("a sender who tells no level: %d packets decoded", l.decoder.decoded)
	}
	if l := run(level(49, true), never); l.decoder.decoded < 190 {
		t.Errorf("a sender who says that he is louder: %d packets decoded", l.decoder.decoded)
	}
	l := run(level(60, true), func(seq int64) bool { return seq%7 == 3 })
	if s := l.playout.Stats(); l.decoder.decoded > 2 || l.decoder.concealed > 2 || s.Undecoded < 160 || s.Lost < 20 {
		t.Errorf("silence with loss: %d packets decoded, %d concealed, %+v", l.decoder.decoded, l.decoder.concealed, s)
	}
	for i, info := range l.infos[10:] {
		if !info.Skipped || !info.Silent {
			t.Fatalf("silence with loss, tick %d: %+v", i+10, info)
		}
	}
	// Somebody who is muted may talk on, and his clock drift.
	for _, ppm := range []float64{-300, 300} {
		l := newLink(t, wave)
		l.edit, l.ppm = level(20, true), ppm
		l.quiet = func(int) uint8 { return 0 }
		l.run(5 * time.Minute)
		if n, s := l.concealedSince(10), l.playout.Stats(); n > 0 || l.decoder.decoded > 2 || s.Stretched+s.Squeezed < 80*ms {
			t.Errorf("muted, %v ppm: %d ticks concealed, %+v", ppm, n, s)
		}
		if d := l.quantile(500, 1); d > 45*ms {
			t.Errorf("muted, %v ppm: latency %v", ppm, d)
		}
	}
	// Everything is lost for a second: what comes then is no onset.
	l = run(level(60, true), func(seq int64) bool { return seq > 100 && seq < 150 })
	if l.decoder.decoded > 2 || l.decoder.concealed > 2 {
		t.Errorf("silence with an outage: %d packets decoded, %d concealed", l.decoder.decoded, l.decoder.concealed)
	}
}
