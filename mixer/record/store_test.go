package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mixdown/codec"
)

func openStore(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := OpenStore(StoreConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
	return s
}

// feed hands a second of sound and pictures in.
func feed(r *Recorder, from time.Duration, width int) {
	for i := range 50 {
		pts := from + time.Duration(i)*20*time.Millisecond
		a := codec.NewEncodedFrame(8)
		a.Codec, a.PTS = codec.Opus, pts
		a.Data = append(a.Data, 0x48, 1, 2, 3)
		r.WriteAudio(a)
		a.Release()
		if i%2 == 0 {
			v := codec.NewEncodedFrame(8)
			v.Codec, v.PTS, v.Stream, v.Key, v.Width, v.Height = codec.VP8, pts, 1, i == 0, width, 360
			v.Data = append(v.Data, 9, 9, 9, 9)
			r.WriteVideo(v)
			v.Release()
		}
	}
}

// recorded makes a finished recording.
func recorded(t *testing.T, s *Store, room string) string {
	t.Helper()
	id, r, err := s.Create(Options{Room: room, RoomID: "R_" + room, Video: true})
	if err != nil {
		t.Fatal(err)
	}
	feed(r, 0, 640)
	if st, err := r.Stop(t.Context()); err != nil || st.State != Complete {
		t.Fatalf("%+v, %v", st, err)
	}
	return id
}

func TestLifeOfARecording(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	s := openStore(t, dir)
	id, r, err := s.Create(Options{Room: "standup", RoomID: "R_8fK2", Video: true})
	if err != nil {
		t.Fatal(err)
	}
	if rec, err := s.Get(id); err != nil || rec.State != Starting || rec.Room != "standup" || rec.Started.IsZero() || !rec.Stopped.IsZero() {
		t.Errorf("%+v, %v", rec, err)
	}
	ran := make(chan error, 1)
	go func() { ran <- r.Run(context.Background()) }()
	feed(r, 5*time.Second, 640)
	for rec, _ := s.Get(id); rec.State != Active; rec, _ = s.Get(id) {
		time.Sleep(time.Millisecond)
	}
	if got, err := s.Recorder(id); got != r || err != nil {
		t.Errorf("Recorder: %v", err)
	}
	if _, err := s.Open(id, 1); !errors.Is(err, ErrActive) {
		t.Errorf("Open while active: %v", err)
	}
	if err := s.Delete(id); !errors.Is(err, ErrActive) {
		t.Errorf("Delete while active: %v", err)
	}
	before := s.Stats()
	feed(r, 7*time.Second, 1280) // another size: a second part
	if _, err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.VideoWritten <= before.VideoWritten || st != r.Stats() {
		t.Errorf("the store's only recording ended with %+v, the store has %+v, had %+v", r.Stats(), st, before)
	}
	rec, err := s.Get(id)
	if err != nil || rec.State != Complete || rec.Stopped.IsZero() || len(rec.Parts) != 2 || rec.Duration != rec.Parts[0].Duration+rec.Parts[1].Duration {
		t.Errorf("%+v, %v", rec, err)
	}
	if _, err := s.Recorder(id); !errors.Is(err, ErrFinal) {
		t.Errorf("Recorder: %v", err)
	}
	var sum int64
	for part := 1; part <= 2; part++ {
		m, err := s.Open(id, part)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(m)
		if err != nil || int64(len(b)) != m.Bytes || m.Type != "video/webm" || m.ModTime.IsZero() || m.Name != mediaName(id, part) {
			t.Errorf("part %d: %d bytes, %+v, %v", part, len(b), m, err)
		}
		if at, err := m.Seek(10, io.SeekStart); at != 10 || err != nil {
			t.Errorf("Seek: %v", err)
		}
		if len(blocks(t, b)) != 75 {
			t.Errorf("part %d: %d blocks", part, len(blocks(t, b)))
		}
		sum += m.Bytes
		_ = m.Close()
	}
	if sum != rec.Bytes {
		t.Errorf("%d bytes, described as %d", sum, rec.Bytes)
	}
	// What another start reads is the same.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s2 := openStore(t, dir)
	if again, err := s2.Get(id); err != nil || fmt.Sprint(again) != fmt.Sprint(rec) {
		t.Errorf("after a restart %+v, %v; before %+v", again, err, rec)
	}
	if err := s2.Delete(id); err != nil {
		t.Fatal(err)
	}
	if _, err := s2.Get(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
	if err := s2.Delete(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("second Delete: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestListPages(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	dir := t.TempDir()
	s, err := OpenStore(StoreConfig{Dir: dir, Now: func() time.Time { now = now.Add(time.Second); return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var ids []string // newest first
	for i := range 7 {
		ids = slices.Insert(ids, 0, recorded(t, s, []string{"a", "b"}[i%2]))
	}
	var got []string
	next := ""
	for pages := 0; ; pages++ {
		list, n, err := s.List(Query{After: next, Limit: 3})
		if err != nil || len(list) > 3 || pages > 2 {
			t.Fatalf("page %d: %d items, %v", pages, len(list), err)
		}
		for _, r := range list {
			got = append(got, r.ID)
		}
		if n == "" {
			break
		}
		if next = n; pages == 0 {
			if err := s.Delete(next); err != nil { // the place stays
				t.Fatal(err)
			}
		}
	}
	if !slices.Equal(got, ids) {
		t.Errorf("got  %v\nwant %v", got, ids)
	}
	only, next, err := s.List(Query{Room: "b"})
	if err != nil || next != "" || len(only) != 3 || only[0].Room != "b" {
		t.Errorf("%v, %q, %v", only, next, err)
	}
	if full, next, _ := s.List(Query{Limit: 6}); len(full) != 6 || next != "" {
		t.Errorf("a page that is just full: %d, next %q", len(full), next)
	}
	if _, _, err := s.List(Query{After: "../x"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("After that is no id: %v", err)
	}
}

// TestNoWayOut tries names that lead elsewhere.
func TestNoWayOut(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "recordings")
	s := openStore(t, dir)
	good := recorded(t, s, "r")
	secret := filepath.Join(parent, "secret.webm")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	id := func(c string) string { return idPrefix + strings.Repeat(c, idChars) }
	out, in := id("a"), id("b")
	for link, target := range map[string]string{
		mediaName(out, 1): secret, out + sidecarSuffix: secret,
		mediaName(in, 1): mediaName(good, 1), in + sidecarSuffix: good + sidecarSuffix,
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	// Links count for nothing at a start, and stay as they are.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Recover(dir, func(r Report) {
		if r.Name != mediaName(good, 1) || r.Err != nil {
			t.Errorf("%+v", r)
		}
	}); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	// A link that appears where a file was.
	swapped := recorded(t, s, "r")
	for _, name := range []string{mediaName(swapped, 1)} {
		if err := errors.Join(os.Remove(filepath.Join(dir, name)), os.Symlink(secret, filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{
		"", ".", "..", "../secret", "../secret.webm", secret, "/etc/passwd", "rec_", "rec_../../secret",
		good + "/../" + good, good + ".webm", good + ".json", good + "\x00", strings.ToUpper(good), "." + good,
		idPrefix + strings.Repeat("/", idChars), idPrefix + strings.Repeat(".", idChars), idPrefix + strings.Repeat("w", idChars),
		out, in, swapped,
	} {
		if m, err := s.Open(bad, 1); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open(%q): %v, %v", bad, m, err)
		}
		if bad == swapped {
			continue
		}
		if _, err := s.Get(bad); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get(%q): %v", bad, err)
		}
		if err := s.Delete(bad); !errors.Is(err, ErrNotFound) {
			t.Errorf("Delete(%q): %v", bad, err)
		}
		if _, err := s.Recorder(bad); !errors.Is(err, ErrNotFound) {
			t.Errorf("Recorder(%q): %v", bad, err)
		}
	}
	for _, part := range []int{-1, 0, 2, maxParts + 1} {
		if _, err := s.Open(good, part); !errors.Is(err, ErrNotFound) {
			t.Errorf("part %d: %v", part, err)
		}
	}
	if err := s.Delete(swapped); err != nil { // takes the link, not what it names
		t.Error(err)
	}
	if b, err := os.ReadFile(secret); string(b) != "secret" {
		t.Errorf("%q, %v", b, err)
	}
	if m, err := s.Open(good, 1); err != nil {
		t.Error(err)
	} else {
		_ = m.Close()
	}
}

func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	last := ""
	for i := range 1000 {
		id := newID(time.UnixMilli(int64(i) * 1_000_000_000))
		if !validID(id) || seen[id] || id <= last {
			t.Fatalf("%q after %q", id, last)
		}
		seen[id], last = true, id
		for part := 1; part < 4; part++ {
			if got, n, ok := parseName(mediaName(id, part)); got != id || n != part || !ok {
				t.Fatalf("%q: %q, %d, %v", mediaName(id, part), got, n, ok)
			}
		}
	}
	for _, bad := range []string{last, last + ".", last + ".1.webm", last + ".02.webm", last + ".+2.webm", last + ".1001.webm", last + ".webm.webm", "x" + last + ".webm"} {
		if _, _, ok := parseName(bad); ok {
			t.Errorf("%q is taken for a name of ours", bad)
		}
	}
}

// TestDamageIsKeptAndTold: nothing is deleted, everything is described.
func TestDamageIsKeptAndTold(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	good, noSidecar, badSidecar := recorded(t, s, "good"), recorded(t, s, "lost"), recorded(t, s, "bad")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	unfinished := func(state State, media string) string {
		id := newID(time.Now())
		sidecar := fmt.Sprintf(`{"id":%q,"room":"r","roomId":"R","state":%q,"started":"2026-01-02T03:04:05Z","format":"webm","mediaType":"video/webm"}`, id, state)
		if err := os.WriteFile(filepath.Join(dir, id+sidecarSuffix), []byte(sidecar), 0o600); err != nil {
			t.Fatal(err)
		}
		if media != "" {
			if err := os.WriteFile(filepath.Join(dir, mediaName(id, 1)), []byte(media), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return id
	}
	rubbish, missing := unfinished(Active, "this is not a film"), unfinished(Starting, "")
	if err := errors.Join(os.Remove(filepath.Join(dir, noSidecar+sidecarSuffix)),
		os.WriteFile(filepath.Join(dir, badSidecar+sidecarSuffix), []byte(`{"id":"rec_`), 0o600),
		os.WriteFile(filepath.Join(dir, "holiday.webm"), []byte("not ours"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	for id, want := range map[string]State{good: Complete, noSidecar: Complete, badSidecar: Complete, rubbish: Failed, missing: Failed} {
		rec, err := s.Get(id)
		if err != nil || rec.State != want || want == Failed && rec.Error == "" || want == Complete && (rec.Duration == 0 || rec.MediaType != "video/webm") {
			t.Errorf("%+v, %v: want %v", rec, err, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, mediaName(rubbish, 1))); string(b) != "this is not a film" {
		t.Errorf("%q, %v", b, err)
	}
	if rec, _ := s.Get(missing); rec.Room != "r" || !strings.Contains(rec.Error, ErrEmpty.Error()) {
		t.Errorf("%+v", rec)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var reports []string
	if err := Recover(dir, func(r Report) {
		if reports = append(reports, r.Name); (r.Err != nil) != (r.Name == "holiday.webm" || r.Name == mediaName(rubbish, 1)) {
			t.Errorf("%+v", r)
		}
	}); err != nil || len(reports) != 5 {
		t.Errorf("%v, %v", reports, err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	if _, err := OpenStore(StoreConfig{Dir: dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second Store: %v", err)
	}
	if err := Recover(dir, nil); !errors.Is(err, ErrInUse) {
		t.Errorf("Recover beside a Store: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Recover(dir, nil); err != nil {
		t.Errorf("Recover afterwards: %v", err)
	}
	for _, bad := range []string{"", filepath.Join(dir, "a", "b")} {
		if s, err := OpenStore(StoreConfig{Dir: bad}); err == nil {
			t.Errorf("OpenStore(%q) works", bad)
			_ = s.Close()
		}
	}
	if err := Recover(filepath.Join(dir, "missing"), nil); err == nil {
		t.Error("Recover of no directory works")
	}
}

func TestCloseFinishesWhatStillRecords(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	id, r, err := s.Create(Options{Video: true})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- r.Run(context.Background()) }()
	feed(r, 0, 640)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if _, _, err := s.Create(Options{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Create after Close: %v", err)
	}
	s = openStore(t, dir)
	if rec, err := s.Get(id); err != nil || rec.State != Complete || rec.Duration == 0 {
		t.Errorf("%+v, %v", rec, err)
	}
}

// TestFailureIsToldWithoutPaths: what users read names no place on the server.
func TestFailureIsToldWithoutPaths(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	id, r, err := s.Create(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, mediaName(id, 1)), 0o700); err != nil { // in the way
		t.Fatal(err)
	}
	feed(r, 0, 640)
	if st, err := r.Stop(t.Context()); err != nil || st.State != Failed || !errors.Is(st.Err, os.ErrExist) {
		t.Errorf("%+v, %v", st, err)
	}
	if rec, err := s.Get(id); err != nil || rec.State != Failed || rec.Error == "" || strings.Contains(rec.Error, "/") {
		t.Errorf("%+v, %v", rec, err)
	}
	if got := reason(fmt.Errorf("block: %w", &os.PathError{Op: "write", Path: "/srv/x", Err: errors.New("no space")})); got != "write: no space" {
		t.Errorf("%q", got)
	}
}

// FuzzSidecar: a description from the disk is usable or refused.
func FuzzSidecar(f *testing.F) {
	id := idPrefix + strings.Repeat("0", idChars)
	f.Add([]byte(`{"id":"` + id + `","state":"complete","durationNs":5,"bytes":7,"parts":[{"bytes":7,"durationNs":5}]}`))
	f.Add([]byte(`{"id":"` + id + `","state":"gone"}`))
	f.Add([]byte(`{"id":"../x","state":"active"}`))
	f.Add([]byte(`{"id":`))
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := parseSidecar(id, b)
		if err == nil && (rec.ID != id || rec.Bytes < 0 || rec.Duration < 0 || len(rec.Parts) > maxParts) {
			t.Errorf("%+v", rec)
		}
	})
}

// FuzzName: a name that is taken for ours is one that we make.
func FuzzName(f *testing.F) {
	f.Add(idPrefix + strings.Repeat("0", idChars) + ".webm")
	f.Add(idPrefix + strings.Repeat("0", idChars) + ".12.webm")
	f.Add(idPrefix + strings.Repeat("0", idChars) + ".json")
	f.Add("../" + idPrefix)
	f.Fuzz(func(t *testing.T, name string) {
		id, part, ok := parseName(name)
		if !ok {
			return
		}
		made := id + sidecarSuffix
		if part > 0 {
			made = mediaName(id, part)
		}
		if made != name || strings.ContainsAny(name, "/\\\x00") || !validID(id) {
			t.Errorf("%q: %q, %d", name, id, part)
		}
	})
}
