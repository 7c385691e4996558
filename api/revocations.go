package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"mixdown/api/token"
	"mixdown/mixer"
)

// maxRevocations bounds what is remembered of those who were removed: about 10
// MB. Of more the oldest are forgotten, and counted.
const maxRevocations = 1 << 16

// Bucket keeps revocations; *store.Bucket is one.
type Bucket interface {
	Put(key string, value []byte) error
	Delete(key string) error
	Each(prefix string, f func(key string, value []byte) error) error
}

// Revocations remember who was removed from which room and when, for as long as
// a token of theirs from before could be good. Create them with
// [NewRevocations]. Safe for concurrent use.
type Revocations struct {
	bucket Bucket // nil: memory alone
	now    func() time.Time

	// saving is held while the bucket is written, so that it has the last word of
	// each. It is taken before mu.
	saving sync.Mutex
	mu     struct {
		sync.RWMutex
		at        map[string]time.Time // by key
		forgotten int                  // for want of space
		// streams are told when the token that they were opened with is withdrawn,
		// by key. As many as there are streams, which are bounded elsewhere.
		streams map[string]*withdrawal
	}
}

// withdrawal ends the streams of one key.
type withdrawal struct {
	done    chan struct{}
	streams int
}

// revocation is what a bucket holds.
type revocation struct {
	NotBefore time.Time `json:"notBefore"`
}

// NewRevocations reads what is in the bucket; nil keeps them in memory alone. It
// may block on the disk. now is the wall clock, [time.Now] when it is nil.
func NewRevocations(bucket Bucket, now func() time.Time) (*Revocations, error) {
	r := &Revocations{bucket: bucket, now: now}
	if now == nil {
		r.now = time.Now
	}
	r.mu.at, r.mu.streams = make(map[string]time.Time), make(map[string]*withdrawal)
	if bucket == nil {
		return r, nil
	}
	var over []string
	err := bucket.Each("", func(key string, value []byte) error {
		var v revocation
		if err := json.Unmarshal(value, &v); err != nil || !strings.Contains(key, "/") {
			return fmt.Errorf("revocation %q: not what this program writes", clip(key))
		}
		if r.over(v.NotBefore) {
			over = append(over, key)
		} else {
			r.mu.at[key] = v.NotBefore
		}
		return nil
	})
	for _, key := range over {
		if err == nil {
			err = bucket.Delete(key)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("revocations: %w", err)
	}
	return r, nil
}

// revocationKey is unambiguous, since no room's id has a slash.
func revocationKey(room mixer.RoomID, identity string) string { return string(room) + "/" + identity }

// over reports whether no token from before then can be good any more.
func (r *Revocations) over(at time.Time) bool {
	return r.now().Sub(at) > token.MaxLife+2*token.Leeway
}

// Revoke ends the tokens that an identity has for a room, those that were made
// up to now. The identity "" is everybody who has none: all open invitations.
// It holds at once, whatever it returns; an error says that it might not outlive
// the process. It may block on the disk.
func (r *Revocations) Revoke(room mixer.RoomID, identity string) error {
	key, at := revocationKey(room, identity), r.now()
	r.saving.Lock()
	defer r.saving.Unlock()
	gone := r.keep(key, at)
	if r.bucket == nil {
		return nil
	}
	value, err := json.Marshal(revocation{at})
	if err == nil {
		err = r.bucket.Put(key, value)
	}
	for _, old := range gone {
		if err == nil {
			err = r.bucket.Delete(old)
		}
	}
	if err != nil {
		return fmt.Errorf("revocations: %w", err)
	}
	return nil
}

// keep remembers one, and returns the keys of those that it forgets instead.
func (r *Revocations) keep(key string, at time.Time) (gone []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	oldest := key
	for k, t := range r.mu.at {
		if r.over(t) {
			gone = append(gone, k)
			delete(r.mu.at, k)
		} else if was, ok := r.mu.at[oldest]; !ok || t.Before(was) {
			oldest = k
		}
	}
	if _, known := r.mu.at[key]; !known && len(r.mu.at) >= maxRevocations {
		gone = append(gone, oldest)
		delete(r.mu.at, oldest)
		r.mu.forgotten++
	}
	r.mu.at[key] = at
	if w := r.mu.streams[key]; w != nil {
		close(w.done)
		delete(r.mu.streams, key)
	}
	return gone
}

// follow returns what is closed when the tokens of an identity are withdrawn for a
// room. The caller calls stop, once.
func (r *Revocations) follow(room mixer.RoomID, identity string) (done <-chan struct{}, stop func()) {
	key := revocationKey(room, identity)
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.mu.streams[key]
	if w == nil {
		w = &withdrawal{done: make(chan struct{})}
		r.mu.streams[key] = w
	}
	w.streams++
	return w.done, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if w.streams--; w.streams == 0 && r.mu.streams[key] == w {
			delete(r.mu.streams, key)
		}
	}
}

// revoked reports whether a token of an identity that was made then has ended.
func (r *Revocations) revoked(room, identity string, issued time.Time) bool {
	if r == nil {
		return false
	}
	r.mu.RLock()
	at, ok := r.mu.at[revocationKey(mixer.RoomID(room), identity)]
	r.mu.RUnlock()
	return ok && endedAt(issued, at)
}

// ended reports whether a token was withdrawn where it is to be used, or where it
// was made for.
func (r *Revocations) ended(c *token.Claims, room mixer.RoomID) bool {
	return r.revoked(c.Video.Room, c.Subject, c.Issued) || r.revoked(string(room), c.Subject, c.Issued)
}

// endedAnywhere reports whether a token was withdrawn in any room. It looks at
// all that is remembered.
func (r *Revocations) endedAnywhere(c *token.Claims) bool {
	if r == nil {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for key, at := range r.mu.at {
		if _, identity, _ := strings.Cut(key, "/"); identity == c.Subject && endedAt(c.Issued, at) {
			return true
		}
	}
	return false
}

// endedAt reports whether a token that was made then has ended by a removal.
// Tokens count whole seconds: one of the same second is taken for an earlier one.
func endedAt(issued, at time.Time) bool { return !issued.After(at.Truncate(time.Second)) }

// Len returns how many are remembered, and how many were forgotten too early for
// want of space.
func (r *Revocations) Len() (held, forgotten int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.mu.at), r.mu.forgotten
}
