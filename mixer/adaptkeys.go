package mixer

import (
	"sync/atomic"
	"time"
)

// How often one client may have a key frame made, which all who watch with it
// pay for; what is beyond is answered by the next that comes anyway.
const (
	// keysShared is the mean time between two that one of several causes,
	// keysLosing that of a chronic loser, and keysStarving that of one whose path
	// does not carry the smallest tier: he has a picture now and then.
	keysShared   = time.Second
	keysLosing   = 5 * time.Second
	keysStarving = 10 * time.Second
	// keysSaved is how much of that can be saved up: five at a time of the first,
	// one of the others.
	keysSaved = 4 * time.Second
)

// keyBudget bounds the key frames that one client causes. Who watches alone is
// not bounded. Safe for concurrent use; the zero value does not bound.
type keyBudget struct {
	every atomic.Int64 // nanoseconds; 0 is unbounded
	paid  atomic.Int64 // until when those are paid that were allowed
	kept  atomic.Uint64
}

// limit sets the mean time between two; 0 is unbounded.
func (b *keyBudget) limit(every time.Duration) { b.every.Store(int64(every)) }

// allow reports whether the client may cause one more now, and counts those
// that it may not.
func (b *keyBudget) allow(now time.Duration) bool {
	every := b.every.Load()
	if every == 0 {
		return true
	}
	for {
		paid := b.paid.Load()
		if paid-int64(now) > int64(keysSaved) {
			b.kept.Add(1)
			return false
		}
		if b.paid.CompareAndSwap(paid, max(paid, int64(now))+every) {
			return true
		}
	}
}
