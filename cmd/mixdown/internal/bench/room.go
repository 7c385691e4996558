package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
)

// tailSeconds is how much of what talkers heard is decoded at most, to look for
// themselves in it: the longer, the less coding noise is in the way.
const tailSeconds = 120

// Room runs one measurement. It takes Duration, Latency and half a minute more.
func Room(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	logf := func(format string, args ...any) { fmt.Fprintf(cfg.Log, "bench: "+format+"\n", args...) }
	srv, err := running(ctx, cfg)
	if err != nil {
		return nil, err
	}
	logf("making %d streams", cfg.Participants)
	all, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	work := &floorWork{}
	var before, after Floor
	var paced float64
	expected := all.films(func(m *member) *clip.Clip { return m.expected(cfg, cfg.Participants) })
	measureFloor := func(films []*clip.Clip) (err error) {
		if work, err = newFloorWork(cfg, all.participants(), films); err != nil {
			return err
		}
		if before, err = work.measure(); err != nil {
			return err
		}
		paced, err = work.paced()
		return err
	}
	if !cfg.noFloor {
		if err := measureFloor(expected); err != nil {
			return nil, err
		}
	}
	if srv == nil {
		data, err := os.MkdirTemp("", "mixdown-bench-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(data)
		if srv, err = startServer(ctx, cfg.Executable, data, cfg.Log); err != nil {
			return nil, err
		}
	}
	m := &measurement{cfg: cfg, cast: all, srv: srv, logf: logf}
	err = m.run(ctx)
	if err = errors.Join(err, srv.stop()); err != nil {
		return nil, err
	}
	if !cfg.noFloor {
		// What was not foreseen is measured twice after the run.
		if !slices.Equal(m.films, expected) {
			logf("others were asked for than expected: the floor is measured again")
			if err := measureFloor(m.films); err != nil {
				return nil, err
			}
		}
		if after, err = work.measure(); err != nil {
			return nil, err
		}
	}
	r := evaluate(cfg, all.members, &m.witness, m.start, m.end)
	r.TopTier, r.Requests = m.top, m.requests
	r.compare(before, after, paced)
	return r, m.judge(r)
}

// measurement is one run, and what is known once it is over.
type measurement struct {
	cfg     Config
	cast    *cast
	srv     *server
	room    roomURLs
	cert    *client.Certificate
	logf    func(string, ...any)
	witness witness

	top          *TopTier // nil when it was not waited for
	start, end   snapshot
	films        []*clip.Clip // that participants sent at end; nil of those who sent none
	requests     *Requests    // nil: none
	first, later *marked      // the two phases; later is nil without Latency
}

// run joins everybody, watches for Duration and Latency, and has everybody
// leave.
func (m *measurement) run(ctx context.Context) (err error) {
	if m.room, err = urlsOf(m.srv.url); err != nil {
		return err
	}
	m.room.personal = m.cfg.Arrangement.personal()
	if err := m.room.makeRoom(ctx, m.cfg); err != nil {
		return err
	}
	if m.cert, err = client.NewCertificate(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() {
		cancel()
		for _, c := range m.cast.everybody() {
			if c.client != nil {
				err = errors.Join(err, <-c.result)
			}
		}
	}()
	if err := m.join(ctx, m.cast.members); err != nil {
		return err
	}
	m.logf("%d joined", len(m.cast.members))
	joined := time.Now()
	if m.cfg.Climb > 0 && !m.cfg.AudioOnly {
		if m.top, err = m.climb(ctx); err != nil {
			return err
		}
	}
	warmup := m.cfg.Warmup
	if m.cfg.Uplink && !m.cfg.AudioOnly {
		warmup = max(warmup, uplinkSettles-time.Since(joined))
	}
	m.cast.talkInTurns()
	m.logf("warming up for %v", warmup.Round(time.Second))
	wg.Go(func() { m.witness.run(ctx) })
	if err := wait(ctx, warmup); err != nil {
		return err
	}
	if err := m.load(ctx); err != nil {
		return err
	}
	if m.cfg.Latency == 0 {
		return nil
	}
	return m.markers(ctx)
}

// uplinkSettles is when all are asked for no more than they are shown at: eight
// seconds after their tiles have shrunk, and they may be asked once in two.
const uplinkSettles = 11 * time.Second

// films are the participants' pictures; nil of those who have none.
func (c *cast) films(of func(*member) *clip.Clip) (list []*clip.Clip) {
	for _, m := range c.participants() {
		var film *clip.Clip
		if m.video != nil {
			film = of(m)
		}
		list = append(list, film)
	}
	return list
}

// sideBySide is how many join at once: enough that hundreds take no minutes, few
// enough that each finds the server answering.
const sideBySide = 8

// join brings some in, the first of them one after the other, so that tiles
// have the order of the participants.
func (m *measurement) join(ctx context.Context, members []*member) error {
	var g errgroup.Group
	g.SetLimit(sideBySide)
	for i, c := range members {
		in := func() error {
			if err := c.join(ctx, m.room, m.cert, m.cfg); err != nil {
				return err
			}
			return c.connected(ctx, m.cfg, joinTimeout)
		}
		if i >= 2*sideBySide {
			g.Go(in)
		} else if err := in(); err != nil {
			return err
		}
	}
	return g.Wait()
}

const joinTimeout = 20 * time.Second

// load is the first phase: the room as it was ordered.
func (m *measurement) load(ctx context.Context) error {
	members := m.cast.members
	before, err := m.top.count(ctx, m.room, m.cast.members)
	if err != nil {
		return err
	}
	m.logf("measuring for %v", m.cfg.Duration)
	m.start = take(ctx, m.srv, members)
	beside, err := m.ask(ctx)
	if err != nil {
		return err
	}
	defer beside.end()
	tail := min(m.cfg.Duration, tailSeconds*time.Second)
	if err := wait(ctx, m.cfg.Duration-tail); err != nil {
		return err
	}
	m.cast.begin(false)
	for _, c := range members {
		if _, ok := c.probe(m.cfg.Talkers); ok {
			c.keepSound.Store(true)
		}
	}
	if err := wait(ctx, tail); err != nil {
		return err
	}
	m.end = take(ctx, m.srv, members)
	m.requests = beside.end()
	m.films = m.cast.films(func(c *member) *clip.Clip { return c.video.playing() })
	after, err := m.top.count(ctx, m.room, members)
	if err != nil {
		return err
	}
	if m.top != nil {
		m.top.AtStart, m.top.AtEnd = before, after
	}
	if m.first, err = m.cast.end(ctx, m.room); err != nil {
		return err
	}
	return errors.Join(append(leavers(members), m.start.err, m.end.err)...)
}

// markers is the second phase: nobody talks any more, and markers sound.
func (m *measurement) markers(ctx context.Context) (err error) {
	for _, c := range m.cast.participants() {
		switch {
		case c.beep != nil:
			c.audio.exchange(m.cast.steady, 0)
		case c.talks:
			c.audio.exchange(m.cast.quiet, 0)
		}
	}
	if err := m.join(ctx, slices.Concat(m.cast.beacons, m.cast.late)); err != nil {
		return err
	}
	var file *recorded
	if m.cfg.records() && !m.room.given {
		if file, err = m.room.record(ctx); err != nil {
			return err
		}
	}
	m.logf("measuring latency for %v", m.cfg.Latency)
	m.cast.begin(true)
	begin := codec.Now() + settle
	for i, c := range m.cast.turns() {
		if c != nil {
			c.audio.watch(true)
			c.audio.exchange(c.beep.clip, begin+time.Duration(i)*beaconSlot)
		}
	}
	if err := wait(ctx, m.cfg.Latency+settle+soundAfter); err != nil {
		return err
	}
	if m.later, err = m.cast.end(ctx, m.room); err != nil {
		return err
	}
	if m.later.file = file; file != nil {
		if err := m.room.finish(ctx, file); err != nil {
			return err
		}
	}
	return errors.Join(leavers(m.cast.everybody())...)
}

// settle is how long the room is left alone before the first marker: the last
// words have to be over, and every jitter buffer has to have seen its sender.
const settle = 2 * time.Second

// leavers are the faults of those who are not there any more.
func leavers(members []*member) (faults []error) {
	for _, c := range members {
		if err := c.left(); err != nil {
			faults = append(faults, err)
		}
	}
	return faults
}

// judge fills in what has to be decoded, which would have disturbed the run.
func (m *measurement) judge(r *Result) (err error) {
	if err := r.judgeOwnVoice(m.cast.participants(), m.first.got); err != nil {
		return err
	}
	if m.cfg.Latency == 0 {
		return nil
	}
	if r.PictureLatency, err = m.first.pictureLatency(m.cfg.Video, &m.witness); err != nil {
		return err
	}
	f, err := m.later.soundFigures(m.cfg.Video, &m.witness)
	r.SoundLatency, r.OwnMarkerBelowDB = f.latency, minMedian(f.ownBelow)
	r.Skew, r.SkewPoor, r.SkewLate, r.SkewRecorded = f.skews.Healthy, f.skews.Poor, f.skews.Late, f.skews.Recorded
	return err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// snapshot is everything that counts at one instant.
type snapshot struct {
	at      time.Duration // codec.Now
	server  usage
	own     time.Duration
	clients []client.Stats
	metrics series
	err     error
}

func take(ctx context.Context, srv *server, members []*member) snapshot {
	s := snapshot{metrics: srv.scrape(ctx)}
	s.at = codec.Now()
	s.server, s.err = readUsage(srv.pid)
	s.own = ownCPU()
	for _, m := range members {
		s.clients = append(s.clients, m.client.Stats())
	}
	return s
}

// machine describes where this ran.
func machine() string {
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d x %s, %s", runtime.NumCPU(), model, runtime.Version())
}
