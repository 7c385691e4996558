package mixer

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/vp8"
	"mixdown/mixer/video"
)

// viewer is a connection that only counts what it is sent.
type viewer struct {
	mu struct {
		sync.Mutex
		got      []gotPicture
		paced    [2]int
		refuse   codec.StreamID // all other streams are answered NeedKey; 0 is none
		deaf     bool           // everything is
		refusals int
	}
}

type gotPicture struct {
	stream codec.StreamID
	key    bool
	width  int // of the last key frame
	pts    time.Duration
}

func (v *viewer) WriteVideo(f *codec.EncodedFrame) codec.Verdict {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.mu.deaf || v.mu.refuse != 0 && f.Stream != v.mu.refuse {
		v.mu.refusals++
		return codec.NeedKey
	}
	p := gotPicture{stream: f.Stream, key: f.Key, pts: f.PTS}
	if h, err := vp8.ParseHeader(f.Data); err == nil && h.Key {
		p.width = h.Width
	} else if n := len(v.mu.got); n > 0 {
		p.width = v.mu.got[n-1].width
	}
	v.mu.got = append(v.mu.got, p)
	return codec.Sent
}

func (v *viewer) PaceVideo(now, next int) {
	v.mu.Lock()
	v.mu.paced = [2]int{now, next}
	v.mu.Unlock()
}

func (v *viewer) WriteAudio(*codec.EncodedFrame)                 {}
func (v *viewer) RequestKeyframe(codec.SourceID)                 {}
func (v *viewer) LimitUplink(codec.SourceID, codec.UplinkTarget) {}
func (v *viewer) Close() error                                   { return nil }

// pictures returns what came so far.
func (v *viewer) pictures() []gotPicture {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.mu.got)
}

func (v *viewer) last() (p gotPicture) {
	if got := v.pictures(); len(got) > 0 {
		p = got[len(got)-1]
	}
	return p
}

func (v *viewer) lastKey() (p gotPicture) {
	for _, got := range v.pictures() {
		if got.key {
			p = got
		}
	}
	return p
}

func (v *viewer) keys() (n int) {
	for _, p := range v.pictures() {
		if p.key {
			n++
		}
	}
	return n
}

// look lets a viewer into the room.
func look(t *testing.T, r *Room, l Limits) (*Participant, *viewer) {
	t.Helper()
	p, err := r.Join(t.Context(), JoinRequest{Role: RoleViewer, Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	v := &viewer{}
	p.Attach(v, Media{}, all)
	p.Feedback(codec.Feedback{Link: codec.LinkUp})
	await(t, "a first picture", func() bool { return v.keys() > 0 })
	return p, v
}

// on runs f on the room's control loop.
func on[T any](t *testing.T, r *Room, f func() T) (result T) {
	t.Helper()
	if err := r.do(t.Context(), "test", func() error { result = f(); return nil }); err != nil {
		t.Fatal(err)
	}
	return result
}

// estimate says what p's path carries, and has for a while, and waits until he
// is sent the tier that goes with it.
func estimate(t *testing.T, p *Participant, bps int, tier string) {
	t.Helper()
	p.Feedback(codec.Feedback{EstimateBps: bps})
	on(t, p.room, func() bool {
		p.view.policy.notBefore, p.view.policy.above, p.view.policy.aboveFrom = 0, true, 0
		p.view.looked = 0
		return true
	})
	await(t, tier, func() bool { return p.Info().Tier.String() == tier })
}

// stir sends a picture that changes all the time.
func stir(t *testing.T, r *Room) {
	t.Helper()
	p, err := r.Join(t.Context(), JoinRequest{Name: "stirrer"})
	if err != nil {
		t.Fatal(err)
	}
	p.Attach(&viewer{}, all, Media{})
	p.Feedback(codec.Feedback{Link: codec.LinkUp})
	enc, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: 320, Height: 180, FPS: 30, BitrateBps: 300_000})
	if err != nil {
		t.Fatal(err)
	}
	picture, err := codec.NewVideoPool(1<<20).Get(320, 180)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		defer enc.Close()
		tick := time.NewTicker(time.Second / 30)
		defer tick.Stop()
		for n := 0; ; n++ {
			for i := range picture.Y {
				picture.Y[i] = byte(i/7 + 9*n)
			}
			f, err := enc.Encode(picture, time.Duration(n)*time.Second/30, n%30 == 0)
			if err == nil {
				f.Arrival = codec.Now()
				p.WriteVideo(codec.Camera, f)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
}

const (
	topTier    = "1280x720@30"
	middleTier = "640x360@30"
	lowTier    = "320x180@15"
)

// TestOneFallsOthersStay: one link collapses. He is sent the lowest tier at
// once, and those who watched with him see nothing of it.
func TestOneFallsOthersStay(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	stir(t, r)
	loser, bad := look(t, r, Limits{})
	if tier := loser.Info().Tier.String(); tier != middleTier {
		t.Errorf("begins with %s, want the middle tier", tier)
	}
	stay, good := look(t, r, Limits{})
	for _, p := range []*Participant{loser, stay} {
		estimate(t, p, 3_000_000, topTier)
	}
	for _, v := range []*viewer{bad, good} {
		await(t, "the top tier", func() bool { return v.last().width == 1280 })
	}
	bad.mu.Lock()
	if bad.mu.paced != [2]int{1_500_000, 0} {
		t.Errorf("paced at %v on the top tier", bad.mu.paced)
	}
	bad.mu.Unlock()
	await(t, "the end of the key frame window", func() bool { return good.last().pts > good.lastKey().pts+400*time.Millisecond })

	before, stream, from := good.keys(), good.last().stream, len(bad.pictures())
	loser.Feedback(codec.Feedback{EstimateBps: 1_200_000}) // on its way down
	loser.Feedback(codec.Feedback{EstimateBps: 250_000})
	await(t, "the lowest tier", func() bool { return bad.last().width == 320 })
	if got := bad.pictures()[max(from-1, 0):]; true {
		i := slices.IndexFunc(got, func(p gotPicture) bool { return p.width == 320 })
		// One key frame window, and what a loaded machine is late.
		if gap := got[i].pts - got[i-1].pts; gap > 800*time.Millisecond {
			t.Errorf("%v without a picture", gap)
		}
	}
	if paced := func() [2]int { bad.mu.Lock(); defer bad.mu.Unlock(); return bad.mu.paced }(); paced != [2]int{150_000, 0} {
		t.Errorf("paced at %v on the lowest tier; for a while nothing larger is wanted", paced)
	}
	mark := good.last().pts
	await(t, "more pictures", func() bool { return good.last().pts > mark+700*time.Millisecond })
	if good.keys() != before || good.last().stream != stream {
		t.Errorf("who stays got %d key frames, stream %d instead of %d", good.keys()-before, good.last().stream, stream)
	}
	top := r.main.shared().top()
	if told := on(t, r, func() int { return r.tierRates[top].told }); told != 1_500_000 {
		t.Errorf("the top tier is coded at %d bit/s", told)
	}
	if s := r.Stats().Adapt; s.Up[SwitchEstimate] != 2 || s.Down[SwitchEstimate] != 1 {
		t.Errorf("counted %+v", s)
	}
}

// TestStepUpKeepsThePicture: until the larger stream begins, the old one goes
// on, however long that takes.
func TestStepUpKeepsThePicture(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	stir(t, r)
	p, v := look(t, r, Limits{})
	v.mu.Lock()
	v.mu.refuse = v.mu.got[0].stream
	v.mu.Unlock()
	estimate(t, p, 3_000_000, topTier)
	n := len(v.pictures())
	await(t, "ten more of the old pictures", func() bool { return len(v.pictures()) >= n+10 })
	v.mu.Lock()
	if v.mu.refusals == 0 {
		t.Error("the new stream was never offered")
	}
	v.mu.refuse = 0
	v.mu.Unlock()
	await(t, "the larger picture", func() bool { return v.last().width == 1280 })
	n = len(v.pictures())
	await(t, "ten more", func() bool { return len(v.pictures()) >= n+10 })
	switched := false
	for _, got := range v.pictures() {
		if switched && got.width != 1280 {
			t.Fatal("the old stream comes back")
		}
		switched = switched || got.width == 1280
	}
	await(t, "nobody on the middle tier", func() bool { return r.main.shared().renditions[1].Stats().Subscribers == 0 })
}

// TestTierBitrateFollows: the slowest of those on a tier sets its bitrate, down
// to 0.6 of the nominal; it rises again slowly.
func TestTierBitrateFollows(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	stir(t, r)
	small := Limits{MaxWidth: 640}
	rich, _ := look(t, r, small)
	poor, slow := look(t, r, small)
	middle := r.main.shared().renditions[1]
	told := func() int { return on(t, r, func() int { return r.tierRates[middle].told }) }
	rich.Feedback(codec.Feedback{EstimateBps: 5_000_000})
	for _, step := range []struct{ estimate, want int }{{500_000, 475_000}, {365_000, 360_000}} {
		poor.Feedback(codec.Feedback{EstimateBps: step.estimate})
		await(t, "the bitrate of the slowest", func() bool { return told() == step.want })
		await(t, "the pace", func() bool {
			slow.mu.Lock()
			defer slow.mu.Unlock()
			return slow.mu.paced[0] == step.want
		})
	}
	if tier := poor.Info().Tier.String(); tier != middleTier {
		t.Errorf("sent %s", tier)
	}
	poor.Leave(nil)
	await(t, "a higher bitrate", func() bool { return told() > 380_000 })
	if bps := told(); bps > 500_000 {
		t.Errorf("%d bit/s at once", bps)
	}
}

// TestChronicLoserCostsNoKeyFrames: who loses everything has no key frames made
// for all.
func TestChronicLoserCostsNoKeyFrames(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	stir(t, r)
	low := Limits{MaxWidth: 320}
	loser, bad := look(t, r, low)
	_, good := look(t, r, low)
	loser.Feedback(codec.Feedback{EstimateBps: 50_000})
	on(t, r, func() bool {
		loser.view.policy.losing = codec.Now() + time.Minute
		r.tune(codec.Now())
		return true
	})
	if told := on(t, r, func() int { return r.tierRates[loser.watching.Load()].told }); told != 150_000 {
		t.Errorf("he has a say: %d bit/s", told)
	}
	await(t, "the end of the key frame window", func() bool { return good.last().pts > good.lastKey().pts+400*time.Millisecond })
	before, from := good.keys(), good.last().pts
	bad.mu.Lock()
	bad.mu.deaf = true
	bad.mu.Unlock()
	await(t, "two seconds", func() bool {
		loser.Feedback(codec.Feedback{KeyframeWanted: true})
		return good.last().pts > from+2*time.Second
	})
	if n := good.keys() - before; n > 2 {
		t.Errorf("%d key frames in two seconds", n)
	}
}

// TestConstantSize: the size stays, frame rate and bitrate follow the link, and
// two of the kind share an encoder.
func TestConstantSize(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	stir(t, r)
	p, v := look(t, r, Limits{ConstantSize: true})
	q, w := look(t, r, Limits{ConstantSize: true})
	if tier := p.Info().Tier.String(); tier != "1280x720@15" {
		t.Errorf("begins with %s", tier)
	}
	if n := len(*r.main.shared().all.Load()); n != 5 {
		t.Errorf("%d renditions, want three tiers and two slower ones", n)
	}
	for _, step := range []struct {
		bps  int
		tier string
	}{{250_000, "1280x720@7"}, {900_000, "1280x720@15"}, {3_000_000, topTier}} {
		n := v.keys()
		estimate(t, p, step.bps, step.tier)
		estimate(t, q, step.bps, step.tier)
		await(t, "pictures of it", func() bool { return v.keys() > n })
		if s := p.watching.Load(); s != q.watching.Load() {
			t.Errorf("each has a %s of his own", step.tier)
		}
	}
	for _, v := range []*viewer{v, w} {
		for _, got := range v.pictures() {
			if got.width != 1280 {
				t.Fatalf("a picture %d wide", got.width)
			}
		}
	}
	small, _ := look(t, r, Limits{ConstantSize: true, MaxWidth: 700})
	if tier := small.Info().Tier; tier != (video.Tier{Width: 640, Height: 360, FPS: 15, BitrateBps: 270_000}) {
		t.Errorf("within limits: %+v", tier)
	}
	for _, one := range []*Participant{p, q, small} {
		one.Leave(nil)
	}
	await(t, "nothing running", func() bool { return !r.main.shared().watched() })
}

// TestCapTakesTheTopTierAway: at a high level of the Governor nobody is sent the
// largest tier, and gets it back afterwards.
func TestCapTakesTheTopTierAway(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	stir(t, r)
	p, v := look(t, r, Limits{})
	estimate(t, p, 3_000_000, topTier)
	await(t, "the top tier", func() bool { return v.last().width == 1280 })
	m.Governor().level.Store(uint32(LevelLowTop))
	await(t, "the middle tier", func() bool { r.wake(); return v.last().width == 640 })
	m.Governor().level.Store(uint32(LevelNormal))
	estimate(t, p, 3_000_000, topTier)
	if s := r.Stats().Adapt; s.Down[SwitchCap] != 1 {
		t.Errorf("counted %+v", s)
	}
}
