package bench

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/webm"
)

// TestRecordedIsReadBack: what was written comes back with its times; sound is
// played earlier by its encoder's delay.
func TestRecordedIsReadBack(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file.webm"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w, err := webm.NewWriter(file, webm.Config{Video: &webm.VideoTrack{Width: 64, Height: 48}, Audio: &webm.AudioTrack{}})
	if err != nil {
		t.Fatal(err)
	}
	write := func(c codec.Codec, pts time.Duration, key bool, b byte) {
		f := codec.NewEncodedFrame(1)
		defer f.Release()
		f.Codec, f.PTS, f.Key, f.Data = c, pts, key, append(f.Data, b)
		if err := w.Write(f, pts); err != nil {
			t.Fatal(err)
		}
	}
	write(codec.VP8, 0, true, 1)
	write(codec.Opus, 20*time.Millisecond, true, 2)
	write(codec.VP8, 33*time.Millisecond, false, 3)
	write(codec.Opus, 40*time.Millisecond, true, 4)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	got, err := (&recorded{file: b}).read()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.sound) != 2 || len(got.pictures) != 2 {
		t.Fatalf("%d packets, %d pictures: want 2 of each", len(got.sound), len(got.pictures))
	}
	s, p := got.sound[1], got.pictures[1]
	if s.pts != 40*time.Millisecond || s.arrival != s.pts || s.data[0] != 4 || s.seq != 1 {
		t.Errorf("sound %+v", s)
	}
	if p.arrival != 33*time.Millisecond || p.data[0] != 3 {
		t.Errorf("picture %+v", p)
	}
	if d := p.capture.Sub(s.capture); (d + 500*time.Microsecond).Abs() > time.Microsecond {
		t.Errorf("the picture is played %v after the sound: want 33 - (40-6.5) ms", d)
	}
	if _, err := (&recorded{file: []byte("no file")}).read(); err == nil {
		t.Error("no file, and no error")
	}
}

// TestRecordedBeginning: numbers come again, so roughly has to be known when it was.
func TestRecordedBeginning(t *testing.T) {
	live := map[*member]map[string][]sighting{{}: {"a": {{number: 7, arrival: 100 * time.Second}, {number: 8, arrival: 101 * time.Second}, {number: 7, arrival: 134 * time.Second}}}}
	views := map[string][]sighting{"a": {{number: 7, arrival: 3 * time.Second}, {number: 8, arrival: 4 * time.Second}, {number: 7, arrival: 37 * time.Second}}, "b": {{number: 7, arrival: 4 * time.Second}}}
	rec := &recorded{began: 96 * time.Second}
	if at, ok := rec.beginning(live, views); !ok || at != 97*time.Second {
		t.Errorf("%v, %v", at, ok)
	}
	rec.began = time.Hour
	if _, ok := rec.beginning(live, views); ok {
		t.Error("found an hour off")
	}
}
