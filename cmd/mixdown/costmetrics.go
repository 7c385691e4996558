package main

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mixdown/mixer"
)

const (
	// maxShownRooms is how many rooms have series of their own: the dearest.
	// Room names come from users, and each new one would stay in the memory of
	// whoever scrapes.
	maxShownRooms = 100
	// shownBonus is by how much another room must be dearer to take a place,
	// so that rooms alike do not take turns.
	shownBonus = 1.5
	// otherRooms stands for the rest. No room can be called so: names begin with
	// a letter or a digit.
	otherRooms = "_other"
)

// costTable chooses which rooms are shown, and keeps the books so that every
// series only grows, whoever comes, ends, or loses his place: a room's series
// begins at what it had cost when it got its place, which is 0 for one that is
// new, and what was never shown under a name belongs to the others.
type costTable struct {
	shown map[string]*shownRoom // by the room's life
	known map[string]bool       // lives that were there the last time
	named time.Duration         // all that was ever shown under a name
	other time.Duration
}

type shownRoom struct {
	base, last time.Duration
}

// roomCost is a row of the table.
type roomCost struct {
	room  string
	cpu   time.Duration
	cores float64
}

// update takes a snapshot and returns the rows, the others last.
func (t *costTable) update(rooms []mixer.RoomCost, ended time.Duration) []roomCost {
	weight := func(r mixer.RoomCost) float64 {
		if t.shown[r.Life] != nil {
			return r.Cores * shownBonus
		}
		return r.Cores
	}
	rooms = slices.Clone(rooms)
	slices.SortStableFunc(rooms, func(a, b mixer.RoomCost) int { return cmp.Compare(weight(b), weight(a)) })
	shown, known, total := make(map[string]*shownRoom), make(map[string]bool), ended
	var rows []roomCost
	rest := roomCost{room: otherRooms}
	for i, r := range rooms {
		cpu := r.CPU.Total()
		total += cpu
		known[r.Life] = true
		if i >= maxShownRooms {
			rest.cores += r.Cores
			continue
		}
		s := t.shown[r.Life]
		if s == nil {
			s = &shownRoom{}
			if t.known[r.Life] { // what it cost so far is among the others
				s.base, s.last = cpu, cpu
			}
		}
		t.named += cpu - s.last
		s.last = cpu
		shown[r.Life] = s
		rows = append(rows, roomCost{room: string(r.ID), cpu: cpu - s.base, cores: r.Cores})
	}
	t.shown, t.known = shown, known
	// A room that ends while the snapshot is taken may be in it twice: a
	// counter must not go back for that.
	t.other = max(t.other, total-t.named)
	rest.cpu = t.other
	return append(rows, rest)
}

// costCollector exposes what rooms cost.
type costCollector struct {
	rooms *mixer.Manager
	mu    sync.Mutex
	table costTable // under mu
}

var (
	cpuSeconds = desc("cpu_seconds_total", "Seconds of processor time that rooms used, by stage; the network's is not in it.", "stage")
	roomCPU    = desc("room_cpu_seconds_total",
		"Seconds of processor time that a room used (decode, compose, encode, sound); _other sums up all but the dearest rooms.", "room")
	roomCores = desc("room_cores", "Processor time that a room uses, in cores, over some seconds.", "room")
)

// Describe implements prometheus.Collector.
func (c *costCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- cpuSeconds
	ch <- roomCPU
	ch <- roomCores
}

// Collect implements prometheus.Collector.
func (c *costCollector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	rooms, sum := c.rooms.Costs()
	rows := c.table.update(rooms, sum.Total())
	c.mu.Unlock()
	for _, r := range rooms {
		sum.Decode += r.CPU.Decode
		sum.Compose += r.CPU.Compose
		sum.Encode += r.CPU.Encode
		sum.Sound += r.CPU.Sound
	}
	for _, s := range []struct {
		stage string
		cpu   time.Duration
	}{{"decode", sum.Decode}, {"compose", sum.Compose}, {"encode", sum.Encode}, {"sound", sum.Sound}} {
		ch <- prometheus.MustNewConstMetric(cpuSeconds, prometheus.CounterValue, s.cpu.Seconds(), s.stage)
	}
	for _, r := range rows {
		ch <- prometheus.MustNewConstMetric(roomCPU, prometheus.CounterValue, r.cpu.Seconds(), r.room)
		ch <- prometheus.MustNewConstMetric(roomCores, prometheus.GaugeValue, r.cores, r.room)
	}
}
