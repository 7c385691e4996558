package bench

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/cmd/mixdown/internal/tone"
	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer/audio"
	"mixdown/mixer/audio/audiotest"
)

// talker is a participant of a made-up room: his packets come by a clock of his
// own through a jitter buffer, and of one other's voice he lets through a little.
type talker struct {
	t       *testing.T
	playout *audio.Playout
	clip    *clip.Clip
	ppm     float64
	phase   time.Duration
	next    int64
	jitter  *rand.Rand
	last    codec.AudioFrame
	leaks   *talker // nil: nobody's
	leakDB  float64
	dither  *rand.Rand
}

func newTalker(t *testing.T, i, talkers int, ppm float64, c *clip.Clip) *talker {
	dec, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	p, err := audio.NewPlayout(audio.PlayoutConfig{Decoder: dec})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return &talker{
		t: t, playout: p, clip: c, ppm: ppm * (2*float64(i)/float64(talkers-1) - 1), phase: time.Duration(2*i) * time.Millisecond,
		jitter: rand.New(rand.NewPCG(uint64(i), 1)), dither: rand.New(rand.NewPCG(uint64(i), 2)),
	}
}

// Pull implements [audio.Puller].
func (k *talker) Pull(dst *codec.AudioFrame, now time.Duration, quiet uint8) audio.Info {
	for {
		at := k.phase + time.Duration(float64(k.next)*float64(codec.FrameDuration)*(1-k.ppm/1e6))
		if at > now {
			break
		}
		u := k.clip.Units[k.next%int64(len(k.clip.Units))]
		f := codec.NewEncodedFrame(len(u.Data))
		f.Data = append(f.Data, u.Data...)
		f.Codec, f.Seq, f.PTS, f.Level = codec.Opus, k.next, time.Duration(k.next)*codec.FrameDuration, u.Level
		k.playout.Push(f, min(at+time.Duration(k.jitter.Int64N(4e6)), now))
		k.next++
	}
	info := k.playout.Pull(dst, now, quiet)
	k.last = *dst
	if k.leaks != nil {
		gain := math.Pow(10, k.leakDB/20)
		for i, s := range k.leaks.last {
			dst[i] += int16(math.Floor(gain*float64(s) + k.dither.Float64()))
		}
	}
	return info
}

// ownVoiceRoom has nine talk for so long, by clocks that are up to ppm off, and
// returns what each of them heard. Whose number is in leakDB is let through by that
// much by the next one.
func ownVoiceRoom(t *testing.T, length time.Duration, ppm float64, leakDB map[int]float64) ([]*member, map[*member]received) {
	const people = 9
	mix, err := audio.NewMix(audio.MixConfig{
		NewEncoder: func() (codec.AudioEncoder, error) { return opus.NewEncoder(opus.EncoderConfig{}) },
		// Leaks are as loud as they are.
		NoLevelling: true, MaxOpen: people,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mix.Close() })
	var (
		clips   [people]*clip.Clip
		talkers [people]*talker
		ears    [people]*audio.Member
		members [people]*member
		g       errgroup.Group
	)
	g.SetLimit(runtime.NumCPU())
	for i := range people {
		g.Go(func() (err error) {
			voice := audiotest.Speech(uint64(70+i), soundSeconds*codec.SampleRate)
			p, _ := probeOf(i, people)
			clips[i], err = tone.Make(tone.Spec{
				Hz: toneOf(i), Level: toneLevel, Noise: quietNoise, Duration: soundSeconds * time.Second,
				Add: func(pcm []int16, from int) {
					for j := range pcm {
						pcm[j] += voice[from+j]
					}
					p.add(pcm, from)
				},
			})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range people {
		talkers[i] = newTalker(t, i, people, ppm, clips[i])
		members[i] = &member{index: i, talks: true}
		if db, ok := leakDB[i-1]; ok {
			talkers[i].leaks, talkers[i].leakDB = talkers[i-1], db
		}
		if ears[i], err = mix.Join(uint32(i+1), talkers[i]); err != nil {
			t.Fatal(err)
		}
	}
	got := make(map[*member]received)
	const settled = time.Second
	for at := time.Duration(0); at < length+settled; at += codec.FrameDuration {
		if err := mix.Tick(at, at); err != nil {
			t.Fatal(err)
		}
		for i, m := range members {
			// They begin to listen one after the other, on lines of their own.
			if begin := settled + time.Duration(i)*codec.FrameDuration; at >= begin {
				r := got[m]
				r.sound = append(r.sound, heardPacket{
					seq: int64(at / codec.FrameDuration), pts: at - begin + time.Duration(i)*time.Hour, arrival: at,
					capture: codec.NTPTimeOf(time.Unix(1000, 0).Add(at)), data: slices.Clone(ears[i].Frame().Data),
				})
				got[m] = r
			}
		}
	}
	for i, k := range talkers {
		if s := k.playout.Stats(); math.Abs(k.ppm) == ppm && s.Stretched+s.Squeezed == 0 {
			t.Errorf("talker %d: %+v: want a playout that follows %.0f ppm", i, s, k.ppm)
		}
	}
	return members[:], got
}

// TestOwnVoice: of nine who talk all the time, by clocks that drift apart, some hear
// themselves a little. In half a minute there is too much noise to tell of less than
// 60 dB, and too little time for drift to do anything.
func TestOwnVoice(t *testing.T) {
	length, ppm, none, leaks := time.Minute, 300.0, 60.0, map[int]float64{0: -55, 2: -65, 4: -60}
	if testing.Short() {
		length, ppm, none, leaks = 30*time.Second, 600, 57, map[int]float64{0: -55}
	}
	members, got := ownVoiceRoom(t, length, ppm, leaks)
	all := len(members)
	if testing.Short() {
		members = members[:4]
	}
	voices, err := ownVoices(members, all, got)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range voices {
		t.Logf("%d: %.1f dB below what others hear of him, noise %.1f, lost to the coder %.1f", i, v.belowDB, v.floorDB, v.lossDB)
		leak, leaks := leaks[i]
		// It is off by as much as there is noise: 12 dB below, 2 dB.
		off := 3.0
		if leak < -60 {
			off = 4
		}
		switch {
		case !v.heard:
			t.Errorf("%d is not heard by anybody", i)
		case leaks && math.Abs(v.belowDB+leak) > off:
			t.Errorf("%d: %.1f dB: want %.0f +- %.0f", i, v.belowDB, -leak, off)
		case !leaks && v.belowDB < none:
			t.Errorf("%d: %.1f dB: want %.0f or more where there is no leak", i, v.belowDB, none)
		case v.floorDB < none+3:
			t.Errorf("%d: noise %.1f dB below: want %.0f or more", i, v.floorDB, none+3)
		}
	}
	var r Result
	r.sumUpVoices(append(voices, ownVoice{}))
	if r.OwnVoices != len(members) || r.OwnVoiceBelowDB.Min != voices[0].belowDB || r.OwnVoiceFloorDB.Min <= 0 {
		t.Errorf("%d voices, %+v, noise %+v: want the worst of all", r.OwnVoices, r.OwnVoiceBelowDB, r.OwnVoiceFloorDB)
	}
	// Who is not in the mix has nothing to say, nor who was in it for a moment.
	p, _ := probeOf(0, all)
	silence, moment := make([]int16, 20*codec.SampleRate), make([]int16, 20*codec.SampleRate)
	p.add(moment[:samplesOf(probeCycle)], 0)
	for _, other := range [][]int16{silence, moment, nil} {
		if v, err := lockIn(silence, other, 0, p); v.heard || err != nil {
			t.Errorf("of silence or a moment: %+v, %v", v, err)
		}
	}
	// Who hears nothing has nothing to be proud of.
	deaf := got[members[3]]
	deaf.sound = slices.Clone(deaf.sound)
	for i := range deaf.sound {
		deaf.sound[i].data = quietPacket(t)
	}
	got[members[3]] = deaf
	if _, err := ownVoices(members, all, got); err == nil {
		t.Error("somebody who hears nobody passes")
	}
}

// quietPacket is 20 ms of silence.
func quietPacket(t *testing.T) []byte {
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	var packet [1275]byte
	n, err := enc.Encode(&codec.AudioFrame{}, packet[:])
	if err != nil {
		t.Fatal(err)
	}
	return packet[:n]
}

// TestProbesTakeTurns: no two sound at one time, nor close to each other.
func TestProbesTakeTurns(t *testing.T) {
	for _, talkers := range []int{2, 9, 16, 100} {
		var all []probe
		for i := range talkers {
			if p, ok := probeOf(i, talkers); ok {
				all = append(all, p)
			} else if i < maxProbes {
				t.Errorf("%d of %d has none", i, talkers)
			}
		}
		if len(all) != min(talkers, maxProbes) {
			t.Errorf("%d probes of %d talkers", len(all), talkers)
		}
		for i, p := range all {
			if p.from < 0 || p.to > samplesOf(probeCycle) || p.to-p.from < lockWindow-2*samplesOf(probeGuard) {
				t.Errorf("%d of %d: %+v", i, talkers, p)
			}
			if whole := p.hz * soundSeconds; math.Abs(whole-math.Round(whole)) > 1e-6 {
				t.Errorf("%d of %d: %v Hz is not a whole number of cycles in a loop", i, talkers, p.hz)
			}
			for j, q := range all[:i] {
				if p.from < q.to && q.from < p.to || math.Abs(p.hz-q.hz) < 32 {
					t.Errorf("%d and %d of %d: %+v, %+v", i, j, talkers, p, q)
				}
			}
		}
	}
	for _, none := range [][2]int{{0, 0}, {0, 1}, {2, 2}, {16, 30}} {
		if p, ok := probeOf(none[0], none[1]); ok {
			t.Errorf("%v: %+v: want none", none, p)
		}
	}
	// What it adds sounds in its turn and nowhere else, whole packets or not.
	p, _ := probeOf(1, 9)
	pcm := make([]int16, samplesOf(probeCycle))
	for at := 0; at < len(pcm); at += 700 {
		p.add(pcm[at:min(at+700, len(pcm))], at)
	}
	if n := loudness(pcm[:p.from]) + loudness(pcm[p.to:]); n != 0 {
		t.Errorf("beside its turn it is as loud as %v", n)
	}
	if got, want := loudness(pcm[p.from:p.to]), p.level/math.Sqrt2; math.Abs(got-want) > want/10 {
		t.Errorf("in its turn it is as loud as %.3f: want %.3f or a little less", got, want)
	}
}

// TestTimelinesAgree on what is the same instant.
func TestTimelinesAgree(t *testing.T) {
	at := codec.NTPTimeOf(time.Unix(1000, 0))
	line := func(arrival, capture time.Duration, before int) *timeline {
		p := piece{at: before, samples: codec.FrameSamples, arrival: arrival}
		if capture != 0 {
			p.capture = after(at, capture)
		}
		return &timeline{pieces: []piece{p}}
	}
	for _, c := range []struct {
		t, u *timeline
		want int
	}{
		{line(time.Second, 0, 0), line(2*time.Second, 0, 0), -48000},
		{line(time.Second, time.Minute, 0), line(2*time.Second, 0, 100), -48000 + 100},
		{line(time.Second, 3*time.Second, 480), line(9*time.Second, 2*time.Second, 0), 48000 - 480},
	} {
		if got := c.t.after(c.u); got < c.want-1 || got > c.want+1 {
			t.Errorf("%+v after %+v: %d samples: want %d", c.t.pieces, c.u.pieces, got, c.want)
		}
	}
}
