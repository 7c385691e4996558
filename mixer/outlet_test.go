package mixer

import (
	"errors"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

// bareOutlet is one without a room, which takes pictures of 64x36 if asked.
func bareOutlet(pictures bool) *Outlet {
	o := newOutlet()
	o.room = &Room{poke: make(chan struct{}, 1)}
	o.keys, o.count = &o.room.outletKeys, &o.room.outletCount
	o.keys.limit(keysLosing)
	if pictures {
		o.rendition, o.width, o.height = &video.Rendition{}, 64, 36
	}
	return o
}

// soundAt and pictureAt are frames that the caller releases.
func soundAt(pts time.Duration) *codec.EncodedFrame {
	f := codec.NewEncodedFrame(80)
	f.Codec, f.PTS, f.Data = codec.Opus, pts, f.Buffer()[:80]
	return f
}

func pictureAt(pts time.Duration, key bool, bytes int) *codec.EncodedFrame {
	f := codec.NewEncodedFrame(bytes)
	f.Codec, f.PTS, f.Key, f.Stream, f.Data = codec.VP8, pts, key, 7, f.Buffer()[:bytes]
	if key {
		f.Width, f.Height = 64, 36
	}
	return f
}

// give lends frames to an outlet and gives them up; verdict is that of the last
// picture.
func give(o *Outlet, frames ...*codec.EncodedFrame) (verdict codec.Verdict) {
	for _, f := range frames {
		if f.Codec == codec.Opus {
			o.WriteAudio(f)
		} else {
			verdict = o.WriteVideo(f)
		}
		f.Release()
	}
	return verdict
}

// taken is how many packets and pictures a reader gets, and the first PTS.
func taken(o *Outlet) (sound, pictures int, first time.Duration) {
	for i, f := range o.Take(nil) {
		if i == 0 {
			first = f.PTS
		}
		if f.Codec == codec.Opus {
			sound++
		} else {
			pictures++
		}
		f.Release()
	}
	return sound, pictures, first
}

func TestOutletBeginsWithAKeyFrame(t *testing.T) {
	o := bareOutlet(true)
	for n := range 150 { // 3 s
		give(o, soundAt(time.Duration(n)*codec.FrameDuration))
	}
	if v := give(o, pictureAt(3*time.Second, false, 10)); v != codec.NeedKey {
		t.Errorf("a picture that needs another one: %v", v)
	}
	if s, p, _ := taken(o); s+p > 0 || len(o.Ready()) > 0 {
		t.Errorf("%d packets and %d pictures before the first key frame", s, p)
	}
	if v := give(o, pictureAt(3*time.Second, true, 10)); v != codec.Sent {
		t.Fatalf("a key frame: %v", v)
	}
	<-o.Ready()
	if s, p, first := taken(o); s != 100 || p != 1 || first != time.Second {
		t.Errorf("%d packets and %d pictures from %v on, want two seconds of sound and a key frame", s, p, first)
	}
	if n := o.count.stats(); n.Dropped != 0 || n.Taken != 101 {
		t.Errorf("what came before the beginning counts: %+v", n)
	}
}

// A reader that stalls is owed nothing: what waits is dropped after two seconds,
// and it makes nobody code a key frame until it reads again.
func TestOutletDropsWhoStalls(t *testing.T) {
	o := bareOutlet(true)
	give(o, pictureAt(0, true, 10))
	asked := 0
	for n := 1; n <= 1000; n++ { // 20 s
		pts := time.Duration(n) * codec.FrameDuration
		give(o, soundAt(pts))
		if give(o, pictureAt(pts, n%250 == 0, 10)) == codec.NeedKey {
			asked++
		}
	}
	if n := o.count.stats(); asked != 0 || n.Resyncs != 1 || n.Dropped != 2001 {
		t.Errorf("%d key frames asked for, %+v", asked, n)
	}
	if s, p, _ := taken(o); s+p != 0 {
		t.Errorf("%d packets and %d pictures of long ago", s, p)
	}
	// It reads: the sound is there at once, a key frame is asked for, once.
	for n := 1001; n <= 1010; n++ {
		pts := time.Duration(n) * codec.FrameDuration
		give(o, soundAt(pts))
		if give(o, pictureAt(pts, false, 10)) == codec.NeedKey {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("%d key frames asked for", asked)
	}
	give(o, pictureAt(1011*codec.FrameDuration, true, 10))
	if s, p, first := taken(o); s != 10 || p != 1 || first != 1001*codec.FrameDuration {
		t.Errorf("%d packets and %d pictures from %v on", s, p, first)
	}
}

// However many are slow, together they cost a key frame in five seconds.
func TestOutletsShareTheirKeyFrames(t *testing.T) {
	outlets := []*Outlet{bareOutlet(true), bareOutlet(true), bareOutlet(true)}
	asked := 0
	for _, o := range outlets {
		o.keys = outlets[0].keys
		if give(o, pictureAt(0, false, 10)) == codec.NeedKey {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("%d key frames asked for", asked)
	}
}

func TestOutletBounds(t *testing.T) {
	o := bareOutlet(true)
	give(o, pictureAt(0, true, outletBytes/2))
	if v := give(o, pictureAt(1, false, outletBytes/2)); v != codec.Sent {
		t.Errorf("2 MiB: %v", v)
	}
	if v := give(o, pictureAt(2, false, 1)); v != codec.Dropped || o.count.stats().Dropped != 3 || o.mu.bytes != 0 {
		t.Errorf("a byte more: %v, %+v, %d bytes", v, o.count.stats(), o.mu.bytes)
	}
	o = bareOutlet(false)
	for n := range outletFrames + 1 {
		give(o, soundAt(time.Duration(n)))
	}
	if n := o.count.stats(); n.Resyncs != 1 || n.Dropped != outletFrames+1 {
		t.Errorf("%d frames: %+v", outletFrames+1, n)
	}
}

// Pictures of another size are not taken, nor is anything that builds on them,
// and nobody is asked to mend that: the room does.
func TestOutletKeepsItsSize(t *testing.T) {
	o := bareOutlet(true)
	other := pictureAt(0, true, 10)
	other.Width, other.Stream = 48, 8
	next := pictureAt(1, false, 10)
	next.Stream = 8
	if v := give(o, other, next); v != codec.Dropped || o.begun() {
		t.Errorf("another size: %v, begun %v", v, o.begun())
	}
	if v := give(o, pictureAt(2, true, 10)); v != codec.Sent {
		t.Errorf("its own: %v", v)
	}
}

func TestOutletAllocatesNothing(t *testing.T) {
	o := bareOutlet(true)
	key, delta, sound := pictureAt(0, true, 10), pictureAt(1, false, 10), soundAt(1)
	var frames []*codec.EncodedFrame
	o.WriteVideo(key)
	if n := testing.AllocsPerRun(1000, func() {
		o.WriteVideo(delta)
		o.WriteAudio(sound)
		frames = o.Take(frames[:0])
		for _, f := range frames {
			f.Release()
		}
	}); n != 0 {
		t.Errorf("%v allocations a tick", n)
	}
}

func TestNearestTier(t *testing.T) {
	pool, err := worker.New(worker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var renditions []*video.Rendition
	for _, tier := range defaultTiers(layout.Canvas{Width: 1280, Height: 720, FPS: 30}) {
		r, err := newRendition(Config{Pool: pool, Codecs: realCodecs()}, tier, codec.VP8, codec.NewVideoPool(1), nil)
		if err != nil {
			t.Fatal(err)
		}
		renditions = append(renditions, r)
	}
	for want, tier := range map[string]string{
		"1280x720@30": "1280x720@30", "1920x1080@60": "1280x720@30", "854x480@30": "640x360@30", "640x360@25": "640x360@30",
		"320x240@15": "320x180@15", "16x16@1": "320x180@15", "": "1280x720@30",
	} {
		var ask video.Tier
		if want != "" {
			var err error
			if ask, err = video.ParseTier(want); err != nil {
				t.Fatal(err)
			}
		}
		if got := nearestTier(renditions, ask).Tier().String(); got != tier {
			t.Errorf("%s: %s, want %s", want, got, tier)
		}
	}
}

// reader reads an outlet as long as the test goes on.
type reader struct {
	sound, pictures, keys int
	first, last           time.Duration // of all PTS
	longest               time.Duration // between two packets of sound
	lastSound             time.Duration
}

func (x *reader) read(o *Outlet) {
	for _, f := range o.Take(nil) {
		if x.sound+x.pictures == 0 {
			x.first = f.PTS
		}
		x.last = max(x.last, f.PTS)
		switch {
		case f.Codec == codec.Opus:
			if x.sound > 0 {
				x.longest = max(x.longest, f.PTS-x.lastSound)
			}
			x.sound, x.lastSound = x.sound+1, f.PTS
		default:
			x.pictures++
			if f.Key {
				x.keys++
			}
		}
		f.Release()
	}
}

// encodes is how many encoders of pictures run in the room's main program.
func encodes(r *Room) int { return r.Layout().Cost.Encodes }

// TestOutletsShareWhatIsCoded: two who watch by HTTP beside somebody in the room
// cost no encode, of pictures or of sound, and get every packet of sound.
func TestOutletsShareWhatIsCoded(t *testing.T) {
	m := newManager(t)
	tier := video.Tier{Width: 320, Height: 180, FPS: 30}
	r := newTestRoom(t, m, RoomConfig{Canvas: layout.Canvas{Width: 320, Height: 180, FPS: 30}, Tiers: []video.Tier{tier}})
	if _, err := r.OpenOutlet(t.Context(), OutletRequest{}); !errors.Is(err, ErrNobody) || KindOf(err) != Conflict {
		t.Errorf("an empty room: %v", err)
	}
	ann, _ := enter(t, r, "Ann")
	stop := speak(t, ann, 440, 80, 90, 240)
	defer stop()
	_, b := enter(t, r, "Bob") // listens, so that the shared mix is coded
	await(t, "Bob sees Ann", func() bool { return sees(b) == "red" })
	if _, err := r.OpenOutlet(t.Context(), OutletRequest{Group: "none"}); !errors.Is(err, ErrNoGroup) || KindOf(err) != NotFound {
		t.Errorf("no such group: %v", err)
	}
	before := r.Stats()
	if n := encodes(r); n != 1 {
		t.Fatalf("%d encoders run", n)
	}
	one, err := r.OpenOutlet(t.Context(), OutletRequest{Tier: tier})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	two, err := r.OpenOutlet(t.Context(), OutletRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	if w, h := two.Size(); w != 320 || h != 180 || two.Tier().String() != "320x180@30" || r.Info().Viewers != 2 {
		t.Errorf("%dx%d, %v, %d viewers", w, h, two.Tier(), r.Info().Viewers)
	}
	if list := r.Participants(); len(list) != 2 {
		t.Errorf("%d participants", len(list))
	}
	var x, y reader
	await(t, "both have read for a second", func() bool {
		x.read(one)
		y.read(two)
		return x.sound > 50 && y.sound > 50 && x.pictures > 15 && y.pictures > 15
	})
	after := r.Stats()
	// A machine that stops for a while makes the clock skip ticks: nothing else is missing.
	skipped := after.AudioClock.Skipped - before.AudioClock.Skipped
	for _, got := range []reader{x, y} {
		if got.longest > codec.FrameDuration*time.Duration(1+skipped) || got.keys == 0 {
			t.Errorf("%+v, and %d ticks were skipped", got, skipped)
		}
	}
	if n := encodes(r); n != 1 {
		t.Errorf("%d encoders run, with outlets", n)
	}
	ticks, shared := after.Mix.Ticks-before.Mix.Ticks, after.Mix.SharedEncodes-before.Mix.SharedEncodes
	if shared > ticks {
		t.Errorf("%d encodes of the shared mix in %d ticks", shared, ticks)
	}
	if s := after.Outlets; s.Open != 2 || s.Opened != 2 || s.Dropped != 0 || s.Taken != uint64(x.sound+x.pictures+y.sound+y.pictures) {
		t.Errorf("%+v", s)
	}

	// One goes; the other one goes on, to the end of the room, and is told why.
	one.Close()
	one.Close()
	await(t, "one viewer", func() bool { return r.Info().Viewers == 1 })
	for _, p := range r.Participants() {
		if err := r.Remove(t.Context(), p.ID, nil); err != nil {
			t.Fatal(err)
		}
	}
	<-two.Done()
	if err := two.Err(); !errors.Is(err, ErrNobody) {
		t.Errorf("the outlet ended with %v", err)
	}
	if !errors.Is(one.Err(), ErrOutletClosed) {
		t.Errorf("the closed one ended with %v", one.Err())
	}
	await(t, "no viewers", func() bool { s := r.Stats().Outlets; return s.Open == 0 && r.Info().Viewers == 0 })
}

// TestOutletOfAGroup hears and sees that group, and ends with it.
func TestOutletOfAGroup(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{Canvas: layout.Canvas{Width: 320, Height: 180, FPS: 30}})
	ann, _ := enter(t, r, "Ann")
	defer speak(t, ann, 440, 80, 90, 240)()
	group, main := GroupID("team"), GroupID("")
	if _, err := r.UpdateParticipant(t.Context(), ann.ID(), ParticipantPatch{Group: &group}); err != nil {
		t.Fatal(err)
	}
	o, err := r.OpenOutlet(t.Context(), OutletRequest{Group: group, NoVideo: true})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	heard := map[uint32]bool{}
	await(t, "Ann is heard", func() bool {
		for _, f := range o.Take(nil) {
			if f.Codec != codec.Opus {
				t.Errorf("a frame of %v for one who takes sound alone", f.Codec)
			}
			for _, c := range f.Heard {
				heard[c.CSRC] = true
			}
			f.Release()
		}
		return heard[ann.Info().CSRC]
	})
	if _, err := r.UpdateParticipant(t.Context(), ann.ID(), ParticipantPatch{Group: &main}); err != nil {
		t.Fatal(err)
	}
	<-o.Done()
	if err := o.Err(); !errors.Is(err, ErrNoGroup) {
		t.Errorf("the outlet ended with %v", err)
	}
}

// TestOutletEndsPassThrough: where somebody's own pictures are passed through at
// another size than the tier's, they cease to be for an outlet, which never sees
// two sizes; at the tier's size they may.
func TestOutletEndsPassThrough(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{
		Canvas: layout.Canvas{Width: 320, Height: 180, FPS: 30}, Tiers: []video.Tier{{Width: 320, Height: 180, FPS: 30}},
		Layout: layout.Spec{NoLabels: true, NoMarks: true, NoBorder: true},
	})
	ann, a := enter(t, r, "Ann")
	defer film(t, ann, a, 256, 144, 80, 90, 240)()
	await(t, "Ann's own pictures are passed through", func() bool { n, _, _, _ := passed(r); return n == 1 })
	o, err := r.OpenOutlet(t.Context(), OutletRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var x reader
	await(t, "pictures of the tier's size", func() bool { x.read(o); return x.pictures > 10 })
	if n, _, _, _ := passed(r); n != 0 {
		t.Error("still passed through, at another size")
	}
	o.Close()
	await(t, "passed through again", func() bool { n, _, _, _ := passed(r); return n == 1 })
}

// An outlet that is refused leaves nothing behind.
func TestOutletRefused(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	enter(t, r, "Ann")
	locked := true
	if _, err := r.Update(t.Context(), RoomPatch{Locked: &locked}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.OpenOutlet(t.Context(), OutletRequest{}); !errors.Is(err, ErrRoomLocked) || KindOf(err) != Permission {
		t.Errorf("a locked room: %v", err)
	}
	m.Drain()
	if _, err := r.OpenOutlet(t.Context(), OutletRequest{}); !errors.Is(err, ErrDraining) {
		t.Errorf("a server that drains: %v", err)
	}
	if s := r.Stats().Outlets; s.Opened != 0 || s.Open != 0 {
		t.Errorf("%+v", s)
	}
}
