package mixer

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/mixer/layout"
)

// limited is a client that notes what it is asked to send.
type limited struct {
	*client
	asked [codec.NumSources]atomic.Pointer[codec.UplinkTarget]
	count atomic.Int32
}

func (l *limited) LimitUplink(id codec.SourceID, t codec.UplinkTarget) {
	l.asked[id].Store(&t)
	l.count.Add(1)
}

func (l *limited) camera() (t codec.UplinkTarget) {
	if p := l.asked[codec.Camera].Load(); p != nil {
		t = *p
	}
	return t
}

// enterLimited is enter, with such a client that sends what it says.
func enterLimited(t *testing.T, r *Room, name string, sends Media) (*Participant, *limited) {
	t.Helper()
	p, err := r.Join(t.Context(), JoinRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	l := &limited{client: newClient(t)}
	p.Attach(l, sends, all)
	p.Feedback(codec.Feedback{Link: codec.LinkUp})
	return p, l
}

// Senders are asked for what their tiles can show: more at once, less in the
// end; who is not seen pauses, keeps his place, and comes back at once.
func TestSendersAreAskedForWhatIsShown(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	ann, a := enterLimited(t, r, "Ann", all)
	asks := func(l *limited, want string) {
		t.Helper()
		await(t, want, func() bool {
			c := l.camera()
			return fmt.Sprintf("%dx%d@%d %v", c.Width, c.Height, c.FPS, c.Paused) == want
		})
	}
	// later has the room believe that some seconds have passed since.
	later := func(by time.Duration) {
		t.Helper()
		if err := r.do(t.Context(), "test", func() error { r.limitUplinks(codec.Now() + by); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	asks(a, "1280x720@30 false")
	if s := a.asked[codec.Screen].Load(); s == nil || s.Paused || s.Height != 0 || s.FPS != 15 {
		t.Errorf("of a screen is asked %+v", s)
	}
	bob, b := enterLimited(t, r, "Bob", Media{Audio: true, Camera: true})
	asks(b, "640x360@30 false")
	stop := speak(t, bob, 770, 40, 240, 110)
	defer stop()
	later(7 * time.Second)
	asks(a, "1280x720@30 false")
	later(uplinkDownAfter)
	asks(a, "640x360@30 false")
	if b.asked[codec.Screen].Load() != nil {
		t.Error("asked of a screen that the client cannot send")
	}
	await(t, "Bob's picture", func() bool { w, _ := bob.source.pictures[codec.Camera].Size(); return w == 320 })

	// Who is told of it is not bounded besides.
	if b.camera().BitrateBps == 0 {
		t.Error("a client that is told nothing is not bounded")
	}
	done := bob.FollowUplink()
	await(t, "no bound", func() bool { return b.camera().BitrateBps == 0 })
	done()
	await(t, "a bound", func() bool { return b.camera().BitrateBps != 0 })

	told := bob.Uplink()
	if told.Targets[codec.Camera] != b.camera() || !told.Asked[codec.Camera] || told.Asked[codec.Screen] {
		t.Errorf("Bob's client is told %+v", told)
	}
	if _, err := r.SetLayout(t.Context(), "", layout.Spec{Mode: layout.Single, Pins: []string{string(ann.ID())}}); err != nil {
		t.Fatal(err)
	}
	stop()
	bob.source.lastPicture[codec.Camera].Add(int64(uplinkDownAfter))
	later(uplinkDownAfter)
	asks(b, "160x90@15 true")
	bob.source.lastPicture[codec.Camera].Add(-int64(uplinkDownAfter))
	<-told.Changed
	// He pauses, and is not forgotten for it.
	await(t, "the time after which who sends nothing has no picture", func() bool {
		shows := false
		if err := r.do(t.Context(), "test", func() error {
			shows = bob.source.shows(codec.Camera, codec.Now()+time.Hour)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return shows
	})
	if _, err := r.SetLayout(t.Context(), "", layout.Spec{}); err != nil {
		t.Fatal(err)
	}
	asks(b, "640x360@30 false") // at once, though he has just been told something else
	if err := r.do(t.Context(), "test", func() error {
		now := codec.Now()
		if !bob.source.shows(codec.Camera, now+screenTimeout/2) || bob.source.shows(codec.Camera, now+2*screenTimeout) {
			t.Error("who was asked to go on has as long as anybody to do so")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Whoever is not seen and not known yet is not asked to pause: nobody would ever
// learn that he has a picture.
func TestWhoIsNotSeenYetBegins(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{Layout: layout.Spec{Limit: 1, Mode: layout.Grid}})
	enterLimited(t, r, "Ann", all)
	_, b := enterLimited(t, r, "Bob", all)
	await(t, "a target", func() bool { return b.asked[codec.Camera].Load() != nil })
	if c := b.camera(); c.Paused || c.Height != 90 {
		t.Errorf("asked for %+v, want the least", c)
	}
}

// What the tiles of a whole grid are asked for is about as many pixels as the
// canvas has.
func TestNineSendersSendOneCanvas(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	var ls []*limited
	for i := range 9 {
		_, l := enterLimited(t, r, fmt.Sprint(i), all)
		ls = append(ls, l)
	}
	await(t, "nine tiles", func() bool { return len(r.Layout().Tiles) == 9 })
	if err := r.do(t.Context(), "test", func() error { r.limitUplinks(codec.Now() + uplinkDownAfter); return nil }); err != nil {
		t.Fatal(err)
	}
	pixels := 0
	for _, l := range ls {
		c := l.camera()
		pixels += c.Width * c.Height
		if n := l.count.Load(); n > 3 {
			t.Errorf("%d changes for one client, want its screen and at most two", n)
		}
	}
	if canvas := 1280 * 720; pixels > canvas+canvas/20 {
		t.Errorf("%d pixels are asked for, of which the canvas has %d", pixels, canvas)
	}
}
