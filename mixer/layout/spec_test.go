package layout

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestSpecValidate(t *testing.T) {
	tile := func(change func(*CustomTile)) Spec {
		one := CustomTile{X: 0.25, Y: 0.25, W: 0.5, H: 0.5, Show: "rank:1"}
		change(&one)
		return Spec{Mode: Custom, Tiles: []CustomTile{one}}
	}
	show := func(s ...string) Spec {
		spec := Spec{Mode: Custom}
		for _, v := range s {
			spec.Tiles = append(spec.Tiles, CustomTile{W: 1, H: 1, Show: v})
		}
		return spec
	}
	for _, c := range []struct {
		name string
		spec Spec
		want []string // pointers
	}{
		{"nothing", Spec{}, nil},
		{"all of it", Spec{Mode: Seven, Order: []string{"p_1", "p_2/screen"}, Pins: []string{"p_1"}, Limit: 49, HideSelf: true, Background: "#20Aa40", BackgroundImage: "walls/wood.JPG"}, nil},
		{"unknown mode", Spec{Mode: "Grid"}, []string{"/mode"}},
		{"custom without tiles", Spec{Mode: Custom}, []string{"/tiles"}},
		{"too many tiles", Spec{Mode: Custom, Tiles: make([]CustomTile, 50)}, []string{"/tiles"}},
		{"tiles of a grid", Spec{Tiles: show("rank:1").Tiles}, []string{"/tiles"}},
		{"a tile", tile(func(*CustomTile) {}), nil},
		{"thirds in decimals", tile(func(c *CustomTile) { c.X, c.W = 0.6667, 0.3334 }), nil},
		{"beyond the right edge", tile(func(c *CustomTile) { c.X = 0.51 }), []string{"/tiles/0/x"}},
		{"beyond the left edge", tile(func(c *CustomTile) { c.X = -0.01 }), []string{"/tiles/0/x"}},
		{"beyond the lower edge", tile(func(c *CustomTile) { c.Y = 0.51 }), []string{"/tiles/0/y"}},
		{"too flat, too wide", tile(func(c *CustomTile) { c.H, c.W = 0.01, 1.1 }), []string{"/tiles/0/w", "/tiles/0/h"}},
		{"no numbers", tile(func(c *CustomTile) { c.W, c.Y = math.NaN(), math.Inf(1) }), []string{"/tiles/0/w", "/tiles/0/y"}},
		{"too deep", tile(func(c *CustomTile) { c.Z = -1001 }), []string{"/tiles/0/z"}},
		{"what is shown", show("speaker", "screen", "rank:49", "participant:p_1"), nil},
		{"what is not", show("", "rank:0", "rank:50", "rank:x", "rank", "participant:", "speakers"), []string{
			"/tiles/0/show", "/tiles/1/show", "/tiles/2/show", "/tiles/3/show", "/tiles/4/show", "/tiles/5/show", "/tiles/6/show"}},
		{"the same twice", show("speaker", "rank:1", "speaker", "rank:01"), []string{"/tiles/2/show", "/tiles/3/show"}},
		{"no name", Spec{Order: []string{"a", ""}}, []string{"/order/1"}},
		{"a long name", Spec{Pins: []string{strings.Repeat("x", 129)}}, []string{"/pins/0"}},
		{"no text", Spec{Pins: []string{"\xff"}}, []string{"/pins/0"}},
		{"one name twice", Spec{Pins: []string{"a", "b", "a"}}, []string{"/pins/2"}},
		{"too many names", Spec{Order: letters(101)}, []string{"/order"}},
		{"limit", Spec{Limit: 50}, []string{"/limit"}},
		{"negative limit", Spec{Limit: -1}, []string{"/limit"}},
		{"several", Spec{Mode: "x", Limit: 50, Background: "red"}, []string{"/mode", "/limit", "/background"}},
		{"short colour", Spec{Background: "#fff"}, []string{"/background"}},
		{"signed colour", Spec{Background: "#+12345"}, []string{"/background"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.spec.Validate()
			var got []string
			for _, f := range Faults(err) {
				got = append(got, f.Pointer)
				if f.Detail == "" || !strings.Contains(err.Error(), f.Error()) {
					t.Errorf("%q of %q", f, err)
				}
			}
			if !slices.Equal(got, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%v is about %q, want %q", err, got, c.want)
			}
		})
	}
}

func TestSpecBackgroundImage(t *testing.T) {
	for name, ok := range map[string]bool{
		"wood.png": true, "a/b.jpeg": true, "Büro.jpg": true,
		"wood": false, "wood.gif": false, "../wood.png": false, "/wood.png": false, "a/../b.png": false, "a//b.png": false,
		`a\b.png`: false, "a\x00.png": false, "\xff.png": false, strings.Repeat("x", 252) + ".png": false,
	} {
		if err := (Spec{BackgroundImage: name}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestFaultsOfOthers(t *testing.T) {
	if got := Faults(fmt.Errorf("wrapped: %w", Spec{Mode: "x", Limit: -1}.Validate())); len(got) != 2 {
		t.Errorf("%v", got)
	}
	if got := Faults(fmt.Errorf("something else")); got != nil {
		t.Errorf("%v", got)
	}
}

func TestSpecEqual(t *testing.T) {
	yes, alsoYes, no := true, true, false
	base := func() Spec {
		return Spec{Mode: Custom, Tiles: []CustomTile{{W: 1, H: 1, Show: "speaker", Fill: &yes}}, Order: []string{"a"}, Pins: []string{"b"}}
	}
	if s := base(); !s.Equal(base()) || !(Spec{}).Equal(Spec{Mode: Grid, Pins: []string{}}) {
		t.Error("the same is not equal")
	}
	for i, change := range []func(*Spec){
		func(s *Spec) { s.Mode = Grid }, func(s *Spec) { s.Order = nil }, func(s *Spec) { s.Pins = nil }, func(s *Spec) { s.Limit = 1 },
		func(s *Spec) { s.HideSelf = true }, func(s *Spec) { s.NoLabels = true }, func(s *Spec) { s.NoBorder = true }, func(s *Spec) { s.NoMarks = true },
		func(s *Spec) { s.Fill = true }, func(s *Spec) { s.Background = "#000000" }, func(s *Spec) { s.BackgroundImage = "a.png" },
		func(s *Spec) { s.Tiles[0].X = 0.1 }, func(s *Spec) { s.Tiles[0].Y = 0.1 }, func(s *Spec) { s.Tiles[0].W = 0.1 }, func(s *Spec) { s.Tiles[0].H = 0.1 },
		func(s *Spec) { s.Tiles[0].Z = 1 }, func(s *Spec) { s.Tiles[0].Show = "screen" }, func(s *Spec) { s.Tiles[0].Fill = nil }, func(s *Spec) { s.Tiles[0].Fill = &no },
	} {
		s := base()
		if change(&s); s.Equal(base()) {
			t.Errorf("change %d is not seen", i)
		}
	}
	s := base()
	if s.Tiles[0].Fill = &alsoYes; !s.Equal(base()) {
		t.Error("another pointer to the same")
	}
}

func TestParseColour(t *testing.T) {
	if rgb, ok := ParseColour("#20Ff03"); !ok || rgb != [3]uint8{0x20, 0xff, 0x03} {
		t.Errorf("%v %v", rgb, ok)
	}
}

// FuzzSpec: whatever Validate lets pass can be solved, and anything else does
// no harm.
func FuzzSpec(f *testing.F) {
	f.Add("custom", 0.1, 0.2, 0.5, 0.3, 4, "rank:2", "p01 p04", "p03", 7, "#102030", "a.png", uint16(1280), uint16(720), uint8(12))
	f.Add("speaker", 0.0, 0.0, 0.0, 0.0, 0, "", "", "", 0, "", "", uint16(320), uint16(180), uint8(49))
	f.Add("custom", math.NaN(), -1.0, 2.0, math.Inf(-1), 1<<40, "participant:p01", "p01 p01", "", -1, "#", "../x.png", uint16(16), uint16(16), uint8(3))
	f.Add("presentation", 0.0, 0.0, 0.0, 0.0, 0, "", "p02", "p09 p05", 3, "", "", uint16(720), uint16(1280), uint8(20))
	f.Fuzz(func(t *testing.T, mode string, x, y, w, h float64, z int, show, order, pins string, limit int, colour, image string, width, height uint16, n uint8) {
		s := Spec{Mode: Mode(mode), Order: strings.Fields(order), Pins: strings.Fields(pins), Limit: limit, Background: colour, BackgroundImage: image}
		if s.Mode == Custom {
			s.Tiles = []CustomTile{{X: x, Y: y, W: w, H: h, Z: z, Show: show}, {W: 0.5, H: 1, Show: "speaker"}, {X: 0.5, W: 0.5, H: 1, Show: "rank:1"}}
		}
		c := Canvas{int(width), int(height), 30}
		items := people(letters(int(n % 64))...)
		if len(items) > 5 {
			items[5].ID, items[5].Screen = "p01!", true
		}
		err := s.Validate()
		p := Solve(c, s, items, "p02", nil)
		if err == nil && len(Faults(err)) == 0 && c.Validate() == nil {
			if s.ByMode() != Custom || len(items) > 0 {
				checkPlan(t, c, s, items, p)
			}
			fewer := items[min(1, len(items)):]
			checkPlan(t, c, s, fewer, Solve(c, s, fewer, "", p))
		}
		if err != nil && len(Faults(err)) == 0 {
			t.Fatalf("%v names no field", err)
		}
	})
}
