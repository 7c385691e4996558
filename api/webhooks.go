package api

import (
	"context"
	"errors"
	"time"

	"mixdown/api/webhook"
	"mixdown/mixer"
)

// Webhooks keeps events for those who are told of them by webhooks.
// *webhook.Sender satisfies it.
type Webhooks interface {
	// Wants reports whether anybody is told of events of a type.
	Wants(typ string) bool
	// Add keeps events, in this order, all of them or none. It may block on the
	// disk.
	Add([]webhook.Event) error
	// Missed counts events that were never added.
	Missed(n uint64)
}

const (
	// webhookBatch is how many events are added at once at most.
	webhookBatch = 64
	// webhookPause is for how long a disk that fails is left alone.
	webhookPause = time.Second
)

// TellWebhooks hands every event of the process to hooks, from the first one
// on, until ctx is done and what had happened by then is handed over. For it to
// hear how rooms end, ctx ends after the Manager is closed. What cannot be
// kept is tried again, while the mixer's queue and ring hold what comes
// meanwhile; what is too much for them is counted.
func (s *Server) TellWebhooks(ctx context.Context, hooks Webhooks) error {
	t := webhookTap{s: s, hooks: hooks}
	for {
		sub, missed, ok := s.rooms.Resume(t.last)
		if !ok {
			var snap mixer.RoomsSnapshot
			var err error
			sub, snap, err = s.rooms.Subscribe()
			if err != nil { // there will be no more events
				snap.ID = 0
				for _, n := range s.rooms.EventStats().Raised {
					snap.ID += n
				}
			}
			if lost := snap.ID - t.last; lost > 0 {
				s.log.Error("events were not told to webhooks: the disk is too slow", "events", lost)
				hooks.Missed(lost)
			}
			t.last = snap.ID
			if err != nil {
				return nil
			}
		}
		again := t.follow(ctx, sub, missed)
		sub.Close()
		if !again {
			return nil
		}
	}
}

// webhookTap is where events go over to webhooks.
type webhookTap struct {
	s     *Server
	hooks Webhooks
	last  uint64 // the event that was handed over last
}

// follow hands over what was missed and what comes, until ctx is done, or there
// is no more. It reports whether to go on after the last event.
func (t *webhookTap) follow(ctx context.Context, sub *mixer.Subscription, missed []*mixer.Event) bool {
	for len(missed) > 0 {
		n := min(len(missed), webhookBatch)
		if !t.hand(ctx, missed[:n]) {
			return false
		}
		missed = missed[n:]
	}
	for {
		select {
		case e, ok := <-sub.Events():
			if !ok {
				return errors.Is(sub.Err(), mixer.ErrSlow)
			}
			if !t.hand(ctx, t.gather(sub, e)) {
				return false
			}
		case <-ctx.Done():
			// Which of the two is looked at first is chance: the last ones are.
			select {
			case e, ok := <-sub.Events():
				if !ok {
					return errors.Is(sub.Err(), mixer.ErrSlow)
				}
				if !t.hand(ctx, t.gather(sub, e)) {
					return false
				}
			default:
				return false
			}
		}
	}
}

// gather returns e and what is queued after it, up to a batch.
func (t *webhookTap) gather(sub *mixer.Subscription, e *mixer.Event) []*mixer.Event {
	batch := []*mixer.Event{e}
	for len(batch) < webhookBatch {
		select {
		case e, ok := <-sub.Events():
			if !ok { // the next receive tells
				return batch
			}
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// hand adds events, as often as it takes. It gives up, and reports false, when
// ctx is done and the disk still fails.
func (t *webhookTap) hand(ctx context.Context, events []*mixer.Event) bool {
	var batch []webhook.Event
	for _, e := range events {
		if e.Private || !t.hooks.Wants(e.Type.String()) {
			continue
		}
		frame, err := t.s.frameOf(e)
		if err != nil { // a document of ours cannot be written as JSON: a bug
			t.s.log.Error("an event cannot be written", "type", e.Type.String(), "error", err)
			t.hooks.Missed(1)
			continue
		}
		messagesOf(frame, func(body []byte) bool {
			batch = append(batch, webhook.Event{ID: t.s.streams.id(e.ID), Type: e.Type.String(), Room: string(e.Room), Body: body})
			return true
		})
	}
	for len(batch) > 0 {
		err := t.hooks.Add(batch)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.s.log.Error("events are not told to webhooks", "events", len(batch), "error", err)
			t.hooks.Missed(uint64(len(batch)))
			return false
		}
		t.s.log.Error("events for webhooks cannot be kept: trying again", "error", err)
		select {
		case <-time.After(webhookPause):
		case <-ctx.Done():
		}
	}
	t.last = events[len(events)-1].ID
	return true
}
