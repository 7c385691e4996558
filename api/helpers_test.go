package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/codec/vp8"
	"mixdown/codec/worker"
	"mixdown/mixer"
	"mixdown/mixer/record"
	"mixdown/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a Server before a real mixer. Unless a test asks for the real
// transport, connections are fakes that come up when told to.
type fixture struct {
	media string // the directory of files that may be played
	*Server
	store *record.Store
	log   *logBuffer

	mu    sync.Mutex
	peers []*fakePeer
	err   error // what accept fails with
}

// logBuffer keeps everything that was logged, at every level.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fakePeer is a connection that carries nothing.
type fakePeer struct {
	offer transport.Offer
	once  sync.Once

	mu         sync.Mutex
	ufrag      string // the client's
	candidates int    // times that some were added
	restarts   int
	err        error // what both fail with
}

func (p *fakePeer) ClientUFrag() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ufrag
}

func (p *fakePeer) AddCandidates(transport.Fragment) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.candidates++
	return p.err
}

func (p *fakePeer) Restart(_ context.Context, f transport.Fragment) (transport.Restarted, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restarts++
	if p.err != nil {
		return transport.Restarted{}, p.err
	}
	p.ufrag = f.UFrag
	ours := fmt.Sprint("ours", p.restarts)
	return transport.Restarted{Fragment: "a=ice-ufrag:" + ours + "\r\n", UFrag: ours}, nil
}

// failing has the peer refuse fragments.
func (p *fakePeer) failing(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (*fakePeer) WriteAudio(*codec.EncodedFrame)                 {}
func (*fakePeer) WriteVideo(*codec.EncodedFrame) codec.Verdict   { return codec.Dropped }
func (*fakePeer) RequestKeyframe(codec.SourceID)                 {}
func (*fakePeer) LimitUplink(codec.SourceID, codec.UplinkTarget) {}
func (*fakePeer) PaceVideo(int, int)                             {}
func (p *fakePeer) Close() error                                 { p.end(nil); return nil }
func (p *fakePeer) end(err error)                                { p.once.Do(func() { p.offer.Handler.PeerClosed(err) }) }
func (p *fakePeer) up()                                          { p.offer.Handler.Feedback(codec.Feedback{Link: codec.LinkUp}) }

func (f *fixture) fakeAccept(_ context.Context, o transport.Offer) (connection, transport.Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, transport.Answer{}, f.err
	}
	p := &fakePeer{offer: o, ufrag: "theirs"}
	f.peers = append(f.peers, p)
	return p, transport.Answer{
		SDP: "v=0\r\nanswer", UFrag: "uFr4g+/x",
		SendsAudio: o.Role != transport.RolePublisher, SendsVideo: o.Role != transport.RolePublisher,
		ReceivesAudio: o.Role != transport.RoleViewer, ReceivesCamera: o.Role != transport.RoleViewer,
	}, nil
}

func (f *fixture) failAccept(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fixture) lastPeer() *fakePeer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.peers[len(f.peers)-1]
}

// newFixture makes everything, and takes it down in the order in which a
// program should.
func newFixture(t testing.TB, realTransport bool, edit ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{log: &logBuffer{}}
	log := slog.New(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	pool, err := worker.New(worker.Config{Workers: 1})
	must(t, err)
	f.store, err = record.OpenStore(record.StoreConfig{Dir: t.TempDir() + "/recordings", Log: log})
	must(t, err)
	f.media = t.TempDir()
	media, err := os.OpenRoot(f.media)
	must(t, err)
	rooms, err := mixer.New(mixer.Config{
		Log: log, Pool: pool, Recordings: f.store, Media: media,
		Codecs: mixer.Codecs{
			AudioDecoder: func() (codec.AudioDecoder, error) { return opus.NewDecoder() },
			AudioEncoder: func() (codec.AudioEncoder, error) { return opus.NewEncoder(opus.EncoderConfig{}) },
			VideoDecoder: func() (codec.VideoDecoder, error) { return vp8.NewDecoder(vp8.DecoderConfig{}) },
			VideoEncoder: func(c codec.VideoEncoderConfig) (codec.VideoEncoder, error) { return vp8.NewEncoder(c) },
		},
	})
	must(t, err)
	engine, err := transport.New(transport.Config{Log: log, UDP: []string{"127.0.0.1:0"}})
	must(t, err)
	cfg := Config{Log: log, Rooms: rooms, Engine: engine, Recordings: f.store}
	for _, e := range edit {
		e(&cfg)
	}
	f.Server, err = New(cfg)
	must(t, err)
	if !realTransport {
		f.accept = f.fakeAccept
		f.check = func(string, transport.Role) (transport.Wishes, error) { return transport.Wishes{}, nil } // fakeAccept takes anything
	}

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = pool.Run(ctx) })
	if realTransport {
		running.Go(func() { _ = engine.Run(context.Background()) })
	}
	t.Cleanup(func() {
		f.Drain()
		if err := errors.Join(rooms.Close(), engine.Close(), f.store.Close(), media.Close()); err != nil {
			t.Error(err)
		}
		cancel()
		running.Wait()
	})
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reply is an answer, with its body read.
type reply struct {
	*http.Response
	text string
}

// do sends one request as a program on this machine would. headers are pairs.
func (f *fixture) do(method, target, body string, headers ...string) reply {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, target, r)
	req.Host, req.RemoteAddr = "127.0.0.1:8080", "127.0.0.1:40000"
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if strings.EqualFold(headers[i], "Host") {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, req)
	return reply{w.Result(), w.Body.String()}
}

// join posts an offer that a fake connection takes.
func (f *fixture) join(target string, headers ...string) reply {
	return f.do("POST", target, "v=0\r\n", append([]string{"Content-Type", "application/sdp"}, headers...)...)
}

// want fails the test unless the status is right.
func (r reply) want(t testing.TB, status int) reply {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("status %d, want %d: %s", r.StatusCode, status, r.text)
	}
	return r
}

// problem fails the test unless the answer is a well-formed problem of that
// status and code.
func (r reply) problem(t testing.TB, status int, code string) Problem {
	t.Helper()
	r.want(t, status)
	var p Problem
	if err := json.Unmarshal([]byte(r.text), &p); err != nil {
		t.Fatalf("%v in %q", err, r.text)
	}
	if ct := r.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q", ct)
	}
	if p.Code != code || p.Status != status || p.Type != "/docs#"+code || p.Title == "" {
		t.Fatalf("want code %q, got %s", code, r.text)
	}
	return p
}

// json decodes the answer.
func (r reply) json(t testing.TB, into any) {
	t.Helper()
	if ct := r.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("content type %q", ct)
	}
	if err := json.Unmarshal([]byte(r.text), into); err != nil {
		t.Fatalf("%v in %q", err, r.text)
	}
}
