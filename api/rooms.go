package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	"mixdown/mixer"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

// Room is a room as clients see it.
type Room struct {
	ID              string     `json:"id" readOnly:"true" doc:"The name in the path"`
	RoomID          string     `json:"roomId" readOnly:"true" doc:"Names this life of the room; recordings carry it"`
	CreatedAt       time.Time  `json:"createdAt" readOnly:"true"`
	Name            string     `json:"name" required:"false" maxLength:"256" doc:"For people"`
	Canvas          Canvas     `json:"canvas" required:"false" doc:"The composed picture; fixed once the room exists"`
	Tiers           []string   `json:"tiers" required:"false" maxItems:"8" pattern:"^[0-9]+x[0-9]+@[0-9]+$" patternDescription:"width x height @ fps, as 640x360@30" doc:"Sizes and rates at which the canvas is sent, largest first; fixed once the room exists"`
	Layout          LayoutSpec `json:"layout" required:"false" doc:"How the main picture is arranged; once the room exists, changed at …/layout"`
	MaxParticipants int        `json:"maxParticipants" required:"false" minimum:"1" maximum:"1000" default:"50"`
	EmptyTimeout    float64    `json:"emptyTimeout" required:"false" minimum:"1" maximum:"86400" default:"300" doc:"Seconds that the room outlives its last participant"`
	Persistent      bool       `json:"persistent" required:"false" default:"false" doc:"Keep the room although nobody is in it, and over a restart of the server, with all that is set here and with its layout, until it is deleted"`
	Locked          bool       `json:"locked" required:"false" default:"false" doc:"Refuse new participants"`
	Levelling       bool       `json:"levelling" required:"false" default:"true" doc:"Bring everybody slowly to one loudness; sets all participants, each of whom can be set as well"`
	EchoGuard       bool       `json:"echoGuard" required:"false" default:"true" doc:"Do not let those be heard who send back what they hear; sets all participants, each of whom can be set as well"`
	MutedOnJoin     bool       `json:"mutedOnJoin" required:"false" default:"false" doc:"Mute those who join, but for moderators"`
	SelfUnmute      bool       `json:"selfUnmute" required:"false" default:"true" doc:"Who is muted, by joining or by a moderator, may unmute himself (PATCH of his session). False: only moderators unmute, also who has muted himself"`
	WaitingRoom     bool       `json:"waitingRoom" required:"false" default:"false" doc:"Those who join wait, without hearing or seeing anything, until a moderator sets their state to active. Moderators do not. Set to false, all who wait are let in"`
	PIN             string     `json:"pin" required:"false" maxLength:"16" pattern:"^([0-9]{4,16}|\\*{4})?$" patternDescription:"4 to 16 digits, or empty" doc:"What those must know who join, but for moderators; they send it as the header Room-Pin. Empty: none. It is shown as ****, which changes nothing when it is sent back"`
	Floor           string     `json:"floor" required:"false" maxLength:"64" doc:"The participant who has the floor: shown as the main program's speaker, whoever speaks. Empty: whoever speaks. It ends when the participant leaves the main program"`
	Metadata        string     `json:"metadata" required:"false" maxLength:"16384" doc:"The owner's own; not looked at"`
	Preset          string     `json:"preset,omitempty" required:"false" maxLength:"64" writeOnly:"true" doc:"Of a room that is made, or set as a whole: a preset of the server's, whose values count where there are none here. Without, it is the preset default, if there is one"`
	// Pointers, since what only the server sets may be missing in a request.
	Status *RoomStatus `json:"status" readOnly:"true"`
}

// Canvas is the size and the rate of the composed picture.
type Canvas struct {
	Width  int `json:"width" required:"false" minimum:"16" maximum:"3840" multipleOf:"2" default:"1280"`
	Height int `json:"height" required:"false" minimum:"16" maximum:"3840" multipleOf:"2" default:"720"`
	FPS    int `json:"fps" required:"false" minimum:"1" maximum:"60" default:"30"`
}

// RoomStatus is what moves by itself.
type RoomStatus struct {
	Participants int     `json:"participants"`
	Waiting      int     `json:"waiting,omitempty" doc:"How many of them are in the waiting room"`
	Hidden       int     `json:"hidden,omitempty" doc:"How many hear and see besides, but are hidden: they are not among the participants"`
	Viewers      int     `json:"viewers,omitempty" doc:"Who watches or listens by plain HTTP; they are not among the participants"`
	Speaker      string  `json:"speaker,omitempty" doc:"The participant who has the floor in the main program: who speaks, or spoke last"`
	Recording    string  `json:"recording,omitempty" doc:"The id of the recording in progress"`
	Cores        float64 `json:"cores" doc:"Processor time of the room, the network's not included, seconds a second"`
}

// lastingRoom are the fields that a client can send back but not change.
var lastingRoom = []string{"id", "roomId", "createdAt", "canvas", "tiers", "layout"}

// defaultRoom is what a client gets that asks for nothing in particular. The
// canvas and its tiers are left to the mixer.
func defaultRoom() Room {
	return Room{Layout: defaultLayout(), MaxParticipants: 50, EmptyTimeout: 300, Levelling: true, EchoGuard: true, SelfUnmute: true}
}

func roomOf(info mixer.RoomInfo) Room {
	tiers := make([]string, 0, len(info.Tiers))
	for _, t := range info.Tiers {
		tiers = append(tiers, t.String())
	}
	return Room{
		ID: string(info.ID), RoomID: info.Life, CreatedAt: info.Created.UTC().Truncate(time.Millisecond),
		Name:   info.Name,
		Canvas: Canvas{info.Canvas.Width, info.Canvas.Height, info.Canvas.FPS}, Tiers: tiers, Layout: layoutSpecOf(info.Layout),
		MaxParticipants: info.MaxParticipants, EmptyTimeout: info.EmptyTimeout.Seconds(), Persistent: info.Persistent,
		Locked: info.Locked, Metadata: info.Metadata, Levelling: !info.NoLevelling, EchoGuard: !info.NoEchoGuard,
		MutedOnJoin: info.MutedOnJoin, SelfUnmute: !info.NoSelfUnmute, WaitingRoom: info.WaitingRoom, PIN: info.PIN.String(), Floor: string(info.Floor),
		Status: &RoomStatus{Speaker: string(info.Speaker), Participants: info.Participants - info.Hidden, Waiting: info.Held, Hidden: info.Hidden, Viewers: info.Viewers, Recording: info.Recording, Cores: math.Round(info.Cores*1e4) / 1e4},
	}
}

func (r Room) tag() string {
	wanted := r
	wanted.Status = nil
	return entityTag(wanted, r)
}

// config is for a room that is to be made. The canvas that was sent may lack
// some of its fields.
func (r Room) config(id string) (mixer.RoomConfig, error) {
	rc := mixer.RoomConfig{
		ID: mixer.RoomID(id), Name: r.Name, Layout: r.Layout.spec(),
		MaxParticipants: r.MaxParticipants, EmptyTimeout: seconds(r.EmptyTimeout), Persistent: r.Persistent,
		Locked: r.Locked, Metadata: r.Metadata, NoLevelling: !r.Levelling, NoEchoGuard: !r.EchoGuard,
		MutedOnJoin: r.MutedOnJoin, NoSelfUnmute: !r.SelfUnmute, WaitingRoom: r.WaitingRoom, PIN: mixer.PIN(r.PIN),
	}
	if r.Floor != "" {
		return rc, invalid("", Fault{Pointer: "#/floor", Detail: "nobody is in the room yet"})
	}
	if r.Canvas != (Canvas{}) {
		c := Canvas{1280, 720, 30}
		c.Width, c.Height, c.FPS = either(r.Canvas.Width, c.Width), either(r.Canvas.Height, c.Height), either(r.Canvas.FPS, c.FPS)
		rc.Canvas = layout.Canvas{Width: c.Width, Height: c.Height, FPS: c.FPS}
	}
	for i, text := range r.Tiers {
		t, err := video.ParseTier(text)
		if err != nil {
			return rc, invalid("", Fault{Pointer: fmt.Sprintf("#/tiers/%d", i), Detail: err.Error()})
		}
		rc.Tiers = append(rc.Tiers, t)
	}
	return rc, nil
}

// patch sets everything of a room that can be changed, which is as now says.
func (r Room) patch(now Room) mixer.RoomPatch {
	timeout, noLevelling, noEchoGuard, noSelfUnmute := seconds(r.EmptyTimeout), !r.Levelling, !r.EchoGuard, !r.SelfUnmute
	patch := mixer.RoomPatch{
		Name: &r.Name, MaxParticipants: &r.MaxParticipants, EmptyTimeout: &timeout, Persistent: &r.Persistent,
		Locked: &r.Locked, Metadata: &r.Metadata, NoLevelling: &noLevelling, NoEchoGuard: &noEchoGuard,
		MutedOnJoin: &r.MutedOnJoin, NoSelfUnmute: &noSelfUnmute, WaitingRoom: &r.WaitingRoom,
	}
	if r.PIN != now.PIN || now.PIN == "" {
		pin := mixer.PIN(r.PIN)
		patch.PIN = &pin
	}
	if r.Floor != now.Floor { // who has it may be leaving
		floor := mixer.ParticipantID(r.Floor)
		patch.Floor = &floor
	}
	return patch
}

func either(v, other int) int {
	if v != 0 {
		return v
	}
	return other
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// RoomPath names a room in a path.
type RoomPath struct {
	Room string `path:"room" doc:"1 to 64 letters, digits, '-', '_' or '.', starting with a letter or digit" example:"standup"`
}

type roomRead struct {
	RoomPath
	ReadIf
}

type roomWrite struct {
	RoomPath
	WriteIf
}

type roomOutput struct {
	Tagged
	Status   int
	Location string `header:"Location"`
	Body     Room
}

type empty struct{}

func (s *Server) roomRoutes() {
	const path = "/v1/rooms/{room}"
	register(s, operation{id: "list-rooms", method: http.MethodGet, path: "/v1/rooms", summary: "List the rooms", need: static(ListRooms)}, s.listRooms)
	register(s, operation{id: "put-room", method: http.MethodPut, path: path, summary: "Make a room, or set all that can be changed of it", need: inRoom(CreateRoom), body: Room{}}, s.putRoom)
	register(s, operation{id: "create-room", method: http.MethodPost, path: path, summary: "Make a room that does not exist", need: inRoom(CreateRoom), status: http.StatusCreated, body: Room{}}, s.createRoom)
	register(s, operation{id: "get-room", method: http.MethodGet, path: path, summary: "Look at a room", need: inRoom(ReadRoom)}, s.getRoom)
	register(s, operation{id: "patch-room", method: http.MethodPatch, path: path, summary: "Change a room", need: inRoom(AdminRoom), body: Room{}}, s.patchRoom)
	register(s, operation{id: "delete-room", method: http.MethodDelete, path: path, summary: "End a room: everybody is disconnected, its recording gets final", need: inRoom(AdminRoom)}, s.deleteRoom)
}

func (s *Server) listRooms(_ context.Context, in *struct {
	ListQuery
	ReadIf
}) (*listOutput[Room], error) {
	list, err := page(s.rooms.Rooms(), in.ListQuery, func(i mixer.RoomInfo) string { return string(i.ID) }, roomOf)
	return answer(list, err, in.ReadIf)
}

func (s *Server) getRoom(_ context.Context, in *roomRead) (*roomOutput, error) {
	room, err := s.room(in.Room)
	if err != nil {
		return nil, err
	}
	body := roomOf(room.Info())
	if err := in.check(body.tag()); err != nil {
		return nil, err
	}
	return &roomOutput{Tagged: tagged(body.tag()), Status: http.StatusOK, Body: body}, nil
}

func (s *Server) createRoom(ctx context.Context, in *roomWrite) (*roomOutput, error) {
	tag := ""
	if room, err := s.rooms.Room(mixer.RoomID(in.Room)); err == nil {
		tag = roomOf(room.Info()).tag()
	}
	if err := in.check(tag); err != nil {
		return nil, err
	}
	rc, err := s.newRoom(ctx, in.Room)
	if err != nil {
		return nil, err
	}
	room, err := s.rooms.CreateRoom(ctx, rc)
	if err != nil {
		return nil, s.told(ctx, err)
	}
	return created(room), s.kept(s.keeper.sync(rc.ID))
}

// newRoom reads the body as a room that is to be made.
func (s *Server) newRoom(ctx context.Context, id string) (mixer.RoomConfig, error) {
	if err := s.usePreset(ctx, false); err != nil {
		return mixer.RoomConfig{}, s.told(ctx, err)
	}
	want, err := s.wantedRoom(ctx, s.put, document{"id": id}, "id")
	if err != nil {
		return mixer.RoomConfig{}, err
	}
	return want.config(id)
}

func created(room *mixer.Room) *roomOutput {
	body := roomOf(room.Info())
	return &roomOutput{Tagged: tagged(body.tag()), Status: http.StatusCreated, Location: "/v1/rooms/" + body.ID, Body: body}
}

func (s *Server) putRoom(ctx context.Context, in *roomWrite) (*roomOutput, error) {
	room, err := s.rooms.Room(mixer.RoomID(in.Room))
	if err == nil {
		return s.setRoom(ctx, room, in.WriteIf)
	}
	if err := in.check(""); err != nil {
		return nil, err
	}
	body := scopeOf(ctx).body
	rc, err := s.newRoom(ctx, in.Room)
	if err != nil {
		return nil, err
	}
	room, isNew, err := s.rooms.EnsureRoom(ctx, rc)
	switch {
	case err != nil:
		return nil, s.told(ctx, err)
	case isNew:
		return created(room), s.kept(s.keeper.sync(rc.ID))
	}
	scopeOf(ctx).body = body                // as it was sent
	return s.setRoom(ctx, room, in.WriteIf) // somebody else was faster
}

// setRoom sets all that can be changed of a room that exists, which takes more
// than making one.
func (s *Server) setRoom(ctx context.Context, room *mixer.Room, when WriteIf) (*roomOutput, error) {
	who := scopeOf(ctx).identity
	if err := who.may(Grant{Action: AdminRoom, Room: room.Info().ID}); err != nil {
		return nil, err
	}
	if err := s.usePreset(ctx, true); err != nil {
		return nil, s.told(ctx, err)
	}
	return s.changeRoom(ctx, room, when, s.put)
}

func (s *Server) patchRoom(ctx context.Context, in *roomWrite) (*roomOutput, error) {
	room, err := s.room(in.Room)
	if err != nil {
		return nil, err
	}
	return s.changeRoom(ctx, room, in.WriteIf, s.patch)
}

// reading is Server.put or Server.patch.
type reading func(ctx context.Context, into any, current document, lasting ...string) error

// wantedRoom reads the body as a room; the error is a Problem.
func (s *Server) wantedRoom(ctx context.Context, read reading, current document, lasting ...string) (Room, error) {
	want := defaultRoom()
	if err := read(ctx, &want, current, lasting...); err != nil {
		return Room{}, s.told(ctx, err)
	}
	if want.Preset != "" {
		return Room{}, invalid("", Fault{Pointer: "#/preset", Detail: "only where a room is made, or set as a whole by PUT"})
	}
	name, fault := cleanName(want.Name)
	if fault != "" {
		return Room{}, invalid("", Fault{Pointer: "#/name", Detail: fault})
	}
	want.Name = name
	return want, nil
}

// changeRoom sets what the body makes of the present document.
func (s *Server) changeRoom(ctx context.Context, room *mixer.Room, when WriteIf, read reading) (*roomOutput, error) {
	now := roomOf(room.Info())
	if err := when.check(now.tag()); err != nil {
		return nil, err
	}
	current, err := documentOf(now)
	if err != nil {
		return nil, s.told(ctx, err)
	}
	want, err := s.wantedRoom(ctx, read, current, lastingRoom...)
	if err != nil {
		return nil, err
	}
	info, err := room.Update(ctx, want.patch(now))
	if err != nil {
		return nil, s.told(ctx, err)
	}
	if err := s.kept(s.keeper.sync(info.ID)); err != nil {
		return nil, err
	}
	body := roomOf(info)
	return &roomOutput{Tagged: tagged(body.tag()), Status: http.StatusOK, Body: body}, nil
}

func (s *Server) deleteRoom(ctx context.Context, in *roomWrite) (*empty, error) {
	room, err := s.room(in.Room)
	if err != nil {
		return nil, err
	}
	if err := in.check(roomOf(room.Info()).tag()); err != nil {
		return nil, err
	}
	s.sessions.markRoom(mixer.RoomID(in.Room), roomClosed)
	if err := s.rooms.DeleteRoom(ctx, mixer.RoomID(in.Room)); err != nil {
		return nil, s.told(ctx, err)
	}
	return nil, s.kept(s.keeper.forget(mixer.RoomID(in.Room)))
}

// room returns a room that exists, or a Problem.
func (s *Server) room(id string) (*mixer.Room, error) {
	room, err := s.rooms.Room(mixer.RoomID(id))
	if err != nil {
		return nil, problemOf(err)
	}
	return room, nil
}

// told makes of any error the Problem that a client is told, and logs what it
// is not told.
func (s *Server) told(ctx context.Context, err error) error {
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		s.log.Error("request failed", "request", scopeOf(ctx).id, "error", err)
	}
	return p
}
