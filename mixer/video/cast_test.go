package video

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
)

// member is one of those whom test scenes show.
type member struct {
	name           string
	picture        *codec.VideoFrame // at the size at which it was sent; nil for none
	screen         *codec.VideoFrame // shared as well
	avatar         *codec.VideoFrame
	muted          bool
	link           Link
	frozen         bool
	showsAs, shows *fitted
}

// fitted is a source that shows a picture as a [Source] does: at the size of its tile.
type fitted struct {
	still
	from *codec.VideoFrame
}

// aim renders the picture for a tile, as Source.render does.
func (s *fitted) aim(t testing.TB, pool *codec.VideoPool, tile Tile) {
	t.Helper()
	at, part := tile.Rect, layout.Rect{W: s.from.Width, H: s.from.Height}
	if tile.Fill {
		part = layout.Fill(tile.Rect, part.W, part.H)
	} else {
		at = layout.Fit(tile.Rect, part.W, part.H)
	}
	f, err := pool.Get(at.W, at.H)
	if err != nil {
		t.Fatal(err)
	}
	var window codec.VideoFrame
	if err := yuv.Window(&window, s.from, image.Rect(part.X, part.Y, part.X+part.W, part.Y+part.H)); err != nil {
		t.Fatal(err)
	}
	scale := yuv.Scale
	if tile.Screen {
		scale = yuv.ScaleSharp
	}
	if err := scale(f, &window); err != nil {
		t.Fatal(err)
	}
	s.set(f)
}

// staged is a layout with a cast.
type staged struct {
	canvas     layout.Canvas
	spec       layout.Spec
	members    []*member
	speaker    int // index of who speaks; -1 is nobody
	background Background
}

// scene solves the layout and fits every source to its tile.
func (s *staged) scene(t testing.TB, pool *codec.VideoPool) *Scene {
	t.Helper()
	var items []layout.Item
	var whose []*member
	add := func(i int, suffix string, screen, video bool) {
		id := fmt.Sprint("p_", i)
		item := layout.Item{ID: id + suffix, Owner: id, Screen: screen, Video: video}
		if i == s.speaker {
			item.Spoke = 1
		}
		items, whose = append(items, item), append(whose, s.members[i])
	}
	for i, m := range s.members {
		add(i, "", false, m.picture != nil)
		if m.screen != nil {
			add(i, "/screen", true, true)
		}
	}
	speaker := fmt.Sprint("p_", s.speaker)
	if err := s.spec.Validate(); err != nil {
		t.Fatal(err)
	}
	plan := layout.Solve(s.canvas, s.spec, items, speaker, nil)
	scene := &Scene{Epoch: 1, Background: s.background}
	for _, p := range plan.Tiles {
		if p.Item < 0 {
			continue
		}
		item, m := items[p.Item], whose[p.Item]
		tile := Tile{
			Rect: p.Rect, Fill: p.Fill, Name: m.name, NoLabel: s.spec.NoLabels, ID: item.ID,
			Screen: item.Screen, NoMarks: s.spec.NoMarks, Link: m.link,
		}
		from, source := m.picture, &m.shows
		if item.Screen {
			from, source = m.screen, &m.showsAs
		} else {
			tile.Avatar, tile.Muted = m.avatar, m.muted
			tile.Speaking = !s.spec.NoBorder && item.Owner == speaker
		}
		if from != nil {
			*source = &fitted{from: from}
			tile.Source = *source
			(*source).aim(t, pool, tile)
		}
		scene.Tiles = append(scene.Tiles, tile)
	}
	return scene
}

// let releases what scene made.
func (s *staged) let() {
	for _, m := range s.members {
		for _, source := range []**fitted{&m.shows, &m.showsAs} {
			if *source != nil {
				(*source).set(nil)
				*source = nil
			}
		}
	}
}

// draw draws the scene at its most settled: labels are there, and whoever is
// frozen has been for long.
func (s *staged) draw(t testing.TB, pool *codec.VideoPool, labeller *Labeller) *codec.VideoFrame {
	t.Helper()
	scene := s.scene(t, pool)
	defer s.let()
	c, err := NewCompositor(s.canvas, pool, labeller)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, now := range []time.Duration{0, frozenAfter, frozenAfter + 1} {
		for _, m := range s.members {
			if m.shows != nil && !m.frozen && now > 0 {
				m.shows.repeat(now)
			}
		}
		f, _ := drawScene(t, c, scene, now)
		if now > frozenAfter {
			return f
		}
		f.Release()
		awaitLabels(c)
	}
	return nil
}

// awaitLabels waits until all texts and marks that c may draw are rendered.
func awaitLabels(c *Compositor) {
	for i := range c.tiles {
		t := &c.tiles[i]
		for _, claim := range []*text{&t.name, &t.face, &t.mute, &t.weak, &t.lost} {
			if claim.wanted {
				await(c.labeller, claim.key)
			}
		}
	}
}

// pictures draws those of a cast, each once.
func pictures(t testing.TB, pool *codec.VideoPool) (all []*codec.VideoFrame) {
	for i := range 12 {
		size := image.Pt(640, 360)
		switch i {
		case 4:
			size = image.Pt(480, 360)
		case 7:
			size = image.Pt(270, 480)
		}
		all = append(all, sitter(t, pool, size.X, size.Y, i))
	}
	return all
}

// cast returns people with names of many scripts.
func cast(pictures []*codec.VideoFrame, n int) []*member {
	names := []string{
		"Ada Lovelace", "김민수", "山田さくら", "Анна Каренина", "محمد علي", "Ελένη", "王小明", "Zoë 🎉", "Žofie Ångström", "Nguyễn Thị Hạnh",
		"Alan Turing", "Wilhelmina van der Berg-Oppenheimer", "Ole",
	}
	var members []*member
	for i := range n {
		members = append(members, &member{name: names[i%len(names)], picture: pictures[i%len(pictures)]})
	}
	return members
}

// sitter draws what looks a little like somebody before a wall, flat so that
// golden pictures stay small.
func sitter(t testing.TB, pool *codec.VideoPool, w, h, seed int) *codec.VideoFrame {
	hue := float64(seed*5%numHues) / numHues
	wall, lit := fromHSL(hue, 0.25, 0.62).rgba, fromHSL(hue, 0.25, 0.70).rgba
	shirt, skin := fromHSL(hue+0.45, 0.5, 0.38).rgba, fromHSL(0.07, 0.45, 0.45+0.06*float64(seed%5)).rgba
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	scale := float64(h)
	in := func(x, y float64) bool { return x*x+y*y < 1 }
	for y := range h {
		for x := range w {
			// In units of the height, the middle at 0.
			px, py := (float64(x)-float64(w)/2)/scale, float64(y)/scale
			c := wall
			if py < 0.6 && (x+h*(10+seed)*13/100)%(h*8/10) < h*3/10 {
				c = lit
			}
			if in(px/0.36, (py-1.05)/0.38) {
				c = shirt
			}
			if in(px/0.15, (py-0.45)/0.2) {
				c = skin
			}
			if in((math.Abs(px)-0.06)/0.02, (py-0.42)/0.02) || in(px/0.06, (py-0.54)/0.012) {
				c = color.RGBA{40, 30, 30, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	return fromImage(t, pool, img)
}

// sharedScreen draws a window full of text.
func sharedScreen(t testing.TB, pool *codec.VideoPool, w, h int) *codec.VideoFrame {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	paper := color.RGBA{246, 247, 249, 255}
	fillRound(img, 0, paper)
	bar := image.NewRGBA(image.Rect(0, 0, w, h/14))
	fillRound(bar, 0, color.RGBA{44, 52, 66, 255})
	copy(img.Pix, bar.Pix)
	setter := systemSetter(t)
	lines := []string{
		"func (c *Compositor) paint(dst *codec.VideoFrame, d layout.Rect) error {", "    lowest := len(c.tiles) - 1",
		"    for lowest >= 0 && !d.In(c.tiles[lowest].rect) {", "        lowest--", "    }", "    // 맨 아래부터 그린다 · снизу вверх · 下から上へ",
		"    if lowest < 0 {", "        return c.paintBackground(dst, d)", "    }", "}",
	}
	// Each line is drawn once, on a strip of its own: a glyph costs as much as
	// the picture that it is drawn on.
	size, pitch := h/28, h/22
	for i, text := range lines {
		strip := image.NewRGBA(image.Rect(0, 0, w*11/12, pitch))
		fillRound(strip, 0, paper)
		setter.draw(strip, setter.shape(text, size, w), w/24, pitch*3/4, color.RGBA{30, 33, 40, 255})
		for y := h/9 + i*pitch; y+pitch < h; y += len(lines) * pitch {
			draw.Draw(img, strip.Rect.Add(image.Pt(0, y)), strip, image.Point{}, draw.Src)
		}
	}
	return fromImage(t, pool, img)
}

func fromImage(t testing.TB, pool *codec.VideoPool, img image.Image) *codec.VideoFrame {
	t.Helper()
	f, err := pool.Get(img.Bounds().Dx(), img.Bounds().Dy())
	if err != nil {
		t.Fatal(err)
	}
	convertImage(f, img)
	return f
}

// toImage converts a canvas for people to look at.
func toImage(f *codec.VideoFrame) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, f.Width, f.Height))
	clamp := func(v int) uint8 { return uint8(min(max(v, 0), 255)) }
	for y := range f.Height {
		for x := range f.Width {
			s := samplesAt(f, x, y)
			c, d, e := 298*(int(s[0])-16)+128, int(s[1])-128, int(s[2])-128
			img.SetRGBA(x, y, color.RGBA{clamp((c + 409*e) >> 8), clamp((c - 100*d - 208*e) >> 8), clamp((c + 516*d) >> 8), 255})
		}
	}
	return img
}

// wallpaper is a background that differs everywhere.
func wallpaper(t testing.TB, pool *codec.VideoPool, w, h int) *codec.VideoFrame {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			band := (x*8/w + y*6/h) % 4
			img.SetRGBA(x, y, color.RGBA{uint8(40 + 12*band), uint8(70 + 60*y/h/10*10), uint8(120 + 8*band), 255})
		}
	}
	return fromImage(t, pool, img)
}

func modeSpec(mode layout.Mode) layout.Spec { return layout.Spec{Mode: mode} }

// overlapping is a custom layout with tiles on tiles.
func overlapping() layout.Spec {
	yes := true
	return layout.Spec{Mode: layout.Custom, Tiles: []layout.CustomTile{
		{X: 0.02, Y: 0.04, W: 0.7, H: 0.7, Show: "speaker"},
		{X: 0.5, Y: 0.5, W: 0.4, H: 0.4, Z: 2, Show: "rank:1", Fill: &yes},
		{X: 0.6, Y: 0.25, W: 0.36, H: 0.36, Z: 1, Show: "rank:2"},
		{X: 0.05, Y: 0.6, W: 0.18, H: 0.36, Z: 3, Show: "rank:3", Fill: &yes},
	}}
}

// stages is every layout, with all that tiles can look like.
func stages(t testing.TB, pool *codec.VideoPool) map[string]*staged {
	wide, tall := layout.Canvas{Width: 640, Height: 360, FPS: 30}, layout.Canvas{Width: 360, Height: 640, FPS: 30}
	drawn, avatar, screen := pictures(t, pool), sitter(t, pool, 300, 400, 11), sharedScreen(t, pool, 1280, 720)
	nine := func() []*member {
		m := cast(drawn, 9)
		m[1].muted = true
		m[3].link = LinkWeak
		m[3].muted = true
		m[5].link = LinkLost
		m[6].picture = nil
		m[7].picture, m[7].avatar, m[7].muted = nil, avatar, true
		m[8].frozen = true
		return m
	}
	few := func(n int) []*member { return nine()[:n] }
	sharing := func(n int) []*member {
		m := nine()[:n]
		m[1].screen = screen
		return m
	}
	filled := func(mode layout.Mode) layout.Spec { return layout.Spec{Mode: mode, Fill: true} }
	return map[string]*staged{
		"grid":               {wide, modeSpec(layout.Grid), nine(), 2, Background{}},
		"grid-image-fill":    {wide, filled(layout.Grid), few(5), 0, Background{Image: wallpaper(t, pool, 700, 500)}},
		"grid-colour-bare":   {wide, layout.Spec{Mode: layout.Grid, NoLabels: true, NoBorder: true, NoMarks: true}, nine(), 2, Background{Colour: [3]uint8{20, 60, 90}, HasColour: true}},
		"grid-portrait":      {tall, modeSpec(layout.Grid), few(6), 4, Background{}},
		"grid-small":         {layout.Canvas{Width: 320, Height: 180, FPS: 15}, modeSpec(layout.Grid), nine(), 2, Background{}},
		"grid-49":            {wide, modeSpec(layout.Grid), cast(drawn, 49), 17, Background{}},
		"speaker":            {wide, modeSpec(layout.Speaker), nine(), 0, Background{}},
		"speaker-portrait":   {tall, modeSpec(layout.Speaker), nine(), 0, Background{}},
		"sidebar":            {wide, modeSpec(layout.Sidebar), nine(), 4, Background{}},
		"presentation":       {wide, modeSpec(layout.Presentation), sharing(6), 0, Background{}},
		"presentation-alone": {wide, modeSpec(layout.Single), sharing(2), 0, Background{}},
		"pip":                {wide, modeSpec(layout.PIP), few(2), 0, Background{}},
		"pip-portrait":       {tall, filled(layout.PIP), few(2), 0, Background{}},
		"single":             {wide, modeSpec(layout.Single), few(1), 0, Background{}},
		"single-placeholder": {wide, modeSpec(layout.Single), nine()[6:7], -1, Background{}},
		"seven":              {wide, modeSpec(layout.Seven), nine(), 3, Background{}},
		"custom":             {wide, overlapping(), few(4), 0, Background{Image: wallpaper(t, pool, 500, 700)}},
	}
}

func stageNames(s map[string]*staged) (names []string) {
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
