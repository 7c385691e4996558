package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"mixdown/mixer/layout"
)

// roomURLs is where the room that is measured is to be found.
type roomURLs struct {
	join, view string // for participants and for viewers
	api        string // the room as a resource
	root       string // the server
	given      bool   // the room was named, so it is its owner's
}

// urlsOf takes a server, or a room's page on it.
func urlsOf(server string) (roomURLs, error) {
	u, err := url.Parse(server)
	if err != nil {
		return roomURLs{}, fmt.Errorf("server URL: %w", err)
	}
	room, given := strings.CutPrefix(strings.TrimSuffix(u.EscapedPath(), "/"), "/r/")
	if !given {
		if room != "" {
			return roomURLs{}, fmt.Errorf("server URL %q: want http://HOST:PORT or http://HOST:PORT/r/ROOM", server)
		}
		room = "bench"
	}
	root := u.Scheme + "://" + u.Host
	return roomURLs{join: root + "/r/" + room, view: root + "/whep/" + room, api: root + "/v1/rooms/" + room, root: root, given: given}, nil
}

// makeRoom makes the room as cfg says. A room that was named is left as it is.
func (r roomURLs) makeRoom(ctx context.Context, cfg Config) error {
	if r.given {
		return nil
	}
	type canvas struct {
		Width  int `json:"width"`
		Height int `json:"height"`
		FPS    int `json:"fps"`
	}
	body, err := json.Marshal(struct {
		Canvas          canvas `json:"canvas"`
		MaxParticipants int    `json:"maxParticipants"`
	}{canvas(cfg.Canvas), max(50, cfg.Participants+cfg.Viewers+beaconCount+1)})
	if err != nil {
		return err
	}
	return do(ctx, http.MethodPut, r.api, body, nil)
}

// layout asks what the canvas shows where.
func (r roomURLs) layout(ctx context.Context) (tiles, error) {
	var l struct {
		Canvas struct {
			Width, Height, FPS int
		}
		Shown []struct {
			Source, Name        string
			X, Y, Width, Height int
		}
	}
	if err := do(ctx, http.MethodGet, r.api+"/layout", nil, &l); err != nil {
		return tiles{}, err
	}
	t := tiles{canvas: layout.Canvas(l.Canvas), by: make(map[string]layout.Rect)}
	for _, tile := range l.Shown {
		if tile.Source == "camera" {
			t.by[tile.Name] = layout.Rect{X: tile.X, Y: tile.Y, W: tile.Width, H: tile.Height}
		}
	}
	if t.canvas.Width <= 0 || t.canvas.Height <= 0 {
		return tiles{}, fmt.Errorf("%s/layout has no canvas", r.api)
	}
	return t, nil
}

// maxReply bounds what a server may answer, maxFile what of a file is looked at.
const maxReply, maxFile = 4 << 20, 256 << 20

// do sends one request; what comes back goes to reply, as it is if that is a
// *[]byte, unless it is nil.
func do(ctx context.Context, method, url string, body []byte, reply any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	most := int64(maxReply)
	file, raw := reply.(*[]byte)
	if raw {
		most = maxFile
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, url, res.Status, bytes.TrimSpace(text))
	}
	if raw {
		*file = text
		return nil
	}
	if reply == nil {
		return nil
	}
	if err := json.Unmarshal(text, reply); err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	return nil
}
