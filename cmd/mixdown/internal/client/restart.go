package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pion/sdp/v3"

	"mixdown/codec"
)

const (
	// fragmentType is that of what is said of ICE after the offer (RFC 8840).
	fragmentType = "application/trickle-ice-sdpfrag"
	// reachPause is between two tries to reach a server, and reachWithin for how
	// long one takes.
	reachPause  = 500 * time.Millisecond
	reachWithin = 3 * time.Second
)

// errSessionOver says that the server knows the session no more.
var errSessionOver = errors.New("the session is over")

// reach begins ICE sessions until one finds a path, the server says that it is
// no use, or ConsentTimeout has passed.
func (c *Client) reach(ctx context.Context, session string) (err error) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for until := codec.Now() + max(c.cfg.ConsentTimeout-c.cfg.RestartAfter, reachPause); codec.Now() < until; {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err = c.restart(ctx, session); err == nil || errors.Is(err, errSessionOver) {
			return err
		}
		c.cfg.Log.Debug("restarting ICE", "error", err)
		pause.Reset(reachPause)
	}
	return err
}

// restart begins another ICE session for the same media (RFC 8445 section 9), by
// PATCH on the session (RFC 9725 section 4.3), and finds a path.
func (c *Client) restart(parent context.Context, session string) error {
	ctx, cancel := context.WithTimeoutCause(parent, reachWithin, fmt.Errorf("%w within %v", ErrNoConnection, reachWithin))
	defer cancel()
	next := newICE()
	text, err := c.patch(ctx, session, fmt.Sprintf("a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", next.local.ufrag, next.local.pwd))
	if err != nil {
		return err
	}
	if err := next.readFragment(text); err != nil {
		return err
	}
	c.link.ice.Store(next)
	c.restarts.Add(1)
	return c.link.connect(ctx)
}

// patch sends a fragment and returns the server's.
func (c *Client) patch(ctx context.Context, session, fragment string) (string, error) {
	// Connections of the old network would be waited for.
	c.cfg.HTTP.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, session, strings.NewReader(fragment))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", fragmentType)
	req.Header.Set("If-Match", "*")
	res, err := c.cfg.HTTP.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
	switch {
	case res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone:
		return "", fmt.Errorf("%w: %s", errSessionOver, strings.TrimSpace(string(body)))
	case res.StatusCode != http.StatusOK:
		return "", &Refusal{Status: res.StatusCode, Text: strings.TrimSpace(string(body))}
	}
	return string(body), err
}

// readFragment takes the server's credentials and candidates.
func (i *ice) readFragment(text string) error {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch key {
		case "a=ice-ufrag":
			i.remote.ufrag = value
		case "a=ice-pwd":
			i.remote.pwd = value
		case "a=candidate":
			c, ok := readCandidate(sdp.NewAttribute("candidate", value))
			if ok && len(i.candidates) < maxCandidates && !slices.Contains(i.candidates, c) {
				i.candidates = append(i.candidates, c)
			}
		}
	}
	if i.remote.ufrag == "" || i.remote.pwd == "" || len(i.candidates) == 0 {
		return badAnswer("no ice-ufrag, no ice-pwd or no UDP candidate in the fragment")
	}
	return nil
}
