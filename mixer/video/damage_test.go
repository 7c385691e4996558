package video

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
)

// sameCanvas compares to the last sample.
func sameCanvas(a, b *codec.VideoFrame) bool { return math.IsInf(yuv.PSNR(a, b), 1) }

// randomScene is tiles anywhere, of any look, over each other.
func randomScene(t *testing.T, r *rand.Rand, pool *codec.VideoPool, canvas layout.Canvas, sources []*still, image, avatar *codec.VideoFrame) *Scene {
	scene := &Scene{}
	switch r.IntN(3) {
	case 0:
		scene.Background.Image = image
	case 1:
		scene.Background.Colour, scene.Background.HasColour = [3]uint8{uint8(r.IntN(256)), 80, 120}, true
	}
	yes := func() bool { return r.IntN(3) == 0 }
	for i := range 2 + r.IntN(6) {
		w, h := 20+r.IntN(canvas.Width-20)&^1, 20+r.IntN(canvas.Height-20)&^1
		tile := Tile{
			Rect: layout.Rect{X: r.IntN(canvas.Width-w+1) &^ 1, Y: r.IntN(canvas.Height-h+1) &^ 1, W: w, H: h},
			Name: fmt.Sprint("N", i), NoLabel: yes(), ID: fmt.Sprint(i), Fill: yes(), Screen: yes(), Speaking: yes(), Muted: yes(),
			Link: Link(r.IntN(3)), NoMarks: yes(), Bare: yes(),
		}
		if i == 0 && yes() {
			tile.Rect = canvas.Bounds()
		}
		if !yes() {
			tile.Source = sources[r.IntN(len(sources))]
		}
		if yes() {
			tile.Avatar = avatar
		}
		scene.Tiles = append(scene.Tiles, tile)
	}
	return scene
}

// TestAnyDamageIsRepaired draws random scenes that change at random, on buffers
// of different ages, and compares each canvas with one drawn from nothing; and
// no canvas that is said to be unchanged differs from the last.
func TestAnyDamageIsRepaired(t *testing.T) {
	canvas := layout.Canvas{Width: 200, Height: 140, FPS: 30}
	pool := codec.NewVideoPool(testBudget)
	labeller := startLabeller(t, LabellerConfig{})
	r := rand.New(rand.NewPCG(1, 2))
	image, avatar := wallpaper(t, pool, 90, 70), sitter(t, pool, 64, 80, 3)
	sources := make([]*still, 6)
	for i := range sources {
		sources[i] = &still{}
		sources[i].set(sitter(t, pool, 40+r.IntN(150)&^1, 40+r.IntN(150)&^1, i))
		defer sources[i].set(nil)
	}
	c := newCompositor(t, canvas, pool, labeller)
	var scene *Scene
	var held []*codec.VideoFrame
	var last *codec.VideoFrame
	unchanged := 0
	for tick := range 300 {
		now := time.Duration(tick) * time.Millisecond // nobody freezes
		if tick%25 == 0 {
			scene = randomScene(t, r, pool, canvas, sources, image, avatar)
			scene.Epoch = uint64(tick + 1)
		} else if tick%4 == 1 { // other looks of the same tiles
			scene = &Scene{Epoch: uint64(tick + 1), Background: scene.Background, Tiles: append([]Tile(nil), scene.Tiles...)}
			tile := &scene.Tiles[r.IntN(len(scene.Tiles))]
			tile.Speaking, tile.Muted, tile.Link = r.IntN(2) == 0, r.IntN(2) == 0, Link(r.IntN(3))
		}
		if s := sources[r.IntN(len(sources))]; r.IntN(2) == 0 {
			s.touch()
		} else if r.IntN(4) == 0 {
			s.repeat(now)
		}
		for _, size := range scene.Tiles { // all that may be drawn is rendered by now
			for _, kind := range []labelKind{muteMark, weakMark, lostMark} {
				if key, ok := markKey(kind, size.Rect); ok {
					await(labeller, key)
				}
			}
			if key, ok := nameKey(size.Name, size.Rect); ok {
				await(labeller, key)
			}
			if key, ok := avatarKey(size.Name, hueOf(size.ID), size.Rect); ok {
				await(labeller, key)
			}
		}
		f, changed := drawScene(t, c, scene, now)
		fresh := newCompositor(t, canvas, pool, labeller)
		want, _ := drawScene(t, fresh, scene, now)
		if !sameCanvas(f, want) {
			writePNG(t, "damage-got.png", f)
			writePNG(t, "damage-want.png", want)
			t.Fatalf("tick %d: %.1f dB from what it should be", tick, yuv.PSNR(f, want))
		}
		want.Release()
		fresh.Close()
		if !changed {
			unchanged++
			if !sameCanvas(f, last) {
				t.Fatalf("tick %d differs from the last and is said not to", tick)
			}
		}
		if last != nil {
			last.Release()
		}
		last = copyFrame(f)
		if held = append(held, f); len(held) > tick%3 {
			held[0].Release()
			held = held[1:]
		}
	}
	for _, f := range append(held, last) {
		f.Release()
	}
	if unchanged < 20 || unchanged > 280 {
		t.Errorf("%d of 300 ticks unchanged: too few of a kind to tell anything", unchanged)
	}
	if s := c.Stats(); s.Scaled == 0 || s.NoMemory != 0 {
		t.Errorf("%+v", s)
	}
}

// touched returns where drawing has written: the canvas was scribbled over
// before, all of it.
func touched(t *testing.T, c *Compositor, scene *Scene, now time.Duration) (inside func(layout.Rect) bool, changed bool) {
	t.Helper()
	scribble := c.last.frame
	before := copyFrame(scribble)
	const odd = 3 // a luma that nothing draws
	fillBytes(scribble.Y, odd)
	f, changed := drawScene(t, c, scene, now)
	if f != scribble {
		t.Fatal("drawn on another buffer")
	}
	// Where nothing was written is put back, for the next.
	var box layout.Rect
	for y := range f.Height {
		for x := range f.Width {
			if f.Y[y*f.StrideY+x] == odd {
				f.Y[y*f.StrideY+x] = before.Y[y*before.StrideY+x]
				continue
			}
			if box.Empty() {
				box = layout.Rect{X: x, Y: y, W: 1, H: 1}
			}
			right, bottom := max(box.X+box.W, x+1), max(box.Y+box.H, y+1)
			box.X, box.Y = min(box.X, x), min(box.Y, y)
			box.W, box.H = right-box.X, bottom-box.Y
		}
	}
	f.Release()
	return func(r layout.Rect) bool { return !box.Empty() && box.In(r) }, changed
}

// TestDamageIsSmall: each change of a look writes where it shows, and nowhere
// else.
func TestDamageIsSmall(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	labeller := startLabeller(t, LabellerConfig{})
	c := newCompositor(t, hd, pool, labeller)
	scene, sources := plain(t, pool, hd, 9)
	for _, s := range sources {
		defer s.set(nil)
	}
	scene.Tiles[4].Name = "Ada"
	small := layout.Rect{X: scene.Tiles[0].Rect.X + 40, Y: scene.Tiles[0].Rect.Y + 40, W: 120, H: 80}
	over := &still{}
	over.set(newFrame(t, pool, 120, 80, tone(20)))
	defer over.set(nil)
	scene.Tiles = append(scene.Tiles, Tile{Rect: small, Source: over})
	now := time.Duration(0)
	next := func(change func(tiles []Tile)) {
		scene = &Scene{Epoch: scene.Epoch + 1, Tiles: append([]Tile(nil), scene.Tiles...)}
		change(scene.Tiles)
	}
	// Marks that will be wanted are there.
	for _, kind := range []labelKind{muteMark, weakMark, lostMark} {
		key, _ := markKey(kind, scene.Tiles[4].Rect)
		await(labeller, key)
	}
	key, _ := nameKey("Ada", scene.Tiles[4].Rect)
	await(labeller, key)
	f, _ := drawScene(t, c, scene, now)
	f.Release()

	r := scene.Tiles[4].Rect
	third := func(x, y int) layout.Rect { // one of nine parts
		return layout.Rect{X: r.X + x*r.W/3, Y: r.Y + y*r.H/3, W: r.W/3 + 1, H: r.H/3 + 1}
	}
	nothing := layout.Rect{}
	for _, step := range []struct {
		name   string
		change func()
		where  layout.Rect
	}{
		{"nothing", func() {}, nothing},
		{"an equal scene", func() { next(func([]Tile) {}) }, nothing},
		{"an equal picture", func() { sources[4].repeat(1) }, nothing},
		{"a picture", func() { sources[4].touch() }, r},
		{"muted", func() { next(func(l []Tile) { l[4].Muted = true }) }, third(2, 0)},
		{"weak", func() { next(func(l []Tile) { l[4].Link = LinkWeak }) }, third(2, 0)},
		{"unmuted", func() { next(func(l []Tile) { l[4].Muted = false }) }, third(2, 0)},
		{"well again", func() { next(func(l []Tile) { l[4].Link = LinkGood }) }, third(2, 0)},
		{"no name", func() { next(func(l []Tile) { l[4].NoLabel = true }) }, third(0, 2)},
		{"a name", func() { next(func(l []Tile) { l[4].NoLabel = false }) }, third(0, 2)},
		{"lost", func() { next(func(l []Tile) { l[4].Link = LinkLost }) }, r},
		{"found", func() { next(func(l []Tile) { l[4].Link = LinkGood }) }, r},
		{"a colour that does not show", func() { next(func(l []Tile) { l[4].ID = "another" }) }, nothing},
		{"a tile over another", func() { over.touch() }, small},
		{"the tile below", func() { sources[0].touch() }, scene.Tiles[0].Rect},
	} {
		step.change()
		now++
		inside, changed := touched(t, c, scene, now)
		if changed != !step.where.Empty() {
			t.Errorf("%s: changed is %v", step.name, changed)
		}
		if changed && !inside(step.where) || !changed && inside(hd.Bounds()) {
			t.Errorf("%s: more was drawn than %v", step.name, step.where)
		}
	}

	// The border goes round; the middle is left alone.
	next(func(l []Tile) { l[4].Speaking = true })
	scribble := c.last.frame
	middle := layout.Rect{X: r.X + r.W/2, Y: r.Y + r.H/2, W: 2, H: 2}
	scribble.Y[middle.Y*scribble.StrideY+middle.X] = 3
	f, changed := drawScene(t, c, scene, now)
	if got := samplesAt(f, r.X+r.W/2, r.Y); !changed || got != speakerTone.yuv() {
		t.Errorf("border: changed %v, its top is %v", changed, got)
	}
	if f.Y[middle.Y*f.StrideY+middle.X] != 3 {
		t.Error("a border redraws the middle")
	}
	f.Release()
}

// TestCoveredTilesAreNotDrawn: neither drawn nor asked for, and no change.
func TestCoveredTilesAreNotDrawn(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	c := newCompositor(t, hd, pool, nil)
	below, above := &still{}, &still{}
	below.set(newFrame(t, pool, 200, 100, tone(1)))
	above.set(newFrame(t, pool, 640, 360, tone(2)))
	defer below.set(nil)
	defer above.set(nil)
	scene := &Scene{Tiles: []Tile{
		{Rect: layout.Rect{X: 340, Y: 120, W: 200, H: 100}, Source: below},
		{Rect: layout.Rect{X: 320, Y: 80, W: 640, H: 360}, Source: above},
	}}
	f, _ := drawScene(t, c, scene, 0)
	f.Release()
	below.touch()
	f, changed := drawScene(t, c, scene, 1)
	f.Release()
	if s := c.Stats(); changed || s.Tiles != 1 {
		t.Errorf("changed %v, %+v", changed, s)
	}
}

// TestRoundedOverlap: under the corners of a tile is what lies there.
func TestRoundedOverlap(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	c := newCompositor(t, hd, pool, nil)
	below, above := &still{}, &still{}
	below.set(newFrame(t, pool, 1280, 720, tone(1)))
	above.set(newFrame(t, pool, 320, 180, tone(25)))
	defer below.set(nil)
	defer above.set(nil)
	r := layout.Rect{X: 900, Y: 500, W: 320, H: 180}
	scene := &Scene{Tiles: []Tile{{Rect: hd.Bounds(), Source: below}, {Rect: r, Source: above}}}
	for tick := range 3 {
		f, _ := drawScene(t, c, scene, time.Duration(tick))
		for _, at := range [][2]int{{r.X, r.Y}, {r.X + r.W - 1, r.Y}, {r.X, r.Y + r.H - 1}, {r.X + r.W - 1, r.Y + r.H - 1}} {
			if got := samplesAt(f, at[0], at[1]); got != tone(1).yuv() {
				t.Errorf("tick %d: corner at %v is %v, want %v", tick, at, got, tone(1).yuv())
			}
		}
		if got := samplesAt(f, r.X+r.W/2, r.Y); got != tone(25).yuv() {
			t.Errorf("tick %d: edge is %v", tick, got)
		}
		f.Release()
		above.touch()
	}
}
