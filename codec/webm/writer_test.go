package webm

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/at-wat/ebml-go"
	ebmlwebm "github.com/at-wat/ebml-go/webm"

	"mixdown/codec"
)

// picture and sound are frames whose bytes tell which they are.
func picture(ms int, key bool) *codec.EncodedFrame {
	f := codec.NewEncodedFrame(600)
	f.Codec, f.Key, f.PTS = codec.VP8, key, time.Duration(ms)*time.Millisecond
	f.Width, f.Height = 320, 180
	f.Data = append(f.Data, fmt.Sprintf("v%06d", ms)...)
	if key {
		f.Data = f.Buffer()[:500]
	}
	return f
}

func sound(ms int) *codec.EncodedFrame {
	f := codec.NewEncodedFrame(32)
	f.Codec, f.PTS = codec.Opus, time.Duration(ms)*time.Millisecond
	f.Data = append(f.Data, 0x48, byte(ms), byte(ms>>8)) // SILK, 20 ms
	return f
}

// traffic is so many ms of pictures at 25 fps and sound, a key frame every
// keyMs, pictures lagMs late.
func traffic(ms, keyMs, lagMs int) []*codec.EncodedFrame {
	var out []*codec.EncodedFrame
	for t := 0; t < ms+lagMs; t += 20 {
		if t < ms {
			out = append(out, sound(t))
		}
		if v := t - lagMs; v >= 0 && v%40 == 0 {
			out = append(out, picture(v, v%keyMs == 0))
		}
	}
	return out
}

var testConfig = Config{Video: &VideoTrack{320, 180}, Audio: &AudioTrack{}}

// document is the whole file as ebml-go understands it: a second opinion.
type document struct {
	EBML    ebmlwebm.EBMLHeader `ebml:"EBML"`
	Segment struct {
		SeekHead *ebmlwebm.SeekHead `ebml:"SeekHead"`
		Info     ebmlwebm.Info      `ebml:"Info"`
		Tracks   ebmlwebm.Tracks    `ebml:"Tracks"`
		Cluster  []ebmlwebm.Cluster `ebml:"Cluster"`
		Cues     *ebmlwebm.Cues     `ebml:"Cues"`
	} `ebml:"Segment"`
}

func parse(t testing.TB, b []byte) *document {
	t.Helper()
	var d document
	if err := ebml.Unmarshal(bytes.NewReader(b), &d); err != nil {
		t.Fatalf("ebml-go cannot read it: %v", err)
	}
	return &d
}

// check verifies the laws of a finished file and returns its blocks.
func check(t testing.TB, b []byte) []ebml.Block {
	t.Helper()
	d := parse(t, b)
	segment := int64(bytes.Index(b, []byte{0x18, 0x53, 0x80, 0x67})) + 12
	if got := vint(b[segment-8 : segment]); got != int64(len(b))-segment {
		t.Errorf("Segment's size %d, want %d", got, int64(len(b))-segment)
	}
	for _, s := range d.Segment.SeekHead.Seek {
		if at := segment + int64(s.SeekPosition); !bytes.HasPrefix(b[at:], s.SeekID) {
			t.Errorf("SeekHead: no % x at %d", s.SeekID, at)
		}
	}
	var blocks []ebml.Block
	last := int64(-1)
	keys := 0
	for i, c := range d.Segment.Cluster {
		start := int64(c.Timecode)
		for n, bl := range c.SimpleBlock {
			ms := start + int64(bl.Timecode)
			if ms < last {
				t.Errorf("block at %d ms behind one at %d ms", ms, last)
			}
			if ms-start >= maxClusterMs {
				t.Errorf("cluster %d is longer than %d ms", i, maxClusterMs)
			}
			last = ms
			if bl.TrackNumber == videoNumber && bl.Keyframe {
				keys++
				if n != 0 {
					t.Errorf("key frame at %d ms is not the first of its cluster", ms)
				}
			}
			bl.Timecode = 0
			blocks = append(blocks, bl)
		}
	}
	if len(blocks) > 0 {
		if d.Segment.Cues == nil || len(d.Segment.SeekHead.Seek) != 3 {
			t.Fatal("no index")
		}
		if got := len(d.Segment.Cues.CuePoint); keys > 0 && got != keys {
			t.Errorf("%d cues for %d key frames", got, keys)
		}
		for _, c := range d.Segment.Cues.CuePoint {
			at := segment + int64(c.CueTrackPositions[0].CueClusterPosition)
			if !bytes.HasPrefix(b[at:], []byte{0x1f, 0x43, 0xb6, 0x75}) {
				t.Errorf("cue at %d ms points to no cluster", c.CueTime)
			}
		}
		if d := d.Segment.Info.Duration; d < float64(last) || d > float64(last+200) {
			t.Errorf("duration %v ms, the last block is at %d ms", d, last)
		}
	}
	return blocks
}

func releaseAll(frames []*codec.EncodedFrame) {
	for _, f := range frames {
		f.Release()
	}
}

func TestBlocksAreWrittenInOrder(t *testing.T) {
	for _, lag := range []int{0, 40, 100, 380} {
		t.Run(fmt.Sprint(lag, "ms"), func(t *testing.T) {
			var m memFile
			w, err := NewWriter(&m, testConfig)
			if err != nil {
				t.Fatal(err)
			}
			frames := traffic(9000, 3000, lag)
			defer releaseAll(frames)
			for _, f := range frames {
				if err := w.Write(f, f.PTS); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Errorf("second Close: %v", err)
			}
			if got := len(check(t, m.b)); got != len(frames) {
				t.Errorf("%d blocks of %d", got, len(frames))
			}
			if err := w.Write(frames[0], time.Hour); !errors.Is(err, ErrClosed) {
				t.Errorf("Write after Close: %v", err)
			}
		})
	}
}

// TestBlockIsWrittenAtOnce: what the other track has reached is on the disk.
func TestBlockIsWrittenAtOnce(t *testing.T) {
	var m memFile
	w, _ := NewWriter(&m, Config{Audio: &AudioTrack{}})
	for ms := 0; ms < 100; ms += 20 {
		f := sound(ms)
		before := len(m.b)
		if err := w.Write(f, f.PTS); err != nil {
			t.Fatal(err)
		}
		if len(m.b) == before {
			t.Errorf("a file of one track holds the block at %d ms back", ms)
		}
		f.Release()
	}
	m = memFile{}
	w, _ = NewWriter(&m, testConfig)
	key := picture(0, true)
	defer key.Release()
	if err := w.Write(key, 0); err != nil {
		t.Fatal(err)
	}
	// The picture stalls: sound is held back for the window and no longer.
	for ms := 0; ms <= 2000; ms += 20 {
		f := sound(ms)
		if err := w.Write(f, f.PTS); err != nil {
			t.Fatal(err)
		}
		f.Release()
		if behind := time.Duration(ms+20)*time.Millisecond - w.Duration(); behind > 420*time.Millisecond {
			t.Fatalf("at %d ms %v are not written", ms, behind)
		}
	}
	// It comes back late: written at its own time.
	late := picture(1000, false)
	defer late.Release()
	if err := w.Write(late, late.PTS); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, c := range parse(t, m.b).Segment.Cluster {
		for _, b := range c.SimpleBlock {
			found = found || b.TrackNumber == videoNumber && int64(c.Timecode)+int64(b.Timecode) == 1000
		}
	}
	if !found {
		t.Error("the late picture is not at its time")
	}
}

func TestRefusedFrames(t *testing.T) {
	key, delta, packet := picture(0, true), picture(40, false), sound(0)
	defer releaseAll([]*codec.EncodedFrame{key, delta, packet})
	empty := codec.NewEncodedFrame(1)
	empty.Codec = codec.Opus
	defer empty.Release()
	huge := codec.NewEncodedFrame(0)
	huge.Codec, huge.Data = codec.Opus, make([]byte, maxBlockBytes+1)
	for _, c := range []struct {
		name  string
		cfg   Config
		first *codec.EncodedFrame
		f     *codec.EncodedFrame
		at    time.Duration
		want  error
	}{
		{"delta first", testConfig, nil, delta, 0, codec.ErrNeedKey},
		{"negative", testConfig, nil, packet, -time.Millisecond, ErrOrder},
		{"same time", testConfig, key, key, 0, ErrOrder},
		{"same ms", testConfig, key, key, 400 * time.Microsecond, ErrOrder},
		{"no video track", Config{Audio: &AudioTrack{}}, nil, key, 0, ErrNoTrack},
		{"no audio track", Config{Video: &VideoTrack{8, 8}}, nil, packet, 0, ErrNoTrack},
		{"no codec", testConfig, nil, &codec.EncodedFrame{Data: []byte{1}}, 0, ErrNoTrack},
		{"empty", testConfig, nil, empty, 0, codec.ErrCorrupt},
		{"huge", testConfig, nil, huge, 0, codec.ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m memFile
			w, err := NewWriter(&m, c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if c.first != nil {
				if err := w.Write(c.first, 0); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Write(c.f, c.at); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err := w.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			check(t, m.b)
		})
	}
}

func TestLateBeyondRepairIsRefused(t *testing.T) {
	var m memFile
	w, _ := NewWriter(&m, testConfig)
	key, packet := picture(0, true), sound(0)
	defer releaseAll([]*codec.EncodedFrame{key, packet})
	if err := w.Write(key, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(packet, 29*time.Second); !errors.Is(err, ErrOrder) {
		t.Errorf("31 s late: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	check(t, m.b)
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no track":   {},
		"video size": {Video: &VideoTrack{0, 10}},
		"video big":  {Video: &VideoTrack{16384, 10}},
		"channels":   {Audio: &AudioTrack{Channels: 3}},
		"pre-skip":   {Audio: &AudioTrack{PreSkip: 70000}},
		"app":        {Audio: &AudioTrack{}, App: string(make([]byte, 65))},
		"window":     {Audio: &AudioTrack{}, Window: -1},
	} {
		if _, err := NewWriter(&memFile{}, cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestDiskFull fills the disk at every place of a file: what Write took is
// there, and what is left is a file.
func TestDiskFull(t *testing.T) {
	frames := traffic(3000, 1000, 60)
	defer releaseAll(frames)
	var whole memFile
	w, _ := NewWriter(&whole, testConfig)
	head := len(whole.b)
	for _, f := range frames {
		if err := w.Write(f, f.PTS); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := NewWriter(&memFile{limit: head - 1}, testConfig); !errors.Is(err, errDiskFull) {
		t.Errorf("no room for the header: %v", err)
	}
	for limit := head; limit < len(whole.b); limit += 7 {
		m := &memFile{limit: limit}
		w, err := NewWriter(m, testConfig)
		if err != nil {
			t.Fatal(err)
		}
		var werr error
		for _, f := range frames {
			if werr = w.Write(f, f.PTS); werr != nil {
				break
			}
		}
		if werr != nil && !errors.Is(werr, errDiskFull) {
			t.Fatalf("limit %d: %v", limit, werr)
		}
		end := w.Bytes()
		if werr != nil && int(end) > limit {
			t.Fatalf("limit %d: %d bytes are said to be there", limit, end)
		}
		cerr := w.Close()
		written := countBlocks(t, m.b)
		if cerr == nil {
			check(t, m.b)
			continue
		}
		// Not even the index had room. Playable, and a later Recover adds it.
		if !errors.Is(cerr, errDiskFull) {
			t.Fatalf("limit %d: Close: %v", limit, cerr)
		}
		m.limit = 0
		info, err := recoverFile(m, int64(len(m.b)))
		if err != nil || info.Finished {
			t.Fatalf("limit %d: Recover: %+v, %v", limit, info, err)
		}
		if got := len(check(t, m.b)); got != written || got != info.Blocks {
			t.Fatalf("limit %d: %d blocks, %d by Recover, %d before", limit, got, info.Blocks, written)
		}
	}
}

func countBlocks(t testing.TB, b []byte) int {
	t.Helper()
	n := 0
	for _, c := range parse(t, b).Segment.Cluster {
		n += len(c.SimpleBlock)
	}
	return n
}

func TestCut(t *testing.T) {
	var m memFile
	w, _ := NewWriter(&m, testConfig)
	key := picture(0, true)
	defer key.Release()
	if err := w.Write(key, 0); err != nil {
		t.Fatal(err)
	}
	for ms := 0; ms < 200; ms += 20 {
		f := sound(ms)
		if err := w.Write(f, f.PTS); err != nil {
			t.Fatal(err)
		}
		f.Release()
	}
	var taken []time.Duration
	w.Cut(100*time.Millisecond, func(f *codec.EncodedFrame, at time.Duration) { taken = append(taken, at) })
	if len(taken) != 5 || taken[0] != 100*time.Millisecond || taken[4] != 180*time.Millisecond {
		t.Errorf("cut at 100 ms gave %v", taken)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(check(t, m.b)); got != 6 {
		t.Errorf("%d blocks, want 6", got)
	}
}

func TestIndexStaysBounded(t *testing.T) {
	var l cueList
	for i := range int64(200_000) {
		l.add(i*300, i*1000)
	}
	if n := len(l.cues); n > maxCues || n < maxCues/4 {
		t.Errorf("%d cues", n)
	}
	var widest int64
	for i := range l.cues[1:] {
		widest = max(widest, l.cues[i+1].ms-l.cues[i].ms)
	}
	if l.cues[0].ms != 0 || l.cues[len(l.cues)-1].ms < 200_000*300-20_000 || widest > 20_000 {
		t.Errorf("cues reach from %d to %d ms, widest gap %d ms", l.cues[0].ms, l.cues[len(l.cues)-1].ms, widest)
	}
}

func TestSizesAreWrittenAndRead(t *testing.T) {
	for n := 1; n <= 8; n++ {
		for _, v := range []int64{0, 1, 1<<(7*n) - 2, unknownSize} {
			b := appendSize(nil, v, n)
			if got := vint(b); got != v || len(b) != n || sizeLen(b[0]) != n {
				t.Errorf("%d in %d bytes: % x is read as %d", v, n, b, got)
			}
		}
	}
	for n := 2; n < 40; n++ {
		b := appendVoid(nil, n)
		e, err := newReader(bytes.NewReader(b), int64(n)).element(0)
		if err != nil || e.id != idVoid || e.end() != int64(n) {
			t.Errorf("Void of %d bytes: %+v, %v", n, e, err)
		}
	}
}

func TestOpusDuration(t *testing.T) {
	for _, c := range []struct {
		packet []byte
		want   time.Duration
	}{
		{[]byte{0x48}, 20 * time.Millisecond},       // SILK wideband 20 ms
		{[]byte{0x58}, 60 * time.Millisecond},       // SILK wideband 60 ms
		{[]byte{0x70}, 10 * time.Millisecond},       // hybrid 10 ms
		{[]byte{0xe0}, 2500 * time.Microsecond},     // CELT fullband 2.5 ms
		{[]byte{0xf9}, 40 * time.Millisecond},       // two of 20 ms
		{[]byte{0xfb, 0x03}, 60 * time.Millisecond}, // three of 20 ms
		{[]byte{0xfb}, 20 * time.Millisecond},       // broken
		{[]byte{0xfb, 0x3f}, 20 * time.Millisecond}, // 1.26 s: broken
		{nil, 20 * time.Millisecond},
	} {
		if got := opusDuration(c.packet); got != c.want {
			t.Errorf("% x: %v, want %v", c.packet, got, c.want)
		}
	}
}

// nowhere takes writes and keeps none.
type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func TestWriteAllocatesNothing(t *testing.T) {
	w, err := NewWriter(nowhere{}, testConfig)
	if err != nil {
		t.Fatal(err)
	}
	key, delta, packet := picture(0, true), picture(0, false), sound(0)
	defer releaseAll([]*codec.EncodedFrame{key, delta, packet})
	at := time.Duration(0)
	second := func() {
		for i := range 50 {
			if err := w.Write(packet, at); err != nil {
				t.Fatal(err)
			}
			f := delta
			if i == 0 {
				f = key
			}
			if err := w.Write(f, at); err != nil {
				t.Fatal(err)
			}
			at += 20 * time.Millisecond
		}
	}
	second()
	w.cues.cues = append(make([]cue, 0, 1024), w.cues.cues...) // the index may grow
	if n := testing.AllocsPerRun(100, second); n != 0 {
		t.Errorf("%v allocations for a second", n)
	}
}

// BenchmarkStageMux is a packet of sound and a picture written into a recording.
func BenchmarkStageMux(b *testing.B) {
	w, err := NewWriter(nowhere{}, testConfig)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	frame := codec.NewEncodedFrame(6250) // 1.5 Mb/s at 30 fps
	frame.Codec, frame.Key = codec.VP8, true
	frame.Data = frame.Buffer()[:6250]
	for i := range frame.Data {
		frame.Data[i] = byte(rng.Uint32())
	}
	packet := sound(0)
	b.ReportAllocs()
	b.SetBytes(int64(len(frame.Data) + len(packet.Data)))
	at := time.Duration(0)
	for b.Loop() {
		if err := w.Write(packet, at); err != nil {
			b.Fatal(err)
		}
		if err := w.Write(frame, at); err != nil {
			b.Fatal(err)
		}
		frame.Key = false
		at += 33 * time.Millisecond
	}
	if want := int64(b.N) * int64(len(frame.Data)); w.Bytes() < want {
		b.Fatalf("%d bytes were written, want %d", w.Bytes(), want)
	}
}
