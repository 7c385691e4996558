package layout

// Item is a picture that may be shown: somebody's camera, whether it sends or
// not, or a screen that is shared.
type Item struct {
	// ID is the item's own and stays the same as long as it is there; of two
	// items with one ID the later is left out. Owner is the participant's.
	ID, Owner string
	// Screen says that it is a shared screen; Video, that there is a picture.
	Screen, Video bool
	// Spoke says when the owner last had the floor: of two, the larger is later;
	// 0 is never.
	Spoke int64
}

// Placed is an item in its place.
type Placed struct {
	// Item is its index among the items that were given; -1 is a custom tile
	// that nobody fills.
	Item int
	Rect Rect
	// Z orders tiles that overlap: the higher covers the lower.
	Z int
	// Fill crops the picture so that it fills the tile.
	Fill bool
	// Large marks the large one of a mode that has one.
	Large bool
}

// Plan is a solved layout. It is never changed once made.
type Plan struct {
	// Tiles in drawing order: the later cover the earlier.
	Tiles []Placed

	// What the next one goes by.
	mode    Mode     // in effect: Presentation without a screen is Grid
	shape   shape    // of the seats
	seats   []string // IDs by seat
	large   string   // ID of the large one; "" is none
	screens []string // IDs of the shared screens, oldest first
	present []string // IDs of all items, sorted; only kept beside an order
	order   []string
	pins    []string
}

// shape tells whether seats are where they were. Two plans of one shape differ
// at most in how many of the last seats are taken.
type shape struct {
	canvas        Canvas
	columns, rows int
	w, h          int // of the cells that are not large
}

// frame is what a mode needs to know of its seats.
type frame struct {
	// seats is how many there are at most.
	seats int
	// lead says that seat 0 is for the large one, screenLeads that a shared
	// screen is put there before any speaker.
	lead, screenLeads bool
}

// maxStrip is how many lie beside or below a large one: in two lines on a
// canvas of 1280x720 each is 120 wide, and smaller ones show nobody.
const maxStrip = 16

var frames = map[Mode]frame{
	Grid:         {seats: MaxTiles},
	Speaker:      {seats: 1 + maxStrip, lead: true},
	Sidebar:      {seats: 1 + maxStrip, lead: true},
	Presentation: {seats: 1 + maxStrip, lead: true, screenLeads: true},
	PIP:          {seats: 2, lead: true, screenLeads: true},
	Single:       {seats: 1, lead: true, screenLeads: true},
	Seven:        {seats: 1 + 7, lead: true},
}

// Solve arranges items on a canvas as s asks; s must Validate, or else nothing
// in particular comes out. speaker is the Owner who has the floor, "" is
// nobody. before is what was made for this canvas last, nil is nothing: who is
// in both keeps his place as far as can be. Solve changes none of what it is
// given, and gives the same for the same.
//
// # Who is shown
//
// As many as there are seats, at most Limit (of a Custom layout the tiles for
// the speaker and by rank count): the large one, who is pinned, shared screens,
// then who had the floor last. Of those who never had it, who sends a picture,
// then who is shown already, then who comes first in Order and among the items.
//
// # Who is large
//
// In a mode that has a large tile: the first who is pinned; with Presentation,
// PIP and Single the newest shared screen; the speaker; whoever was large
// last; whoever spoke last. Presentation is a Grid until a screen is shared: a
// picture of people that does not jump when somebody talks.
//
// # Who sits where
//
// Seats have an order: the large one, then line by line. Nobody moves because
// somebody talks, but two: who gets large changes places with who was. Who is
// shown instead of another, sits where the other sat. When somebody leaves, a
// newcomer takes his seat, or else who sits last; the others stay. Only where
// the seats move anyway, because others fit now (a grid of 3x3 that gets one of
// 3x2, another mode), everybody closes up and keeps his order.
//
// Pinned ones take the first seats. Who is in Order takes the next ones when
// Order changes or somebody comes or goes, never because somebody talks.
func Solve(c Canvas, s Spec, items []Item, speaker string, before *Plan) *Plan {
	if c.FPS == 0 {
		c.FPS = 1 // placing tiles does not depend on it
	}
	if c.Validate() != nil {
		return &Plan{}
	}
	if before == nil {
		before = &Plan{}
	}
	v := newSolver(s, items, before)
	v.mode = s.ByMode()
	if v.mode == Presentation && len(v.screens) == 0 {
		v.mode = Grid
	}
	var named []int
	if v.mode == Custom {
		v.frame, named = v.takeNamed(s.Tiles)
	} else {
		v.frame = frames[v.mode]
	}
	n := min(v.frame.seats, len(v.free))
	if s.Limit > 0 {
		n = min(n, s.Limit)
	}
	lead := -1
	if v.frame.lead && n > 0 {
		lead = v.leader(speaker)
	}
	shown := v.choose(n, lead)

	rects, shape := place(c, v.mode, len(shown))
	seats := v.seat(shown, lead, shape)
	plan := &Plan{mode: v.mode, shape: shape, screens: v.names(v.screens), order: s.Order, pins: s.Pins, present: v.present}
	plan.seats = v.names(seats)
	if v.frame.lead && len(seats) > 0 {
		plan.large = plan.seats[0]
	}
	if v.mode == Custom {
		plan.Tiles = customTiles(c, s, items, seats, named)
		return plan
	}
	for i, seat := range seats {
		tile := Placed{Item: seat, Rect: rects[i], Fill: s.Fill && !items[seat].Screen, Large: v.frame.lead && i == 0}
		if v.mode == PIP {
			tile.Z = i
		}
		plan.Tiles = append(plan.Tiles, tile)
	}
	return plan
}
