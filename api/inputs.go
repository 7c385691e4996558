package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"mixdown/mixer"
)

// Input is something that plays into a room without being a participant.
type Input struct {
	ID   string `json:"id" readOnly:"true" example:"in_5PQ7M4XHNWE2A"`
	File string `json:"file" required:"true" minLength:"1" maxLength:"255" doc:"A name in the server's media directory: Ogg with Opus, at most 10 minutes" example:"welcome.ogg"`
	// Fixed, like everything of an input, once it plays.
	Group     string    `json:"group" required:"false" maxLength:"64" doc:"The group that hears it; empty is the room's main program"`
	Gain      float64   `json:"gain" required:"false" minimum:"-40" maximum:"12" doc:"In dB"`
	CSRC      uint32    `json:"csrc" readOnly:"true" doc:"Names the input in mixed RTP streams"`
	StartedAt time.Time `json:"startedAt" readOnly:"true"`
	Duration  float64   `json:"duration" readOnly:"true" doc:"Seconds; then it ends by itself and is gone"`
}

func inputOf(info mixer.InputInfo) Input {
	return Input{
		ID: string(info.ID), File: info.File, Group: string(info.Group), Gain: info.GainDB, CSRC: info.CSRC,
		StartedAt: info.Started.UTC().Truncate(time.Millisecond), Duration: roundSeconds(info.Duration),
	}
}

// Nothing of an input can be changed.
func (in Input) tag() string { return entityTag(in.ID, in) }

// InputPath names an input in a path.
type InputPath struct {
	RoomPath
	ID string `path:"id" doc:"The input's id"`
}

type inputOutput struct {
	Tagged
	Location string `header:"Location"`
	Body     Input
}

func (s *Server) inputRoutes() {
	const all, path = "/v1/rooms/{room}/inputs", "/v1/rooms/{room}/inputs/{id}"
	register(s, operation{id: "create-input", method: http.MethodPost, path: all, summary: "Play a file into a room", need: inRoom(AdminRoom), status: http.StatusCreated, body: Input{}, experimental: true}, s.createInput)
	register(s, operation{id: "list-inputs", method: http.MethodGet, path: all, summary: "List what plays into a room", need: inRoom(ReadRoom), experimental: true}, s.listInputs)
	register(s, operation{id: "get-input", method: http.MethodGet, path: path, summary: "Look at an input", need: inRoom(ReadRoom), experimental: true}, s.getInput)
	register(s, operation{id: "delete-input", method: http.MethodDelete, path: path, summary: "End an input", need: inRoom(AdminRoom), experimental: true}, s.deleteInput)
}

func (s *Server) createInput(ctx context.Context, in *roomWrite) (*inputOutput, error) {
	room, err := s.room(in.Room)
	if err != nil {
		return nil, err
	}
	if err := in.check(""); err != nil {
		return nil, err
	}
	want := Input{}
	if err := s.put(ctx, &want, document{}); err != nil {
		return nil, s.told(ctx, err)
	}
	info, err := room.Play(ctx, mixer.InputRequest{File: want.File, Group: mixer.GroupID(want.Group), GainDB: want.Gain})
	if err != nil {
		return nil, s.told(ctx, err)
	}
	body := inputOf(info)
	return &inputOutput{Tagged: tagged(body.tag()), Location: "/v1/rooms/" + in.Room + "/inputs/" + body.ID, Body: body}, nil
}

func (s *Server) listInputs(_ context.Context, in *struct {
	RoomPath
	ListQuery
	ReadIf
}) (*listOutput[Input], error) {
	room, err := s.room(in.Room)
	if err != nil {
		return nil, err
	}
	all := slices.SortedFunc(slices.Values(room.Inputs()), func(a, b mixer.InputInfo) int { return cmp.Compare(a.ID, b.ID) })
	list, err := page(all, in.ListQuery, func(i mixer.InputInfo) string { return string(i.ID) }, inputOf)
	return answer(list, err, in.ReadIf)
}

// input returns one input of a room, or a Problem.
func (s *Server) input(at InputPath) (*mixer.Room, Input, error) {
	room, err := s.room(at.Room)
	if err != nil {
		return nil, Input{}, err
	}
	info, err := room.Input(mixer.InputID(at.ID))
	if err != nil {
		return nil, Input{}, problemOf(err)
	}
	return room, inputOf(info), nil
}

func (s *Server) getInput(_ context.Context, in *struct {
	InputPath
	ReadIf
}) (*inputOutput, error) {
	_, body, err := s.input(in.InputPath)
	if err != nil {
		return nil, err
	}
	if err := in.check(body.tag()); err != nil {
		return nil, err
	}
	return &inputOutput{Tagged: tagged(body.tag()), Body: body}, nil
}

func (s *Server) deleteInput(ctx context.Context, in *struct {
	InputPath
	WriteIf
}) (*empty, error) {
	room, now, err := s.input(in.InputPath)
	if err != nil {
		return nil, err
	}
	if err := in.check(now.tag()); err != nil {
		return nil, err
	}
	if err := room.EndInput(ctx, mixer.InputID(in.ID)); err != nil {
		return nil, s.told(ctx, err)
	}
	return nil, nil
}
