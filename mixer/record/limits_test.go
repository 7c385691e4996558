package record

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// shelf is a Store whose disk and clock the test moves.
type shelf struct {
	*Store
	log  *bytes.Buffer
	mu   sync.Mutex
	free int64
	at   time.Time
}

func newShelf(t *testing.T, dir string, l Limits) *shelf {
	t.Helper()
	sh := &shelf{log: &bytes.Buffer{}, free: 1 << 40, at: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	s, err := OpenStore(StoreConfig{
		Dir: dir, Limits: l, Log: slog.New(slog.NewTextHandler(sh.log, nil)),
		Now: func() time.Time {
			sh.mu.Lock()
			defer sh.mu.Unlock()
			return sh.at
		},
		Free: func() (int64, error) {
			sh.mu.Lock()
			defer sh.mu.Unlock()
			return sh.free, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	sh.Store = s
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return sh
}

func (sh *shelf) set(free int64, later time.Duration) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.free, sh.at = free, sh.at.Add(later)
}

// running starts a recording that has a second of sound and pictures. ended
// waits for its end.
func (sh *shelf) running(t *testing.T) (id string, r *Recorder, ended func() error) {
	t.Helper()
	id, r, err := sh.Create(Options{Room: "standup", Video: true})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- r.Run(context.Background()) }()
	t.Cleanup(func() { _ = r.Close() })
	feed(r, 0, 640)
	return id, r, func() error { return <-ran }
}

// ids are those of all recordings, newest first.
func (sh *shelf) ids(t *testing.T) (ids []string) {
	t.Helper()
	page, _, err := sh.List(Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range page {
		ids = append(ids, r.ID)
	}
	return ids
}

// TestFullDiskIsAnnounced: it is told before the disk is full; then what is
// recorded ends as it should, and nothing begins until there is room again.
func TestFullDiskIsAnnounced(t *testing.T) {
	const reserve = 1 << 30
	dir := t.TempDir()
	sh := newShelf(t, dir, Limits{Reserve: reserve})
	id, r, ended := sh.running(t)
	sh.set(3*reserve, 0)
	if st := sh.Check(); st.Level != StorageOK || st.Free != 3*reserve || st.Reserve != reserve || st.Count != 1 {
		t.Errorf("%+v", st)
	}
	sh.set(2*reserve-1, 0)
	if st := sh.Check(); st.Level != StorageLow || st.Ended != 0 {
		t.Errorf("%+v", st)
	}
	if st := r.Status(); st.State.Final() {
		t.Errorf("announced, and ended already: %+v", st)
	}
	sh.set(reserve, 0)
	if st := sh.Check(); st.Level != StorageFull || st.Ended != 1 {
		t.Errorf("%+v", st)
	}
	if err := ended(); err != nil {
		t.Fatal(err)
	}
	if st := sh.Check(); st.Ended != 1 { // once each
		t.Errorf("%+v", st)
	}
	rec, err := sh.Get(id)
	if err != nil || rec.State != Complete || rec.Ended != EndedForStorage || rec.Error != "" || rec.Duration < 900*time.Millisecond {
		t.Errorf("%+v, %v", rec, err)
	}
	if _, _, err := sh.Create(Options{}); !errors.Is(err, ErrStorageFull) || !strings.Contains(err.Error(), "1073741824 bytes left") {
		t.Errorf("%v", err)
	}
	sh.set(reserve*105/100, 0) // a little was freed: not yet
	if _, _, err := sh.Create(Options{}); !errors.Is(err, ErrStorageFull) {
		t.Errorf("%v", err)
	}
	sh.set(3*reserve, 0)
	recorded(t, sh.Store, "again")
	if st := sh.Storage(); st.Level != StorageOK {
		t.Errorf("%+v", st)
	}
	for _, level := range []string{"level=low", "level=full", "level=ok"} {
		if strings.Count(sh.log.String(), level) != 1 {
			t.Errorf("%s is not in the log once:\n%s", level, sh.log)
		}
	}
	// What ended it is known after a restart, too.
	if err := sh.Close(); err != nil {
		t.Fatal(err)
	}
	if rec, err := newShelf(t, dir, Limits{}).Get(id); err != nil || rec.Ended != EndedForStorage {
		t.Errorf("%+v, %v", rec, err)
	}
}

func TestJudge(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		name string
		l    Limits
		st   Storage
		was  StorageLevel
		rate float64
		want StorageLevel
	}{
		{name: "no limits", st: Storage{Free: 0}, want: StorageOK},
		{name: "disk unknown", l: Limits{Reserve: mb}, st: Storage{Free: -1}, want: StorageOK},
		{name: "disk", l: Limits{Reserve: mb}, st: Storage{Free: mb}, want: StorageFull},
		{name: "ten minutes are left", l: Limits{Reserve: mb}, st: Storage{Free: 100 * mb}, rate: mb, want: StorageLow},
		{name: "an hour is left", l: Limits{Reserve: mb}, st: Storage{Free: 3700 * mb}, rate: mb, want: StorageOK},
		{name: "quota", l: Limits{MaxBytes: 100 * mb}, st: Storage{Bytes: 100 * mb}, want: StorageFull},
		{name: "most of the quota", l: Limits{MaxBytes: 100 * mb}, st: Storage{Bytes: 91 * mb}, want: StorageLow},
		{name: "half the quota", l: Limits{MaxBytes: 100 * mb}, st: Storage{Bytes: 50 * mb}, want: StorageOK},
		{name: "quota, replaced", l: Limits{MaxBytes: 100 * mb, Replace: true}, st: Storage{Bytes: 99 * mb}, want: StorageOK},
		{name: "quota, nothing to replace", l: Limits{MaxBytes: 100 * mb, Replace: true}, st: Storage{Bytes: 101 * mb}, want: StorageFull},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, why := c.l.judge(c.st, c.was, c.rate); got != c.want {
				t.Errorf("%v because of %s, want %v", got, why, c.want)
			}
		})
	}
}

func TestOldRecordingsAreDeleted(t *testing.T) {
	sh := newShelf(t, t.TempDir(), Limits{MaxAge: 24 * time.Hour})
	old := recorded(t, sh.Store, "old")
	sh.set(1<<40, 12*time.Hour)
	young := recorded(t, sh.Store, "young")
	rec, err := sh.Get(young)
	if err != nil || !rec.Expires.Equal(rec.Stopped.Add(24*time.Hour)) {
		t.Errorf("expires %v, %v", rec.Expires, err)
	}
	sh.set(1<<40, 12*time.Hour)
	going, _, _ := sh.running(t) // however long it takes
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sh.Run(gone); err != nil { // one round
		t.Fatal(err)
	}
	if ids := sh.ids(t); len(ids) != 2 || ids[0] != going || ids[1] != young {
		t.Errorf("%v are left of %s, %s, %s", ids, going, young, old)
	}
	if st := sh.Storage(); st.DeletedForAge != 1 || st.DeletedForRoom != 0 {
		t.Errorf("%+v", st)
	}
	if err := sh.SetLimits(Limits{}); err != nil {
		t.Fatal(err)
	}
	sh.set(1<<40, 1000*time.Hour)
	sh.DeleteOld()
	if ids := sh.ids(t); len(ids) != 2 {
		t.Errorf("%v: deleted without a limit", ids)
	}
}

func TestQuotaOfRecordings(t *testing.T) {
	sh := newShelf(t, t.TempDir(), Limits{MaxCount: 2})
	first := recorded(t, sh.Store, "a")
	sh.set(1<<40, time.Second)
	second := recorded(t, sh.Store, "b")
	sh.set(1<<40, time.Second)
	if _, _, err := sh.Create(Options{}); !errors.Is(err, ErrStorageFull) || !strings.Contains(err.Error(), "at most 2") {
		t.Errorf("%v", err)
	}
	rec, err := sh.Get(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := sh.SetLimits(Limits{MaxBytes: 2 * rec.Bytes}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := sh.Create(Options{}); !errors.Is(err, ErrStorageFull) || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("%v", err)
	}
	if ids := sh.ids(t); len(ids) != 2 {
		t.Fatalf("%v: none is deleted unless that was asked for", ids)
	}
	if err := sh.SetLimits(Limits{MaxCount: 2, Replace: true}); err != nil {
		t.Fatal(err)
	}
	third := recorded(t, sh.Store, "c")
	if ids := sh.ids(t); len(ids) != 2 || ids[0] != third || ids[1] != second {
		t.Errorf("%v are left of %s, %s, %s", ids, third, second, first)
	}
	if err := sh.SetLimits(Limits{MaxBytes: rec.Bytes, Replace: true}); err != nil {
		t.Fatal(err)
	}
	if st := sh.Check(); st.Count != 1 || st.DeletedForRoom != 2 || st.Bytes > st.MaxBytes {
		t.Errorf("%+v", st)
	}
	// What alone is too much ends, and is not deleted while it is in progress.
	if err := sh.SetLimits(Limits{Replace: true}); err != nil {
		t.Fatal(err)
	}
	sh.set(1<<40, time.Second)
	going, r, ended := sh.running(t)
	if _, err := r.Stop(t.Context()); err != nil { // its bytes are known now
		t.Fatal(err)
	}
	if err := ended(); err != nil {
		t.Fatal(err)
	}
	if err := sh.SetLimits(Limits{MaxCount: 1, Replace: true}); err != nil {
		t.Fatal(err)
	}
	if st := sh.Check(); st.Count != 1 || sh.ids(t)[0] != going {
		t.Errorf("%+v", st)
	}
}

func TestLimitsAreChecked(t *testing.T) {
	bad := Limits{MaxBytes: -1}
	if _, err := OpenStore(StoreConfig{Dir: t.TempDir(), Limits: bad}); !errors.Is(err, ErrBadConfig) {
		t.Errorf("%v", err)
	}
	sh := newShelf(t, t.TempDir(), Limits{MaxCount: 3})
	if err := sh.SetLimits(bad); !errors.Is(err, ErrBadConfig) || sh.Limits().MaxCount != 3 {
		t.Errorf("%v, %+v", err, sh.Limits())
	}
}

// TestDiskIsAsked: what the system says of the real disk makes sense.
func TestDiskIsAsked(t *testing.T) {
	s := openStore(t, t.TempDir())
	if err := s.SetLimits(Limits{Reserve: 1}); err != nil {
		t.Fatal(err)
	}
	if st := s.Check(); st.Free <= 0 {
		t.Errorf("%+v", st)
	}
}
