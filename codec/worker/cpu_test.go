package worker

import (
	"runtime"
	"testing"
	"time"

	"mixdown/codec"
)

// burn uses the calling thread's processor for at least d.
func burn(d time.Duration) {
	for m := StartCPU(); m.Elapsed() < d; {
	}
}

func TestTaskCPUIsWhatItUsed(t *testing.T) {
	p, stop := start(t, Config{Workers: 2})
	const work = 5 * time.Millisecond
	busy := NewTask(func() { burn(work) })
	gate := make(chan struct{})
	idle := NewTask(func() { <-gate })
	p.Submit(idle, 0)
	begin := codec.Now()
	p.Submit(busy, 0)
	for p.Stats().Executed == 0 {
		runtime.Gosched()
	}
	waited := codec.Now() - begin
	close(gate)
	stop()
	if busy.CPU() < work {
		t.Errorf("a task that worked for %v used %v", work, busy.CPU())
	}
	if idle.CPU() >= waited {
		t.Errorf("a task that only waited, for %v, used %v", waited, idle.CPU())
	}
	s := p.Stats()
	if s.CPU != busy.CPU()+idle.CPU() {
		t.Errorf("the pool used %v, its tasks %v and %v", s.CPU, busy.CPU(), idle.CPU())
	}
	if s.CPU > s.Busy {
		t.Errorf("used %v of the %v that it was busy", s.CPU, s.Busy)
	}
}

func TestElapsedNeverExceedsTheTime(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin, m := codec.Now(), StartCPU()
	burn(2 * time.Millisecond)
	used := m.Elapsed()
	if passed := codec.Now() - begin; used < 2*time.Millisecond || used > passed {
		t.Errorf("%v used in %v: want at least 2ms, at most all of it", used, passed)
	}
	// A mark of another thread: all the time counts.
	m.thread++
	if used := m.Elapsed(); used < 2*time.Millisecond {
		t.Errorf("moved to another thread: %v, want at least 2ms", used)
	}
}

func BenchmarkStartCPU(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	var sum time.Duration
	for b.Loop() {
		sum += StartCPU().Elapsed()
	}
	_ = sum
}
