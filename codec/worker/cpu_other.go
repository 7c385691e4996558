//go:build !linux

package worker

import "time"

// threadCPU says with thread 0 that it cannot tell.
func threadCPU() (thread int, cpu time.Duration) { return 0, 0 }
