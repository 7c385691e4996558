package layout

// Cells are 16:9 because nearly every camera is, so that most pictures need no
// bars.
const (
	aspectW = 16
	aspectH = 9
)

// gapFraction of the canvas' shorter side lies between tiles and, at least,
// around them: 8 samples at 1280x720, enough to part two faces and too
// little to cost visible area.
const gapFraction = 90

// Arrange places n tiles of equal size in a grid, row by row, the last row
// centred, the whole block centred on the canvas. Cells are 16:9 (as nearly
// as even sizes allow) and as large as any number of columns permits. A
// single tile gets the whole canvas, so that its picture can be passed
// through untouched.
//
// n is clamped to 0..[MaxTiles]; a canvas that does not Validate has no tiles.
func Arrange(c Canvas, n int) []Rect {
	n = min(max(n, 0), MaxTiles)
	if c.FPS == 0 {
		c.FPS = 1 // placing tiles does not depend on it
	}
	if n == 0 || c.Validate() != nil {
		return nil
	}
	if n == 1 {
		return []Rect{c.Bounds()}
	}
	columns, w, h, gap := bestGrid(c, n)
	rows := (n + columns - 1) / columns
	tiles := make([]Rect, 0, n)
	top := even((c.Height - rows*h - (rows-1)*gap) / 2)
	for row := range rows {
		inRow := min(columns, n-row*columns)
		left := even((c.Width - inRow*w - (inRow-1)*gap) / 2)
		for col := range inRow {
			tiles = append(tiles, Rect{X: left + col*(w+gap), Y: top + row*(h+gap), W: w, H: h})
		}
	}
	return tiles
}

// bestGrid returns the grid of n cells that has the largest, and the gap
// between them.
func bestGrid(c Canvas, n int) (columns, w, h, gap int) {
	gap = even(min(c.Width, c.Height) / gapFraction)
	columns, w, h = bestCells(c.Width-2*gap, c.Height-2*gap, n, gap)
	if w < 4*gap { // a gap that takes a quarter of a cell is worse than none
		gap = 0
		columns, w, h = bestCells(c.Width, c.Height, n, gap)
	}
	return columns, w, h, gap
}

// gridShape tells grids apart.
func gridShape(c Canvas, n int) shape {
	columns, w, h, _ := bestGrid(c, n)
	return shape{c, columns, (n + columns - 1) / columns, w, h}
}

// bestCells tries every number of columns and returns the one with the largest
// cells; of equals the one with the fewest columns, whose last row is fuller.
// Cells are 0x0 when none fit.
func bestCells(width, height, n, gap int) (columns, w, h int) {
	for cols := 1; cols <= n; cols++ {
		rows := (n + cols - 1) / cols
		cw, ch := cell(width-(cols-1)*gap, height-(rows-1)*gap, cols, rows)
		if cw*ch > w*h {
			columns, w, h = cols, cw, ch
		}
	}
	return columns, w, h
}

// cell returns the largest even 16:9 cell of which cols x rows fit in width x
// height, or 0, 0 when not even the smallest (2x2) do.
func cell(width, height, cols, rows int) (w, h int) {
	w, h = even(max(width, 0)/cols), even(max(height, 0)/rows)
	if w == 0 || h == 0 {
		return 0, 0
	}
	if w*aspectH > h*aspectW {
		w = max(2, even(h*aspectW/aspectH))
	} else {
		h = max(2, even(w*aspectH/aspectW))
	}
	return w, h
}

// Fit returns where a source of srcW x srcH goes so that all of it shows in
// tile: its aspect is kept to within a fiftieth and the rounding to even sizes, it touches
// the tile's edges in at least one direction and is centred in the other.
// What is left over is bars. A source without a size fills the tile.
func Fit(tile Rect, srcW, srcH int) Rect {
	if tile.Empty() || srcW <= 0 || srcH <= 0 {
		return tile
	}
	w, h := tile.W, tile.H
	if srcW*tile.H > srcH*tile.W { // wider than the tile: bars above and below
		h = closeSliver(nearestEven(tile.W*srcH, srcW, tile.H), tile.H)
	} else {
		w = closeSliver(nearestEven(tile.H*srcW, srcH, tile.W), tile.W)
	}
	return Rect{X: tile.X + even((tile.W-w)/2), Y: tile.Y + even((tile.H-h)/2), W: w, H: h}
}

// closeSliver returns the tile's side where less than a fiftieth of it would be
// left for bars: such bars come from rounding (and from 1088 coded lines of
// 1080), look like a fault, and the stretching does not show.
func closeSliver(side, tile int) int {
	if (tile-side)*50 < tile {
		return tile
	}
	return side
}

// Fill returns the part of a source of srcW x srcH, in the source's own
// coordinates, that covers all of tile when scaled to it: the source is
// cropped evenly on two sides. A source without a size gives an empty Rect.
func Fill(tile Rect, srcW, srcH int) Rect {
	if tile.Empty() || srcW <= 0 || srcH <= 0 {
		return Rect{}
	}
	w, h := even(srcW), even(srcH)
	if w == 0 || h == 0 {
		return Rect{W: srcW, H: srcH} // one sample wide or high: nothing to crop
	}
	if w*tile.H > h*tile.W {
		w = nearestEven(h*tile.W, tile.H, w)
	} else {
		h = nearestEven(w*tile.H, tile.W, h)
	}
	return Rect{X: even((srcW - w) / 2), Y: even((srcH - h) / 2), W: w, H: h}
}

// nearestEven returns num/den rounded to the nearest even number in 2..limit.
func nearestEven(num, den, limit int) int {
	return max(2, min((num+den)/(2*den)*2, even(limit)))
}
