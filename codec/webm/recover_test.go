package webm

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mixdown/codec"
)

// unfinished writes traffic and stops in the middle.
func unfinished(t testing.TB, cfg Config, frames []*codec.EncodedFrame) *memFile {
	t.Helper()
	m := &memFile{}
	w, err := NewWriter(m, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if err := w.Write(f, f.PTS); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestRecoverAtEveryByte cuts a file at every byte: what is whole stays, in
// order, and a second Recover has nothing to do.
func TestRecoverAtEveryByte(t *testing.T) {
	frames := traffic(2600, 800, 40)
	defer releaseAll(frames)
	full := unfinished(t, testConfig, frames)
	head := bytes.Index(full.b, []byte{0x1f, 0x43, 0xb6, 0x75})
	blocks := 0
	for cut := head; cut <= len(full.b); cut++ {
		m := &memFile{b: bytes.Clone(full.b[:cut])}
		info, err := recoverFile(m, int64(cut))
		if err != nil || info.Finished {
			t.Fatalf("cut at %d: %+v, %v", cut, info, err)
		}
		if info.Bytes != int64(len(m.b)) {
			t.Fatalf("cut at %d: %d bytes, says %d", cut, len(m.b), info.Bytes)
		}
		if cut%5 == 0 || info.Blocks != blocks { // ebml-go is slow
			if got := len(check(t, m.b)); got != info.Blocks {
				t.Fatalf("cut at %d: %d blocks, says %d", cut, got, info.Blocks)
			}
		}
		if info.Blocks < blocks || info.Blocks > blocks+1 {
			t.Fatalf("cut at %d: %d blocks after %d", cut, info.Blocks, blocks)
		}
		blocks = info.Blocks
		before := bytes.Clone(m.b)
		again, err := recoverFile(m, int64(len(m.b)))
		if err != nil || !again.Finished || !bytes.Equal(before, m.b) {
			t.Fatalf("cut at %d: second Recover: %+v, %v", cut, again, err)
		}
	}
	if blocks != len(frames) {
		t.Errorf("%d blocks of %d", blocks, len(frames))
	}
}

// stopper is a file whose process is killed after so many writes.
type stopper struct {
	*memFile
	left int
}

func (s *stopper) WriteAt(p []byte, off int64) (int, error) {
	if s.left--; s.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return s.memFile.WriteAt(p, off)
}

func (s *stopper) Truncate(n int64) error {
	if s.left--; s.left < 0 {
		return io.ErrClosedPipe
	}
	return s.memFile.Truncate(n)
}

// TestRecoverKilled kills the recovery, and the end of a Writer, at each of
// their writes; the next Recover makes the same file of it.
func TestRecoverKilled(t *testing.T) {
	frames := traffic(3000, 1000, 40)
	defer releaseAll(frames)
	start := unfinished(t, testConfig, frames)
	start.b = append(start.b, 0xa3, 0x10, 0, 0, 200, 1, 2) // a torso
	want := &memFile{b: bytes.Clone(start.b)}
	if _, err := recoverFile(want, int64(len(want.b))); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		m := &memFile{b: bytes.Clone(start.b)}
		_, err := recoverFile(&stopper{m, n}, int64(len(m.b)))
		if err == nil {
			if n < 5 {
				t.Errorf("finished with %d writes", n)
			}
			break
		}
		if _, err := recoverFile(m, int64(len(m.b))); err != nil {
			t.Fatalf("killed at write %d: %v", n, err)
		}
		if !bytes.Equal(m.b, want.b) {
			t.Errorf("killed at write %d: another file", n)
		}
	}
}

// TestRecoverMakesWhatCloseMakes: a file that was recovered is the one that
// would have been.
func TestRecoverMakesWhatCloseMakes(t *testing.T) {
	for name, cfg := range map[string]Config{"both": testConfig, "audio": {Audio: &AudioTrack{}}, "video": {Video: &VideoTrack{320, 180}}} {
		t.Run(name, func(t *testing.T) {
			var frames []*codec.EncodedFrame
			for _, f := range traffic(14000, 3000, 40) {
				if f.Codec == codec.VP8 && cfg.Video != nil || f.Codec == codec.Opus && cfg.Audio != nil {
					frames = append(frames, f)
				}
			}
			defer releaseAll(frames)
			recovered := unfinished(t, cfg, frames)
			if _, err := recoverFile(recovered, int64(len(recovered.b))); err != nil {
				t.Fatal(err)
			}
			closed := &memFile{}
			w, _ := NewWriter(closed, cfg)
			for _, f := range frames {
				if err := w.Write(f, f.PTS); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(recovered.b, closed.b) {
				t.Error("the files differ")
			}
		})
	}
}

func TestRecoverLeavesAloneWhatItCannotFinish(t *testing.T) {
	frames := traffic(3000, 1000, 40)
	defer releaseAll(frames)
	good := unfinished(t, testConfig, frames).b
	change := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	second := bytes.LastIndex(good, []byte{0x1f, 0x43, 0xb6, 0x75})
	segment := bytes.Index(good, []byte{0x18, 0x53, 0x80, 0x67})
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"empty", nil},
		{"text", []byte("this is no recording at all, and never was")},
		{"header only to the Segment", good[:segment+12]},
		{"header cut in Tracks", good[:bytes.Index(good, []byte("OpusHead"))]},
		{"doctype", bytes.Replace(bytes.Clone(good), []byte("webm"), []byte("wenn"), 1)},
		{"damage before the last cluster", change(second-400, bytes.Repeat([]byte{0}, 300)...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &memFile{b: bytes.Clone(c.b)}
			info, err := recoverFile(m, int64(len(m.b)))
			if c.name == "damage before the last cluster" {
				// That Cluster has a size: it is skipped as it is, and what follows is kept.
				if err != nil || info.Cut != 0 {
					t.Fatalf("%+v, %v", info, err)
				}
				return
			}
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("%+v, %v", info, err)
			}
			if !bytes.Equal(m.b, c.b) {
				t.Error("the file was changed")
			}
		})
	}
	// Rubbish in a Cluster without a size, with another Cluster behind it.
	m := &memFile{b: bytes.Clone(good)}
	first := bytes.Index(m.b, []byte{0x1f, 0x43, 0xb6, 0x75})
	putSize(m.b[first+4:first+12], unknownSize)
	copy(m.b[first+700:], make([]byte, 60))
	before := bytes.Clone(m.b)
	if _, err := recoverFile(m, int64(len(m.b))); !errors.Is(err, ErrFormat) || !bytes.Equal(m.b, before) {
		t.Errorf("damage with more behind it: %v", err)
	}
	// Zeros at the end are what a power cut leaves: they are taken off.
	m = &memFile{b: append(bytes.Clone(good), make([]byte, 5000)...)}
	info, err := recoverFile(m, int64(len(m.b)))
	if err != nil || info.Blocks != len(frames) || info.Cut != 5000 {
		t.Errorf("zeros at the end: %+v, %v", info, err)
	}
	check(t, m.b)
}

type brokenDisk struct{ *memFile }

var errIO = errors.New("input/output error")

func (b brokenDisk) ReadAt(p []byte, off int64) (int, error) {
	if off > 20000 {
		return 0, errIO
	}
	return b.memFile.ReadAt(p, off)
}

// TestRecoverDoesNotTakeAReadErrorForTheEnd: a file is not cut where the disk
// could not be read.
func TestRecoverDoesNotTakeAReadErrorForTheEnd(t *testing.T) {
	frames := traffic(60000, 500, 40)
	defer releaseAll(frames)
	m := unfinished(t, testConfig, frames)
	before := bytes.Clone(m.b)
	if _, err := recoverFile(brokenDisk{m}, int64(len(m.b))); !errors.Is(err, errIO) {
		t.Errorf("got %v", err)
	}
	if !bytes.Equal(before, m.b) {
		t.Error("the file was changed")
	}
}

func TestRecoverWantsAPlainFile(t *testing.T) {
	d, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := Recover(d); !errors.Is(err, ErrFormat) {
		t.Errorf("a directory: %v", err)
	}
	// Read-only: found out before anything is lost.
	frames := traffic(1000, 500, 40)
	defer releaseAll(frames)
	path := filepath.Join(t.TempDir(), "x.webm")
	if err := os.WriteFile(path, unfinished(t, testConfig, frames).b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Recover(f); err == nil {
		t.Error("a read-only file was finished")
	}
}

// FuzzRecover: no bytes make it panic, loop, or take much memory, and what it
// finished it finds finished.
func FuzzRecover(f *testing.F) {
	frames := traffic(1200, 400, 40)
	good := unfinished(f, testConfig, frames).b
	f.Add(good)
	f.Add(good[:len(good)-5])
	audio := unfinished(f, Config{Audio: &AudioTrack{}}, []*codec.EncodedFrame{frames[0]}).b
	f.Add(audio)
	finished := &memFile{b: bytes.Clone(good)}
	if _, err := recoverFile(finished, int64(len(good))); err != nil {
		f.Fatal(err)
	}
	f.Add(finished.b)
	f.Add(finished.b[:len(finished.b)-3])
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &memFile{b: bytes.Clone(b)}
		info, err := recoverFile(m, int64(len(m.b)))
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error of no kind: %v", err)
			}
			if !bytes.Equal(m.b, b) {
				t.Fatal("refused, but changed")
			}
			return
		}
		if info.Duration < 0 {
			t.Fatalf("duration %v", info.Duration)
		}
		if len(m.b) > len(b)+64+(info.Blocks+1)*40 {
			t.Fatalf("%d bytes became %d", len(b), len(m.b))
		}
		once := bytes.Clone(m.b)
		again, err := recoverFile(m, int64(len(m.b)))
		if err != nil || !again.Finished || !bytes.Equal(once, m.b) {
			t.Fatalf("second time: %+v, %v (first: %+v)", again, err, info)
		}
		if d := again.Duration - info.Duration; d < -time.Millisecond || d > time.Millisecond {
			t.Fatalf("duration %v, then %v", info.Duration, again.Duration)
		}
	})
}
