package api

import (
	"testing"
	"time"

	"mixdown/mixer"
	"mixdown/mixer/record"
)

// TestFullDiskIsToldInRooms: by an event, once for each change, and who asks for a
// recording is told why there is none.
func TestFullDiskIsToldInRooms(t *testing.T) {
	f := newFixture(t, false)
	f.do("PUT", "/v1/rooms/r", "{}").want(t, 201)
	room, err := f.rooms.Room("r")
	must(t, err)
	sub, _, err := room.Subscribe()
	must(t, err)
	defer sub.Close()
	look := func() { // the room's next turn
		t.Helper()
		_, err := room.Update(t.Context(), mixer.RoomPatch{})
		must(t, err)
	}
	next := func() StorageChanged {
		t.Helper()
		for {
			select {
			case e := <-sub.Events():
				if e.Type == mixer.EventStorage {
					return f.dataOf(e).(StorageChanged)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("no event")
			}
		}
	}
	must(t, f.store.SetLimits(record.Limits{Reserve: 1 << 60})) // no disk has that
	f.store.Check()
	look()
	look()
	if got := next(); got.Level != "full" || got.Reserve != 1<<60 || got.Free <= 0 {
		t.Errorf("%+v", got)
	}
	p := f.do("POST", "/v1/rooms/r/recordings", "{}").problem(t, 507, "storage-full")
	if p.Detail == "" {
		t.Errorf("%+v", p)
	}
	must(t, f.store.SetLimits(record.Limits{}))
	f.store.Check()
	look()
	if got := next(); got.Level != "ok" {
		t.Errorf("%+v: each change once", got)
	}
	if got := f.do("GET", "/readyz", "").want(t, 200).text; got != "ok\n" {
		t.Errorf("%q", got)
	}
}
