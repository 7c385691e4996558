package mixer

import (
	"context"
	"sync"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/vp8"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

// film sends a moving picture at 30 a second, in two layers and with the key
// frames that the client is asked for, until the test calls stop, which returns
// the longest pause between two of its frames.
func film(t *testing.T, p *Participant, c *client, w, h int, y, u, v byte) (stop func() time.Duration) {
	t.Helper()
	enc, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: w, Height: h, FPS: 30, BitrateBps: 400_000, TemporalLayers: 2})
	if err != nil {
		t.Fatal(err)
	}
	picture, err := codec.NewVideoPool(1<<22).Get(w, h)
	if err != nil {
		t.Fatal(err)
	}
	for i := range picture.Y {
		picture.Y[i] = y
	}
	for i := range picture.U {
		picture.U[i], picture.V[i] = u, v
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	var pause time.Duration
	done.Go(func() {
		defer enc.Close()
		const interval = time.Second / 30
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		start, asked, last := codec.Now(), 0, codec.Now()
		for {
			now := codec.Now()
			pause, last = max(pause, now-last), now
			pts := (now - start).Truncate(interval)
			for i := range 16 * 16 {
				picture.Y[(i/16+16)*picture.StrideY+w/2+i%16] = byte(pts / interval * 8)
			}
			requests := locked(c, func() int { return c.mu.keyRequests[codec.Camera] })
			coded, err := enc.Encode(picture, pts, requests != asked)
			if err == nil {
				asked = requests
				coded.Arrival = codec.Now()
				p.WriteVideo(codec.Camera, coded)
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	return sync.OnceValue(func() time.Duration {
		cancel()
		done.Wait()
		return pause
	})
}

// passed is what the renditions of a room have passed through, and what they
// have encoded and its sources decoded.
func passed(r *Room) (passing int, passed, encoded, decoded uint64) {
	for _, v := range r.snap.Load().views {
		for _, c := range v.canvases {
			for _, rendition := range *c.all.Load() {
				s := rendition.Stats()
				passed += s.Passed
				encoded += s.Encoded
				if s.Passing {
					passing++
				}
			}
		}
		for _, p := range v.members {
			decoded += p.source.pictures[codec.Camera].Stats().Decoded
		}
	}
	return passing, passed, encoded, decoded
}

// Two who see nothing but each other cost no decoding and no encoding, and see
// each other all the time, whatever becomes of the layout.
func TestTwoPassThrough(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{
		Canvas: layout.Canvas{Width: 640, Height: 360, FPS: 30},
		Tiers:  []video.Tier{{Width: 640, Height: 360, FPS: 30}},
		Layout: layout.Spec{HideSelf: true, NoLabels: true},
	})
	ann, a := enter(t, r, "Ann")
	bob, b := enter(t, r, "Bob")
	stopAnn, stopBob := film(t, ann, a, 640, 360, 80, 90, 240), film(t, bob, b, 640, 360, 40, 240, 110)
	defer stopAnn()
	defer stopBob()
	both := func(what string) {
		t.Helper()
		await(t, what+": Ann sees Bob", func() bool { return sees(a) == "blue" })
		await(t, what+": Bob sees Ann", func() bool { return sees(b) == "red" })
	}
	both("at first")
	first := locked(a, func() int { return a.mu.pictures }) // before, her canvas was at rest
	await(t, "both passed through", func() bool { n, _, _, _ := passed(r); return n == 2 })
	drawn := func() (n uint64) {
		for _, c := range r.snap.Load().views[0].canvases {
			n += c.compositor.Stats().Drawn
		}
		return n
	}
	// The control loop hides the sources as soon as it is told.
	last, at := uint64(0), 0
	await(t, "no decoding", func() bool {
		n := locked(a, func() int { return a.mu.pictures })
		if n < at+6 {
			return false
		}
		_, _, _, decoded := passed(r)
		same := decoded == last
		last, at = decoded, n
		return same
	})
	_, frames, encoded, decoded := passed(r)
	canvases := drawn()
	pictures := [2]int{locked(a, func() int { return a.mu.pictures }), locked(b, func() int { return b.mu.pictures })}
	await(t, "a second of both", func() bool {
		return locked(a, func() int { return a.mu.pictures })-pictures[0] >= 30 && locked(b, func() int { return b.mu.pictures })-pictures[1] >= 30
	})
	if n, f, e, d := passed(r); n != 2 || f < frames+60 || e != encoded || d != decoded || drawn() != canvases {
		t.Errorf("%d passed through, %d frames in a second; %d encoded, %d decoded, %d canvases drawn meanwhile",
			n, f-frames, e-encoded, d-decoded, drawn()-canvases)
	}
	both("passed through")

	// Labels have to be drawn.
	if _, err := r.SetLayout(t.Context(), "", layout.Spec{HideSelf: true}); err != nil {
		t.Fatal(err)
	}
	await(t, "encoders for labels", func() bool { n, _, e, _ := passed(r); return n == 0 && e > encoded+10 })
	both("with labels")
	if _, err := r.SetLayout(t.Context(), "", layout.Spec{HideSelf: true, NoLabels: true}); err != nil {
		t.Fatal(err)
	}
	await(t, "both passed through again", func() bool { n, _, _, _ := passed(r); return n == 2 })
	// So has a third.
	cyd, c := enter(t, r, "Cyd")
	stopCyd := film(t, cyd, c, 640, 360, 140, 50, 40)
	defer stopCyd()
	await(t, "a third", func() bool { n, _, _, _ := passed(r); return n == 0 })
	await(t, "who sees two", func() bool { return locked(c, func() bool { return c.mu.pictures > 10 }) })
	bob.Leave(nil)
	await(t, "the two who stay, passed through", func() bool { n, _, _, _ := passed(r); return n == 2 })
	await(t, "Ann sees Cyd", func() bool { return sees(a) == "green" })
	await(t, "Cyd sees Ann", func() bool { return sees(c) == "red" })

	// Nor is it our fault when a sender, or the pool, is kept from its turn.
	lateness := r.cfg.Pool.Stats().Lateness
	bound := 300*time.Millisecond + max(stopAnn(), stopBob(), stopCyd()) + min(lateness.Quantile(1), 5*time.Second)
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := first; i < len(a.mu.videoPTS); i++ {
		if gap := a.mu.videoPTS[i] - a.mu.videoPTS[i-1]; gap > bound || gap <= 0 {
			t.Errorf("%v between pictures %d and %d, want at most %v", gap, i-1, i, bound)
		}
	}
}

// A recording takes what is passed through as long as its size is the canvas's,
// and never has to begin another file because of it.
func TestRecordingOfWhatIsPassed(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{
		Canvas: layout.Canvas{Width: 640, Height: 360, FPS: 30},
		Tiers:  []video.Tier{{Width: 640, Height: 360, FPS: 30}},
		Layout: layout.Spec{Mode: layout.Single, NoLabels: true},
	})
	p, c := enter(t, r, "Ann")
	if _, err := r.StartRecording(t.Context()); err != nil {
		t.Fatal(err)
	}
	recorder := r.recording.recorder
	stop := film(t, p, c, 640, 360, 80, 90, 240)
	passes := func() bool { n, _, _, _ := passed(r); return n == 1 }
	await(t, "what is of the canvas's size, passed through", passes)
	written := recorder.Stats().VideoWritten
	await(t, "half a second of it in the file", func() bool { return recorder.Stats().VideoWritten > written+15 })
	stop()
	// A smaller picture would do for viewers alone.
	smaller := film(t, p, c, 480, 270, 80, 90, 240)
	defer smaller()
	await(t, "a smaller one, encoded", func() bool { return !passes() })
	written = recorder.Stats().VideoWritten
	await(t, "half a second of that in the file", func() bool { return recorder.Stats().VideoWritten > written+15 })
	if passes() {
		t.Error("a picture of another size is passed through to a recording")
	}
	if parts := recorder.Status().Parts; len(parts) != 1 {
		t.Errorf("%d parts, want one: %+v", len(parts), parts)
	}
	if s := recorder.Stats(); s.Refused != 0 || s.VideoDropped != 0 {
		t.Errorf("%+v", s)
	}
}

// Who begins to record, or comes and cannot bear another size, while a smaller
// picture is passed through, gets nothing of that.
func TestASizeAmidPassThrough(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{
		Canvas: layout.Canvas{Width: 640, Height: 360, FPS: 30},
		Tiers:  []video.Tier{{Width: 640, Height: 360, FPS: 30}},
		Layout: layout.Spec{Mode: layout.Single, NoLabels: true},
	})
	p, c := enter(t, r, "Ann")
	stop := film(t, p, c, 480, 270, 80, 90, 240)
	defer stop()
	await(t, "a smaller one, passed through", func() bool { n, _, _, _ := passed(r); return n == 1 })
	if _, err := r.StartRecording(t.Context()); err != nil {
		t.Fatal(err)
	}
	recorder := r.recording.recorder
	await(t, "half a second in the file", func() bool { return recorder.Stats().VideoWritten > 15 })
	parts := recorder.Status().Parts
	if len(parts) != 1 || parts[0].Width != 640 {
		t.Errorf("want one part of 640x360: %+v", parts)
	}
}
