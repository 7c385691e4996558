package webm_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/webm"
	"mixdown/codec/webm/webmtest"
)

// record writes frames into a new file; zero is PTS 0.
func record(t *testing.T, cfg webm.Config, frames []*codec.EncodedFrame, finish bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.webm")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := webm.NewWriter(f, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, fr := range frames {
		if err := w.Write(fr, fr.PTS); err != nil {
			t.Fatalf("%v at %v: %v", fr.Codec, fr.PTS, err)
		}
	}
	if finish {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if st, err := f.Stat(); err != nil || st.Size() != w.Bytes() {
			t.Errorf("file has %v bytes, writer says %d (%v)", st.Size(), w.Bytes(), err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// clean fails the test unless mkvtoolnix reads the file without a complaint.
func clean(t *testing.T, path string) {
	t.Helper()
	out, _ := webmtest.Run(t, "mkvmerge", "-o", filepath.Join(t.TempDir(), "copy.mkv"), path)
	if strings.Contains(string(out), "Warning") || strings.Contains(string(out), "Error") {
		t.Errorf("mkvmerge complains:\n%s", out)
	}
	info, _ := webmtest.Run(t, "mkvinfo", "-a", path)
	for _, bad := range []string{"(Unknown element", "Error"} {
		if bytes.Contains(info, []byte(bad)) {
			t.Errorf("mkvinfo complains: %s\n%s", bad, info)
		}
	}
	for _, want := range []string{"|+ Seek head", "| + Duration:", "|+ Cues", "Document type: webm"} {
		if !bytes.Contains(info, []byte(want)) {
			t.Errorf("mkvinfo shows no %q:\n%.2000s", want, info)
		}
	}
}

func TestFileAsOthersReadIt(t *testing.T) {
	spec := webmtest.Spec{Width: 320, Height: 180, FPS: 30, Seconds: 7, KeyEvery: 45}
	video, audio := webmtest.Clip(t, spec)
	both := webm.Config{Video: &webm.VideoTrack{Width: 320, Height: 180}, Audio: &webm.AudioTrack{}, Date: time.Unix(1_790_000_000, 0)}
	for _, c := range []struct {
		name   string
		cfg    webm.Config
		frames []*codec.EncodedFrame
		killed bool
	}{
		{"both", both, webmtest.Merge(video, audio, 70*time.Millisecond), false},
		{"video", webm.Config{Video: both.Video}, video, false},
		{"audio", webm.Config{Audio: both.Audio}, audio, false},
		{"both recovered", both, webmtest.Merge(video, audio, 70*time.Millisecond), true},
		{"audio recovered", webm.Config{Audio: both.Audio}, audio, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := record(t, c.cfg, c.frames, !c.killed)
			missing := 0
			if c.killed {
				before := webmtest.Probe(t, path)
				missing = len(c.frames) - len(before.Packets)
				if late := c.frames[len(c.frames)-1].PTS - before.Last(); late > 500*time.Millisecond {
					t.Errorf("the last %v are missing of an unfinished file", late)
				}
				recoverPath(t, path)
			}
			p := webmtest.Probe(t, path)
			if len(p.Packets) != len(c.frames)-missing {
				t.Fatalf("%d packets, want %d", len(p.Packets), len(c.frames)-missing)
			}
			want := time.Duration(spec.Seconds) * time.Second
			if c.killed {
				want = p.Last() + 20*time.Millisecond
			}
			if d := p.Duration - want; d < -40*time.Millisecond || d > 40*time.Millisecond {
				t.Errorf("duration %v, want %v within a frame", p.Duration, want)
			}
			if p.Video && (p.Width != 320 || p.Height != 180) {
				t.Errorf("size %dx%d", p.Width, p.Height)
			}
			checkTimes(t, p, video, audio)
			webmtest.Plays(t, path)
			clean(t, path)
			seeks(t, path, p)
		})
	}
}

// checkTimes compares PTS with what went in: to the millisecond, sound less
// the codec's delay.
func checkTimes(t *testing.T, p *webmtest.Probed, video, audio []*codec.EncodedFrame) {
	t.Helper()
	var lastPos int64
	v, a := 0, 0
	for _, k := range p.Packets {
		var want time.Duration
		if k.Video {
			want = video[v].PTS
			if k.Key != video[v].Key {
				t.Fatalf("picture %d: key %v, want %v", v, k.Key, video[v].Key)
			}
			v++
		} else {
			want = audio[a].PTS - 6500*time.Microsecond
			a++
		}
		if d := k.PTS - want; d < -time.Millisecond || d > time.Millisecond {
			t.Fatalf("PTS %v, want %v", k.PTS, want)
		}
		if k.Pos <= lastPos {
			t.Fatalf("ffprobe's order is not the file's at %v", k.PTS)
		}
		lastPos = k.Pos
	}
}

// seeks jumps into the middle and expects to land there by the index.
func seeks(t *testing.T, path string, p *webmtest.Probed) {
	t.Helper()
	out, _ := webmtest.Run(t, "ffprobe", "-v", "error", "-read_intervals", "5%+#1", "-show_entries", "packet=pts_time", "-of", "csv=p=0", path)
	at, err := time.ParseDuration(strings.TrimRight(strings.Fields(strings.ReplaceAll(string(out), ",", " "))[0], ",\n") + "s")
	if err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if at < 3*time.Second || at > 5100*time.Millisecond {
		t.Errorf("a seek to 5 s lands at %v", at)
	}
	stdout, stderr := webmtest.Run(t, "ffmpeg", "-v", "warning", "-ss", "5", "-i", path, "-t", "0.5", "-f", "framecrc", "-")
	if len(bytes.TrimSpace(stderr)) > 0 || bytes.Count(stdout, []byte("\n")) < 10 {
		t.Errorf("playing from 5 s on: %s\n%s", stderr, stdout)
	}
}

func recoverPath(t *testing.T, path string) webm.Info {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := webm.Recover(f)
	if err != nil {
		t.Fatal(err)
	}
	if info.Finished {
		t.Fatal("Recover found the file finished")
	}
	again, err := webm.Recover(f)
	if err != nil || !again.Finished || again.Bytes != info.Bytes || again.Duration.Round(time.Millisecond) != info.Duration.Round(time.Millisecond) {
		t.Fatalf("second Recover: %+v, %v; the first: %+v", again, err, info)
	}
	return info
}

// TestSync flashes and beeps at the same instants, and hands pictures out late.
func TestSync(t *testing.T) {
	spec := webmtest.Spec{
		Width: 320, Height: 180, FPS: 30, Seconds: 6, KeyEvery: 60,
		Video: "color=black:s=320x180:r=30,drawbox=t=fill:c=white:enable='lt(mod(t,1),0.2)*gte(t,0.5)'",
		Audio: "aevalsrc='if(lt(mod(t,1),0.2)*gte(t,0.5),0.5*sin(2*PI*1000*t),0)':s=48000",
	}
	video, audio := webmtest.Clip(t, spec)
	path := record(t, webm.Config{Video: &webm.VideoTrack{Width: 320, Height: 180}, Audio: &webm.AudioTrack{}},
		webmtest.Merge(video, audio, 150*time.Millisecond), true)
	flashes, beeps := webmtest.Flashes(t, path), webmtest.Beeps(t, path)
	if len(flashes) != 5 || len(beeps) != 5 {
		t.Fatalf("%d flashes, %d beeps: want 5", len(flashes), len(beeps))
	}
	for i := range flashes {
		skew := beeps[i] - flashes[i]
		t.Logf("flash %v, beep %v: sound %v late", flashes[i], beeps[i], skew)
		if skew < -15*time.Millisecond || skew > 15*time.Millisecond {
			t.Errorf("flash %v, beep %v", flashes[i], beeps[i])
		}
	}
}
