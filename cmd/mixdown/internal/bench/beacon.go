package bench

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"mixdown/codec"
	"mixdown/mixer/layout"
)

// The latency of sound is measured with beacons: so many senders who sound a
// marker in turn, one every beaconSlot. Their media clocks drift apart, evenly up
// to maxDriftPPM both ways; the fastest has the first turn, so that they do not
// run into each other. Between the last and the first one beaconRest turns are
// left free.
const (
	beaconCount = 20
	beaconSlot  = 200 * time.Millisecond
	beaconRest  = 3
	maxDriftPPM = 300
)

func beaconDrift(i int) float64 {
	return maxDriftPPM - 2*maxDriftPPM*float64(i)/(beaconCount-1)
}

// turns returns who sounds a marker, in order, nil being nobody: the beacons, and
// in their middle, where clocks are right, those who have a picture to go with it,
// or are watched for whether they hear themselves. These have silence before and
// after.
func (c *cast) turns() []*member {
	half := len(c.beacons) / 2 // of none, when latency is not measured
	t := append([]*member(nil), c.beacons[:half]...)
	for _, m := range slices.Concat(c.participants(), c.late) {
		if m.numbered || m.reads {
			t = append(t, nil, m)
		}
	}
	t = append(append(t, nil), c.beacons[half:]...)
	return append(t, make([]*member, beaconRest)...)
}

// makeBeeps gives everybody a marker whose turn comes. Where in a packet it
// begins is random, but the same in each run.
func (c *cast) makeBeeps() error {
	turns := c.turns()
	length := time.Duration(len(turns)) * beaconSlot
	rng := rand.New(rand.NewPCG(1, 0x626561636f6e))
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for i, m := range turns {
		offset := rng.IntN(codec.FrameSamples)
		if m != nil {
			g.Go(func() (err error) {
				m.beep, err = makeBeep(i, offset, length)
				return err
			})
		}
	}
	return g.Wait()
}

// marked is what one phase of a run gave that was looked at for markers.
type marked struct {
	where tiles             // of the canvas that all share
	own   map[*member]tiles // of those who have canvases of their own
	// until is when the last marker was sent that could still be heard.
	until    time.Duration
	got      map[*member]received
	pictures map[*member][]sent // by those whose pictures are numbered
	sounds   map[*member][]sent // by those who beep
	file     *recorded          // what was recorded meanwhile; nil for nothing
}

// begin has markers watched for from here on: pictures, and in the second phase
// everybody's sound. It asks for a key frame, without which what comes could
// not be decoded.
func (c *cast) begin(sound bool) {
	for _, m := range c.readers() {
		if m.client == nil {
			continue // he is not there yet
		}
		m.client.RequestKeyframe()
		m.keepPictures.Store(true)
		if sound {
			m.keepSound.Store(true)
		}
	}
	for _, m := range slices.Concat(c.members, c.late) {
		if m.numbered && m.client != nil {
			m.video.watch(true)
		}
	}
}

// end takes what came since begin, from everybody who kept it.
func (c *cast) end(ctx context.Context, room roomURLs) (*marked, error) {
	r := &marked{got: make(map[*member]received), pictures: make(map[*member][]sent), sounds: make(map[*member][]sent)}
	for _, m := range slices.Concat(c.members, c.late) {
		if m.numbered && m.client != nil {
			m.video.watch(false)
			r.pictures[m] = m.video.taken()
		}
	}
	for _, m := range c.turns() {
		if m != nil {
			m.audio.watch(false)
			r.sounds[m] = m.audio.taken()
		}
	}
	for _, m := range slices.Concat(c.members, c.late) {
		r.got[m] = m.take()
	}
	r.until = codec.Now() - soundAfter
	if len(r.pictures) == 0 {
		return r, nil
	}
	var err error
	if r.where, err = room.layout(ctx); err == nil && room.personal {
		r.own, err = room.layoutsOf(ctx, c.readers())
	}
	return r, err
}

// take returns what the member has kept, and stops him keeping more.
func (m *member) take() received {
	m.keepSound.Store(false)
	m.keepPictures.Store(false)
	m.mu.Lock()
	defer m.mu.Unlock()
	got := m.got
	m.got = received{}
	return got
}

// pictureLatency is what the first phase is for.
func (r *marked) pictureLatency(source layout.Canvas, w *witness) (*Latency, error) {
	var all readings
	views, err := r.views(source, &all)
	if err != nil {
		return nil, err
	}
	for _, byName := range views {
		for m, log := range r.pictures {
			if m.impaired {
				continue // his link is what would be measured
			}
			watchPictures(&all, byName[m.name()], log, w)
		}
	}
	return all.latency(), nil
}

// views reads the numbers that every reader saw.
func (r *marked) views(source layout.Canvas, count *readings) (map[*member]map[string][]sighting, error) {
	var names []string
	for m := range r.pictures {
		names = append(names, m.name())
	}
	views := make(map[*member]map[string][]sighting)
	for reader, got := range r.got {
		if len(got.pictures) == 0 || len(names) == 0 {
			continue
		}
		where, ok := r.own[reader]
		if !ok {
			where = r.where
		}
		v, unread, err := numbers(got.pictures, where, names, source)
		if err != nil {
			return nil, err
		}
		views[reader] = v
		count.missed += unread
	}
	return views, nil
}

// soundFigures is what the second phase is for.
type soundFigures struct {
	latency *Latency
	skews   Skews
	// ownBelow is how far one's own marker lies below what the others hear of it,
	// in dB, for each time.
	ownBelow []float64
}

func (r *marked) soundFigures(source layout.Canvas, w *witness) (f soundFigures, err error) {
	var all, unread readings
	views, err := r.views(source, &unread)
	if err != nil {
		return f, err
	}
	var healthy, poor, joined skewReadings
	for reader, got := range r.got {
		if !reader.reads || len(got.sound) == 0 {
			continue
		}
		t, err := newTimeline(got.sound)
		if err != nil {
			return f, err
		}
		for m, log := range r.sounds {
			if m == reader {
				f.ownBelow = append(f.ownBelow, ownMarkers(t, m.beep, log, r.until, w)...)
				continue
			}
			found, missed := listen(t, m.beep, log, r.until)
			if !m.impaired {
				all.miss(missed, w)
				for _, h := range found {
					all.add(h.in, h.out, w)
				}
			}
			if m.numbered {
				to := &healthy
				if m.impaired {
					to = &poor
				} else if m.role == late || reader.role == late {
					to = &joined
				}
				to.add(skewOf(found, views[reader][m.name()], r.pictures[m], w))
			}
		}
	}
	f.skews = Skews{Healthy: healthy.skew(), Poor: poor.skew(), Late: joined.skew()}
	f.latency = all.latency()
	if r.file != nil {
		f.skews.Recorded, err = r.recordedSkew(views, source, w)
	}
	return f, err
}
