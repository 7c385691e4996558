package main

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"mixdown/mixer"
)

func room(life string, cpu time.Duration, cores float64) mixer.RoomCost {
	return mixer.RoomCost{ID: mixer.RoomID("room-" + life), Life: life, CPU: mixer.CPUTime{Encode: cpu}, Cores: cores}
}

func TestCostTableShowsTheDearest(t *testing.T) {
	var table costTable
	var rooms []mixer.RoomCost
	for i := range maxShownRooms + 20 { // the last ones are the dearest
		rooms = append(rooms, room(fmt.Sprint(i), time.Duration(i)*time.Second, float64(i)))
	}
	rows := table.update(rooms, 5*time.Second)
	if len(rows) != maxShownRooms+1 {
		t.Fatalf("%d rows, want %d", len(rows), maxShownRooms+1)
	}
	if first := rows[0]; first != (roomCost{"room-119", 119 * time.Second, 119}) {
		t.Errorf("first row %+v", first)
	}
	// 0..19 are the others: 190 of each, and what has ended.
	if last := rows[maxShownRooms]; last != (roomCost{otherRooms, 195 * time.Second, 190}) {
		t.Errorf("the others %+v", last)
	}
	// One of the others becomes a little dearer than the cheapest that is shown:
	// not enough to take its place. Much dearer: enough, and its series begins
	// with what it costs from now on.
	rooms[19].Cores = 25
	if has(table.update(rooms, 5*time.Second), "room-19") {
		t.Error("rooms take turns")
	}
	rooms[19].Cores = 40
	rows = table.update(rooms, 5*time.Second)
	if !has(rows, "room-19") || has(rows, "room-20") {
		t.Error("a dear room did not take the place of a cheap one")
	}
	rooms[19].CPU.Encode += 3 * time.Second
	for _, r := range table.update(rooms, 5*time.Second) {
		if r.room == "room-19" && r.cpu != 3*time.Second {
			t.Errorf("%v since it is shown, want 3s", r.cpu)
		}
	}
}

func has(rows []roomCost, name string) bool {
	for _, r := range rows {
		if r.room == name {
			return true
		}
	}
	return false
}

// TestCostTableCountersOnlyGrow lets rooms come, work and end at random. Each
// series grows or begins anew, the others' only grows, and together they never
// claim more than was used.
func TestCostTableCountersOnlyGrow(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var table costTable
	var rooms []mixer.RoomCost
	var ended, other time.Duration
	named := map[string]time.Duration{} // by series, as a scraper sums increases
	last := map[string]time.Duration{}
	for step := range 2000 {
		if len(rooms) < 2*maxShownRooms && random.IntN(2) == 0 {
			rooms = append(rooms, room(fmt.Sprint("life-", step), 0, 0))
		}
		for i := range rooms {
			rooms[i].CPU.Encode += time.Duration(random.IntN(100)) * time.Millisecond
			rooms[i].Cores = random.Float64()
		}
		if len(rooms) > 0 && random.IntN(5) == 0 {
			i := random.IntN(len(rooms))
			rooms[i].CPU.Encode += time.Millisecond // after the last look
			ended += rooms[i].CPU.Total()
			rooms = append(rooms[:i], rooms[i+1:]...)
		}
		rows := table.update(rooms, ended)
		seen := map[string]time.Duration{}
		for _, r := range rows[:len(rows)-1] {
			if before, shown := last[r.room]; shown && r.cpu >= before {
				named[r.room] += r.cpu - before
			} else if shown {
				t.Fatalf("step %d: %s fell from %v to %v", step, r.room, before, r.cpu)
			} else {
				named[r.room] += r.cpu
			}
			seen[r.room] = r.cpu
		}
		last = seen
		if now := rows[len(rows)-1].cpu; now < other {
			t.Fatalf("step %d: the others fell from %v to %v", step, other, now)
		} else {
			other = now
		}
		total, sum := ended, other
		for _, r := range rooms {
			total += r.CPU.Total()
		}
		for _, cpu := range named {
			sum += cpu
		}
		if sum != total {
			t.Fatalf("step %d: the series sum up to %v, %v were used", step, sum, total)
		}
	}
}
