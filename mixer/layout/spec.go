package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Mode is a way to arrange tiles.
type Mode string

// The modes. Which tile is large, and how many there are, is said at [Solve].
const (
	Grid         Mode = "grid"         // all alike
	Speaker      Mode = "speaker"      // a large one, the others in a strip below
	Sidebar      Mode = "sidebar"      // a large one, the others in a column on the right
	Presentation Mode = "presentation" // as Sidebar with a shared screen, as Grid without
	PIP          Mode = "pip"          // one fills the canvas, another lies in its corner
	Single       Mode = "single"       // one alone
	Seven        Mode = "seven"        // a large one and a row of seven
	Custom       Mode = "custom"       // the rectangles of Spec.Tiles
)

// Modes lists every mode.
func Modes() []Mode {
	return []Mode{Grid, Speaker, Sidebar, Presentation, PIP, Single, Seven, Custom}
}

// Bounds of a Spec.
const (
	// MaxNames is how long Order and Pins may be.
	MaxNames = 100
	// MaxNameBytes is how long each of their entries may be.
	MaxNameBytes = 128
	// MinFraction is the smallest width and height of a custom tile: on a
	// canvas 180 high still two samples of chroma.
	MinFraction = 0.02
	// MaxZ bounds CustomTile.Z on both sides.
	MaxZ = 1000
	// maxFileBytes bounds the name of a background image.
	maxFileBytes = 255
)

// Spec says how a canvas is to be arranged. The zero value is a grid of all. It
// shares its slices with whoever made it: nobody changes them afterwards.
type Spec struct {
	// Mode defaults to Grid.
	Mode Mode
	// Tiles are the rectangles of a Custom layout, and of no other.
	Tiles []CustomTile
	// Order and Pins name items, by their ID or their owner's. Pinned ones come
	// first, whoever speaks, and the first of them is the large one, if one is;
	// then come those in Order, in that order.
	Order, Pins []string
	// Limit is how many tiles there are at most; 0 leaves it to the mode.
	Limit int
	// HideSelf asks whoever makes the items of a personal canvas to leave its
	// owner out. Solve does not look at it.
	HideSelf bool
	// NoLabels, NoBorder and NoMarks leave out the names, the active speaker's
	// border, and the marks for mute and connection.
	NoLabels, NoBorder, NoMarks bool
	// Fill crops pictures so that they fill their tiles; otherwise all of a
	// picture is shown, with bars. Shared screens are never cropped, unless a
	// custom tile says so.
	Fill bool
	// Background is "#rrggbb"; empty is the default colour.
	Background string
	// BackgroundImage names a file, as "backdrops/wood.png"; empty is none.
	BackgroundImage string
}

// CustomTile is a rectangle of a custom layout.
type CustomTile struct {
	// X, Y, W and H are fractions of the canvas: 0..1, the whole tile on it.
	X, Y, W, H float64
	// Z orders tiles that overlap: the higher covers the lower, of equals the
	// later in the list.
	Z int
	// Show is "speaker", "screen" (the newest one), "rank:1" (the first of
	// all who have no other tile) and so on, or "participant:ID".
	Show string
	// Fill, unless nil, goes before that of the Spec.
	Fill *bool
}

// ByMode returns the mode, Grid for the zero value.
func (s Spec) ByMode() Mode {
	if s.Mode == "" {
		return Grid
	}
	return s.Mode
}

// Equal reports whether s and o mean the same.
func (s Spec) Equal(o Spec) bool {
	return s.ByMode() == o.ByMode() && slices.EqualFunc(s.Tiles, o.Tiles, CustomTile.equal) &&
		slices.Equal(s.Order, o.Order) && slices.Equal(s.Pins, o.Pins) && s.Limit == o.Limit &&
		s.HideSelf == o.HideSelf && s.NoLabels == o.NoLabels && s.NoBorder == o.NoBorder && s.NoMarks == o.NoMarks &&
		s.Fill == o.Fill && s.Background == o.Background && s.BackgroundImage == o.BackgroundImage
}

func (t CustomTile) equal(o CustomTile) bool {
	return t.X == o.X && t.Y == o.Y && t.W == o.W && t.H == o.H && t.Z == o.Z && t.Show == o.Show &&
		(t.Fill == nil) == (o.Fill == nil) && (t.Fill == nil || *t.Fill == *o.Fill)
}

// FieldError is one thing that is wrong with a Spec.
type FieldError struct {
	// Pointer is the JSON pointer of the field, as "/tiles/0/w".
	Pointer string
	// Detail says what would be accepted.
	Detail string
}

// Error returns "/tiles/0/w: detail".
func (e *FieldError) Error() string { return e.Pointer + ": " + e.Detail }

// Faults returns every FieldError that an error of Validate holds, also where
// it was wrapped.
func Faults(err error) []*FieldError {
	switch e := err.(type) {
	case *FieldError:
		return []*FieldError{e}
	case interface{ Unwrap() error }:
		return Faults(e.Unwrap())
	case interface{ Unwrap() []error }:
		var all []*FieldError
		for _, one := range e.Unwrap() {
			all = append(all, Faults(one)...)
		}
		return all
	}
	return nil
}

// Validate reports every field that is wrong, each as a [FieldError], joined;
// nil when all are fine.
func (s Spec) Validate() error {
	var faults []error
	bad := func(pointer, format string, args ...any) {
		faults = append(faults, &FieldError{pointer, fmt.Sprintf(format, args...)})
	}
	mode := s.ByMode()
	if !slices.Contains(Modes(), mode) {
		bad("/mode", "want one of %v", Modes())
	}
	switch {
	case mode == Custom && len(s.Tiles) == 0:
		bad("/tiles", "a custom layout has 1..%d tiles", MaxTiles)
	case mode == Custom && len(s.Tiles) > MaxTiles:
		bad("/tiles", "%d, want 1..%d", len(s.Tiles), MaxTiles)
	case mode != Custom && len(s.Tiles) > 0:
		bad("/tiles", "only a custom layout has tiles: set mode to %q or leave them out", Custom)
	case mode == Custom:
		shown := map[string]int{}
		for i, t := range s.Tiles {
			t.validate(fmt.Sprintf("/tiles/%d", i), bad)
			// "rank:07" shows what "rank:7" shows.
			key := t.Show
			if n, ok := t.rank(); ok {
				key = "rank:" + strconv.Itoa(n)
			}
			if first, again := shown[key]; again {
				bad(fmt.Sprintf("/tiles/%d/show", i), "tile %d shows this already", first)
			} else {
				shown[key] = i
			}
		}
	}
	names("/order", s.Order, bad)
	names("/pins", s.Pins, bad)
	if s.Limit < 0 || s.Limit > MaxTiles {
		bad("/limit", "%d, want 0..%d", s.Limit, MaxTiles)
	}
	if _, ok := ParseColour(s.Background); s.Background != "" && !ok {
		bad("/background", "want a colour, as #203040, or nothing")
	}
	if f := s.BackgroundImage; f != "" && !validFile(f) {
		bad("/backgroundImage", "want the name of a .png, .jpg or .jpeg file in the media directory, at most %d bytes", maxFileBytes)
	}
	return errors.Join(faults...)
}

func (t CustomTile) validate(at string, bad func(pointer, format string, args ...any)) {
	// Written so that what is no number fails as well.
	if !(t.W >= MinFraction && t.W <= 1) {
		bad(at+"/w", "%v, want %v..1", t.W, MinFraction)
	} else if !(t.X >= 0 && t.X+t.W <= 1+slack) {
		bad(at+"/x", "%v, want 0..1, and x + w at most 1", t.X)
	}
	if !(t.H >= MinFraction && t.H <= 1) {
		bad(at+"/h", "%v, want %v..1", t.H, MinFraction)
	} else if !(t.Y >= 0 && t.Y+t.H <= 1+slack) {
		bad(at+"/y", "%v, want 0..1, and y + h at most 1", t.Y)
	}
	if t.Z < -MaxZ || t.Z > MaxZ {
		bad(at+"/z", "%d, want %d..%d", t.Z, -MaxZ, MaxZ)
	}
	_, isRank := t.rank()
	id, isParticipant := t.participant()
	switch {
	case t.Show == showSpeaker || t.Show == showScreen || isRank:
	case isParticipant && nameFault(id) == "":
	default:
		bad(at+"/show", "want %q, %q, %q to %q, or %q", showSpeaker, showScreen, "rank:1", "rank:"+strconv.Itoa(MaxTiles), "participant:ID")
	}
}

// slack lets thirds and sevenths, written in decimals, add up to one.
const slack = 1e-3

const (
	showSpeaker = "speaker"
	showScreen  = "screen"
)

// rank returns the n of "rank:n", 1..MaxTiles.
func (t CustomTile) rank() (n int, ok bool) {
	text, ok := strings.CutPrefix(t.Show, "rank:")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 1 && n <= MaxTiles
}

// participant returns the ID of "participant:ID".
func (t CustomTile) participant() (id string, ok bool) {
	return strings.CutPrefix(t.Show, "participant:")
}

func names(at string, list []string, bad func(pointer, format string, args ...any)) {
	if len(list) > MaxNames {
		bad(at, "%d names, want at most %d", len(list), MaxNames)
		return
	}
	for i, name := range list {
		if fault := nameFault(name); fault != "" {
			bad(fmt.Sprintf("%s/%d", at, i), "%s", fault)
		} else if j := slices.Index(list, name); j < i {
			bad(fmt.Sprintf("%s/%d", at, i), "the same as %s/%d", at, j)
		}
	}
}

func nameFault(name string) string {
	if name == "" || len(name) > MaxNameBytes || !utf8.ValidString(name) {
		return fmt.Sprintf("want an id, 1..%d bytes", MaxNameBytes)
	}
	return ""
}

// validFile accepts relative names without "..", so that a name cannot even
// seem to leave the directory, and formats that can be decoded.
func validFile(name string) bool {
	if len(name) > maxFileBytes || !fs.ValidPath(name) || strings.ContainsAny(name, "\\\x00") {
		return false
	}
	switch strings.ToLower(path.Ext(name)) {
	case ".png", ".jpg", ".jpeg":
		return true
	}
	return false
}

// ParseColour reads "#rrggbb".
func ParseColour(text string) (rgb [3]uint8, ok bool) {
	if len(text) != 7 || text[0] != '#' {
		return rgb, false
	}
	v, err := strconv.ParseUint(text[1:], 16, 32)
	if err != nil {
		return rgb, false
	}
	return [3]uint8{uint8(v >> 16), uint8(v >> 8), uint8(v)}, true
}

// on returns the tile on a canvas. Edges, not sizes, are rounded, so that tiles
// that touch in fractions touch in samples.
func (t CustomTile) on(c Canvas) Rect {
	edge := func(fraction float64, side int) int {
		return min(max(int(math.Round(fraction*float64(side)/2))*2, 0), side)
	}
	x0, x1 := edge(t.X, c.Width), edge(t.X+t.W, c.Width)
	y0, y1 := edge(t.Y, c.Height), edge(t.Y+t.H, c.Height)
	// On the smallest canvases a tile may be nothing but rounding.
	x0, y0 = min(x0, c.Width-2), min(y0, c.Height-2)
	return Rect{X: x0, Y: y0, W: max(2, x1-x0), H: max(2, y1-y0)}
}
