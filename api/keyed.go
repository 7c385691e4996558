package api

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"mixdown/api/token"
	"mixdown/mixer"
	"mixdown/mixer/video"
)

// Keyed lets those in who have a token that one of its keys has made, as far as
// the token says:
//
//   - a token is sent in the Authorization header. One for URLs (mix.scope) may be
//     in the query (?token=), where headers cannot be set: it is good for that one
//     thing, and only to read;
//   - what concerns a room needs a token for that room, or for all (room "*"),
//     whether the room exists or not;
//   - a session's secret suffices for the session, and to come back to it.
//
// Nothing is looked up before the token was checked: neither the words of a
// refusal nor how long it takes tell what exists.
type Keyed struct {
	// Keys make the tokens. Required.
	Keys *token.Keyring
	// Revoked are the tokens that have ended early; nil is none.
	Revoked *Revocations
	// Now is the wall clock, [time.Now] when it is nil.
	Now func() time.Time
}

// tokenParameter is the query's name of a token for URLs.
const tokenParameter = "token"

// Authorize implements [Authorizer].
func (k *Keyed) Authorize(r *http.Request, g Grant) (Identity, error) {
	if g.Action == Public || g.Action == UseSession {
		return Identity{}, nil
	}
	c, err := k.claims(r)
	if err != nil {
		// He has been let in already, and wants back to where he was.
		if g.Session != nil {
			if who, ok := g.Session(); ok {
				return who, nil
			}
		}
		return Identity{}, err
	}
	if g.Find != nil {
		g.Find(&g)
	}
	if k.Revoked.ended(&c, g.Room) {
		return Identity{}, withdrawnToken()
	}
	if c.Mix.Scope != "" && (c.Mix.Scope != g.Scope || r.Method != http.MethodGet && r.Method != http.MethodHead) {
		return Identity{}, forbidden("the token is good for " + c.Mix.Scope + " alone")
	}
	if why := refused(&c, g); why != "" {
		return Identity{}, forbidden(why)
	}
	return k.identity(&c, g), nil
}

func (k *Keyed) now() time.Time {
	if k.Now != nil {
		return k.Now()
	}
	return time.Now()
}

// claims are what the request's token says; without a good one a Problem.
func (k *Keyed) claims(r *http.Request) (token.Claims, error) {
	text, inURL := "", false
	if scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "bearer") {
		text = strings.TrimSpace(credentials)
	} else if strings.Contains(r.URL.RawQuery, tokenParameter) {
		text, inURL = r.URL.Query().Get(tokenParameter), true
	}
	if text == "" {
		return token.Claims{}, unauthenticated("", "send a token: Authorization: Bearer ...")
	}
	c, err := k.Keys.Verify(text, k.now())
	switch {
	case err != nil:
		return token.Claims{}, unauthenticated("invalid_token", err.Error())
	case inURL && c.Mix.Scope == "":
		return token.Claims{}, unauthenticated("invalid_token", "in a URL only tokens for URLs are taken: POST /v1/rooms/{room}/tokens makes one of this")
	}
	if text := c.Mix.MaxTier; text != "" {
		if _, err := video.ParseTier(text); err != nil { // a bound that would be none
			return token.Claims{}, unauthenticated("invalid_token", "mix.maxTier: "+err.Error())
		}
	}
	return c, nil
}

// unauthenticated is the one refusal of those who are not known. code is RFC
// 6750's, section 3.1.
func unauthenticated(code, detail string) *Problem {
	p := byKind[mixer.Unauthenticated].problem(detail)
	if code != "" {
		p.with("WWW-Authenticate", `Bearer error="`+code+`"`)
	}
	return p
}

func withdrawnToken() *Problem {
	return unauthenticated("invalid_token", "the token was withdrawn: whom it was made for was removed from the room")
}

func forbidden(detail string) *Problem { return byKind[mixer.Permission].problem(detail) }

// refused says why a token does not allow something; "" is that it does.
func refused(c *token.Claims, g Grant) string {
	v, m := &c.Video, &c.Mix
	here := v.Room == string(g.Room) && g.Room != "" || v.Room == token.AnyRoom
	need := func(ok bool, grant string) string {
		switch {
		case !ok:
			return "the token does not grant " + grant
		case !here && g.Room == "":
			return `this concerns all rooms: the token's room is not "*"`
		case !here:
			return "the token is for another room"
		}
		return ""
	}
	switch g.Action {
	case ListRooms:
		here = true
		return need(v.RoomList, "roomList")
	case CreateRoom:
		here = here || v.Room == ""
		return need(v.RoomCreate, "roomCreate")
	case ReadRoom:
		if g.Room == "" {
			return need(c.MayAdmin(), "roomAdmin")
		}
		return need(v.RoomJoin || c.MayAdmin(), "roomJoin or roomAdmin")
	case AdminRoom:
		return need(c.MayAdmin(), "roomAdmin")
	case Arrange:
		own := m.PersonalCanvas && g.Owner != "" && g.Owner == c.Subject
		return need(c.MayAdmin() || own, "roomAdmin, or personalCanvas for a picture of one's own")
	case Record:
		return need(v.RoomRecord, "roomRecord")
	case ReadRecordings:
		return need(m.Recordings, "recordings")
	case MakeToken:
		return need(v.RoomJoin || c.MayAdmin() || m.Recordings, "roomJoin, roomAdmin or recordings")
	case Join:
		here = here || g.Room == "" // how to reach rooms
		if why := need(v.RoomJoin, "roomJoin"); why != "" {
			return why
		}
		return cannotJoin(c, g.Role)
	}
	return "nobody may"
}

// cannotJoin says what keeps somebody out who may join the room as such.
func cannotJoin(c *token.Claims, role mixer.Role) string {
	sends := c.MaySend("microphone") || c.MaySend("camera") || c.MaySend("screen_share")
	switch {
	case role == mixer.RolePublisher && !sends:
		return "the token does not grant canPublish"
	case role == mixer.RoleViewer && !c.MaySubscribe():
		return "the token does not grant canSubscribe"
	case !sends && !c.MaySubscribe():
		return "the token grants neither canPublish nor canSubscribe"
	}
	return ""
}

// identity is what follows from a token that is good.
func (k *Keyed) identity(c *token.Claims, g Grant) Identity {
	who := Identity{
		Subject: c.Subject, Name: c.Name,
		// Who is invited into a room by its name may be the first there.
		MayCreate: c.Video.RoomCreate || g.Action == Join && c.Video.Room == string(g.Room),
		Moderator: c.MayAdmin(),
		Audience:  c.Mix.Role == token.Viewer, Hidden: c.Video.Hidden,
		Mute: Silence{
			Microphone: !c.MaySend("microphone"), Camera: !c.MaySend("camera"), Screen: !c.MaySend("screen_share"),
			Listening: !c.MaySubscribe(), Writing: !c.MayWrite(),
		},
		claims: c, keys: k.Keys, now: k.now, revoked: k.Revoked, room: g.Room,
	}
	who.Name, _ = cleanName(c.Name)
	if t, err := video.ParseTier(c.Mix.MaxTier); err == nil {
		who.Limits = mixer.Limits{MaxWidth: t.Width, MaxHeight: t.Height, MaxFPS: t.FPS}
	}
	return who
}

// may reports whether somebody who was let in may do something else as well.
// Without keys everybody may.
func (who *Identity) may(g Grant) error {
	if who.claims == nil {
		return nil
	}
	if why := refused(who.claims, g); why != "" {
		return forbidden(why)
	}
	return nil
}

// stillGood refuses who was removed from a room since the authorisation step: a
// body may come ten seconds after it.
func (who *Identity) stillGood(room mixer.RoomID) error {
	if who.claims != nil && who.revoked.ended(who.claims, room) {
		return withdrawnToken()
	}
	return nil
}

// withdrawn returns what is closed when the token is withdrawn by which somebody
// was let in, for what goes on for long: nil without keys. The caller calls stop,
// once.
func (who *Identity) withdrawn() (done <-chan struct{}, stop func()) {
	if who.revoked == nil {
		return nil, func() {}
	}
	done, stop = who.revoked.follow(who.room, who.Subject)
	// It may have been between the step and here.
	if who.revoked.revoked(string(who.room), who.Subject, who.claims.Issued) {
		over := make(chan struct{})
		close(over)
		done = over
	}
	return done, stop
}

// narrow sets what is known of somebody who joins, and returns as what he does
// so: who may not send is a viewer, who may not hear a publisher, whatever he asks
// for.
func (who *Identity) narrow(role mixer.Role, req *mixer.JoinRequest) mixer.Role {
	switch m := &who.Mute; {
	case role != mixer.RoleParticipant:
	case m.Listening:
		role = mixer.RolePublisher
	case m.Microphone && m.Camera && m.Screen:
		role = mixer.RoleViewer
	}
	req.Role, req.Identity = role, who.Subject
	if who.Name != "" {
		req.Name = who.Name
	}
	least := func(v *int, most int) {
		if most > 0 && (*v == 0 || *v > most) {
			*v = most
		}
	}
	least(&req.Limits.MaxWidth, who.Limits.MaxWidth)
	least(&req.Limits.MaxHeight, who.Limits.MaxHeight)
	least(&req.Limits.MaxFPS, who.Limits.MaxFPS)
	least(&req.Limits.MaxBitrateBps, who.Limits.MaxBitrateBps)
	return role
}

// onOwnLayout needs the right to a participant's own picture: his own, or to
// moderate.
func (s *Server) onOwnLayout(r *http.Request) Grant {
	g := inRoom(Arrange)(r)
	g.Find = func(g *Grant) {
		if room, err := s.rooms.Room(g.Room); err == nil {
			if info, err := room.Participant(mixer.ParticipantID(chi.URLParam(r, "id"))); err == nil {
				g.Owner = info.Identity
			}
		}
	}
	return g
}

// withoutToken takes the token out of a request's URL: nothing behind the
// authorisation step needs it, or could log it.
func withoutToken(r *http.Request) *http.Request {
	if !strings.Contains(r.URL.RawQuery, tokenParameter) {
		return r
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || !query.Has(tokenParameter) {
		return r // which is refused, not logged
	}
	query.Del(tokenParameter)
	clean := *r
	u := *r.URL
	u.RawQuery = query.Encode()
	clean.URL, clean.RequestURI = &u, u.RequestURI()
	return &clean
}
