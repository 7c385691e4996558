package mixer

import (
	"context"
	"errors"
	"slices"
	"time"

	"mixdown/codec"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

// LayoutInfo says what a canvas shows where.
type LayoutInfo struct {
	// Epoch grows with every change.
	Epoch uint64
	// Spec is what was asked for.
	Spec   layout.Spec
	Canvas layout.Canvas
	// Tiles are in the order in which they are drawn.
	Tiles []LayoutTile
	// Cost is what the canvas costs now; zero in events.
	Cost LayoutCost
}

// LayoutTile is one tile of the canvas.
type LayoutTile struct {
	Participant ParticipantID
	Source      codec.SourceID
	// Rect is in luma samples of the canvas.
	Rect layout.Rect
	// Z is greater for what is drawn over others.
	Z int
	// Fill says that the picture is cropped to the tile.
	Fill bool
	Name string
}

// LayoutCost is the price of a canvas: of drawing it and encoding it, for all
// who take it together.
type LayoutCost struct {
	// Encodes is how many encoders run.
	Encodes int
	// Cores is processor time in seconds a second, over the last seconds.
	Cores float64
}

// weakLink is the loss of a participant's downlink from which his tile says so.
const weakLink = 0.10

// Layout returns what the main canvas shows where.
func (r *Room) Layout() LayoutInfo {
	info, _ := r.GroupLayout("")
	return info
}

// GroupLayout returns what the shared canvas of a group shows where, or NotFound.
func (r *Room) GroupLayout(group GroupID) (LayoutInfo, error) {
	for _, v := range r.snap.Load().views {
		if v.prog.group == group && v.canvases[0].info.Load() != nil {
			return v.canvases[0].layoutInfo(), nil
		}
	}
	return LayoutInfo{}, &Error{Op: "layout.get", Kind: NotFound, Room: r.Info().ID, Err: ErrNoGroup}
}

// SetLayout changes how the shared canvas of a group is arranged, at once, and
// returns what it shows then. Invalid names the faulty field, NotFound the
// group; an [Overload] where everybody would get a canvas of his own.
func (r *Room) SetLayout(ctx context.Context, group GroupID, spec layout.Spec) (LayoutInfo, error) {
	const op = "layout.set"
	looks, err := newStyle(op, &r.cfg, r.Info().Canvas, spec)
	if err != nil {
		return LayoutInfo{}, err
	}
	err = r.do(ctx, op, func() error {
		i := slices.IndexFunc(r.programs, func(g *program) bool { return g.group == group })
		if i < 0 {
			return &Error{Op: op, Kind: NotFound, Room: r.room.ID, Err: ErrNoGroup}
		}
		if err := r.admitOthers(op, r.programs[i], &spec); err != nil {
			return err
		}
		r.programs[i].shared().style = looks
		if group == "" {
			r.room.Layout, r.looks = spec, looks
		}
		return nil
	})
	if err != nil {
		return LayoutInfo{}, err
	}
	return r.GroupLayout(group)
}

// layoutInfo is what the canvas shows and costs now. It must have been arranged.
func (c *canvas) layoutInfo() LayoutInfo {
	info := *c.info.Load()
	for _, rendition := range *c.all.Load() {
		if rendition.Stats().Subscribers > 0 {
			info.Cost.Encodes++
		}
	}
	info.Cost.Cores = c.cost.cores()
	return info
}

// arrange brings the scenes of a program's canvases in line with those who are
// in it. anew says that members or canvases may have come or gone.
func (r *Room) arrange(v *view, anew bool) {
	for _, c := range v.canvases {
		if r.arrangeCanvas(v, c) {
			anew = true
		}
		if r.passThrough(c) {
			anew = true
		}
	}
	if anew {
		r.aim(v)
	}
}

// shownItem is what a layout may show: a participant's camera, whether it sends
// or not, or a screen that is being shared.
type shownItem struct {
	layout.Item
	p      *Participant
	source codec.SourceID
	rests  bool // its picture is left out for want of processor time
}

// items lists what canvas c of a program may show.
func (v *view) items(c *canvas, now time.Duration) []shownItem {
	items := make([]shownItem, 0, len(v.members)+2) // a screen or two
	for _, p := range v.members {
		if p.source == nil || p.facts.Load().audience || c.spec.HideSelf && c.owner == p {
			continue
		}
		add := func(source codec.SourceID, suffix string, shows bool) {
			items = append(items, shownItem{Item: layout.Item{
				ID: string(p.id) + suffix, Owner: string(p.id),
				Screen: source == codec.Screen, Video: shows, Spoke: p.spoke,
			}, p: p, source: source})
		}
		add(codec.Camera, "", p.source.shows(codec.Camera, now))
		if p.source.shows(codec.Screen, now) {
			add(codec.Screen, "/screen", true)
		}
	}
	return items
}

// solve says where canvas c would show what under spec.
func (v *view) solve(c *canvas, items []shownItem) *layout.Plan {
	plain := make([]layout.Item, len(items))
	for i := range items {
		plain[i] = items[i].Item
	}
	return layout.Solve(c.size, c.spec, plain, string(v.prog.foremost()), c.plan)
}

// arrangeCanvas solves the canvas's layout and makes its scene, and reports
// whether that changed. Unchanged, it keeps the scene.
func (r *Room) arrangeCanvas(v *view, c *canvas) (changed bool) {
	items := v.items(c, codec.Now())
	rest(items, &c.spec, v.prog.foremost(), r.governed)
	if told := c.info.Load(); told != nil && !told.Spec.Equal(c.spec) {
		c.plan = nil // who asks for another layout sees everybody in his place
	}
	plan := v.solve(c, items)
	c.plan = plan
	info := LayoutInfo{Spec: c.spec, Canvas: c.size, Tiles: make([]LayoutTile, 0, len(plan.Tiles))}
	scene := &video.Scene{Background: c.background(), Tiles: make([]video.Tile, 0, len(plan.Tiles))}
	for _, placed := range plan.Tiles {
		if placed.Item < 0 {
			continue
		}
		item := &items[placed.Item]
		scene.Tiles = append(scene.Tiles, v.tile(c, placed, item))
		info.Tiles = append(info.Tiles, LayoutTile{
			Participant: item.p.id, Source: item.source, Rect: placed.Rect, Z: placed.Z, Fill: placed.Fill, Name: item.p.facts.Load().name,
		})
	}
	if len(scene.Tiles) == 1 && scene.Tiles[0].Rect == c.size.Bounds() && c.spec.NoLabels {
		scene.Tiles[0].Bare = true
	}
	old, told := c.scene.Load(), c.info.Load()
	if told == nil || !slices.Equal(told.Tiles, info.Tiles) || !told.Spec.Equal(info.Spec) {
		if told != nil {
			info.Epoch = told.Epoch
		}
		info.Epoch++
		c.info.Store(&info)
	}
	if told != nil && slices.Equal(old.Tiles, scene.Tiles) && old.Background == scene.Background {
		return false
	}
	scene.Epoch = old.Epoch + 1
	c.scene.Store(scene)
	return true
}

// tile is how an item looks on canvas c.
func (v *view) tile(c *canvas, placed layout.Placed, item *shownItem) video.Tile {
	f := item.p.facts.Load()
	tile := video.Tile{
		Rect: placed.Rect, Fill: placed.Fill, Name: f.name, NoLabel: c.spec.NoLabels, ID: item.ID,
		Screen: item.Screen, NoMarks: c.spec.NoMarks,
	}
	if !item.Screen {
		tile.Avatar = item.p.face
	}
	if item.Video && !item.rests {
		tile.Source = item.p.source.pictures[item.source]
	}
	if f.state == StateReconnecting {
		tile.Link = video.LinkLost
	}
	if item.Screen {
		return tile
	}
	tile.Speaking = !c.spec.NoBorder && item.p.id == v.prog.dominant() && item.p.source.speaking.Load()
	if !c.spec.NoMarks {
		tile.Muted = f.muted
		if tile.Link == video.LinkGood && item.p.lossFraction() >= weakLink {
			tile.Link = video.LinkWeak
		}
	}
	return tile
}

// aim tells every source the largest size at which any canvas that is drawn
// shows it, or that none does.
func (r *Room) aim(v *view) {
	for _, p := range v.members {
		if p.source == nil {
			continue
		}
		for id, picture := range p.source.pictures {
			var most, drawn video.Tile
			crop := true // what one canvas crops is lost to the others
			for _, c := range v.canvases {
				for _, t := range c.scene.Load().Tiles {
					if t.Source == video.PictureSource(picture) && t.Rect.Area() > most.Rect.Area() {
						most = t
					}
					if t.Source == video.PictureSource(picture) && c.drew && t.Rect.Area() > drawn.Rect.Area() {
						drawn = t
					}
					if t.Source == video.PictureSource(picture) && c.drew {
						crop = crop && t.Fill
					}
				}
			}
			p.source.shown[id] = most.Rect
			picture.SetTarget(drawn.Rect.W, drawn.Rect.H, drawn.Fill && crop)
		}
	}
}

// background is what lies behind the tiles.
func (c *canvas) background() video.Background {
	colour, ok := layout.ParseColour(c.spec.Background)
	return video.Background{Colour: colour, HasColour: ok, Image: c.backdrop}
}

// ErrNoCanvas says that a participant has no canvas of his own.
var ErrNoCanvas = errors.New("the participant has no layout of its own")

// videoLoop ticks all canvases until ctx is done.
func (r *Room) videoLoop(ctx context.Context) {
	idle := func() bool { return r.snap.Load().members == 0 }
	clock := &pace{epoch: r.epoch, rate: int64(r.main.shared().size.FPS)}
	tick := func(n int64) {
		for _, v := range r.snap.Load().views {
			// A recording goes on while everybody is in groups.
			if len(v.members)+len(v.sinks) > 0 {
				for _, c := range v.canvases {
					c.tick(clock.pts(n))
				}
			}
		}
	}
	runClock(ctx, clock, r.wakeVideo, idle, tick, &r.videoClock)
}
