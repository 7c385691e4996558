package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"mixdown/api/store"
)

// Config is what a Sender needs. Store and Client are required.
type Config struct {
	// Log tells when an endpoint begins to fail, and of events that are given
	// up. Defaults to discarding.
	Log *slog.Logger
	// Store keeps the queue. It is the Sender's alone; the caller closes it,
	// after Run has returned.
	Store *store.Bucket
	// Client sends. It follows no redirects, has a timeout, and does not go
	// where it should not: see package outside.
	Client *http.Client
	// Endpoints are told; see also Sender.Configure.
	Endpoints []Endpoint
	// Attempts is how often an event is sent before it is given up. Defaults to
	// 15: with the pauses between, some two hours.
	Attempts int
	// Pause is that before the second attempt; each further one is twice the
	// one before, up to half an hour. Defaults to 1 s.
	Pause time.Duration
	// MaxQueued is how many events may wait for one endpoint; what is beyond
	// is dropped. Defaults to 10,000.
	MaxQueued int
	// Grace is for how long Run goes on sending what is ready once it is to
	// end; the rest is sent when the program runs again. Defaults to 2 s.
	Grace time.Duration
	// Agent is the User-Agent. Defaults to "mixdown".
	Agent string
}

const (
	// workers of an endpoint: so many rooms at once.
	workers = 4
	// longestPause between two attempts, also when Retry-After wants more: who
	// is back wants to know what has happened.
	longestPause = 30 * time.Minute
)

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Attempts == 0 {
		c.Attempts = 15
	}
	if c.Pause == 0 {
		c.Pause = time.Second
	}
	if c.MaxQueued == 0 {
		c.MaxQueued = 10_000
	}
	if c.Grace == 0 {
		c.Grace = 2 * time.Second
	}
	if c.Agent == "" {
		c.Agent = "mixdown"
	}
}

func (c *Config) validate() error {
	var faults []error
	if c.Store == nil {
		faults = append(faults, errors.New("Store is missing"))
	}
	if c.Client == nil {
		faults = append(faults, errors.New("Client is missing"))
	}
	if c.Attempts < 0 {
		faults = append(faults, fmt.Errorf("Attempts is %d: want 1 or more, or 0 for 15", c.Attempts))
	}
	if c.Pause < 0 {
		faults = append(faults, fmt.Errorf("Pause is %v: want more than 0, or 0 for 1s", c.Pause))
	}
	if c.MaxQueued < 0 {
		faults = append(faults, fmt.Errorf("MaxQueued is %d: want 1 or more, or 0 for 10000", c.MaxQueued))
	}
	if c.Grace < 0 {
		faults = append(faults, fmt.Errorf("Grace is %v: want more than 0, or 0 for 2s", c.Grace))
	}
	return errors.Join(faults...)
}

// Sender tells endpoints of events. Create it with [New]; it is safe for
// concurrent use.
type Sender struct {
	cfg Config

	// writing is held by those who add to the queue or change who is told,
	// while they write to the disk. Nobody takes it who must be quick.
	writing struct {
		sync.Mutex
		number  uint64 // of the last event that was added
		noticed time.Time
	}

	mu struct { // a leaf
		sync.Mutex
		endpoints map[string]*endpoint
		run       *running // nil: not
		ended     bool
		missed    uint64
		past      map[string]Counts // of endpoints that are there no more
	}
}

// running is what the workers of a Run have in common.
type running struct {
	stop context.Context // done: what is ready is still sent, nothing is waited for
	send context.Context // done: nothing is sent any more
	wg   sync.WaitGroup
}

// New validates cfg, reporting every fault, reads the queue, and sends nothing.
func New(cfg Config) (*Sender, error) {
	cfg.setDefaults()
	list, faults := checked(cfg.Endpoints)
	if err := errors.Join(cfg.validate(), faults); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	cfg.Endpoints = nil
	s := &Sender{cfg: cfg}
	s.mu.endpoints = make(map[string]*endpoint)
	s.mu.past = make(map[string]Counts)
	for _, e := range list {
		s.mu.endpoints[e.Name] = newEndpoint(s, e)
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("webhook: the queue: %w", err)
	}
	return s, nil
}

// strays is logged of events that nobody is told of any more.
const strays = "events are forgotten whose webhook is not configured any more"

// load reads what is in the store, and takes out what is for nobody.
func (s *Sender) load() error {
	var found []string
	err := s.cfg.Store.Each("", func(key string, value []byte) error {
		name, number, err := readKey(key)
		s.writing.number = max(s.writing.number, number)
		e := s.mu.endpoints[name]
		if err != nil || e == nil {
			found = append(found, key)
			return nil
		}
		ev, err := readStored(value)
		if err != nil {
			found = append(found, key)
			return nil
		}
		e.lanes.add(ev.Room, item{number, ev.At})
		return nil
	})
	if err == nil && len(found) > 0 {
		s.cfg.Log.Warn(strays, "events", len(found))
		err = s.forget(found)
	}
	return err
}

func (s *Sender) forget(keys []string) error {
	return s.cfg.Store.Update(func(tx *store.Tx) error {
		for _, key := range keys {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
}

// Wants reports whether any endpoint is told of events of a type.
func (s *Sender) Wants(typ string) bool {
	return slices.ContainsFunc(s.list(), func(e *endpoint) bool { return e.cfg.Load().wants(typ) })
}

// list returns the endpoints, sorted by name.
func (s *Sender) list() []*endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*endpoint, 0, len(s.mu.endpoints))
	for _, e := range s.mu.endpoints {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *endpoint) int { return strings.Compare(a.name, b.name) })
	return out
}

// Add queues events, in this order. When it returns nil they are on the disk;
// otherwise none of them is queued. It may block on the disk.
func (s *Sender) Add(events []Event) error {
	w := &s.writing
	w.Lock()
	defer w.Unlock()
	type entry struct {
		to     *endpoint
		key    string
		value  []byte
		room   string
		number uint64
	}
	now := time.Now()
	var entries []entry
	dropped := make(map[*endpoint]uint64)
	number := w.number
	for _, e := range s.list() {
		room := e.lanes.room(s.cfg.MaxQueued)
		for i := range events {
			ev := &events[i]
			if !e.cfg.Load().wants(ev.Type) {
				continue
			}
			if room == 0 || len(ev.Body) > maxBody {
				dropped[e]++
				continue
			}
			room--
			if !idPattern(ev.ID) {
				return fmt.Errorf("webhook: an event's id is %q: want 1..64 of A-Z, a-z, 0-9, _ and -", clip(ev.ID))
			}
			number++
			value, err := (&stored{ID: ev.ID, Type: ev.Type, Room: ev.Room, At: now, body: ev.Body}).bytes()
			if err != nil {
				return fmt.Errorf("webhook: %w", err)
			}
			entries = append(entries, entry{e, keyOf(e.name, number), value, ev.Room, number})
		}
	}
	if len(entries) > 0 {
		err := s.cfg.Store.Update(func(tx *store.Tx) error {
			for _, e := range entries {
				if err := tx.Put(e.key, e.value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("webhook: the queue: %w", err)
		}
	}
	w.number = number
	for _, e := range entries {
		e.to.lanes.add(e.room, item{e.number, now})
	}
	for e, n := range dropped {
		e.counts.dropped.Add(n)
		if now.Sub(w.noticed) >= time.Minute { // once for all
			w.noticed = now
			s.cfg.Log.Warn("events are dropped: the webhook's queue is full, or they are too large", "webhook", e.name)
		}
	}
	return nil
}

// maxBody leaves room for the line before it in a value of the store.
const maxBody = store.MaxValueBytes - 4096

// Missed counts events that could not be added, by whoever adds.
func (s *Sender) Missed(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.missed += n
}

// Configure changes who is told, reporting every fault and then changing
// nothing. What waits for an endpoint that is there no more is forgotten; one
// that is there by the same name keeps its queue. It may block on the disk.
func (s *Sender) Configure(endpoints []Endpoint) error {
	list, err := checked(endpoints)
	if err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	var old []*endpoint
	s.mu.Lock()
	rest := s.mu.endpoints
	s.mu.endpoints = make(map[string]*endpoint)
	for _, cfg := range list {
		e := rest[cfg.Name]
		if e != nil && !e.lanes.isGone() {
			delete(rest, cfg.Name)
			e.cfg.Store(&cfg)
		} else {
			e = newEndpoint(s, cfg)
			if s.mu.run != nil && !s.mu.ended {
				e.start(s.mu.run)
			}
		}
		s.mu.endpoints[cfg.Name] = e
	}
	for _, e := range rest {
		s.mu.past[e.name] = s.mu.past[e.name].plus(e.count())
		old = append(old, e)
	}
	s.mu.Unlock()
	var errs []error
	for _, e := range old {
		left := e.end()
		if len(left) > 0 {
			s.cfg.Log.Warn(strays, "webhook", e.name, "events", len(left))
		}
		errs = append(errs, s.forget(left))
	}
	return errors.Join(errs...)
}

// Run sends what is queued until ctx is done, and a little longer what is ready
// then. It returns when nothing is being sent any more. It is called once.
func (s *Sender) Run(ctx context.Context) error {
	send, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s.mu.Lock()
	if s.mu.run != nil {
		s.mu.Unlock()
		return errors.New("webhook: Run was called twice")
	}
	r := &running{stop: ctx, send: send}
	s.mu.run = r
	for _, e := range s.mu.endpoints {
		e.start(r)
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.mu.ended = true
	s.mu.Unlock()
	late := time.AfterFunc(s.cfg.Grace, cancel)
	r.wg.Wait()
	late.Stop()
	s.cfg.Client.CloseIdleConnections()
	return nil
}

// pauseAfter returns the pause after so many attempts; chance, 0..1, spreads
// those who failed together.
func (c *Config) pauseAfter(attempts int, chance float64) time.Duration {
	d := longestPause
	if shift := attempts - 1; shift < 31 && c.Pause<<shift < longestPause && c.Pause<<shift > 0 {
		d = c.Pause << shift
	}
	return time.Duration(float64(d) * (0.75 + 0.5*chance))
}

func (s *Sender) pause(attempts int) time.Duration {
	return s.cfg.pauseAfter(attempts, rand.Float64())
}
