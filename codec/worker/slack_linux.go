package worker

// The Go runtime's monitor thread asks for sleeps of 20 us whenever it has
// lately taken a processor away from a thread that was in C, which in this
// program is all the time. With Linux's usual timer slack of 50 us it then
// wakes some 14,000 times a second: 7% of the processor time of a room of nine
// [measured with perf: do_nanosleep]. A slack of 300 us halves that and more,
// and lets other timers that fall close together share one wake-up; a 20 ms
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
