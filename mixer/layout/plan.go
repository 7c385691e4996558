package layout

// Item is a picture that may be shown: somebody's camera, whether it sends or
// not, or a screen that is shared.
type Item struct {
	// ID is the item's own and stays the same as long as it is there; Owner is
	// the participant's.
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
}

// Solve arranges items.
func Solve(c Canvas, s Spec, items []Item, speaker string, before *Plan) *Plan {
	p := &Plan{}
	for i, r := range Arrange(c, len(items)) {
		p.Tiles = append(p.Tiles, Placed{Item: i, Rect: r, Fill: s.Fill})
	}
	return p
}
