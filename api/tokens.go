package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"mixdown/api/token"
	"mixdown/mixer"
	"mixdown/mixer/video"
)

// TokenRequest says what a token is to be good for.
type TokenRequest struct {
	Scope      string  `json:"scope" required:"false" enum:"events,live,snapshot,recordings" doc:"A token for ?token= in URLs, where headers cannot be set: for this room's events, live.webm and live.ogg, snapshot.jpg, or the media of its recordings. For whoever may do that himself, in whose name it is; for at most 10 minutes. All else is left out then"`
	Identity   string  `json:"identity" required:"false" maxLength:"256" doc:"Whom it is for. Empty is an invitation for many"`
	Name       string  `json:"name" required:"false" maxLength:"256" doc:"Shown under the tile; without it the holder chooses one"`
	Role       string  `json:"role" required:"false" enum:"host,speaker,viewer" default:"speaker" doc:"host moderates the room; viewer is not seen and heard until somebody makes a speaker of it"`
	TTL        float64 `json:"ttl" required:"false" minimum:"1" maximum:"86400" doc:"Seconds that it is good for, at most as long as the token that this one is made with; without it 4 hours, or as long as that one"`
	MaxTier    string  `json:"maxTier" required:"false" pattern:"^([0-9]+x[0-9]+@[0-9]+)?$" patternDescription:"width x height @ fps, as 640x360@30" doc:"The largest picture that is sent to the holder"`
	Canvas     bool    `json:"personalCanvas" required:"false" doc:"The holder may have a picture of its own"`
	Record     bool    `json:"record" required:"false" doc:"The holder may record. Only from those who may themselves"`
	Recordings bool    `json:"recordings" required:"false" doc:"The holder may download and delete recordings. Only from those who may themselves"`
}

// Token is a token that was made.
type Token struct {
	Token     string    `json:"token" doc:"For the header Authorization: Bearer; with a scope, for ?token="`
	ExpiresAt time.Time `json:"expiresAt"`
	Link      string    `json:"link,omitempty" doc:"The room's page for whoever has it; relative, and missing with a scope" example:"/r/standup#token=eyJhbGciOi"`
}

// roomPattern is what rooms may be called: the mixer's own, for rooms that are not
// there yet.
var roomPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// checkRoomName says what is wrong with the name of a room that need not be there.
func checkRoomName(room string) error {
	if roomPattern.MatchString(room) {
		return nil
	}
	return invalid("", Fault{Parameter: "room", Detail: "want 1 to 64 letters, digits, '-', '_' or '.', starting with a letter or digit"})
}

// inviteLife is for how long an invitation is good unless it says so.
const inviteLife = 4 * time.Hour

type tokenOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         Token
}

func (s *Server) tokenRoutes() {
	register(s, operation{
		id: "create-token", method: http.MethodPost, path: "/v1/rooms/{room}/tokens",
		summary: "Make a token: an invitation into the room, by those who moderate it, or one for URLs, by anybody for himself. The room * is all rooms",
		need:    inRoom(MakeToken), status: http.StatusCreated, body: TokenRequest{}, experimental: true,
	}, s.createToken)
}

func (s *Server) createToken(ctx context.Context, in *struct{ RoomPath }) (*tokenOutput, error) {
	var want TokenRequest
	if err := s.put(ctx, &want, nil); err != nil {
		return nil, s.told(ctx, err)
	}
	who := scopeOf(ctx).identity
	if who.claims == nil {
		return nil, noKeys.problem("whoever reaches it needs no token")
	}
	now := who.now() // before the look at who was removed, so that a removal after it ends this one too
	if err := who.stillGood(mixer.RoomID(in.Room)); err != nil {
		return nil, err
	}
	claims := who.invitation
	if want.Scope != "" {
		claims = who.urlToken
	}
	c, err := claims(in.Room, want, now)
	if err != nil {
		return nil, err
	}
	text, err := who.keys.Mint(c, now)
	switch {
	case errors.Is(err, token.ErrNoKey): // it was there a moment ago
		return nil, unauthenticated("invalid_token", token.ErrForged.Error())
	case errors.Is(err, token.ErrClaims):
		return nil, invalid(err.Error())
	case err != nil:
		return nil, s.told(ctx, err)
	}
	body := Token{Token: text, ExpiresAt: c.Expires.UTC().Truncate(time.Second)}
	if want.Scope == "" {
		body.Link = "/r/" + url.PathEscape(in.Room) + "#token=" + text
	}
	return &tokenOutput{"no-store", body}, nil
}

// urlToken is a token for URLs that may do one of the things that the holder may.
func (who *Identity) urlToken(room string, want TokenRequest, now time.Time) (token.Claims, error) {
	own := who.claims
	if room == token.AnyRoom && who.revoked.endedAnywhere(own) {
		return token.Claims{}, withdrawnToken() // the new one would be good where this one is not
	}
	g := Grant{Room: mixer.RoomID(room)}
	c := token.Claims{
		Key: own.Key, Subject: own.Subject, Name: own.Name, Issued: now, Expires: earlier(now.Add(token.MaxURLLife), own.Expires),
		Video: token.Video{Room: room}, Mix: token.Mix{Scope: want.Scope},
	}
	switch want.Scope {
	case token.ScopeEvents:
		g.Action = ReadRoom
		c.Video.RoomJoin, c.Video.RoomAdmin = own.Video.RoomJoin, own.MayAdmin()
	case token.ScopeLive, token.ScopeSnapshot:
		g.Action, g.Role = Join, mixer.RoleViewer
		c.Video.RoomJoin, c.Mix.MaxTier = true, own.Mix.MaxTier
	case token.ScopeRecordings:
		g.Action = ReadRecordings
		c.Mix.Recordings = true
	}
	return c, who.may(g)
}

// invitation is a token for somebody else, or for many. It can do nothing in the
// room that whoever makes it cannot, lasts no longer than what that one has, and is
// bound as that one is: it may be for himself.
func (who *Identity) invitation(room string, want TokenRequest, now time.Time) (token.Claims, error) {
	own := who.claims
	if err := who.may(Grant{Action: AdminRoom, Room: mixer.RoomID(room)}); err != nil {
		return token.Claims{}, err
	}
	if room == token.AnyRoom {
		return token.Claims{}, invalid("", Fault{Parameter: "room", Detail: "invitations are into one room; `mixdown token` makes tokens for all"})
	}
	if err := checkRoomName(room); err != nil {
		return token.Claims{}, err
	}
	var faults []Fault
	name, fault := cleanName(want.Name)
	if fault != "" {
		faults = append(faults, Fault{Pointer: "#/name", Detail: fault})
	}
	for _, f := range []struct {
		pointer     string
		wanted, has bool
	}{
		{"#/record", want.Record, own.Video.RoomRecord},
		{"#/recordings", want.Recordings, own.Mix.Recordings},
	} {
		if f.wanted && !f.has {
			faults = append(faults, Fault{Pointer: f.pointer, Detail: "your own token does not grant this"})
		}
	}
	expires := now.Add(seconds(want.TTL))
	switch {
	case want.TTL == 0:
		expires = earlier(now.Add(inviteLife), own.Expires)
	case expires.After(own.Expires):
		faults = append(faults, Fault{Pointer: "#/ttl", Detail: "your own token ends before that"})
	}
	tier := cmp.Or(want.MaxTier, own.Mix.MaxTier)
	if detail := who.exceeds(tier); detail != "" {
		faults = append(faults, Fault{Pointer: "#/maxTier", Detail: detail})
	}
	if len(faults) > 0 {
		return token.Claims{}, invalid("", faults...)
	}
	role := cmp.Or(want.Role, token.Speaker)
	c := token.Claims{
		Key: own.Key, Subject: want.Identity, Name: name, Issued: now, Expires: expires,
		Video: token.Video{
			RoomJoin: true, Room: room, RoomAdmin: role == token.Host, RoomRecord: want.Record,
			CanPublish: own.Video.CanPublish, CanPublishSources: own.Video.CanPublishSources,
			CanSubscribe: own.Video.CanSubscribe, CanPublishData: own.Video.CanPublishData,
		},
		Mix: token.Mix{Role: role, MaxTier: tier, PersonalCanvas: want.Canvas, Recordings: want.Recordings},
	}
	if own.Mix.Role == token.Viewer {
		nothing := false
		c.Video.CanPublish, c.Video.CanPublishSources = &nothing, nil
	}
	return c, nil
}

// exceeds says what is wrong with a bound of pictures that somebody wants to give;
// "" is nothing.
func (who *Identity) exceeds(tier string) string {
	if tier == "" {
		return ""
	}
	t, err := video.ParseTier(tier)
	if err != nil {
		return err.Error()
	}
	if l := who.Limits; l.MaxWidth > 0 && (t.Width > l.MaxWidth || t.Height > l.MaxHeight || t.FPS > l.MaxFPS) {
		return "your own token's is " + who.claims.Mix.MaxTier
	}
	return ""
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
