package api

import (
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mixdown/mixer"
)

const (
	eventsType = "text/event-stream"
	// heartbeat keeps proxies from taking a quiet stream for a dead one, and
	// finds clients that are gone.
	heartbeat = 15 * time.Second
	// streamWrite is how long one write to a client may take.
	streamWrite = 5 * time.Second
	// maxBatch is how many bytes of events that have piled up go in one write.
	maxBatch = 64 << 10
	// snapshotLife is for how long a snapshot is shared.
	snapshotLife = time.Second
	// maxSnapshots are kept at one time; what is beyond is made anew for each.
	maxSnapshots = 64
	// retryStream, in milliseconds, is when a browser tries again.
	retryStream = "retry: 2000\n\n"
)

// streams is what all streams of events share. Safe for concurrent use.
type streams struct {
	process         string // begins all ids
	max, perAddress int    // negative is no limit
	beat, write     time.Duration
	drained         chan struct{} // closed when streams are to end
	drainOnce       sync.Once

	// frames are the last events as they go over the wire, by id.
	frames [1024]atomic.Pointer[sharedFrame]

	// Streams that ended because the client did not read: its queue was full,
	// or a write took too long. On data channels they begin anew.
	overflowed, stalled atomic.Uint64
	refused             atomic.Uint64 // by the limits

	mu struct {
		sync.Mutex
		open      int
		byClient  map[string]int           // see streamClient
		snapshots map[string]snapshotFrame // by life of a room
	}
}

// sharedFrame is an immutable event as it goes over the wire.
type sharedFrame struct {
	id    uint64
	bytes []byte
}

// position is an event that a stream has come to.
type position struct{ id, seq uint64 }

// snapshotFrame is an immutable snapshot as it goes over the wire.
type snapshotFrame struct {
	at    position
	frame []byte
	made  time.Time
}

func newStreams(limit, perAddress int) *streams {
	st := &streams{
		process: rand.Text()[:10], max: limit, perAddress: perAddress,
		beat: heartbeat, write: streamWrite, drained: make(chan struct{}),
	}
	st.mu.byClient = make(map[string]int)
	st.mu.snapshots = make(map[string]snapshotFrame)
	return st
}

// end tells all streams to end.
func (st *streams) end() { st.drainOnce.Do(func() { close(st.drained) }) }

// enter counts one more stream of a client, by all that it is counted by, or
// refuses it.
func (st *streams) enter(who ...string) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.perAddress >= 0 && slices.ContainsFunc(who, func(k string) bool { return st.mu.byClient[k] >= st.perAddress }):
		st.refused.Add(1)
		return tooManyStreams.problem("close one first")
	case st.max >= 0 && st.mu.open >= st.max:
		st.refused.Add(1)
		return overloaded.problem("the server streams events to as many clients as it may")
	}
	st.mu.open++
	for _, k := range who {
		st.mu.byClient[k]++
	}
	return nil
}

func (st *streams) leave(who ...string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.mu.open--
	for _, k := range who {
		if st.mu.byClient[k]--; st.mu.byClient[k] <= 0 {
			delete(st.mu.byClient, k)
		}
	}
}

// streamClient is what the streams of a request's client are counted by: its
// address, and the holder of its token, who may have many.
func streamClient(r *http.Request) []string {
	address, _ := limitKey(r)
	who := []string{address}
	if c := scopeOf(r.Context()).identity.claims; c != nil && c.Subject != "" {
		who = append(who, "token "+c.Key+" "+c.Subject) // no address looks like that
	}
	return who
}

// saved returns a snapshot that is young enough.
func (st *streams) saved(life string, now time.Time) (snapshotFrame, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	f, ok := st.mu.snapshots[life]
	return f, ok && now.Sub(f.made) < snapshotLife
}

// save keeps a snapshot, if there is room for it.
func (st *streams) save(life string, f snapshotFrame, now time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for old, s := range st.mu.snapshots {
		if now.Sub(s.made) >= snapshotLife {
			delete(st.mu.snapshots, old)
		}
	}
	if len(st.mu.snapshots) < maxSnapshots {
		st.mu.snapshots[life] = f
	}
}

// stream sends events (HTML Living Standard, section 9.2) until the client
// goes, reads too slowly, the feed ends or the server drains. It begins with a
// snapshot, or with what the client has missed.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, f feed) error {
	after, known, err := s.resumeAfter(r)
	if err != nil {
		return err
	}
	if s.draining.Load() {
		return draining.problem("try again, on another server")
	}
	if r.Method == http.MethodHead {
		streamHeader(w)
		return nil
	}
	who := streamClient(r)
	if err := s.streams.enter(who...); err != nil {
		return err
	}
	defer s.streams.leave(who...)
	sub, at, first, err := s.opening(r.Context(), f, after, known)
	if err != nil {
		return err
	}
	streamHeader(w)
	s.tellOn(r.Context(), &listener{
		out:  &writer{w: w, rc: http.NewResponseController(w), within: s.streams.write, stalled: &s.streams.stalled},
		gone: r.Context().Done(), request: scopeOf(r.Context()).id,
	}, &f, sub, at, append([]byte(retryStream), first...))
	return nil
}

func streamHeader(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", eventsType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx collects answers otherwise
	w.WriteHeader(http.StatusOK)
}

// listener is who is told of events, whatever carries them.
type listener struct {
	out outlet
	// gone is closed when nobody is there any more.
	gone <-chan struct{}
	// said gives what the client says, and hear answers that with frames of
	// events, and says whether to go on; nil for clients that cannot speak.
	said <-chan []byte
	hear func(message []byte, at position) (answer []byte, more bool, err error)
	// request is for the log.
	request string
}

// outlet carries frames of events to a client.
type outlet interface {
	// put reports whether the client took them in time.
	put(frames []byte) bool
	// beat sends what shows whether the client is there.
	beat() bool
}

// why a client is not told any more.
type ending uint8

const (
	ended    ending = iota // there will be nothing more to tell
	departed               // the client has gone, or takes nothing
	away                   // it is to be told of something else
	behind                 // its queue was full; a new subscription is in order
)

// tellClient tells a client of what happens until there is an end of it.
func (s *Server) tellClient(c *listener, f *feed, sub *mixer.Subscription, at position, first []byte) ending {
	if !c.out.put(first) {
		return departed
	}
	beat := time.NewTicker(s.streams.beat)
	defer beat.Stop()
	own := ownFeed{participant: f.participant}
	if own.participant != nil {
		defer own.participant.FollowUplink()()
	}
	batch, err := s.tellOwn(&own, f, at, nil)
	if err == nil && len(batch) > 0 && !c.out.put(batch) {
		return departed
	}
	for more := true; err == nil; {
		batch = nil
		select {
		case <-c.gone:
			return departed
		case <-beat.C:
			if !c.out.beat() {
				return departed
			}
		case e, ok := <-sub.Events():
			batch, at, more, err = s.batch(f, e, ok, sub, at)
		case <-own.asked():
			batch, err = s.tellOwn(&own, f, at, nil)
		case <-own.arranged():
			batch, err = s.tellOwn(&own, f, at, nil)
		case message := <-c.said:
			batch, more, err = c.hear(message, at)
		case <-s.streams.drained:
			if batch, at, _, err = s.batch(f, nil, true, sub, at); err == nil {
				var last []byte
				last, err = s.frame(at.id, reconnectEvent, time.Now(), f.room, f.seq(at), Reconnect{draining.code, draining.retryAfter})
				batch = append(batch, last...)
			}
			more = false
		case <-f.moved:
			return away
		case <-f.admitted:
			return away
		case <-f.ended:
			batch, at, _, err = s.batch(f, nil, true, sub, at)
			more = false
		}
		switch {
		case err != nil:
		case !more && f.elsewhere(): // the room that was left may end at once
			return away
		case len(batch) > 0 && !c.out.put(batch):
			return departed
		case !more && errors.Is(sub.Err(), mixer.ErrSlow):
			return behind
		case !more:
			return ended
		}
	}
	// A document of ours cannot be written as JSON: a bug.
	s.log.Error("an event cannot be written", "request", c.request, "error", err)
	return ended
}

// batch collects the frames of e, which may be nil, and of what is queued after
// it. more is false when there will be nothing after that.
func (s *Server) batch(f *feed, e *mixer.Event, ok bool, sub *mixer.Subscription, at position) (b []byte, _ position, more bool, err error) {
	for {
		if !ok {
			if errors.Is(sub.Err(), mixer.ErrSlow) {
				s.streams.overflowed.Add(1)
			}
			return b, at, false, nil
		}
		if e != nil {
			if at, b, err = s.frames(f, at, b, []*mixer.Event{e}); err != nil {
				return b, at, false, err
			}
		}
		if len(b) >= maxBatch {
			return b, at, true, nil
		}
		select {
		case e, ok = <-sub.Events():
		default:
			return b, at, true, nil
		}
	}
}

// writer writes with a deadline for each write.
type writer struct {
	w  http.ResponseWriter
	rc *http.ResponseController
	// within is how long a write may take, stalled counts those that took longer.
	within  time.Duration
	stalled *atomic.Uint64
}

// beat is a comment, which clients pass over.
func (o *writer) beat() bool { return o.put([]byte(": \n\n")) }

// put reports whether the client took it in time.
func (o *writer) put(b []byte) bool {
	began := time.Now()
	_ = o.rc.SetWriteDeadline(began.Add(o.within)) // not every writer has deadlines
	_, err := o.w.Write(b)
	if err == nil {
		err = o.rc.Flush()
	}
	late := time.Since(began) >= o.within
	if late {
		o.stalled.Add(1)
	}
	// What wraps our writers flushes without telling of errors: time does.
	if err != nil || late {
		return false
	}
	// HTTP/2 ends a stream whose deadline passes, also when nothing is written.
	_ = o.rc.SetWriteDeadline(time.Time{})
	return true
}

// eventMetrics exposes events and who is told of them.
type eventMetrics struct {
	rooms   *mixer.Manager
	streams *streams
}

var (
	eventsRaised       = prometheus.NewDesc("mixdown_events_total", "Events in rooms, by type.", []string{"type"}, nil)
	eventSubscribers   = prometheus.NewDesc("mixdown_event_subscribers", "Subscriptions to events now.", nil, nil)
	eventSubsDropped   = prometheus.NewDesc("mixdown_event_subscribers_dropped_total", "Subscriptions that ended because their queue was full.", nil, nil)
	eventStreams       = prometheus.NewDesc("mixdown_event_streams", "HTTP streams of events now.", nil, nil)
	eventStreamsEnded  = prometheus.NewDesc("mixdown_event_streams_dropped_total", "HTTP streams of events that ended because the client did not read, by what was full or late.", []string{"reason"}, nil)
	eventStreamsDenied = prometheus.NewDesc("mixdown_event_streams_refused_total", "HTTP streams of events refused, there being too many.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c eventMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c eventMetrics) Collect(ch chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	stats := c.rooms.EventStats()
	for t, n := range stats.Raised {
		put(eventsRaised, prometheus.CounterValue, float64(n), mixer.EventType(t).String())
	}
	c.streams.mu.Lock()
	open := c.streams.mu.open
	c.streams.mu.Unlock()
	put(eventSubscribers, prometheus.GaugeValue, float64(stats.Subscribers))
	put(eventSubsDropped, prometheus.CounterValue, float64(stats.Dropped))
	put(eventStreams, prometheus.GaugeValue, float64(open))
	put(eventStreamsEnded, prometheus.CounterValue, float64(c.streams.overflowed.Load()), "queue")
	put(eventStreamsEnded, prometheus.CounterValue, float64(c.streams.stalled.Load()), "write")
	put(eventStreamsDenied, prometheus.CounterValue, float64(c.streams.refused.Load()))
}
