package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"mixdown/cmd/mixdown/internal/client"
)

const (
	// Pauses before joining anew: doubled each time, and half of one more at
	// random, so that those whom a server has lost do not come back together.
	firstPause, longestPause = 500 * time.Millisecond, 30 * time.Second
	// silenceAllowed is how long the server may be silent before we join anew: less
	// than the 8 s after which it gives our place away. Before, the client tries
	// another ICE session.
	silenceAllowed = 6 * time.Second
)

// stay keeps a client in its room: when the connection ends by itself it joins
// again, as the same participant where the server still knows it.
type stay struct {
	config client.Config
	// again is off when the first end is the last.
	again bool
	// say gets a line about each attempt.
	say io.Writer
	// rejoined is called before each attempt but the first, when no callback of
	// the client's runs.
	rejoined func()

	client   atomic.Pointer[client.Client] // the latest; never nil
	attempts atomic.Int64
}

// newStay validates the configuration.
func newStay(config client.Config, again bool, say io.Writer, rejoined func()) (*stay, error) {
	config.KeepPlace = again
	if again {
		config.Restart, config.ConsentTimeout = true, silenceAllowed
	}
	s := &stay{config: config, again: again, say: say, rejoined: rejoined}
	first, err := client.New(config)
	s.client.Store(first)
	return s, err
}

// run blocks until ctx is done, which is no error, or there is no sense in going
// on: the server does not want this client, a source has failed, or it has never
// been connected.
func (s *stay) run(ctx context.Context) error {
	pause, connected := firstPause, false
	for {
		c := s.client.Load()
		err := c.Run(ctx)
		if ctx.Err() != nil || err == nil {
			return err
		}
		if c.Joined() > 0 {
			pause, connected = firstPause, true
			s.config.Replaces = c.Session()
		}
		if !s.again || !connected || final(err) {
			return err
		}
		var refusal *client.Refusal
		if errors.As(err, &refusal) {
			pause = max(pause, min(refusal.RetryAfter, longestPause))
		}
		wait := pause + rand.N(pause/2)
		fmt.Fprintf(s.say, "%v; joining again in %.1f s\n", err, wait.Seconds())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		pause = min(2*pause, longestPause)
		s.rejoined()
		if s.config.Video != nil {
			s.config.Video.RequestKeyframe() // the server has nothing to go on from
		}
		if c, err = client.New(s.config); err != nil {
			return err
		}
		s.attempts.Add(1)
		s.client.Store(c)
	}
}

// final reports whether joining again would end the same way.
func final(err error) bool {
	var refusal *client.Refusal
	if !errors.As(err, &refusal) {
		return errors.Is(err, client.ErrSource)
	}
	switch refusal.Status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return false // 409: the room is full just now
	}
	return refusal.Status < 500
}
