package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"mixdown/api/token"
	"mixdown/mixer"
)

// Action is what a route does, as far as permission goes.
type Action uint8

// The actions.
const (
	// Public is for what is the same for everybody: documents, and OPTIONS.
	Public Action = iota
	// ListRooms names the rooms that exist.
	ListRooms
	// CreateRoom makes a room.
	CreateRoom
	// ReadRoom looks at one room, its layout and its participants, or is told
	// of those of all.
	ReadRoom
	// AdminRoom changes and deletes a room, and mutes and removes participants.
	AdminRoom
	// Join enters a room as Grant.Role.
	Join
	// Record starts, pauses and stops recordings.
	Record
	// ReadRecordings lists, downloads and deletes what was recorded.
	ReadRecordings
	// Arrange gives somebody a picture of his own.
	Arrange
	// MakeToken makes a token of one's own: a narrower one, or, for those who
	// moderate, an invitation.
	MakeToken
	// UseSession uses a signalling session. Its secret is in the path and
	// suffices; an Authorizer may still refuse the page that asks.
	UseSession
)

// String returns the action's name.
func (a Action) String() string {
	return [...]string{"public", "list-rooms", "create-room", "read-room", "admin-room", "join", "record", "recordings", "arrange", "make-token", "use-session"}[a]
}

// Grant is what a request needs to be let through.
type Grant struct {
	Action Action
	// Room is what the path says, not checked for existence; empty where the
	// action concerns no room or all.
	Room mixer.RoomID
	// Role is what Join asks for.
	Role mixer.Role
	// Owner is the identity of whom Arrange is for; empty is somebody without one.
	Owner string
	// Scope is by which tokens in URLs this can be done (token.Scopes); empty is
	// by none.
	Scope string
	// Find, when it is not nil, sets Room or Owner, where those must be looked up.
	// That is done only for those who are known, lest others measure what exists.
	Find func(*Grant)
	// Session, when it is not nil, returns who is in the session by whose secret
	// Join comes back: that suffices for those whose tokens have run out.
	Session func() (Identity, bool)
}

// Identity is who asks.
type Identity struct {
	// Subject is the participant's identity in the room; it may be empty.
	Subject string
	// Name, when it is set, wins over the name that the client asks for.
	Name string
	// MayCreate lets a join make the room.
	MayCreate bool
	// Moderator is let into the room whatever its lock, its PIN and its waiting
	// room say.
	Moderator bool
	// Audience has no tile and is not heard until somebody makes a speaker of it;
	// Hidden never, and nobody is told that it is there.
	Audience, Hidden bool
	// Mute is what is not taken from the client, or not given to it, as long as it
	// stays.
	Mute Silence
	// Limits bound what the client is sent, beside what it asks for itself.
	Limits mixer.Limits

	// What tokens are made with; nil without keys.
	claims *token.Claims
	keys   *token.Keyring
	now    func() time.Time
	// Where it was let in, and what ends that; nil is nothing.
	room    mixer.RoomID
	revoked *Revocations
}

// Silence is what somebody may not do in a room, whatever its moderators say.
type Silence struct{ Microphone, Camera, Screen, Listening, Writing bool }

// Authorizer is the one step that every route passes. It returns a
// *mixer.Error of kind Unauthenticated or Permission, or a *Problem, to refuse.
// It is called by many goroutines at once and must not read the body.
type Authorizer interface {
	Authorize(*http.Request, Grant) (Identity, error)
}

// Keyless lets everybody do everything who is on this machine and is not a
// foreign web page. It is for a server that listens on loopback only:
//
//   - the Host header must be a loopback name, which defeats DNS rebinding;
//   - an Origin must be the server's own, or one of Origins, so that pages of
//     other sites cannot post; "null" is refused;
//   - Fetch Metadata, where the browser sends it, must not say cross-site,
//     except when somebody follows a link.
type Keyless struct {
	// Origins are further pages that may use the server, as
	// "http://localhost:5173".
	Origins []string
}

// Authorize implements [Authorizer].
func (k Keyless) Authorize(r *http.Request, _ Grant) (Identity, error) {
	if !LoopbackHost(r.Host) {
		return Identity{}, foreignPage.problem(fmt.Sprintf("the Host header is %q: use localhost or 127.0.0.1, or make a key", r.Host))
	}
	origins := r.Header.Values("Origin")
	for _, o := range origins {
		if !sameOrigin(r, o) && !slices.Contains(k.Origins, o) {
			return Identity{}, foreignPage.problem(fmt.Sprintf("the page comes from %q", o))
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		link := r.Header.Get("Sec-Fetch-Mode") == "navigate" && (r.Method == http.MethodGet || r.Method == http.MethodHead)
		if len(origins) == 0 && !link {
			return Identity{}, foreignPage.problem("the page is another site's")
		}
	}
	return Identity{MayCreate: true}, nil
}

// LoopbackHost reports whether a Host header names this machine in a way that
// no DNS server can answer.
func LoopbackHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	} else {
		name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}

// sameOrigin reports whether an Origin header names the server that the
// request went to. The scheme is not compared: a server behind a TLS proxy
// does not know its own.
func sameOrigin(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return false
	}
	return strings.EqualFold(u.Host, r.Host)
}

// clientAddr is the address that a request came from, without port and zone.
func clientAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// limitKey is what limits per address count by: IPv6 clients own a /64.
func limitKey(r *http.Request) (string, error) {
	return addressKeyOf(clientAddr(r)), nil
}

func addressKeyOf(addr netip.Addr) string {
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}
