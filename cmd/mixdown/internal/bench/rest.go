package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	personal   bool   // participants have pictures of their own
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
		Canvas          canvas          `json:"canvas"`
		Layout          json.RawMessage `json:"layout,omitempty"`
		MaxParticipants int             `json:"maxParticipants"`
	}{canvas(cfg.Canvas), cfg.Arrangement.json(), max(50, cfg.Participants+cfg.Viewers+beaconCount+1)})
	if err != nil {
		return err
	}
	return do(ctx, http.MethodPut, r.api, body, nil)
}

// layout asks what the shared canvas shows where.
func (r roomURLs) layout(ctx context.Context) (tiles, error) { return r.layoutAt(ctx, r.api+"/layout") }

// layoutsOf asks it of the canvases that some members have of their own; who has
// none is not in the answer.
func (r roomURLs) layoutsOf(ctx context.Context, members []*member) (map[*member]tiles, error) {
	people, err := r.people(ctx)
	if err != nil {
		return nil, err
	}
	own := make(map[*member]tiles)
	for _, m := range members {
		for _, p := range people {
			if m.role == viewer || p.Name != m.name() {
				continue
			}
			t, err := r.layoutAt(ctx, r.api+"/participants/"+p.ID+"/layout")
			if err == nil {
				own[m] = t
			} else if !errors.Is(err, errNotFound) {
				return nil, err
			}
		}
	}
	return own, nil
}

// person is a participant by the server's account.
type person struct {
	ID, Name, Role string
	Receive        struct{ Tier string }
}

// people lists who is in the room.
func (r roomURLs) people(ctx context.Context) (all []person, err error) {
	token := ""
	for {
		var page struct {
			Items         []person
			NextPageToken string
		}
		if err := do(ctx, http.MethodGet, r.api+"/participants?limit=1000&pageToken="+url.QueryEscape(token), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if token = page.NextPageToken; token == "" || len(page.Items) == 0 {
			return all, nil
		}
	}
}

// topTier returns the largest tier at which the room's picture is sent.
func (r roomURLs) topTier(ctx context.Context) (string, error) {
	var room struct{ Tiers []string }
	if err := do(ctx, http.MethodGet, r.api, nil, &room); err != nil {
		return "", err
	}
	if len(room.Tiers) == 0 {
		return "", fmt.Errorf("%s has no tiers", r.api)
	}
	return room.Tiers[0], nil
}

func (r roomURLs) layoutAt(ctx context.Context, url string) (tiles, error) {
	var l struct {
		Canvas struct {
			Width, Height, FPS int
		}
		Shown []struct {
			Source, Name        string
			X, Y, Width, Height int
		}
	}
	if err := do(ctx, http.MethodGet, url, nil, &l); err != nil {
		return tiles{}, err
	}
	t := tiles{canvas: layout.Canvas(l.Canvas), by: make(map[string]layout.Rect)}
	for _, tile := range l.Shown {
		if tile.Source == "camera" {
			t.by[tile.Name] = layout.Rect{X: tile.X, Y: tile.Y, W: tile.Width, H: tile.Height}
		}
	}
	if t.canvas.Width <= 0 || t.canvas.Height <= 0 {
		return tiles{}, fmt.Errorf("%s has no canvas", url)
	}
	return t, nil
}

// maxReply bounds what a server may answer, maxFile what of a file is looked at.
const maxReply, maxFile = 4 << 20, 256 << 20

// errNotFound is 404.
var errNotFound = errors.New("not found")

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
	if res.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%s %s: %w: %s", method, url, errNotFound, bytes.TrimSpace(text))
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
