package video

import (
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
)

// TestFrozen: a camera that stands still for three seconds is dimmed, once, and
// recovers with its next picture. An equal picture that was taken later is one.
func TestFrozen(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	labeller := startLabeller(t, LabellerConfig{})
	c := newCompositor(t, hd, pool, labeller)
	scene, sources := plain(t, pool, hd, 4)
	for _, s := range sources {
		defer s.set(nil)
	}
	scene.Tiles[1].Screen = true // may stand still
	scene.Tiles[2].Bare = true   // is never touched
	key, _ := markKey(lostMark, scene.Tiles[0].Rect)
	await(labeller, key)
	type at = time.Duration
	live := func(now at) { sources[3].repeat(now) }
	middle := func(f *codec.VideoFrame, i int) uint8 {
		r := scene.Tiles[i].Rect
		return samplesAt(f, r.X+r.W/2, r.Y+r.H/2)[0]
	}
	marked := func(f *codec.VideoFrame, i int) bool {
		r := scene.Tiles[i].Rect
		m := labelMargin(r)
		return samplesAt(f, r.X+r.W-m-key.size/2, r.Y+m+1)[0] > 150 // the disc
	}
	step := func(now at, wantDim, wantChanged bool) {
		t.Helper()
		live(now)
		f, changed := drawScene(t, c, scene, now)
		defer f.Release()
		if changed != wantChanged {
			t.Errorf("at %v changed is %v", now, changed)
		}
		for i := range scene.Tiles {
			want := tone(i).y
			if i == 0 && wantDim {
				want = dimmed.luma[want]
			}
			if got := middle(f, i); got != want {
				t.Errorf("at %v tile %d is %d, want %d", now, i, got, want)
			}
			if got := marked(f, i); got != (i == 0 && wantDim) {
				t.Errorf("at %v tile %d marked: %v", now, i, got)
			}
		}
	}
	step(0, false, true)
	step(frozenAfter-1, false, false)
	step(frozenAfter, true, true)
	step(frozenAfter+time.Second, true, false)
	// Drawn anew for another tile it is the same old picture, and so it is in
	// another scene.
	sources[0].repeat(0)
	step(frozenAfter+2*time.Second, true, false)
	scene = &Scene{Epoch: 2, Tiles: append([]Tile(nil), scene.Tiles...)}
	scene.Tiles[3].Name = "Ada"
	nameOf, _ := nameKey("Ada", scene.Tiles[3].Rect)
	await(labeller, nameOf)
	step(frozenAfter+3*time.Second, true, true)
	sources[0].repeat(1)
	step(frozenAfter+4*time.Second, false, true)
	step(2*frozenAfter+4*time.Second-1, false, false)
	step(2*frozenAfter+4*time.Second, true, true)
}

// TestTremble: what differs by less than can be seen is no change, and many such
// differences in one direction are one.
func TestTremble(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	c := newCompositor(t, hd, pool, nil)
	scene, sources := plain(t, pool, hd, 4)
	for _, s := range sources {
		defer s.set(nil)
	}
	r, tone := scene.Tiles[0].Rect, tone(0)
	for i, luma := range []uint8{40, 41, 42, 40, 42, 43, 44, 45, 46} {
		tone.y = luma
		sources[0].set(newFrame(t, pool, r.W, r.H, tone))
		f, changed := drawScene(t, c, scene, time.Duration(i))
		if want := i == 0 || luma == 43 || luma == 46; changed != want {
			t.Errorf("picture %d, luma %d: changed is %v", i, luma, changed)
		}
		if got := samplesAt(f, r.X+r.W/2, r.Y+r.H/2)[0]; int(luma)-int(got) > alikeTolerance || int(got)-int(luma) > alikeTolerance {
			t.Errorf("picture %d shows %d, want %d", i, got, luma)
		}
		f.Release()
	}
}

// TestDimsNoBars: a mark that comes and goes on the bars beside a dimmed picture
// changes them alone.
func TestDimsNoBars(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	labeller := startLabeller(t, LabellerConfig{})
	c := newCompositor(t, hd, pool, labeller)
	scene, sources := plain(t, pool, hd, 4)
	for _, s := range sources {
		defer s.set(nil)
	}
	r := scene.Tiles[0].Rect
	sources[0].set(newFrame(t, pool, r.H/2&^1, r.H, tone(0))) // of a phone
	scene.Tiles[0].Link = LinkLost
	for _, kind := range []labelKind{lostMark, muteMark} {
		key, _ := markKey(kind, r)
		await(labeller, key)
	}
	for i := range 6 {
		scene = &Scene{Epoch: uint64(i + 2), Tiles: append([]Tile(nil), scene.Tiles...)}
		scene.Tiles[0].Muted = i%2 == 1
		f, changed := drawScene(t, c, scene, 0)
		if !changed {
			t.Errorf("picture %d shows nothing new", i)
		}
		if got, want := samplesAt(f, r.X+r.W/2, r.Y+r.H/2)[0], dimmed.luma[tone(0).y]; got != want {
			t.Errorf("picture %d is %d in the middle, want %d", i, got, want)
		}
		f.Release()
	}
}

// TestLost: a connection that is lost is marked and dimmed at once, whatever
// comes.
func TestLost(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	labeller := startLabeller(t, LabellerConfig{})
	c := newCompositor(t, hd, pool, labeller)
	scene, sources := plain(t, pool, hd, 2)
	for _, s := range sources {
		defer s.set(nil)
	}
	scene.Tiles[0].Link, scene.Tiles[0].NoMarks = LinkLost, true
	scene.Tiles[1].Link, scene.Tiles[1].Source = LinkLost, nil // a placeholder is marked as well
	key, _ := markKey(lostMark, scene.Tiles[0].Rect)
	await(labeller, key)
	f, _ := drawScene(t, c, scene, 0)
	defer f.Release()
	at := func(i, x, y int) uint8 { return samplesAt(f, scene.Tiles[i].Rect.X+x, scene.Tiles[i].Rect.Y+y)[0] }
	r := scene.Tiles[0].Rect
	m := labelMargin(r)
	if got := at(0, r.W/2, r.H/2); got != dimmed.luma[tone(0).y] {
		t.Errorf("the picture is %d", got)
	}
	if got := at(0, r.W-m-key.size/2, m+1); got != dimmed.luma[tone(0).y] {
		t.Errorf("NoMarks is marked: %d", got)
	}
	if got := at(1, r.W-m-key.size/2, m+1); got < 150 {
		t.Errorf("the placeholder is not marked: %d", got)
	}
}

// TestMarks: at every size of tile the three differ from each other, are round,
// and have edges: text is no smear, and neither are they.
func TestMarks(t *testing.T) {
	for _, width := range []int{80, 160, 240, 416, 640, 1280, 1920} {
		tile := layout.Rect{W: width, H: width * 9 / 16 &^ 1}
		var all []*yuv.Overlay
		for _, kind := range []labelKind{muteMark, weakMark, lostMark} {
			key, ok := markKey(kind, tile)
			if !ok {
				t.Fatalf("%d wide: no mark", width)
			}
			o, err := renderMark(kind, key.size)
			if err != nil {
				t.Fatal(err)
			}
			if o.Width != key.size || o.Height != key.size || o.A[0] != 0 || o.A[len(o.A)/2+o.Width/2] == 0 || 2*o.Width+3*labelMargin(tile) > tile.W/2 {
				t.Errorf("%d wide: a mark of %dx%d, %d at the corner", width, o.Width, o.Height, o.A[0])
			}
			// Crisp: somewhere the full contrast lies between samples two apart.
			steep := 0
			for y := range o.Height {
				for x := range o.Width - 2 {
					i := y*o.StrideY + x
					if o.A[i] > 150 && o.A[i+2] > 150 {
						steep = max(steep, int(o.Y[i])-int(o.Y[i+2]), int(o.Y[i+2])-int(o.Y[i]))
					}
				}
			}
			if steep < 60 {
				t.Errorf("%d wide, mark %d: the steepest edge is %d", width, kind, steep)
			}
			all = append(all, o)
		}
		for i, o := range all {
			other, differ := all[(i+1)%len(all)], 0
			for k := range o.Y {
				if d := int(o.Y[k]) - int(other.Y[k]); d > 40 || d < -40 {
					differ++
				}
			}
			if differ*8 < len(o.Y) {
				t.Errorf("%d wide: marks %d and the next differ in %d of %d samples", width, i, differ, len(o.Y))
			}
		}
	}
	if _, ok := markKey(muteMark, layout.Rect{W: 60, H: 34}); ok {
		t.Error("a mark on a tile of 60x34")
	}
}

// TestFillAndFit: a picture of another shape is cropped where the tile says
// so, and sits between bars where not, whoever scales it.
func TestFillAndFit(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	from := gradient(t, pool, 640, 480)
	defer from.Release()
	for _, screen := range []bool{false, true} {
		for _, fill := range []bool{false, true} {
			tile := Tile{Rect: layout.Rect{X: 20, Y: 40, W: 416, H: 234}, Fill: fill, Screen: screen}
			own, raw := &fitted{from: from}, &still{}
			own.aim(t, pool, tile)
			raw.set(from.Retain())
			var canvases []*codec.VideoFrame
			for i, source := range []PictureSource{own, raw} {
				c := newCompositor(t, hd, pool, nil)
				tile.Source = source
				f, _ := drawScene(t, c, &Scene{Tiles: []Tile{tile}}, 0)
				canvases = append(canvases, f)
				if s := c.Stats(); s.Scaled != uint64(i) {
					t.Errorf("%d scaled, want %d", s.Scaled, i)
				}
				bar := samplesAt(f, tile.Rect.X+10, tile.Rect.Y+117) == barsTone.yuv()
				if bar == fill {
					t.Errorf("fill %v: bars are %v", fill, bar)
				}
			}
			if !sameCanvas(canvases[0], canvases[1]) {
				t.Errorf("fill %v, screen %v: the compositor scales otherwise than a source", fill, screen)
			}
			for _, f := range canvases {
				f.Release()
			}
			own.set(nil)
			raw.set(nil)
		}
	}
}

// TestBackground: in place of the colour an image, cropped to the canvas and
// scaled once; without memory for it the colour.
func TestBackground(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	c := newCompositor(t, hd, pool, nil)
	image := newFrame(t, pool, 100, 300, tone(9))
	r := layout.Rect{X: 100, Y: 100, W: 320, H: 180}
	scene := &Scene{Epoch: 1, Background: Background{Image: image}, Tiles: []Tile{{Rect: r, ID: "a"}}}
	look := func(b Background, want colour, changes bool) {
		t.Helper()
		scene = &Scene{Epoch: scene.Epoch + 1, Background: b, Tiles: scene.Tiles}
		f, changed := drawScene(t, c, scene, 0)
		defer f.Release()
		for _, at := range [][2]int{{0, 0}, {1279, 719}, {r.X, r.Y}, {r.X - 1, r.Y + 50}} {
			if got := samplesAt(f, at[0], at[1]); got != want.yuv() {
				t.Errorf("%+v at %v: %v, want %v", b, at, got, want.yuv())
			}
		}
		if changed != changes {
			t.Errorf("%+v: changed %v", b, changed)
		}
	}
	look(Background{Image: image}, tone(9), true)
	look(Background{Image: image}, tone(9), false)
	look(Background{Colour: [3]uint8{10, 20, 30}}, backdrop, true)
	look(Background{Colour: [3]uint8{0, 0, 0}, HasColour: true}, colourOf(0, 0, 0), true)
	look(Background{Image: image}, tone(9), true)
	if !image.Shared() {
		t.Error("the image in use is not held")
	}
	look(Background{}, backdrop, true)
	if image.Shared() {
		t.Error("an image that is gone is still held")
	}
	look(Background{Image: image}, tone(9), true)
	c.Close()
	if image.Shared() {
		t.Error("an image is held after Close")
	}

	tight := newCompositor(t, hd, codec.NewVideoPool(int64(codec.VideoFrameBytes(1280, 720))), nil)
	f, _ := drawScene(t, tight, &Scene{Background: Background{Image: image}}, 0)
	if got := samplesAt(f, 5, 5); got != backdrop.yuv() || tight.Stats().NoMemory != 1 {
		t.Errorf("without memory: %v, %+v", got, tight.Stats())
	}
	f.Release()
	image.Release()
}

// TestAvatarImage: a picture cut to a disc stands where the initials would, and
// is let go with the last scene that shows it.
func TestAvatarImage(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	c := newCompositor(t, hd, pool, nil)
	face := newFrame(t, pool, 120, 60, tone(3))
	scene := &Scene{Epoch: 1}
	for i, r := range layout.Arrange(hd, 4) {
		tile := Tile{Rect: r, ID: "x"}
		if i < 2 {
			tile.Avatar = face
		}
		scene.Tiles = append(scene.Tiles, tile)
	}
	f, _ := drawScene(t, c, scene, 0)
	for i, tile := range scene.Tiles {
		r := tile.Rect
		want := hues[hueOf("x")].tile
		if i < 2 {
			want = tone(3)
		}
		key, _ := avatarKey("", 0, r)
		x, y := r.X+r.W/2, r.Y+r.H/2
		if got := samplesAt(f, x, y); got != want.yuv() {
			t.Errorf("tile %d: %v, want %v", i, got, want.yuv())
		}
		if got := samplesAt(f, x-key.size/2+1, y-key.size/2+1); got != hues[hueOf("x")].tile.yuv() {
			t.Errorf("tile %d: beside the disc is %v", i, got)
		}
	}
	f.Release()
	if len(c.avatars) != 1 || !face.Shared() {
		t.Errorf("%d discs for one picture", len(c.avatars))
	}
	f, changed := drawScene(t, c, &Scene{Epoch: 2, Tiles: scene.Tiles}, 1)
	f.Release()
	if changed {
		t.Error("the same scene is a change")
	}
	f, _ = drawScene(t, c, &Scene{Epoch: 3, Tiles: scene.Tiles[2:]}, 2)
	f.Release()
	if len(c.avatars) != 0 || face.Shared() {
		t.Error("a picture that no tile shows is still held")
	}
	face.Release()
}

// TestMixedCanvases: one source, drawn on two canvases at different sizes.
func TestMixedCanvases(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	own := layout.Canvas{Width: 640, Height: 360, FPS: 30}
	shared, personal := newCompositor(t, hd, pool, nil), newCompositor(t, own, pool, nil)
	s := &still{}
	defer s.set(nil)
	s.set(newFrame(t, pool, 636, 358, tone(7)))
	for n := range 3 {
		a, _ := drawScene(t, shared, &Scene{Tiles: []Tile{{Rect: layout.Rect{X: 2, Y: 2, W: 636, H: 358}, Source: s}}}, time.Duration(n))
		b, _ := drawScene(t, personal, &Scene{Tiles: []Tile{{Rect: layout.Rect{X: 10, Y: 10, W: 318, H: 178}, Source: s}}}, time.Duration(n))
		if x, y := samplesAt(a, 320, 180), samplesAt(b, 160, 90); x != tone(7).yuv() || y != x {
			t.Errorf("%v and %v, want %v", x, y, tone(7).yuv())
		}
		a.Release()
		b.Release()
		s.touch()
	}
	if a, b := shared.Stats(), personal.Stats(); a.Scaled != 0 || b.Scaled != 3 {
		t.Errorf("%d and %d scaled, want 0 and 3", a.Scaled, b.Scaled)
	}
}
