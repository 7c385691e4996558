package layout

import (
	"cmp"
	"slices"
)

// solver decides who sits where; place says where that is. People and screens
// are indices of items all along.
type solver struct {
	items  []Item
	spec   Spec
	before *Plan
	mode   Mode
	frame  frame

	byID    map[string]int
	free    []int // who may get a seat, in the order of items
	isFree  []bool
	screens []int // oldest first
	pins    []int // of those who are there
	order   []int
	rank    []int // of each item: its place in order, or behind all of it
	was     []int // each item's seat before; -1 is none
	present []string
	resort  bool // order is to be brought about
}

func newSolver(s Spec, items []Item, before *Plan) *solver {
	v := &solver{items: items, spec: s, before: before, byID: make(map[string]int, len(items)), isFree: make([]bool, len(items))}
	for i, item := range items {
		if _, again := v.byID[item.ID]; again {
			continue
		}
		v.byID[item.ID] = i
		v.free = append(v.free, i)
		v.isFree[i] = true
	}
	v.was = make([]int, len(items))
	for i := range v.was {
		v.was[i] = -1
	}
	for seat, id := range before.seats {
		if i, ok := v.byID[id]; ok {
			v.was[i] = seat
		}
	}
	for _, id := range before.screens {
		if i, ok := v.byID[id]; ok && items[i].Screen {
			v.screens = append(v.screens, i)
		}
	}
	for _, i := range v.free {
		if items[i].Screen && !slices.Contains(v.screens, i) {
			v.screens = append(v.screens, i)
		}
	}
	v.pins = v.find(s.Pins)
	v.order = v.find(s.Order)
	v.rank = make([]int, len(items))
	for i := range v.rank {
		v.rank[i] = len(v.order)
	}
	for rank, i := range v.order {
		v.rank[i] = rank
	}
	if len(s.Order) > 0 {
		for _, i := range v.free {
			v.present = append(v.present, items[i].ID)
		}
		slices.Sort(v.present)
	}
	v.resort = !slices.Equal(s.Order, before.order) || !slices.Equal(s.Pins, before.pins) || !slices.Equal(v.present, before.present)
	return v
}

// find returns who is there of those who are named, by ID or by Owner, each
// once.
func (v *solver) find(names []string) []int {
	var found []int
	for _, name := range names {
		if i := v.named(name); i >= 0 && !slices.Contains(found, i) {
			found = append(found, i)
		}
	}
	return found
}

// named returns the item of that ID, or that owner's camera, or else screen;
// -1 when there is none.
func (v *solver) named(name string) int {
	if i, ok := v.byID[name]; ok {
		return i
	}
	screen := -1
	for _, i := range v.free {
		switch {
		case v.items[i].Owner != name:
		case !v.items[i].Screen:
			return i
		case screen < 0:
			screen = i
		}
	}
	return screen
}

// take removes an item from those who may get a seat.
func (v *solver) take(i int) {
	v.isFree[i] = false
	taken := func(j int) bool { return j == i }
	v.free = slices.DeleteFunc(v.free, taken)
	v.pins = slices.DeleteFunc(v.pins, taken)
	v.order = slices.DeleteFunc(v.order, taken)
}

// leader returns who gets the large seat; somebody is free.
func (v *solver) leader(speaker string) int {
	if len(v.pins) > 0 {
		return v.pins[0]
	}
	if n := len(v.screens); v.frame.screenLeads && n > 0 {
		return v.screens[n-1]
	}
	best, last := -1, -1
	for _, i := range v.free {
		switch {
		case v.items[i].Screen:
			continue
		case v.items[i].Owner == speaker && speaker != "":
			return i
		case v.items[i].ID == v.before.large && v.before.large != "":
			last = i
		}
		if best < 0 || v.livelier(i, best) < 0 {
			best = i
		}
	}
	switch {
	case last >= 0:
		return last
	case best >= 0:
		return best
	}
	return v.free[len(v.free)-1] // nothing but screens
}

// livelier compares two: negative says that i is to be shown before j.
func (v *solver) livelier(i, j int) int {
	a, b := v.items[i], v.items[j]
	return cmp.Or(
		first(a.Screen, b.Screen),
		cmp.Compare(b.Spoke, a.Spoke),
		first(a.Video, b.Video),
		first(v.was[i] >= 0, v.was[j] >= 0),
		cmp.Compare(v.rank[i], v.rank[j]),
		cmp.Compare(i, j),
	)
}

// first sorts whoever is so before whoever is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// choose returns the n who are shown, in the order of items, those in Order
// before all.
func (v *solver) choose(n, lead int) []int {
	shown := slices.Clone(v.free)
	if len(shown) > n {
		pinned := make([]int, len(v.items)) // 0 is the leader
		for i := range pinned {
			pinned[i] = len(v.pins) + 1
		}
		for at, i := range v.pins {
			pinned[i] = at + 1
		}
		if lead >= 0 {
			pinned[lead] = 0
		}
		slices.SortFunc(shown, func(i, j int) int { return cmp.Or(cmp.Compare(pinned[i], pinned[j]), v.livelier(i, j)) })
		shown = shown[:n]
	}
	slices.SortFunc(shown, func(i, j int) int { return cmp.Or(cmp.Compare(v.rank[i], v.rank[j]), cmp.Compare(i, j)) })
	return shown
}

// nobody has an empty seat.
const nobody = -1

// seat gives everybody who is shown a seat; now is the shape of the seats that
// there are to be.
func (v *solver) seat(shown []int, lead int, now shape) []int {
	seats := make([]int, len(v.before.seats))
	for i := range seats {
		seats[i] = nobody
	}
	var newcomers []int
	for _, i := range shown {
		if v.was[i] >= 0 {
			seats[v.was[i]] = i
		} else if i != lead {
			newcomers = append(newcomers, i)
		}
	}
	stays := v.mode == v.before.mode && now == v.before.shape
	if lead >= 0 {
		seats = v.seatLead(seats, lead, stays)
	}
	for i := range seats {
		if seats[i] == nobody && len(newcomers) > 0 {
			seats[i], newcomers = newcomers[0], newcomers[1:]
		}
	}
	seats = closeUp(append(seats, newcomers...), stays)

	fixed := 0
	if lead >= 0 {
		fixed = 1
	}
	for at, i := range v.pins {
		if at < len(seats) {
			exchange(seats, at, i)
			fixed = max(fixed, at+1)
		}
	}
	if v.resort {
		for _, i := range v.order {
			if at := slices.Index(seats, i); at >= fixed {
				exchange(seats, fixed, i)
				fixed++
			}
		}
	}
	return seats
}

// seatLead puts the large one on seat 0. Whoever sat there gets his seat; where
// seats move anyway, all move up by one instead.
func (v *solver) seatLead(seats []int, lead int, stays bool) []int {
	at := slices.Index(seats, lead)
	if at < 0 { // on the seat of somebody who is no longer shown
		if at = slices.Index(seats, nobody); at < 0 {
			at = len(seats)
			seats = append(seats, nobody)
		}
		seats[at] = lead
	}
	if stays || seats[0] == nobody {
		seats[0], seats[at] = seats[at], seats[0]
		return seats
	}
	return slices.Insert(slices.Delete(seats, at, at+1), 0, lead)
}

// closeUp removes empty seats: while the seats stay where they are by seating
// whoever sits last, else by moving all up.
func closeUp(seats []int, stays bool) []int {
	if !stays {
		return slices.DeleteFunc(seats, func(i int) bool { return i == nobody })
	}
	for at := 0; at < len(seats); at++ {
		for at < len(seats) && seats[at] == nobody {
			last := len(seats) - 1
			seats[at], seats = seats[last], seats[:last]
		}
	}
	return seats
}

// exchange brings i, if he has a seat, to the seat at; who sat there gets his.
func exchange(seats []int, at, i int) {
	if from := slices.Index(seats, i); from >= 0 {
		seats[at], seats[from] = seats[from], seats[at]
	}
}

// names returns the IDs of items.
func (v *solver) names(items []int) []string {
	if len(items) == 0 {
		return nil
	}
	ids := make([]string, len(items))
	for at, i := range items {
		ids[at] = v.items[i].ID
	}
	return ids
}
