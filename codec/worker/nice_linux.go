package worker

import "golang.org/x/sys/unix"

// niceThread sets the calling thread's nice value. On Linux a nice value
// belongs to a thread, whatever POSIX says (setpriority(2)).
func niceThread(nice int) error {
	return unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice)
}
