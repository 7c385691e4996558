package mixer

import (
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/mixer/layout"
)

// wantOf is what one showing of a source needs.
func wantOf(s showing, id codec.SourceID, of shape) (w uplinkWant) {
	w.add(s, id, of)
	return w
}

func TestUplinkTarget(t *testing.T) {
	hd := layout.Canvas{Width: 1280, Height: 720, FPS: 30}
	tile := func(w, h int) showing { return showing{canvas: hd, tile: layout.Rect{W: w, H: h}} }
	filled := func(w, h int) showing { s := tile(w, h); s.fill = true; return s }
	upright, classic, wide := shape{720, 1280}, shape{640, 480}, usualShape
	for _, c := range []struct {
		name    string
		showing showing
		id      codec.SourceID
		of      shape
		want    codec.UplinkTarget
	}{
		{"all of the canvas, as its tier", tile(1280, 720), codec.Camera, wide, codec.UplinkTarget{Width: 1280, Height: 720, FPS: 30, BitrateBps: 1_500_000}},
		{"one of two", tile(628, 352), codec.Camera, wide, codec.UplinkTarget{Width: 640, Height: 360, FPS: 30, BitrateBps: 750_000}},
		{"one of nine", tile(420, 236), codec.Camera, wide, codec.UplinkTarget{Width: 426, Height: 240, FPS: 30, BitrateBps: 437_500}},
		{"one of sixteen", tile(310, 174), codec.Camera, wide, codec.UplinkTarget{Width: 320, Height: 180, FPS: 30, BitrateBps: 312_500}},
		{"a thumbnail", tile(160, 90), codec.Camera, wide, codec.UplinkTarget{Width: 160, Height: 90, FPS: 15, BitrateBps: 62_500}},
		{"an upright phone, fitted", tile(420, 236), codec.Camera, upright, codec.UplinkTarget{Width: 180, Height: 320, FPS: 30, BitrateBps: 312_500}},
		{"an upright phone, filling", filled(420, 236), codec.Camera, upright, codec.UplinkTarget{Width: 540, Height: 960, FPS: 30, BitrateBps: 1_250_000}},
		{"four to three, fitted", tile(420, 236), codec.Camera, classic, codec.UplinkTarget{Width: 320, Height: 240, FPS: 30, BitrateBps: 375_000}},
		{"four to three, filling", filled(420, 236), codec.Camera, classic, codec.UplinkTarget{Width: 480, Height: 360, FPS: 30, BitrateBps: 625_000}},
		{"hidden", tile(0, 0), codec.Camera, wide, codec.UplinkTarget{Width: 160, Height: 90, FPS: 15, BitrateBps: 62_500, Paused: true}},
		{"a large screen", tile(960, 540), codec.Screen, wide, codec.UplinkTarget{FPS: 15, BitrateBps: 812_500}},
		{"a small screen stays readable", tile(420, 236), codec.Screen, wide, codec.UplinkTarget{Width: 1280, Height: 720, FPS: 15, BitrateBps: 1_187_500}},
	} {
		want := wantOf(c.showing, c.id, c.of)
		if got := want.target(c.of); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	big := layout.Canvas{Width: 1920, Height: 1080, FPS: 25}
	want := wantOf(showing{canvas: big, tile: big.Bounds()}, codec.Camera, usualShape)
	if got := want.target(usualShape); got != (codec.UplinkTarget{FPS: 25, BitrateBps: 2_300_000}) {
		t.Errorf("beyond the ladder: %+v", got)
	}
}

// Of several showings the largest counts, the fastest and the one that may be
// passed through.
func TestUplinkWantAdds(t *testing.T) {
	hd, small := layout.Canvas{Width: 1280, Height: 720, FPS: 15}, layout.Canvas{Width: 320, Height: 180, FPS: 30}
	var w uplinkWant
	w.add(showing{canvas: hd, tile: layout.Rect{W: 628, H: 352}}, codec.Camera, usualShape)
	w.add(showing{canvas: small, tile: small.Bounds()}, codec.Camera, usualShape)
	if want := (uplinkWant{level: levelFor(360), fps: 30, whole: true, width: 628, height: 352}); w != want {
		t.Errorf("%+v, want %+v", w, want)
	}
}

// A picture that covers a tile at every rung: nobody's is enlarged.
func TestUplinkCoversEveryGrid(t *testing.T) {
	for _, c := range []layout.Canvas{{Width: 1280, Height: 720, FPS: 30}, {Width: 1920, Height: 1080, FPS: 30}, {Width: 640, Height: 360, FPS: 30}, {Width: 720, Height: 1280, FPS: 30}} {
		for n := 1; n <= layout.MaxTiles; n++ {
			pixels := 0
			for _, r := range layout.Arrange(c, n) {
				for _, fill := range []bool{false, true} {
					for _, of := range []shape{usualShape, {640, 480}, {720, 1280}, {1080, 1080}} {
						s := showing{canvas: c, tile: r, fill: fill}
						want := wantOf(s, codec.Camera, of)
						w, h := s.size(of)
						to := want.target(of)
						if to.Height != 0 && (to.Width < w-w/100-2 || to.Height < h-h/100-2 || to.Width%2 != 0 || to.Height%2 != 0) {
							t.Fatalf("%v, %d tiles of %dx%d, fill %v: %dx%d for %dx%d", c, n, r.W, r.H, fill, to.Width, to.Height, w, h)
						}
						if of == usualShape && !fill && to.Height != 0 {
							pixels += to.Width * to.Height * to.FPS
						}
					}
				}
			}
			// Nine of nine: as many pixels as the canvas has, see below.
			if limit := c.Width * c.Height * c.FPS; c.Height == 720 && (n == 9 || n == 16) && pixels > limit {
				t.Errorf("%v, %d tiles: %.2f times the canvas", c, n, float64(pixels)/float64(limit))
			}
		}
	}
}

func TestShapes(t *testing.T) {
	var s uplinkSource
	s.see(0, 0)
	if s.shape != usualShape {
		t.Fatalf("%v before anything was seen", s.shape)
	}
	for _, rung := range uplinkRungs {
		w, h := rungSize(rung, usualShape)
		if s.see(w, h); s.shape != usualShape {
			t.Errorf("%dx%d is taken for another shape", w, h)
		}
	}
	if s.see(480, 640); s.shape != (shape{480, 640}) {
		t.Errorf("a turned phone is still %v", s.shape)
	}
}

// sending is a sender whose camera is shown as high as some rung; 0 is hidden.
type sending struct {
	t *testing.T
	u uplink
	// told is how often, and when last, the sender was told something.
	told    int
	toldAt  time.Duration
	between time.Duration // the least time between two
	next    time.Duration
}

func (s *sending) at(now time.Duration, rung int) codec.UplinkTarget {
	s.t.Helper()
	var wants [codec.NumSources]uplinkWant
	wants[codec.Camera].add(showing{
		canvas: layout.Canvas{Width: 1280, Height: 720, FPS: 30}, tile: layout.Rect{W: rung * 16 / 9, H: rung},
	}, codec.Camera, usualShape)
	s.u.sources[codec.Camera].see(0, 0)
	s.u.sources[codec.Screen].see(0, 0)
	news, next := s.u.update(wants, now)
	if s.next = next; news[codec.Camera] {
		if s.told > 1 { // the first is no change
			s.between = min(s.between, now-s.toldAt)
		}
		s.told, s.toldAt = s.told+1, now
	}
	return s.u.sources[codec.Camera].target
}

func TestUplinkUpAtOnceDownLate(t *testing.T) {
	s := &sending{t: t, between: time.Hour}
	sec := time.Second
	for _, step := range []struct {
		now  time.Duration
		rung int
		want int
	}{
		{0, 240, 240},
		{5 * sec, 720, 720},  // up at once
		{6 * sec, 240, 720},  // not down
		{12 * sec, 720, 720}, // he speaks again
		{13 * sec, 240, 720},
		{19*sec + 900*time.Millisecond, 240, 720},
		{20 * sec, 240, 240},                      // 8 s after it was last wanted
		{20*sec + 500*time.Millisecond, 720, 240}, // too soon after
		{22 * sec, 720, 720},
		{30 * sec, 720, 720},
		{37*sec + 900*time.Millisecond, 0, 720},
		{38 * sec, 0, 90},
		{38*sec + 10*time.Millisecond, 540, 540}, // nothing is seen of him: at once
	} {
		got := s.at(step.now, step.rung)
		if got.Height != step.want || got.Paused != (step.want == 90) {
			t.Errorf("at %v, shown at %d: %+v, want %d", step.now, step.rung, got, step.want)
		}
	}
	// What waits is said to wait.
	s = &sending{t: t, between: time.Hour}
	s.at(0, 720)
	if s.at(sec, 240); s.next != 7*sec {
		t.Errorf("going down waits for %v, want 7s", s.next)
	}
	if s.at(8*sec, 240); s.next != 0 {
		t.Errorf("nothing waits, for %v", s.next)
	}
	if s.at(9*sec, 360); s.next != sec {
		t.Errorf("going up waits for %v, want 1s", s.next)
	}
}

// Twenty people join within two seconds, or within twenty: whoever was there
// first sees his tile shrink in many steps, and is told of few.
func TestUplinkDoesNotFlap(t *testing.T) {
	hd := layout.Canvas{Width: 1280, Height: 720, FPS: 30}
	for _, c := range []struct {
		each time.Duration
		most int // besides the first
	}{{100 * time.Millisecond, 1}, {time.Second, 3}} {
		s := &sending{t: t, between: time.Hour}
		now := time.Duration(0)
		for n := 1; n <= 20; n++ {
			s.at(now, layout.Arrange(hd, n)[0].H)
			now += c.each
		}
		var last codec.UplinkTarget
		for range 200 {
			last = s.at(now, layout.Arrange(hd, 20)[0].H)
			now += 100 * time.Millisecond
		}
		if last.Height != 180 || s.told > 1+c.most || s.between < uplinkEvery {
			t.Errorf("one each %v: %d changes, %v apart, in the end %+v", c.each, s.told-1, s.between, last)
		}
	}
	// Two who speak in turn stay large, however long they do.
	s := &sending{t: t, between: time.Hour}
	for n := range 100 {
		s.at(time.Duration(n)*5*time.Second, []int{720, 180}[n%2])
	}
	if s.told != 1 {
		t.Errorf("%d changes of one who speaks every ten seconds", s.told-1)
	}
}

// No order of sizes makes the changes of one sender come closer than they may,
// nor a tile wait longer than that for its pixels.
func TestUplinkLaws(t *testing.T) {
	s := &sending{t: t, between: time.Hour}
	seed, short := uint32(1), time.Duration(0)
	for n := range 20000 {
		seed = seed*1664525 + 1013904223
		rung := uplinkRungs[seed>>28%uint32(len(uplinkRungs))]
		if seed>>16&7 != 0 && n > 0 { // it stays a while
			rung = s.u.sources[codec.Camera].wantedNow(time.Duration(n-1) * 100 * time.Millisecond)
		}
		now := time.Duration(n) * 100 * time.Millisecond
		if got := s.at(now, rung); got.Height < rung {
			if short += 100 * time.Millisecond; short > uplinkEvery {
				t.Fatalf("at %v a tile of %d has had too few pixels for %v", now, rung, short)
			}
		} else {
			short = 0
		}
	}
	if s.between < uplinkEvery {
		t.Errorf("changes %v apart", s.between)
	}
}

// wantedNow is the rung that was wanted at that time.
func (s *uplinkSource) wantedNow(at time.Duration) int {
	for l, w := range s.wanted {
		if w.was && w.at == at && l > 0 {
			return uplinkRungs[l-1]
		}
	}
	return uplinkRungs[0]
}

func TestUplinkAllocatesNothing(t *testing.T) {
	s := &sending{t: t}
	now := time.Duration(0)
	if n := testing.AllocsPerRun(100, func() {
		s.at(now, uplinkRungs[int(now/time.Second)%len(uplinkRungs)])
		now += time.Second
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
