package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/codec"
	"mixdown/mixer/layout"
)

// ChurnConfig says who comes and goes.
type ChurnConfig struct {
	// Room is the room; its Participants stay from beginning to end, talk, and must
	// not notice anything. Of the times only Warmup and Climb are used.
	Room Config
	// Joins is how many join within Within, evenly, and leave together.
	Joins  int
	Within time.Duration
	// Cycles is how often, after that, somebody joins and leaves; Lanes of them do
	// so at a time. 0 cycles leaves that out.
	Cycles, Lanes int
}

// Bounds of a ChurnConfig. Joins and cycles end up in one room of 49 tiles.
const (
	maxJoins  = 500
	maxCycles = 100_000
	maxLanes  = 32
)

// Validate reports everything that is wrong, by the names of the flags.
func (c *ChurnConfig) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Room.Participants < 1 || c.Room.Participants > len(tints) {
		fault("%d stay: want 1..%d", c.Room.Participants, len(tints))
	}
	if c.Joins < 1 || c.Joins > maxJoins {
		fault("%d joins: want 1..%d", c.Joins, maxJoins)
	}
	if c.Within < 0 || c.Within > time.Minute {
		fault("within %v: want 0s..1m", c.Within)
	}
	if c.Cycles < 0 || c.Cycles > maxCycles {
		fault("%d cycles: want 0..%d", c.Cycles, maxCycles)
	}
	if c.Lanes < 1 || c.Lanes > maxLanes {
		fault("%d lanes: want 1..%d", c.Lanes, maxLanes)
	}
	if c.Room.AudioOnly || c.Room.URL != "" {
		fault("churn is measured with pictures, on a server of its own")
	}
	room := c.room()
	return errors.Join(append(faults, room.Validate())...)
}

// room is Room with what is not to be chosen.
func (c *ChurnConfig) room() Config {
	r := c.Room.withDefaults()
	r.Participants = max(r.Participants, 1)
	r.Talkers, r.Latency, r.Duration = r.Participants, 0, time.Second
	return r
}

// Churn measures what coming and going costs. It takes Within, about a second
// for each cycle of a lane, and half a minute more.
func Churn(ctx context.Context, cfg ChurnConfig) (result *ChurnResult, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Room = cfg.room()
	c := &churn{cfg: cfg, logf: func(format string, args ...any) { fmt.Fprintf(cfg.Room.Log, "bench: "+format+"\n", args...) }}
	if err := c.prepare(); err != nil {
		return nil, err
	}
	data, err := os.MkdirTemp("", "mixdown-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(data)
	if c.m.srv, err = startServer(ctx, cfg.Room.Executable, data, cfg.Room.Log); err != nil {
		return nil, err
	}
	err = c.run(ctx)
	if err = errors.Join(err, c.m.srv.stop()); err != nil {
		return nil, err
	}
	return c.result, c.judge()
}

// churn is one run.
type churn struct {
	cfg     ChurnConfig
	logf    func(string, ...any)
	streams *streams
	stayers []*member
	m       measurement // the room, and those who stay
	result  *ChurnResult

	joiners      []*member // of the burst
	burst, cycle span      // when the two were
	seen         []seenPicture
	firsts       []time.Duration // of the cycles; under mu
	mu           sync.Mutex
}

// span is from when to when, on the process's clock.
type span struct{ from, to time.Duration }

// prepare makes what everybody sends.
func (c *churn) prepare() error {
	room := c.cfg.Room
	c.streams = newStreams(room)
	for i := range room.Participants {
		m := &member{index: i, talks: true, result: make(chan error, 1)}
		speech, err := c.streams.speech(i, 0)
		if err != nil {
			return err
		}
		film, err := tints[i].film(room.Video)
		if err != nil {
			return err
		}
		m.audio, m.video = newSender(speech), newSender(film)
		c.stayers = append(c.stayers, m)
	}
	var g errgroup.Group
	for i := range min(clipCount, max(c.cfg.Joins, c.cfg.Lanes)) {
		g.Go(func() error {
			_, err := c.streams.video(i, false)
			return err
		})
	}
	c.m = measurement{cfg: room, cast: &cast{members: c.stayers}, logf: c.logf}
	c.result = &ChurnResult{
		Machine: machine(), Stay: room.Participants, Video: room.Video.String(), Canvas: room.Canvas.String(),
		Burst: Burst{Joins: c.cfg.Joins, Seconds: c.cfg.Within.Seconds()},
	}
	return g.Wait()
}

// newcomer is the i-th who joins: silent, with a picture.
func (c *churn) newcomer(i int) (*member, error) {
	film, err := c.streams.video(i, false)
	if err != nil {
		return nil, err
	}
	quiet, err := c.streams.silence(false)
	if err != nil {
		return nil, err
	}
	m := &member{index: len(c.stayers) + i, result: make(chan error, 1), audio: newSender(quiet), video: newSender(film)}
	m.keepFirst = firstPictures
	return m, nil
}

// firstPictures are kept of who joins, to see which is the first that can be
// decoded.
const firstPictures = 5

// run is all that happens while the server runs.
func (c *churn) run(ctx context.Context) (err error) {
	if c.m.room, err = urlsOf(c.m.srv.url); err != nil {
		return err
	}
	room := c.cfg.Room
	room.Viewers += max(c.cfg.Joins, c.cfg.Lanes) // who may be there at a time
	if err := c.m.room.makeRoom(ctx, room); err != nil {
		return err
	}
	if c.m.cert, err = client.NewCertificate(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() {
		cancel()
		for _, m := range append(slices.Clone(c.stayers), c.joiners...) {
			if m.client != nil {
				err = errors.Join(err, <-m.result)
			}
		}
	}()
	if err := c.m.join(ctx, c.stayers); err != nil {
		return err
	}
	if room.Climb > 0 {
		if c.m.top, err = c.m.climb(ctx); err != nil {
			return err
		}
		if c.m.top.AtStart, err = c.m.top.count(ctx, c.m.room, c.stayers); err != nil {
			return err
		}
	}
	wg.Go(func() { c.m.witness.run(ctx) })
	c.stayers[0].client.RequestKeyframe() // without which nothing could be decoded
	c.stayers[0].keepPictures.Store(true)
	if err := wait(ctx, max(room.Warmup, time.Second)); err != nil {
		return err
	}
	if err := c.joinAll(ctx); err != nil {
		return err
	}
	if c.cfg.Cycles > 0 {
		if err := c.cycles(ctx); err != nil {
			return err
		}
	}
	if c.m.top != nil {
		if c.m.top.AtEnd, err = c.m.top.count(ctx, c.m.room, c.stayers); err != nil {
			return err
		}
	}
	c.seen = c.stayers[0].take().pictures
	return errors.Join(leavers(c.stayers)...)
}

// afterwards is how long is watched when all have joined, and when they have
// left.
const afterwards = time.Second

// joinAll is the burst.
func (c *churn) joinAll(ctx context.Context) error {
	c.logf("%d join within %v", c.cfg.Joins, c.cfg.Within)
	inner, leave := context.WithCancel(ctx)
	defer leave()
	before := c.m.srv.scrape(ctx)
	c.burst.from = codec.Now()
	var g errgroup.Group
	for i := range c.cfg.Joins {
		m, err := c.newcomer(i)
		if err != nil {
			return err
		}
		c.joiners = append(c.joiners, m)
		if err := wait(ctx, c.burst.from+c.cfg.Within*time.Duration(i)/time.Duration(c.cfg.Joins)-codec.Now()); err != nil {
			return errors.Join(err, g.Wait())
		}
		if err := m.join(inner, c.m.room, c.m.cert, c.cfg.Room); err != nil {
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error { return m.connected(inner, c.cfg.Room, joinTimeout) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	b := &c.result.Burst
	b.Span = (codec.Now() - c.burst.from).Seconds()
	d := c.m.srv.scrape(ctx).since(before)
	b.Keyframes = d.by("tier", "mixdown_rendition_keyframes_total")
	b.Dropped = d.by("queue", "mixdown_queue_dropped_total")
	if n := d.sum("mixdown_rendition_rate_dropped_total"); n > 0 {
		b.Dropped["rate control"] = n
	}
	if err := wait(ctx, afterwards); err != nil {
		return err
	}
	// Decoded while they leave: each keeps a handful.
	leave()
	for _, m := range c.joiners {
		if err := <-m.result; err != nil {
			return err
		}
		m.result <- nil // for run
	}
	if err := wait(ctx, afterwards); err != nil {
		return err
	}
	c.burst.to = codec.Now()
	return nil
}

// cycles is the joining and leaving.
func (c *churn) cycles(ctx context.Context) (err error) {
	r := &Cycles{Cycles: c.cfg.Cycles, Lanes: c.cfg.Lanes}
	c.result.Cycles = r
	c.logf("%d join and leave, %d at a time", c.cfg.Cycles, c.cfg.Lanes)
	// Pools, caches and the heap grow to their size first.
	if err := c.lanes(ctx, max(4*c.cfg.Lanes, c.cfg.Cycles/4)); err != nil {
		return err
	}
	if r.Before, err = c.m.srv.settled(ctx, 0); err != nil {
		return err
	}
	c.firsts = nil
	c.cycle.from = codec.Now()
	if err := c.lanes(ctx, c.cfg.Cycles); err != nil {
		return err
	}
	c.cycle.to = codec.Now()
	r.Seconds = (c.cycle.to - c.cycle.from).Seconds()
	r.FirstPictureMs = spreadOf(c.firsts)
	r.After, err = c.m.srv.settled(ctx, r.Before.Goroutines)
	return err
}

// lanes has n join and leave.
func (c *churn) lanes(ctx context.Context, n int) error {
	var g errgroup.Group
	g.SetLimit(c.cfg.Lanes)
	for i := range n {
		g.Go(func() error {
			if err := c.comeAndGo(ctx, i%c.cfg.Lanes); err != nil {
				return fmt.Errorf("cycle %d of %d: %w", i+1, n, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// comeAndGo is one cycle.
func (c *churn) comeAndGo(ctx context.Context, i int) error {
	m, err := c.newcomer(i)
	if err != nil {
		return err
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	if err := m.join(ctx, c.m.room, c.m.cert, c.cfg.Room); err != nil {
		return err
	}
	err = m.connected(ctx, c.cfg.Room, joinTimeout)
	leave()
	if err = errors.Join(err, <-m.result); err != nil {
		return err
	}
	first, err := m.firstDecoded()
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.firsts = append(c.firsts, first)
	c.mu.Unlock()
	return nil
}

// judge fills in what has to be decoded.
func (c *churn) judge() error {
	b := &c.result.Burst
	var pictures, sounds []time.Duration
	for _, m := range c.joiners {
		first, err := m.firstDecoded()
		if err != nil {
			return err
		}
		pictures, sounds = append(pictures, first), append(sounds, m.client.Stats().AudioReceived.First)
	}
	b.FirstPictureMs, b.FirstSoundMs = spreadOf(pictures), spreadOf(sounds)
	people := c.cfg.Room.Participants + max(c.cfg.Joins, c.cfg.Lanes)
	looks, undecodable, err := look(c.seen, tints[:len(c.stayers)])
	if err != nil {
		return err
	}
	b.Stayers = c.undisturbed(c.burst, looks, undecodable, leastShare(people))
	b.ClosestMs = closest(c.seen, c.burst)
	if c.result.Cycles != nil {
		c.result.Cycles.Stayers = c.undisturbed(c.cycle, looks, undecodable, leastShare(people))
	}
	c.result.TopTier = c.m.top
	var worst time.Duration
	c.result.WitnessLate, worst = c.m.witness.between(c.burst.from, max(c.burst.to, c.cycle.to))
	c.result.WitnessWorstMs = ms(worst)
	return nil
}

// undisturbed sums up what those who stay noticed in a span.
func (c *churn) undisturbed(s span, looks []tintLook, undecodable []time.Duration, least float64) Undisturbed {
	var u Undisturbed
	for _, m := range c.stayers {
		c.longest(m.client.PictureGaps(s.from, s.to), &u.PictureGapMs, &u.PictureGapUnexcusedMs)
		c.longest(m.client.AudioGaps(s.from, s.to), &u.SoundGapMs, &u.SoundGapUnexcusedMs)
	}
	var freezes []client.Gap
	u.Decoded, u.Black, freezes = judgeLooks(looks, len(c.stayers), s, least)
	c.longest(freezes, &u.FreezeMs, &u.FreezeUnexcusedMs)
	for _, at := range undecodable {
		if at > s.from && at <= s.to {
			u.Undecodable++
		}
	}
	return u
}

// longest raises all to the longest of the gaps, and unexcused to the longest
// during which the machine was not late.
func (c *churn) longest(gaps []client.Gap, all, unexcused *float64) {
	for _, g := range gaps {
		*all = max(*all, ms(g.Length))
		if !c.m.witness.excuses(g) {
			*unexcused = max(*unexcused, ms(g.Length))
		}
	}
}

// closest returns the least time between two key frames, in milliseconds.
func closest(pictures []seenPicture, s span) float64 {
	least, last := time.Duration(0), time.Duration(0)
	for _, p := range pictures {
		if !p.key || p.arrival <= s.from || p.arrival > s.to {
			continue
		}
		if d := p.arrival - last; last > 0 && (least == 0 || d < least) {
			least = d
		}
		last = p.arrival
	}
	return ms(least)
}

// leastShare of a picture is what a tile must cover at least, among so many: of
// its place in a square grid less than half.
func leastShare(people int) float64 {
	side := 1
	for side*side < min(people, layout.MaxTiles) {
		side++
	}
	return 0.4 / float64(side*side)
}
