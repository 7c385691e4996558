package api

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mixdown/mixer"
	"mixdown/mixer/layout"
)

// paper is a KeptRooms that can fail.
type paper struct {
	mu     sync.Mutex
	kept   map[string]string
	writes int
	err    error
}

func (p *paper) Put(key string, value []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes++
	if p.err == nil {
		if p.kept == nil {
			p.kept = map[string]string{}
		}
		p.kept[key] = string(value)
	}
	return p.err
}

func (p *paper) Delete(key string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes++
	if p.err == nil {
		delete(p.kept, key)
	}
	return p.err
}

func (p *paper) Each(_ string, f func(string, []byte) error) error {
	p.mu.Lock()
	kept := maps.Clone(p.kept)
	p.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(kept)) {
		if err := f(key, []byte(kept[key])); err != nil {
			return err
		}
	}
	return nil
}

func (p *paper) failing(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *paper) count() (rooms, writes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.kept), p.writes
}

func (p *paper) fixture(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t, false, func(c *Config) { c.KeptRooms = p })
	f.RestoreRooms(t.Context())
	return f
}

// end ends a server as a signal does: rooms end, and are deleted by nobody.
func (f *fixture) end(t *testing.T) {
	t.Helper()
	f.Drain()
	must(t, f.rooms.Close())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, f.KeepRooms(ended))
}

func TestPersistentRooms(t *testing.T) {
	var disk paper
	f := disk.fixture(t)
	f.do("PUT", "/v1/rooms/passing", `{"name":"not kept"}`).want(t, 201)
	f.do("PUT", "/v1/rooms/board", `{"persistent":true,"selfUnmute":false,"name":"Board","canvas":{"width":640,"height":360,"fps":15},"maxParticipants":9,"emptyTimeout":7,"metadata":"m"}`).want(t, 201)
	f.do("POST", "/v1/rooms/second", `{"persistent":true}`).want(t, 201)
	f.do("PATCH", "/v1/rooms/board", `{"locked":true}`).want(t, 200)
	f.do("PUT", "/v1/rooms/board/layout", `{"mode":"sidebar","limit":5,"labels":false,"pins":["p_1","ann"]}`).want(t, 200)
	f.do("PUT", "/v1/rooms/former", `{"persistent":true}`).want(t, 201)
	f.do("PATCH", "/v1/rooms/former", `{"persistent":false}`).want(t, 200)
	f.do("PUT", "/v1/rooms/deleted", `{"persistent":true}`).want(t, 201)
	f.do("DELETE", "/v1/rooms/deleted", "").want(t, 204)
	before := f.do("GET", "/v1/rooms/board", "").want(t, 200)
	_, writes := disk.count()
	f.do("PATCH", "/v1/rooms/board", `{"locked":true}`).want(t, 200) // says nothing new
	if _, now := disk.count(); now != writes {
		t.Errorf("%d writes for nothing", now-writes)
	}
	f.end(t)

	f = disk.fixture(t)
	var list List[Room]
	f.do("GET", "/v1/rooms", "").want(t, 200).json(t, &list)
	if len(list.Items) != 2 || list.Items[0].ID != "board" || list.Items[1].ID != "second" {
		t.Fatalf("%+v", list.Items)
	}
	var was, is Room
	before.json(t, &was)
	f.do("GET", "/v1/rooms/board", "").want(t, 200).json(t, &is)
	if is.RoomID == was.RoomID {
		t.Error("another life has the same roomId")
	}
	if want := []string{"ann"}; !slices.Equal(is.Layout.Pins, want) {
		t.Errorf("pins %v, want %v: nobody will be p_1 again", is.Layout.Pins, want)
	}
	was.RoomID, was.CreatedAt, was.Status, was.Layout.Pins = is.RoomID, is.CreatedAt, is.Status, is.Layout.Pins
	if !reflect.DeepEqual(was, is) {
		t.Errorf("was %+v\nis %+v", was, is)
	}
	var shown Layout
	f.do("GET", "/v1/rooms/board/layout", "").want(t, 200).json(t, &shown)
	if shown.Mode != "sidebar" || shown.Limit != 5 || shown.Labels {
		t.Errorf("%+v", shown.LayoutSpec)
	}
	f.do("DELETE", "/v1/rooms/board", "").want(t, 204)
	f.end(t)
	if rooms, _ := disk.count(); rooms != 1 {
		t.Errorf("%d rooms on the disk, want second alone", rooms)
	}
}

// TestEveryFieldOfARoomIsKept: whatever RoomConfig gets in future.
func TestEveryFieldOfARoomIsKept(t *testing.T) {
	var was, is keptRoom
	fill(reflect.ValueOf(&was.Config).Elem())
	text, err := json.Marshal(was)
	must(t, err)
	must(t, json.Unmarshal(text, &is))
	if !reflect.DeepEqual(was, is) {
		t.Errorf("was %+v\nis %+v", was, is)
	}
}

// fill sets everything to something.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64, reflect.Float32:
		v.SetFloat(0.5)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	default:
		panic("RoomConfig has a " + v.Kind().String() + ": say here how it is kept")
	}
}

// TestDiskFailsUnderRooms: who asks is told, and what could not be saved is, later.
func TestDiskFailsUnderRooms(t *testing.T) {
	var disk paper
	f := disk.fixture(t)
	disk.failing(errors.New("no space left on device"))
	f.do("PUT", "/v1/rooms/board", `{"persistent":true}`).problem(t, 507, "not-kept")
	f.do("GET", "/v1/rooms/board", "").want(t, 200) // it is there
	if log := f.log.String(); !strings.Contains(log, "no space left") {
		t.Errorf("not in the log: %s", log)
	}
	disk.failing(nil)
	must(t, f.keeper.syncAll())
	if rooms, _ := disk.count(); rooms != 1 {
		t.Errorf("%d rooms", rooms)
	}
	disk.failing(errors.New("no space left on device"))
	f.do("DELETE", "/v1/rooms/board", "").problem(t, 507, "not-kept")
	disk.failing(nil)
	must(t, f.keeper.syncAll())
	if rooms, _ := disk.count(); rooms != 0 {
		t.Errorf("%d rooms", rooms)
	}
}

// TestWhatCannotBeRestored stays where it is, and keeps nothing else from it.
func TestWhatCannotBeRestored(t *testing.T) {
	disk := paper{kept: map[string]string{
		"broken":  `{"Version":`,
		"future":  `{"Version":99,"Config":{"ID":"future"}}`,
		"other":   `{"Version":1,"Config":{"ID":"another"}}`,
		"picture": `{"Version":1,"Config":{"ID":"picture","Persistent":true,"Layout":{"BackgroundImage":"gone.png"}}}`,
		"well":    `{"Version":1,"Config":{"ID":"well","Persistent":true,"NoSuchField":1}}`,
	}}
	f := disk.fixture(t)
	var list List[Room]
	f.do("GET", "/v1/rooms", "").want(t, 200).json(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID != "well" {
		t.Errorf("%+v", list.Items)
	}
	for _, name := range []string{"broken", "future", "other", "picture"} {
		if !strings.Contains(f.log.String(), name+":") {
			t.Errorf("%s is not in the log", name)
		}
	}
	f.end(t)
	if rooms, _ := disk.count(); rooms != 5 {
		t.Errorf("%d rooms on the disk", rooms)
	}
}

// TestKeepersRace: many change a room at once, and the disk has the last state.
func TestKeepersRace(t *testing.T) {
	var disk paper
	f := disk.fixture(t)
	f.do("PUT", "/v1/rooms/board", `{"persistent":true}`).want(t, 201)
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 5 {
				f.do("PATCH", "/v1/rooms/board", `{"locked":true}`)
				f.do("PATCH", "/v1/rooms/board", `{"locked":false,"name":"n"}`)
			}
		})
	}
	writers.Wait()
	room, err := f.rooms.Room("board")
	must(t, err)
	var kept keptRoom
	must(t, json.Unmarshal([]byte(disk.kept["board"]), &kept))
	if want := room.Info().RoomConfig; !reflect.DeepEqual(kept.Config.Locked, want.Locked) || kept.Config.Name != want.Name {
		t.Errorf("kept %+v, is %+v", kept.Config, want)
	}
}

// TestPersistentRoomStaysEmpty: nobody in it is no reason to end, until it ceases to
// be persistent.
func TestPersistentRoomStaysEmpty(t *testing.T) {
	f := newFixture(t, false)
	room, err := f.rooms.CreateRoom(t.Context(), mixer.RoomConfig{ID: "r", Persistent: true, EmptyTimeout: time.Millisecond,
		Canvas: layout.Canvas{Width: 320, Height: 180, FPS: 15}})
	must(t, err)
	for range 3 { // each is a look at whether it is over
		_, err := room.Update(t.Context(), mixer.RoomPatch{})
		must(t, err)
	}
	select {
	case <-room.Done():
		t.Fatal("it has ended")
	case <-time.After(20 * time.Millisecond): // a room that ends, ends after one
	}
	no := false
	_, err = room.Update(t.Context(), mixer.RoomPatch{Persistent: &no})
	must(t, err)
	select {
	case <-room.Done():
	case <-time.After(30 * time.Second):
		t.Error("it has not ended")
	}
}
