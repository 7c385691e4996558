package layout

import (
	"cmp"
	"slices"
)

// takeNamed fills the tiles of a custom layout that say whom they show: for
// each tile the item, or -1. The frame is that of the others.
func (v *solver) takeNamed(tiles []CustomTile) (f frame, named []int) {
	named = make([]int, len(tiles))
	for at, t := range tiles {
		named[at] = nobody
		if id, ok := t.participant(); ok {
			if i := v.named(id); i >= 0 && v.isFree[i] {
				named[at] = i
				v.take(i)
			}
		}
		if _, ok := t.rank(); ok {
			f.seats++
		}
	}
	for at, t := range tiles {
		switch t.Show {
		case showSpeaker:
			f.seats, f.lead = f.seats+1, true
		case showScreen:
			for _, i := range slices.Backward(v.screens) {
				if v.isFree[i] {
					named[at] = i
					v.take(i)
					break
				}
			}
		}
	}
	return f, named
}

// customTiles puts those who have a seat on the tiles for the speaker and by
// rank, beside those that were named.
func customTiles(c Canvas, s Spec, items []Item, seats, named []int) []Placed {
	var ranks []int // tiles, by their rank
	placed := make([]Placed, len(s.Tiles))
	for at, t := range s.Tiles {
		placed[at] = Placed{Item: named[at], Rect: t.on(c), Z: t.Z}
		if _, ok := t.rank(); ok {
			ranks = append(ranks, at)
		}
	}
	slices.SortFunc(ranks, func(a, b int) int {
		x, _ := s.Tiles[a].rank()
		y, _ := s.Tiles[b].rank()
		return cmp.Compare(x, y)
	})
	if at := slices.IndexFunc(s.Tiles, func(t CustomTile) bool { return t.Show == showSpeaker }); at >= 0 {
		placed[at].Large = true
		ranks = slices.Insert(ranks, 0, at)
	}
	for seat, i := range seats {
		placed[ranks[seat]].Item = i
	}
	for at, t := range s.Tiles {
		p := &placed[at]
		switch {
		case t.Fill != nil:
			p.Fill = *t.Fill
		case p.Item >= 0:
			p.Fill = s.Fill && !items[p.Item].Screen
		}
	}
	slices.SortStableFunc(placed, func(a, b Placed) int { return cmp.Compare(a.Z, b.Z) })
	return placed
}
