package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Requests is how the server answered what was asked of it by REST beside the room.
// Times count from when a request was due, so that none is forgiven because the
// one before it took long.
type Requests struct {
	// Wanted and PerSecond are the rate that was asked for and that at which
	// answers came.
	Wanted    int     `json:"wanted"`
	PerSecond float64 `json:"perSecond"`
	// Failed are those with no answer, or none below 300; Failure is the first.
	Failed  uint64  `json:"failed"`
	Failure string  `json:"failure,omitempty"`
	P50Ms   float64 `json:"p50Ms"`
	P99Ms   float64 `json:"p99Ms"`
	MaxMs   float64 `json:"maxMs"`
}

// askers is how many requests may be under way at once: twenty times what a
// server needs that answers within 2 ms at the highest rate there is.
const askers = 64

// asking is requests under way.
type asking struct {
	room   roomURLs
	people []person
	rate   int
	caller *http.Client
	begun  time.Time
	next   atomic.Int64
	stop   context.CancelFunc
	all    sync.WaitGroup

	mu struct {
		sync.Mutex
		took    []time.Duration
		failed  uint64
		failure error
	}
}

// ask begins to send so many requests a second, nine of ten to the room itself. end
// ends it.
func (m *measurement) ask(ctx context.Context) (*asking, error) {
	if m.cfg.Requests == 0 {
		return nil, nil
	}
	people, err := m.room.people(ctx)
	if err != nil {
		return nil, err
	}
	a := &asking{room: m.room, people: people, rate: m.cfg.Requests, begun: time.Now()}
	a.caller = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: askers}}
	ctx, a.stop = context.WithCancel(ctx)
	for i := range askers {
		a.all.Go(func() { a.run(ctx, i) })
	}
	return a, nil
}

// run sends every request that is its turn.
func (a *asking) run(ctx context.Context, asker int) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		n := a.next.Add(1) - 1
		due := a.begun.Add(time.Duration(n) * time.Second / time.Duration(a.rate))
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := a.one(ctx, n, asker)
		took := time.Since(due)
		if ctx.Err() != nil {
			return
		}
		a.mu.Lock()
		if err != nil {
			a.mu.failed++
			if a.mu.failure == nil {
				a.mu.failure = err
			}
		} else {
			a.mu.took = append(a.mu.took, took)
		}
		a.mu.Unlock()
	}
}

// one is the n-th: what a page of an administrator asks for again and again, and
// what changes something, which goes through the room's control loop.
func (a *asking) one(ctx context.Context, n int64, asker int) error {
	method, url, body := http.MethodGet, a.room.api, ""
	switch n % 10 {
	case 0, 1, 2:
		url += "/participants"
	case 3, 4:
	case 5:
		url += "/layout"
	case 6, 7:
		if len(a.people) > 0 {
			url += "/participants/" + a.people[int(n/10)%len(a.people)].ID
		}
		if n%10 == 7 && len(a.people) > 0 && !a.room.given {
			method, body = http.MethodPatch, `{"send":{"audio":{"gain":0}}}`
		}
	case 8:
		if !a.room.given {
			method, body = http.MethodPatch, fmt.Sprintf(`{"metadata":"%d"}`, n)
		}
	case 9: // made at first, then set anew; it must not end meanwhile
		method, url, body = http.MethodPut, fmt.Sprintf("%s/v1/rooms/bench-%d", a.room.root, asker), `{"emptyTimeout":300}`
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	switch method {
	case http.MethodPatch:
		req.Header.Set("Content-Type", "application/merge-patch+json")
	case http.MethodPut:
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := a.caller.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	switch {
	case err != nil:
		return err
	case res.StatusCode >= 300:
		return fmt.Errorf("%s %s: %s: %.500s", method, url, res.Status, text)
	case !json.Valid(text):
		return fmt.Errorf("%s %s: no JSON: %.100q", method, url, text)
	}
	return nil
}

// end stops asking and says how it was; nil for nothing.
func (a *asking) end() *Requests {
	if a == nil {
		return nil
	}
	a.stop()
	a.all.Wait()
	span := time.Since(a.begun)
	a.caller.CloseIdleConnections()
	a.mu.Lock()
	defer a.mu.Unlock()
	r := &Requests{Wanted: a.rate, PerSecond: float64(len(a.mu.took)) / span.Seconds(), Failed: a.mu.failed}
	if a.mu.failure != nil {
		r.Failure = a.mu.failure.Error()
	}
	if took := a.mu.took; len(took) > 0 {
		slices.Sort(took)
		at := func(q float64) float64 { return ms(took[int(q*float64(len(took)-1))]) }
		r.P50Ms, r.P99Ms, r.MaxMs = at(0.5), at(0.99), at(1)
	}
	return r
}
