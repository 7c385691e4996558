package layout

// Strips are laid out for one of these numbers of tiles, so that while people
// come and go the tiles of the others mostly stay as and where they are.
var stripSteps = []int{5, 8, maxStrip}

// stripFraction of the canvas' height, or width, is for the strip: five
// 16:9 tiles then fill a line of a 16:9 canvas.
const stripFraction = 5

// place returns n seats of a mode that is not Custom, the large one first if
// there is one. n is within the mode's frame.
func place(c Canvas, mode Mode, n int) ([]Rect, shape) {
	s := shape{canvas: c}
	if n == 0 || mode == Custom {
		return nil, s
	}
	if n == 1 {
		return []Rect{c.Bounds()}, s
	}
	var rects []Rect
	landscape := c.Width > c.Height
	switch mode {
	case Speaker:
		rects, s = strip(c, step(n-1), false, false)
	case Sidebar, Presentation:
		rects, s = strip(c, step(n-1), landscape, false)
	case Seven:
		rects, s = strip(c, 7, false, true)
	case PIP:
		s.rows = 1
		rects = []Rect{c.Bounds(), corner(c)}
	}
	if rects == nil { // Grid, or a canvas that is too small for anything else
		rects = Arrange(c, n)
		s = gridShape(c, n)
	}
	return rects[:n], s
}

func step(n int) int {
	for _, s := range stripSteps {
		if n <= s {
			return s
		}
	}
	return n
}

// strip returns a large tile and n small ones: below it in lines, or beside it
// on the right. The large one has the same size whatever n is, unless it is to
// be as large as n permits. It returns nil where the tiles would be nothing.
//
// A canvas that is higher than 16:9 has more room below, and a flatter one
// more beside, than the strip's share: it goes to the small tiles, which
// get at most half as wide as the large one.
func strip(c Canvas, n int, beside, largest bool) ([]Rect, shape) {
	gap := even(min(c.Width, c.Height) / gapFraction)
	width, height := c.Width-2*gap, c.Height-2*gap
	share := even(height / stripFraction)
	if beside {
		share = even(width / stripFraction)
	}
	var large Rect
	var columns, w, h int
	for range 2 {
		if beside {
			large.W, large.H = cell(width-gap-share, height, 1, 1)
			columns, w, h = bestCells(width-gap-large.W, height, n, gap)
		} else {
			large.W, large.H = cell(width, height-gap-share, 1, 1)
			columns, w, h = bestCells(width, height-gap-large.H, n, gap)
		}
		if !largest || beside || w == 0 {
			break
		}
		rows := (n + columns - 1) / columns
		share = rows*h + (rows-1)*gap
	}
	if w > even(large.W/2) {
		w, h = cell(large.W/2, h, 1, 1)
	}
	if w == 0 || large.W == 0 {
		return nil, shape{}
	}
	rows := (n + columns - 1) / columns
	room := Rect{X: gap, Y: gap + large.H + gap, W: width, H: height - gap - large.H} // for the strip
	if beside {
		room = Rect{X: gap + large.W + gap, Y: gap, W: width - gap - large.W, H: height}
		large.X, large.Y = gap, even((c.Height-large.H)/2)
	} else {
		large.X, large.Y = even((c.Width-large.W)/2), gap
	}
	left := room.X + even((room.W-columns*w-(columns-1)*gap)/2)
	top := room.Y + even((room.H-rows*h-(rows-1)*gap)/2)
	rects := append(make([]Rect, 0, 1+n), large)
	for i := range n {
		rects = append(rects, Rect{X: left + i%columns*(w+gap), Y: top + i/columns*(h+gap), W: w, H: h})
	}
	return rects, shape{c, columns, rows, w, h}
}

// pipFraction of the canvas' height, or of half its width where that is less,
// is the height of the small picture: a face is known, and little is covered.
const pipFraction = 4

// corner returns the small tile of a picture in picture: in the lower right,
// where a shared screen has least.
func corner(c Canvas) Rect {
	gap := 2 * even(min(c.Width, c.Height)/gapFraction)
	w, h := cell(c.Width/2, c.Height/pipFraction, 1, 1)
	w, h = max(2, w), max(2, h)
	return Rect{X: c.Width - gap - w, Y: c.Height - gap - h, W: w, H: h}
}
