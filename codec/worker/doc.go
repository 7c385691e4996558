// Package worker runs the processor-heavy work of the codecs on a few operating
// system threads of its own, the most urgent piece first.
//
// Encoding a picture takes milliseconds inside C, where Go's scheduler cannot
// take the thread back. With a goroutine per encoder, 20 ms audio ticks woke
// up to 46 ms late on a busy machine; with as many locked, niced threads as
// there are cores, and GOMAXPROCS raised by that number, 3 to 7 ms. So every
// piece of video work in the process goes through one [Pool]:
//
//	pool, err := worker.New(worker.Config{})
//	go pool.Run(ctx)
//	...
//	task := worker.NewTask(func() { decodeWhatIsQueued() })
//	pool.Submit(task, worker.Now()+20*time.Millisecond)
//
// A [Task] is made once per source or encoder and submitted again and again. It
// stands in the queue at most once and never runs twice at the same time, so
// the queue's bound is the number of tasks that exist, its drop policy is
// that a second Submit merges into the first, and its counter is
// [Stats.Merged]. Nothing is allocated per Submit.
//
// Workers take the task with the earliest deadline; a deadline is a wish, and a
// task that missed it still runs. How long tasks wait before they start
// ([Stats.QueueDelay]) is the process's overload signal.
package worker
