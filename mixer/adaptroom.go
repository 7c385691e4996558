package mixer

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/codec/h264/nal"
	"mixdown/mixer/video"
)

const (
	// adaptEvery is how often one client is looked at at most: what falls twice
	// within it falls once.
	adaptEvery = 50 * time.Millisecond
	// adaptSeldom is how often at least, give or take a sweep.
	adaptSeldom = 700 * time.Millisecond
)

// viewing is what a participant is sent, and what his connection says of the
// way there.
type viewing struct {
	// Written by the connection.
	said struct {
		sync.Mutex
		path
	}
	below, above atomic.Int64 // estimates beyond these are looked at at once
	blind        atomic.Bool  // and each report, for want of an estimate
	fresh        atomic.Bool  // to be looked at
	keys         keyBudget

	// The control loop's own.
	policy *adapter           // nil before the first picture
	rungs  []*video.Rendition // the policy's
	feed   *feed              // of Participant.subscription
	// before is what the client was sent before, which goes on until the feed
	// has begun; nil when it has.
	before *video.Subscription
	looked time.Duration
	paced  struct{ now, next int }
}

// hear takes what the connection says, and reports whether the control loop
// should look at it at once: otherwise it does so within a second.
func (v *viewing) hear(fb *codec.Feedback) bool {
	if !fb.Report && fb.EstimateBps == 0 {
		return false
	}
	v.said.Lock()
	said := &v.said.path
	if fb.Report || fb.QueueDelay != 0 {
		said.queue = fb.QueueDelay
	}
	if fb.EstimateBps != 0 {
		said.estimateBps = fb.EstimateBps
		said.unprobed = fb.Unprobed
	}
	if fb.Report {
		said.reports++
		said.loss, said.rtt = fb.LossFraction, fb.RTT
	}
	v.said.Unlock()
	est := int64(fb.EstimateBps)
	if fb.Report && v.blind.Load() || est != 0 && (est < v.below.Load() || est > v.above.Load()) {
		return !v.fresh.Swap(true)
	}
	return false
}

// path is what the connection has said.
func (v *viewing) path() path {
	v.said.Lock()
	defer v.said.Unlock()
	return v.said.path
}

// A feed is what takes the pictures of one rendition to a client's connection.
// It stands between the two so that the control loop learns when a switch is
// complete, and so that a client whose link loses all it is sent does not have
// a key frame made for everybody three times a second.
type feed struct {
	sink  Sink
	keys  *keyBudget
	room  *Room
	begun atomic.Bool // the connection has taken its key frame
	next  atomic.Pointer[feed]
}

// WriteVideo implements video.VideoSink.
func (f *feed) WriteVideo(frame *codec.EncodedFrame) codec.Verdict {
	next := f.next.Load()
	if next != nil && next.begun.Load() {
		return codec.Dropped // the control loop is about to close this one
	}
	verdict := f.sink.WriteVideo(frame)
	switch {
	case verdict == codec.Sent && !f.begun.Load():
		f.begun.Store(true)
		f.room.wake()
	case verdict == codec.NeedKey && (next != nil || !f.keys.allow(codec.Now())):
		// The next stream begins with one; or somebody else gets one some time.
		return codec.Dropped
	}
	return verdict
}

// show sends p the picture of the canvas that is his, at the rung that suits
// him. Control loop only.
func (r *Room) show(p *Participant) {
	c, now, v := r.programOf(p).canvasOf(p), codec.Now(), &p.view
	v.rungs = c.rungs(p.facts.Load().limits, p.endpoint.Load().takes.VideoCodec(), r)
	nominal := make([]int, len(v.rungs))
	for i, rendition := range v.rungs {
		nominal[i] = nominalOf(rendition.Tier())
	}
	if v.policy == nil {
		v.policy = newAdapter(nominal, now)
	} else {
		v.policy.setRungs(nominal, now)
	}
	v.policy.at = min(v.policy.at, r.mostRung(p))
	r.send(p, v.rungs[v.policy.at], false)
	r.tune(now)
}

// send switches p to a rendition. smoothly says that what he is sent now goes on
// until the first key frame of the other; when the link cannot carry it, there
// is no use in that. Control loop only.
func (r *Room) send(p *Participant, rendition *video.Rendition, smoothly bool) {
	v := &p.view
	next := &feed{sink: p.endpoint.Load(), keys: &v.keys, room: r}
	switch {
	case p.subscription == nil:
	case !smoothly || !v.feed.begun.Load() && v.before == nil:
		p.unwatch()
	case !v.feed.begun.Load():
		p.subscription.Close() // never began: what was before it goes on
		v.feed.next.Store(next)
	default:
		v.before = p.subscription
		v.feed.next.Store(next)
	}
	v.feed = next
	if p.facts.Load().limits.ConstantSize { // from the first picture on
		rendition.KeepSize(rendition.Tier().SizeOn(r.programOf(p).canvasOf(p).size))
	}
	p.subscription = rendition.Subscribe(next)
	p.watching.Store(rendition)
	p.change(func(f *facts) { f.tier = rendition.Tier() })
}

// unwatch ends what the client is sent. Control loop only.
func (p *Participant) unwatch() {
	p.watching.Store(nil)
	for _, s := range []*video.Subscription{p.subscription, p.view.before} {
		if s != nil {
			s.Close()
		}
	}
	p.subscription, p.view.before = nil, nil
}

// adapt looks at those of whom something new is known, or nothing for a while,
// and returns how long it may be until it is called again. Control loop only.
func (r *Room) adapt(now time.Duration) (again time.Duration) {
	again = sweepPeriod
	looked := false
	for _, p := range r.participants {
		v := &p.view
		if p.subscription == nil {
			continue
		}
		if v.before != nil && v.feed.begun.Load() {
			v.before.Close()
			v.before = nil
		}
		due := min(v.looked+adaptSeldom, v.policy.due(v.looked))
		if v.fresh.Load() {
			due = v.looked + adaptEvery
		}
		if now >= due {
			v.fresh.Store(false)
			v.looked, looked = now, true
			r.look(p, now)
			due = v.policy.due(now)
		}
		// The rest is seen to when the loop next wakes: it does so anyway.
		if v.fresh.Load() || due < v.looked+adaptSeldom {
			again = min(again, max(due-now, time.Millisecond))
		}
	}
	if looked || now >= r.tuneAt {
		r.tune(now)
	}
	return min(again, max(r.tuneAt-now, time.Millisecond))
}

// look decides on which rung one participant is.
func (r *Room) look(p *Participant, now time.Duration) {
	if p.facts.Load().state != StateActive {
		return // what is known is of another time
	}
	v := &p.view
	was := v.policy.at
	for i, rendition := range v.rungs {
		v.policy.paid[i] = 0
		if rate := r.tierRates[rendition]; rate != nil {
			v.policy.paid[i] = rate.told
		}
	}
	reason, moved := v.policy.step(now, v.path(), r.mostRung(p))
	if !moved {
		return
	}
	to := v.policy.at
	r.log.Debug("participant is sent another rendition", "participant", p.id,
		"from", v.rungs[was].Tier().String(), "to", v.rungs[to].Tier().String(), "reason", reason.String())
	r.past.Lock()
	if tally := &r.past.stats.Adapt; to > was {
		tally.Up[reason]++
	} else {
		tally.Down[reason]++
	}
	r.past.Unlock()
	r.send(p, v.rungs[to], to > was || reason == SwitchCap)
}

// mostRung is the highest rung that p may be on at present.
func (r *Room) mostRung(p *Participant) int {
	rungs := p.view.rungs
	most := len(rungs) - 1
	c := r.programOf(p).canvasOf(p)
	for _, kept := range c.renditionsIn(rungs[most].Codec(), r)[:r.mostTier(c)] {
		if most > 0 && rungs[most] == kept {
			most--
		}
	}
	return most
}

// audience is who watches a rendition.
type audience struct {
	n, say int
	// lowest is the least estimate of those who have a say in its bitrate,
	// losers that of the others; 0 is none.
	lowest, losers int
}

// tune has the bitrates of all renditions follow those who watch, and tells the
// connections. Control loop only.
func (r *Room) tune(now time.Duration) {
	clear(r.audiences)
	for _, p := range r.participants {
		watching := p.watching.Load()
		if watching == nil {
			continue
		}
		a := r.audiences[watching]
		a.n++
		least := &a.losers
		if !p.view.policy.onProbation(now) && !p.view.policy.isLosing(now) {
			a.say++
			least = &a.lowest
		}
		if est := p.view.path().estimateBps; est > 0 && (*least == 0 || est < *least) {
			*least = est
		}
		r.audiences[watching] = a
	}
	if top := r.main.shared().top(); r.recording != nil {
		a := r.audiences[top]
		a.n++
		a.say++
		r.audiences[top] = a
	}
	for _, o := range r.outlets {
		if o.rendition != nil { // like a recorder's, of which nothing is known
			a := r.audiences[o.rendition]
			a.n++
			a.say++
			r.audiences[o.rendition] = a
		}
	}
	r.tuneAt = now + sweepPeriod
	for rendition, a := range r.audiences {
		rate := r.tierRates[rendition]
		if rate == nil {
			rate = newTierRate(nominalOf(rendition.Tier()))
			r.tierRates[rendition] = rate
		}
		lowest := a.lowest
		if a.say == 0 { // among themselves
			lowest = a.losers
		}
		if bps, changed := rate.follow(now, lowest, a.n > 1); changed {
			rendition.SetBitrate(bps)
		}
		if rate.low {
			r.tuneAt = min(r.tuneAt, now+adaptConfirm)
		}
	}
	for rendition := range r.tierRates {
		if r.audiences[rendition].n == 0 {
			rendition.SetBitrate(0)
			delete(r.tierRates, rendition)
		}
	}
	for _, p := range r.participants {
		if watching := p.watching.Load(); watching != nil {
			r.pace(p, now, r.tierRates[watching].told, r.audiences[watching].n > 1)
		}
	}
}

// pace tells p's connection what it is sent, and p's flags what is worth waking
// the control loop for.
func (r *Room) pace(p *Participant, now time.Duration, bps int, shared bool) {
	v := &p.view
	most := r.mostRung(p)
	next := v.policy.nextBps(now, most)
	if v.paced.now != bps || v.paced.next != next {
		v.paced.now, v.paced.next = bps, next
		p.endpoint.Load().PaceVideo(bps, next)
	}
	said := v.path()
	below, above := v.policy.alarms(now, bps, most)
	v.below.Store(int64(below))
	v.above.Store(int64(above))
	v.blind.Store(said.estimateBps == 0 || said.unprobed)
	switch {
	case shared && v.policy.isStarving(said):
		v.keys.limit(keysStarving)
	case v.policy.isLosing(now):
		v.keys.limit(keysLosing)
	case shared:
		v.keys.limit(keysShared)
	default:
		v.keys.limit(0)
	}
}

// rungs are the renditions of the canvas that a client with these limits, which
// takes that codec, may be sent, the lowest bitrate first: all that are within them, or the smallest when
// none is. One whose picture must keep its size gets the largest of these, and
// slower ones of the same size.
func (c *canvas) rungs(l Limits, of codec.Codec, r *Room) []*video.Rendition {
	renditions := c.renditionsIn(of, r)
	largest := largestFor(renditions, l)
	if l.ConstantSize {
		return append(c.slower(largest, r), largest)
	}
	var rungs []*video.Rendition
	for _, rendition := range renditions {
		if rendition == largest || l.allow(rendition.Tier()) {
			rungs = append(rungs, rendition)
		}
	}
	slices.SortStableFunc(rungs, func(a, b *video.Rendition) int { return nominalOf(a.Tier()) - nominalOf(b.Tier()) })
	return rungs
}

// allow reports whether a tier is within the limits.
func (l *Limits) allow(t video.Tier) bool {
	fits := func(limit, value int) bool { return limit == 0 || value <= limit }
	blocks := nal.Blocks(t.Width, t.Height)
	return fits(l.MaxWidth, t.Width) && fits(l.MaxHeight, t.Height) &&
		fits(l.MaxFPS, t.FPS) && fits(l.MaxBitrateBps, nominalOf(t)) &&
		fits(l.MaxBlocks, blocks) && fits(l.MaxBlockRate, blocks*t.FPS)
}

// nominalOf is the bitrate that a tier is meant to have.
func nominalOf(t video.Tier) int {
	if t.BitrateBps > 0 {
		return t.BitrateBps
	}
	return t.DefaultBitrate()
}

// The slower renditions of a tier have its size, and these shares of its frame
// rate and bitrate. Half the pictures take nearly half of the bits.
var slowerTiers = []struct {
	divisor int
	share   float64
}{{4, 0.2}, {2, 0.45}}

// slower returns the renditions of the same size as one of the canvas's own,
// with less pictures, the lowest bitrate first. They are made when they are
// first wanted, and shared; unwatched, they cost nothing. Control loop only.
func (c *canvas) slower(largest *video.Rendition, r *Room) []*video.Rendition {
	var list []*video.Rendition
	for _, s := range slowerTiers {
		all := *c.all.Load()
		tier := largest.Tier()
		tier.BitrateBps = max(1, int(s.share*float64(nominalOf(tier))))
		tier.FPS = max(1, tier.FPS/s.divisor)
		i := slices.IndexFunc(all, func(o *video.Rendition) bool { return o.Tier() == tier && o.Codec() == largest.Codec() })
		if i >= 0 {
			list = append(list, all[i])
			continue
		}
		rendition, err := newRendition(r.cfg, tier, largest.Codec(), r.frames, c.log)
		if err != nil { // nothing of it can be wrong but the tier, which is a room's
			c.log.Error("a slower rendition", "tier", tier.String(), "error", err)
			continue
		}
		list = append(list, rendition)
		c.add(rendition)
	}
	return list
}
