package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"mixdown/api/outside"
	"mixdown/api/store"
)

// endpoint is one receiver: its queue, and the workers who tell it.
type endpoint struct {
	s       *Sender
	name    string
	cfg     atomic.Pointer[Endpoint]
	lanes   *lanes
	closed  chan struct{} // it is not configured any more
	failing atomic.Bool   // as far as the log knows
	counts  struct {
		delivered, dead, dropped atomic.Uint64
		failed                   [numFailures]atomic.Uint64
	}
}

// failure is why an attempt was in vain.
type failure uint8

const (
	unreachable failure = iota // no connection, or it broke
	slow                       // no answer in time
	inside                     // the address is one that we do not go to
	refused                    // a status other than 2xx
	numFailures
)

// String returns what metrics call it.
func (f failure) String() string {
	return [numFailures]string{"unreachable", "timeout", "inside", "status"}[f]
}

func newEndpoint(s *Sender, cfg Endpoint) *endpoint {
	e := &endpoint{s: s, name: cfg.Name, lanes: newLanes(), closed: make(chan struct{})}
	e.cfg.Store(&cfg)
	return e
}

// start begins its workers, which the Run waits for.
func (e *endpoint) start(r *running) {
	for range workers {
		r.wg.Go(func() { e.work(r) })
	}
}

// end makes its workers end, without waiting for them, and returns the keys of
// what was not sent.
func (e *endpoint) end() []string {
	close(e.closed)
	return e.keys(e.lanes.clear())
}

func (e *endpoint) keys(numbers []uint64) []string {
	keys := make([]string, len(numbers))
	for i, n := range numbers {
		keys[i] = keyOf(e.name, n)
	}
	return keys
}

// work sends until the Run is to end and nothing is ready.
func (e *endpoint) work(r *running) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for r.send.Err() == nil {
		l, wait := e.lanes.next(time.Now())
		if l != nil {
			e.deliver(r.send, l)
			continue
		}
		if wait < 0 {
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-r.stop.Done():
			return
		case <-e.closed:
			return
		case <-e.lanes.wake:
		case <-timer.C:
		}
	}
}

// deliver sends the first event of a lane, and gives the lane back.
func (e *endpoint) deliver(ctx context.Context, l *lane) {
	log := e.s.cfg.Log
	key := keyOf(e.name, e.lanes.head(l).number)
	value, found, err := e.s.cfg.Store.Get(key)
	if err != nil {
		if !errors.Is(err, store.ErrClosed) {
			log.Error("a webhook's queue cannot be read", "webhook", e.name, "error", err)
		}
		e.lanes.wait(l, time.Now().Add(longestPause/60))
		return
	}
	ev, err := readStored(value)
	if !found || err != nil { // somebody else has been at the store
		log.Error("an event of a webhook's queue is damaged", "webhook", e.name, "key", key)
		e.counts.dead.Add(1)
		e.done(l, key)
		return
	}
	answer := e.send(ctx, &ev)
	switch {
	case answer.err == nil:
		if e.failing.CompareAndSwap(true, false) {
			log.Info("a webhook is told of events again", "webhook", e.name)
		}
		e.counts.delivered.Add(1)
		e.done(l, key)
		return
	case ctx.Err() != nil: // not the endpoint's fault: next time
		e.lanes.wait(l, time.Now().Add(longestPause))
		return
	}
	e.counts.failed[answer.why].Add(1)
	ev.Attempts++
	if e.failing.CompareAndSwap(false, true) {
		log.Warn("a webhook takes no events", "webhook", e.name, "error", answer.err)
	}
	switch {
	case answer.status == http.StatusGone:
		log.Error("a webhook wants no events any more (410): it is told none until it is configured anew", "webhook", e.name)
		keys := e.keys(e.lanes.clear())
		e.counts.dead.Add(uint64(len(keys)))
		if err := e.s.forget(keys); err != nil {
			log.Error("a webhook's queue cannot be written", "webhook", e.name, "error", err)
		}
	case ev.Attempts >= e.s.cfg.Attempts:
		log.Error("an event is given up", "webhook", e.name, "event", ev.ID, "type", ev.Type, "room", ev.Room,
			"attempts", ev.Attempts, "error", answer.err)
		e.counts.dead.Add(1)
		e.done(l, key)
	default:
		e.again(l, key, &ev, answer)
	}
}

// done forgets the first event of a lane.
func (e *endpoint) done(l *lane, key string) {
	// When this fails the event is sent once more after a restart, which its id tells.
	if err := e.s.cfg.Store.Delete(key); err != nil {
		e.s.cfg.Log.Error("a webhook's queue cannot be written", "webhook", e.name, "error", err)
	}
	e.lanes.pop(l)
}

// again has the first event of a lane sent later. How often it was sent is kept,
// so that no restart lets it live for ever.
func (e *endpoint) again(l *lane, key string, ev *stored, a answer) {
	value, err := ev.bytes()
	if err == nil {
		// It may have been forgotten meanwhile, for good.
		err = e.s.cfg.Store.Update(func(tx *store.Tx) error {
			if _, there := tx.Get(key); !there {
				return nil
			}
			return tx.Put(key, value)
		})
	}
	if err != nil {
		e.s.cfg.Log.Error("a webhook's queue cannot be written", "webhook", e.name, "error", err)
	}
	pause := max(e.s.pause(ev.Attempts), a.retryAfter)
	due := time.Now().Add(pause)
	if a.retryAfter > 0 { // it means all of them
		e.lanes.pause(due)
	}
	e.lanes.wait(l, due)
}

// answer is what came of an attempt.
type answer struct {
	err        error // nil: taken
	why        failure
	status     int           // 0: none came
	retryAfter time.Duration // 0: it does not say
}

// send makes one attempt.
func (e *endpoint) send(ctx context.Context, ev *stored) answer {
	cfg, now := e.cfg.Load(), time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, cfg.URL, bytes.NewReader(ev.body))
	if err != nil {
		return answer{err: errors.New("the request cannot be made"), why: unreachable}
	}
	signatures := make([]string, len(cfg.Secrets))
	for i, s := range cfg.Secrets {
		signatures[i] = s.Sign(ev.ID, now, ev.body)
	}
	req.Header = http.Header{
		"Content-Type":      {"application/json"},
		"User-Agent":        {e.s.cfg.Agent},
		"Webhook-Id":        {ev.ID},
		"Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)},
		"Webhook-Signature": {strings.Join(signatures, " ")},
	}
	resp, err := e.s.cfg.Client.Do(req)
	if err != nil {
		return failed(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	// What is said in words is of no interest, but a connection whose answer
	// was read can be used again. The client bounds it.
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return answer{status: resp.StatusCode}
	}
	return answer{
		err: fmt.Errorf("status %d", resp.StatusCode), why: refused, status: resp.StatusCode,
		retryAfter: retryAfter(resp, now),
	}
}

// failed says why there was no answer. The error that it gives does not tell the
// URL, which may hold a password.
func failed(err error) answer {
	if of, ok := errors.AsType[*url.Error](err); ok {
		err = of.Err
	}
	a := answer{err: err, why: unreachable}
	var late interface{ Timeout() bool }
	switch {
	case errors.Is(err, outside.ErrInside):
		a.why = inside
	case errors.As(err, &late) && late.Timeout():
		a.why = slow
	}
	return a
}

// retryAfter reads the header (RFC 9110 section 10.2.3) of the answers that mean
// it; what makes no sense says nothing.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
	default:
		return 0
	}
	text := resp.Header.Get("Retry-After")
	var d time.Duration
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return max(0, min(d, longestPause))
}
