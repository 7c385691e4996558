package video

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
)

const testBudget = 512 << 20

var hd = layout.Canvas{Width: 1280, Height: 720, FPS: 30}

// plain makes n sources of one colour each, already fitted to their tiles, and a scene
// without names.
func plain(t testing.TB, pool *codec.VideoPool, canvas layout.Canvas, n int) (*Scene, []*still) {
	t.Helper()
	rects := layout.Arrange(canvas, n)
	scene, sources := &Scene{Epoch: 1}, make([]*still, n)
	for i, r := range rects {
		sources[i] = &still{}
		sources[i].set(newFrame(t, pool, r.W, r.H, tone(i)))
		scene.Tiles = append(scene.Tiles, Tile{Rect: r, Source: sources[i]})
	}
	return scene, sources
}

func tone(i int) colour { return colour{y: uint8(40 + 4*i), u: uint8(90 + 2*i), v: uint8(170 - 2*i)} }

func newCompositor(t testing.TB, canvas layout.Canvas, pool *codec.VideoPool, l *Labeller) *Compositor {
	t.Helper()
	c, err := NewCompositor(canvas, pool, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func drawScene(t testing.TB, c *Compositor, scene *Scene, pts time.Duration) (*codec.VideoFrame, bool) {
	t.Helper()
	f, changed, err := c.Draw(scene, pts, pts)
	if err != nil {
		t.Fatal(err)
	}
	if f.PTS != pts {
		t.Errorf("PTS %v, want %v", f.PTS, pts)
	}
	return f, changed
}

// checkScene compares every sample of a canvas with what the scene says,
// outside the rounded corners.
func checkScene(t *testing.T, f *codec.VideoFrame, rects []layout.Rect, want func(i int) colour) {
	t.Helper()
	bad := 0
	for y := 0; y < f.Height; y += 2 {
		for x := 0; x < f.Width; x += 2 {
			expected, corner := backdrop, false
			for i, r := range rects {
				if x < r.X || x >= r.X+r.W || y < r.Y || y >= r.Y+r.H {
					continue
				}
				expected = want(i)
				k := cornerRadius(r)
				corner = len(rects) > 1 && (x < r.X+k || x >= r.X+r.W-k) && (y < r.Y+k || y >= r.Y+r.H-k)
			}
			if got := samplesAt(f, x, y); !corner && got != expected.yuv() {
				if bad++; bad < 5 {
					t.Errorf("at %d,%d: %v, want %v", x, y, got, expected.yuv())
				}
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d samples are wrong", bad)
	}
}

func TestDrawPutsEverybodyInPlace(t *testing.T) {
	for _, canvas := range []layout.Canvas{hd, {Width: 1920, Height: 1080, FPS: 30}, {Width: 360, Height: 640, FPS: 30}} {
		for _, n := range []int{0, 1, 2, 3, 5, 9, 16, 49} {
			t.Run(fmt.Sprint(canvas, " ", n), func(t *testing.T) {
				pool := codec.NewVideoPool(testBudget)
				scene, sources := plain(t, pool, canvas, n)
				c := newCompositor(t, canvas, pool, nil)
				f, changed := drawScene(t, c, scene, 0)
				if !changed {
					t.Error("the first canvas is no change")
				}
				checkScene(t, f, layout.Arrange(canvas, n), tone)
				f.Release()
				for _, s := range sources {
					s.set(nil)
				}
			})
		}
	}
}

// gradient is a picture in which every place looks different.
func gradient(t testing.TB, pool *codec.VideoPool, w, h int) *codec.VideoFrame {
	f := newFrame(t, pool, w, h, backdrop)
	for y := range h {
		for x := range w {
			f.Y[y*f.StrideY+x] = uint8(32 + x*160/w + y*30/h)
			f.U[y/2*f.StrideUV+x/2] = uint8(64 + y*128/h)
			f.V[y/2*f.StrideUV+x/2] = uint8(192 - x*128/w)
		}
	}
	return f
}

// TestDamageIsPerBuffer keeps canvases back, so that buffers of different
// ages are drawn on, and compares each with one drawn from nothing.
func TestDamageIsPerBuffer(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	labeller := startLabeller(t, LabellerConfig{})
	c := newCompositor(t, hd, pool, labeller)
	scene, sources := plain(t, pool, hd, 9)
	for i := range scene.Tiles {
		scene.Tiles[i].Name, scene.Tiles[i].ID = fmt.Sprint("Person ", i), fmt.Sprint(i)
		key, _ := nameKey(scene.Tiles[i].Name, scene.Tiles[i].Rect)
		await(labeller, key)
		key, _ = avatarKey(scene.Tiles[i].Name, hueOf(scene.Tiles[i].ID), scene.Tiles[i].Rect)
		await(labeller, key)
	}
	var held []*codec.VideoFrame
	for tick := range 60 {
		// Some sources move, one loses its picture, the layout changes.
		for i, s := range sources {
			if (tick+i)%4 == 0 {
				r := scene.Tiles[min(i, len(scene.Tiles)-1)].Rect
				s.set(newFrame(t, pool, r.W, r.H, tone((tick+i)%30)))
			}
		}
		if tick%11 == 5 {
			sources[3].set(nil)
		}
		if tick%20 == 19 {
			n := 4 + tick%5
			next := &Scene{Epoch: scene.Epoch + 1}
			for i, r := range layout.Arrange(hd, n) {
				tile := scene.Tiles[i%len(scene.Tiles)]
				tile.Rect, tile.Source = r, sources[i]
				next.Tiles = append(next.Tiles, tile)
			}
			for _, tile := range next.Tiles {
				key, _ := nameKey(tile.Name, tile.Rect)
				await(labeller, key)
				key, _ = avatarKey(tile.Name, hueOf(tile.ID), tile.Rect)
				await(labeller, key)
			}
			scene = next
		}
		f, _ := drawScene(t, c, scene, time.Duration(tick)*time.Second/30)
		fresh := newCompositor(t, hd, pool, labeller)
		want, _ := drawScene(t, fresh, scene, 0)
		if psnr := yuv.PSNR(f, want); psnr < 1000 { // +Inf
			t.Fatalf("tick %d: PSNR %v, want equality", tick, psnr)
		}
		want.Release()
		fresh.Close()
		if held = append(held, f); len(held) > tick%3 {
			held[0].Release()
			held = held[1:]
		}
	}
	for _, f := range held {
		f.Release()
	}
	for _, s := range sources {
		s.set(nil)
	}
	if s := c.Stats(); s.Buffers < 2 || s.Buffers > maxCanvases || s.Busy != 0 {
		t.Errorf("%+v", s)
	}
}

func TestOnlyWhatChangedIsDrawn(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	c := newCompositor(t, hd, pool, nil)
	scene, sources := plain(t, pool, hd, 9)
	step := func(pts int, wantTiles uint64, wantChanged bool) {
		t.Helper()
		before := c.Stats().Tiles
		f, changed := drawScene(t, c, scene, time.Duration(pts))
		f.Release()
		if got := c.Stats().Tiles - before; got != wantTiles || changed != wantChanged {
			t.Errorf("tick %d: %d tiles, changed %v, want %d and %v", pts, got, changed, wantTiles, wantChanged)
		}
	}
	step(0, 9, true)
	step(1, 0, false)
	sources[4].touch()
	step(2, 1, true)
	step(3, 0, false)
	sources[4].set(nil) // to the placeholder
	step(4, 1, true)
	sources[4].touch() // still none
	step(5, 0, false)
	renamed := &Scene{Epoch: 2, Tiles: append([]Tile(nil), scene.Tiles...)}
	renamed.Tiles[0].ID = "somebody with another colour" // which only placeholders show
	scene = renamed
	step(6, 0, false)
	renamed = &Scene{Epoch: 3, Tiles: append([]Tile(nil), scene.Tiles...)}
	renamed.Tiles[4].ID = "somebody with another colour"
	scene = renamed
	step(7, 1, true)
	fewer := &Scene{Epoch: 4}
	for i, r := range layout.Arrange(hd, 4) {
		fewer.Tiles = append(fewer.Tiles, Tile{Rect: r, Source: sources[i]})
	}
	scene = fewer
	step(8, 4, true)
	if s := c.Stats(); s.Scaled != 4 { // fitted to the old tiles
		t.Errorf("%d scaled, want 4", s.Scaled)
	}
	for _, s := range sources {
		s.set(nil)
	}
}

// TestBars: a picture of another shape is centred between bars that are drawn
// once per change of the picture.
func TestBars(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	canvas := layout.Canvas{Width: 640, Height: 360, FPS: 30}
	c := newCompositor(t, canvas, pool, nil)
	s := &still{}
	defer s.set(nil)
	s.set(newFrame(t, pool, 480, 360, tone(1)))
	scene := &Scene{Tiles: []Tile{{Rect: canvas.Bounds(), Source: s}}}
	f, _ := drawScene(t, c, scene, 0)
	for x, want := range map[int]colour{0: barsTone, 79: barsTone, 80: tone(1), 559: tone(1), 560: barsTone, 639: barsTone} {
		if got := samplesAt(f, x, 180); got != want.yuv() {
			t.Errorf("at %d: %v, want %v", x, got, want.yuv())
		}
	}
	f.Release()
	s.set(newFrame(t, pool, 202, 360, tone(2)))
	f, _ = drawScene(t, c, scene, 1)
	for x, want := range map[int]colour{0: barsTone, 216: barsTone, 218: tone(2), 419: tone(2), 420: barsTone} {
		if got := samplesAt(f, x, 180); got != want.yuv() {
			t.Errorf("portrait, at %d: %v, want %v", x, got, want.yuv())
		}
	}
	f.Release()
}

// TestLabelsArriveLater: no name while it is being rendered, then the name,
// and the picture beside it untouched.
func TestLabelsArriveLater(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	labeller, err := NewLabeller(LabellerConfig{}) // not running yet
	if err != nil {
		t.Fatal(err)
	}
	c := newCompositor(t, hd, pool, labeller)
	scene, sources := plain(t, pool, hd, 4)
	for i := range scene.Tiles {
		scene.Tiles[i].Name = "김민수"
	}
	f, _ := drawScene(t, c, scene, 0)
	checkScene(t, f, layout.Arrange(hd, 4), tone)
	f.Release()

	setter := systemSetter(t)
	for range 4 { // the four tiles share one text, the discs are not asked for
		labeller.mu.Lock()
		var e *label
		if len(labeller.mu.queue) > 0 {
			e, labeller.mu.queue = labeller.mu.queue[0], labeller.mu.queue[1:]
		}
		labeller.mu.Unlock()
		if e != nil {
			o, err := setter.render(e.key)
			labeller.finished(e, o, err)
		}
	}
	if s := labeller.Stats(); s.Rendered != 1 {
		t.Errorf("%d rendered, want 1", s.Rendered)
	}
	f, changed := drawScene(t, c, scene, 1)
	defer f.Release()
	if !changed {
		t.Error("names are no change")
	}
	for i, r := range layout.Arrange(hd, 4) {
		m, bright, dark := labelMargin(r), 0, 0
		for y := r.Y + r.H - m - 36; y < r.Y+r.H-m; y++ {
			for x := r.X + m; x < r.X+120; x++ {
				switch v := samplesAt(f, x, y)[0]; {
				case v > 200:
					bright++
				case v < tone(i).y-10:
					dark++
				}
			}
		}
		if bright < 50 || dark < 300 {
			t.Errorf("tile %d: %d samples of text on %d of pill", i, bright, dark)
		}
		if got := samplesAt(f, r.X+r.W/2, r.Y+r.H/2); got != tone(i).yuv() {
			t.Errorf("tile %d: middle is %v", i, got)
		}
	}
	for _, s := range sources {
		s.set(nil)
	}
}

func TestCanvasBusy(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	c := newCompositor(t, hd, pool, nil)
	scene := &Scene{}
	var held []*codec.VideoFrame
	for i := range maxCanvases {
		f, _ := drawScene(t, c, scene, time.Duration(i))
		held = append(held, f)
	}
	if _, _, err := c.Draw(scene, 9, 9); !errors.Is(err, ErrCanvasBusy) {
		t.Errorf("%v, want ErrCanvasBusy", err)
	}
	for _, f := range held {
		f.Release()
	}
	f, _ := drawScene(t, c, scene, 10)
	f.Release()
	if s := c.Stats(); s.Busy != 1 || s.Buffers != maxCanvases {
		t.Errorf("%+v", s)
	}
}

func TestNoMemoryForCanvas(t *testing.T) {
	c := newCompositor(t, hd, codec.NewVideoPool(1000), nil)
	if _, _, err := c.Draw(&Scene{}, 0, 0); !errors.Is(err, codec.ErrBudget) {
		t.Errorf("%v, want ErrBudget", err)
	}
}

// TestTileOutsideIsNotDrawn: a mistake of the layout's must not be a crash.
func TestTileOutsideIsNotDrawn(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	c := newCompositor(t, hd, pool, nil)
	s := &still{}
	defer s.set(nil)
	s.set(newFrame(t, pool, 640, 360, tone(1)))
	f, _ := drawScene(t, c, &Scene{Tiles: []Tile{
		{Rect: layout.Rect{X: 1000, Y: 0, W: 640, H: 360}, Source: s},
		{Rect: layout.Rect{X: -2, Y: 0, W: 640, H: 360}, ID: "x"},
		{Rect: layout.Rect{}, Source: s},
	}}, 0)
	checkScene(t, f, nil, nil)
	f.Release()
}

func TestNewCompositorErrors(t *testing.T) {
	if _, err := NewCompositor(layout.Canvas{}, codec.NewVideoPool(1), nil); !errors.Is(err, codec.ErrBadConfig) {
		t.Errorf("no canvas: %v", err)
	}
	if _, err := NewCompositor(hd, nil, nil); !errors.Is(err, codec.ErrBadConfig) {
		t.Errorf("no pool: %v", err)
	}
}

// busyScene is n moving tiles with names, a border and marks, over an image or
// not, and one more tile on top of them.
func busyScene(b testing.TB, pool *codec.VideoPool, labeller *Labeller, canvas layout.Canvas, n int, image *codec.VideoFrame) (*Scene, []*still) {
	scene, sources := plain(b, pool, canvas, n)
	scene.Background.Image = image
	for i := range scene.Tiles {
		tile := &scene.Tiles[i]
		tile.Name, tile.Speaking, tile.Muted = fmt.Sprint("Person ", i), i == 1, i%2 == 0
		key, _ := nameKey(tile.Name, tile.Rect)
		await(labeller, key)
		key, _ = markKey(muteMark, tile.Rect)
		await(labeller, key)
	}
	return scene, sources
}

func TestDrawAllocatesNothing(t *testing.T) {
	pool := codec.NewVideoPool(testBudget)
	labeller := startLabeller(t, LabellerConfig{})
	image := wallpaper(t, pool, 320, 180)
	defer image.Release()
	for _, on := range []*codec.VideoFrame{nil, image} {
		c := newCompositor(t, hd, pool, labeller)
		scene, sources := busyScene(t, pool, labeller, hd, 9, on)
		// One over two others, of a size that wants scaling.
		scene.Tiles = append(scene.Tiles, Tile{Rect: layout.Rect{X: 300, Y: 100, W: 400, H: 226}, Source: sources[0], Screen: true})
		pts := time.Duration(0)
		if n := testing.AllocsPerRun(100, func() {
			pts += time.Second / 30 // some stand still for long enough to freeze
			for i, s := range sources {
				if i%2 == 0 || pts%2 == 0 {
					s.touch()
				}
			}
			f, _, err := c.Draw(scene, pts, pts)
			if err != nil {
				t.Fatal(err)
			}
			f.Release()
		}); n != 0 {
			t.Errorf("%v allocations per tick", n)
		}
		for _, s := range sources {
			s.set(nil)
		}
	}
}

// BenchmarkStageCompose draws a canvas on which every tile has a new picture, or
// none has. x-copy is the fastest tick's price in copies of the canvas, best-ns
// the same in time: other work on the machine disturbs them least.
func BenchmarkStageCompose(b *testing.B) {
	full := layout.Canvas{Width: 1920, Height: 1080, FPS: 30}
	for _, c := range []struct {
		canvas layout.Canvas
		tiles  int
		moving bool
		image  bool
	}{
		{hd, 9, true, false}, {hd, 9, false, false}, {hd, 9, true, true}, {hd, 16, true, false}, {hd, 16, false, false},
		{full, 49, true, false}, {full, 49, false, false}, {full, 49, true, true},
	} {
		b.Run(fmt.Sprintf("%dx%d/tiles=%d/moving=%v/image=%v", c.canvas.Width, c.canvas.Height, c.tiles, c.moving, c.image), func(b *testing.B) {
			pool := codec.NewVideoPool(testBudget)
			labeller := startLabeller(b, LabellerConfig{})
			comp := newCompositor(b, c.canvas, pool, labeller)
			var image *codec.VideoFrame
			if c.image {
				image = wallpaper(b, pool, 640, 360)
			}
			scene, sources := busyScene(b, pool, labeller, c.canvas, c.tiles, image)
			copied := copyTime(b, pool, c.canvas)
			b.ReportAllocs()
			pts, best := time.Duration(0), time.Hour
			for b.Loop() {
				pts++
				if c.moving {
					for _, s := range sources {
						s.touch()
					}
				}
				start := codec.Now()
				f, _ := drawScene(b, comp, scene, pts)
				f.Release()
				best = min(best, codec.Now()-start)
			}
			b.ReportMetric(float64(best.Nanoseconds()), "best-ns")
			b.ReportMetric(float64(best)/float64(copied), "x-copy")
		})
	}
}

// copyTime is how long a plain copy of a canvas takes, the fastest of many.
func copyTime(b *testing.B, pool *codec.VideoPool, canvas layout.Canvas) time.Duration {
	from, to := newFrame(b, pool, canvas.Width, canvas.Height, backdrop), newFrame(b, pool, canvas.Width, canvas.Height, backdrop)
	defer from.Release()
	defer to.Release()
	best := time.Hour
	for range 200 {
		start := codec.Now()
		copy(to.Y, from.Y)
		copy(to.U, from.U)
		copy(to.V, from.V)
		best = min(best, codec.Now()-start)
	}
	return best
}
