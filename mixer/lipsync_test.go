package mixer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/mixer/audio"
)

// syncSim is a sender, the way to us and our clocks, without any of them: it
// says how far apart a picture and its sound come out. Times are the process's
// unless said otherwise.
type syncSim struct {
	t       *testing.T
	sync    lipSync
	playout *audio.Playout
	transit struct { // as video.Source has it
		offset time.Duration
		epoch  uint64
	}
	r *rand.Rand

	// The sender: its media clocks run so many millionths fast, its wall clock
	// is wrong by wall, its sound and pictures begin at other media times.
	ppm  float64
	wall time.Duration
	// soundWay and pictureWay are how long a packet takes that was captured at
	// that time; reports is what its sender reports tell wrong, false is none.
	soundWay, pictureWay func(at time.Duration) time.Duration
	reports              func(picture bool, at time.Duration) (wrong time.Duration, ok bool)

	packets, frames, ticks int
	wrong                  [2]time.Duration // of the latest reports, sound first
	told                   [2]bool
	coming                 []simPacket // on their way
	// results
	delays []time.Duration // of each picture
	skews  []time.Duration // canvas PTS less that of the sound taken with it
	late   []time.Duration // how long a picture waited, capture to tick
}

type simPacket struct {
	at      time.Duration
	picture bool
	pts     time.Duration
	taken   time.Duration
	capture codec.NTPTime
	seq     int64
}

const (
	simFrame = time.Second / 30
	simFPS   = 30
	simMedia = 5 * time.Second // of pictures, against that of sound
)

func newSyncSim(t *testing.T) *syncSim {
	s := &syncSim{t: t, r: rand.New(rand.NewPCG(11, 12))}
	var err error
	if s.playout, err = audio.NewPlayout(audio.PlayoutConfig{Decoder: simDecoder{}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.playout.Close() })
	s.soundWay = func(time.Duration) time.Duration { return 30 * time.Millisecond }
	s.pictureWay = func(time.Duration) time.Duration { return 35 * time.Millisecond }
	s.reports = func(bool, time.Duration) (time.Duration, bool) { return 0, true }
	return s
}

// simDecoder makes 20 ms of silence of anything.
type simDecoder struct{}

func (simDecoder) Decode([]byte, []int16) (int, error) { return codec.FrameSamples, nil }
func (simDecoder) DecodeFEC([]byte, []int16) error     { return codec.ErrCorrupt }
func (simDecoder) Conceal([]int16) error               { return nil }
func (simDecoder) Reset() error                        { return nil }
func (simDecoder) Close() error                        { return nil }

// media is how much a media clock runs in that time.
func (s *syncSim) media(d time.Duration) time.Duration {
	return d + time.Duration(float64(d)*s.ppm*1e-6)
}

// clock is its inverse.
func (s *syncSim) clock(media time.Duration) time.Duration {
	return media - time.Duration(float64(media)*s.ppm/(1e6+s.ppm))
}

// run goes on until that time, in ticks of sound and of pictures.
func (s *syncSim) run(until time.Duration) {
	for {
		now := time.Duration(s.ticks) * codec.FrameDuration
		if now >= until {
			return
		}
		s.ticks++
		s.send(now)
		slices.SortStableFunc(s.coming, func(a, b simPacket) int { return int(a.at - b.at) })
		n := 0
		for ; n < len(s.coming) && s.coming[n].at <= now; n++ {
			s.arrive(s.coming[n])
		}
		s.coming = slices.Delete(s.coming, 0, n)
		var pcm codec.AudioFrame
		s.playout.Pull(&pcm, now, audio.DecodeAlways)
	}
}

// send lets everything start that is captured up to now.
func (s *syncSim) send(now time.Duration) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, picture := range []bool{false, true} {
		n, every, way, base := &s.packets, codec.FrameDuration, s.soundWay, time.Duration(0)
		i := 0
		if picture {
			n, every, way, base, i = &s.frames, simFrame, s.pictureWay, simMedia, 1
		}
		for ; s.clock(time.Duration(*n)*every) <= now; *n++ {
			media := time.Duration(*n) * every
			taken := s.clock(media)
			p := simPacket{at: taken + way(taken), picture: picture, pts: base + media, taken: taken, seq: int64(*n)}
			if picture {
				for j := range s.coming { // one after the other
					if s.coming[j].picture {
						p.at = max(p.at, s.coming[j].at)
					}
				}
			}
			if *n%int(time.Second/every) == 3+7*i { // a report a second, each stream's at another time
				s.wrong[i], s.told[i] = s.reports(picture, taken)
			}
			if s.told[i] {
				p.capture = codec.NTPTimeOf(start.Add(taken + s.wall + s.wrong[i]))
			}
			s.coming = append(s.coming, p)
		}
	}
}

// arrive is what a source does with a packet, and what becomes of a picture.
func (s *syncSim) arrive(p simPacket) {
	f := codec.NewEncodedFrame(10)
	f.Data = f.Buffer()[:10]
	f.Stream, f.PTS, f.Capture, f.Seq, f.Arrival = 1, p.pts, p.capture, p.seq, p.at
	if !p.picture {
		s.sync.heard(f, p.at)
		s.playout.Push(f, p.at)
		return
	}
	defer f.Release()
	f.Stream = 2
	if seen := p.at - p.pts; s.transit.epoch == 0 || seen < s.transit.offset {
		s.transit.offset, s.transit.epoch = seen, 1
	} else {
		s.transit.offset += min(seen-s.transit.offset, simFrame/1000)
	}
	played := s.playout.Timing()
	delay := s.sync.seen(codec.Camera, pictureSeen{
		mediaTime: mediaTimeOf(f), fastest: s.transit.offset, epoch: s.transit.epoch, played: played, frame: simFrame,
	}, p.at)
	s.delays = append(s.delays, delay)
	// It is drawn by the first tick at which it is there and due.
	due := max(p.pts+s.transit.offset+delay, p.at)
	tick := (due*simFPS + time.Second - 1) / time.Second * time.Second / simFPS
	s.late = append(s.late, tick-p.taken)
	if played.Stream == 0 {
		return
	}
	// The sound taken at the same instant, by its own media clock.
	sound := s.media(p.taken) + played.Played + soundLag
	s.skews = append(s.skews, tick-sound)
}

// figures are of the pictures since the from-th, in absolute values but for p50.
func figures(skews []time.Duration) (p50, p95 time.Duration) {
	v := slices.Clone(skews)
	slices.Sort(v)
	p50 = v[len(v)/2]
	for i := range v {
		v[i] = v[i].Abs()
	}
	slices.Sort(v)
	return p50, v[len(v)*95/100]
}

// inSync fails unless the skews are what people take for none.
func (s *syncSim) inSync(name string, skews []time.Duration) {
	s.t.Helper()
	p50, p95 := figures(skews)
	s.t.Logf("%s: skew p50 %v, p95 %v of %d", name, p50.Round(time.Microsecond), p95.Round(time.Microsecond), len(skews))
	if p50.Abs() > 20*time.Millisecond || p95 > 45*time.Millisecond {
		s.t.Errorf("%s: skew p50 %v, p95 %v: want at most 20ms and 45ms", name, p50, p95)
	}
}

func TestLipSync(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(s *syncSim)
	}{
		{"clean", func(*syncSim) {}},
		{"its clock is years off", func(s *syncSim) { s.wall = -20 * 365 * 24 * time.Hour }},
		{"slow camera", func(s *syncSim) {
			s.soundWay = func(time.Duration) time.Duration { return 100 * time.Millisecond }
		}},
		{"jittery", func(s *syncSim) {
			s.soundWay = func(time.Duration) time.Duration {
				return 40*time.Millisecond + time.Duration(s.r.Int64N(int64(60*time.Millisecond)))
			}
			s.pictureWay = func(time.Duration) time.Duration {
				return 50*time.Millisecond + time.Duration(s.r.Int64N(int64(60*time.Millisecond)))
			}
		}},
		{"jittery, no reports", func(s *syncSim) {
			s.soundWay = func(time.Duration) time.Duration {
				return 40*time.Millisecond + time.Duration(s.r.Int64N(int64(60*time.Millisecond)))
			}
			s.pictureWay = s.soundWay
			s.reports = func(bool, time.Duration) (time.Duration, bool) { return 0, false }
		}},
		{"reports wobble", func(s *syncSim) {
			s.soundWay = func(time.Duration) time.Duration { return 60 * time.Millisecond }
			s.reports = func(bool, time.Duration) (time.Duration, bool) {
				return time.Duration(s.r.Int64N(int64(20*time.Millisecond))) - 10*time.Millisecond, true
			}
		}},
	} {
		s := newSyncSim(t)
		c.make(s)
		// In sync from the first second on: nobody waits for a slew.
		s.run(31 * time.Second)
		s.inSync(c.name, s.skews[30:])
		s.inSync(c.name+", at the beginning", s.skews[30:90])
	}
}

// TestLipSyncFollows: the sound's delay grows by 100 ms when its link becomes
// jittery; pictures follow at no more than 20 ms a second, evenly.
func TestLipSyncFollows(t *testing.T) {
	s := newSyncSim(t)
	s.soundWay = func(at time.Duration) time.Duration {
		way := 30 * time.Millisecond
		if at > 20*time.Second && at < 80*time.Second {
			way += time.Duration(s.r.Int64N(int64(100 * time.Millisecond)))
		}
		return way
	}
	s.run(19 * time.Second)
	before := s.delays[len(s.delays)-1]
	s.inSync("before", s.skews[30:])
	s.run(75 * time.Second)
	high := s.delays[len(s.delays)-1]
	if high-before < 60*time.Millisecond || high > maxPictureDelay {
		t.Errorf("pictures wait %v, before the jitter %v: want some 100ms more", high, before)
	}
	s.inSync("10 s after", s.skews[30*30:len(s.skews)-30])
	// The playout takes its time to believe that it is over.
	s.run(150 * time.Second)
	s.inSync("when it is over", s.skews[140*30:])
	for i := 90; i < len(s.delays); i++ {
		if d := s.delays[i] - s.delays[i-1]; d.Abs() > syncSlew/20 {
			t.Fatalf("picture %d: a step of %v", i, d)
		}
		if i >= 90+30 {
			if d := s.delays[i] - s.delays[i-30]; d.Abs() > syncSlew+3*time.Millisecond {
				t.Fatalf("picture %d: %v within a second", i, d)
			}
		}
	}
}

// TestLipSyncDrift: an hour of clocks that differ by as much as clocks do.
func TestLipSyncDrift(t *testing.T) {
	long := time.Hour
	if raceEnabled {
		long = 3 * time.Minute // one goroutine has no races
	}
	for _, ppm := range []float64{300, -300} {
		s := newSyncSim(t)
		s.ppm = ppm
		s.run(long)
		for at := 60 * 30; at+60*30 <= len(s.skews); at += 60 * 30 { // each minute
			if p50, p95 := figures(s.skews[at : at+60*30]); p50.Abs() > 20*time.Millisecond || p95 > 45*time.Millisecond {
				t.Fatalf("%v ppm, minute %d: skew p50 %v, p95 %v", ppm, at/1800, p50, p95)
			}
		}
		s.inSync(long.String(), s.skews[30:])
	}
}

// TestLipSyncDisbelief: what reports tell that cannot be true moves nothing, and
// what has really changed does in the end.
func TestLipSyncDisbelief(t *testing.T) {
	steady := func(s *syncSim, name string, from, tolerance time.Duration) {
		t.Helper()
		i := int(from / simFrame)
		for j := i; j < len(s.delays); j++ {
			if d := s.delays[j] - s.delays[i]; d.Abs() > tolerance {
				t.Fatalf("%s: after %v the delay went from %v to %v", name, time.Duration(j)*simFrame, s.delays[i], s.delays[j])
			}
		}
		s.inSync(name, s.skews[i:])
	}
	for _, c := range []struct {
		name    string
		reports func(picture bool, at time.Duration) (time.Duration, bool)
	}{
		{"one lie", func(p bool, at time.Duration) (time.Duration, bool) {
			if p && at > 10*time.Second && at < 11*time.Second {
				return 200 * time.Millisecond, true
			}
			return 0, true
		}},
		{"a lie each other time", func(p bool, at time.Duration) (time.Duration, bool) {
			return time.Duration(int(at.Seconds())%2) * time.Hour, true
		}},
		{"the clock is set", func(p bool, at time.Duration) (time.Duration, bool) {
			if at > 10*time.Second {
				return -3 * time.Hour, true
			}
			return 0, true
		}},
		{"they cease", func(p bool, at time.Duration) (time.Duration, bool) { return 0, at < 10*time.Second }},
		{"they never make sense", func(p bool, at time.Duration) (time.Duration, bool) {
			return at * time.Duration(1+7*at/time.Second%11), true
		}},
		{"another epoch each", func(p bool, at time.Duration) (time.Duration, bool) {
			if p {
				return 7 * time.Second, true
			}
			return 0, true
		}},
	} {
		s := newSyncSim(t)
		s.reports = c.reports
		s.run(90 * time.Second)
		steady(s, c.name, 3*time.Second, 25*time.Millisecond)
	}
	// One stream's reports change for good, and are right.
	s := newSyncSim(t)
	s.soundWay = func(time.Duration) time.Duration { return 150 * time.Millisecond }
	s.reports = func(p bool, at time.Duration) (time.Duration, bool) {
		if p && at < 10*time.Second {
			return 90 * time.Millisecond, true
		}
		return 0, true
	}
	s.run(60 * time.Second)
	s.inSync("after the correction", s.skews[30*30:])
}

// TestLipSyncWithoutSound: nothing to wait for, nothing to begin with; and sound
// that ends is not waited for any more.
func TestLipSyncWithoutSound(t *testing.T) {
	s := newSyncSim(t)
	s.soundWay = func(at time.Duration) time.Duration {
		if at > 10*time.Second {
			return time.Hour
		}
		return 150 * time.Millisecond
	}
	s.run(9 * time.Second)
	if d := s.sync.stateOf(codec.Camera); d.Delay < 90*time.Millisecond || !d.Known || !d.Reported {
		t.Errorf("with sound: %+v", d)
	}
	s.run(40 * time.Second)
	if d := s.sync.stateOf(codec.Camera); d.Delay > syncBand || d.Known || d.Skew != 0 {
		t.Errorf("30 s after the sound has ended: %+v", d)
	}
	var l lipSync
	if d := l.seen(codec.Screen, pictureSeen{fastest: time.Second, epoch: 1, frame: simFrame}, time.Second); d != 0 {
		t.Errorf("without any sound: %v", d)
	}
	if got := l.stateOf(codec.Screen); got != (SyncState{}) {
		t.Errorf("without any sound: %+v", got)
	}
}

// TestLipSyncBounds: pictures that are later than their sound cannot be helped,
// and none waits longer than it may.
func TestLipSyncBounds(t *testing.T) {
	s := newSyncSim(t)
	s.pictureWay = func(time.Duration) time.Duration { return 250 * time.Millisecond }
	s.run(5 * time.Second)
	got := s.sync.stateOf(codec.Camera)
	if got.Delay != 0 || got.Skew < 150*time.Millisecond {
		t.Errorf("pictures are 200ms later: %+v", got)
	}
	s = newSyncSim(t)
	s.soundWay = func(time.Duration) time.Duration { return 480 * time.Millisecond }
	s.run(5 * time.Second)
	if got := s.sync.stateOf(codec.Camera); got.Delay != maxPictureDelay || got.Skew > -100*time.Millisecond {
		t.Errorf("the sound is 450ms later: %+v", got)
	}
}

// TestLipSyncJump: a sender that starts its picture's clock anew is in sync again
// with its next report, without a slew.
func TestLipSyncJump(t *testing.T) {
	s := newSyncSim(t)
	s.soundWay = func(time.Duration) time.Duration { return 120 * time.Millisecond }
	s.run(5 * time.Second)
	want := s.delays[len(s.delays)-1]
	s.transit.offset += time.Hour // what was said of PTS before means nothing
	s.transit.epoch++
	played := s.playout.Timing()
	now := 5 * time.Second
	seen := pictureSeen{
		mediaTime: mediaTime{stream: 3, pts: now - s.transit.offset},
		fastest:   s.transit.offset, epoch: s.transit.epoch, played: played, frame: simFrame,
	}
	s.sync.seen(codec.Camera, seen, now)
	// The picture's way is 35 ms, as before.
	seen.capture = codec.NTPTimeOf(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(now - 35*time.Millisecond))
	if got := s.sync.seen(codec.Camera, seen, now+simFrame); (got - want).Abs() > syncBand {
		t.Errorf("after the jump %v, before %v", got, want)
	}
}

func TestLipSyncAllocatesNothing(t *testing.T) {
	var l lipSync
	f := codec.NewEncodedFrame(10)
	defer f.Release()
	f.Stream, f.Capture = 1, codec.NTPTimeOf(time.Unix(1e9, 0))
	now := time.Second
	if n := testing.AllocsPerRun(100, func() {
		now += simFrame
		l.heard(f, now)
		l.seen(codec.Camera, pictureSeen{mediaTime: mediaTimeOf(f), epoch: 1, frame: simFrame,
			played: audio.Timing{Stream: 1}}, now)
	}); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func BenchmarkLipSync(b *testing.B) {
	var l lipSync
	f := codec.NewEncodedFrame(10)
	defer f.Release()
	f.Stream, f.Capture = 1, codec.NTPTimeOf(time.Unix(1e9, 0))
	now := time.Second
	b.ReportAllocs()
	for b.Loop() {
		now += simFrame
		l.heard(f, now)
		l.seen(codec.Camera, pictureSeen{mediaTime: mediaTimeOf(f), epoch: 1, frame: simFrame,
			played: audio.Timing{Stream: 1}}, now)
	}
}
