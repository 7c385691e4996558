package record

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"mixdown/codec"
)

// TestStartsAtTheFirstKeyFrame: sound of that PTS came before the frame, and
// is in the file; sound from before is not.
func TestStartsAtTheFirstKeyFrame(t *testing.T) {
	g := newRig(t, Config{Video: true}, nil)
	g.run(t.Context())
	for ms := 1000; ms <= 1300; ms += 20 {
		g.sound(ms)
	}
	if v := g.picture(1160, false); v != codec.NeedKey {
		t.Errorf("a delta frame first: %v", v)
	}
	if v := g.picture(1200, true); v != codec.Sent {
		t.Errorf("the key frame: %v", v)
	}
	if v := g.picture(1240, false); v != codec.Sent {
		t.Errorf("the one after: %v", v)
	}
	g.sound(1320)
	st, err := g.stop()
	if err != nil || st.State != Complete || st.Err != nil {
		t.Fatalf("%+v, %v", st, err)
	}
	got := blocks(t, g.files[0].b)
	want := []block{
		{true, 0, true, 1200}, {false, 0, true, 1200}, {false, 20, true, 1220},
		{true, 40, false, 1240}, {false, 40, true, 1240}, {false, 60, true, 1260},
		{false, 80, true, 1280}, {false, 100, true, 1300}, {false, 120, true, 1320},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if st.Duration != 140*time.Millisecond || st.Bytes != int64(len(g.files[0].b)) || len(st.Parts) != 1 ||
		st.Parts[0].Width != 640 || st.Parts[0].Height != 360 {
		t.Errorf("status %+v, %d bytes", st, len(g.files[0].b))
	}
	if !slices.Equal(g.states, []State{Active, Complete}) && !slices.Equal(g.states, []State{Complete}) {
		t.Errorf("states %v", g.states)
	}
	if g.files[0].closed != 1 {
		t.Errorf("the file was closed %d times", g.files[0].closed)
	}
	if stats := g.Stats(); stats.VideoWritten != 2 || stats.AudioWritten != 7 {
		t.Errorf("%+v", stats)
	}
}

func TestPausedTimeIsCutOut(t *testing.T) {
	g := newRig(t, Config{Video: true}, nil)
	g.run(t.Context())
	g.picture(0, true)
	g.play(0, 1000, 40)
	g.settle()
	if err := g.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := g.Pause(); err != nil { // twice is fine
		t.Fatal(err)
	}
	for <-g.state != Paused {
	}
	if v := g.picture(1000, true); v != codec.Dropped {
		t.Errorf("a picture in the pause: %v", v)
	}
	g.play(1020, 9000, 40)
	if st := g.Status(); st.State != Paused {
		t.Errorf("state %v", st.State)
	}
	if err := g.Resume(); err != nil {
		t.Fatal(err)
	}
	for <-g.state != Active {
	}
	// Sound runs on, pictures wait for the key frame at 9200 that NeedKey asked for.
	for ms := 9000; ms < 9300; ms += 20 {
		g.sound(ms)
	}
	if v := g.picture(9080, false); v != codec.NeedKey {
		t.Errorf("the first picture after the pause: %v", v)
	}
	if v := g.picture(9200, true); v != codec.Sent {
		t.Errorf("the key frame: %v", v)
	}
	g.play(9300, 10000, 80)
	st, err := g.stop()
	if err != nil {
		t.Fatal(err)
	}
	all := blocks(t, g.files[0].b)
	for _, b := range all {
		if b.pts >= 1000 && b.pts < 9200 {
			t.Fatalf("%+v is from the pause", b)
		}
	}
	checkSync(t, all)
	audio := only(all, false)
	gap := 0
	for i := range audio[1:] {
		gap = max(gap, audio[i+1].ms-audio[i].ms)
	}
	if gap > 40 {
		t.Errorf("a gap of %d ms where the pause was", gap)
	}
	if st.Duration < 1750*time.Millisecond || st.Duration > 1850*time.Millisecond {
		t.Errorf("duration %v, want about 1.8 s", st.Duration)
	}
	if want := []State{Active, Paused, Active, Complete}; !slices.Equal(g.states, want) && !slices.Equal(g.states, want[1:]) {
		t.Errorf("states %v, want %v", g.states, want)
	}
}

// checkSync verifies that sound and picture of one PTS stand at one time.
func checkSync(t *testing.T, all []block) {
	t.Helper()
	at := map[int]int{}
	for _, b := range only(all, true) {
		at[b.pts] = b.ms
	}
	n := 0
	for _, b := range only(all, false) {
		if ms, ok := at[b.pts]; ok {
			n++
			if ms != b.ms {
				t.Errorf("PTS %d: picture at %d ms, sound at %d ms", b.pts, ms, b.ms)
			}
		}
	}
	if n < 5 {
		t.Errorf("only %d pairs to compare", n)
	}
}

// TestPauseWithoutPictures: a room of sound alone needs no key frame.
func TestPauseWithoutPictures(t *testing.T) {
	g := newRig(t, Config{}, nil)
	g.run(t.Context())
	if v := g.picture(0, true); v != codec.Dropped {
		t.Errorf("a picture: %v", v)
	}
	for ms := 5000; ms < 6000; ms += 20 {
		g.sound(ms)
	}
	g.settle()
	_ = g.Pause()
	g.sound(6000)
	_ = g.Resume()
	for ms := 8000; ms < 9000; ms += 20 {
		g.sound(ms)
	}
	st, err := g.stop()
	if err != nil || st.Duration != 2*time.Second {
		t.Errorf("%+v, %v", st, err)
	}
	all := blocks(t, g.files[0].b)
	if len(all) != 100 || all[50].pts != 8000 || all[50].ms != 1000 {
		t.Errorf("%d blocks, the 50th %+v", len(all), all[50])
	}
}

func TestClockJumpKeepsSync(t *testing.T) {
	g := newRig(t, Config{Video: true}, nil)
	g.run(t.Context())
	g.picture(0, true)
	g.play(0, 1000, 80)
	g.play(61000, 62000, 80)
	if _, err := g.stop(); err != nil {
		t.Fatal(err)
	}
	all := blocks(t, g.files[0].b)
	checkSync(t, all)
	if last := all[len(all)-1]; last.ms < 61900 || last.ms != last.pts {
		t.Errorf("the last block %+v", last)
	}
}

// TestAnotherSizeStartsAPart: a canvas that changes leaves two whole files,
// and the sound is cut where the picture is.
func TestAnotherSizeStartsAPart(t *testing.T) {
	g := newRig(t, Config{Video: true}, nil)
	g.run(t.Context())
	g.picture(0, true)
	for ms := 0; ms < 1100; ms += 20 {
		g.sound(ms)
		if v := ms - 80; v > 0 && v < 1000 && v%40 == 0 {
			g.picture(v, false)
		}
	}
	g.sized(1000, true, 1280, 720)
	for ms := 1100; ms < 2000; ms += 20 {
		g.sound(ms)
		if v := ms - 80; v > 1000 && v%40 == 0 {
			g.sized(v, false, 1280, 720)
		}
	}
	st, err := g.stop()
	if err != nil || len(st.Parts) != 2 || len(g.files) != 2 {
		t.Fatalf("%+v, %v", st, err)
	}
	first, second := blocks(t, g.files[0].b), blocks(t, g.files[1].b)
	if last := only(first, false); last[len(last)-1].pts != 980 {
		t.Errorf("the first part's sound ends at %d", last[len(last)-1].pts)
	}
	if s := only(second, false); s[0].pts != 1000 || s[0].ms != 0 || s[len(s)-1].pts != 1980 {
		t.Errorf("the second part's sound starts %+v", s[0])
	}
	if v := only(second, true); !v[0].key || v[0].pts != 1000 || v[0].ms != 0 {
		t.Errorf("the second part starts %+v", v[0])
	}
	checkSync(t, first)
	checkSync(t, second)
	if p := st.Parts; p[0].Width != 640 || p[1].Width != 1280 || p[0].Duration != time.Second ||
		st.Duration != p[0].Duration+p[1].Duration || st.Bytes != int64(len(g.files[0].b)+len(g.files[1].b)) {
		t.Errorf("%+v", st)
	}
}

// TestNoPictureComes: after StartTimeout of sound the recording starts without
// one, losing nothing, and pictures start a part when they come.
func TestNoPictureComes(t *testing.T) {
	g := newRig(t, Config{Video: true, StartTimeout: time.Second}, nil)
	g.run(t.Context())
	for ms := 0; ms < 3000; ms += 20 {
		g.sound(ms)
	}
	g.settle()
	g.picture(3000, true)
	g.play(3000, 4000, 40)
	st, err := g.stop()
	if err != nil || len(g.files) != 2 {
		t.Fatalf("%+v, %v", st, err)
	}
	first := blocks(t, g.files[0].b)
	if len(first) != 150 || first[0].pts != 0 || st.Parts[0].Width != 0 {
		t.Errorf("%d blocks, first %+v", len(first), first[0])
	}
	checkSync(t, blocks(t, g.files[1].b))
}

// TestStoppedBeforeAPicture keeps the sound of a recording of a second.
func TestStoppedBeforeAPicture(t *testing.T) {
	g := newRig(t, Config{Video: true}, nil)
	g.run(t.Context())
	for ms := 0; ms < 500; ms += 20 {
		g.sound(ms)
	}
	st, err := g.stop()
	if err != nil || st.State != Complete || len(blocks(t, g.files[0].b)) != 25 {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestNothingCame(t *testing.T) {
	g := newRig(t, Config{Video: true}, nil)
	g.run(t.Context())
	if st, err := g.stop(); !errors.Is(err, ErrEmpty) || st.State != Failed || !errors.Is(st.Err, ErrEmpty) || len(g.files) != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := g.Close(); !errors.Is(err, ErrEmpty) {
		t.Errorf("Close: %v", err)
	}
	if err := g.Pause(); !errors.Is(err, ErrFinal) {
		t.Errorf("Pause: %v", err)
	}
	if err := g.Resume(); !errors.Is(err, ErrFinal) {
		t.Errorf("Resume: %v", err)
	}
}

// TestSlowDisk: the queue is bounded, nobody waits, pictures go before sound,
// and what is written is a stream without holes.
func TestSlowDisk(t *testing.T) {
	gate := make(chan struct{})
	g := newRig(t, Config{Video: true, MaxVideoFrames: 20, MaxVideoBytes: 4000, MaxAudioFrames: 100}, func(int) (*memFile, error) {
		return &memFile{gate: gate}, nil
	})
	g.run(t.Context())
	g.picture(0, true)
	for g.queued() > 0 { // Run has it, and waits for the disk
		time.Sleep(time.Millisecond)
	}
	verdicts := map[codec.Verdict]int{}
	for ms := 0; ms < 4000; ms += 20 {
		g.sound(ms)
		if ms > 0 && ms%40 == 0 {
			f := g.frame(g.extra, ms)
			f.Codec, f.Stream, f.Discardable = codec.VP8, g.stream, ms%80 == 40
			verdicts[g.WriteVideo(f)]++
		}
	}
	stats := g.Stats()
	if stats.AudioDropped != 100 || stats.VideoDropped == 0 || stats.VideoThinned == 0 || stats.QueuedMax > 120 {
		t.Errorf("%+v", stats)
	}
	if verdicts[codec.Sent] < 15 || verdicts[codec.NeedKey] != 0 {
		t.Errorf("verdicts %v: a full queue must not ask for key frames", verdicts)
	}
	close(gate)
	for g.queued() > 0 {
		time.Sleep(time.Millisecond)
	}
	if v := g.picture(4000, false); v != codec.NeedKey {
		t.Errorf("when the disk is back: %v", v)
	}
	g.picture(4040, true)
	g.play(4060, 5000, 20)
	st, err := g.stop()
	if err != nil {
		t.Fatal(err)
	}
	all := blocks(t, g.files[0].b)
	checkSync(t, all)
	// Every picture has what it references: the base layer runs on at 80 ms
	// until the hole, and a key frame stands behind it.
	last := 0
	for _, b := range only(all, true)[1:] {
		if step := b.pts - last; step > 80 && !b.key {
			t.Fatalf("a hole of %d ms before %+v and no key frame", step, b)
		}
		last = b.pts
	}
	if got := int(stats.AudioWritten); got != 0 {
		t.Errorf("%d packets written through a closed gate", got)
	}
	if st.Duration < 4900*time.Millisecond {
		t.Errorf("%v", st.Duration)
	}
}

func (g *rig) queued() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.n
}

// TestDiskFull: what was written stays readable, and the room goes on.
func TestDiskFull(t *testing.T) {
	g := newRig(t, Config{Video: true}, func(int) (*memFile, error) { return &memFile{limit: 6000}, nil })
	g.run(t.Context())
	g.picture(0, true)
	g.play(0, 4000, 40)
	err := <-g.ran
	if !errors.Is(err, errDiskFull) {
		t.Fatalf("Run: %v", err)
	}
	st := g.Status()
	if st.State != Failed || !errors.Is(st.Err, errDiskFull) || st.Duration <= 0 || st.Bytes != int64(len(g.files[0].b)) {
		t.Errorf("%+v", st)
	}
	if n := len(blocks(t, g.files[0].b)); n < 50 {
		t.Errorf("%d blocks", n)
	}
	if v := g.picture(4000, true); v != codec.Dropped {
		t.Errorf("a picture afterwards: %v", v)
	}
	g.sound(4000)
	if g.files[0].closed != 1 {
		t.Errorf("closed %d times", g.files[0].closed)
	}
}

func TestFileCannotBeMade(t *testing.T) {
	denied := errors.New("permission denied")
	g := newRig(t, Config{}, func(int) (*memFile, error) { return nil, denied })
	g.run(t.Context())
	g.sound(0)
	if err := <-g.ran; !errors.Is(err, denied) {
		t.Errorf("Run: %v", err)
	}
	if st := g.Status(); st.State != Failed {
		t.Errorf("%+v", st)
	}
	// No room even for the header: the file is closed all the same.
	g = newRig(t, Config{}, func(int) (*memFile, error) { return &memFile{limit: 10}, nil })
	g.run(t.Context())
	g.sound(0)
	if err := <-g.ran; !errors.Is(err, errDiskFull) || g.files[0].closed != 1 {
		t.Errorf("Run: %v", err)
	}
}

func TestEndOfContextFinishesTheFile(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := newRig(t, Config{Video: true}, nil)
	g.picture(0, true)
	g.play(0, 1000, 40)
	cancel()
	g.run(ctx)
	if err := <-g.ran; err != nil {
		t.Fatal(err)
	}
	if got := len(blocks(t, g.files[0].b)); got != 50+24 {
		t.Errorf("%d blocks: what was queued is lost", got)
	}
	if err := g.Run(ctx); err != nil {
		t.Errorf("Run after the end: %v", err)
	}
}

func TestStopWithoutRun(t *testing.T) {
	g := newRig(t, Config{}, nil)
	for ms := 0; ms < 200; ms += 20 {
		g.sound(ms)
	}
	for range 2 {
		if st, err := g.Stop(t.Context()); err != nil || st.State != Complete || st.Duration != 200*time.Millisecond {
			t.Errorf("%+v, %v", st, err)
		}
	}
	if err := g.Run(t.Context()); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestStopGivesUpWithItsContext(t *testing.T) {
	gate := make(chan struct{})
	g := newRig(t, Config{}, func(int) (*memFile, error) { return &memFile{gate: gate}, nil })
	g.run(t.Context())
	g.sound(0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for g.queued() > 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := g.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v", err)
	}
	close(gate)
	if st, err := g.stop(); err != nil || st.State != Complete {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestAnotherStreamNeedsAKeyFrame(t *testing.T) {
	g := newRig(t, Config{Video: true}, nil)
	g.run(t.Context())
	g.picture(0, true)
	g.picture(40, false)
	g.stream = codec.NewStreamID()
	if v := g.picture(80, false); v != codec.NeedKey {
		t.Errorf("a delta of another stream: %v", v)
	}
	if v := g.picture(120, true); v != codec.Sent {
		t.Errorf("its key frame: %v", v)
	}
	// Backwards: refused, and pictures wait for a key frame.
	g.picture(100, false)
	for g.Stats().Refused == 0 {
		time.Sleep(time.Millisecond)
	}
	if v := g.picture(160, false); v != codec.NeedKey {
		t.Errorf("after a picture that was refused: %v", v)
	}
	if _, err := g.stop(); err != nil {
		t.Fatal(err)
	}
	if got := len(blocks(t, g.files[0].b)); got != 3 {
		t.Errorf("%d blocks", got)
	}
}

func TestAsksForKeyFramesToSeekTo(t *testing.T) {
	asked := make(chan struct{}, 100)
	g := newRig(t, Config{Video: true, KeyInterval: 2 * time.Second, RequestKeyframe: func() { asked <- struct{}{} }}, nil)
	g.run(t.Context())
	g.picture(0, true)
	for ms := 40; ms <= 5000; ms += 40 {
		g.picture(ms, ms == 3520)
	}
	if _, err := g.stop(); err != nil {
		t.Fatal(err)
	}
	// At 2.0 s, again at 3.0 s since nothing came, and not within 2 s of the
	// key frame at 3.52 s.
	if n := len(asked); n != 2 || g.Stats().KeyRequests != 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestConfigIsChecked(t *testing.T) {
	create := func(int) (File, error) { return nil, nil }
	for name, cfg := range map[string]Config{
		"create":        {},
		"key interval":  {Create: create, KeyInterval: -1},
		"start timeout": {Create: create, StartTimeout: time.Minute},
		"video frames":  {Create: create, MaxVideoFrames: -1},
		"video bytes":   {Create: create, MaxVideoBytes: 2 << 30},
		"audio frames":  {Create: create, MaxAudioFrames: 1 << 20},
	} {
		if _, err := New(cfg); !errors.Is(err, ErrBadConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEverybodyAtOnce is for the race detector.
func TestEverybodyAtOnce(t *testing.T) {
	g := newRig(t, Config{Video: true}, nil)
	g.run(t.Context())
	var wg sync.WaitGroup
	frames := make([][]*codec.EncodedFrame, 2)
	wg.Go(func() {
		for ms := 0; ms < 20000; ms += 20 {
			f := codec.NewEncodedFrame(16)
			f.Codec, f.PTS = codec.Opus, time.Duration(ms)*time.Millisecond
			f.Data = append(f.Data, 0x48, 0, 0, 0)
			g.WriteAudio(f)
			frames[0] = append(frames[0], f)
		}
	})
	wg.Go(func() {
		need := true
		for ms := 0; ms < 20000; ms += 33 {
			f := codec.NewEncodedFrame(16)
			f.Codec, f.Stream, f.PTS = codec.VP8, 1, time.Duration(ms)*time.Millisecond
			f.Data = append(f.Data, 1, 2, 3, 4)
			f.Key, f.Width, f.Height = need, 640+ms/10000*2, 360
			f.Key = f.Key || ms%9900 == 0
			need = g.WriteVideo(f) == codec.NeedKey
			frames[1] = append(frames[1], f)
		}
	})
	wg.Go(func() {
		for range 50 {
			_ = g.Pause()
			_ = g.Status()
			_ = g.Resume()
			_ = g.Stats()
		}
	})
	wg.Wait()
	st, err := g.stop()
	if err != nil || st.State != Complete {
		t.Fatalf("%+v, %v", st, err)
	}
	for _, f := range slices.Concat(frames[0], frames[1]) {
		if f.Release(); f.Data != nil {
			t.Fatal("the Recorder kept a frame")
		}
	}
	for _, f := range g.files {
		blocks(t, f.b)
	}
}

type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nowhere) Close() error                           { return nil }

// TestWriteAllocatesNothing covers both halves: into the queue and out of it.
func TestWriteAllocatesNothing(t *testing.T) {
	r, err := New(Config{Video: true, Create: func(int) (File, error) { return nowhere{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	audio, video := codec.NewEncodedFrame(64), codec.NewEncodedFrame(6000)
	defer audio.Release()
	defer video.Release()
	audio.Codec, audio.Data = codec.Opus, audio.Buffer()[:60]
	video.Codec, video.Data, video.Key, video.Width, video.Height = codec.VP8, video.Buffer()[:6000], true, 640, 360
	tick := func() {
		r.WriteAudio(audio)
		if r.WriteVideo(video) != codec.Sent {
			t.Fatal("not sent")
		}
		if _, err := r.work(); err != nil {
			t.Fatal(err)
		}
		video.Key = false
		audio.PTS += 20 * time.Millisecond
		video.PTS += 20 * time.Millisecond
	}
	for range 1000 {
		tick()
	}
	if n := testing.AllocsPerRun(1000, tick); n != 0 {
		t.Errorf("%v allocations a tick", n)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}
