package mixer

import (
	"math"
	"sync/atomic"
	"time"
)

// CPUTime is processor time by what it was spent on. It only grows. The
// network's is not in it: connections belong to the transport.
type CPUTime struct {
	// Decode is decoding pictures and scaling them to their tiles, Compose
	// drawing canvases, Encode scaling and encoding them, Sound the audio
	// ticks with all that happens in them, both codecs included.
	Decode, Compose, Encode, Sound time.Duration
}

// Total is the sum.
func (c CPUTime) Total() time.Duration { return c.Decode + c.Compose + c.Encode + c.Sound }

func (c *CPUTime) add(o CPUTime) {
	c.Decode += o.Decode
	c.Compose += o.Compose
	c.Encode += o.Encode
	c.Sound += o.Sound
}

const (
	// measurePeriod is how often costs are looked at.
	measurePeriod = time.Second
	// costMemory is the time constant of the figures that are shown: long
	// enough to be read, short enough that a change shows.
	costMemory = 5 * time.Second
)

// costMeter makes a rate of a total of processor time. observe belongs to one
// goroutine; anybody may ask for cores.
type costMeter struct {
	started bool
	at      time.Duration
	total   time.Duration
	bits    atomic.Uint64 // math.Float64bits of the rate
}

// cores is the rate, in seconds a second.
func (m *costMeter) cores() float64 { return math.Float64frombits(m.bits.Load()) }

// observe tells the total at now.
func (m *costMeter) observe(now, total time.Duration) {
	if passed := now - m.at; m.started && passed > 0 {
		rate := max(total-m.total, 0).Seconds() / passed.Seconds()
		old := math.Exp(-passed.Seconds() / costMemory.Seconds())
		m.bits.Store(math.Float64bits(m.cores()*old + rate*(1-old)))
	}
	m.started, m.at, m.total = true, now, total
}

// still says that nothing is used.
func (m *costMeter) still() { m.bits.Store(0) }

// cpu is what the program and its canvases have used. The caller holds
// Room.past's lock.
func (g *program) cpu(canvases []*canvas) CPUTime {
	used := CPUTime{Sound: g.soundTime()}
	for _, c := range canvases {
		if !c.counted {
			used.add(c.cpu())
		}
	}
	return used
}

// cpu is what the source's pictures have used.
func (s *source) cpu() (decode time.Duration) {
	for _, p := range s.pictures {
		decode += p.CPU()
	}
	return decode
}

// CPU returns the processor time that the room has used, that of those who have
// left included. It takes less than a microsecond per participant.
func (r *Room) CPU() CPUTime {
	r.past.Lock()
	defer r.past.Unlock()
	c := r.past.stats.CPU
	for _, v := range r.snap.Load().views {
		if !v.prog.counted {
			c.add(v.prog.cpu(v.canvases))
		}
	}
	for _, p := range *r.roster.Load() {
		if p.source != nil && !p.counted {
			c.Decode += p.source.cpu()
		}
	}
	return c
}

// measure brings the room's and the participants' cores up to date. Control
// loop only.
func (r *Room) measure(now time.Duration) {
	if len(r.participants) == 0 {
		r.cost.still() // the loop sleeps from here on
		return
	}
	if r.cost.started && now-r.cost.at < measurePeriod {
		return
	}
	r.cost.observe(now, r.CPU().Total())
	for _, g := range r.programs {
		for _, c := range g.canvases {
			c.cost.observe(now, c.cpu().Total())
		}
	}
	for _, p := range r.participants {
		if p.source != nil {
			p.cost.observe(now, p.source.cpu()+time.Duration(p.source.soundCPU.Load()))
		}
	}
}

// RoomCost is what one life of a room has cost so far.
type RoomCost struct {
	ID   RoomID
	Life string
	CPU  CPUTime
	// Cores is RoomInfo's.
	Cores float64
}

// Costs returns the costs of all rooms, sorted by id, and the processor time of
// those rooms that have ended.
func (m *Manager) Costs() (rooms []RoomCost, ended CPUTime) {
	list, past := m.listAndPast()
	for _, r := range list {
		info := r.Info()
		rooms = append(rooms, RoomCost{ID: info.ID, Life: info.Life, CPU: r.CPU(), Cores: r.cost.cores()})
	}
	return rooms, past.CPU
}
