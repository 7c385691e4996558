package worker

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"mixdown/codec"
)

// Now is the process's monotonic clock, [codec.Now]: deadlines, arrivals and
// ticks count from one zero.
func Now() time.Duration { return codec.Now() }

// maxWorkers bounds Config.Workers: more threads than any machine has cores.
const maxWorkers = 1024

// Config says how a [Pool] works. The zero value is good.
type Config struct {
	// Workers is the number of threads. Defaults to the number of cores.
	Workers int
	// Nice is what the threads are niced to, 1..19; negative leaves them as
	// they are. Defaults to 10, so that sound and network come first. That
	// it cannot be done is no error; see Stats.Niced.
	Nice int
	// Now is the clock that deadlines are on. Defaults to [Now].
	Now func() time.Duration
}

// Pool is a queue of tasks and the threads that run them. See the package
// comment. Safe for concurrent use.
type Pool struct {
	workers, nice int
	now           func() time.Duration
	done          chan struct{}

	mu struct {
		sync.Mutex
		heap    taskHeap
		order   uint64
		started bool
		ending  bool
		// resting are the threads that have nothing to do, the one that has
		// worked last at the end.
		resting []*sync.Cond
		stats   Stats
	}
}

// New returns a pool; nothing runs before [Pool.Run]. Errors wrap
// [codec.ErrBadConfig].
func New(c Config) (*Pool, error) {
	if c.Workers == 0 {
		c.Workers = runtime.NumCPU()
	}
	if c.Nice == 0 {
		c.Nice = 10
	}
	if c.Now == nil {
		c.Now = Now
	}
	if c.Workers < 1 || c.Workers > maxWorkers {
		return nil, fmt.Errorf("worker: Workers %d: want 1..%d, or 0 for all cores: %w", c.Workers, maxWorkers, codec.ErrBadConfig)
	}
	if c.Nice > 19 {
		return nil, fmt.Errorf("worker: Nice %d: want 1..19, 0 for 10, negative for none: %w", c.Nice, codec.ErrBadConfig)
	}
	p := &Pool{workers: c.Workers, nice: c.Nice, now: c.Now, done: make(chan struct{})}
	p.mu.stats.Workers = c.Workers
	return p, nil
}

// Run starts the threads and blocks until ctx is done, every task that was
// queued by then has run, and the threads are gone. It can be called once.
func (p *Pool) Run(ctx context.Context) error {
	p.mu.Lock()
	if p.mu.started {
		p.mu.Unlock()
		return errors.New("worker: Run was called twice")
	}
	p.mu.started = true
	p.mu.Unlock()

	var wg sync.WaitGroup
	for range p.workers {
		wg.Go(p.work)
	}
	<-ctx.Done()
	p.mu.Lock()
	p.mu.ending = true
	for len(p.mu.resting) > 0 {
		p.rouse()
	}
	p.mu.Unlock()
	wg.Wait()
	close(p.done)
	return nil
}

// Done is closed when Run is about to return: no task runs any more.
func (p *Pool) Done() <-chan struct{} { return p.done }

// Submit queues t, to be run as soon as no task with an earlier deadline
// waits. The deadline is on the pool's clock, see [Now]; it orders the queue
// and feeds Stats.Lateness, nothing else.
//
// Each task is queued at most once: when t waits already, its deadline moves to
// the earlier of the two. When t is running, it is queued again at the end of
// that run, so what the caller prepared before Submit is always seen by a
// run that begins after it.
//
// Submit returns whether it made t be queued: false when t was so already, or
// when the pool is ending (then t may never run; [Pool.Done] tells when to
// stop waiting for it). It does not block and does not allocate.
func (p *Pool) Submit(t *Task, deadline time.Duration) bool {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case t.state == queued || t.state == again:
		p.mu.stats.Merged++
		if deadline < t.deadline {
			t.deadline = deadline
			if t.state == queued {
				heap.Fix(&p.mu.heap, t.index)
			}
		}
		return false
	case p.mu.ending:
		p.mu.stats.Refused++
		return false
	case t.state == running:
		t.state, t.deadline = again, deadline
		return true
	}
	t.deadline = deadline
	p.push(t, now)
	p.rouse()
	return true
}

// rouse wakes a thread, if one rests: the one that worked last, whose caches
// are the warmest. The caller holds mu.
func (p *Pool) rouse() {
	last := len(p.mu.resting) - 1
	if last < 0 {
		return
	}
	p.mu.resting[last].Signal()
	p.mu.resting = p.mu.resting[:last]
}

// push puts t into the heap. The caller holds mu.
func (p *Pool) push(t *Task, now time.Duration) {
	p.mu.order++
	t.state, t.since, t.order = queued, now, p.mu.order
	heap.Push(&p.mu.heap, t)
	p.mu.stats.Queued = len(p.mu.heap)
}

// Stats returns a snapshot. It does not block for long.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.stats
}

// work is the life of one thread. The goroutine never unlocks its thread, so
// that the runtime ends the thread with it: a niced thread must not go back
// to those that serve everything else. (The runtime starts no thread from a
// locked one, so no other thread inherits the nice value.)
func (p *Pool) work() {
	runtime.LockOSThread()
	niced := p.nice > 0 && niceThread(p.nice) == nil

	p.mu.Lock()
	defer p.mu.Unlock()
	if niced {
		p.mu.stats.Niced++
	}
	called := sync.NewCond(&p.mu)
	for {
		for len(p.mu.heap) == 0 {
			if p.mu.ending {
				return
			}
			p.mu.resting = append(p.mu.resting, called)
			called.Wait() // rouse has taken us off the list
		}
		p.runOne(heap.Pop(&p.mu.heap).(*Task))
	}
}

// runOne runs t, which has just left the heap. The caller holds mu, which is
// free while the task runs.
func (p *Pool) runOne(t *Task) {
	s := &p.mu.stats
	start, deadline := p.now(), t.deadline
	t.state = running
	s.Queued = len(p.mu.heap)
	s.Running++
	s.QueueDelay.Observe(max(0, start-t.since))
	p.mu.Unlock()

	mark := StartCPU()
	t.run()
	used := mark.Elapsed()
	t.cpu.Add(int64(used))

	p.mu.Lock()
	end := p.now()
	s.Running--
	s.Executed++
	s.Busy += end - start
	s.CPU += used
	s.Lateness.Observe(max(0, end-deadline))
	if end > deadline {
		s.Late++
	}
	if t.state == again {
		// This worker looks into the heap next, so nobody has to be woken.
		p.push(t, end)
	} else {
		t.state = idle
	}
}
