package record

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/webm/webmtest"
)

// childEnv tells the test binary to be the server that is going to be killed:
// it records the clip in that directory, in real time, and prints each PTS in
// ms once the frame has been handed in.
const childEnv = "MIXDOWN_TEST_RECORD_INTO"

// wireFrame is a frame on its way to the child.
type wireFrame struct {
	Codec codec.Codec
	Key   bool
	PTS   time.Duration
	Data  []byte
}

const (
	clipFile = "clip.gob" // beside the recordings' directory
	clipLag  = 60 * time.Millisecond
)

func child(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	in, err := os.Open(filepath.Join(filepath.Dir(dir), clipFile))
	if err != nil {
		fail(err)
	}
	var frames []wireFrame
	if err := gob.NewDecoder(in).Decode(&frames); err != nil {
		fail(err)
	}
	store, err := OpenStore(StoreConfig{Dir: dir})
	if err != nil {
		fail(err)
	}
	_, rec, err := store.Create(Options{Room: "standup", RoomID: "R_1", Video: true})
	if err != nil {
		fail(err)
	}
	go func() {
		if err := rec.Run(context.Background()); err != nil {
			fail(err)
		}
	}()
	start := time.Now()
	for _, w := range frames {
		at := w.PTS + codec.FrameDuration
		if w.Codec == codec.VP8 {
			at = w.PTS + clipLag
		}
		time.Sleep(time.Until(start.Add(at))) // the pace is what is tested
		f := codec.NewEncodedFrame(len(w.Data))
		f.Codec, f.Key, f.PTS, f.Stream = w.Codec, w.Key, w.PTS, 1
		f.Data = append(f.Data, w.Data...)
		if w.Codec == codec.VP8 {
			f.Width, f.Height = 640, 360
			if rec.WriteVideo(f) != codec.Sent {
				fail(errors.New("picture not taken"))
			}
		} else {
			rec.WriteAudio(f)
		}
		f.Release()
		fmt.Println(w.PTS.Milliseconds())
	}
	select {} // waits to be killed
}

// killed records and kills at a moment, and returns the directory and what
// had been handed in.
func killed(t *testing.T, frames []wireFrame, after time.Duration) (dir string, handed time.Duration) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "recordings")
	out, err := os.Create(filepath.Join(filepath.Dir(dir), clipFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(gob.NewEncoder(out).Encode(frames), out.Close()); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shot := false
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		ms, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatalf("the child says %q", lines.Text())
		}
		handed = max(handed, time.Duration(ms)*time.Millisecond)
		if !shot && handed >= after {
			shot = true
			_ = cmd.Process.Signal(syscall.SIGKILL)
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child was not killed: %v", err)
	}
	return dir, handed
}

// onlyMedia returns the one media file of a directory.
func onlyMedia(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+mediaSuffix))
	if err != nil || len(files) != 1 {
		t.Fatalf("media files %v, %v", files, err)
	}
	return files[0]
}

// TestKill kills a recording process in mid-write: the file plays to within
// the last second as it is, and gets index and duration from Recover and from
// the next start alike.
func TestKill(t *testing.T) {
	video, audio := webmtest.Clip(t, webmtest.Spec{Width: 640, Height: 360, FPS: 30, Seconds: 6, KeyEvery: 60})
	var frames []wireFrame
	for _, f := range webmtest.Merge(video, audio, clipLag) {
		frames = append(frames, wireFrame{f.Codec, f.Key, f.PTS, f.Data})
	}
	for i, after := range []time.Duration{1700 * time.Millisecond, 3010 * time.Millisecond, 4590 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			dir, handed := killed(t, frames, after)
			path := onlyMedia(t, dir)

			// As it is: it plays, and nothing older than a second is missing.
			webmtest.Run(t, "ffmpeg", "-v", "error", "-i", path, "-f", "null", "-")
			raw := webmtest.Probe(t, path)
			var lastVideo, lastAudio time.Duration
			for _, k := range raw.Packets {
				if k.Video {
					lastVideo = max(lastVideo, k.PTS)
				} else {
					lastAudio = max(lastAudio, k.PTS)
				}
			}
			t.Logf("handed in %v: the file has pictures to %v and sound to %v", handed, lastVideo, lastAudio)
			if handed-lastVideo > time.Second || handed-lastAudio > time.Second {
				t.Errorf("handed in %v: the file has pictures to %v and sound to %v", handed, lastVideo, lastAudio)
			}

			var rec Recording
			if i%2 == 0 {
				n := 0
				if err := Recover(dir, func(r Report) {
					if n++; r.Err != nil || r.Info.Finished || r.Name != filepath.Base(path) {
						t.Errorf("report %+v", r)
					}
				}); err != nil || n != 1 {
					t.Fatalf("Recover: %v, %d reports", err, n)
				}
				if err := Recover(dir, func(r Report) {
					if !r.Info.Finished {
						t.Errorf("second time: %+v", r)
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			store, err := OpenStore(StoreConfig{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			list, _, err := store.List(Query{Room: "standup"})
			if err != nil || len(list) != 1 {
				t.Fatalf("%v, %v", list, err)
			}
			rec = list[0]
			done := webmtest.Probe(t, path)
			if rec.State != Complete || rec.Error != "" || rec.RoomID != "R_1" || rec.Stopped.Before(rec.Started) {
				t.Errorf("%+v", rec)
			}
			if d := rec.Duration - done.Duration; d < -time.Millisecond || d > time.Millisecond || handed-rec.Duration > time.Second {
				t.Errorf("duration %v, by ffprobe %v, handed in %v", rec.Duration, done.Duration, handed)
			}
			if len(done.Packets) < len(raw.Packets)-1 {
				t.Errorf("%d packets after recovery, %d before", len(done.Packets), len(raw.Packets))
			}
			webmtest.Plays(t, path)
			info, _ := webmtest.Run(t, "mkvinfo", "-a", path)
			if !strings.Contains(string(info), "|+ Cues") {
				t.Error("no index")
			}
		})
	}
}
