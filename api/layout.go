package api

import (
	"context"
	"errors"
	"math"
	"net/http"

	"mixdown/mixer"
	"mixdown/mixer/layout"
)

// Layout is how a picture is arranged, and who is where in it.
type Layout struct {
	LayoutSpec
	Epoch  uint64  `json:"epoch" readOnly:"true" doc:"Grows with every change"`
	Canvas *Canvas `json:"canvas" readOnly:"true" doc:"What the shown tiles are measured on"`
	Shown  []Tile  `json:"shown" readOnly:"true" doc:"Who is where, in the order of drawing"`
	// Not in events, which are told when something changes.
	Cost *LayoutCost `json:"cost,omitempty" readOnly:"true" doc:"What the picture costs the server; missing in events"`
}

// LayoutSpec is what is asked for.
type LayoutSpec struct {
	Mode            string       `json:"mode" required:"false" enum:"grid,speaker,sidebar,presentation,pip,single,seven,custom" default:"grid" doc:"speaker, sidebar: a large one, the others below or on the right. presentation: the same with a shared screen, a grid without. pip: one fills the picture, another lies in its corner. seven: a large one and a row of seven. Pictures higher than wide have the others below always"`
	Tiles           []LayoutTile `json:"tiles" required:"false" maxItems:"49" doc:"The rectangles of mode custom, and of no other"`
	Order           []string     `json:"order" required:"false" maxItems:"100" doc:"Participants who come first, in this order; p_…/screen is the screen that one shares"`
	Pins            []string     `json:"pins" required:"false" maxItems:"100" doc:"Participants who come before all others, whoever speaks; the first of them is the large one"`
	Limit           int          `json:"limit" required:"false" minimum:"0" maximum:"49" doc:"How many are shown at most: who spoke last, who is pinned and screens stay; 0 is as many as the mode has room for"`
	HideSelf        bool         `json:"hideSelf" required:"false" doc:"Nobody sees himself. Of a room: each who sends a picture gets one of his own, at its price"`
	Labels          bool         `json:"labels" required:"false" default:"true" doc:"Draw names"`
	Border          bool         `json:"border" required:"false" default:"true" doc:"Draw a border around who speaks"`
	Marks           bool         `json:"marks" required:"false" default:"true" doc:"Draw who is muted or has a bad connection"`
	Fit             string       `json:"fit" required:"false" enum:"fit,fill" default:"fit" doc:"fit shows all of each picture, with bars; fill crops it to its tile. Shared screens are never cropped"`
	Background      string       `json:"background" required:"false" pattern:"^(#[0-9A-Fa-f]{6})?$" patternDescription:"#rrggbb" doc:"A colour; empty is the server's own"`
	BackgroundImage string       `json:"backgroundImage" required:"false" maxLength:"255" doc:"A PNG or JPEG file in the server's media directory; empty is none"`
}

// LayoutTile is a rectangle of a custom layout, in fractions of the picture.
type LayoutTile struct {
	X    float64 `json:"x" required:"false" minimum:"0" maximum:"1"`
	Y    float64 `json:"y" required:"false" minimum:"0" maximum:"1"`
	W    float64 `json:"w" minimum:"0.02" maximum:"1"`
	H    float64 `json:"h" minimum:"0.02" maximum:"1"`
	Z    int     `json:"z" required:"false" minimum:"-1000" maximum:"1000" doc:"The higher covers the lower, of equals the later the earlier"`
	Show string  `json:"show" maxLength:"140" example:"rank:1" doc:"speaker; screen, the newest one; rank:1 to rank:49, whoever has no other tile; participant:p_…"`
	Fill *bool   `json:"fill,omitempty" doc:"Crop, or do not, whatever fit says"`
}

// Tile is one participant's place, in samples of the canvas.
type Tile struct {
	Participant string `json:"participant"`
	Source      string `json:"source" enum:"camera,screen"`
	Name        string `json:"name"`
	X           int    `json:"x"`
	Y           int    `json:"y"`
	Width       int    `json:"width"`
	Height      int    `json:"height"`
	Z           int    `json:"z" doc:"Greater for what lies over others"`
	Fill        bool   `json:"fill" doc:"The picture is cropped to the tile"`
}

// LayoutCost is what a picture costs.
type LayoutCost struct {
	Encodes int     `json:"encodes" doc:"How many times it is encoded: once for each size that somebody watches"`
	Cores   float64 `json:"cores" doc:"Processor time of drawing and encoding, seconds a second"`
}

// defaultLayout is what a client gets that asks for nothing in particular.
func defaultLayout() LayoutSpec { return layoutSpecOf(layout.Spec{}) }

func layoutSpecOf(s layout.Spec) LayoutSpec {
	out := LayoutSpec{
		Mode: string(s.ByMode()), Tiles: make([]LayoutTile, 0, len(s.Tiles)),
		Order: append([]string{}, s.Order...), Pins: append([]string{}, s.Pins...), Limit: s.Limit,
		HideSelf: s.HideSelf, Labels: !s.NoLabels, Border: !s.NoBorder, Marks: !s.NoMarks, Fit: "fit",
		Background: s.Background, BackgroundImage: s.BackgroundImage,
	}
	if s.Fill {
		out.Fit = "fill"
	}
	for _, t := range s.Tiles {
		out.Tiles = append(out.Tiles, LayoutTile(t))
	}
	return out
}

// spec is the same as the mixer has it; the mixer validates it.
func (l LayoutSpec) spec() layout.Spec {
	s := layout.Spec{
		Mode: layout.Mode(l.Mode), Order: l.Order, Pins: l.Pins, Limit: l.Limit, HideSelf: l.HideSelf,
		NoLabels: !l.Labels, NoBorder: !l.Border, NoMarks: !l.Marks, Fill: l.Fit == "fill",
		Background: l.Background, BackgroundImage: l.BackgroundImage,
	}
	for _, t := range l.Tiles {
		s.Tiles = append(s.Tiles, layout.CustomTile(t))
	}
	return s
}

// layoutOf is a layout as events have it.
func layoutOf(info mixer.LayoutInfo) Layout {
	l := Layout{
		LayoutSpec: layoutSpecOf(info.Spec), Epoch: info.Epoch,
		Canvas: &Canvas{info.Canvas.Width, info.Canvas.Height, info.Canvas.FPS}, Shown: make([]Tile, 0, len(info.Tiles)),
	}
	for _, t := range info.Tiles {
		l.Shown = append(l.Shown, Tile{
			Participant: string(t.Participant), Source: t.Source.String(), Name: t.Name,
			X: t.Rect.X, Y: t.Rect.Y, Width: t.Rect.W, Height: t.Rect.H, Z: t.Z, Fill: t.Fill,
		})
	}
	return l
}

// pricedLayoutOf is a layout as its resource has it.
func pricedLayoutOf(info mixer.LayoutInfo) Layout {
	l := layoutOf(info)
	l.Cost = &LayoutCost{info.Cost.Encodes, math.Round(info.Cost.Cores*1e4) / 1e4}
	return l
}

func (l Layout) tag() string { return entityTag(l.LayoutSpec, l) }

type layoutOutput struct {
	Tagged
	Status   int
	Location string `header:"Location"`
	Body     Layout
}

func layoutAnswer(status int, info mixer.LayoutInfo) *layoutOutput {
	body := pricedLayoutOf(info)
	return &layoutOutput{Tagged: tagged(body.tag()), Status: status, Body: body}
}

// GroupQuery names whose picture is meant.
type GroupQuery struct {
	Group string `query:"group" doc:"A group's picture; the main one without"`
}

type layoutWrite struct {
	RoomPath
	GroupQuery
	WriteIf
}

type personalWrite struct {
	ParticipantPath
	DryRun bool `query:"dryRun" doc:"Change nothing: say what would be shown, and what it would cost"`
	WriteIf
}

func (s *Server) layoutRoutes() {
	const path, personal = "/v1/rooms/{room}/layout", "/v1/rooms/{room}/participants/{id}/layout"
	register(s, operation{id: "get-layout", method: http.MethodGet, path: path, summary: "How the picture is arranged, and who is where in it", need: inRoom(ReadRoom), experimental: true}, s.getLayout)
	register(s, operation{id: "put-layout", method: http.MethodPut, path: path, summary: "Arrange the picture anew", need: inRoom(AdminRoom), body: Layout{}, between: s.limitLayouts, experimental: true}, s.putLayout)
	register(s, operation{id: "patch-layout", method: http.MethodPatch, path: path, summary: "Change some of how the picture is arranged", need: inRoom(AdminRoom), body: Layout{}, between: s.limitLayouts, experimental: true}, s.patchLayout)
	register(s, operation{id: "get-personal-layout", method: http.MethodGet, path: personal, summary: "How a participant's own picture is arranged, if it has one", need: inRoom(ReadRoom), experimental: true}, s.getPersonalLayout)
	register(s, operation{id: "put-personal-layout", method: http.MethodPut, path: personal, summary: "Give a participant a picture of its own, drawn and encoded for it alone", need: s.onOwnLayout, body: Layout{}, between: s.limitLayouts, experimental: true}, s.putPersonalLayout)
	register(s, operation{id: "delete-personal-layout", method: http.MethodDelete, path: personal, summary: "Show a participant what all are shown", need: s.onOwnLayout, between: s.limitLayouts, experimental: true}, s.deletePersonalLayout)
}

// roomLayout returns the layout of a room or a group as it is, or a Problem.
func (s *Server) roomLayout(at RoomPath, group GroupQuery) (*mixer.Room, mixer.LayoutInfo, error) {
	room, err := s.room(at.Room)
	if err != nil {
		return nil, mixer.LayoutInfo{}, err
	}
	info, err := room.GroupLayout(mixer.GroupID(group.Group))
	if err != nil {
		return nil, mixer.LayoutInfo{}, problemOf(err)
	}
	return room, info, nil
}

func (s *Server) getLayout(_ context.Context, in *struct {
	RoomPath
	GroupQuery
	ReadIf
}) (*layoutOutput, error) {
	_, info, err := s.roomLayout(in.RoomPath, in.GroupQuery)
	if err != nil {
		return nil, err
	}
	out := layoutAnswer(http.StatusOK, info)
	return out, in.check(out.ETag)
}

func (s *Server) putLayout(ctx context.Context, in *layoutWrite) (*layoutOutput, error) {
	return s.changeLayout(ctx, in, s.put)
}

func (s *Server) patchLayout(ctx context.Context, in *layoutWrite) (*layoutOutput, error) {
	return s.changeLayout(ctx, in, s.patch)
}

func (s *Server) changeLayout(ctx context.Context, in *layoutWrite, read reading) (*layoutOutput, error) {
	room, info, err := s.roomLayout(in.RoomPath, in.GroupQuery)
	if err != nil {
		return nil, err
	}
	now := pricedLayoutOf(info)
	if err := in.check(now.tag()); err != nil {
		return nil, err
	}
	spec, err := s.wantedLayout(ctx, now, read, "canvas")
	if err != nil {
		return nil, err
	}
	if info, err = room.SetLayout(ctx, mixer.GroupID(in.Group), spec); err != nil {
		return nil, s.told(ctx, err)
	}
	if err := s.kept(s.keeper.sync(mixer.RoomID(in.Room))); err != nil {
		return nil, err
	}
	return layoutAnswer(http.StatusOK, info), nil
}

// wantedLayout reads the body as a layout; the error is a Problem.
func (s *Server) wantedLayout(ctx context.Context, now Layout, read reading, lasting ...string) (layout.Spec, error) {
	current, err := documentOf(now)
	if err != nil {
		return layout.Spec{}, s.told(ctx, err)
	}
	want := Layout{LayoutSpec: defaultLayout()}
	if err := read(ctx, &want, current, lasting...); err != nil {
		return layout.Spec{}, s.told(ctx, err)
	}
	return want.spec(), nil
}

// personalLayout returns a participant's own layout; is says whether it has
// one. The error is a Problem.
func (s *Server) personalLayout(at ParticipantPath) (room *mixer.Room, info mixer.LayoutInfo, is bool, err error) {
	if room, err = s.room(at.Room); err != nil {
		return nil, info, false, err
	}
	info, err = room.PersonalLayout(mixer.ParticipantID(at.ID))
	switch {
	case errors.Is(err, mixer.ErrNoCanvas):
		return room, info, false, nil
	case err != nil:
		return nil, info, false, problemOf(err)
	}
	return room, info, true, nil
}

func (s *Server) getPersonalLayout(_ context.Context, in *struct {
	ParticipantPath
	ReadIf
}) (*layoutOutput, error) {
	_, info, is, err := s.personalLayout(in.ParticipantPath)
	switch {
	case err != nil:
		return nil, err
	case !is:
		return nil, noLayout.problem("it sees what all see")
	}
	out := layoutAnswer(http.StatusOK, info)
	return out, in.check(out.ETag)
}

func (s *Server) putPersonalLayout(ctx context.Context, in *personalWrite) (*layoutOutput, error) {
	room, info, is, err := s.personalLayout(in.ParticipantPath)
	if err != nil {
		return nil, err
	}
	now, tag := pricedLayoutOf(info), ""
	if is {
		tag = now.tag()
	}
	if err := in.check(tag); err != nil {
		return nil, err
	}
	spec, err := s.wantedLayout(ctx, now, s.put)
	if err != nil {
		return nil, err
	}
	if info, err = room.SetPersonalLayout(ctx, mixer.ParticipantID(in.ID), &spec, in.DryRun); err != nil {
		return nil, s.told(ctx, err)
	}
	if is || in.DryRun {
		return layoutAnswer(http.StatusOK, info), nil
	}
	out := layoutAnswer(http.StatusCreated, info)
	out.Location = "/v1/rooms/" + in.Room + "/participants/" + in.ID + "/layout"
	return out, nil
}

func (s *Server) deletePersonalLayout(ctx context.Context, in *struct {
	ParticipantPath
	WriteIf
}) (*empty, error) {
	room, info, is, err := s.personalLayout(in.ParticipantPath)
	if err != nil {
		return nil, err
	}
	tag := ""
	if is {
		tag = pricedLayoutOf(info).tag()
	}
	if err := in.check(tag); err != nil {
		return nil, err
	}
	// Also where there is none to be seen: it may have been asked for before
	// the participant was connected.
	if _, err := room.SetPersonalLayout(ctx, mixer.ParticipantID(in.ID), nil, false); err != nil {
		return nil, s.told(ctx, err)
	}
	if !is {
		return nil, noLayout.problem("it sees what all see")
	}
	return nil, nil
}

// faultsOf turns what is wrong with a layout into faults; at is the pointer of
// the layout in the body.
func faultsOf(err error, at string) []Fault {
	var faults []Fault
	for _, f := range layout.Faults(err) {
		faults = append(faults, Fault{Pointer: "#" + at + f.Pointer, Detail: f.Detail})
	}
	return faults[:min(len(faults), maxFaults)]
}
