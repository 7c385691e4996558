package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"mixdown/api/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keys of a bucket, in the order of Each.
func keys(t *testing.T, b *store.Bucket, prefix string) (all []string) {
	t.Helper()
	must(t, b.Each(prefix, func(key string, _ []byte) error {
		all = append(all, key)
		return nil
	}))
	return all
}

func TestValuesOutliveTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	rooms, bans := s.Bucket("rooms"), s.Bucket("bans")
	if _, found, err := rooms.Get("standup"); found || err != nil {
		t.Errorf("a room from nowhere: %v", err)
	}
	value := []byte(`{"a":1}`)
	must(t, rooms.Put("standup", value))
	value[2] = 'x' // ours again
	must(t, rooms.Put("gone", []byte("x")))
	must(t, rooms.Delete("gone"))
	must(t, rooms.Delete("never was"))
	must(t, bans.Put("standup", nil))
	must(t, s.Close())

	s = open(t, path)
	if v, found, err := s.Bucket("rooms").Get("standup"); string(v) != `{"a":1}` || !found || err != nil {
		t.Errorf("%s, %v, %v", v, found, err)
	}
	if v, found, err := s.Bucket("bans").Get("standup"); len(v) != 0 || !found || err != nil {
		t.Errorf("%s, %v, %v: an empty value is one", v, found, err)
	}
	if got := keys(t, s.Bucket("rooms"), ""); !slices.Equal(got, []string{"standup"}) {
		t.Errorf("%v", got)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: it holds secrets", st.Mode(), err)
	}
}

// TestCrash: what Put has returned for is in the file, as a copy of it taken in
// the next moment shows.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "state.db"))
	b := s.Bucket("b")
	must(t, b.Put("first", []byte("1")))
	whole := errors.New("not this one")
	err := b.Update(func(tx *store.Tx) error {
		must(t, tx.Put("half", []byte("1")))
		return whole
	})
	if !errors.Is(err, whole) {
		t.Errorf("%v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "state.db"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "copy.db"), text, 0o600))
	if got := keys(t, open(t, filepath.Join(dir, "copy.db")).Bucket("b"), ""); !slices.Equal(got, []string{"first"}) {
		t.Errorf("%v", got)
	}
}

func TestEach(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	b := s.Bucket("b")
	must(t, b.Update(func(tx *store.Tx) error {
		for i := range 300 { // more than Each holds at a time
			must(t, tx.Put(fmt.Sprintf("n/%03d", i), []byte{byte(i)}))
		}
		return errors.Join(tx.Put("m", nil), tx.Put("o", nil))
	}))
	// It may write meanwhile, in the same bucket.
	seen := 0
	must(t, b.Each("n/", func(key string, value []byte) error {
		if want := fmt.Sprintf("n/%03d", seen); key != want || value[0] != byte(seen) {
			t.Fatalf("%s is %v, want %s", key, value, want)
		}
		seen++
		if seen%100 != 0 { // each waits for the disk
			return nil
		}
		return b.Delete(key)
	}))
	if seen != 300 {
		t.Errorf("%d entries", seen)
	}
	if got := keys(t, b, "n/"); len(got) != 297 {
		t.Errorf("%d are left", len(got))
	}
	if got := keys(t, b, "o"); !slices.Equal(got, []string{"o"}) {
		t.Errorf("%v", got)
	}
	enough := errors.New("enough")
	if err := b.Each("", func(string, []byte) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
	if got := keys(t, s.Bucket("never written"), ""); got != nil {
		t.Errorf("%v", got)
	}
}

func TestUpdate(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "state.db")).Bucket("b")
	must(t, b.Put("n", []byte{0}))
	var counting sync.WaitGroup
	for range 8 {
		counting.Go(func() {
			for range 5 {
				if err := b.Update(func(tx *store.Tx) error {
					v, _ := tx.Get("n")
					v[0]++
					return tx.Put("n", v)
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	counting.Wait()
	if v, _, err := b.Get("n"); v[0] != 40 || err != nil {
		t.Errorf("%v, %v: updates were lost", v, err)
	}
	must(t, b.Update(func(tx *store.Tx) error {
		must(t, tx.Put("a/1", []byte("x")))
		must(t, tx.Delete("n"))
		var got []string
		must(t, tx.Each("a/", func(key string, _ []byte) error {
			got = append(got, key)
			return nil
		}))
		if !slices.Equal(got, []string{"a/1"}) {
			t.Errorf("%v", got)
		}
		return nil
	}))
}

func TestBounds(t *testing.T) {
	b := open(t, filepath.Join(t.TempDir(), "state.db")).Bucket("b")
	for _, key := range []string{"", strings.Repeat("k", store.MaxKeyBytes+1)} {
		if err := b.Put(key, nil); !errors.Is(err, store.ErrBadKey) {
			t.Errorf("%d bytes: %v", len(key), err)
		}
	}
	if err := b.Put("k", make([]byte, store.MaxValueBytes+1)); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	big := bytes.Repeat([]byte{7}, store.MaxValueBytes)
	must(t, b.Put(strings.Repeat("k", store.MaxKeyBytes), big))
	if v, _, err := b.Get(strings.Repeat("k", store.MaxKeyBytes)); !bytes.Equal(v, big) || err != nil {
		t.Errorf("%d bytes, %v", len(v), err)
	}
}

func TestClosed(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	b := s.Bucket("b")
	must(t, s.Close())
	if err := b.Put("k", nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, _, err := b.Get("k"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("%v", err)
	}
	if err := b.Each("", nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// TestWhatIsNoState: it is told, and what is there is left alone.
func TestWhatIsNoState(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.db")
	s := open(t, path)
	b := s.Bucket("b")
	must(t, b.Put("k", bytes.Repeat([]byte{1}, 100<<10)))
	must(t, s.Close())
	good, err := os.ReadFile(path)
	must(t, err)
	for _, c := range []struct {
		name string
		text []byte
	}{
		{"text", []byte("rooms:\n  - standup\n")},
		{"zeros", make([]byte, 64<<10)},
		{"cut", good[:len(good)/4]},
		{"cut in its head", good[:100]},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, c.name)
			must(t, os.WriteFile(path, c.text, 0o600))
			if _, err := store.Open(path); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v", err)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, c.text) {
				t.Errorf("the file is another: %d bytes of %d, %v", len(now), len(c.text), err)
			}
		})
	}
	if _, err := store.Open(filepath.Join(dir, "no such directory", "state.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	open(t, path)
	// A lock is its open file's, so that two in one process will do.
	if _, err := store.Open(path); !errors.Is(err, store.ErrInUse) {
		t.Errorf("%v", err)
	}
}
