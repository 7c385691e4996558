package worker

import (
	"fmt"
	"os"
	"slices"
	"strconv"
)

// monitorSlack lets the runtime's monitor oversleep by so much. It takes
// processors away from threads that stay in C, and there is always a spare one
// for that here, see the package comment: a few milliseconds later will do.
const monitorSlack = "2000000" // nanoseconds

// RelaxMonitor gives the Go runtime's monitor thread a timer slack of its own,
// larger than the process's: in a room of nine it still woke 1,500 times a
// second. Call it once, early. The error says that it may not be done, which
// costs a few percent of the processor time and nothing else: other threads'
// slack is for root, or CAP_SYS_NICE, to set (proc_pid_timerslack_ns(5)).
func RelaxMonitor() error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("timer slack of the monitor: %w", err)
	}
	var ids []int
	for _, t := range tasks {
		// The main thread's id is the process's. The runtime starts the monitor
		// first, before any other thread.
		if id, err := strconv.Atoi(t.Name()); err == nil && id > os.Getpid() {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return fmt.Errorf("timer slack of the monitor: no thread follows the main one")
	}
	file := "/proc/" + strconv.Itoa(slices.Min(ids)) + "/timerslack_ns"
	if err := os.WriteFile(file, []byte(monitorSlack), 0); err != nil {
		return fmt.Errorf("timer slack of the monitor: %w", err)
	}
	return nil
}
