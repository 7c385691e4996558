package bench

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mixdown/cmd/mixdown/internal/bench/marker"
	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/codec/codectest"
	"mixdown/codec/opus"
	"mixdown/codec/vp8"
	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
	"mixdown/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConfigValidate(t *testing.T) {
	good := Config{Participants: 9, Talkers: 9, Duration: time.Minute, Warmup: time.Second, Latency: 10 * time.Second}
	for name, c := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"as it is":   {func(*Config) {}, nil},
		"sound only": {func(c *Config) { c.AudioOnly, c.Participants = true, 500 }, nil},
		"all sizes": {func(c *Config) {
			c.Video, c.Canvas = layout.Canvas{Width: 320, Height: 180, FPS: 15}, layout.Canvas{Width: 1920, Height: 1080, FPS: 25}
		}, nil},
		"viewers":         {func(c *Config) { c.Viewers = 100 }, nil},
		"no latency":      {func(c *Config) { c.Latency = 0 }, nil},
		"nobody":          {func(c *Config) { c.Participants = 0 }, []string{"0 participants: want 1..900"}},
		"too many":        {func(c *Config) { c.Participants, c.Viewers = 800, 200 }, []string{"200 viewers", "900 with the participants"}},
		"too many talk":   {func(c *Config) { c.Talkers = 10 }, []string{"10 talkers: want 0..9"}},
		"fewer than none": {func(c *Config) { c.Talkers, c.Viewers, c.ImpairCount = -1, -1, -1 }, []string{"-1 talkers", "-1 viewers", "-1 impaired"}},
		"too short":       {func(c *Config) { c.Duration, c.Latency, c.Warmup = 1, 1, -1 }, []string{"duration 1ns", "latency 1ns: want 2s", "warmup -1ns"}},
		"odd sizes":       {func(c *Config) { c.Canvas.Width, c.Video.Height = 1281, 7 }, []string{"canvas", "width: 1281", "video", "height: 7"}},
		"sound and size":  {func(c *Config) { c.AudioOnly, c.Canvas.Width = true, 640 }, []string{"leave one of them out"}},
		"a pid alone":     {func(c *Config) { c.PID = 5 }, []string{"both its URL and its process id"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			c.change(&cfg)
			err := cfg.Validate()
			if (err == nil) != (c.want == nil) {
				t.Fatalf("error %v: want parts %q", err, c.want)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q: want %q in it", err, part)
				}
			}
		})
	}
}

func TestURLs(t *testing.T) {
	r, err := urlsOf("http://h:1")
	if err != nil || r.given || r.join != "http://h:1/r/bench" || r.view != "http://h:1/whep/bench" || r.api != "http://h:1/v1/rooms/bench" {
		t.Errorf("a server gives %+v, %v", r, err)
	}
	r, err = urlsOf("http://h:1/r/mine/")
	if err != nil || !r.given || r.join != "http://h:1/r/mine" {
		t.Errorf("a room gives %+v, %v", r, err)
	}
	for _, bad := range []string{"http://h:1/x", "http://h:1/r/a/b/../%", ":"} {
		if r, err := urlsOf(bad); err == nil {
			t.Errorf("%q gives %+v: want an error", bad, r)
		}
	}
}

// TestSenderLogs: what is logged is what went out, also when a key frame is
// asked for in between, and a clip that is exchanged begins a new log.
func TestSenderLogs(t *testing.T) {
	units := func(n int) *clip.Clip { return &clip.Clip{Units: make([]clip.Unit, n)} }
	s := newSender(units(3))
	play := func(n int) {
		for i := range n {
			if _, err := s.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
			if i == 1 {
				s.RequestKeyframe() // between Next and Sent
			}
			s.Sent(1, 2)
		}
	}
	play(2)
	if got := s.taken(); got != nil {
		t.Errorf("logged %v though nobody watches", got)
	}
	s.watch(true)
	play(5)
	var numbers []int
	for _, l := range s.taken() {
		numbers = append(numbers, int(l.unit))
	}
	if want := []int{0, 1, 0, 1, 2}; len(numbers) != 5 || numbers[0] != want[0] || numbers[1] != 1 || numbers[2] != 0 || numbers[4] != 2 {
		t.Errorf("logged %v: want %v", numbers, want)
	}
	s.exchange(units(1), codec.Now()+time.Hour)
	play(1)
	if len(s.taken()) != 6 {
		t.Error("the clip was exchanged before its time")
	}
	s.exchange(units(1), 0)
	play(1)
	if got := s.taken(); len(got) != 1 || got[0].unit != 0 {
		t.Errorf("after the exchange the log is %v: want the new clip's first unit", got)
	}
	s.watch(false)
	play(1)
	if len(s.taken()) != 1 {
		t.Error("logged though the watch has ended")
	}
}

// relay is a server that hands on what comes after a fixed time, decoded and
// coded again as a mixer does, in packets that are out of step with the sender's.
type relay struct {
	delay time.Duration
	skip  int // samples by which its packets are out of step
}

// through returns what comes of a loop that is sent from start on, and its log.
func (r relay) through(t *testing.T, b *beep, start time.Duration) (heard []heardPacket, log []sent) {
	t.Helper()
	var pcm []int16
	dec, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	var buf [codec.MaxPacketSamples]int16
	for i, u := range b.clip.Units {
		at := start + time.Duration(i)*codec.FrameDuration
		log = append(log, sent{int32(i), at, at + time.Millisecond}) // a sender that is always 1 ms late
		n, err := dec.Decode(u.Data, buf[:])
		if err != nil {
			t.Fatal(err)
		}
		pcm = append(pcm, buf[:n]...)
	}
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	var frame codec.AudioFrame
	var packet [1275]byte
	pcm = pcm[r.skip:]
	for i := 0; len(pcm) >= len(frame); i++ {
		pcm = pcm[copy(frame[:], pcm):]
		n, err := enc.Encode(&frame, packet[:])
		if err != nil {
			t.Fatal(err)
		}
		pts := time.Duration(i) * codec.FrameDuration
		heard = append(heard, heardPacket{
			seq: int64(i), pts: pts, arrival: start + durationOf(r.skip) + pts + r.delay,
			capture: codec.NTPTimeOf(time.Unix(1000, 0).Add(start + durationOf(r.skip) + pts)), data: bytes.Clone(packet[:n]),
		})
	}
	return heard, log
}

// TestLatencyOfSound: a relay's delay is measured to a tenth of a millisecond,
// wherever the marker lies in a packet and however packets are out of step.
func TestLatencyOfSound(t *testing.T) {
	const encoder = 6500 * time.Microsecond // its look-ahead
	for _, skip := range []int{0, 1, 500, 959} {
		for id, offset := range []int{0, 333, 959} {
			b, err := makeBeep(id, offset, 400*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			packets, log := relay{31 * time.Millisecond, skip}.through(t, b, time.Hour)
			line, err := newTimeline(packets)
			if err != nil {
				t.Fatal(err)
			}
			found, missed := listen(line, b, log, 2*time.Hour)
			if len(found) != 1 || missed != nil {
				t.Fatalf("skip %d, offset %d: found %d, missed %v: want 1, none", skip, offset, len(found), missed)
			}
			// The relay's delay counts from when the sender ought to have sent.
			want := 31*time.Millisecond + encoder - time.Millisecond
			if got := found[0].out - found[0].in; (got - want).Abs() > 100*time.Microsecond {
				t.Errorf("skip %d, offset %d: latency %v: want %v", skip, offset, got, want)
			}
			if got, want := found[0].captured, time.Hour+durationOf(b.input); got != want {
				t.Errorf("captured at %v: want %v", got, want)
			}
			// A marker that was lost on its way is no reading.
			at := b.coded/codec.FrameSamples - 1
			lossy := append(append([]heardPacket(nil), packets[:at]...), packets[at+6:]...)
			if line, err = newTimeline(lossy); err != nil {
				t.Fatal(err)
			}
			if found, missed := listen(line, b, log, 2*time.Hour); len(found) != 0 || len(missed) != 1 {
				t.Errorf("of a lost marker found %d, missed %v: want 0, 1", len(found), missed)
			}
			if found, missed := listen(line, b, log, time.Minute); len(found)+len(missed) != 0 {
				t.Errorf("after the end: found %d, missed %v", len(found), missed)
			}
		}
	}
}

// TestOwnMarker: somebody who hears himself is found out, 40 dB down as well.
func TestOwnMarker(t *testing.T) {
	b, err := makeBeep(3, 100, 400*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	packets, log := relay{30 * time.Millisecond, 7}.through(t, b, time.Hour)
	line, err := newTimeline(packets)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ divisor, low, high float64 }{{1, 0, 3}, {100, 40, 43}, {math.Inf(1), 60, 200}} {
		quieter := &timeline{pieces: line.pieces, pcm: make([]int16, len(line.pcm))}
		for i, v := range line.pcm {
			quieter.pcm[i] = int16(math.Round(float64(v) / c.divisor))
		}
		below := ownMarkers(quieter, b, log, 2*time.Hour, &witness{})
		if len(below) != 1 || below[0] < c.low || below[0] > c.high {
			t.Errorf("divided by %v: %v dB below: want %v..%v", c.divisor, below, c.low, c.high)
		}
	}
}

func TestTimelineKeepsTime(t *testing.T) {
	b, err := makeBeep(1, 0, 400*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	packets, _ := relay{}.through(t, b, time.Second)
	// Two are lost, one comes twice, one pause of 400 ms is meant, and the order
	// is not kept.
	var got []heardPacket
	for i, p := range packets {
		if i == 5 || i == 6 {
			continue
		}
		if i > 10 {
			p.pts += 400 * time.Millisecond
		}
		got = append(got, p)
	}
	got = append(got, got[3])
	got[0], got[1] = got[1], got[0]
	line, err := newTimeline(got)
	if err != nil {
		t.Fatal(err)
	}
	if want := (len(packets) + 20) * codec.FrameSamples; len(line.pcm) != want {
		t.Errorf("%d samples: want %d", len(line.pcm), want)
	}
	if p, ok := line.pieceAt(11*codec.FrameSamples + 5); ok {
		t.Errorf("in the pause there is %+v", p)
	}
	if p, ok := line.pieceAt(31*codec.FrameSamples + 5); !ok || p.arrival != packets[11].arrival {
		t.Errorf("after the pause there is %+v, %v: want what came at %v", p, ok, packets[11].arrival)
	}
	if _, ok := line.pieceAt(5 * codec.FrameSamples); ok {
		t.Error("what was lost has an arrival")
	}
	if pcm, _ := line.between(0, 1); pcm != nil {
		t.Errorf("before the beginning there are %d samples", len(pcm))
	}
	if line, err := newTimeline(nil); err != nil || len(line.pcm) != 0 {
		t.Errorf("of nothing: %v, %v", line, err)
	}
	if _, err := newTimeline([]heardPacket{{data: []byte{0xff}}}); !errors.Is(err, codec.ErrCorrupt) {
		t.Errorf("of no Opus: %v: want ErrCorrupt", err)
	}
}

// TestLatencyOfPictures: a canvas of two numbered senders, one picture in ten
// superseded; what comes is late by 45 ms.
func TestLatencyOfPictures(t *testing.T) {
	const frames, late = 40, 45 * time.Millisecond
	canvas, source := layout.Canvas{Width: 1280, Height: 720, FPS: 30}, layout.Canvas{Width: 640, Height: 360, FPS: 30}
	where := tiles{canvas: canvas, by: map[string]layout.Rect{"a": {X: 8, Y: 180, W: 628, H: 352}, "b": {X: 644, Y: 180, W: 628, H: 352}}}
	enc, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: 640, Height: 360, FPS: 30, BitrateBps: 1_000_000})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	var pictures []seenPicture
	logs := map[string][]sent{}
	full, half := codectest.NewFrame(t, 1280, 720), codectest.NewFrame(t, 640, 360)
	part := codectest.NewFrame(t, 628, 352)
	numbered := codectest.NewFrame(t, 640, 360)
	for n := range frames {
		at := time.Hour + time.Duration(n)*time.Second/30
		codectest.Scene{}.Draw(full, n)
		for name, first := range map[string]int{"a": 100, "b": 1000} {
			number := (first + n) % marker.Numbers
			logs[name] = append(logs[name], sent{int32(number), at - time.Millisecond, at})
			if n%10 == 9 {
				number-- // the picture before is still shown
			}
			codectest.Scene{Seed: 1}.Draw(numbered, n)
			if err := errors.Join(marker.DrawNumber(numbered, number), yuv.Scale(part, numbered),
				yuv.Blit(full, where.by[name].X, where.by[name].Y, part)); err != nil {
				t.Fatal(err)
			}
		}
		// The client takes a smaller tier.
		if err := yuv.Scale(half, full); err != nil {
			t.Fatal(err)
		}
		f, err := enc.Encode(half, time.Duration(n)*time.Second/30, false)
		if err != nil {
			continue
		}
		pictures = append(pictures, seenPicture{arrival: at + late, data: bytes.Clone(f.Data)})
		f.Release()
	}
	seen, unread, err := numbers(pictures, where, []string{"a", "b", "absent"}, source)
	if err != nil {
		t.Fatal(err)
	}
	var r readings
	for name, log := range logs {
		watchPictures(&r, seen[name], log, &witness{})
	}
	l := r.latency()
	if l.Readings < frames || unread > frames/4 || l.Missed != 0 {
		t.Errorf("%d readings of %d pictures, %d unread, %d missed", l.Readings, frames, unread, l.Missed)
	}
	if l.P50 != ms(late) || l.Max != ms(late) {
		t.Errorf("latency p50 %v, max %v: want %v", l.P50, l.Max, ms(late))
	}
	// Without the key frame nothing can be seen, and nothing is.
	if seen, _, err := numbers(pictures[1:], where, []string{"a"}, source); err != nil || len(seen["a"]) != 0 {
		t.Errorf("without a key frame: %v, %v", seen, err)
	}
}

func TestSentBefore(t *testing.T) {
	log := []sent{{7, 0, 1000 * time.Millisecond}, {8, 0, 1033 * time.Millisecond}, {7, 0, 1400 * time.Millisecond}, {9, 0, 1433 * time.Millisecond}}
	at := func(ms, number int) sighting {
		return sighting{number: number, arrival: time.Duration(ms) * time.Millisecond}
	}
	for name, c := range map[string]struct {
		v    sighting
		want time.Duration
		ok   bool
	}{
		"the only one":      {at(1100, 7), time.Second, true},
		"two are possible":  {at(1500, 7), 0, false},
		"the first is old":  {at(3100, 7), 1400 * time.Millisecond, true},
		"not sent yet":      {at(1400, 9), 0, false},
		"never sent":        {at(1400, 10), 0, false},
		"too long ago":      {at(9000, 9), 0, false},
		"before everything": {at(10, 7), 0, false},
	} {
		if s, ok := sentBefore(log, c.v); ok != c.ok || ok && s.at != c.want {
			t.Errorf("%s: sent at %v, %v: want %v, %v", name, s.at, ok, c.want, c.ok)
		}
	}
}

// TestSkew: sound 60 ms late, pictures 80 ms; by the server's own clock they
// belong 5 ms apart.
func TestSkew(t *testing.T) {
	begin := time.Unix(5000, 0)
	ntp := func(d time.Duration) codec.NTPTime { return codec.NTPTimeOf(begin.Add(d)) }
	var log []sent
	var views []sighting
	for n := range 90 {
		due := time.Hour + time.Duration(n)*time.Second/30
		log = append(log, sent{int32(n), due, due})
		views = append(views, sighting{n, due + 80*time.Millisecond, ntp(due + 5*time.Millisecond)})
	}
	sound := func(d time.Duration) heard {
		return heard{captured: time.Hour + d, in: time.Hour + d, out: time.Hour + d + 60*time.Millisecond, shown: ntp(time.Hour + d)}
	}
	sounds := []heard{sound(500 * time.Millisecond), sound(1210 * time.Millisecond), sound(time.Hour)}
	arrival, shown, excused, missed := skewOf(sounds, views, log, &witness{})
	if len(arrival) != 2 || len(shown) != 2 || excused != 0 || missed != 1 {
		t.Fatalf("%d and %d skews, %d excused, %d missed: want 2, 2, 0, 1", len(arrival), len(shown), excused, missed)
	}
	for i := range arrival {
		if (arrival[i]-20*time.Millisecond).Abs() > time.Microsecond || (shown[i]-5*time.Millisecond).Abs() > time.Microsecond {
			t.Errorf("skew %v as it comes, %v as shown: want 20ms, 5ms", arrival[i], shown[i])
		}
	}
	late := &witness{late: []client.Gap{{End: time.Hour + 550*time.Millisecond, Length: 20 * time.Millisecond}}}
	if arrival, _, excused, _ := skewOf(sounds, views, log, late); len(arrival) != 1 || excused != 1 {
		t.Errorf("with a machine that was late: %d skews, %d excused: want 1, 1", len(arrival), excused)
	}
	f := skewFigures([]time.Duration{-30 * time.Millisecond, 10 * time.Millisecond, -20 * time.Millisecond})
	if f != (SkewFigures{P50: -20, P50Abs: 20, P95Abs: 30}) {
		t.Errorf("figures %+v: want -20, 20, 30", f)
	}
}

func TestReadingsLeaveOutWhatTheMachineDid(t *testing.T) {
	w := &witness{late: []client.Gap{{End: 1050 * time.Millisecond, Length: 30 * time.Millisecond}}}
	var r readings
	for i := range 10 {
		in := time.Duration(i) * 500 * time.Millisecond
		r.add(in, in+time.Duration(10+i)*time.Millisecond, w)
	}
	r.add(time.Second, time.Second+90*time.Millisecond, w)
	r.miss([]time.Duration{time.Second, 3 * time.Second}, w)
	if l := r.latency(); l.Readings != 9 || l.Excused != 3 || l.Missed != 1 || l.P50 != 15 || l.Max != 19 {
		t.Errorf("%+v: want 9 readings, 3 excused, 1 missed, p50 15, max 19", l)
	}
	if l := (&readings{}).latency(); l != nil {
		t.Errorf("of nothing: %+v", l)
	}
}

// TestRemake: another size and rate, every unit with its own number.
func TestRemake(t *testing.T) {
	c, err := clip.Load("../../../../.cache/clips/video-02.ivf")
	if err != nil {
		t.Fatal(err)
	}
	c.Units = c.Units[:60]
	for _, to := range []layout.Canvas{{Width: 320, Height: 180, FPS: 15}, {Width: 640, Height: 360, FPS: 60}} {
		out, err := remake(c, to, true)
		if err != nil {
			t.Fatal(err)
		}
		if d := out.Duration(); d < 1900*time.Millisecond || d > 2100*time.Millisecond {
			t.Errorf("%v: lasts %v: want 2s", to, d)
		}
		if bps := float64(out.Bytes()) * 8 / out.Duration().Seconds(); bps > 2e6 {
			t.Errorf("%v: %.0f bit/s", to, bps)
		}
		var pictures []seenPicture
		for i, u := range out.Units {
			pictures = append(pictures, seenPicture{arrival: time.Duration(i+1) * time.Second, data: u.Data})
		}
		where := tiles{canvas: to, by: map[string]layout.Rect{"x": to.Bounds()}}
		seen, unread, err := numbers(pictures, where, []string{"x"}, to)
		if err != nil || unread > len(out.Units)/10 {
			t.Errorf("%v: %d of %d unread, %v", to, unread, len(out.Units), err)
		}
		for _, s := range seen["x"] {
			if want := int(s.arrival/time.Second) - 1; s.number != want {
				t.Errorf("%v: unit %d has number %d", to, want, s.number)
			}
		}
	}
}

// TestCast: who carries markers and who looks for them, also where links are
// poor or nobody sends pictures.
func TestCast(t *testing.T) {
	few := &cast{members: []*member{{}}}
	if few.mark(Config{Latency: time.Second, SkewOnly: true}); len(few.beacons) != 0 || len(few.late) != 1 || len(few.turns()) > 8 {
		t.Errorf("for the skew alone: %d beacons, %d turns", len(few.beacons), len(few.turns()))
	}
	cast := func(cfg Config) (c *cast, numbered, reads int) {
		t.Helper()
		cfg.Clips, cfg.Duration, cfg.Latency = "../../../../.cache/clips", time.Second, 2*time.Second
		c, err := prepare(cfg.withDefaults())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range c.members {
			if m.numbered {
				numbered++
			}
			if m.reads {
				reads++
			}
			if m.impaired && m.reads {
				t.Errorf("%s, on a poor link, looks for markers", m.name())
			}
		}
		return c, numbered, reads
	}
	poor, err := transporttest.ParseSpec("loss=5%")
	if err != nil {
		t.Fatal(err)
	}
	c, numbered, reads := cast(Config{Participants: 2, Talkers: 1, Viewers: 1, Impair: poor, ImpairCount: 1})
	if numbered != 2 || reads != 2 || len(c.beacons) != beaconCount || c.members[2].audio != nil || c.members[2].video != nil {
		t.Errorf("%d numbered, %d read, %d beacons: want 2, 2, %d, and a viewer who sends nothing", numbered, reads, len(c.beacons), beaconCount)
	}
	if len(c.late) != 1 || !c.late[0].numbered || !c.late[0].reads || c.late[0].beep == nil || c.late[0].video == nil {
		t.Errorf("%d join late: want one who is seen, heard, and looks for markers", len(c.late))
	}
	c, numbered, reads = cast(Config{Participants: 2, AudioOnly: true})
	if numbered != 0 || reads != 2 || c.members[0].video != nil || len(c.late) != 0 {
		t.Errorf("sound only: %d numbered, %d read: want 0, 2", numbered, reads)
	}
	// A marker can begin on time only where every packet is sent.
	for _, m := range append(c.beacons, &member{audio: newSender(c.steady)}) {
		for i, u := range m.audio.mu.clip.Units {
			if len(u.Data) <= 2 {
				t.Fatalf("%s: packet %d of steady silence is DTX", m.name(), i)
			}
		}
	}
	turns := c.turns()
	var last float64 = maxDriftPPM + 1
	for i, m := range turns {
		if m == nil || m.role != beacon {
			continue
		}
		if m.drift >= last || m.beep == nil {
			t.Errorf("turn %d: drift %v after %v: want the fastest first, all with a marker", i, m.drift, last)
		}
		last = m.drift
	}
	if last != -maxDriftPPM {
		t.Errorf("the slowest clock drifts by %v: want %v", last, -maxDriftPPM)
	}
}

// TestRatiosOfNothing: a floor that was not measured, or of nothing, has no ratio,
// and the result can be written all the same.
func TestRatiosOfNothing(t *testing.T) {
	for _, c := range []struct{ floor, paced, ratio, pacedRatio float64 }{{0, 0, 0, 0}, {0.2, 0, 2, 0}, {0, 0.1, 0, 4}, {0.2, 0.1, 2, 4}} {
		r := &Result{ServerCores: 0.4}
		r.compare(Floor{Total: c.floor}, Floor{Total: c.floor}, c.paced)
		if math.Abs(r.Ratio-c.ratio) > 1e-9 || math.Abs(r.PacedRatio-c.pacedRatio) > 1e-9 {
			t.Errorf("floors %v and %v: ratios %v and %v: want %v and %v", c.floor, c.paced, r.Ratio, r.PacedRatio, c.ratio, c.pacedRatio)
		}
		if err := r.JSON(io.Discard); err != nil {
			t.Errorf("floors %v and %v: %v", c.floor, c.paced, err)
		}
	}
}

// TestQuantileOfBuckets: also beyond the last bound it is a number.
func TestQuantileOfBuckets(t *testing.T) {
	s := series{
		`x_bucket{le="0.01"}`: 90, `x_bucket{le="0.1"}`: 98, `x_bucket{le="1"}`: 99, `x_bucket{le="+Inf"}`: 100, "x_count": 100,
		`y_bucket{le="0.01"}`: 0, `y_bucket{le="+Inf"}`: 0, "y_count": 0,
	}
	for _, c := range []struct {
		name    string
		q, want float64
	}{{"x", 0.5, 0.01}, {"x", 0.95, 0.1}, {"x", 0.99, 1}, {"x", 0.999, 1}, {"y", 0.5, 0}, {"z", 0.5, 0}} {
		if got := s.quantile(c.name, c.q); got != c.want {
			t.Errorf("%s at %v: %v: want %v", c.name, c.q, got, c.want)
		}
	}
}
