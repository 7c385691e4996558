package layout

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestCanvasValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		canvas Canvas
		want   []string // parts of the error; none: valid
	}{
		{"720p", Canvas{1280, 720, 30}, nil},
		{"smallest", Canvas{16, 16, 1}, nil},
		{"largest", Canvas{3840, 3840, 60}, nil},
		{"portrait", Canvas{720, 1280, 25}, nil},
		{"odd width", Canvas{1279, 720, 30}, []string{"width: 1279, want even, 16..3840"}},
		{"odd height", Canvas{1280, 721, 30}, []string{"height: 721, want even, 16..3840"}},
		{"too small", Canvas{14, 720, 30}, []string{"width: 14"}},
		{"too large", Canvas{3842, 720, 30}, []string{"width: 3842"}},
		{"no rate", Canvas{1280, 720, 0}, []string{"fps: 0, want 1..60"}},
		{"negative", Canvas{-2, -2, -2}, []string{"width: -2", "height: -2", "fps: -2"}},
		{"all wrong", Canvas{}, []string{"width: 0", "height: 0", "fps: 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.canvas.Validate()
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("error %v, want parts %q", err, c.want)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not contain %q", err, part)
				}
			}
		})
	}
}

func TestArrangeKnownGrids(t *testing.T) {
	hd := Canvas{1280, 720, 30}
	for _, c := range []struct {
		name          string
		canvas        Canvas
		n             int
		columns, rows int
		first, last   Rect
	}{
		{"one is the canvas", hd, 1, 1, 1, Rect{0, 0, 1280, 720}, Rect{0, 0, 1280, 720}},
		{"two side by side", hd, 2, 2, 1, Rect{8, 184, 628, 352}, Rect{644, 184, 628, 352}},
		{"three, last centred", hd, 3, 2, 2, Rect{18, 8, 618, 348}, Rect{330, 364, 618, 348}},
		{"four", hd, 4, 2, 2, Rect{18, 8, 618, 348}, Rect{644, 364, 618, 348}},
		{"nine", hd, 9, 3, 3, Rect{26, 10, 404, 228}, Rect{850, 482, 404, 228}},
		{"portrait, two stacked", Canvas{720, 1280, 30}, 2, 1, 2, Rect{8, 240, 704, 396}, Rect{8, 644, 704, 396}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tiles := Arrange(c.canvas, c.n)
			if len(tiles) != c.n {
				t.Fatalf("%d tiles, want %d", len(tiles), c.n)
			}
			xs, ys := map[int]bool{}, map[int]bool{}
			for i, tile := range tiles {
				if i < c.columns {
					xs[tile.X] = true
				}
				ys[tile.Y] = true
			}
			if len(xs) != c.columns || len(ys) != c.rows {
				t.Errorf("%d columns, %d rows, want %d and %d", len(xs), len(ys), c.columns, c.rows)
			}
			if tiles[0] != c.first || tiles[c.n-1] != c.last {
				t.Errorf("first %v last %v, want %v and %v", tiles[0], tiles[c.n-1], c.first, c.last)
			}
		})
	}
}

var canvases = []Canvas{
	{1280, 720, 30}, {1920, 1080, 30}, {640, 360, 15}, {320, 180, 15}, {640, 480, 30},
	{720, 1280, 30}, {1080, 1920, 30}, {1024, 1024, 30}, {3840, 2160, 60}, {3840, 16, 1},
	{16, 3840, 1}, {16, 16, 1}, {854, 480, 30}, {18, 3838, 30}, {90, 90, 30},
}

// TestArrangeLaws holds for every number of tiles on every canvas.
func TestArrangeLaws(t *testing.T) {
	for _, c := range canvases {
		for n := 0; n <= MaxTiles; n++ {
			tiles := Arrange(c, n)
			if len(tiles) != n {
				t.Fatalf("%v n=%d: %d tiles", c, n, len(tiles))
			}
			for i, r := range tiles {
				if r.Empty() || r.X%2 != 0 || r.Y%2 != 0 || r.W%2 != 0 || r.H%2 != 0 {
					t.Fatalf("%v n=%d tile %d: %v is empty or not even", c, n, i, r)
				}
				if !r.In(c.Bounds()) {
					t.Fatalf("%v n=%d tile %d: %v is outside", c, n, i, r)
				}
				if r.W != tiles[0].W || r.H != tiles[0].H {
					t.Fatalf("%v n=%d tile %d: %v is not as large as the first, %v", c, n, i, r, tiles[0])
				}
				if gap := even(min(c.Width, c.Height) / gapFraction); n > 1 && r.W >= 4*gap && !r.In(Rect{gap, gap, c.Width - 2*gap, c.Height - 2*gap}) {
					t.Fatalf("%v n=%d tile %d: %v is nearer than %d to the edge", c, n, i, r, gap)
				}
				for j := range i {
					if r.Overlaps(tiles[j]) {
						t.Fatalf("%v n=%d: %v overlaps %v", c, n, r, tiles[j])
					}
				}
			}
			if n < 2 {
				continue
			}
			// 16:9 to within the rounding to even sizes.
			if w, h := tiles[0].W, tiles[0].H; math.Abs(float64(w)-float64(h)*16/9) > 4 {
				t.Errorf("%v n=%d: cell %dx%d is not 16:9", c, n, w, h)
			}
			checkCentred(t, c, tiles)
			checkMaximal(t, c, tiles)
		}
	}
}

// checkCentred wants what is free left and right of every row, and above and
// below all, equal to within the rounding to even positions.
func checkCentred(t *testing.T, c Canvas, tiles []Rect) {
	t.Helper()
	last := tiles[len(tiles)-1]
	if top, bottom := tiles[0].Y, c.Height-last.Y-last.H; bottom-top < 0 || bottom-top > 2 {
		t.Errorf("%v n=%d: %d above, %d below", c, len(tiles), top, bottom)
	}
	for i := 0; i < len(tiles); {
		j := i
		for j+1 < len(tiles) && tiles[j+1].Y == tiles[i].Y {
			j++
		}
		left, right := tiles[i].X, c.Width-tiles[j].X-tiles[j].W
		if right-left < 0 || right-left > 2 {
			t.Errorf("%v n=%d row at %d: %d left, %d right", c, len(tiles), tiles[i].Y, left, right)
		}
		i = j + 1
	}
}

// checkMaximal searches, in another way than Arrange, for a cell two samples
// larger that would still fit.
func checkMaximal(t *testing.T, c Canvas, tiles []Rect) {
	t.Helper()
	n, w, h := len(tiles), tiles[0].W, tiles[0].H
	gap := 0
	for i := 1; i < n; i++ {
		if tiles[i].Y == tiles[0].Y {
			gap = tiles[1].X - w - tiles[0].X
		} else {
			gap = max(gap, tiles[i].Y-tiles[0].Y-h)
			break
		}
	}
	// A cell of width W has height even(W*9/16), or is one as high.
	for W := w + 4; W <= w+8; W += 2 {
		H := even(W * 9 / 16)
		if W > c.Width || H > c.Height || H <= h {
			continue
		}
		cols := (c.Width - gap) / (W + gap)
		rows := (c.Height - gap) / (H + gap)
		if cols*rows >= n {
			t.Errorf("%v n=%d gap %d: cell %dx%d, but %dx%d fits %d times %d", c, n, gap, w, h, W, H, cols, rows)
			return
		}
	}
}

func TestArrangeOutOfRange(t *testing.T) {
	hd := Canvas{1280, 720, 30}
	if got := Arrange(hd, -1); len(got) != 0 {
		t.Errorf("-1: %v", got)
	}
	if got := Arrange(hd, 1000); len(got) != MaxTiles {
		t.Errorf("1000: %d tiles", len(got))
	}
	if got := Arrange(Canvas{15, 15, 30}, 3); got != nil {
		t.Errorf("bad canvas: %v", got)
	}
}

func TestFit(t *testing.T) {
	for _, c := range []struct {
		name string
		tile Rect
		w, h int
		want Rect
	}{
		{"same aspect", Rect{0, 0, 640, 360}, 1280, 720, Rect{0, 0, 640, 360}},
		{"enlarged", Rect{0, 0, 640, 360}, 320, 180, Rect{0, 0, 640, 360}},
		{"4:3 in 16:9", Rect{10, 20, 640, 360}, 640, 480, Rect{90, 20, 480, 360}},
		{"portrait phone", Rect{0, 0, 640, 360}, 720, 1280, Rect{218, 0, 202, 360}},
		{"very wide", Rect{0, 0, 640, 360}, 6400, 10, Rect{0, 178, 640, 2}},
		{"very high", Rect{0, 0, 640, 360}, 1, 16000, Rect{318, 0, 2, 360}},
		{"no size", Rect{2, 4, 640, 360}, 0, 0, Rect{2, 4, 640, 360}},
		{"odd source", Rect{0, 0, 320, 180}, 641, 361, Rect{0, 0, 320, 180}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Fit(c.tile, c.w, c.h); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// TestNoBarsForCameras: a 16:9 camera fills every cell of every grid.
func TestNoBarsForCameras(t *testing.T) {
	for _, c := range canvases {
		for n := 2; n <= MaxTiles; n++ {
			tile := Arrange(c, n)[0]
			if tile.H < 100 {
				continue
			}
			for _, camera := range [][2]int{{640, 360}, {1280, 720}, {426, 240}, {1920, 1080}, {1920, 1088}} {
				if got := Fit(tile, camera[0], camera[1]); got != tile {
					t.Errorf("%v n=%d: %v of %v for %v", c, n, got, tile, camera)
				}
			}
		}
	}
}

func TestFill(t *testing.T) {
	for _, c := range []struct {
		name string
		tile Rect
		w, h int
		want Rect
	}{
		{"same aspect", Rect{0, 0, 640, 360}, 1280, 720, Rect{0, 0, 1280, 720}},
		{"4:3 into 16:9", Rect{0, 0, 640, 360}, 640, 480, Rect{0, 60, 640, 360}},
		{"portrait into 16:9", Rect{0, 0, 640, 360}, 720, 1280, Rect{0, 436, 720, 406}},
		{"wide into square", Rect{0, 0, 100, 100}, 640, 360, Rect{140, 0, 360, 360}},
		{"no size", Rect{0, 0, 640, 360}, 0, 0, Rect{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Fill(c.tile, c.w, c.h); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// TestFitLaws: even, inside, touching in one direction, aspect kept.
func TestFitLaws(t *testing.T) {
	for _, tile := range []Rect{{0, 0, 416, 232}, {10, 30, 2, 2}, {4, 2, 1280, 720}, {0, 0, 90, 160}} {
		for w := 1; w <= 2000; w += 37 {
			for h := 1; h <= 2000; h += 41 {
				r := Fit(tile, w, h)
				if !r.In(tile) || r.Empty() || r.X%2+r.Y%2+r.W%2+r.H%2 != 0 {
					t.Fatalf("%v of %dx%d: %v", tile, w, h, r)
				}
				if r.W != tile.W && r.H != tile.H {
					t.Fatalf("%v of %dx%d: %v touches no edge", tile, w, h, r)
				}
				wantW, wantH := float64(r.H)*float64(w)/float64(h), float64(r.W)*float64(h)/float64(w)
				offW, offH := math.Abs(wantW-float64(r.W)), math.Abs(wantH-float64(r.H))
				if r.W > 2 && r.H > 2 && offW > 1.01 && offH > 1.01 && offW > float64(tile.W)/50+1.01 && offH > float64(tile.H)/50+1.01 {
					t.Fatalf("%v of %dx%d: %v does not keep the aspect", tile, w, h, r)
				}
				if c := Fill(tile, w, h); !c.In(Rect{W: w, H: h}) || c.Empty() {
					t.Fatalf("%v crop of %dx%d: %v", tile, w, h, c)
				}
			}
		}
	}
}

func BenchmarkStageArrange(b *testing.B) {
	for _, tiles := range []int{2, 9, 16, 49} {
		b.Run(fmt.Sprintf("tiles=%d", tiles), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Arrange(Canvas{1920, 1080, 30}, tiles)
			}
		})
	}
}
