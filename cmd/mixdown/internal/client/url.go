package client

import (
	"fmt"
	"net/url"
	"strings"
)

// Role says which way media goes; the URL decides it.
type Role uint8

// The roles, see the API's three ways to join.
const (
	Participant Role = iota // sends and receives
	Publisher               // only sends (WHIP)
	Viewer                  // only receives (WHEP)
)

// Endpoint returns where to post an offer for a URL that a person has: the
// page of a room (/r/ROOM), or one of the three resources that take offers.
// name, when it is not empty, becomes the participant's.
func Endpoint(raw, name string) (endpoint string, role Role, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", 0, fmt.Errorf("URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", 0, fmt.Errorf("URL %q: want http://HOST:PORT/r/ROOM", raw)
	}
	parts := strings.Split(strings.Trim(u.EscapedPath(), "/"), "/")
	switch {
	case len(parts) == 2 && parts[0] == "r":
		u = u.JoinPath("/")
		u.Path, u.RawPath = "", ""
		u = u.JoinPath("v1", "rooms", parts[1], "participants")
	case len(parts) == 4 && parts[0] == "v1" && parts[1] == "rooms" && parts[3] == "participants":
	case len(parts) == 2 && parts[0] == "whip":
		role = Publisher
	case len(parts) == 2 && parts[0] == "whep":
		role = Viewer
	default:
		return "", 0, fmt.Errorf("URL path %q: want /r/ROOM, /v1/rooms/ROOM/participants, /whip/ROOM or /whep/ROOM", u.Path)
	}
	u.Fragment = ""
	if name != "" {
		q := u.Query()
		q.Set("name", name)
		u.RawQuery = q.Encode()
	}
	return u.String(), role, nil
}

// invitation is the token in a URL's fragment, "" for none.
func invitation(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	values, err := url.ParseQuery(u.Fragment)
	if err != nil {
		return ""
	}
	return values.Get("token")
}

// replacing adds the session whose place is to be taken.
func replacing(endpoint, session string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", fmt.Errorf("URL: %w", err)
	}
	q := u.Query()
	q.Set("replaces", session)
	u.RawQuery = q.Encode()
	return u.String(), nil
}
