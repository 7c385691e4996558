package mixer

import (
	"context"
	"slices"

	"mixdown/codec"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

// LayoutInfo says what the canvas shows where.
type LayoutInfo struct {
	// Epoch grows with every change.
	Epoch uint64
	// Mode is "grid".
	Mode   string
	Canvas layout.Canvas
	Tiles  []LayoutTile
}

// LayoutTile is one tile of the canvas.
type LayoutTile struct {
	Participant ParticipantID
	Source      codec.SourceID
	// Rect is in luma samples of the canvas.
	Rect layout.Rect
	Name string
}

// Layout returns what the main canvas shows where.
func (r *Room) Layout() LayoutInfo { return *r.main.layout.Load() }

// GroupLayout returns what the canvas of a group shows where, or NotFound.
func (r *Room) GroupLayout(group GroupID) (LayoutInfo, error) {
	for _, v := range r.snap.Load().views {
		if l := v.prog.layout.Load(); l != nil && v.prog.group == group {
			return *l, nil
		}
	}
	return LayoutInfo{}, &Error{Op: "layout.get", Kind: NotFound, Room: r.Info().ID, Err: ErrNoGroup}
}

// arrange brings a program's scene in line with those who are in it: a tile for
// each contributor's camera, whether it sends or not, and one more for each
// screen that is shared. Unchanged, it keeps the scene. anew says that members
// may have come or gone.
func (r *Room) arrange(v *view, anew bool) {
	g, members, now := v.prog, v.members, codec.Now()
	type shown struct {
		p      *Participant
		source codec.SourceID
		video  bool
	}
	var tiles []shown
	for _, p := range members {
		if p.source == nil {
			continue
		}
		tiles = append(tiles, shown{p, codec.Camera, p.source.shows(codec.Camera, now)})
		if p.source.shows(codec.Screen, now) {
			tiles = append(tiles, shown{p, codec.Screen, true})
		}
	}
	tiles = tiles[:min(len(tiles), layout.MaxTiles)]

	info := LayoutInfo{Mode: "grid", Canvas: r.room.Canvas}
	scene := &video.Scene{}
	rects := layout.Arrange(r.room.Canvas, len(tiles))
	for i, s := range tiles {
		name := s.p.facts.Load().name
		tile := video.Tile{Rect: rects[i], Name: name, ID: string(s.p.id)}
		if s.source == codec.Screen {
			tile.ID += "/screen"
		}
		if s.video {
			tile.Source = s.p.source.pictures[s.source]
		}
		scene.Tiles = append(scene.Tiles, tile)
		info.Tiles = append(info.Tiles, LayoutTile{Participant: s.p.id, Source: s.source, Rect: rects[i], Name: name})
	}
	old := g.scene.Load()
	if g.layout.Load() != nil && slices.Equal(old.Tiles, scene.Tiles) {
		if anew { // who comes too late for a tile may have had one elsewhere
			r.aim(members, old)
		}
		return
	}
	scene.Epoch = old.Epoch + 1
	info.Epoch = scene.Epoch
	g.layout.Store(&info)
	g.scene.Store(scene)
	r.aim(members, scene)
}

// aim tells every source at which size it is shown, or that it is not.
func (r *Room) aim(members []*Participant, scene *video.Scene) {
	for _, p := range members {
		if p.source == nil {
			continue
		}
		for _, picture := range p.source.pictures {
			var size layout.Rect
			for _, t := range scene.Tiles {
				if t.Source == video.PictureSource(picture) {
					size = t.Rect
				}
			}
			picture.SetTarget(size.W, size.H)
		}
	}
}

// videoLoop ticks all canvases until ctx is done.
func (r *Room) videoLoop(ctx context.Context) {
	idle := func() bool { return r.snap.Load().members == 0 }
	clock := &pace{epoch: r.epoch, rate: int64(r.main.canvas.FPS)}
	tick := func(n int64) {
		for _, v := range r.snap.Load().views {
			// A recording goes on while everybody is in groups.
			if len(v.members)+len(v.sinks) > 0 {
				v.prog.tickVideo(clock.pts(n))
			}
		}
	}
	runClock(ctx, clock, r.wakeVideo, idle, tick, &r.videoClock)
}
