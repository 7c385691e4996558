package worker

import (
	"runtime"
	"time"
)

// Cores returns how many processors' worth of time the process may use: as many
// as it may run on, or less where its control group has a quota, which need
// not be a whole number. The runtime looks at the quota as well, but tells of it
// only by GOMAXPROCS, rounded up, and to no less than 2: too coarse for who has
// to know when there is no more. It reads files; ask once.
func Cores() float64 {
	cores := float64(runtime.NumCPU())
	if quota := quotaCores(); quota > 0 {
		cores = min(cores, quota)
	}
	return cores
}

// ProcessCPU returns the processor time, in user and in kernel mode, of all of
// the process's threads so far, ended ones included; 0 where it cannot be told.
func ProcessCPU() time.Duration { return processCPU() }
