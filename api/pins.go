package api

import (
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"mixdown/mixer"
)

// pinHeader carries a room's PIN in a request that enters the room. It is no
// parameter of the query, since addresses end up in logs of proxies and in
// histories of browsers.
const pinHeader = "Room-Pin"

// A PIN has few digits: what keeps it from being guessed is how seldom one may
// try.
const (
	pinTriesPerWindow = 5
	pinWindow         = time.Minute
	// maxPinKeys bounds what is remembered; beyond it any one is forgotten. Who
	// has that many addresses has that many times five tries anyway.
	maxPinKeys = 16 << 10
)

// pinTries counts wrong PINs by address and room. Safe for concurrent use.
type pinTries struct {
	now func() time.Time

	mu struct {
		sync.Mutex
		byKey map[pinKey]pinCount
	}
}

type pinKey struct {
	address string // limitKey
	room    mixer.RoomID
}

type pinCount struct {
	tries int
	began time.Time
}

func newPinTries() *pinTries {
	t := &pinTries{now: time.Now}
	t.mu.byKey = make(map[pinKey]pinCount)
	return t
}

// take counts a try before it is made, so that many at one time are no more than
// one after the other, or refuses it.
func (t *pinTries) take(k pinKey) error {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	c, known := t.mu.byKey[k]
	if !known || now.Sub(c.began) >= pinWindow {
		if !known {
			t.makeRoom(now)
		}
		c = pinCount{began: now}
	}
	if c.tries >= pinTriesPerWindow {
		wait := int((pinWindow - now.Sub(c.began)).Seconds()) + 1
		return tooManyPins.problem("wait before the next try").with("Retry-After", strconv.Itoa(wait))
	}
	c.tries++
	t.mu.byKey[k] = c
	return nil
}

// makeRoom forgets what is over, and any one where there are too many. The caller
// holds mu.
func (t *pinTries) makeRoom(now time.Time) {
	if len(t.mu.byKey) < maxPinKeys {
		return
	}
	for k, c := range t.mu.byKey {
		if now.Sub(c.began) >= pinWindow {
			delete(t.mu.byKey, k)
		}
	}
	for k := range t.mu.byKey {
		if len(t.mu.byKey) < maxPinKeys {
			return
		}
		delete(t.mu.byKey, k)
	}
}

// give takes a try back that was not wrong.
func (t *pinTries) give(k pinKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.mu.byKey[k]
	if c.tries--; c.tries <= 0 {
		delete(t.mu.byKey, k)
	} else {
		t.mu.byKey[k] = c
	}
}

// try has somebody enter who may have brought a PIN, and counts it where that was
// wrong.
func (t *pinTries) try(k pinKey, pin mixer.PIN, enter func() error) error {
	if pin == "" {
		return enter() // which is no try
	}
	if err := t.take(k); err != nil {
		return err
	}
	err := enter()
	if !errors.Is(err, mixer.ErrPIN) {
		t.give(k)
	}
	return err
}

// pinOf is the PIN that a request brings; "" is none.
func pinOf(r *http.Request) mixer.PIN { return mixer.PIN(r.Header.Get(pinHeader)) }
