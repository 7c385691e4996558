package worker

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mixdown/codec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeClock is a clock that moves only when told.
type fakeClock struct{ t atomic.Int64 }

func (c *fakeClock) now() time.Duration      { return time.Duration(c.t.Load()) }
func (c *fakeClock) advance(d time.Duration) { c.t.Add(int64(d)) }

// start runs a pool until the test ends or stop is called.
func start(t testing.TB, c Config) (p *Pool, stop func()) {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return p, stop
}

// hold occupies one worker until release is called.
func hold(p *Pool) (release func()) {
	began, gate := make(chan struct{}), make(chan struct{})
	p.Submit(NewTask(func() { close(began); <-gate }), -time.Hour)
	<-began
	return func() { close(gate) }
}

func TestEarliestDeadlineFirst(t *testing.T) {
	p, stop := start(t, Config{Workers: 1})
	release := hold(p)
	var got []string
	add := func(name string) *Task { return NewTask(func() { got = append(got, name) }) }
	moved := add("moved")
	p.Submit(add("late"), 30*time.Millisecond)
	p.Submit(moved, 40*time.Millisecond)
	p.Submit(add("early"), 10*time.Millisecond)
	p.Submit(add("tie-1"), 20*time.Millisecond)
	p.Submit(add("tie-2"), 20*time.Millisecond)
	if p.Submit(moved, 5*time.Millisecond) {
		t.Error("Submit of a queued task said that it queued it")
	}
	if p.Submit(moved, 50*time.Millisecond) {
		t.Error("Submit of a queued task said that it queued it")
	}
	if s := p.Stats(); s.Queued != 5 || s.Running != 1 || s.Merged != 2 {
		t.Errorf("queued %d, running %d, merged %d, want 5, 1, 2", s.Queued, s.Running, s.Merged)
	}
	release()
	stop()
	if want := []string{"moved", "early", "tie-1", "tie-2", "late"}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

func TestSubmitWhileRunningQueuesOnce(t *testing.T) {
	p, stop := start(t, Config{Workers: 2})
	var runs, inside atomic.Int32
	began, gate := make(chan struct{}, 10), make(chan struct{})
	task := NewTask(func() {
		if inside.Add(1) > 1 {
			t.Error("the task runs twice at the same time")
		}
		runs.Add(1)
		began <- struct{}{}
		<-gate
		inside.Add(-1)
	})
	p.Submit(task, 0)
	<-began
	if !p.Submit(task, time.Second) {
		t.Error("first Submit of a running task was refused")
	}
	if p.Submit(task, time.Millisecond) {
		t.Error("second Submit of a running task was taken")
	}
	gate <- struct{}{}
	<-began // the second run, though nobody submits any more
	gate <- struct{}{}
	stop()
	if runs.Load() != 2 {
		t.Errorf("%d runs, want 2", runs.Load())
	}
}

func TestNeverTwiceAtOnce(t *testing.T) {
	p, stop := start(t, Config{Workers: 4})
	const tasks, submitters, each = 5, 4, 500
	var inside [tasks]atomic.Int32
	var seen, want [tasks]atomic.Int64
	var list [tasks]*Task
	for i := range list {
		list[i] = NewTask(func() {
			if inside[i].Add(1) > 1 {
				t.Error("a task runs twice at the same time")
			}
			seen[i].Store(want[i].Load())
			inside[i].Add(-1)
		})
	}
	var wg sync.WaitGroup
	for range submitters {
		wg.Go(func() {
			for n := range each {
				i := n % tasks
				want[i].Add(1)
				p.Submit(list[i], time.Duration(n))
			}
		})
	}
	wg.Wait()
	stop()
	for i := range list {
		if seen[i].Load() != want[i].Load() {
			t.Errorf("task %d last saw %d of %d: a Submit was lost", i, seen[i].Load(), want[i].Load())
		}
	}
	s := p.Stats()
	if s.Executed+s.Merged != submitters*each || s.Queued != 0 || s.Running != 0 {
		t.Errorf("executed %d + merged %d, want %d; queued %d running %d", s.Executed, s.Merged, submitters*each, s.Queued, s.Running)
	}
}

func TestEndRunsWhatIsQueued(t *testing.T) {
	p, stop := start(t, Config{Workers: 1})
	release := hold(p)
	var ran atomic.Int32
	for range 10 {
		p.Submit(NewTask(func() { ran.Add(1) }), 0)
	}
	go release()
	stop()
	if ran.Load() != 10 {
		t.Errorf("%d of 10 queued tasks ran", ran.Load())
	}
	<-p.Done()
	if p.Submit(NewTask(func() { t.Error("ran after the end") }), 0) {
		t.Error("Submit after the end was taken")
	}
	if p.Stats().Refused != 1 {
		t.Errorf("refused %d, want 1", p.Stats().Refused)
	}
	if err := p.Run(context.Background()); err == nil {
		t.Error("a second Run was allowed")
	}
}

func TestResubmitFromInsideEnds(t *testing.T) {
	p, stop := start(t, Config{Workers: 1})
	began := make(chan struct{}, 1)
	var task *Task
	task = NewTask(func() {
		select {
		case began <- struct{}{}:
		default:
		}
		p.Submit(task, 0)
	})
	p.Submit(task, 0)
	<-began
	stop() // hangs if a task can keep a pool alive by submitting itself
}

func TestStatsByInjectedClock(t *testing.T) {
	var clock fakeClock
	p, stop := start(t, Config{Workers: 1, Now: clock.now})
	release := hold(p)
	p.Submit(NewTask(func() { clock.advance(8 * time.Millisecond) }), 20*time.Millisecond)  // in time, at 12 ms
	p.Submit(NewTask(func() { clock.advance(40 * time.Millisecond) }), 21*time.Millisecond) // 31 ms late
	clock.advance(4 * time.Millisecond)
	release()
	stop()
	s := p.Stats()
	if s.Executed != 3 || s.Late != 2 { // the holder's deadline is an hour ago
		t.Errorf("executed %d, late %d, want 3, 2", s.Executed, s.Late)
	}
	if want := 52 * time.Millisecond; s.Busy != want { // 4 of them in the holder
		t.Errorf("busy %v, want %v", s.Busy, want)
	}
	if want := 4*time.Millisecond + 12*time.Millisecond; s.QueueDelay.Sum() != want {
		t.Errorf("queue delay %v in total, want %v", s.QueueDelay.Sum(), want)
	}
	if want := time.Hour + 4*time.Millisecond + 31*time.Millisecond; s.Lateness.Sum() != want {
		t.Errorf("lateness %v in total, want %v", s.Lateness.Sum(), want)
	}
	b := s.QueueDelay.Buckets()
	if b[0.0005] != 1 || b[0.003] != 1 || b[0.005] != 2 || b[0.015] != 3 || b[1] != 3 {
		t.Errorf("queue delay buckets %v", b)
	}
	if q := s.QueueDelay.Quantile(0.5); q != 5*time.Millisecond {
		t.Errorf("median %v, want the bucket up to 5 ms", q)
	}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	if h.Quantile(0.99) != 0 || h.Count() != 0 {
		t.Error("an empty histogram has observations")
	}
	for _, d := range bounds {
		h.Observe(d)
	}
	before := h
	h.Observe(time.Minute)
	if h.Count() != uint64(len(bounds))+1 || h.Quantile(0) != bounds[0] || h.Quantile(1) <= time.Second {
		t.Errorf("count %d, q0 %v, q1 %v", h.Count(), h.Quantile(0), h.Quantile(1))
	}
	if d := h.Sub(before); d.Count() != 1 || d.Sum() != time.Minute || d.Buckets()[1] != 0 {
		t.Errorf("difference has %d observations, %v", d.Count(), d.Sum())
	}
}

func TestBadConfig(t *testing.T) {
	for _, c := range []Config{{Workers: -1}, {Workers: maxWorkers + 1}, {Nice: 20}} {
		if _, err := New(c); !errors.Is(err, codec.ErrBadConfig) {
			t.Errorf("%+v: %v, want ErrBadConfig", c, err)
		}
	}
}

// TestThreadsAreNicedAndEnd reads the kernel's own list of threads.
func TestThreadsAreNicedAndEnd(t *testing.T) {
	p, stop := start(t, Config{Workers: 3, Nice: 7})
	began, gate := make(chan struct{}), make(chan struct{})
	for range 3 {
		p.Submit(NewTask(func() { began <- struct{}{}; <-gate }), 0)
	}
	for range 3 {
		<-began
	}
	if s := p.Stats(); s.Niced != 3 {
		t.Errorf("%d of 3 threads niced", s.Niced)
	}
	if n := threadsAtNice(t, 7); n != 3 {
		t.Errorf("%d threads at nice 7, want 3", n)
	}
	close(gate)
	stop()
	// The runtime ends a locked thread shortly after its goroutine; the test
	// run's own limit is the only deadline.
	for threadsAtNice(t, 7) != 0 {
		time.Sleep(time.Millisecond)
	}
}

func threadsAtNice(t *testing.T, nice int) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		stat, err := os.ReadFile("/proc/self/task/" + e.Name() + "/stat")
		if err != nil {
			continue // it has just ended
		}
		// Field 19 is nice; the name in field 2 may contain spaces (proc(5)).
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) > 16 && fields[16] == strconv.Itoa(nice) {
			n++
		}
	}
	return n
}

func TestSubmitAllocatesNothing(t *testing.T) {
	p, _ := start(t, Config{Workers: 1})
	ran := make(chan struct{})
	task := NewTask(func() { ran <- struct{}{} })
	if n := testing.AllocsPerRun(1000, func() {
		p.Submit(task, Now())
		<-ran
	}); n != 0 {
		t.Errorf("%v allocations per Submit and run", n)
	}
}

func BenchmarkSubmitRun(b *testing.B) {
	p, _ := start(b, Config{})
	ran := make(chan struct{})
	task := NewTask(func() { ran <- struct{}{} })
	b.ReportAllocs()
	for b.Loop() {
		p.Submit(task, Now())
		<-ran
	}
}
