package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"mixdown/mixer"
)

// BanStore keeps bans over a restart; a bucket of api/store is one. Its methods
// may block on the disk.
type BanStore interface {
	Put(key string, value []byte) error
	Delete(key string) error
	Each(prefix string, f func(key string, value []byte) error) error
}

// Bounds of what is remembered. Bans of rooms that have ended stay, since
// somebody may make the room again.
const (
	maxRoomBans = 1000
	maxBans     = 20_000
)

var errTooManyBans = errors.New("there are as many bans as there may be: lift some")

// Ban keeps somebody out of a room, by what is known of him.
type Ban struct {
	ID string `json:"id" readOnly:"true" example:"ban_7QK2M4XHNWE5A"`
	// Participant only says whom a new ban is for.
	Participant string     `json:"participant,omitempty" required:"false" writeOnly:"true" doc:"Of a new ban: who is removed and banned, by the identity, or by the address where there is none"`
	Identity    string     `json:"identity,omitempty" required:"false" maxLength:"256" doc:"Whose tokens are refused"`
	Address     string     `json:"address,omitempty" required:"false" maxLength:"64" doc:"An address or a prefix of which nobody may enter; of IPv6 the /64 it is in" example:"203.0.113.7"`
	Reason      string     `json:"reason,omitempty" required:"false" maxLength:"256" doc:"For other moderators; the banned are not told"`
	CreatedAt   time.Time  `json:"createdAt" readOnly:"true"`
	Until       *time.Time `json:"until,omitempty" required:"false" doc:"When it ends by itself; missing: when it is deleted"`
}

func (b *Ban) over(now time.Time) bool { return b.Until != nil && !now.Before(*b.Until) }

func (b *Ban) meets(identity, address string) bool {
	return b.Identity != "" && b.Identity == identity || b.Address != "" && b.Address == address
}

// bans knows who may not enter which room. Safe for concurrent use; reading never
// waits for the disk.
type bans struct {
	store BanStore // nil keeps nothing

	// writing is held while the store is written, so that it and byRoom agree.
	writing sync.Mutex
	mu      struct {
		sync.RWMutex
		byRoom map[mixer.RoomID][]Ban // each in the order of id
		n      int
	}
}

// newBans reads what the store has. What cannot be read is an error: nobody who
// is banned is to be forgotten unseen.
func newBans(store BanStore) (*bans, error) {
	b := &bans{store: store}
	b.mu.byRoom = make(map[mixer.RoomID][]Ban)
	if store == nil {
		return b, nil
	}
	now := time.Now()
	var old []string
	err := store.Each("", func(key string, value []byte) error {
		room, _, _ := strings.Cut(key, "/")
		var ban Ban
		if err := json.Unmarshal(value, &ban); err != nil {
			return fmt.Errorf("the ban %q: %w", key, err)
		}
		if ban.over(now) {
			old = append(old, key)
			return nil
		}
		b.mu.byRoom[mixer.RoomID(room)] = append(b.mu.byRoom[mixer.RoomID(room)], ban)
		b.mu.n++
		return nil
	})
	for _, key := range old {
		err = errors.Join(err, store.Delete(key))
	}
	return b, err
}

func banKey(room mixer.RoomID, id string) string { return string(room) + "/" + id }

// check refuses who is banned from a room.
func (b *bans) check(room mixer.RoomID, identity, address string) error {
	now := time.Now()
	b.mu.RLock()
	defer b.mu.RUnlock()
	for i := range b.mu.byRoom[room] {
		if ban := &b.mu.byRoom[room][i]; !ban.over(now) && ban.meets(identity, address) {
			return banned.problem("")
		}
	}
	return nil
}

// list returns the bans of a room that are not over, by id.
func (b *bans) list(room mixer.RoomID) []Ban {
	now := time.Now()
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.DeleteFunc(slices.Clone(b.mu.byRoom[room]), func(x Ban) bool { return x.over(now) })
}

// add keeps a new ban. It may block on the disk.
func (b *bans) add(room mixer.RoomID, ban Ban) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.forgetOver(time.Now())
	b.mu.RLock()
	full := len(b.mu.byRoom[room]) >= maxRoomBans || b.mu.n >= maxBans
	b.mu.RUnlock()
	if full {
		return &mixer.Error{Op: "ban", Kind: mixer.Exhausted, Room: room, Err: errTooManyBans}
	}
	if b.store != nil {
		value, err := json.Marshal(ban)
		if err != nil {
			return err
		}
		if err := b.store.Put(banKey(room, ban.ID), value); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	list := append(slices.Clone(b.mu.byRoom[room]), ban)
	slices.SortFunc(list, func(x, y Ban) int { return cmp.Compare(x.ID, y.ID) })
	b.mu.byRoom[room] = list
	b.mu.n++
	return nil
}

// forgetOver forgets the bans that have ended by themselves. What stays in the
// store of them goes when it is next read. The caller holds writing.
func (b *bans) forgetOver(now time.Time) {
	var keys []string
	b.mu.Lock()
	for room, list := range b.mu.byRoom {
		left := slices.DeleteFunc(slices.Clone(list), func(x Ban) bool {
			if x.over(now) {
				keys = append(keys, banKey(room, x.ID))
			}
			return x.over(now)
		})
		b.mu.n -= len(list) - len(left)
		if b.mu.byRoom[room] = left; len(left) == 0 {
			delete(b.mu.byRoom, room)
		}
	}
	b.mu.Unlock()
	for _, key := range keys {
		if b.store != nil {
			_ = b.store.Delete(key) // tried again when the store is read
		}
	}
}

// lift ends a ban. It may block on the disk.
func (b *bans) lift(room mixer.RoomID, id string) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.RLock()
	known := slices.ContainsFunc(b.mu.byRoom[room], func(x Ban) bool { return x.ID == id })
	b.mu.RUnlock()
	if !known {
		return noBan.problem("")
	}
	if b.store != nil {
		if err := b.store.Delete(banKey(room, id)); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(b.mu.byRoom[room]), func(x Ban) bool { return x.ID == id })
	b.mu.n--
	if b.mu.byRoom[room] = left; len(left) == 0 {
		delete(b.mu.byRoom, room)
	}
	return nil
}
