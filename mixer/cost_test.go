package mixer

import (
	"math"
	"testing"
	"time"

	"mixdown/codec"
)

func TestCostMeter(t *testing.T) {
	var m costMeter
	m.observe(10*time.Second, time.Second)
	if m.cores() != 0 {
		t.Errorf("%v cores after one look: want 0, there is nothing to compare with", m.cores())
	}
	// Half a core from here on: after five time constants within one percent.
	for i := 1; i <= 25; i++ {
		m.observe(time.Duration(10+i)*time.Second, time.Second+time.Duration(i)*500*time.Millisecond)
	}
	if c := m.cores(); math.Abs(c-0.5) > 0.005 {
		t.Errorf("%v cores, want 0.5", c)
	}
	// One look after a long time tells of all of it.
	m.observe(1035*time.Second, 13500*time.Millisecond)
	if c := m.cores(); c > 0.001 {
		t.Errorf("%v cores after 1000 s without work", c)
	}
	m.observe(1035*time.Second, 14*time.Second) // no time has passed
	m.observe(1036*time.Second, 13*time.Second) // a total never shrinks
	if c := m.cores(); c < 0 || c > 0.001 || math.IsNaN(c) {
		t.Errorf("%v cores", c)
	}
}

func TestLateWakeUpsAreTold(t *testing.T) {
	type call struct {
		late    time.Duration
		skipped int64
	}
	var calls []call
	s := clockStats{lateAfter: 40 * time.Millisecond, late: func(late time.Duration, skipped int64) {
		calls = append(calls, call{late, skipped})
	}}
	s.count(39*time.Millisecond, 1, 0)
	s.count(40*time.Millisecond, 3, 0)
	s.count(200*time.Millisecond, 1, 9)
	s.lateAfter = time.Hour // a jump tells for itself
	s.count(120*time.Millisecond, 1, 5)
	if len(calls) != 3 || calls[0] != (call{40 * time.Millisecond, 0}) || calls[1] != (call{200 * time.Millisecond, 9}) || calls[2] != (call{120 * time.Millisecond, 5}) {
		t.Errorf("told %v", calls)
	}
	if c := s.read(); c.Ticks != 6 || c.Skipped != 14 || c.Lateness.Count() != 4 {
		t.Errorf("counted %+v", c)
	}
}

// TestRoomCostsWhatItDoes lets one talk in a room and leave.
func TestRoomCostsWhatItDoes(t *testing.T) {
	m := newManager(t)
	late := make(chan RoomID, 1)
	m.cfg.LateAfter = time.Nanosecond // every wake-up is
	m.cfg.LateTick = func(room RoomID, _ time.Duration, _ int64) {
		select {
		case late <- room:
		default:
		}
	}
	r := newTestRoom(t, m, RoomConfig{ID: "dear"})
	p, err := r.Join(t.Context(), JoinRequest{})
	if err != nil {
		t.Fatal(err)
	}
	viewer, err := r.Join(t.Context(), JoinRequest{Role: RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Participant{p, viewer} {
		p.Attach(nowhere{}, Media{Audio: true}, Media{Audio: true, Camera: true})
		p.Feedback(codec.Feedback{Link: codec.LinkUp})
	}
	stop := talk(t, p)
	defer stop()
	if room := <-late; room != "dear" {
		t.Errorf("a tick was late in %q", room)
	}
	await(t, "figures", func() bool { return r.Info().Cores > 0 && p.Info().Cores > 0 })
	if c := viewer.Info().Cores; c != 0 {
		t.Errorf("a viewer, who sends nothing, costs %v cores", c)
	}
	if room, own := r.Info().Cores, p.Info().Cores; own > room {
		t.Errorf("a participant costs %v cores, his room %v", own, room)
	}
	cpu, stats := r.CPU(), m.Stats()
	if cpu.Sound <= 0 || cpu.Compose <= 0 || cpu.Encode <= 0 {
		t.Errorf("a room with sound and pictures used %+v", cpu)
	}
	if stats.CPU.Total() < cpu.Total() {
		t.Errorf("all rooms used %v, one of them %v before", stats.CPU.Total(), cpu.Total())
	}
	if stats.AudioClock.Took.Count() == 0 || stats.Composing.Count() == 0 {
		t.Error("no tick or no canvas was timed")
	}
	rooms, ended := m.Costs()
	if len(rooms) != 1 || rooms[0].ID != "dear" || rooms[0].Life != r.Info().Life || rooms[0].CPU.Total() < cpu.Total() || ended != (CPUTime{}) {
		t.Errorf("costs %+v, ended %+v", rooms, ended)
	}

	p.Leave(nil)
	viewer.Leave(nil)
	await(t, "an empty room", func() bool { return r.Info().Participants == 0 })
	if c := r.Info().Cores; c != 0 {
		t.Errorf("an empty room costs %v cores", c)
	}
	if err := m.DeleteRoom(t.Context(), "dear"); err != nil {
		t.Fatal(err)
	}
	if rooms, ended := m.Costs(); len(rooms) != 0 || ended.Total() < cpu.Total() {
		t.Errorf("after its end: %+v; ended ones used %v, one of them %v before", rooms, ended.Total(), cpu.Total())
	}
}
