package record

import (
	"path/filepath"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/webm/webmtest"
)

// TestRealMedia records flashes and beeps, joins in the middle, pauses, and
// lets ffmpeg tell when they are seen and heard.
func TestRealMedia(t *testing.T) {
	video, audio := webmtest.Clip(t, webmtest.Spec{
		Width: 320, Height: 180, FPS: 30, Seconds: 10, KeyEvery: 30,
		Video: "color=black:s=320x180:r=30,drawbox=t=fill:c=white:enable='lt(mod(t+0.5,1),0.2)*gte(t,0.4)'",
		Audio: "aevalsrc='if(lt(mod(t+0.5,1),0.2)*gte(t,0.4),0.5*sin(2*PI*1000*t),0)':s=48000",
	})
	dir := t.TempDir()
	s := openStore(t, dir)
	id, r, err := s.Create(Options{Room: "sync", Video: true})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- r.Run(t.Context()) }()
	// The room is 100 s old and a second into the clip when recording starts;
	// the pause is from 4.2 s to 6.2 s of the clip.
	const age = 100 * time.Second
	paused, resumed := false, false
	for _, f := range webmtest.Merge(video, audio, 110*time.Millisecond) {
		if f.PTS < 300*time.Millisecond {
			continue
		}
		if f.PTS >= 4200*time.Millisecond && !paused {
			paused = true
			if err := r.Pause(); err != nil {
				t.Fatal(err)
			}
		}
		if f.PTS >= 6200*time.Millisecond && !resumed {
			resumed = true
			if err := r.Resume(); err != nil {
				t.Fatal(err)
			}
		}
		c := webmtest.Copy(f, f.PTS+age)
		if f.Codec == codec.VP8 {
			r.WriteVideo(c)
		} else {
			r.WriteAudio(c)
		}
		c.Release()
	}
	st, err := r.Stop(t.Context())
	if err != nil || st.Err != nil {
		t.Fatalf("%+v, %v", st, err)
	}
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, mediaName(id, 1))
	webmtest.Plays(t, path)
	p := webmtest.Probe(t, path)
	// 1.0 to 4.2 s, then 7.0 s, the next key frame, to 10.0 s.
	if want := 6200 * time.Millisecond; p.Duration < want-100*time.Millisecond || p.Duration > want+60*time.Millisecond {
		t.Errorf("duration %v, want about %v", p.Duration, want)
	}
	flashes, beeps := webmtest.Flashes(t, path), webmtest.Beeps(t, path)
	t.Logf("flashes %v, beeps %v", flashes, beeps)
	if len(flashes) != 6 || len(beeps) != 6 {
		t.Fatalf("%d flashes, %d beeps, want 6", len(flashes), len(beeps))
	}
	for i := range flashes {
		if skew := beeps[i] - flashes[i]; skew < -15*time.Millisecond || skew > 15*time.Millisecond {
			t.Errorf("flash %v, beep %v", flashes[i], beeps[i])
		}
	}
}
