package codec

import "time"

var processStart = time.Now()

// Now is the process's monotonic clock: the time since the process started.
// Every Arrival, deadline and tick in the process counts on it.
func Now() time.Duration { return time.Since(processStart) }
