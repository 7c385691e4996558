package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"mixdown/codec"
)

// Resizer is a [Source] that can send less than it has. The client tells it what
// the server asks for; where the server does not want it at all, the client
// itself sends nothing.
type Resizer interface {
	Source
	// Limit says what to send from one of the next units on, which then is a key
	// frame where the size changes. It does not block.
	Limit(codec.UplinkTarget)
}

const (
	// maxEventBytes of one event; that of a snapshot of a large room is the
	// longest.
	maxEventBytes = 4 << 20
	// eventsAgain is when a stream of events that broke off is opened again.
	eventsAgain = 500 * time.Millisecond
)

// errNoEvents says that the session has no events for us: it is over, or the
// server does not have any.
var errNoEvents = errors.New("no events")

// obey follows what the server asks to be sent until ctx is done: one request,
// whose answer does not end. It is made again when it breaks off.
func (c *Client) obey(ctx context.Context, session string) {
	patient := *c.cfg.HTTP
	patient.Timeout = 0
	for {
		err := c.followEvents(ctx, &patient, session+"/events")
		if ctx.Err() != nil || errors.Is(err, errNoEvents) {
			return
		}
		c.cfg.Log.Debug("events broke off", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(eventsAgain):
		}
	}
}

// followEvents reads one stream of events to its end.
func (c *Client) followEvents(ctx context.Context, h *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return errNoEvents
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := h.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if code := res.StatusCode; code != http.StatusOK && code < 500 && code != http.StatusTooManyRequests {
		return errNoEvents
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxEventBytes)
	for lines.Scan() {
		if source, target, ok := parseUplink(lines.Bytes()); ok && source == codec.Camera {
			c.video.limit(target)
		}
	}
	return lines.Err()
}

// uplinkType is how the events that count are spelt; others are not parsed.
var uplinkType = []byte(`"type":"uplink"`)

// parseUplink reads one line of a stream of events (HTML Living Standard,
// section 9.2). ok is false when it is not about what to send.
func parseUplink(line []byte) (source codec.SourceID, t codec.UplinkTarget, ok bool) {
	data, found := bytes.CutPrefix(line, []byte("data:"))
	if !found || !bytes.Contains(data, uplinkType) {
		return 0, t, false
	}
	var e struct {
		Type string
		Data struct {
			Source                      string
			Width, Height, FPS, Bitrate int
			Paused                      bool
		}
	}
	if json.Unmarshal(data, &e) != nil || e.Type != "uplink" {
		return 0, t, false
	}
	for source = range codec.NumSources {
		if e.Data.Source == source.String() {
			// Nonsense counts as unbounded.
			t = codec.UplinkTarget{
				Width: max(e.Data.Width, 0), Height: max(e.Data.Height, 0), FPS: max(e.Data.FPS, 0),
				BitrateBps: max(e.Data.Bitrate, 0), Paused: e.Data.Paused,
			}
			return source, t, true
		}
	}
	return 0, t, false
}

// limit carries out what the server asks of the picture.
func (t *track) limit(target codec.UplinkTarget) {
	t.mu.Lock()
	resumed := t.mu.held && !target.Paused
	t.mu.held = target.Paused
	t.mu.needKey = t.mu.needKey || target.Paused
	t.mu.stats.Target = target
	t.mu.Unlock()
	if r, ok := t.source.(Resizer); ok {
		r.Limit(target)
	}
	if resumed {
		t.source.RequestKeyframe()
	}
}

// withhold reports whether a picture is not to be sent: nobody sees it, or it
// follows such and cannot be decoded. The caller holds mu.
func (t *track) withhold(key bool) bool {
	m := &t.mu
	if m.held {
		m.stats.Withheld++
		return true
	}
	if m.needKey && !key {
		m.stats.Withheld++
		return true
	}
	m.needKey = false
	return false
}
