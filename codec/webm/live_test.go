package webm_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/webm"
	"mixdown/codec/webm/webmtest"
)

// stream muxes frames as a reader would get them.
func stream(t *testing.T, cfg webm.Config, frames []*codec.EncodedFrame) []byte {
	t.Helper()
	l, err := webm.NewLive(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for _, f := range frames {
		if out, err = l.Append(out, f, f.PTS); err != nil {
			t.Fatalf("%v at %v: %v", f.Codec, f.PTS, err)
		}
	}
	out = l.Close(out)
	return l.Close(out)
}

// TestLiveAsOthersReadIt pipes streams into ffmpeg, which cannot go back in
// them, and has them finished as if they were files of a killed process.
func TestLiveAsOthersReadIt(t *testing.T) {
	spec := webmtest.Spec{Width: 320, Height: 180, FPS: 30, Seconds: 4, KeyEvery: 75}
	video, audio := webmtest.Clip(t, spec)
	both := webm.Config{Video: &webm.VideoTrack{Width: 320, Height: 180}, Audio: &webm.AudioTrack{}}
	for _, c := range []struct {
		name     string
		cfg      webm.Config
		frames   []*codec.EncodedFrame
		clusters int
	}{
		// Key frames at 0 and 2.5 s; a Cluster lasts for a second at most.
		{"both", both, webmtest.Merge(video, audio, 70*time.Millisecond), 5},
		{"video", webm.Config{Video: both.Video}, video, 5},
		{"audio", webm.Config{Audio: both.Audio}, audio, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := stream(t, c.cfg, c.frames)
			if n := bytes.Count(out, []byte{0x1f, 0x43, 0xb6, 0x75, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}); n != c.clusters {
				t.Errorf("%d clusters of unknown size, want %d", n, c.clusters)
			}
			cmd := exec.Command(webmtest.Tool(t, "ffmpeg"), "-v", "warning", "-xerror", "-i", "pipe:0", "-f", "null", "-")
			cmd.Stdin = bytes.NewReader(out)
			if said, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(said)) > 0 {
				t.Errorf("ffmpeg: %v\n%s", err, said)
			}
			path := filepath.Join(t.TempDir(), "kept.webm")
			if err := os.WriteFile(path, out, 0o600); err != nil {
				t.Fatal(err)
			}
			p := webmtest.Probe(t, path)
			if len(p.Packets) != len(c.frames) {
				t.Fatalf("%d packets of %d", len(p.Packets), len(c.frames))
			}
			checkTimes(t, p, video, audio)
			if info := recoverPath(t, path); info.Blocks != len(c.frames) || info.Cut != 0 {
				t.Errorf("Recover: %+v, want %d blocks", info, len(c.frames))
			}
			clean(t, path)
		})
	}
}

// TestLiveSendsAtOnce: who watches waits for a block no longer than the other
// track takes to come as far, and for sound alone not at all.
func TestLiveSendsAtOnce(t *testing.T) {
	packet := func(c codec.Codec, at time.Duration, key bool) *codec.EncodedFrame {
		f := codec.NewEncodedFrame(8)
		f.Codec, f.PTS, f.Key, f.Data = c, at, key, append(f.Data, 0x48, 1, 2)
		return f
	}
	l, err := webm.NewLive(webm.Config{Audio: &webm.AudioTrack{}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if out, err := l.Append(nil, packet(codec.Opus, time.Duration(i)*codec.FrameDuration, false), time.Duration(i)*codec.FrameDuration); err != nil || len(out) == 0 {
			t.Fatalf("packet %d: %d bytes, %v", i, len(out), err)
		}
	}
	if l, err = webm.NewLive(webm.Config{Video: &webm.VideoTrack{Width: 64, Height: 64}, Audio: &webm.AudioTrack{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(nil, packet(codec.VP8, 0, false), 0); !errors.Is(err, codec.ErrNeedKey) {
		t.Errorf("a stream begins with a picture that needs another one: %v", err)
	}
	if out, err := l.Append(nil, packet(codec.VP8, 0, true), 0); err != nil || len(out) != 0 {
		t.Errorf("the first picture: %d bytes, %v", len(out), err)
	}
	sent := 0
	for at := time.Duration(0); at <= 400*time.Millisecond; at += codec.FrameDuration {
		out, err := l.Append(nil, packet(codec.Opus, at, false), at)
		if err != nil {
			t.Fatal(err)
		}
		sent += bytes.Count(out, []byte{0x48, 1, 2})
	}
	// The picture, and the sound that is 200 ms old.
	if sent != 1+11 {
		t.Errorf("%d blocks sent of a picture and 21 packets, none held for more than 200 ms", sent)
	}
	out := l.Close(nil)
	if n := bytes.Count(out, []byte{0x48, 1, 2}); sent+n != 22 {
		t.Errorf("%d more at the end, after %d", n, sent)
	}
}

func TestLiveAllocatesNothing(t *testing.T) {
	l, err := webm.NewLive(webm.Config{Audio: &webm.AudioTrack{}})
	if err != nil {
		t.Fatal(err)
	}
	f := codec.NewEncodedFrame(100)
	f.Codec, f.Data = codec.Opus, f.Buffer()[:100]
	out, at := make([]byte, 0, 4096), time.Duration(0)
	if n := testing.AllocsPerRun(1000, func() {
		out, _ = l.Append(out[:0], f, at)
		at += codec.FrameDuration
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}
