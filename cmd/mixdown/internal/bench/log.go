package bench

import (
	"io"
	"sync"
)

// sharedLog lets the bench and the server that it has started write to one log:
// what the server says is copied by a goroutine of its own.
type sharedLog struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *sharedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
