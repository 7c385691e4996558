//go:build !linux

package worker

import "time"

// processCPU and quotaCores say with 0 that they cannot tell.
func processCPU() time.Duration { return 0 }

func quotaCores() float64 { return 0 }
