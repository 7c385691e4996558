package mixer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/codec/vp8"
	"mixdown/codec/worker"
	"mixdown/mixer/audio/audiotest"
	"mixdown/mixer/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// realCodecs are the ones that the server uses.
func realCodecs() Codecs {
	return Codecs{
		AudioDecoder: func() (codec.AudioDecoder, error) { return opus.NewDecoder() },
		AudioEncoder: func() (codec.AudioEncoder, error) { return opus.NewEncoder(opus.EncoderConfig{}) },
		VideoDecoder: func() (codec.VideoDecoder, error) { return vp8.NewDecoder(vp8.DecoderConfig{}) },
		VideoEncoder: func(c codec.VideoEncoderConfig) (codec.VideoEncoder, error) { return vp8.NewEncoder(c) },
	}
}

// newManager returns a Manager with real codecs, which ends with the test.
func newManager(t testing.TB, change ...func(*Config)) *Manager {
	t.Helper()
	pool, err := worker.New(worker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := record.OpenStore(record.StoreConfig{Dir: t.TempDir() + "/recordings"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Pool: pool, Codecs: realCodecs(), Recordings: store}
	for _, f := range change {
		f(&cfg)
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := pool.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		m.Close()
		stop()
		running.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func newTestRoom(t testing.TB, m *Manager, rc RoomConfig) *Room {
	t.Helper()
	if rc.ID == "" {
		rc.ID = "test"
	}
	r, err := m.CreateRoom(t.Context(), rc)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// client is the endpoint of a participant: it keeps what it is sent, decoded.
type client struct {
	mu struct {
		sync.Mutex
		pcm         []int16
		audioPTS    []time.Duration
		heard       [][]codec.Contributor
		first       *codec.EncodedFrame // picture, retained
		pictures    int
		videoPTS    []time.Duration
		streams     map[codec.StreamID]bool
		keyRequests [codec.NumSources]int
		colour      [3]byte // of the middle of the left half, as Y, U, V
		closed      int
		over        bool // the test has ended
	}
	audio   *opus.Decoder
	video   *vp8.Decoder
	scratch [codec.MaxPacketSamples]int16
	pool    *codec.VideoPool
}

func newClient(t *testing.T) *client {
	t.Helper()
	c := &client{pool: codec.NewVideoPool(1 << 30)}
	var err error
	if c.audio, err = opus.NewDecoder(); err != nil {
		t.Fatal(err)
	}
	if c.video, err = vp8.NewDecoder(vp8.DecoderConfig{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the room still runs then
		c.mu.Lock()
		defer c.mu.Unlock()
		c.mu.over = true
		c.audio.Close()
		c.video.Close()
	})
	c.mu.streams = make(map[codec.StreamID]bool)
	return c
}

func (c *client) WriteAudio(f *codec.EncodedFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.over {
		return
	}
	n, err := c.audio.Decode(f.Data, c.scratch[:])
	if err != nil {
		panic(err)
	}
	c.mu.pcm = append(c.mu.pcm, c.scratch[:n]...)
	c.mu.audioPTS = append(c.mu.audioPTS, f.PTS)
	c.mu.heard = append(c.mu.heard, append([]codec.Contributor(nil), f.Heard...))
}

func (c *client) WriteVideo(f *codec.EncodedFrame) codec.Verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.over {
		return codec.Dropped
	}
	if err := c.video.Decode(f.Data); err != nil {
		return codec.NeedKey
	}
	if w, h := c.video.Size(); w > 0 {
		p, err := c.pool.Get(w, h)
		if err != nil {
			panic(err)
		}
		if err := c.video.Picture(p); err != nil {
			panic(err)
		}
		x, y := w/4, h/2
		c.mu.colour = [3]byte{p.Y[y*p.StrideY+x], p.U[y/2*p.StrideUV+x/2], p.V[y/2*p.StrideUV+x/2]}
		p.Release()
	}
	c.mu.pictures++
	c.mu.videoPTS = append(c.mu.videoPTS, f.PTS)
	c.mu.streams[f.Stream] = true
	return codec.Sent
}

func (c *client) RequestKeyframe(id codec.SourceID) {
	c.mu.Lock()
	c.mu.keyRequests[id]++
	c.mu.Unlock()
}

func (c *client) LimitUplink(codec.SourceID, codec.UplinkTarget) {}

func (c *client) PaceVideo(int, int) {}

func (c *client) Close() error {
	c.mu.Lock()
	c.mu.closed++
	c.mu.Unlock()
	return nil
}

// locked runs f under the client's lock.
func locked[T any](c *client, f func() T) T {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f()
}

// all is what a test client sends or takes.
var all = Media{Audio: true, Camera: true, Screen: true}

// enter joins a room and connects at once.
func enter(t *testing.T, r *Room, name string) (*Participant, *client) {
	t.Helper()
	p, err := r.Join(t.Context(), JoinRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	p.Attach(c, all, all)
	p.Feedback(codec.Feedback{Link: codec.LinkUp})
	return p, c
}

// speak sends a tone and a picture of one colour, in real time, until the test
// calls stop.
func speak(t *testing.T, p *Participant, hz float64, y, u, v byte) (stop func()) {
	t.Helper()
	enc, err := opus.NewEncoder(opus.EncoderConfig{BitrateBps: 64000})
	if err != nil {
		t.Fatal(err)
	}
	pictures, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: 320, Height: 180, FPS: 50, BitrateBps: 300_000})
	if err != nil {
		t.Fatal(err)
	}
	picture, err := codec.NewVideoPool(1<<20).Get(320, 180)
	if err != nil {
		t.Fatal(err)
	}
	for i := range picture.Y {
		picture.Y[i] = y
	}
	for i := range picture.U {
		picture.U[i], picture.V[i] = u, v
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		defer enc.Close()
		defer pictures.Close()
		ticker := time.NewTicker(codec.FrameDuration)
		defer ticker.Stop()
		var pcm codec.AudioFrame
		for n := int64(0); ; n++ {
			for i := range pcm {
				pcm[i] = int16(6000 * math.Sin(2*math.Pi*hz*float64(n*codec.FrameSamples+int64(i))/codec.SampleRate))
			}
			f := codec.NewEncodedFrame(1275)
			size, err := enc.Encode(&pcm, f.Buffer())
			if err != nil {
				t.Error(err)
				return
			}
			f.Codec, f.Data = codec.Opus, f.Buffer()[:size]
			f.Seq, f.PTS, f.Arrival = n, time.Duration(n)*codec.FrameDuration, codec.Now()
			p.WriteAudio(f)
			// Something moves: what stands still is hardly coded.
			for i := range 16 * 16 {
				picture.Y[(i/16+16)*picture.StrideY+picture.Width/2+i%16] = byte(n * 8)
			}
			coded, err := pictures.Encode(picture, time.Duration(n)*codec.FrameDuration, n%50 == 0)
			if err == nil {
				coded.Arrival = codec.Now()
				p.WriteVideo(codec.Camera, coded)
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		done.Wait()
	})
}

// await polls until check holds: what it waits for is driven by the room's own
// clocks.
func await(t *testing.T, what string, check func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !check() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within 20 s", what)
		case <-poll.C:
		}
	}
}

func TestEachHearsAllOthersAndNotHimself(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	tones := []float64{440, 770, 1310}
	var ps []*Participant
	var cs []*client
	for i, hz := range tones {
		p, c := enter(t, r, fmt.Sprint("tone ", i))
		defer speak(t, p, hz, 100, 128, 128)()
		ps, cs = append(ps, p), append(cs, c)
	}
	for i, c := range cs {
		// Two seconds for gates to open and codecs to settle, then four to
		// measure: the longer, the less of the codec's noise falls on a tone.
		await(t, "six seconds of sound", func() bool {
			return locked(c, func() bool { return len(c.mu.pcm) > 6*codec.SampleRate })
		})
		pcm := locked(c, func() []int16 { return c.mu.pcm[2*codec.SampleRate : 6*codec.SampleRate] })
		own := audiotest.TonePower(pcm, tones[i])
		for j, hz := range tones {
			if j == i {
				continue
			}
			if db := own - audiotest.TonePower(pcm, hz); db > -40 {
				t.Errorf("client %d: its own tone is at %.1f dB of tone %d", i, db, j)
			}
		}
		last := locked(c, func() []codec.Contributor { return c.mu.heard[len(c.mu.heard)-1] })
		if len(last) != 2 {
			t.Errorf("client %d hears %v, want the two others", i, last)
		}
		for _, h := range last {
			if h.CSRC == ps[i].csrc {
				t.Errorf("client %d: its own CSRC is among those heard", i)
			}
		}
		if !ps[i].Info().Speaking {
			t.Errorf("client %d does not count as speaking", i)
		}
	}
}

func TestTimeIsOneLineForSoundAndPicture(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	p, c := enter(t, r, "")
	defer speak(t, p, 440, 80, 90, 240)()
	await(t, "a second of both", func() bool {
		return locked(c, func() bool { return len(c.mu.audioPTS) >= 50 && c.mu.pictures >= 30 })
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, pts := range c.mu.audioPTS {
		if pts%codec.FrameDuration != 0 || (i > 0 && pts <= c.mu.audioPTS[i-1]) {
			t.Fatalf("sound %d has PTS %v after %v", i, pts, c.mu.audioPTS[max(0, i-1)])
		}
	}
	for i, pts := range c.mu.videoPTS {
		if tick := math.Round(pts.Seconds() * 30); math.Abs(tick/30-pts.Seconds()) > 1e-6 {
			t.Fatalf("picture %d has PTS %v, which is no tick of 30 a second", i, pts)
		}
		if i > 0 && pts <= c.mu.videoPTS[i-1] {
			t.Fatalf("picture %d has PTS %v after %v", i, pts, c.mu.videoPTS[i-1])
		}
	}
	if d := c.mu.videoPTS[0] - c.mu.audioPTS[0]; d.Abs() > time.Second {
		t.Errorf("the first picture's PTS is %v off the first sound's", d)
	}
}

func TestOnePictureShowsEverybody(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	left, c := enter(t, r, "left")
	right, d := enter(t, r, "right")
	defer speak(t, left, 500, 80, 90, 240)()   // red
	defer speak(t, right, 900, 40, 240, 110)() // blue
	red := func(c *client) func() bool {
		return func() bool {
			return locked(c, func() bool { return c.mu.colour[2] > 200 && c.mu.colour[1] < 120 })
		}
	}
	await(t, "red on the left at one", red(c))
	await(t, "red on the left at the other", red(d))
	if info := r.Layout(); len(info.Tiles) != 2 || info.Tiles[0].Participant != left.ID() || info.Tiles[1].Participant != right.ID() {
		t.Errorf("layout %+v", info)
	}
	if s := locked(c, func() int { return len(c.mu.streams) }); s != 1 {
		t.Errorf("%d streams, want the one shared", s)
	}
	stats := m.Stats()
	tier := left.Info().Tier
	shared := stats.Renditions[RenditionKind{tier, codec.VP8}]
	if shared.Subscribers != 2 || tier.String() != "640x360@30" {
		t.Errorf("%d subscribers of %v, want 2 of the middle tier, with which all begin", shared.Subscribers, tier)
	}
	sent := locked(c, func() int { return c.mu.pictures })
	if shared.Encoded > uint64(sent)+30 {
		t.Errorf("%d pictures were encoded, and %d sent to each: each viewer has an encoder of its own", shared.Encoded, sent)
	}

	// He who is alone fills the picture.
	left.Leave(nil)
	await(t, "blue everywhere", func() bool {
		return locked(d, func() bool { return d.mu.colour[1] > 200 })
	})
}

func TestLimitsChooseTheTier(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	for _, c := range []struct {
		limits Limits
		want   string
	}{
		{Limits{}, "1280x720@30"},
		{Limits{MaxWidth: 1279}, "640x360@30"},
		{Limits{MaxHeight: 360}, "640x360@30"},
		{Limits{MaxFPS: 15}, "320x180@15"},
		{Limits{MaxBitrateBps: 700_000}, "640x360@30"},
		{Limits{MaxWidth: 1}, "320x180@15"},
	} {
		if got := r.main.shared().renditionFor(c.limits).Tier().String(); got != c.want {
			t.Errorf("%+v: tier %s, want %s", c.limits, got, c.want)
		}
	}
	p, err := r.Join(t.Context(), JoinRequest{Limits: Limits{NoVideo: true}})
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	p.Attach(c, all, all)
	p.Feedback(codec.Feedback{Link: codec.LinkUp})
	await(t, "sound", func() bool { return locked(c, func() bool { return len(c.mu.pcm) > codec.SampleRate/2 }) })
	if n := locked(c, func() int { return c.mu.pictures }); n != 0 {
		t.Errorf("%d pictures were sent to a client that wants none", n)
	}
}

func TestJoinIsRefused(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{MaxParticipants: 1})
	enter(t, r, "")
	_, err := r.Join(t.Context(), JoinRequest{})
	if !errors.Is(err, ErrRoomFull) || KindOf(err) != Conflict {
		t.Errorf("full room: %v", err)
	}
	yes := true
	if _, err := r.Update(t.Context(), RoomPatch{Locked: &yes}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Join(t.Context(), JoinRequest{}); !errors.Is(err, ErrRoomLocked) || KindOf(err) != Permission {
		t.Errorf("locked room: %v", err)
	}
	m.Drain()
	if _, err := r.Join(t.Context(), JoinRequest{}); !errors.Is(err, ErrDraining) || KindOf(err) != Unavailable {
		t.Errorf("draining: %v", err)
	}
	if _, err := m.CreateRoom(t.Context(), RoomConfig{ID: "other"}); !errors.Is(err, ErrDraining) {
		t.Errorf("draining: %v", err)
	}
}

func TestBadRoomsAreNamed(t *testing.T) {
	m := newManager(t)
	for field, rc := range map[string]RoomConfig{
		"/id":              {ID: "../etc"},
		"/metadata":        {ID: "r", Metadata: string(make([]byte, maxMetadataBytes+1))},
		"/maxParticipants": {ID: "r", MaxParticipants: -1},
		"/emptyTimeout":    {ID: "r", EmptyTimeout: -time.Second},
	} {
		_, err := m.CreateRoom(t.Context(), rc)
		var e *Error
		if !errors.As(err, &e) || e.Kind != Invalid || e.Field != field {
			t.Errorf("want Invalid at %s, got %v", field, err)
		}
	}
	if n := len(m.Rooms()); n != 0 {
		t.Errorf("%d rooms were made", n)
	}
}

func TestAttachAfterLeavingCloses(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	p, err := r.Join(t.Context(), JoinRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), p.ID(), errors.New("kicked")); err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	await(t, "the endpoint to be closed", func() bool {
		if locked(c, func() bool { return c.mu.closed > 0 }) {
			return true
		}
		p.Attach(c, all, all)
		return false
	})
	if _, err := r.Participant(p.ID()); KindOf(err) != NotFound {
		t.Errorf("who was removed is still there: %v", err)
	}
}

func TestRoomEndsWhenEmptyForLong(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{EmptyTimeout: 50 * time.Millisecond})
	p, _ := enter(t, r, "")
	await(t, "an active participant", func() bool { return p.Info().State == StateActive })
	p.Leave(nil)
	<-r.Done()
	await(t, "the room to be forgotten", func() bool { return len(m.Rooms()) == 0 })
	if _, err := r.Join(t.Context(), JoinRequest{}); KindOf(err) != Gone {
		t.Errorf("joining a room that has ended: %v", err)
	}
	if s := m.Stats(); s.AudioClock.Ticks == 0 || s.Rooms != 0 {
		t.Errorf("what the room did is not counted any more: %+v", s)
	}
}

func TestEmptyRoomsDoNotTick(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	p, c := enter(t, r, "")
	await(t, "sound", func() bool { return locked(c, func() bool { return len(c.mu.pcm) > 0 }) })
	p.Leave(nil)
	await(t, "the endpoint to be closed", func() bool { return locked(c, func() bool { return c.mu.closed == 1 }) })
	await(t, "an idle loop", func() bool { return r.snap.Load().members == 0 })
	r.heard.wait(r.snap.Load().seq)
	before := r.Stats()
	q, d := enter(t, r, "")
	await(t, "sound again", func() bool { return locked(d, func() bool { return len(d.mu.pcm) > codec.SampleRate/10 }) })
	q.Leave(nil)
	// Between the two nobody was there: the clock went on, uncounted.
	if after := r.Stats(); after.AudioClock.Skipped != before.AudioClock.Skipped {
		t.Errorf("%d ticks of an empty room count as skipped", after.AudioClock.Skipped-before.AudioClock.Skipped)
	}
}

func TestReconnectingKeepsTheTile(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	p, _ := enter(t, r, "")
	await(t, "the tile", func() bool { return len(r.Layout().Tiles) == 1 })
	p.Feedback(codec.Feedback{Link: codec.LinkLost})
	await(t, "reconnecting", func() bool { return p.Info().State == StateReconnecting })
	if len(r.Layout().Tiles) != 1 {
		t.Error("the tile is gone")
	}
	p.Feedback(codec.Feedback{Link: codec.LinkUp})
	await(t, "active again", func() bool { return p.Info().State == StateActive })
	p.PeerClosed(errors.New("vanished"))
	await(t, "an empty room", func() bool { return len(r.Participants()) == 0 && len(r.Layout().Tiles) == 0 })
}

func TestViewersAndPublishers(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	viewer, err := r.Join(t.Context(), JoinRequest{Role: RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	seen := newClient(t)
	viewer.Attach(seen, all, all)
	viewer.Feedback(codec.Feedback{Link: codec.LinkUp})
	// What a viewer sends all the same is thrown away.
	viewer.WriteAudio(codec.NewEncodedFrame(10))
	viewer.WriteVideo(codec.Camera, codec.NewEncodedFrame(10))

	publisher, err := r.Join(t.Context(), JoinRequest{Role: RolePublisher})
	if err != nil {
		t.Fatal(err)
	}
	sent := newClient(t)
	publisher.Attach(sent, all, Media{})
	publisher.Feedback(codec.Feedback{Link: codec.LinkUp})
	defer speak(t, publisher, 600, 80, 90, 240)()
	await(t, "the publisher's picture at the viewer", func() bool {
		return locked(seen, func() bool { return seen.mu.colour[2] > 200 })
	})
	await(t, "the publisher's tone at the viewer", func() bool {
		return locked(seen, func() bool {
			n := len(seen.mu.pcm)
			return n > codec.SampleRate && audiotest.TonePower(seen.mu.pcm[n-codec.SampleRate/2:], 600) > -30
		})
	})
	if n := len(r.Layout().Tiles); n != 1 {
		t.Errorf("%d tiles, want the publisher's alone", n)
	}
	if locked(sent, func() bool { return len(sent.mu.pcm) > 0 || sent.mu.pictures > 0 }) {
		t.Error("the publisher was sent something")
	}
}

func TestChurnLeavesNothing(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	stays, c := enter(t, r, "stays")
	defer speak(t, stays, 500, 80, 90, 240)()
	await(t, "a picture", func() bool { return locked(c, func() bool { return c.mu.pictures > 0 }) })
	var clients []*client
	for i := range 30 {
		p, d := enter(t, r, fmt.Sprint("guest ", i))
		if i%3 != 0 { // some leave before they were ever in
			await(t, "a picture", func() bool { return locked(d, func() bool { return d.mu.pictures > 0 }) })
		}
		p.Leave(nil)
		clients = append(clients, d)
	}
	await(t, "one participant", func() bool { return len(r.Participants()) == 1 })
	for i, d := range clients {
		await(t, "the endpoint to be closed", func() bool { return locked(d, func() bool { return d.mu.closed > 0 }) })
		if n := locked(d, func() int { return d.mu.closed }); n != 1 {
			t.Errorf("endpoint %d was closed %d times", i, n)
		}
	}
	if used, most := r.frames.Used(), int64(20*codec.VideoFrameBytes(1280, 720)); used > most {
		t.Errorf("%d bytes of pictures for one participant, want at most %d", used, most)
	}
}

func TestRecordingHoldsTheMix(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	p, c := enter(t, r, "")
	defer speak(t, p, 500, 80, 90, 240)()
	await(t, "a picture", func() bool { return locked(c, func() bool { return c.mu.pictures > 0 }) })
	rec, err := r.StartRecording(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.StartRecording(t.Context()); !errors.Is(err, ErrAlreadyRunning) {
		t.Errorf("a second recording: %v", err)
	}
	if got := r.Info().Recording; got != rec.ID {
		t.Errorf("the room says that it is recorded as %q, want %q", got, rec.ID)
	}
	start := locked(c, func() int { return len(c.mu.audioPTS) })
	await(t, "two seconds", func() bool { return locked(c, func() bool { return len(c.mu.audioPTS) > start+100 }) })
	p.Leave(nil) // the recording ends with the last participant
	await(t, "the recording's end", func() bool {
		info, err := m.cfg.Recordings.Get(rec.ID)
		return err == nil && info.State == record.Complete
	})
	info, err := m.cfg.Recordings.Get(rec.ID)
	if err != nil || info.Duration < time.Second || info.Bytes == 0 {
		t.Errorf("recording %+v, %v", info, err)
	}
	await(t, "the mark to be gone", func() bool { return r.Info().Recording == "" })
}

func TestDeleteRoomDisconnectsEverybody(t *testing.T) {
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	_, c := enter(t, r, "")
	await(t, "sound", func() bool { return locked(c, func() bool { return len(c.mu.pcm) > 0 }) })
	if err := m.DeleteRoom(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	if n := locked(c, func() int { return c.mu.closed }); n != 1 {
		t.Errorf("the endpoint was closed %d times", n)
	}
	if _, err := m.Room("test"); KindOf(err) != NotFound {
		t.Errorf("the room is still there: %v", err)
	}
	if err := m.DeleteRoom(t.Context(), "test"); KindOf(err) != NotFound {
		t.Errorf("deleting it twice: %v", err)
	}
	if _, err := m.CreateRoom(t.Context(), RoomConfig{ID: "test"}); err != nil {
		t.Errorf("the name cannot be used again: %v", err)
	}
	_ = r
}
