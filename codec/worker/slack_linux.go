package worker

// The Go runtime's monitor thread asks for sleeps of 20 us whenever it has
// lately taken a processor away from a thread that was in C, which in this
// program is all the time. Its sleeps alone took 7% of the processor time of a
// room of nine with Linux's usual timer slack of 50 us [perf: do_nanosleep], and
// half of that with a slack of 300 us, at 1,500 wake-ups a second, which also
// lets other timers that fall close together share one. A 20 ms
// tick comes at most 0.3 ms later for it, far below what is heard.
//
// Threads inherit their slack from the thread that makes them, and the monitor
// is made before any Go code runs, so this has to be done while the program
// is loaded.

/*
#include <sys/prctl.h>

__attribute__((constructor)) static void mixdown_timer_slack(void) {
	prctl(PR_SET_TIMERSLACK, 300000ul, 0ul, 0ul, 0ul);
}
*/
import "C"
