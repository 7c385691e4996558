package mixer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"mixdown/codec/worker"
)

// Manager holds the rooms of one process. Create it with [New]; it is safe for
// concurrent use.
type Manager struct {
	cfg    Config
	ctx    context.Context // every room's; ends with Run or Close
	cancel context.CancelFunc
	rooms  sync.WaitGroup
	events *eventHub

	mu struct {
		sync.Mutex
		byID     map[RoomID]*Room
		draining bool
		made     int   // rooms ever made, for staggering their clocks
		past     Stats // of the rooms that have ended
	}
}

// New validates cfg, reporting every fault, and starts nothing.
func New(cfg Config) (*Manager, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, &Error{Op: "mixer.new", Kind: Invalid, Err: err}
	}
	cfg.governor = newGovernor(cfg.Cores, worker.Cores(), cfg.Log)
	cfg.stills = &sync.Mutex{}
	m := &Manager{cfg: cfg, events: newEventHub(cfg.EventHistory, cfg.EventQueue)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.mu.byID = make(map[RoomID]*Room)
	return m, nil
}

// Run blocks until ctx is done or Close is called, then ends every room and
// returns when all of them are gone, their recordings closed properly.
func (m *Manager) Run(ctx context.Context) error {
	var governor sync.WaitGroup
	governor.Go(func() { m.cfg.governor.run(m.ctx, m) })
	select {
	case <-ctx.Done():
	case <-m.ctx.Done():
	}
	err := m.Close()
	governor.Wait()
	return err
}

// Governor returns what keeps the process from doing more than it can.
func (m *Manager) Governor() *Governor { return m.cfg.governor }

// Close ends every room and waits until all are gone. Twice is fine.
func (m *Manager) Close() error {
	m.Drain()
	m.cancel()
	m.rooms.Wait()
	m.events.close()
	return nil
}

// Drain refuses new rooms and new participants from now on.
func (m *Manager) Drain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.draining = true
}

// Draining reports whether Drain or Close was called: rooms that end from then on
// were not deleted by anybody.
func (m *Manager) Draining() bool { return m.isDraining() }

func (m *Manager) isDraining() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.draining
}

// CreateRoom makes a room and starts it. It is refused with ErrRoomExists,
// ErrTooManyRooms or ErrDraining, or as Invalid with the field's name.
func (m *Manager) CreateRoom(ctx context.Context, rc RoomConfig) (*Room, error) {
	r, created, err := m.EnsureRoom(ctx, rc)
	if err == nil && !created {
		return nil, &Error{Op: "room.create", Kind: Conflict, Room: rc.ID, Err: ErrRoomExists}
	}
	return r, err
}

// EnsureRoom returns the room of that id, made from rc when there is none.
func (m *Manager) EnsureRoom(_ context.Context, rc RoomConfig) (r *Room, created bool, err error) {
	const op = "room.create"
	rc.setDefaults()
	if err := rc.validate(op); err != nil {
		return nil, false, err
	}
	if r, err := m.Room(rc.ID); err == nil {
		return r, false, nil
	}
	// Without the lock, for which those wait who join other rooms.
	looks, err := newStyle(op, &m.cfg, rc.Canvas, rc.Layout)
	if err != nil {
		return nil, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.mu.byID[rc.ID]; r != nil { // made meanwhile
		return r, false, nil
	}
	switch {
	case m.mu.draining:
		return nil, false, &Error{Op: op, Kind: Unavailable, Room: rc.ID, Err: ErrDraining}
	case len(m.mu.byID) >= m.cfg.MaxRooms:
		return nil, false, &Error{Op: op, Kind: Exhausted, Room: rc.ID,
			Err: fmt.Errorf("%w: %d", ErrTooManyRooms, m.cfg.MaxRooms)}
	}
	if r, err = newRoom(m.ctx, m.cfg, rc, looks, m.phase(), m.isDraining); err != nil {
		return nil, false, err
	}
	r.tidings.hub = m.events
	r.raise(EventRoomStarted, r.Info())
	r.publish()
	m.mu.byID[rc.ID] = r
	m.rooms.Go(func() {
		r.run()
		m.forget(rc.ID, r)
	})
	return r, true, nil
}

// phase staggers the rooms' clocks over one audio tick, so that their ticks do
// not all come at once: consecutive multiples of the golden ratio lie far
// apart. The caller holds mu.
func (m *Manager) phase() time.Duration {
	const golden = 0.6180339887498949
	m.mu.made++
	turns := golden * float64(m.mu.made)
	return time.Duration((turns - float64(int(turns))) * float64(20*time.Millisecond))
}

func (m *Manager) forget(id RoomID, r *Room) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.byID[id] == r {
		delete(m.mu.byID, id)
		m.mu.past.add(r.Stats())
		// Its control loop has ended.
		r.raise(EventRoomFinished, r.Info())
		r.tell(func() {})
	}
}

// Room returns the room of that id, or NotFound.
func (m *Manager) Room(id RoomID) (*Room, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.mu.byID[id]; r != nil {
		return r, nil
	}
	return nil, &Error{Op: "room.get", Kind: NotFound, Room: id, Err: ErrNoRoom}
}

// Rooms returns all rooms, sorted by id.
func (m *Manager) Rooms() []RoomInfo {
	rooms := m.list()
	infos := make([]RoomInfo, 0, len(rooms))
	for _, r := range rooms {
		infos = append(infos, r.Info())
	}
	return infos
}

func (m *Manager) list() []*Room {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sorted()
}

// listAndPast also returns what the rooms did that are not in the list: each
// room is in one of the two.
func (m *Manager) listAndPast() (rooms []*Room, past Stats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	past.add(m.mu.past)
	return m.sorted(), past
}

// sorted returns all rooms by id. The caller holds mu.
func (m *Manager) sorted() []*Room {
	rooms := make([]*Room, 0, len(m.mu.byID))
	for _, r := range m.mu.byID {
		rooms = append(rooms, r)
	}
	slices.SortFunc(rooms, func(a, b *Room) int { return cmp.Compare(a.Info().ID, b.Info().ID) })
	return rooms
}

// DeleteRoom ends the room and waits until it is gone: everybody is
// disconnected, and its recording is final.
func (m *Manager) DeleteRoom(ctx context.Context, id RoomID) error {
	r, err := m.Room(id)
	if err != nil {
		return err
	}
	r.end()
	select {
	case <-r.Done():
		m.forget(id, r)
		return nil
	case <-ctx.Done():
		return &Error{Op: "room.delete", Kind: Unavailable, Room: id, Err: errors.Join(ErrEnding, ctx.Err())}
	}
}
