package mixer

import (
	"math"
	"sync"
)

// fence lets goroutines wait until a loop has come past a point. Create it with
// newFence.
type fence struct {
	mu struct {
		sync.Mutex
		moved *sync.Cond
		at    uint64
	}
}

func newFence() *fence {
	f := &fence{}
	f.mu.moved = sync.NewCond(&f.mu)
	return f
}

// pass says that the loop has come to n.
func (f *fence) pass(n uint64) {
	f.mu.Lock()
	f.mu.at = max(f.mu.at, n)
	f.mu.Unlock()
	f.mu.moved.Broadcast()
}

// open lets everybody through: the loop has ended.
func (f *fence) open() { f.pass(math.MaxUint64) }

// wait blocks until the loop has come to n.
func (f *fence) wait(n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.mu.at < n {
		f.mu.moved.Wait()
	}
}
