package webhook

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mixdown/api/outside"
	"mixdown/api/store"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(context.WithoutCancel(t.Context()))
}

func TestRoomsInOrder(t *testing.T) {
	var n atomic.Int32
	r := newReceiver(t, func(received) int {
		if n.Add(1)%3 == 0 { // one in three is refused
			return 500
		}
		return 0
	})
	s := newSender(t, bucket(t), nil, r.endpoint())
	run(t, s)
	rooms := map[string]int{"a": 10, "b": 10, "c": 10, "": 5}
	for room, n := range rooms {
		list := events(room, n)
		must(t, s.Add(list[:3]))
		must(t, s.Add(list[3:]))
	}
	r.taken(35)
	inOrder(t, r.bodies(), rooms, false)
	r.until("empty queue", func() bool { return s.Stats().Endpoints[0].Queued == 0 })
	if st := s.Stats().Endpoints[0]; st.Delivered != 35 || st.Failed["status"] == 0 || st.Dead+st.Dropped != 0 || st.Oldest != 0 {
		t.Errorf("%+v", st)
	}
}

// A room whose events are refused holds up no other one.
func TestRoomsWaitForThemselves(t *testing.T) {
	r := newReceiver(t, func(m received) int {
		if strings.Contains(m.body, `"bad"`) {
			return 503
		}
		return 0
	})
	s := newSender(t, bucket(t), func(c *Config) { c.Pause = time.Hour }, r.endpoint())
	run(t, s)
	must(t, s.Add(append(events("bad", 2), events("good", 5)...)))
	r.taken(5)
	inOrder(t, r.bodies(), map[string]int{"good": 5}, false)
	r.until("a failure, and nothing else left", func() bool {
		st := s.Stats().Endpoints[0]
		return st.Failed["status"] == 1 && st.Queued == 2
	})
	if st := s.Stats().Endpoints[0]; st.Oldest <= 0 {
		t.Errorf("%+v", st)
	}
}

// The process ends while the receiver has a message that it has not answered.
func TestRestartInMidDelivery(t *testing.T) {
	open, shut := queue(t)
	entered, release := make(chan struct{}), make(chan struct{})
	var hold sync.Once
	r := newReceiver(t, func(m received) int {
		if strings.Contains(m.body, `"n":2`) {
			held := false
			hold.Do(func() { held = true })
			if held {
				close(entered)
				<-release
				return 500 // nobody is there to hear it
			}
		}
		return 0
	})
	t.Cleanup(func() {
		select {
		case <-release:
		default:
			close(release)
		}
	})
	s := newSender(t, open(), func(c *Config) { c.Grace = time.Millisecond }, r.endpoint())
	stop := run(t, s)
	list := events("r", 6)
	must(t, s.Add(list))
	<-entered
	stop()
	shut()
	close(release)

	s = newSender(t, open(), nil, r.endpoint())
	must(t, s.Add([]Event{event("r", 6)})) // new ones come after the old ones
	if st := s.Stats().Endpoints[0]; st.Queued != 5 {
		t.Errorf("%+v", st)
	}
	run(t, s)
	got := r.taken(7)
	inOrder(t, r.bodies(), map[string]int{"r": 7}, false)
	for i, e := range list {
		if got[i].id != e.ID {
			t.Errorf("number %d came as %s, was added as %s", i, got[i].id, e.ID)
		}
	}
}

// The receiver has taken a message, and the process dies before it could note it:
// it comes again, by the same id, and before those after it.
func TestCrashAfterDelivery(t *testing.T) {
	open, shut := queue(t)
	var once sync.Once
	r := newReceiver(t, func(m received) int {
		if strings.Contains(m.body, `"n":1`) {
			once.Do(shut) // nothing is written from here on
		}
		return 0
	})
	s := newSender(t, open(), nil, r.endpoint())
	stop := run(t, s)
	must(t, s.Add(events("r", 4)))
	r.taken(2)
	stop()
	already := len(r.bodies()) // what follows cannot even be read
	if already != 2 {
		t.Fatalf("%d were sent of a closed store", already)
	}
	s = newSender(t, open(), nil, r.endpoint())
	run(t, s)
	got := r.taken(5)
	inOrder(t, r.bodies(), map[string]int{"r": 4}, true)
	if got[1].id != got[2].id {
		t.Errorf("sent again by another id: %v", got)
	}
}

// How often an event was sent survives a restart, so that it dies some day.
func TestDead(t *testing.T) {
	open, shut := queue(t)
	r := newReceiver(t, func(m received) int {
		if strings.Contains(m.body, `"n":0`) {
			return 500
		}
		return 0
	})
	var log bytes.Buffer
	edit := func(c *Config) {
		c.Attempts, c.Log = 5, slog.New(slog.NewTextHandler(&log, nil))
	}
	first := func(c *Config) {
		edit(c)
		c.Pause = time.Hour
	}
	s := newSender(t, open(), first, r.endpoint())
	stop := run(t, s)
	must(t, s.Add(events("r", 2)))
	r.until("a failure", func() bool { return s.Stats().Endpoints[0].Failed["status"] == 1 })
	stop()
	shut()
	s = newSender(t, open(), edit, r.endpoint())
	stop = run(t, s)
	got := r.taken(1)
	stop()
	if n := len(r.mu.all); n != 6 || !strings.Contains(got[0].body, `"n":1`) {
		t.Errorf("after %d attempts came %v", n, got)
	}
	if st := s.Stats().Endpoints[0]; st.Dead != 1 || st.Delivered != 1 || st.Failed["status"] != 4 || st.Queued != 0 {
		t.Errorf("%+v", st)
	}
	if l := log.String(); !strings.Contains(l, "given up") || !strings.Contains(l, "PROC-") || strings.Contains(l, "private") || strings.Contains(l, r.secrets[0].Text()) {
		t.Errorf("logged was %s", l)
	}
	left := 0
	must(t, s.cfg.Store.Each("", func(string, []byte) error { left++; return nil }))
	if left != 0 {
		t.Errorf("%d events are left in the store", left)
	}
}

// Who is gone for good (410) is left alone, until he is configured anew.
func TestGone(t *testing.T) {
	var gone atomic.Bool
	gone.Store(true)
	r := newReceiver(t, func(received) int {
		if gone.Load() {
			return 410
		}
		return 0
	})
	s := newSender(t, bucket(t), nil, r.endpoint())
	run(t, s)
	must(t, s.Add(events("r", 3)))
	r.until("death", func() bool { return s.Stats().Endpoints[0].Dead == 3 })
	must(t, s.Add(events("r", 2)))
	if st := s.Stats().Endpoints[0]; st.Dropped != 2 || st.Queued != 0 {
		t.Errorf("%+v", st)
	}
	gone.Store(false)
	must(t, s.Configure([]Endpoint{r.endpoint()}))
	must(t, s.Add(events("r", 2)))
	r.taken(2)
	inOrder(t, r.bodies(), map[string]int{"r": 2}, false)
	if st := s.Stats().Endpoints[0]; st.Dead != 3 || st.Dropped != 2 {
		t.Errorf("counters went back: %+v", st)
	}
}

func TestConfigure(t *testing.T) {
	r, other := newReceiver(t, nil), newReceiver(t, nil)
	b := bucket(t)
	s := newSender(t, b, nil, r.endpoint())
	must(t, s.Add(events("r", 2)))
	second := other.endpoint()
	second.Name, second.Events = "second", []string{"room.*"}
	if err := s.Configure([]Endpoint{r.endpoint(), second, {URL: "ftp://x"}}); err == nil || s.Wants("chat") != true {
		t.Errorf("%v", err)
	}
	must(t, s.Configure([]Endpoint{second})) // before Run: what is waiting is forgotten
	n := 0
	must(t, b.Each("", func(string, []byte) error { n++; return nil }))
	if n != 0 || s.Wants("chat") || !s.Wants("room.started") {
		t.Errorf("%d entries are left", n)
	}
	run(t, s)
	must(t, s.Configure([]Endpoint{r.endpoint(), second})) // while it runs
	must(t, s.Add(append(events("r", 3), Event{ID: "x", Type: "chat", Room: "r", Body: []byte(`{"room":"r","n":3}`)})))
	r.taken(4)
	other.taken(3)
	inOrder(t, r.bodies(), map[string]int{"r": 4}, false)
	inOrder(t, other.bodies(), map[string]int{"r": 3}, false)
	// A secret that changes, with the old one beside it for a while.
	r.until("empty queues", func() bool { return s.Stats().Endpoints[0].Queued+s.Stats().Endpoints[1].Queued == 0 })
	r.secrets = append([]Secret{NewSecret()}, r.secrets...)
	must(t, s.Configure([]Endpoint{r.endpoint()}))
	must(t, s.Add([]Event{event("r", 4)}))
	r.taken(5)
	if st := s.Stats(); len(st.Endpoints) != 1 || st.Endpoints[0].Delivered < 4 {
		t.Errorf("%+v", st)
	}
	must(t, s.Configure(nil))
	must(t, s.Add([]Event{event("r", 5)}))
	if s.Wants("room.started") {
		t.Error("nobody wants anything")
	}
}

func TestBounds(t *testing.T) {
	r := newReceiver(t, nil)
	var log bytes.Buffer
	s := newSender(t, bucket(t), func(c *Config) { c.MaxQueued, c.Log = 3, slog.New(slog.NewTextHandler(&log, nil)) }, r.endpoint())
	must(t, s.Add(events("a", 2)))
	must(t, s.Add(events("b", 3)))
	big := event("c", 0)
	big.Body = make([]byte, store.MaxValueBytes)
	must(t, s.Add([]Event{big}))
	s.Missed(7)
	if st := s.Stats(); st.Endpoints[0].Queued != 3 || st.Endpoints[0].Dropped != 3 || st.Missed != 7 {
		t.Errorf("%+v", st)
	}
	if n := strings.Count(log.String(), "dropped"); n != 1 {
		t.Errorf("told %d times: %s", n, log.String())
	}
	run(t, s)
	r.taken(3)
	inOrder(t, r.bodies(), map[string]int{"a": 2, "b": 1}, false)
	r.until("empty queue", func() bool { return s.Stats().Endpoints[0].Queued == 0 })
	must(t, s.Add(events("d", 3)))
	r.taken(6)
}

// Add is all or nothing.
func TestAddFails(t *testing.T) {
	open, shut := queue(t)
	r := newReceiver(t, nil)
	s := newSender(t, open(), nil, r.endpoint())
	if err := s.Add([]Event{event("r", 0), {ID: "has.dot", Type: "room.x"}}); err == nil {
		t.Error("an id with a dot was taken")
	}
	shut()
	if err := s.Add(events("r", 2)); !errors.Is(err, store.ErrClosed) {
		t.Errorf("%v", err)
	}
	if st := s.Stats().Endpoints[0]; st.Queued != 0 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
}

// What is in the store and makes no sense does no harm.
func TestDamagedQueue(t *testing.T) {
	b := bucket(t)
	good := stored{ID: "ok", Room: "r", body: []byte(`{"room":"r","n":0}`)}
	value, err := good.bytes()
	must(t, err)
	for key, v := range map[string]string{
		"test/0000000000000001": "nonsense", "test/0000000000000002": `{"id":"a.b"}` + "\n{}", "test/xyz": string(value), "test": string(value),
		"elsewhere/0000000000000003": string(value), "test/0000000000000004": string(value), "test/00000000000000FF": string(value),
		"test/0000000000000005": `{"id":"ok"}`,
	} {
		must(t, b.Put(key, []byte(v)))
	}
	r := newReceiver(t, nil)
	s := newSender(t, b, nil, r.endpoint())
	if st := s.Stats().Endpoints[0]; st.Queued != 1 {
		t.Errorf("%+v", st)
	}
	must(t, s.Add([]Event{event("r", 1)}))
	must(t, b.Delete("test/0000000000000004")) // behind its back
	run(t, s)
	r.taken(1)
	r.until("death", func() bool { return s.Stats().Endpoints[0].Dead == 1 })
}

// A receiver that is not to be reached is told nothing, and says why.
func TestGoesNowhereInside(t *testing.T) {
	r := newReceiver(t, nil)
	client, err := outside.New(outside.Config{})
	must(t, err)
	var log bytes.Buffer
	s := newSender(t, bucket(t), func(c *Config) {
		c.Client, c.Attempts, c.Log = client, 2, slog.New(slog.NewTextHandler(&log, nil))
	}, r.endpoint())
	stop := run(t, s)
	must(t, s.Add(events("r", 1)))
	r.until("death", func() bool { return s.Stats().Endpoints[0].Dead == 1 })
	stop()
	if st := s.Stats().Endpoints[0]; st.Failed["inside"] != 2 || len(r.bodies()) != 0 {
		t.Errorf("%+v", st)
	}
	if l := log.String(); !strings.Contains(l, "127.0.0.1") || strings.Contains(l, "private") {
		t.Errorf("logged was %s", l)
	}
}

func TestWhyItFailed(t *testing.T) {
	silent := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/silent" {
			<-silent
		}
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	defer close(silent)
	s := newSender(t, bucket(t), func(c *Config) { c.Client.Timeout = 50 * time.Millisecond; c.Attempts = 1 },
		Endpoint{Name: "broken", URL: srv.URL, Secrets: []Secret{NewSecret()}},
		Endpoint{Name: "silent", URL: srv.URL + "/silent", Secrets: []Secret{NewSecret()}})
	run(t, s)
	must(t, s.Add(events("r", 1)))
	(&receiver{t: t}).until("death", func() bool { return s.Stats().Endpoints[0].Dead+s.Stats().Endpoints[1].Dead == 2 })
	if st := s.Stats(); st.Endpoints[0].Failed["unreachable"]+st.Endpoints[0].Failed["timeout"] != 1 || st.Endpoints[1].Failed["timeout"] != 1 {
		t.Errorf("%+v", st)
	}
}

// What is ready at the end is still sent, what has to wait is not waited for.
func TestGrace(t *testing.T) {
	r := newReceiver(t, func(m received) int {
		if strings.Contains(m.body, `"bad"`) {
			return 500
		}
		return 0
	})
	s := newSender(t, bucket(t), func(c *Config) { c.Pause, c.Grace = time.Hour, time.Minute }, r.endpoint())
	must(t, s.Add(append(events("good", 20), events("bad", 2)...)))
	ctx, cancel := contextOf(t)
	cancel()
	must(t, s.Run(ctx)) // it ends by itself, and long before the minute is over
	inOrder(t, r.bodies(), map[string]int{"good": 20}, false)
	if st := s.Stats().Endpoints[0]; st.Queued != 2 {
		t.Errorf("%+v", st)
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("Run may be called twice")
	}
}

func TestRetryAfterHoldsAll(t *testing.T) {
	var n atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer srv.Close()
	s := newSender(t, bucket(t), nil, Endpoint{URL: srv.URL, Secrets: []Secret{NewSecret()}})
	run(t, s)
	must(t, s.Add(events("a", 1)))
	(&receiver{t: t}).until("failure", func() bool {
		l := s.list()[0].lanes
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.mu.waiting) == 1
	})
	must(t, s.Add(events("b", 1)))
	if l, wait := s.list()[0].lanes.next(time.Now()); l != nil || wait < 20*time.Minute || wait > longestPause || n.Load() != 1 {
		t.Errorf("%v %v after %d requests", l, wait, n.Load())
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		status int
		text   string
		want   time.Duration
	}{
		{429, "7", 7 * time.Second}, {503, "0", 0}, {503, "999999999", longestPause}, {429, "99999999999999999999", 0}, {503, "", 0},
		{503, "soon", 0}, {503, "-5", 0}, {500, "7", 0}, {302, "7", 0},
		{503, "Sun, 01 Nov 2026 12:00:30 GMT", 30 * time.Second}, {503, "Sun, 01 Nov 2026 11:00:30 GMT", 0}, {503, "Sun, 01 Nov 2099 12:00:30 GMT", longestPause},
	} {
		resp := &http.Response{StatusCode: c.status, Header: http.Header{"Retry-After": {c.text}}}
		if got := retryAfter(resp, now); got != c.want {
			t.Errorf("%d %q is %v, want %v", c.status, c.text, got, c.want)
		}
	}
}

func TestPauses(t *testing.T) {
	cfg := Config{}
	cfg.setDefaults()
	for attempts, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 11: 1024 * time.Second,
		12: longestPause, 40: longestPause, 1000: longestPause} {
		if got := cfg.pauseAfter(attempts, 0.5); got != want {
			t.Errorf("after %d: %v, want %v", attempts, got, want)
		}
		if low, high := cfg.pauseAfter(attempts, 0), cfg.pauseAfter(attempts, 1); low != want*3/4 || high != want*5/4 {
			t.Errorf("after %d: %v to %v", attempts, low, high)
		}
	}
	var all time.Duration
	for i := 1; i < cfg.Attempts; i++ {
		all += cfg.pauseAfter(i, 0.5)
	}
	if all < 2*time.Hour || all > 3*time.Hour { // what the documentation says
		t.Errorf("given up after %v", all)
	}
}

func TestConfigFaults(t *testing.T) {
	_, err := New(Config{Attempts: -1, Pause: -1, MaxQueued: -1, Grace: -1, Endpoints: []Endpoint{
		{URL: "https://a.example/hook"}, {URL: "https://a.example/other", Secrets: []Secret{NewSecret()}}, {URL: "x", Events: []string{"Room"}},
	}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, word := range []string{"Store", "Client", "Attempts", "Pause", "MaxQueued", "Grace", "webhook 1 (a.example): secret", "webhook 2: there is another", "webhook 3", "events"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not name %s", err, word)
		}
	}
	if !slices.Contains(DefaultEvents, "room.*") {
		t.Error(DefaultEvents)
	}
}
