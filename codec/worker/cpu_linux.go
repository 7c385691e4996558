package worker

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadCPU returns the calling thread's id and what it has used.
func threadCPU() (thread int, cpu time.Duration) {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0, 0
	}
	return unix.Gettid(), time.Duration(ts.Nano())
}
