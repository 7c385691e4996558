package api

import (
	"context"

	"mixdown/mixer"
)

// Layout is who is where in the picture.
type Layout struct {
	Mode   string `json:"mode" example:"grid"`
	Epoch  uint64 `json:"epoch" doc:"Grows with every change"`
	Canvas Canvas `json:"canvas" doc:"What the tiles are measured on"`
	Tiles  []Tile `json:"tiles"`
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
}

func layoutOf(info mixer.LayoutInfo) Layout {
	l := Layout{Mode: string(info.Spec.ByMode()), Epoch: info.Epoch, Canvas: Canvas{info.Canvas.Width, info.Canvas.Height, info.Canvas.FPS}, Tiles: make([]Tile, 0, len(info.Tiles))}
	for _, t := range info.Tiles {
		l.Tiles = append(l.Tiles, Tile{
			Participant: string(t.Participant), Source: t.Source.String(), Name: t.Name,
			X: t.Rect.X, Y: t.Rect.Y, Width: t.Rect.W, Height: t.Rect.H,
		})
	}
	return l
}

func (s *Server) getLayout(_ context.Context, in *struct {
	RoomPath
	ReadIf
	Group string `query:"group" doc:"A group's canvas; the main one without"`
}) (*layoutOutput, error) {
	room, err := s.room(in.Room)
	if err != nil {
		return nil, err
	}
	info, err := room.GroupLayout(mixer.GroupID(in.Group))
	if err != nil {
		return nil, problemOf(err)
	}
	body := layoutOf(info)
	tag := entityTag(nil, body)
	if err := in.check(tag); err != nil {
		return nil, err
	}
	return &layoutOutput{tagged(tag), body}, nil
}

type layoutOutput struct {
	Tagged
	Body Layout
}
