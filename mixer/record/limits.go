package record

import (
	"context"
	"errors"
	"fmt"
	"math"
	"syscall"
	"time"
)

// Limits bound what a [Store] keeps. The zero value bounds nothing. Recordings in
// progress are never deleted: what there is no room for any more is ended
// properly, and its file is as good as any.
type Limits struct {
	// MaxAge is how long after its end a recording is deleted; 0 is never.
	MaxAge time.Duration
	// MaxBytes and MaxCount bound all recordings together; 0 is no bound.
	MaxBytes int64
	MaxCount int
	// Replace makes room under MaxBytes and MaxCount by deleting the oldest;
	// otherwise what would exceed them is refused, or ended.
	Replace bool
	// Reserve is how many bytes of the disk recordings leave free: 0 is none.
	// Others write to it too, the end of each file included.
	Reserve int64
}

// Validate says which value is out of range.
func (l Limits) Validate() error {
	if l.MaxAge < 0 || l.MaxBytes < 0 || l.MaxCount < 0 || l.Reserve < 0 {
		return fmt.Errorf("record: %w: MaxAge, MaxBytes, MaxCount, Reserve: want 0 or more", ErrBadConfig)
	}
	return nil
}

// ErrStorageFull refuses recordings: the disk is as full, or the recordings are
// as many or as large, as [Limits] say. The wrapping error tells which.
var ErrStorageFull = errors.New("no room for recordings")

// StorageLevel says how much room is left.
type StorageLevel uint8

// The levels. From StorageFull on nothing is recorded.
const (
	StorageOK StorageLevel = iota
	// StorageLow announces StorageFull: at most as much is left above the reserve
	// as the reserve is itself, a tenth of MaxBytes, or ten minutes at the
	// present rate.
	StorageLow
	StorageFull
)

// String returns "ok", "low" or "full".
func (l StorageLevel) String() string { return [...]string{"ok", "low", "full"}[l] }

// Storage is how much room there is for recordings.
type Storage struct {
	Level StorageLevel
	// Free is what the disk has left, in bytes; Reserve of it stays so.
	Free, Reserve int64
	// Bytes and Count are of all recordings, those in progress included. A Max
	// of 0 is no bound.
	Bytes, MaxBytes int64
	Count, MaxCount int
	// DeletedForAge and DeletedForRoom recordings there were once, and Ended
	// for want of room, since the store was opened.
	DeletedForAge, DeletedForRoom, Ended uint64
}

const (
	// checkEvery is how often the disk is looked at: a hundred rooms write some
	// 30 MB a second, so a reserve of the usual size bears many times that.
	checkEvery = 2 * time.Second
	// sweepEvery is how often recordings are looked through for old ones.
	sweepEvery = time.Minute
	// rateAfter is how much of a recording tells its rate: a file begins with its
	// head and a key frame.
	rateAfter = 5 * time.Second
	// lowTime is how long before the end it is announced.
	lowTime = 10 * time.Minute
)

// Limits returns the limits in force.
func (s *Store) Limits() Limits {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.limits
}

// SetLimits changes them; [Store.Run] follows. [ErrBadConfig].
func (s *Store) SetLimits(l Limits) error {
	if err := l.Validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.limits = l
	return nil
}

// Run enforces the limits until ctx is done, and then returns nil. Without it
// they are looked at only where a recording begins.
func (s *Store) Run(ctx context.Context) error {
	check, sweep := time.NewTicker(checkEvery), time.NewTicker(sweepEvery)
	defer check.Stop()
	defer sweep.Stop()
	s.DeleteOld()
	for {
		s.Check()
		select {
		case <-ctx.Done():
			return nil
		case <-check.C:
		case <-sweep.C:
			s.DeleteOld()
		}
	}
}

// DeleteOld deletes what is older than Limits.MaxAge. Run does so every minute.
func (s *Store) DeleteOld() {
	now := s.now()
	s.mu.Lock()
	var old []string
	for _, id := range s.mu.ids {
		if at := s.expires(s.mu.entries[id]); !at.IsZero() && !now.Before(at) {
			old = append(old, id)
		}
	}
	s.mu.Unlock()
	for _, id := range old {
		if s.discard(id, "its age") {
			s.count(func(st *Storage) { st.DeletedForAge++ })
		}
	}
}

// expires is when a recording will be deleted; zero is never. The caller holds mu.
func (s *Store) expires(e *entry) time.Time {
	if s.mu.limits.MaxAge == 0 || e.recorder != nil || e.rec.Stopped.IsZero() {
		return time.Time{}
	}
	return e.rec.Stopped.Add(s.mu.limits.MaxAge)
}

// discard deletes a recording because of why, and logs it.
func (s *Store) discard(id, why string) bool {
	err := s.Delete(id)
	switch {
	case errors.Is(err, ErrNotFound): // somebody else did
		return false
	case err != nil:
		s.log.Error("recording not deleted", "recording", id, "because", why, "error", err)
		return false
	}
	s.log.Info("recording deleted", "recording", id, "because", why)
	return true
}

func (s *Store) count(f func(*Storage)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.mu.storage)
}

// Storage returns what the last [Store.Check] has found.
func (s *Store) Storage() Storage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.storage
}

// Check looks at the disk and at the recordings, makes room if that is what the
// limits say, ends what is recorded when there is none left, and logs when the
// level changes. Run calls it every two seconds. It may block on the disk, but
// does not wait for the ends of recordings.
func (s *Store) Check() Storage {
	free, err := s.free()
	s.makeRoom(0)

	s.mu.Lock()
	st, l := s.measure(), s.mu.limits
	was := s.mu.storage.Level
	if err == nil {
		st.Free = free
	}
	var why string
	st.Level, why = l.judge(st, was, s.rate())
	s.mu.storage = st
	var running []*Recorder
	if st.Level == StorageFull {
		for _, e := range s.mu.entries {
			if e.recorder != nil && e.rec.Ended == "" {
				e.rec.Ended = EndedForStorage
				s.mu.storage.Ended++
				running = append(running, e.recorder)
			}
		}
	}
	st = s.mu.storage
	s.mu.Unlock()

	for _, r := range running {
		r.stop()
	}
	if st.Level != was {
		told := s.log.Info
		if st.Level > StorageOK {
			told = s.log.Warn
		}
		told("room for recordings", "level", st.Level, "because", why, "ended", len(running), "free", st.Free, "reserve", st.Reserve,
			"bytes", st.Bytes, "maxBytes", st.MaxBytes, "error", err)
	}
	return st
}

// measure sums up; Free and the counters stay as they were. The caller holds mu.
func (s *Store) measure() Storage {
	st, l := s.mu.storage, s.mu.limits
	st.Reserve, st.MaxBytes, st.MaxCount = l.Reserve, l.MaxBytes, l.MaxCount
	st.Bytes, st.Count = 0, len(s.mu.entries)
	for _, e := range s.mu.entries {
		n := e.rec.Bytes
		if e.recorder != nil {
			n = e.recorder.Status().Bytes
		}
		st.Bytes += n
	}
	return st
}

// rate is how many bytes a second are recorded. The caller holds mu.
func (s *Store) rate() float64 {
	sum := 0.0
	for _, e := range s.mu.entries {
		if e.recorder == nil {
			continue
		}
		if st := e.recorder.Status(); st.State == Active && st.Duration >= rateAfter {
			sum += float64(st.Bytes) / st.Duration.Seconds()
		}
	}
	return sum
}

// judge returns the level, and what made it.
func (l Limits) judge(st Storage, was StorageLevel, rate float64) (StorageLevel, string) {
	left, why := math.Inf(1), "there is room again"
	low := false
	if l.Reserve > 0 && !st.unknown() {
		// What was freed a moment ago may be written again in the next.
		reserve := float64(l.Reserve)
		if was == StorageFull {
			reserve *= 1.1
		}
		left = float64(st.Free) - reserve
		low = left < float64(l.Reserve)
		if low {
			why = "the disk"
		}
	}
	// Under Replace it is exceeded only where nothing is left that may be deleted.
	if quota := float64(l.MaxBytes - st.Bytes); l.MaxBytes > 0 && (!l.Replace || quota <= 0) {
		if quota < float64(l.MaxBytes)/10 {
			low, why = true, "the quota"
		}
		left = min(left, quota)
	}
	switch {
	case left <= 0:
		return StorageFull, why
	case low:
		return StorageLow, why
	case left < rate*lowTime.Seconds():
		return StorageLow, "ten minutes are left"
	}
	return StorageOK, why
}

// unknown says that the disk could not be asked yet.
func (st *Storage) unknown() bool { return st.Free < 0 }

// makeRoom deletes the oldest under Limits.Replace until what there is fits,
// together with so many that are about to begin.
func (s *Store) makeRoom(more int) {
	for {
		s.mu.Lock()
		st, l := s.measure(), s.mu.limits
		over := l.MaxBytes > 0 && st.Bytes > l.MaxBytes || l.MaxCount > 0 && st.Count+more > l.MaxCount
		oldest := ""
		if l.Replace && over {
			for _, id := range s.mu.ids {
				if s.mu.entries[id].recorder == nil {
					oldest = id
					break
				}
			}
		}
		s.mu.Unlock()
		if oldest == "" || !s.discard(oldest, "the room it took") {
			return
		}
		s.count(func(st *Storage) { st.DeletedForRoom++ })
	}
}

// admit refuses a recording that there is no room for, and makes room where
// that may be done. [ErrStorageFull].
func (s *Store) admit() error {
	s.makeRoom(1)
	st, l := s.Check(), s.Limits()
	switch {
	case l.MaxCount > 0 && st.Count >= l.MaxCount:
		return fmt.Errorf("%w: there are %d, and at most %d are kept: delete some", ErrStorageFull, st.Count, l.MaxCount)
	case st.Level < StorageFull:
		return nil
	case l.MaxBytes > 0 && st.Bytes >= l.MaxBytes:
		return fmt.Errorf("%w: they have %d bytes, and at most %d are kept: delete some", ErrStorageFull, st.Bytes, l.MaxBytes)
	}
	return fmt.Errorf("%w: the disk has %d bytes left, of which %d stay free: delete something", ErrStorageFull, st.Free, st.Reserve)
}

// diskFree is what users who are not root may still write to the directory's
// disk.
func (s *Store) diskFree() (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(int(s.lock.Fd()), &st); err != nil {
		return -1, err
	}
	return int64(min(st.Bavail*uint64(st.Bsize), math.MaxInt64)), nil //nolint:gosec // Bsize is not negative
}
