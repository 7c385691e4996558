package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mixdown/api/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// received is what came to a receiver.
type received struct{ id, body string }

// receiver is a server that is told. It verifies by the specification's words,
// not by our code.
type receiver struct {
	t       *testing.T
	srv     *httptest.Server
	secrets []Secret
	// answer, when it is set, says what to do with a message; 0 is 204. It is
	// called by many at once.
	answer func(received) int

	mu struct {
		sync.Mutex
		all   []received // also what was refused
		taken []received
	}
	news chan struct{}
}

func newReceiver(t *testing.T, answer func(received) int) *receiver {
	t.Helper()
	r := &receiver{t: t, secrets: []Secret{NewSecret()}, answer: answer, news: make(chan struct{}, 1)}
	r.srv = httptest.NewServer(r)
	t.Cleanup(r.srv.Close)
	return r
}

func (r *receiver) endpoint() Endpoint {
	return Endpoint{Name: "test", URL: r.srv.URL + "/hook?token=private", Secrets: r.secrets, Events: []string{"*"}}
}

// ServeHTTP takes a message.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender has gone
	}
	id, at, signature := req.Header.Get("webhook-id"), req.Header.Get("webhook-timestamp"), req.Header.Get("webhook-signature")
	sent, err := strconv.ParseInt(at, 10, 64)
	if err != nil || time.Since(time.Unix(sent, 0)).Abs() > time.Minute {
		r.t.Errorf("sent at %q", at)
	}
	if req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" || req.Header.Get("User-Agent") != "mixdown" || req.RequestURI != "/hook?token=private" {
		r.t.Errorf("%s %s %v", req.Method, req.RequestURI, req.Header)
	}
	signatures := strings.Split(signature, " ")
	for i, s := range r.secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Text(), "whsec_"))
		if err != nil {
			r.t.Error(err)
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + at + "." + string(body)))
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); len(signatures) != len(r.secrets) || signatures[i] != want {
			r.t.Errorf("signed %q, want %q as number %d", signature, want, i)
		}
	}
	m, status := received{id, string(body)}, 0
	r.mu.Lock()
	r.mu.all = append(r.mu.all, m)
	r.mu.Unlock()
	if r.answer != nil {
		status = r.answer(m)
	}
	if status == 0 {
		status = http.StatusNoContent
	}
	if status < 300 {
		r.mu.Lock()
		r.mu.taken = append(r.mu.taken, m)
		r.mu.Unlock()
	}
	w.WriteHeader(status)
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// bodies of what was taken so far.
func (r *receiver) bodies() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.mu.taken {
		out = append(out, m.body)
	}
	return out
}

// taken waits for n messages that were taken.
func (r *receiver) taken(n int) []received {
	r.t.Helper()
	r.until(fmt.Sprintf("%d messages", n), func() bool { return len(r.bodies()) >= n })
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received{}, r.mu.taken...)
}

// until waits for something that messages bring about.
func (r *receiver) until(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-r.news:
		case <-time.After(5 * time.Millisecond): // what follows a message is not told
		case <-deadline:
			r.t.Fatalf("no %s; taken were %v", what, r.bodies())
		}
	}
}

// queue is a store in a file, as the server has it.
func queue(t *testing.T) (open func() *store.Bucket, shut func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	var s *store.Store
	shut = func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	open = func() *store.Bucket {
		var err error
		if s, err = store.Open(path); err != nil {
			t.Fatal(err)
		}
		return s.Bucket("webhooks")
	}
	t.Cleanup(func() { shut() }) // twice is fine
	return open, shut
}

func bucket(t *testing.T) *store.Bucket {
	open, _ := queue(t)
	return open()
}

// newSender makes one that is impatient.
func newSender(t *testing.T, b *store.Bucket, edit func(*Config), to ...Endpoint) *Sender {
	t.Helper()
	cfg := Config{Store: b, Client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}, Endpoints: to, Pause: time.Millisecond}
	if edit != nil {
		edit(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs it until the returned function is called, or the test ends.
func run(t *testing.T, s *Sender) (stop func()) {
	t.Helper()
	ctx, cancel := contextOf(t)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

var ids struct {
	sync.Mutex
	n int
}

// event has a body that says which of its room's it is.
func event(room string, n int) Event {
	ids.Lock()
	defer ids.Unlock()
	ids.n++
	return Event{ID: fmt.Sprintf("PROC-%d", ids.n), Type: "room.test", Room: room, Body: fmt.Appendf(nil, `{"room":%q,"n":%d}`, room, n)}
}

func events(room string, n int) (out []Event) {
	for i := range n {
		out = append(out, event(room, i))
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inOrder fails unless the events of each room came in order, without gaps and
// up to most; repeats of the last one are fine where they are allowed for.
func inOrder(t *testing.T, got []string, rooms map[string]int, repeats bool) {
	t.Helper()
	next := make(map[string]int)
	for _, body := range got {
		var room string
		var n int
		if _, err := fmt.Sscanf(body, `{"room":%q,"n":%d}`, &room, &n); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		switch {
		case n == next[room]:
			next[room]++
		case repeats && n == next[room]-1:
		default:
			t.Fatalf("number %d of room %s came where %d was due: %v", n, room, next[room], got)
		}
	}
	for room, n := range rooms {
		if next[room] != n {
			t.Errorf("of room %s %d events came, want %d", room, next[room], n)
		}
	}
}
