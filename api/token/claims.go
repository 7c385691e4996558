package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// Claims are what a token says.
type Claims struct {
	// Key is the id of the key that signs it ("iss").
	Key string
	// Subject is who holds it ("sub"): the identity in rooms. Empty is nobody in
	// particular, as of an invitation for many.
	Subject string
	// Name is shown under the tile; a client cannot choose another one.
	Name string
	// Issued is when the token was made ("iat", or "nbf" where that is missing, as
	// LiveKit's SDKs have it). Mint fills it in.
	Issued time.Time
	// Expires is when the token ends ("exp").
	Expires time.Time
	Video   Video
	Mix     Mix
}

// AnyRoom as Video.Room is all rooms. No room has such a name.
const AnyRoom = "*"

// Video are LiveKit's grants, as far as they concern mixdown.
type Video struct {
	RoomCreate bool `json:"roomCreate,omitempty"`
	RoomList   bool `json:"roomList,omitempty"`
	RoomRecord bool `json:"roomRecord,omitempty"`
	RoomAdmin  bool `json:"roomAdmin,omitempty"`
	RoomJoin   bool `json:"roomJoin,omitempty"`
	// Room is where the grants hold; [AnyRoom] is everywhere.
	Room string `json:"room,omitempty"`
	// nil is true.
	CanPublish     *bool `json:"canPublish,omitempty"`
	CanSubscribe   *bool `json:"canSubscribe,omitempty"`
	CanPublishData *bool `json:"canPublishData,omitempty"`
	// CanPublishSources, when it is not empty, is all that may be sent, whatever
	// CanPublish says: camera, microphone, screen_share, screen_share_audio.
	CanPublishSources []string `json:"canPublishSources,omitempty"`
	Hidden            bool     `json:"hidden,omitempty"`
}

// Mix are mixdown's own grants, and restrictions.
type Mix struct {
	// Role is "host" (includes roomAdmin), "speaker" or "viewer" (may send
	// nothing); empty is what the other claims say.
	Role string `json:"role,omitempty"`
	// MaxTier bounds the picture that is sent to the holder, as "640x360@30".
	MaxTier string `json:"maxTier,omitempty"`
	// PersonalCanvas lets the holder have a picture of its own.
	PersonalCanvas bool `json:"personalCanvas,omitempty"`
	// Recordings lets the holder list, download and delete what was recorded.
	Recordings bool `json:"recordings,omitempty"`
	// Scope makes it a token for URLs, good for one thing: see [Scopes].
	Scope string `json:"scope,omitempty"`
}

// The roles.
const (
	Host    = "host"
	Speaker = "speaker"
	Viewer  = "viewer"
)

// What tokens in URLs are for.
const (
	ScopeEvents     = "events"     // .../events
	ScopeLive       = "live"       // live.webm, live.ogg
	ScopeSnapshot   = "snapshot"   // snapshot.jpg
	ScopeRecordings = "recordings" // .../media
)

// Scopes lists what tokens in URLs are for.
var Scopes = []string{ScopeEvents, ScopeLive, ScopeSnapshot, ScopeRecordings}

// UnmarshalJSON refuses what it does not know: it could be a restriction.
func (m *Mix) UnmarshalJSON(b []byte) error {
	type plain Mix
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode((*plain)(m))
}

// MayAdmin reports whether the holder moderates Video.Room.
func (c *Claims) MayAdmin() bool { return c.Video.RoomAdmin || c.Mix.Role == Host }

// MaySubscribe reports whether the holder may hear and see.
func (c *Claims) MaySubscribe() bool { return isTrue(c.Video.CanSubscribe) }

// MayWrite reports whether the holder may write to others.
func (c *Claims) MayWrite() bool { return isTrue(c.Video.CanPublishData) }

// MaySend reports whether the holder may send a source: camera, microphone,
// screen_share or screen_share_audio.
func (c *Claims) MaySend(source string) bool {
	switch {
	case c.Mix.Role == Viewer:
		return false
	case len(c.Video.CanPublishSources) > 0:
		return slices.Contains(c.Video.CanPublishSources, source)
	}
	return isTrue(c.Video.CanPublish)
}

func isTrue(b *bool) bool { return b == nil || *b }

const (
	maxSubject = 256 // bytes
	maxRoom    = 64
)

// check reports every fault of what a token says, its times aside.
func (c *Claims) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, s := range []struct{ name, value string }{{"sub", c.Subject}, {"name", c.Name}} {
		if len(s.value) > maxSubject || !utf8.ValidString(s.value) {
			fault("%s: want at most %d bytes of UTF-8", s.name, maxSubject)
		}
	}
	if strings.ContainsFunc(c.Subject, unicode.IsControl) {
		fault("sub: has control characters")
	}
	if len(c.Video.Room) > maxRoom {
		fault("video.room: want at most %d bytes", maxRoom)
	}
	if !slices.Contains([]string{"", Host, Speaker, Viewer}, c.Mix.Role) {
		fault("mix.role %.32q: want host, speaker or viewer", c.Mix.Role)
	}
	if c.Mix.Scope != "" && !slices.Contains(Scopes, c.Mix.Scope) {
		fault("mix.scope %.32q: want one of %s", c.Mix.Scope, strings.Join(Scopes, ", "))
	}
	return errors.Join(faults...)
}

// wire is a token's payload. What is not looked at before the signature was
// checked stays as it came.
type wire struct {
	jwt.RegisteredClaims
	Name  string          `json:"name,omitempty"`
	Video json.RawMessage `json:"video,omitempty"`
	Mix   json.RawMessage `json:"mix,omitempty"`
}

func (c *Claims) wire() (*wire, error) {
	w := &wire{Name: c.Name, RegisteredClaims: jwt.RegisteredClaims{
		Issuer: c.Key, Subject: c.Subject,
		IssuedAt: jwt.NewNumericDate(c.Issued), ExpiresAt: jwt.NewNumericDate(c.Expires),
	}}
	var err error
	if w.Video, err = json.Marshal(c.Video); err == nil && c.Mix != (Mix{}) {
		w.Mix, err = json.Marshal(c.Mix)
	}
	return w, err
}

func (w *wire) claims() (Claims, error) {
	c := Claims{Key: w.Issuer, Subject: w.Subject, Name: w.Name}
	if w.ExpiresAt != nil {
		c.Expires = w.ExpiresAt.Time
	}
	switch {
	case w.IssuedAt != nil:
		c.Issued = w.IssuedAt.Time
	case w.NotBefore != nil:
		c.Issued = w.NotBefore.Time
	}
	if len(w.Video) > 0 {
		if err := json.Unmarshal(w.Video, &c.Video); err != nil {
			return c, fmt.Errorf("%w: video: %w", ErrClaims, err)
		}
	}
	if len(w.Mix) > 0 {
		if err := json.Unmarshal(w.Mix, &c.Mix); err != nil {
			return c, fmt.Errorf("%w: mix: %w", ErrClaims, err)
		}
	}
	return c, nil
}
