package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"mixdown/mixer"
)

// KeptRooms is where persistent rooms are kept over a restart; *store.Bucket is one.
// Its methods may block on the disk.
type KeptRooms interface {
	Put(key string, value []byte) error
	Delete(key string) error
	Each(prefix string, f func(key string, value []byte) error) error
}

// keepEvery is how often rooms are looked at for changes that came by no request
// which saved them itself, and for those that could not be saved.
const keepEvery = 5 * time.Second

// keptRoom is a persistent room on the disk. What RoomConfig gets in future is
// kept without more ado; what it has no more is dropped.
type keptRoom struct {
	Version int
	Config  mixer.RoomConfig
}

const keptVersion = 1

// keeper keeps persistent rooms. A request that changed one is answered when the
// change is on the disk.
type keeper struct {
	rooms *mixer.Manager
	disk  KeptRooms // nil: nothing is kept

	// writing is held while the disk is written, so that the last write has the
	// last state.
	writing sync.Mutex
	mu      struct {
		sync.Mutex
		saved map[mixer.RoomID][]byte // what is on the disk, of rooms that there are
	}
}

func newKeeper(rooms *mixer.Manager, disk KeptRooms) *keeper {
	k := &keeper{rooms: rooms, disk: disk}
	k.mu.saved = make(map[mixer.RoomID][]byte)
	return k
}

func (k *keeper) savedAs(id mixer.RoomID) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mu.saved[id]
}

// note remembers what is on the disk; nil is nothing.
func (k *keeper) note(id mixer.RoomID, text []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if text == nil {
		delete(k.mu.saved, id)
	} else {
		k.mu.saved[id] = text
	}
}

// wanted is what should be on the disk of a room; nil is nothing.
func (k *keeper) wanted(id mixer.RoomID) ([]byte, error) {
	room, err := k.rooms.Room(id)
	if err != nil {
		return nil, nil
	}
	info := room.Info()
	if !info.Persistent {
		return nil, nil
	}
	return json.Marshal(keptRoom{keptVersion, info.RoomConfig})
}

// sync brings the disk in line with a room. Rooms that end because the server
// does are kept as they were.
func (k *keeper) sync(id mixer.RoomID) error {
	if k.disk == nil {
		return nil
	}
	if text, err := k.wanted(id); err != nil || bytes.Equal(text, k.savedAs(id)) {
		return err // most rooms are not persistent: they wait for nobody
	}
	k.writing.Lock()
	defer k.writing.Unlock()
	text, err := k.wanted(id) // the last state, whose change ever it was
	switch {
	case err != nil:
		return err
	case bytes.Equal(text, k.savedAs(id)):
		return nil
	case text != nil:
		err = k.disk.Put(string(id), text)
	case k.rooms.Draining():
		return nil
	default:
		err = k.disk.Delete(string(id))
	}
	if err == nil {
		k.note(id, text)
	}
	return err
}

// forget is for a room that somebody has deleted.
func (k *keeper) forget(id mixer.RoomID) error {
	if k.disk == nil || k.savedAs(id) == nil {
		return nil
	}
	k.writing.Lock()
	defer k.writing.Unlock()
	if text, err := k.wanted(id); text != nil || err != nil {
		return err // made anew meanwhile: sync's
	}
	err := k.disk.Delete(string(id))
	if err == nil {
		k.note(id, nil)
	}
	return err
}

// syncAll is sync of all rooms that are persistent, or were.
func (k *keeper) syncAll() error {
	var ids []mixer.RoomID
	for _, info := range k.rooms.Rooms() {
		if info.Persistent {
			ids = append(ids, info.ID)
		}
	}
	k.mu.Lock()
	for id := range k.mu.saved {
		ids = append(ids, id)
	}
	k.mu.Unlock()
	slices.Sort(ids)
	var errs []error
	for _, id := range slices.Compact(ids) {
		errs = append(errs, k.sync(id))
	}
	return errors.Join(errs...)
}

// restore makes the rooms that are on the disk. One that cannot be made stays
// there.
func (k *keeper) restore(ctx context.Context) (made int, err error) {
	if k.disk == nil {
		return 0, nil
	}
	var faults []error
	err = k.disk.Each("", func(key string, text []byte) error {
		var kept keptRoom
		if err := json.Unmarshal(text, &kept); err != nil || kept.Version != keptVersion || kept.Config.ID != mixer.RoomID(key) {
			faults = append(faults, fmt.Errorf("%s: not a room of this version: %w", key, errors.Join(err)))
			return nil
		}
		forgetParticipants(&kept.Config)
		if _, _, err := k.rooms.EnsureRoom(ctx, kept.Config); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", key, err))
			return nil
		}
		k.note(kept.Config.ID, text)
		made++
		return nil
	})
	return made, errors.Join(append(faults, err)...)
}

// forgetParticipants takes those out of a room's layout who had a place in it by
// their id: nobody ever has that again.
func forgetParticipants(rc *mixer.RoomConfig) {
	gone := func(id string) bool { return strings.HasPrefix(id, "p_") }
	rc.Layout.Order = slices.DeleteFunc(rc.Layout.Order, gone)
	rc.Layout.Pins = slices.DeleteFunc(rc.Layout.Pins, gone)
}

// RestoreRooms makes the persistent rooms of before the restart again. It is called
// once, before anybody is served. What could not be restored is logged, stays where
// it is kept, and is tried again after the next start.
func (s *Server) RestoreRooms(ctx context.Context) {
	made, err := s.keeper.restore(ctx)
	if err != nil {
		s.log.Error("some rooms could not be restored", "error", err)
	}
	if made > 0 {
		s.log.Info("rooms restored", "rooms", made)
	}
}

// KeepRooms follows persistent rooms until ctx is done, and saves what there is
// to be saved a last time.
func (s *Server) KeepRooms(ctx context.Context) error {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	failing := false
	for {
		err := s.keeper.syncAll()
		if failed := err != nil; failed != failing { // once, not every five seconds
			failing = failed
			if failed {
				s.log.Error("rooms could not be saved, and would be lost with a restart", "error", err)
			} else {
				s.log.Info("rooms are saved again")
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err := s.keeper.syncAll(); err != nil {
				s.log.Error("rooms could not be saved", "error", err)
			}
			return nil
		}
	}
}

// kept answers for a change of a room: it must not be lost.
func (s *Server) kept(err error) error {
	if err == nil {
		return nil
	}
	s.log.Error("a room could not be saved", "error", err)
	return notKept.problem("it is so now, and it is tried again to save it")
}
