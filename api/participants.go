package api

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"time"

	"mixdown/codec"
	"mixdown/mixer"
)

// Participant is a participant as clients see it.
type Participant struct {
	ID       string    `json:"id" readOnly:"true" example:"p_7QK2M4XHNWE5A"`
	Identity string    `json:"identity" readOnly:"true" doc:"Who it is, by the token; empty without keys"`
	Name     string    `json:"name" required:"false" maxLength:"256" doc:"Shown under the tile"`
	Avatar   string    `json:"avatar" required:"false" maxLength:"255" doc:"A PNG or JPEG file of the media directory, shown instead of initials while there is no camera"`
	Kind     string    `json:"kind" readOnly:"true" doc:"How it is connected: webrtc"`
	Room     string    `json:"room" required:"false" maxLength:"64" doc:"The room's id. Another one, sent by itself, moves the participant there by the connection that it has; that takes the right to moderate both rooms"`
	Role     string    `json:"role" required:"false" enum:"participant,publisher,viewer" doc:"viewer has no tile and is not heard. Who joined as a participant can be made a viewer and a participant again"`
	State    string    `json:"state" required:"false" enum:"waiting,active,reconnecting,left" doc:"Who is waiting and not admitted is let in by setting it to active; nothing else can be set"`
	Admitted bool      `json:"admitted" readOnly:"true" doc:"False: in the waiting room"`
	Hidden   bool      `json:"hidden,omitempty" readOnly:"true" doc:"By its token: it only hears and sees, and is in no list and no event"`
	JoinedAt time.Time `json:"joinedAt" readOnly:"true"`
	CSRC     uint32    `json:"csrc" readOnly:"true" doc:"Names the participant in mixed RTP streams; unique in the room"`
	Group    string    `json:"group" required:"false" maxLength:"64" doc:"A group hears and sees itself alone. It begins with its first member and ends with its last; empty is the room's main program"`
	AlsoTo   []string  `json:"alsoTo" required:"false" maxItems:"16" doc:"Other groups that hear the participant too; they must have members, and are gone from here when they end"`
	Send     Send      `json:"send" required:"false" doc:"What it sends"`
	// Pointers, since what only the server sets may be missing in a request.
	Receive *Receive           `json:"receive" readOnly:"true" doc:"What it is sent"`
	Status  *ParticipantStatus `json:"status" readOnly:"true"`
}

// Send is what a participant sends.
type Send struct {
	Audio SendAudio  `json:"audio" required:"false"`
	Video *SendVideo `json:"video,omitempty" readOnly:"true" doc:"Missing when it sends no picture"`
}

// SendAudio is a participant's sound on its way into the mix.
type SendAudio struct {
	Codec            string  `json:"codec,omitempty" readOnly:"true" doc:"Missing when it sends no sound"`
	Muted            bool    `json:"muted" required:"false" doc:"Keep it out of the mix"`
	Gain             float64 `json:"gain" required:"false" minimum:"-40" maximum:"12" doc:"In dB"`
	Levelling        bool    `json:"levelling" required:"false" default:"true" doc:"Bring it slowly to the loudness of the others"`
	EchoGuard        bool    `json:"echoGuard" required:"false" default:"true" doc:"Do not let it be heard when it is what the participant is sent, out of a loudspeaker"`
	NoiseSuppression bool    `json:"noiseSuppression" required:"false" doc:"Take noise out of it: some processor time and 10 ms. Most clients do so themselves"`
}

// SendVideo is a participant's picture.
type SendVideo struct {
	Codec   string   `json:"codec" enum:"VP8,H264"`
	Sources []string `json:"sources" doc:"camera, screen"`
}

// Receive is what a participant is sent.
type Receive struct {
	Audio  bool    `json:"audio"`
	Tier   string  `json:"tier,omitempty" doc:"Missing when it is sent no picture" example:"640x360@30"`
	Codec  string  `json:"codec,omitempty" enum:"VP8,H264" doc:"VP8, or H264 where the client takes no VP8"`
	Limits *Limits `json:"limits,omitempty" doc:"What the client asked not to be exceeded"`
}

// Limits bound what a client is sent; what is missing is unbounded.
type Limits struct {
	MaxWidth   int  `json:"maxWidth,omitempty"`
	MaxHeight  int  `json:"maxHeight,omitempty"`
	MaxFPS     int  `json:"maxFps,omitempty"`
	MaxBitrate int  `json:"maxBitrate,omitempty" doc:"bit/s"`
	Video      bool `json:"video" doc:"False: no picture at all"`
	// ConstantSize goes with a client that bears no other size in mid-stream.
	ConstantSize bool `json:"constantSize,omitempty" doc:"The picture keeps its size: only frame rate and bitrate follow the link"`
}

// ParticipantStatus is what moves by itself.
type ParticipantStatus struct {
	Speaking bool     `json:"speaking"`
	Echo     bool     `json:"echo" doc:"It sends back what it is sent: its loudspeaker is open"`
	RTT      float64  `json:"rttMs" doc:"Round trip, ms"`
	Loss     float64  `json:"lossPct" doc:"Of what it was sent lately, percent"`
	Cores    float64  `json:"cores" doc:"Processor time of what it sends, seconds a second"`
	LipSync  *LipSync `json:"lipSync,omitempty" doc:"Missing unless it sends sound and a camera's picture"`
}

// LipSync says how a participant's camera is held back for its sound.
type LipSync struct {
	Delay    float64 `json:"delayMs" doc:"How long pictures wait, ms"`
	Skew     float64 `json:"skewMs" doc:"How much later than their sound they are believed to be shown all the same, ms; negative is earlier"`
	Reported bool    `json:"reported" doc:"False: its sender reports tell nothing that can be believed, so both are taken to be as long on their way"`
}

// lastingParticipant are the fields that a client can send back but not change.
var lastingParticipant = []string{"id", "identity", "kind", "joinedAt", "csrc"}

func participantOf(info mixer.ParticipantInfo) Participant {
	p := Participant{
		ID: string(info.ID), Identity: info.Identity, Name: info.Name, Avatar: info.Avatar, Kind: info.Kind,
		Room: string(info.Room), Role: info.Role.String(), State: info.State.String(), Admitted: !info.Held, Hidden: info.Hidden,
		JoinedAt: info.Joined.UTC().Truncate(time.Millisecond), CSRC: info.CSRC,
		Group: string(info.Group), AlsoTo: make([]string, 0, len(info.AlsoTo)),
		Send: Send{Audio: SendAudio{
			Muted: info.Muted, Gain: info.GainDB,
			Levelling: !info.NoLevelling, EchoGuard: !info.NoEchoGuard, NoiseSuppression: info.Suppress,
		}},
		Receive: &Receive{Audio: info.Takes.Audio},
		Status: &ParticipantStatus{
			Speaking: info.Speaking, Echo: info.Echo,
			RTT:   math.Round(info.RTT.Seconds()*1e4) / 10,
			Loss:  math.Round(info.LossFraction*1e4) / 100,
			Cores: math.Round(info.Cores*1e4) / 1e4,
		},
	}
	if s := info.Sync[codec.Camera]; s.Known && info.Sends.Audio && info.Sends.Camera {
		p.Status.LipSync = &LipSync{
			Delay: math.Round(s.Delay.Seconds()*1e4) / 10, Skew: math.Round(s.Skew.Seconds()*1e4) / 10, Reported: s.Reported,
		}
	}
	if info.Audience {
		p.Role = mixer.RoleViewer.String()
	}
	for _, g := range info.AlsoTo {
		p.AlsoTo = append(p.AlsoTo, string(g))
	}
	if info.Sends.Audio {
		p.Send.Audio.Codec = codec.Opus.String()
	}
	var sources []string
	if info.Sends.Camera {
		sources = append(sources, codec.Camera.String())
	}
	if info.Sends.Screen {
		sources = append(sources, codec.Screen.String())
	}
	if len(sources) > 0 {
		p.Send.Video = &SendVideo{Codec: info.Sends.VideoCodec().String(), Sources: sources}
	}
	if info.Tier.Width > 0 {
		p.Receive.Tier, p.Receive.Codec = info.Tier.String(), info.Takes.VideoCodec().String()
	}
	l := info.Limits
	l.MaxBlocks, l.MaxBlockRate = 0, 0 // by its codec, not asked for
	if l != (mixer.Limits{}) {
		p.Receive.Limits = &Limits{l.MaxWidth, l.MaxHeight, l.MaxFPS, l.MaxBitrateBps, !l.NoVideo, l.ConstantSize}
	}
	return p
}

func (p Participant) tag() string {
	wanted := struct {
		ID, Name, Group, Room, Role string
		AlsoTo                      []string
		Audio                       SendAudio
	}{p.ID, p.Name, p.Group, p.Room, p.Role, p.AlsoTo, p.Send.Audio}
	return entityTag(wanted, p)
}

// ParticipantPath names a participant in a path.
type ParticipantPath struct {
	RoomPath
	ID string `path:"id" doc:"The participant's id"`
}

type participantOutput struct {
	Tagged
	Body Participant
}

func (s *Server) participantRoutes() {
	const path = "/v1/rooms/{room}/participants/{id}"
	register(s, operation{id: "list-participants", method: http.MethodGet, path: "/v1/rooms/{room}/participants", summary: "List the participants of a room", need: inRoom(ReadRoom), experimental: true}, s.listParticipants)
	register(s, operation{id: "get-participant", method: http.MethodGet, path: path, summary: "Look at a participant", need: inRoom(ReadRoom), experimental: true}, s.getParticipant)
	register(s, operation{id: "patch-participant", method: http.MethodPatch, path: path, summary: "Rename or mute a participant, set its gain, let it in, make it a viewer, or move it to a group or to another room", need: inRoom(AdminRoom), body: Participant{}, experimental: true}, s.patchParticipant)
	register(s, operation{id: "delete-participant", method: http.MethodDelete, path: path, summary: "Remove a participant from the room", need: inRoom(AdminRoom), experimental: true}, s.deleteParticipant)
}

func (s *Server) listParticipants(ctx context.Context, in *struct {
	RoomPath
	ListQuery
	ReadIf
	Hidden bool `query:"hidden" doc:"true: those who are hidden, for moderators"`
}) (*listOutput[Participant], error) {
	room, err := s.room(in.Room)
	if err != nil {
		return nil, err
	}
	infos := room.Participants()
	if in.Hidden {
		if err := scopeOf(ctx).may(Grant{Action: AdminRoom, Room: mixer.RoomID(in.Room)}); err != nil {
			return nil, err
		}
		infos = room.Hidden()
	}
	all := slices.SortedFunc(slices.Values(infos), func(a, b mixer.ParticipantInfo) int { return cmp.Compare(a.ID, b.ID) })
	list, err := page(all, in.ListQuery, func(i mixer.ParticipantInfo) string { return string(i.ID) }, participantOf)
	return answer(list, err, in.ReadIf)
}

// participant returns one participant of a room, or a Problem.
func (s *Server) participant(at ParticipantPath) (*mixer.Room, Participant, error) {
	room, err := s.room(at.Room)
	if err != nil {
		return nil, Participant{}, err
	}
	info, err := room.Participant(mixer.ParticipantID(at.ID))
	if err != nil {
		return nil, Participant{}, problemOf(err)
	}
	return room, participantOf(info), nil
}

func (s *Server) getParticipant(_ context.Context, in *struct {
	ParticipantPath
	ReadIf
}) (*participantOutput, error) {
	_, body, err := s.participant(in.ParticipantPath)
	if err != nil {
		return nil, err
	}
	if err := in.check(body.tag()); err != nil {
		return nil, err
	}
	return &participantOutput{tagged(body.tag()), body}, nil
}

func (s *Server) patchParticipant(ctx context.Context, in *struct {
	ParticipantPath
	WriteIf
}) (*participantOutput, error) {
	room, now, err := s.participant(in.ParticipantPath)
	if err != nil {
		return nil, err
	}
	if err := in.check(now.tag()); err != nil {
		return nil, err
	}
	current, err := documentOf(now)
	if err != nil {
		return nil, s.told(ctx, err)
	}
	want := Participant{Send: Send{Audio: SendAudio{Levelling: true, EchoGuard: true}}}
	if err := s.patch(ctx, &want, current, lastingParticipant...); err != nil {
		return nil, s.told(ctx, err)
	}
	if info, moved, err := s.patchedRoom(ctx, room, now, want); moved {
		if err != nil {
			return nil, s.told(ctx, err)
		}
		body := participantOf(info)
		return &participantOutput{tagged(body.tag()), body}, nil
	}
	name, fault := cleanName(want.Name)
	if fault != "" {
		return nil, invalid("", Fault{Pointer: "#/name", Detail: fault})
	}
	sound := want.Send.Audio
	noLevelling, noEchoGuard := !sound.Levelling, !sound.EchoGuard
	patch := mixer.ParticipantPatch{
		Name: &name, Muted: &sound.Muted, GainDB: &sound.Gain,
		NoLevelling: &noLevelling, NoEchoGuard: &noEchoGuard, Suppress: &sound.NoiseSuppression,
	}
	if err := statePatch(now, want, &patch); err != nil {
		return nil, err
	}
	if want.Avatar != now.Avatar {
		patch.Avatar = &want.Avatar
	}
	// What is not changed is not asked for: a group among AlsoTo may end meanwhile.
	if want.Group != now.Group {
		group := mixer.GroupID(want.Group)
		patch.Group = &group
	}
	if !slices.Equal(want.AlsoTo, now.AlsoTo) {
		groups := make([]mixer.GroupID, 0, len(want.AlsoTo))
		for _, g := range want.AlsoTo {
			groups = append(groups, mixer.GroupID(g))
		}
		patch.AlsoTo = &groups
	}
	info, err := room.UpdateParticipant(ctx, mixer.ParticipantID(in.ID), patch)
	if err != nil {
		return nil, s.told(ctx, err)
	}
	body := participantOf(info)
	return &participantOutput{tagged(body.tag()), body}, nil
}

// errKicked is the reason that the room logs.
var errKicked = errors.New("removed by request")

func (s *Server) deleteParticipant(ctx context.Context, in *struct {
	ParticipantPath
	WriteIf
}) (*empty, error) {
	room, now, err := s.participant(in.ParticipantPath)
	if err != nil {
		return nil, err
	}
	if err := in.check(now.tag()); err != nil {
		return nil, err
	}
	// Before, so that it does not come back by the same token.
	if err := s.endTokens(ctx, mixer.RoomID(in.Room), now.Identity); err != nil {
		return nil, err
	}
	return nil, s.removeParticipant(ctx, room, mixer.ParticipantID(in.ID), errKicked)
}
