package mixer

import (
	"fmt"
	"testing"

	"mixdown/codec"
)

// Benchmarks called Stage are the steps of a tick, each alone, and what is done
// beside it:
//
//	go test -run '^$' -bench Stage ./...
//
// is the table of all of them.

// inhabited is a room with so many silent participants.
func inhabited(t testing.TB, people int) (*Manager, *Room) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{MaxParticipants: people})
	for range people {
		p, err := r.Join(t.Context(), JoinRequest{Name: "somebody"})
		if err != nil {
			t.Fatal(err)
		}
		p.Attach(nowhere{}, Media{Audio: true, Camera: true}, Media{Audio: true})
		p.Feedback(codec.Feedback{Link: codec.LinkUp})
	}
	return m, r
}

// onLoop runs f on the room's control loop, where what it measures belongs.
func onLoop(b *testing.B, r *Room, f func()) {
	b.ReportAllocs()
	if err := r.do(b.Context(), "bench", func() error {
		for b.Loop() {
			f()
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkStageSnapshot is what the control loop does after every command and
// once a second: as a rule nothing has changed, now and then the layout has.
func BenchmarkStageSnapshot(b *testing.B) {
	for _, people := range []int{9, 49} {
		b.Run(fmt.Sprintf("people=%d/same", people), func(b *testing.B) {
			_, r := inhabited(b, people)
			onLoop(b, r, r.publish)
		})
		b.Run(fmt.Sprintf("people=%d/renamed", people), func(b *testing.B) {
			_, r := inhabited(b, people)
			n := 0
			onLoop(b, r, func() {
				n++
				r.participants[0].change(func(f *facts) { f.name = [...]string{"this", "that"}[n%2] })
				r.publish()
			})
		})
	}
}

// BenchmarkStageSweep is the control loop's look at every participant.
func BenchmarkStageSweep(b *testing.B) {
	for _, people := range []int{9, 49} {
		b.Run(fmt.Sprintf("people=%d", people), func(b *testing.B) {
			_, r := inhabited(b, people)
			onLoop(b, r, r.sweep)
		})
	}
}

// BenchmarkStageStats is what a scrape asks, and what a room asks once a second.
func BenchmarkStageStats(b *testing.B) {
	for _, people := range []int{9, 49} {
		b.Run(fmt.Sprintf("people=%d/all", people), func(b *testing.B) {
			m, _ := inhabited(b, people)
			b.ReportAllocs()
			for b.Loop() {
				m.Stats()
			}
		})
		b.Run(fmt.Sprintf("people=%d/cpu", people), func(b *testing.B) {
			_, r := inhabited(b, people)
			b.ReportAllocs()
			for b.Loop() {
				r.CPU()
			}
		})
	}
}

// BenchmarkStageInfo is what the API asks.
func BenchmarkStageInfo(b *testing.B) {
	_, r := inhabited(b, 49)
	b.ReportAllocs()
	for b.Loop() {
		r.Info()
		r.Participants()
	}
}

func TestCPUAllocatesNothing(t *testing.T) {
	_, r := inhabited(t, 9)
	if n := testing.AllocsPerRun(100, func() { r.CPU() }); n != 0 {
		t.Errorf("%v allocations to ask what a room costs", n)
	}
}
