package mixer

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"mixdown/codec"
)

// increases reports whether time never goes back or stands still.
func increases(pts []time.Duration) bool {
	for i := 1; i < len(pts); i++ {
		if pts[i] <= pts[i-1] {
			return false
		}
	}
	return true
}

// TestMove: who is moved keeps the connection, hears and sees the other room from
// then on, and is heard and seen there and nowhere else.
func TestMove(t *testing.T) {
	m := newManager(t)
	from := newTestRoom(t, m, RoomConfig{ID: "from"})
	to := newTestRoom(t, m, RoomConfig{ID: "to"})
	tones := []float64{440, 770, 1310}
	alice, hers := enter(t, from, "Alice")
	stop := speak(t, alice, tones[0], 200, 90, 90)
	defer func() { stop() }()
	bob, his := enter(t, from, "Bob")
	defer speak(t, bob, tones[1], 100, 90, 90)()
	carol, other := enter(t, to, "Carol")
	defer speak(t, carol, tones[2], 60, 90, 90)()
	gain := 2.0
	if _, err := from.UpdateParticipant(t.Context(), alice.ID(), ParticipantPatch{GainDB: &gain}); err != nil {
		t.Fatal(err)
	}
	x, o := true, false
	await(t, "Alice hears Bob", func() bool { return slices.Equal(hears(hers, tones), []bool{o, x, o}) })
	await(t, "Alice sees something", func() bool { return locked(hers, func() bool { return hers.mu.pictures > 3 }) })
	was := alice.Info()
	events := subscribe(t, m)
	streams := locked(hers, func() int { return len(hers.mu.streams) })

	move := func(p *Participant, from *Room, to RoomID) (moved *Participant) {
		t.Helper()
		info, err := m.Move(t.Context(), from, p.ID(), to, func(n Moved) {
			stop() // nothing more goes to the old one
			moved = n.Participant
			stop = speak(t, moved, tones[0], 200, 90, 90)
		})
		if err != nil {
			t.Fatal(err)
		}
		if info.ID != was.ID || info.CSRC != was.CSRC || info.GainDB != gain || info.Name != was.Name || info.State != StateActive || info.Room != to {
			t.Errorf("it is %+v, was %+v", info, was)
		}
		return moved
	}
	there := move(alice, from, "to")
	await(t, "Alice hears Carol alone", func() bool { return slices.Equal(hears(hers, tones), []bool{o, o, x}) })
	await(t, "Carol hears Alice", func() bool { return slices.Equal(hears(other, tones), []bool{x, o, o}) })
	await(t, "Bob hears nobody", func() bool { return slices.Equal(hears(his, tones), []bool{o, o, o}) })
	await(t, "Alice sees the other room", func() bool { return locked(hers, func() bool { return len(hers.mu.streams) > streams }) })
	await(t, "csrc of Carol", func() bool {
		return locked(hers, func() bool {
			last := hers.mu.heard[len(hers.mu.heard)-1]
			return len(last) == 1 && last[0].CSRC == carol.Info().CSRC
		})
	})
	if n := len(to.Layout().Tiles); n != 2 || len(from.Layout().Tiles) != 1 {
		t.Errorf("%d tiles there, %d here", n, len(from.Layout().Tiles))
	}
	var told []string
	for _, e := range follow(t, events, EventParticipantUpdated) {
		if e.Type == EventParticipantJoined || e.Type == EventParticipantLeft {
			told = append(told, string(e.Room)+" "+e.Type.String())
		}
		if left, is := e.Data.(ParticipantLeft); is && !errors.Is(left.Reason, ErrMoved) {
			t.Errorf("left because of %v", left.Reason)
		}
	}
	slices.Sort(told)
	if !slices.Equal(told, []string{"from participant.left", "to participant.joined"}) {
		t.Errorf("told of %q", told)
	}

	back := move(there, to, "from")
	await(t, "Alice hears Bob again", func() bool { return slices.Equal(hears(hers, tones), []bool{o, x, o}) })
	if e := back.endpoint.Load().Endpoint; e != Endpoint(hers) {
		t.Errorf("back home she is sent by way of %T", e)
	}
	locked(hers, func() bool {
		if !increases(hers.mu.audioPTS) || !increases(hers.mu.videoPTS) {
			t.Error("time went back")
		}
		if hers.mu.closed != 0 {
			t.Error("the connection was closed")
		}
		return true
	})
	back.PeerClosed(nil)
	await(t, "the connection is closed", func() bool { return locked(hers, func() int { return hers.mu.closed }) == 1 })
}

func TestMoveRefused(t *testing.T) {
	m := newManager(t)
	from := newTestRoom(t, m, RoomConfig{ID: "from"})
	full := newTestRoom(t, m, RoomConfig{ID: "full", MaxParticipants: 1})
	enter(t, full, "first")
	newTestRoom(t, m, RoomConfig{ID: "to", Locked: true, PIN: "1234", WaitingRoom: true})
	p, c := enter(t, from, "p")
	early, err := from.Join(t.Context(), JoinRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		id   ParticipantID
		to   RoomID
		kind Kind
		err  error
	}{
		"no room":       {p.ID(), "nowhere", NotFound, ErrNoRoom},
		"the same":      {p.ID(), "from", Conflict, ErrSameRoom},
		"full":          {p.ID(), "full", Conflict, ErrRoomFull},
		"nobody":        {"p_nobody", "to", NotFound, ErrNoParticipant},
		"not connected": {early.ID(), "to", Conflict, ErrNotConnected},
	} {
		_, err := m.Move(t.Context(), from, x.id, x.to, func(Moved) { t.Errorf("%s: handed over", name) })
		if KindOf(err) != x.kind || !errors.Is(err, x.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if info := p.Info(); info.Room != "from" || info.State == StateLeft || locked(c, func() int { return c.mu.closed }) != 0 {
		t.Errorf("it is %+v", info)
	}
	// Who moves people knows what they do: no lock, PIN or waiting room is in the way.
	info, err := m.Move(t.Context(), from, p.ID(), "to", func(Moved) {})
	if err != nil || info.Held || info.State != StateActive {
		t.Errorf("it is %+v, %v", info, err)
	}
}

// line is what stands between a connection and its participant.
type line struct {
	mu sync.RWMutex
	p  *Participant
}

func (l *line) closed() {
	l.mu.RLock()
	defer l.mu.RUnlock()
	l.p.PeerClosed(nil)
}

// TestMoveOfOneWhoLeaves: moves and ends at one time leave nobody behind.
func TestMoveOfOneWhoLeaves(t *testing.T) {
	m := newManager(t)
	from := newTestRoom(t, m, RoomConfig{ID: "from"})
	to := newTestRoom(t, m, RoomConfig{ID: "to"})
	for range 20 {
		p, c := enter(t, from, "p")
		l := &line{p: p}
		var both sync.WaitGroup
		both.Go(func() {
			_, _ = m.Move(t.Context(), from, p.ID(), "to", func(n Moved) {
				l.mu.Lock()
				l.p = n.Participant
				l.mu.Unlock()
			})
		})
		both.Go(l.closed)
		both.Wait()
		await(t, "empty rooms", func() bool { return len(from.Participants())+len(to.Participants()) == 0 })
		await(t, "a closed connection", func() bool { return locked(c, func() int { return c.mu.closed }) == 1 })
	}
}

// TestMoveIntoRoomThatEnds: a room that ends while somebody is on his way into it
// closes his connection.
func TestMoveIntoRoomThatEnds(t *testing.T) {
	m := newManager(t)
	from := newTestRoom(t, m, RoomConfig{ID: "from"})
	to := newTestRoom(t, m, RoomConfig{ID: "to"})
	p, c := enter(t, from, "p")
	next, err := to.expect(t.Context(), "test", p, codec.VP8)
	if err != nil {
		t.Fatal(err)
	}
	a, without, err := from.letGo(t.Context(), "test", p)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.DeleteRoom(t.Context(), "to"); err != nil {
		t.Fatal(err)
	}
	from.heard.wait(without)
	next.inherit(p, a, from.epoch)
	close(p.handed)
	if n := locked(c, func() int { return c.mu.closed }); n != 1 {
		t.Errorf("the connection was closed %d times", n)
	}
}

// TestRebasedFrames: what a moved client is lent is what all are lent, but for its
// time; and costs no memory.
func TestRebasedFrames(t *testing.T) {
	sink := &keeping{}
	e := &rebased{Endpoint: sink, by: time.Second}
	f := codec.NewEncodedFrame(100)
	defer f.Release()
	f.Codec, f.Stream, f.PTS, f.Key, f.Temporal = codec.VP8, 7, time.Minute, true, 1
	f.Discardable, f.LayerSync, f.Sharp, f.DTX, f.Width, f.Height = true, true, true, true, 640, 360
	f.Data = append(f.Data, 1, 2, 3)
	f.Heard = append(f.Heard, codec.Contributor{CSRC: 5, LevelDBov: 6})
	if v := e.WriteVideo(f); v != codec.NeedKey {
		t.Errorf("verdict %v", v)
	}
	got := sink.last
	if got.PTS != time.Minute+time.Second || f.PTS != time.Minute {
		t.Errorf("times %v and %v", got.PTS, f.PTS)
	}
	if got.Codec != f.Codec || got.Stream != f.Stream || !got.Key || got.Temporal != 1 || !got.Discardable || !got.LayerSync ||
		!got.Sharp || !got.DTX || got.Width != 640 || got.Height != 360 || !slices.Equal(sink.data, f.Data) || !slices.Equal(sink.heard, f.Heard) {
		t.Errorf("%+v became %+v", f, got)
	}
	if n := testing.AllocsPerRun(1000, func() { e.WriteAudio(f) }); n > 0.1 && !raceEnabled {
		t.Errorf("%v allocations a frame", n)
	}
}

// keeping keeps what the last frame was.
type keeping struct {
	nowhere
	last struct {
		Codec                                   codec.Codec
		Stream                                  codec.StreamID
		PTS                                     time.Duration
		Key, Discardable, LayerSync, Sharp, DTX bool
		Temporal                                uint8
		Width, Height                           int
	}
	data  []byte
	heard []codec.Contributor
}

func (k *keeping) WriteAudio(f *codec.EncodedFrame) {
	k.data, k.heard = append(k.data[:0], f.Data...), append(k.heard[:0], f.Heard...)
}

func (k *keeping) WriteVideo(f *codec.EncodedFrame) codec.Verdict {
	k.WriteAudio(f)
	k.last.Codec, k.last.Stream, k.last.PTS, k.last.Key, k.last.Discardable = f.Codec, f.Stream, f.PTS, f.Key, f.Discardable
	k.last.LayerSync, k.last.Sharp, k.last.DTX, k.last.Temporal, k.last.Width, k.last.Height = f.LayerSync, f.Sharp, f.DTX, f.Temporal, f.Width, f.Height
	return codec.NeedKey
}
