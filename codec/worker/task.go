package worker

import (
	"sync/atomic"
	"time"
)

// state is where a task is between two runs; guarded by its pool's mutex.
type state uint8

const (
	idle    state = iota // neither queued nor running
	queued               // in the heap
	running              // on a worker
	again                // on a worker, and to be queued when that run ends
)

// Task is a piece of work that can be submitted any number of times. It belongs
// to the first [Pool] it is submitted to, and must not be copied.
type Task struct {
	run func()
	cpu atomic.Int64 // nanoseconds of all runs that have ended

	// Under the pool's mutex.
	state    state
	deadline time.Duration
	since    time.Duration // when it became ready to run
	order    uint64        // breaks ties: first come, first served
	index    int           // in the heap
}

// NewTask returns a task that calls run. The function is called on a worker's
// locked thread; it should work for milliseconds and not wait for others.
func NewTask(run func()) *Task { return &Task{run: run} }

// CPU returns the processor time of all runs that have ended. Any goroutine
// may ask.
func (t *Task) CPU() time.Duration { return time.Duration(t.cpu.Load()) }

// taskHeap orders tasks by deadline, then by arrival. It implements heap.Interface.
type taskHeap []*Task

func (h taskHeap) Len() int { return len(h) }

func (h taskHeap) Less(i, j int) bool {
	if h[i].deadline != h[j].deadline {
		return h[i].deadline < h[j].deadline
	}
	return h[i].order < h[j].order
}

func (h taskHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *taskHeap) Push(x any) {
	t := x.(*Task)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *taskHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}
