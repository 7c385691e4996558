package bench

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Footprint is what the server holds.
type Footprint struct {
	RSSBytes   int64 `json:"rssBytes"`
	HeapBytes  int64 `json:"heapBytes"` // of Go, after a collection
	Goroutines int   `json:"goroutines"`
	FDs        int   `json:"fds"` // open file descriptors
}

// settleFor is how long the server is given to let go of who has left.
const settleFor = 15 * time.Second

// settled waits until the number of goroutines has stood still for a second, or
// is down to that many, and collects garbage.
func (s *server) settled(ctx context.Context, goroutines int) (Footprint, error) {
	still := 0
	for end := time.Now().Add(settleFor); ; {
		f := s.footprint(ctx)
		last := f.Goroutines
		if err := wait(ctx, time.Second/2); err != nil {
			return f, err
		}
		if f = s.footprint(ctx); f.Goroutines == last {
			still++
		} else {
			still = 0
		}
		if f.Goroutines <= goroutines || goroutines == 0 && still >= 2 || time.Now().After(end) {
			return f, nil
		}
	}
}

// footprint reads it, after a collection.
func (s *server) footprint(ctx context.Context) Footprint {
	http.DefaultClient.CloseIdleConnections() // or they would count
	for range 2 {                             // pools keep what they hold for one
		_ = do(ctx, http.MethodGet, s.admin+"/debug/pprof/heap?gc=1", nil, new([]byte)) // without, it is but less exact
	}
	m := s.scrape(ctx)
	return Footprint{
		RSSBytes: int64(m["process_resident_memory_bytes"]), HeapBytes: int64(m["go_memstats_heap_alloc_bytes"]),
		Goroutines: int(m["go_goroutines"]), FDs: int(m["process_open_fds"]),
	}
}

// by sums a metric up by one of its labels; what is 0 is left out.
func (s series) by(name, metric string) map[string]float64 {
	sums := make(map[string]float64)
	for series, v := range s {
		labels, ok := strings.CutPrefix(series, metric+"{")
		if !ok || v == 0 {
			continue
		}
		for label := range strings.SplitSeq(strings.TrimSuffix(labels, "}"), ",") {
			if value, ok := strings.CutPrefix(label, name+`="`); ok {
				sums[strings.TrimSuffix(value, `"`)] += v
			}
		}
	}
	return sums
}
