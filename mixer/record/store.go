package record

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// Recording describes one recording; its JSON is the sidecar file's.
type Recording struct {
	ID string `json:"id"`
	// Room is the room's name and RoomID that life of it.
	Room   string `json:"room"`
	RoomID string `json:"roomId"`
	State  State  `json:"state"`
	// Started and Stopped are UTC; Stopped is zero until the end.
	Started time.Time `json:"started"`
	Stopped time.Time `json:"stopped,omitzero"`
	// Duration and Bytes are sums over Parts.
	Duration time.Duration `json:"durationNs"`
	Bytes    int64         `json:"bytes"`
	Parts    []Part        `json:"parts,omitempty"`
	// Format is "webm", MediaType "video/webm" or "audio/webm".
	Format    string `json:"format"`
	MediaType string `json:"mediaType"`
	// Error is why the recording failed, without paths: fit to be shown.
	Error string `json:"error,omitempty"`
	// Ended is EndedForStorage, or empty.
	Ended string `json:"ended,omitempty"`
	// Expires is when it will be deleted for its age; zero is never.
	Expires time.Time `json:"-"`
}

// EndedForStorage says that a recording was ended because there was no more
// room; what was recorded until then is whole.
const EndedForStorage = "storage"

// clone returns a copy that shares nothing.
func (r *Recording) clone() Recording {
	c := *r
	c.Parts = slices.Clone(r.Parts)
	return c
}

// apply takes over what a Recorder says.
func (r *Recording) apply(st Status) {
	r.State, r.Bytes, r.Duration, r.Parts = st.State, st.Bytes, st.Duration, st.Parts
	if st.Err != nil {
		r.Error = reason(st.Err)
	}
}

// reason tells users why, without the server's paths that os errors carry.
func reason(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Op + ": " + pe.Err.Error()
	}
	return err.Error()
}

// StoreConfig says where recordings live.
type StoreConfig struct {
	// Dir is made when it is missing; its parent must be there. Required.
	Dir string
	// Log gets what recovery did and what could not be saved. Defaults to nothing.
	Log *slog.Logger
	// Now tells the time. Defaults to time.Now.
	Now func() time.Time
	// Limits bound what is kept; [Store.Run] enforces them. Default to none.
	Limits Limits
	// Free tells how many bytes the disk has left. Defaults to asking it.
	Free func() (int64, error)
}

// entry is a recording that the Store knows.
type entry struct {
	rec      Recording
	recorder *Recorder // nil once final
}

// Store is one directory of recordings. Everything in it is reached through an
// [os.Root], by names made of ids: no path from outside gets near it. Its
// methods are safe for concurrent use and block for as long as the disk does.
type Store struct {
	root *os.Root
	lock *os.File
	log  *slog.Logger
	now  func() time.Time
	free func() (int64, error)

	mu struct {
		sync.Mutex
		entries map[string]*entry
		ids     []string // sorted, oldest first
		past    Stats    // of the recordings that have ended
		limits  Limits
		storage Storage // as Check has found it last
		closed  bool
	}
}

// OpenStore opens the directory, keeps other processes off it, and finishes
// every recording that a killed process left in it, which takes about a second
// per GB. [ErrInUse], [ErrBadConfig].
func OpenStore(cfg StoreConfig) (*Store, error) {
	if cfg.Dir == "" {
		return nil, fmt.Errorf("record: %w: Dir: is required", ErrBadConfig)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := cfg.Limits.Validate(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(cfg.Dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("record: %w", err)
	}
	root, lock, err := openDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Store{root: root, lock: lock, log: cfg.Log, now: cfg.Now, free: cfg.Free}
	if s.free == nil {
		s.free = s.diskFree
	}
	s.mu.entries = make(map[string]*entry)
	s.mu.limits = cfg.Limits
	s.mu.storage.Free = -1
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// load reads every sidecar and recovers what has no end.
func (s *Store) load() error {
	found, err := scanDir(s.root)
	if err != nil {
		return err
	}
	for id, parts := range found {
		rec, err := readSidecar(s.root, id)
		if err != nil || !rec.State.Final() {
			rec = recoverRecording(s.root, id, rec, err, parts, nil)
			s.log.Warn("recording recovered", "recording", id, "state", rec.State,
				"duration", rec.Duration, "bytes", rec.Bytes, "error", rec.Error)
			if err := writeSidecar(s.root, &rec); err != nil {
				s.log.Error("recording's description not saved", "recording", id, "error", err)
			}
		}
		s.insert(&entry{rec: rec})
	}
	return nil
}

// Options says what to record.
type Options struct {
	// Room and RoomID are kept in the description.
	Room, RoomID string
	// Video, RequestKeyframe, KeyInterval and StartTimeout are [Config]'s.
	Video           bool
	RequestKeyframe func()
	KeyInterval     time.Duration
	StartTimeout    time.Duration
	// OnState is called after every change of State, and for each new part. The
	// calls come one at a time, by the recording's goroutine, the last with a
	// final state. Defaults to nothing.
	OnState func(Recording)
}

// Create makes a recording and its Recorder, which the caller runs; until its
// end [Store.Get] tells how it goes. [ErrClosed], [ErrStorageFull].
func (s *Store) Create(o Options) (string, *Recorder, error) {
	s.mu.Lock()
	closed := s.mu.closed
	s.mu.Unlock()
	if closed {
		return "", nil, ErrClosed
	}
	if err := s.admit(); err != nil {
		return "", nil, err
	}
	now := s.now().UTC()
	id := newID(now)
	e := &entry{rec: Recording{
		ID: id, Room: o.Room, RoomID: o.RoomID, State: Starting, Started: now,
		Format: "webm", MediaType: mediaType(o.Video),
	}}
	recorder, err := New(Config{
		Log: s.log.With("recording", id), Video: o.Video, Date: now,
		RequestKeyframe: o.RequestKeyframe, KeyInterval: o.KeyInterval, StartTimeout: o.StartTimeout,
		Create: func(part int) (File, error) { return s.create(id, part) },
		OnState: func(st Status) {
			rec := s.update(e, st)
			if o.OnState != nil {
				o.OnState(rec)
			}
		},
	})
	if err != nil {
		return "", nil, err
	}
	e.recorder = recorder
	// The description is there before the file: what a crash leaves always
	// has a name and a room.
	if err := writeSidecar(s.root, &e.rec); err != nil {
		return "", nil, fmt.Errorf("record: %w", err)
	}
	s.mu.Lock()
	if closed = s.mu.closed; !closed {
		s.insert(e)
	}
	s.mu.Unlock()
	if closed { // meanwhile
		return "", nil, errors.Join(ErrClosed, s.root.Remove(id+sidecarSuffix))
	}
	return id, recorder, nil
}

// insert adds an entry to the index. The caller holds mu.
func (s *Store) insert(e *entry) {
	id := e.rec.ID
	s.mu.entries[id] = e
	i, _ := slices.BinarySearch(s.mu.ids, id)
	s.mu.ids = slices.Insert(s.mu.ids, i, id)
}

func mediaType(video bool) string {
	if video {
		return "video/webm"
	}
	return "audio/webm"
}

func (s *Store) create(id string, part int) (File, error) {
	if part > maxParts {
		return nil, fmt.Errorf("more than %d parts", maxParts)
	}
	f, err := s.root.OpenFile(mediaName(id, part), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// update saves a state change, and returns what it is now. It is called by the
// recording's goroutine.
func (s *Store) update(e *entry, st Status) Recording {
	s.mu.Lock()
	e.rec.apply(st)
	if st.State.Final() {
		e.rec.Stopped = s.now().UTC()
		if e.recorder != nil {
			s.mu.past.add(e.recorder.Stats())
		}
		e.recorder = nil
	}
	rec := e.rec.clone()
	rec.Expires = s.expires(e)
	s.mu.Unlock()
	// On a full disk the old description stays, and the next start finds out
	// the truth from the file.
	if err := writeSidecar(s.root, &rec); err != nil {
		s.log.Error("recording's description not saved", "recording", rec.ID, "error", err)
	}
	return rec
}

// current returns what is known now. The caller holds mu.
func (e *entry) current() Recording {
	rec := e.rec.clone()
	if e.recorder != nil {
		if st := e.recorder.Status(); !st.State.Final() { // the end is update's to tell
			rec.apply(st)
		}
	}
	return rec
}

// Get describes a recording. [ErrNotFound].
func (s *Store) Get(id string) (Recording, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.mu.entries[id]
	if e == nil {
		return Recording{}, ErrNotFound
	}
	return s.tell(e), nil
}

// tell is current with what the store knows besides. The caller holds mu.
func (s *Store) tell(e *entry) Recording {
	rec := e.current()
	rec.Expires = s.expires(e)
	return rec
}

// Recorder returns the Recorder of a recording that has not ended, for pausing
// and stopping it. [ErrNotFound], [ErrFinal].
func (s *Store) Recorder(id string) (*Recorder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.mu.entries[id]
	switch {
	case e == nil:
		return nil, ErrNotFound
	case e.recorder == nil:
		return nil, ErrFinal
	}
	return e.recorder, nil
}

// Stats returns what was recorded and lost since the store was opened, by all
// recorders together.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.mu.past
	for _, e := range s.mu.entries {
		if e.recorder != nil {
			sum.add(e.recorder.Stats())
		}
	}
	return sum
}

// Query chooses recordings.
type Query struct {
	// Room keeps only that room's; empty keeps all.
	Room string
	// After is the last id of the page before; empty starts with the newest.
	After string
	// Limit is the most that is returned. Defaults to 50, at most 200.
	Limit int
}

// List describes recordings, newest first, and returns what to put into After
// for the next page; empty when there is none. A recording that After names
// may be gone by now. [ErrNotFound] when After is no id.
func (s *Store) List(q Query) (page []Recording, next string, err error) {
	if q.After != "" && !validID(q.After) {
		return nil, "", ErrNotFound
	}
	limit := min(cmp.Or(max(q.Limit, 0), 50), 200)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := len(s.mu.ids)
	if q.After != "" {
		i, _ = slices.BinarySearch(s.mu.ids, q.After)
	}
	for i--; i >= 0; i-- {
		e := s.mu.entries[s.mu.ids[i]]
		if q.Room != "" && e.rec.Room != q.Room {
			continue
		}
		if len(page) == limit {
			return page, page[limit-1].ID, nil
		}
		page = append(page, s.tell(e))
	}
	return page, "", nil
}

// Delete removes a recording's files and then its description. [ErrNotFound],
// [ErrActive]. Downloads under way go on to their end.
func (s *Store) Delete(id string) error {
	s.mu.Lock()
	e := s.mu.entries[id]
	active := e != nil && e.recorder != nil
	if e != nil && !active {
		delete(s.mu.entries, id)
		i, _ := slices.BinarySearch(s.mu.ids, id)
		s.mu.ids = slices.Delete(s.mu.ids, i, i+1)
	}
	s.mu.Unlock()
	switch {
	case e == nil:
		return ErrNotFound
	case active:
		return ErrActive
	}
	if err := removeFiles(s.root, id); err != nil {
		s.mu.Lock()
		s.insert(e)
		s.mu.Unlock()
		return fmt.Errorf("record: delete: %w", err)
	}
	return nil
}

// Media is a part that is open for reading; the caller closes it.
type Media struct {
	io.ReadSeekCloser
	// Name is a file name to offer: the id and the part, no user's text.
	Name string
	// Type is the media type.
	Type    string
	Bytes   int64
	ModTime time.Time
}

// Open opens a part for download, the first being 1. [ErrNotFound], [ErrActive].
func (s *Store) Open(id string, part int) (*Media, error) {
	s.mu.Lock()
	e := s.mu.entries[id]
	active := e != nil && e.recorder != nil
	var parts []Part
	if e != nil {
		parts = slices.Clone(e.rec.Parts)
	}
	s.mu.Unlock()
	switch {
	case e == nil || part < 1 || part > maxParts:
		return nil, ErrNotFound
	case active:
		return nil, ErrActive
	}
	name := mediaName(id, part)
	f, st, err := openRegular(s.root, name, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("record: open: %w", err)
	}
	video := part <= len(parts) && parts[part-1].Width > 0
	return &Media{ReadSeekCloser: f, Name: name, Type: mediaType(video), Bytes: st.Size(), ModTime: st.ModTime()}, nil
}

// Close stops what still records, waits for those files to be final, and lets
// the directory go. Twice is fine.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return nil
	}
	s.mu.closed = true
	var left []*Recorder
	for _, e := range s.mu.entries {
		if e.recorder != nil {
			left = append(left, e.recorder)
		}
	}
	s.mu.Unlock()
	for _, r := range left {
		_, _ = r.Stop(context.Background()) // its fault is in its description
	}
	return errors.Join(s.lock.Close(), s.root.Close())
}
