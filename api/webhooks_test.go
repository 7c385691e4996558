package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"mixdown/api/webhook"
	"mixdown/mixer"
)

// hookQueue keeps events in memory; its disk may fail.
type hookQueue struct {
	mu     sync.Mutex
	events []webhook.Event
	fails  int // so many times
	tried  chan struct{}
	missed uint64
}

func (q *hookQueue) Wants(typ string) bool { return typ != "speaker.changed" }

func (q *hookQueue) Add(events []webhook.Event) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case q.tried <- struct{}{}:
	default:
	}
	if q.fails != 0 {
		q.fails--
		return errors.New("disk full")
	}
	q.events = append(q.events, events...)
	return nil
}

func (q *hookQueue) Missed(n uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.missed += n
}

func (q *hookQueue) all() []webhook.Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.events)
}

// Webhooks are told what streams are told, from the first event to the last one
// of the last room.
func TestWebhooksAreToldEverything(t *testing.T) {
	f := newFixture(t, false)
	f.do("PUT", "/v1/rooms/before", "").want(t, 201) // before anybody follows
	q := &hookQueue{tried: make(chan struct{}, 1), fails: 1}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.TellWebhooks(ctx, q) }()
	<-q.tried // the disk fails once, which loses nothing
	for i := range 5 {
		room := fmt.Sprint("/v1/rooms/r", i)
		f.do("PUT", room, "").want(t, 201)
		f.join(room+"/participants?name=Ann").want(t, 201)
		f.lastPeer().up()
		f.do("DELETE", room, "").want(t, 204)
	}
	must(t, f.rooms.Close())
	cancel() // what it has not handed over by now it still does
	must(t, <-done)

	var raised uint64
	for _, n := range f.rooms.EventStats().Raised {
		raised += n
	}
	raised -= f.rooms.EventStats().Raised[mixer.EventSpeakerChanged]
	events := q.all()
	if uint64(len(events)) != raised || q.missed != 0 {
		t.Fatalf("%d of %d events were told, %d missed", len(events), raised, q.missed)
	}
	seen := make(map[string]bool)
	last := make(map[string]string)
	for _, e := range events {
		var env told
		must(t, json.Unmarshal(e.Body, &env))
		if env.ID != e.ID || env.Type != e.Type || env.Room != e.Room || env.Time.IsZero() || len(env.Data) == 0 || seen[e.ID] {
			t.Fatalf("%+v holds %s", e, e.Body)
		}
		seen[e.ID] = true
		if last[e.Room] == "" && e.Type != "room.started" {
			t.Errorf("room %s begins with %s", e.Room, e.Type)
		}
		last[e.Room] = e.Type
	}
	if len(last) != 6 {
		t.Errorf("rooms %v", last)
	}
	for room, typ := range last {
		if typ != "room.finished" {
			t.Errorf("room %s ends with %s", room, typ)
		}
	}
	// Who comes after the end hears of it.
	late := &hookQueue{}
	must(t, f.TellWebhooks(context.Background(), late))
	if late.missed == 0 {
		t.Error("nobody counts what was missed")
	}
}

// A disk that never comes back costs events, which are counted, and holds up no end.
func TestWebhooksWithoutADisk(t *testing.T) {
	f := newFixture(t, false)
	q := &hookQueue{tried: make(chan struct{}, 1), fails: -1}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.TellWebhooks(ctx, q) }()
	f.do("PUT", "/v1/rooms/r", "").want(t, 201)
	<-q.tried
	cancel()
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
	if q.missed != 1 || len(q.all()) != 0 {
		t.Errorf("%d missed, %d kept", q.missed, len(q.all()))
	}
}
