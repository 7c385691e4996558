package layout

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var hd = Canvas{1280, 720, 30}

// people makes an item for each name; "b!" is a screen that b shares, with the
// ID "b!".
func people(names ...string) []Item {
	var items []Item
	for _, n := range names {
		owner, screen := strings.CutSuffix(n, "!")
		items = append(items, Item{ID: n, Owner: owner, Screen: screen, Video: true})
	}
	return items
}

// spoke gives the time at which owners last had the floor, in turn.
func spoke(items []Item, owners ...string) []Item {
	items = slices.Clone(items)
	for at, owner := range owners {
		for i := range items {
			if items[i].Owner == owner {
				items[i].Spoke = int64(at + 1)
			}
		}
	}
	return items
}

// seated returns the IDs of a plan's tiles, in drawing order, the large one in
// capitals.
func seated(p *Plan, items []Item) string {
	var ids []string
	for _, t := range p.Tiles {
		id := "-"
		if t.Item >= 0 {
			id = items[t.Item].ID
		}
		if t.Large {
			id = strings.ToUpper(id)
		}
		ids = append(ids, id)
	}
	return strings.Join(ids, " ")
}

func letters(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("p%02d", i))
	}
	return names
}

// TestSolveSeats plays what happens in rooms, step by step.
func TestSolveSeats(t *testing.T) {
	type step struct {
		people  string // who is there
		spoke   string // who had the floor, the last one last
		speaker string
		want    string
	}
	grid4 := []CustomTile{{W: 0.5, H: 0.5, Show: "rank:1"}, {X: 0.5, W: 0.5, H: 0.5, Show: "rank:2"}, {Y: 0.5, W: 0.5, H: 0.5, Show: "rank:3"}}
	stage := []CustomTile{{W: 0.6, H: 1, Show: "speaker"}, {X: 0.6, W: 0.4, H: 0.5, Show: "participant:b"}, {X: 0.6, Y: 0.5, W: 0.4, H: 0.5, Show: "rank:5"}, {W: 0.1, H: 0.1, Z: 1, Show: "screen"}}
	for _, c := range []struct {
		name  string
		spec  Spec
		steps []step
	}{
		{"grid: nobody moves for a talker", Spec{}, []step{
			{"a b c d", "", "", "a b c d"}, {"a b c d", "c", "c", "a b c d"}, {"a b c d", "c d a", "a", "a b c d"},
		}},
		{"grid: a newcomer comes last", Spec{}, []step{
			{"b c", "", "", "b c"}, {"a b c", "", "", "b c a"}, {"a aa b c", "", "", "b c a aa"},
		}},
		{"grid: who comes takes the seat of who goes", Spec{}, []step{
			{"a b c d", "", "", "a b c d"}, {"a c d x", "", "", "a x c d"},
		}},
		{"grid: same shape, the last one fills the hole", Spec{}, []step{
			{"a b c d e f", "", "", "a b c d e f"}, {"a c d e f", "", "", "a f c d e"},
		}},
		{"grid: another shape, everybody closes up", Spec{}, []step{
			{"a b c d e", "", "", "a b c d e"}, {"a c d e", "", "", "a c d e"},
		}},
		{"grid: two of one shape leave", Spec{}, []step{
			{"a b c d e f g h i", "", "", "a b c d e f g h i"}, {"b d e f g h i", "", "", "i b h d e f g"},
		}},
		{"grid: a screen is one tile more, and is shown before people", Spec{Limit: 2}, []step{
			{"a b c", "", "", "a b"}, {"a b c c!", "a b", "b", "c! b"},
		}},
		{"grid: pinned ones first, and only they move", Spec{Pins: []string{"c", "gone"}}, []step{
			{"a b c d", "", "", "c b a d"}, {"a b c d", "d", "d", "c b a d"},
		}},
		{"grid: in order, also who comes later", Spec{Order: []string{"d", "c"}}, []step{
			{"a b c", "", "", "c a b"}, {"a b c d", "", "", "d c b a"},
		}},
		{"limit: a newcomer sits where the least active sat", Spec{Limit: 3}, []step{
			{"a b c d e", "a b c", "c", "a b c"}, {"a b c d e", "a b c d", "d", "d b c"},
			{"a b c d e", "a b c d b", "b", "d b c"}, {"a b c d e", "a b c d b e", "e", "d b e"},
		}},
		{"limit: who is over it takes the seat of who goes", Spec{Limit: 2}, []step{
			{"a b c", "a b", "b", "a b"}, {"b c", "b", "b", "c b"},
		}},
		{"limit: pinned ones stay", Spec{Limit: 2, Pins: []string{"c"}}, []step{
			{"a b c", "a b", "b", "c b"}, {"a b c", "a b a", "a", "c a"},
		}},
		{"speaker: the two change places", Spec{Mode: Speaker}, []step{
			{"a b c d", "", "", "A b c d"}, {"a b c d", "c", "c", "C b a d"}, {"a b c d", "c b", "b", "B c a d"}, {"a b c d", "c b", "", "B c a d"},
		}},
		{"speaker: the large one goes", Spec{Mode: Speaker}, []step{
			{"a b c d", "c a", "a", "A b c d"}, {"b c d", "c", "", "C b d"},
		}},
		{"speaker: one in the strip goes", Spec{Mode: Speaker}, []step{
			{"a b c d", "a", "a", "A b c d"}, {"a c d", "a", "a", "A d c"},
		}},
		{"speaker: pinned wins", Spec{Mode: Speaker, Pins: []string{"d", "b"}}, []step{
			{"a b c d", "a", "a", "D b a c"}, {"a b c d", "a c", "c", "D b a c"}, {"a b c", "a c", "c", "B c a"},
		}},
		{"speaker: a screen is not large", Spec{Mode: Sidebar}, []step{
			{"a b b!", "b", "b", "B a b!"}, {"b!", "", "", "B!"},
		}},
		{"speaker in order: not for a talker", Spec{Mode: Speaker, Order: []string{"a", "b", "c"}}, []step{
			{"c b a x", "", "", "A b c x"}, {"c b a x", "c", "c", "C b a x"}, {"c b a x y", "c", "c", "C a b x y"},
		}},
		{"seven: who talks comes from outside", Spec{Mode: Seven}, []step{
			{"a b c d e f g h i", "b c d e f g h a", "a", "A b c d e f g h"},
			{"a b c d e f g h i", "b c d e f g h a i", "i", "I a c d e f g h"},
		}},
		{"presentation: a grid until a screen is shared", Spec{Mode: Presentation}, []step{
			{"a b c", "b", "b", "a b c"}, {"a b c b!", "b", "b", "B! a b c"}, {"a b c b!", "b c", "c", "B! a b c"},
			{"a a! b c b!", "b c", "c", "A! a b c b!"}, {"a a! c b!", "c", "c", "A! a b! c"},
			{"a c b!", "c", "c", "B! a c"}, {"a c", "c", "c", "a c"},
		}},
		{"presentation: a pinned one", Spec{Mode: Presentation, Pins: []string{"b"}}, []step{
			{"a b a!", "", "a", "B a a!"},
		}},
		{"pip: who speaks, and who spoke", Spec{Mode: PIP}, []step{
			{"a b c", "", "", "A b"}, {"a b c", "b", "b", "B a"}, {"a b c", "b c", "c", "C b"}, {"a b c a!", "b c", "c", "A! c"},
		}},
		{"single", Spec{Mode: Single}, []step{
			{"a b", "", "", "A"}, {"a b", "b", "b", "B"}, {"a b", "b", "", "B"}, {"a b a!", "b", "b", "A!"}, {"a", "", "", "A"},
		}},
		{"custom: ranks are seats", Spec{Mode: Custom, Tiles: grid4}, []step{
			{"a b", "", "", "a b -"}, {"a b c d", "", "", "a b c"}, {"a b c d", "b c d", "d", "d b c"}, {"b c", "b c", "", "c b -"},
		}},
		{"custom: speaker, participant, screen", Spec{Mode: Custom, Tiles: stage}, []step{
			{"a b c", "", "", "A b c -"}, {"a b c", "b", "b", "A b c -"}, {"a b c", "b c", "c", "C b a -"},
			{"a c c! a!", "c", "", "C - c! a!"}, {"b", "", "", "- b - -"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.spec.Validate(); err != nil {
				t.Fatal(err)
			}
			var before *Plan
			for i, s := range c.steps {
				items := spoke(people(strings.Fields(s.people)...), strings.Fields(s.spoke)...)
				before = Solve(hd, c.spec, items, s.speaker, before)
				if got := seated(before, items); got != s.want {
					t.Fatalf("step %d: %q, want %q", i, got, s.want)
				}
			}
		})
	}
}

// TestSolveChangingModes: who changes the mode finds everybody in the same
// order.
func TestSolveChangingModes(t *testing.T) {
	items := people("a", "b", "c", "d")
	var p *Plan
	for _, s := range []struct {
		mode Mode
		want string
	}{
		{Grid, "a b c d"}, {Speaker, "C a b d"}, {Sidebar, "C a b d"}, {Grid, "c a b d"}, {Seven, "C a b d"}, {Single, "C"}, {Grid, "c a b d"},
	} {
		p = Solve(hd, Spec{Mode: s.mode}, items, "c", p)
		if got := seated(p, items); got != s.want {
			t.Fatalf("%s: %q, want %q", s.mode, got, s.want)
		}
	}
}

var specs = []Spec{
	{}, {Mode: Speaker}, {Mode: Sidebar}, {Mode: Presentation}, {Mode: PIP}, {Mode: Single}, {Mode: Seven},
	{Limit: 4}, {Mode: Speaker, Limit: 3, Fill: true}, {Mode: Seven, Pins: []string{"p03", "p01"}, Order: []string{"p05", "p00", "p04"}},
	{Pins: []string{"p02"}, Order: []string{"p07", "p01!", "p00"}, Limit: 9},
	{Mode: Custom, Tiles: []CustomTile{
		{W: 1, H: 1, Show: "speaker"}, {X: 0.7, Y: 0.7, W: 0.3, H: 0.3, Z: 2, Show: "rank:2"}, {X: 0.1, Y: 0.1, W: 0.3, H: 0.3, Z: 1, Show: "rank:1"},
		{Y: 0.6, W: 0.2, H: 0.2, Z: 1, Show: "participant:p02"}, {X: 0.5, W: 1. / 3, H: 1. / 3, Z: -1, Show: "screen"},
	}},
}

// checkPlan checks what holds of every plan.
func checkPlan(t *testing.T, c Canvas, s Spec, items []Item, p *Plan) {
	t.Helper()
	layered := s.Mode == PIP || s.Mode == Custom
	shown := map[int]bool{}
	for i, tile := range p.Tiles {
		r := tile.Rect
		if r.Empty() || r.X%2+r.Y%2+r.W%2+r.H%2 != 0 || !r.In(c.Bounds()) {
			t.Fatalf("%v %+v, %d items: tile %d, %v, is empty, odd or outside", c, s, len(items), i, r)
		}
		if tile.Item < -1 || tile.Item >= len(items) || shown[tile.Item] && tile.Item >= 0 {
			t.Fatalf("%v %+v: item %d is shown twice, or is none of %d", c, s, tile.Item, len(items))
		}
		if tile.Item < 0 && s.Mode != Custom {
			t.Fatalf("%v %+v: tile %d is empty", c, s, i)
		}
		shown[tile.Item] = true
		if tile.Large && !layered && r.Area() < p.Tiles[len(p.Tiles)-1].Rect.Area() {
			t.Fatalf("%v %+v: the large one, %v, is smaller than %v", c, s, r, p.Tiles[len(p.Tiles)-1].Rect)
		}
		for j := range i {
			if tile.Z < p.Tiles[j].Z {
				t.Fatalf("%v %+v: tile %d is drawn after %d", c, s, i, j)
			}
			if !layered && r.Overlaps(p.Tiles[j].Rect) {
				t.Fatalf("%v %+v, %d items: %v overlaps %v", c, s, len(items), r, p.Tiles[j].Rect)
			}
		}
	}
	if s.Limit > 0 && len(p.Tiles) > s.Limit && s.Mode != Custom {
		t.Fatalf("%+v: %d tiles", s, len(p.Tiles))
	}
	if len(items) > 0 && len(p.Tiles) == 0 {
		t.Fatalf("%v %+v: nobody of %d is shown", c, s, len(items))
	}
}

// TestSolveLaws holds for every mode, any number of people and every canvas.
func TestSolveLaws(t *testing.T) {
	for _, c := range canvases {
		for _, s := range specs {
			for n := 0; n <= MaxTiles+2; n++ {
				items := people(letters(n)...)
				if n > 4 {
					items[4].ID, items[4].Screen = "p01!", true
				}
				p := Solve(c, s, items, "p03", nil)
				checkPlan(t, c, s, items, p)
				if again := Solve(c, s, items, "p03", p); !reflect.DeepEqual(again.Tiles, p.Tiles) {
					t.Fatalf("%v %+v, %d items: nothing changed, yet\n%v\n%v", c, s, n, p.Tiles, again.Tiles)
				}
			}
		}
	}
}

// TestSolveStable walks through the lives of rooms at random and counts who
// moves: without a change of who is there, at most two at a time.
func TestSolveStable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range specs {
		var p *Plan
		var items []Item
		speaker := ""
		for step := range 2000 {
			before := slices.Clone(items)
			joined, left, talks := false, false, false
			switch k := rng.IntN(10); {
			case k < 2 && len(items) < 60:
				name := fmt.Sprintf("p%02d", rng.IntN(70))
				if rng.IntN(8) == 0 {
					name += "!"
				}
				if slices.ContainsFunc(items, func(i Item) bool { return i.ID == name }) {
					continue
				}
				items = append(slices.Clone(items), people(name)...)
				joined = true
			case k < 4 && len(items) > 0:
				at := rng.IntN(len(items))
				items = slices.Delete(slices.Clone(items), at, at+1)
				left = true
			case len(items) > 0:
				items = slices.Clone(items)
				at := rng.IntN(len(items))
				items[at].Spoke, speaker = int64(step+1), items[at].Owner
				talks = true
			}
			given := slices.Clone(items)
			q := Solve(hd, s, items, speaker, p)
			if !slices.Equal(given, items) {
				t.Fatal("the items were changed")
			}
			checkPlan(t, hd, s, items, q)
			if p != nil {
				moved := countMoved(p, q, before, items)
				same := p.shape == q.shape && p.mode == q.mode
				switch {
				case talks && moved > 2:
					t.Fatalf("%+v step %d: %d moved because somebody talks\n%s\n%s", s, step, moved, seated(p, before), seated(q, items))
				case s.Order != nil || s.Pins != nil: // they are brought to their seats
				case joined && same && q.mode != Grid && moved > 2, // centred rows of a grid shift
					left && same && q.mode != Grid && moved > 2:
					t.Fatalf("%+v step %d: %d moved\n%s\n%s", s, step, moved, seated(p, before), seated(q, items))
				case same && (joined || left) && reseated(p, q) > 2:
					t.Fatalf("%+v step %d: %d others got another seat\n%s\n%s", s, step, reseated(p, q), seated(p, before), seated(q, items))
				}
			}
			p = q
		}
	}
}

// countMoved counts those who are in both plans, elsewhere.
func countMoved(p, q *Plan, before, after []Item) (moved int) {
	for _, a := range p.Tiles {
		for _, b := range q.Tiles {
			if a.Item >= 0 && b.Item >= 0 && before[a.Item].ID == after[b.Item].ID && a.Rect != b.Rect {
				moved++
			}
		}
	}
	return moved
}

// reseated counts those who are in both plans, on other seats.
func reseated(p, q *Plan) (moved int) {
	for at, id := range p.seats {
		if now := slices.Index(q.seats, id); now >= 0 && now != at {
			moved++
		}
	}
	return moved
}

// TestPlacesKnown: where things are on the usual canvases.
func TestPlacesKnown(t *testing.T) {
	portrait, small, full := Canvas{720, 1280, 30}, Canvas{320, 180, 15}, Canvas{1920, 1080, 30}
	for _, c := range []struct {
		name               string
		canvas             Canvas
		mode               Mode
		n                  int
		large, first, last Rect
		tiles              int
	}{
		{"speaker alone", hd, Speaker, 1, Rect{0, 0, 1280, 720}, Rect{0, 0, 1280, 720}, Rect{0, 0, 1280, 720}, 1},
		{"speaker", hd, Speaker, 2, Rect{146, 8, 988, 556}, Rect{8, 572, 246, 138}, Rect{8, 572, 246, 138}, 2},
		{"speaker, a line full", hd, Speaker, 6, Rect{146, 8, 988, 556}, Rect{8, 572, 246, 138}, Rect{1024, 572, 246, 138}, 6},
		{"speaker, nine", hd, Speaker, 9, Rect{146, 8, 988, 556}, Rect{12, 600, 150, 84}, Rect{1118, 600, 150, 84}, 9},
		{"speaker, two lines", hd, Speaker, 49, Rect{146, 8, 988, 556}, Rect{148, 572, 116, 66}, Rect{1016, 646, 116, 66}, 17},
		{"sidebar", hd, Sidebar, 6, Rect{8, 78, 1004, 564}, Rect{1026, 8, 238, 134}, Rect{1026, 576, 238, 134}, 6},
		{"sidebar, two columns", hd, Sidebar, 49, Rect{8, 78, 1004, 564}, Rect{1020, 60, 122, 68}, Rect{1150, 592, 122, 68}, 17},
		{"seven", hd, Seven, 9, Rect{106, 8, 1066, 600}, Rect{20, 616, 170, 96}, Rect{1088, 616, 170, 96}, 8},
		{"pip", hd, PIP, 9, Rect{0, 0, 1280, 720}, Rect{944, 524, 320, 180}, Rect{944, 524, 320, 180}, 2},
		{"single", hd, Single, 9, Rect{0, 0, 1280, 720}, Rect{0, 0, 1280, 720}, Rect{0, 0, 1280, 720}, 1},
		{"a sidebar of a portrait canvas is below", portrait, Sidebar, 6, Rect{8, 8, 704, 396}, Rect{8, 542, 348, 194}, Rect{8, 946, 348, 194}, 6},
		{"speaker, portrait", portrait, Speaker, 49, Rect{8, 8, 704, 396}, Rect{10, 438, 228, 128}, Rect{10, 1118, 228, 128}, 17},
		{"seven, portrait", portrait, Seven, 9, Rect{8, 8, 704, 396}, Rect{8, 442, 348, 194}, Rect{8, 1048, 348, 194}, 8},
		{"pip, portrait", portrait, PIP, 9, Rect{0, 0, 720, 1280}, Rect{344, 1062, 360, 202}, Rect{344, 1062, 360, 202}, 2},
		{"speaker, small", small, Speaker, 6, Rect{36, 2, 248, 140}, Rect{6, 144, 60, 32}, Rect{254, 144, 60, 32}, 6},
		{"grid, full", full, Grid, 60, Rect{56, 14, 248, 140}, Rect{316, 14, 248, 140}, Rect{1616, 926, 248, 140}, 49},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Solve(c.canvas, Spec{Mode: c.mode}, people(letters(c.n)...), "", nil)
			if len(p.Tiles) != c.tiles {
				t.Fatalf("%d tiles, want %d", len(p.Tiles), c.tiles)
			}
			large, first, last := p.Tiles[0].Rect, p.Tiles[min(1, c.tiles-1)].Rect, p.Tiles[c.tiles-1].Rect
			if large != c.large || first != c.first || last != c.last {
				t.Errorf("large %v, first %v, last %v, want %v, %v, %v", large, first, last, c.large, c.first, c.last)
			}
		})
	}
}

func TestSolveFill(t *testing.T) {
	items := people("a", "a!", "b")
	no, yes := false, true
	fills := func(s Spec) (f []bool) {
		for _, tile := range Solve(hd, s, items, "a", nil).Tiles {
			f = append(f, tile.Fill)
		}
		return f
	}
	if got, want := fills(Spec{Fill: true}), []bool{true, false, true}; !slices.Equal(got, want) {
		t.Errorf("a grid: %v, want %v: a screen is not cropped", got, want)
	}
	custom := Spec{Mode: Custom, Fill: true, Tiles: []CustomTile{{W: 1, H: 1, Show: "screen", Fill: &yes}, {W: 1, H: 1, Show: "participant:b", Fill: &no}, {W: 1, H: 1, Show: "rank:1"}}}
	if got, want := fills(custom), []bool{true, false, true}; !slices.Equal(got, want) {
		t.Errorf("custom: %v, want %v", got, want)
	}
}

func TestSolveOddInput(t *testing.T) {
	items := people("a", "b", "a", "c")
	if got := seated(Solve(hd, Spec{}, items, "", nil), items); got != "a b c" {
		t.Errorf("an ID twice: %q", got)
	}
	if p := Solve(Canvas{15, 15, 30}, Spec{}, items, "", nil); len(p.Tiles) != 0 {
		t.Errorf("a bad canvas: %v", p.Tiles)
	}
	if p := Solve(Canvas{Width: 64, Height: 64}, Spec{Mode: "?"}, items, "", nil); len(p.Tiles) != 0 {
		t.Errorf("an unknown mode: %v", p.Tiles)
	}
	if got := seated(Solve(hd, Spec{Mode: Speaker}, nil, "a", nil), nil); got != "" {
		t.Errorf("nobody: %q", got)
	}
}

// TestCustomTilesTouch: what touches in fractions, touches in samples.
func TestCustomTilesTouch(t *testing.T) {
	for _, c := range canvases {
		for n := 1; n <= 7; n++ {
			s := Spec{Mode: Custom}
			for i := range n {
				s.Tiles = append(s.Tiles, CustomTile{X: float64(i) / float64(n), W: 1 / float64(n), H: 1, Show: fmt.Sprintf("rank:%d", i+1)})
			}
			if err := s.Validate(); err != nil {
				t.Fatal(err)
			}
			if c.Width < 4*n {
				continue
			}
			at := 0
			for _, tile := range Solve(c, s, nil, "", nil).Tiles {
				if tile.Rect.X != at || tile.Rect.H != c.Height {
					t.Fatalf("%v, %d: %v does not begin at %d", c, n, tile.Rect, at)
				}
				at += tile.Rect.W
			}
			if at != c.Width {
				t.Errorf("%v, %d: the last one ends at %d", c, n, at)
			}
		}
	}
}

func BenchmarkStageSolve(b *testing.B) {
	for _, s := range []Spec{{}, {Mode: Speaker}, {Mode: Seven, Order: letters(20)}} {
		for _, n := range []int{9, 49, 500} {
			b.Run(fmt.Sprintf("mode=%s,items=%d", s.ByMode(), n), func(b *testing.B) {
				items := people(letters(n)...)
				p := Solve(hd, s, items, "p01", nil)
				b.ReportAllocs()
				for b.Loop() {
					p = Solve(hd, s, items, "p01", p)
				}
			})
		}
	}
}
