package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"mixdown/mixer"
)

// Mute is what can be set for everybody in a room at once, and what a client sets of
// itself.
type Mute struct {
	Send MuteSend `json:"send"`
}

// MuteSend is what they send.
type MuteSend struct {
	Audio MuteAudio `json:"audio"`
}

// MuteAudio is their sound.
type MuteAudio struct {
	Muted bool `json:"muted" doc:"Keep it out of the mix"`
}

// BanPath names a ban in a path.
type BanPath struct {
	RoomPath
	Ban string `path:"ban" doc:"The ban's id"`
}

type banOutput struct {
	Tagged
	Location string `header:"Location"`
	Body     Ban
}

func (s *Server) moderationRoutes() {
	const all, list = "/v1/rooms/{room}/participants", "/v1/rooms/{room}/bans"
	register(s, operation{id: "patch-participants", method: http.MethodPatch, path: all, summary: "Mute everybody in a room, or nobody any more", need: inRoom(AdminRoom), body: Mute{}, experimental: true}, s.muteAll)
	register(s, operation{id: "list-bans", method: http.MethodGet, path: list, summary: "Who is banned from a room", need: inRoom(AdminRoom), experimental: true}, s.listBans)
	register(s, operation{id: "create-ban", method: http.MethodPost, path: list, summary: "Ban somebody from a room: who is in it is removed, and tokens end", need: inRoom(AdminRoom), status: http.StatusCreated, body: Ban{}, experimental: true}, s.createBan)
	register(s, operation{id: "delete-ban", method: http.MethodDelete, path: list + "/{ban}", summary: "Lift a ban", need: inRoom(AdminRoom), experimental: true}, s.deleteBan)
}

func (s *Server) muteAll(ctx context.Context, in *struct {
	RoomPath
	Except string `query:"except" doc:"Ids of participants who stay as they are, with commas"`
}) (*listOutput[Participant], error) {
	room, err := s.room(in.Room)
	if err != nil {
		return nil, err
	}
	var want Mute
	if err := s.put(ctx, &want, nil); err != nil {
		return nil, s.told(ctx, err)
	}
	var but []mixer.ParticipantID
	for id := range strings.SplitSeq(in.Except, ",") {
		but = append(but, mixer.ParticipantID(strings.TrimSpace(id)))
	}
	infos, err := room.MuteAll(ctx, want.Send.Audio.Muted, but...)
	if err != nil {
		return nil, s.told(ctx, err)
	}
	list := List[Participant]{Items: make([]Participant, 0, len(infos))}
	for _, info := range infos {
		list.Items = append(list.Items, participantOf(info))
	}
	return answer(list, nil, ReadIf{})
}

// muteSelf mutes a session's participant or unmutes it, as its client asks.
func (s *Server) muteSelf(w http.ResponseWriter, r *http.Request, x *session) error {
	if match := r.Header.Get("If-Match"); match != "" && !listed(match, x.tag(), wholeTag) {
		return byKind[mixer.Precondition].problem("If-Match: the session has another ETag")
	}
	var want Mute
	if err := s.put(r.Context(), &want, nil); err != nil {
		return err
	}
	if !x.chats.Allow() { // all others are told of it, as of what it writes
		return tooManyChats.problem("slow down")
	}
	p := x.now()
	// Who moderates the room where it was let in moderates no other.
	moderator := x.who.Moderator && x.room == p.Room().Info().ID
	if err := p.MuteSelf(r.Context(), want.Send.Audio.Muted, moderator); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("ETag", x.tag())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) listBans(_ context.Context, in *struct {
	RoomPath
	ListQuery
	ReadIf
}) (*listOutput[Ban], error) {
	list, err := page(s.bans.list(mixer.RoomID(in.Room)), in.ListQuery, func(b Ban) string { return b.ID }, func(b Ban) Ban { return b })
	return answer(list, err, in.ReadIf)
}

// createBan bans somebody, and removes whom the ban meets. The ban comes first: who
// is removed and comes back at once finds it.
func (s *Server) createBan(ctx context.Context, in *struct{ RoomPath }) (*banOutput, error) {
	var ban Ban
	if err := s.put(ctx, &ban, nil); err != nil {
		return nil, s.told(ctx, err)
	}
	if err := checkRoomName(in.Room); err != nil {
		return nil, err
	}
	id := mixer.RoomID(in.Room)
	if err := s.describeBan(id, &ban); err != nil {
		return nil, err
	}
	ban.ID, ban.CreatedAt = newBanID(), time.Now().UTC().Truncate(time.Millisecond)
	if err := s.bans.add(id, ban); err != nil {
		return nil, s.told(ctx, err)
	}
	if ban.Identity != "" {
		if err := s.endTokens(ctx, id, ban.Identity); err != nil {
			return nil, err
		}
	}
	for _, x := range s.sessions.in(id, func(x *session) bool { return ban.meets(x.now().Info().Identity, x.address) && !x.spared(&ban) }) {
		if err := s.removeParticipant(ctx, x.Room(), x.ID(), errKicked); err != nil && problemOf(err).Code != noParticipant.code {
			return nil, err
		}
	}
	return &banOutput{tagged(entityTag(nil, ban)), "/v1/rooms/" + in.Room + "/bans/" + ban.ID, ban}, nil
}

// spared reports whether a ban, of an address, is not meant for the session's
// client: who moderates the room may well sit in the same office. Who was moved into
// it does not moderate it.
func (s *session) spared(ban *Ban) bool {
	return s.who.Moderator && s.room == s.Room().Info().ID && ban.Identity != s.now().Info().Identity
}

// describeBan brings what was asked for into the form in which it is compared.
func (s *Server) describeBan(room mixer.RoomID, ban *Ban) error {
	fault := func(pointer, detail string) error {
		return invalid("", Fault{Pointer: pointer, Detail: detail})
	}
	if id := ban.Participant; id != "" {
		x := s.sessions.of(mixer.ParticipantID(id))
		if x == nil || x.Room().Info().ID != room {
			return fault("#/participant", "want the id of somebody in the room")
		}
		if ban.Identity == "" {
			ban.Identity = x.now().Info().Identity
		}
		if ban.Identity == "" && ban.Address == "" {
			ban.Address = x.address
		}
		ban.Participant = ""
	}
	switch {
	case ban.Identity == "" && ban.Address == "":
		return fault("#", "want a participant, an identity or an address")
	case ban.Until != nil && !ban.Until.After(time.Now()):
		return fault("#/until", "is over: want a time to come")
	case ban.Address == "":
		return nil
	}
	key, err := addressKey(ban.Address)
	if err != nil {
		return fault("#/address", "want an IP address, or an IPv6 prefix of 64 bits")
	}
	ban.Address = key
	return nil
}

// addressKey is an address as limitKey writes it.
func addressKey(text string) (string, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		if p.Addr().Is4In6() || p.Addr().Is4() && p.Bits() != 32 || p.Addr().Is6() && p.Bits() != 64 {
			return "", errors.New("no such prefix")
		}
		text = p.Addr().String()
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return "", err
	}
	return addressKeyOf(addr.Unmap().WithZone("")), nil
}

// newBanID is like the mixer's ids.
func newBanID() string { return "ban_" + rand.Text()[:13] }

func (s *Server) deleteBan(ctx context.Context, in *BanPath) (*empty, error) {
	if err := s.bans.lift(mixer.RoomID(in.Room), in.Ban); err != nil {
		return nil, s.told(ctx, err)
	}
	return nil, nil
}

// endTokens ends those that an identity has for a room.
func (s *Server) endTokens(ctx context.Context, room mixer.RoomID, identity string) error {
	if s.revoke == nil || identity == "" {
		return nil
	}
	if err := s.revoke(room, identity); err != nil {
		return s.told(ctx, fmt.Errorf("the tokens of %q: %w", identity, err))
	}
	return nil
}

// removeParticipant ends somebody's session, which says kicked from then on.
func (s *Server) removeParticipant(ctx context.Context, room *mixer.Room, id mixer.ParticipantID, why error) error {
	x := s.sessions.mark(id, kicked) // before, since its connection may close at once
	if err := room.Remove(ctx, id, why); err != nil {
		return s.told(ctx, err)
	}
	if x != nil {
		s.sessions.end(x, nil)
	}
	return nil
}

// mayEnter refuses who is banned from a room, or was just removed from it. It is
// asked before the room is made, or found not to be there; and of who has entered
// once more: who bans or removes people looks for those who are there by then.
func (s *Server) mayEnter(room mixer.RoomID, who *Identity, address string) error {
	if err := who.stillGood(room); err != nil {
		return err
	}
	if who.Moderator {
		address = "" // as in session.spared
	}
	return s.bans.check(room, who.Subject, address)
}

// mayWatch refuses those who watch a room without being in it: who is banned or
// does not know its PIN, and all where people are let in one by one.
func (s *Server) mayWatch(r *http.Request, room *mixer.Room) error {
	who, info := scopeOf(r.Context()).identity, room.Info()
	address, _ := limitKey(r)
	if err := s.mayEnter(info.ID, &who, address); err != nil || who.Moderator {
		return err
	}
	if info.WaitingRoom {
		return held.problem("it is for those who were let in")
	}
	return s.pins.try(pinKey{address, info.ID}, pinOf(r), func() error {
		if !info.PIN.Is(pinOf(r)) {
			return mixer.ErrPIN
		}
		return nil
	})
}

// statePatch is what a participant's change of state or role asks for.
func statePatch(now, want Participant, patch *mixer.ParticipantPatch) error {
	if want.State != now.State {
		if want.State != mixer.StateActive.String() || now.Admitted {
			return invalid("", Fault{Pointer: "#/state", Detail: "only active can be set, of somebody in the waiting room"})
		}
		patch.Admit = true
	}
	if want.Role != now.Role {
		var audience bool
		switch want.Role {
		case mixer.RoleViewer.String():
			audience = true
		case mixer.RoleParticipant.String():
		default:
			return invalid("", Fault{Pointer: "#/role", Detail: "only participant and viewer can be set"})
		}
		patch.Audience = &audience
	}
	return nil
}

// patchedRoom moves a participant, if that is what a patch asks for; moved says
// whether it was.
func (s *Server) patchedRoom(ctx context.Context, room *mixer.Room, now, want Participant) (info mixer.ParticipantInfo, moved bool, err error) {
	if want.Room == now.Room {
		return info, false, nil
	}
	rest := want
	rest.Room = now.Room
	before, err := documentOf(now)
	if err != nil {
		return info, true, err
	}
	after, err := documentOf(rest)
	if err != nil {
		return info, true, err
	}
	if !reflect.DeepEqual(before, after) {
		return info, true, invalid("", Fault{Pointer: "#/room", Detail: "is changed by itself: send the rest before or after"})
	}
	to := mixer.RoomID(want.Room)
	// Who may moderate this room may send nobody into another.
	if err := scopeOf(ctx).may(Grant{Action: AdminRoom, Room: to}); err != nil {
		return info, true, err
	}
	info, err = s.moveParticipant(ctx, room, mixer.ParticipantID(now.ID), to)
	return info, true, err
}

// moderated documents what the joins have in common that is about being let in.
func moderated(params []*huma.Param) []*huma.Param {
	return append(slices.Clip(params), &huma.Param{
		Name: pinHeader, In: "header", Description: "The room's PIN, where it has one", Schema: &huma.Schema{Type: huma.TypeString},
	})
}
