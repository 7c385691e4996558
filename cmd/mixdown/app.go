package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"mixdown/api"
	"mixdown/api/store"
	"mixdown/api/webhook"
	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/codec/speexdsp"
	"mixdown/codec/vp8"
	"mixdown/codec/worker"
	"mixdown/mixer"
	"mixdown/mixer/record"
	"mixdown/mixer/video"
	"mixdown/transport"
	"mixdown/web"
)

// Config is what an [App] needs; the flags of `mixdown serve` fill it. All
// fields but Admin and Origins are required.
type Config struct {
	// HTTP and Admin are "host:port", port 0 any free one; Admin "off" is none.
	HTTP, Admin string
	// Media are the UDP sockets, "host:port" each.
	Media []string
	// MediaTCP are the TCP sockets for media; none is those of Media, "off" alone
	// is none at all.
	MediaTCP []string
	// FullICE and PublicAddresses are transport.Config's.
	FullICE         bool
	PublicAddresses []netip.Addr
	// Keys are whose tokens let somebody in; without keys everybody may do
	// everything.
	Keys serverKeyFlags
	// TLS says how HTTP is encrypted.
	TLS tlsFlags
	// TURN says how clients that do not reach Media are helped.
	TURN turnFlags
	// Webhooks says which other servers are told of events.
	Webhooks webhookFlags
	// Data is the directory for recordings, made when missing.
	Data string
	// Lasting says what rooms are made after, and how much is kept of them.
	Lasting lastingFlags
	// MediaDir is the directory whose files may be played into rooms; "" is none.
	MediaDir string
	// NoRED refuses redundant sound (RFC 2198).
	NoRED bool
	// PlayoutDelay bounds how late clients show pictures; 0 leaves it to them.
	PlayoutDelay time.Duration
	// OpenH264 is the library for H.264: a file, "auto" for wherever the system
	// keeps it, "off" or "" for none. TrustOpenH264 decodes with it whatever is
	// known of its version.
	OpenH264      string
	TrustOpenH264 bool
	// Drain bounds the end of Run.
	Drain time.Duration
	// Origins are further web origins that may use the API.
	Origins []string
	// Workers is the number of threads for video; 0 is one per core.
	Workers int
	// Cores is the processor time that may be used, in cores: joins that would
	// take more than 80% of it are refused. 0 is no such bound, and no governor.
	Cores float64
	// FlightRecorder keeps the runtime's trace of the last seconds, to be
	// written to TraceDir, which defaults to Data/traces, when an audio tick
	// begins LateAfter, by default 40 ms, after it was due. One App in a
	// process can have it.
	FlightRecorder bool
	TraceDir       string
	LateAfter      time.Duration
	// Log defaults to discarding.
	Log *slog.Logger
	// Tracer traces joins; nil traces nothing.
	Tracer trace.Tracer
	// LogLevel sets the level of Log; nil is one that cannot be changed.
	LogLevel *slog.LevelVar
}

// App is the whole server in one value: sockets, worker pool, rooms, media
// engine and HTTP. Tests start it on port 0 like main does on 8080. Create it
// with [NewApp].
type App struct {
	cfg    Config
	log    *slog.Logger
	cancel context.CancelFunc
	ended  context.Context // done when Close was called

	pool   *worker.Pool
	labels *video.Labeller
	store  *record.Store
	state  *store.Store // what outlives the process
	media  *os.Root     // nil: no files are played
	engine *transport.Engine
	tls    *serverTLS      // nil: plain HTTP
	turn   *transport.TURN // nil: none
	rooms  *mixer.Manager
	server *api.Server
	flight *flightRecorder // nil: off
	h264   openH264
	hooks  *webhook.Sender

	// Those of admin and of plain HTTP that leads to HTTPS may be nil.
	listener, adminListener, redirectListener net.Listener

	redirect  http.Handler // of redirectListener
	registry  *prometheus.Registry
	reloaders []reloader // what takes changes while it runs

	mu struct {
		sync.Mutex
		running bool
		closed  bool
	}
	done chan struct{} // closed when Run has returned
}

// NewApp opens all sockets and the data directory, finishing recordings that a
// crash left there, so that whatever is wrong is known at once. Nothing is
// served before [App.Run].
func NewApp(cfg Config) (app *App, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	a := &App{cfg: cfg, log: cfg.Log, registry: prometheus.NewRegistry(), done: make(chan struct{})}
	a.ended, a.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, a.release())
			a.cancel()
		}
	}()
	if a.pool, err = worker.New(worker.Config{Workers: cfg.Workers}); err != nil {
		return nil, err
	}
	if err = os.MkdirAll(cfg.Data, 0o750); err != nil {
		return nil, err
	}
	if a.store, err = record.OpenStore(record.StoreConfig{Dir: filepath.Join(cfg.Data, "recordings"), Log: a.log, Limits: cfg.Lasting.limits()}); err != nil {
		return nil, err
	}
	if a.state, err = store.Open(filepath.Join(cfg.Data, "state.db")); err != nil {
		return nil, err
	}
	if a.h264, err = loadOpenH264(cfg.OpenH264, cfg.TrustOpenH264, a.log); err != nil {
		return nil, err
	}
	sockets := transport.Config{
		Log: a.log, UDP: cfg.Media, TCP: cfg.MediaTCP, NoTCP: len(cfg.MediaTCP) == 1 && cfg.MediaTCP[0] == tcpOff,
		FullICE: cfg.FullICE, PublicAddresses: cfg.PublicAddresses, NoRED: cfg.NoRED, PlayoutDelay: cfg.PlayoutDelay,
		SendH264: a.h264.lib != nil, ReceiveH264: a.h264.decodes,
	}
	if sockets.NoTCP {
		sockets.TCP = nil
	}
	a.engine, err = transport.New(sockets)
	if err != nil {
		return nil, fmt.Errorf("media sockets: %w", err)
	}
	if a.tls, err = newServerTLS(cfg.TLS, cfg.Data, a.log); err != nil {
		return nil, err
	}
	var iceServers func(host, name string) []api.ICEServer
	if a.turn, iceServers, err = newTURN(cfg.TURN, a.tls, a.engine, a.log); err != nil {
		return nil, err
	}
	if a.labels, err = video.NewLabeller(video.LabellerConfig{Log: a.log}); err != nil {
		return nil, err
	}
	rooms := mixer.Config{Log: a.log, Pool: a.pool, Codecs: codecs(), Recordings: a.store, Labels: a.labels, Cores: cfg.Cores}
	a.h264.add(&rooms.Codecs)
	if cfg.MediaDir != "" {
		if a.media, err = os.OpenRoot(cfg.MediaDir); err != nil {
			return nil, fmt.Errorf("--media-dir: %w", err)
		}
		rooms.Media = a.media
	}
	if cfg.FlightRecorder {
		if a.flight, err = newFlightRecorder(cmp.Or(cfg.TraceDir, filepath.Join(cfg.Data, "traces")), a.log); err != nil {
			return nil, err
		}
		rooms.LateTick, rooms.LateAfter = a.flight.lateAudio, cfg.LateAfter
	}
	if a.rooms, err = mixer.New(rooms); err != nil {
		return nil, err
	}
	if err := a.registerMetrics(); err != nil {
		return nil, err
	}
	a.registerReloaders()
	surface := api.Config{
		Log: a.log, Rooms: a.rooms, Engine: a.engine, Recordings: a.store, Origins: cfg.Origins,
		Bans: a.state.Bucket("bans"), KeptRooms: a.state.Bucket("rooms"), Presets: cfg.Lasting.presets(),
		ICEServers: iceServers, Pages: web.Handler(), Metrics: a.registry, Tracer: cfg.Tracer, Version: Version(),
	}
	if err = a.useKeys(cfg.Keys, &surface); err != nil {
		return nil, err
	}
	if a.server, err = api.New(surface); err != nil {
		return nil, err
	}
	if err = a.openWebhooks(); err != nil {
		return nil, err
	}
	a.reloadLasting()
	if a.listener, err = net.Listen("tcp", cfg.HTTP); err != nil {
		return nil, fmt.Errorf("--http: %w", err)
	}
	if to := cfg.TLS.redirect(); to != "" && a.tls != nil {
		if a.redirectListener, err = net.Listen("tcp", to); err != nil {
			return nil, fmt.Errorf("--redirect: %w (off will do without)", err)
		}
		a.redirect = a.tls.redirect(a.listener.Addr().(*net.TCPAddr).Port)
	}
	if cfg.Admin != "" && cfg.Admin != adminOff {
		if a.adminListener, err = net.Listen("tcp", cfg.Admin); err != nil {
			return nil, fmt.Errorf("--admin: %w (another address, or off, will do)", err)
		}
	}
	return a, nil
}

// codecs are the makers of the real codecs.
func codecs() mixer.Codecs {
	return mixer.Codecs{
		AudioDecoder: func() (codec.AudioDecoder, error) { return opus.NewDecoder() },
		AudioEncoder: func() (codec.AudioEncoder, error) { return opus.NewEncoder(opus.EncoderConfig{FEC: true}) },
		VideoDecoder: func() (codec.VideoDecoder, error) { return vp8.NewDecoder(vp8.DecoderConfig{}) },
		VideoEncoder: func(c codec.VideoEncoderConfig) (codec.VideoEncoder, error) { return vp8.NewEncoder(c) },
		Suppressor:   func() (mixer.Suppressor, error) { return speexdsp.NewSuppressor(speexdsp.Config{}) },
	}
}

// Addr is the address that HTTP is served on.
func (a *App) Addr() net.Addr { return a.listener.Addr() }

// URLs are those of the pages, the one that people are best told first.
func (a *App) URLs() []string {
	if a.tls == nil {
		return []string{"http://" + a.listener.Addr().String()}
	}
	return a.tls.urls(a.listener.Addr())
}

// AdminAddr is the address of metrics and profiles, "" when there is none.
func (a *App) AdminAddr() string {
	if a.adminListener == nil {
		return ""
	}
	return a.adminListener.Addr().String()
}

// Run serves until ctx is done or [App.Close] is called, then drains: no new
// joins, not ready, every room ended and its recording finished, clients
// disconnected, and returns nil. It returns [errDrainTimeout] when that took
// longer than Config.Drain, and an error when a part fails by itself. It is
// called once.
func (a *App) Run(ctx context.Context) error {
	a.mu.Lock()
	if a.mu.closed || a.mu.running {
		a.mu.Unlock()
		return errors.New("app: Run was called twice or after Close")
	}
	a.mu.running = true
	a.mu.Unlock()
	defer close(a.done)
	defer a.cancel()

	// Each part outlives those that use it, so each has a context of its own;
	// the first that fails ends all.
	failed := make(chan error, 16)
	pool := startPart(failed, "worker pool", a.pool.Run)
	labels := startPart(failed, "labels", a.labels.Run)
	engine := startPart(failed, "media engine", a.engine.Run)
	turn := startPart(failed, "TURN server", a.runTURN)
	rooms := startPart(failed, "rooms", a.rooms.Run)
	hooks := startPart(failed, "webhooks", a.runWebhooks)
	flight := startPart(failed, "flight recorder", a.runFlightRecorder)
	certificates := startPart(failed, "certificates", a.tls.run)
	storage := startPart(failed, "recordings", a.store.Run)
	a.server.RestoreRooms(ctx)
	kept := startPart(failed, "kept rooms", a.server.KeepRooms)
	web := startPart(failed, "http", a.serveHTTP)
	a.log.Info("serving", "http", a.Addr(), "media", a.engine.Addrs(), "mediaTCP", a.engine.TCPAddrs(), "admin", a.AdminAddr(), "version", Version())

	var err error
	select {
	case <-ctx.Done():
	case <-a.ended.Done():
	case err = <-failed:
	}
	// HTTP before media: a client that polls its session learns why it ended.
	return errors.Join(err, a.drain(kept, rooms, hooks, web, certificates, engine, turn, labels, pool, flight, storage))
}

// errDrainTimeout says that the end took longer than it may.
var errDrainTimeout = errors.New("drain timed out: some rooms or downloads were cut off")

// drain ends the parts in the order given.
func (a *App) drain(parts ...*part) error {
	a.log.Info("draining", "for", a.cfg.Drain)
	deadline := time.NewTimer(a.cfg.Drain)
	defer deadline.Stop()
	a.server.Drain()
	a.rooms.Drain()
	ended := make(chan error, 1)
	go func() { // ends when the parts have; at the latest with the process
		var errs []error
		for _, p := range parts {
			errs = append(errs, p.stop())
		}
		ended <- errors.Join(append(errs, a.store.Close(), a.flight.Close(), a.closeMedia(), a.state.Close())...)
	}()
	select {
	case err := <-ended:
		a.log.Info("ended", "error", err)
		return err
	case <-deadline.C:
		return errDrainTimeout
	}
}

// runTURN is the life of the TURN server, when there is one. It ends after the
// engine, whose goodbyes it relays.
func (a *App) runTURN(ctx context.Context) error {
	if a.turn == nil {
		<-ctx.Done()
		return nil
	}
	a.log.Info("relaying", "turn", a.turn.Addrs())
	return a.turn.Run(ctx)
}

// runFlightRecorder is the life of the flight recorder, when there is one. That
// it cannot run is no reason to end: it is there to help.
func (a *App) runFlightRecorder(ctx context.Context) error {
	if a.flight != nil {
		if err := a.flight.Run(ctx); err != nil {
			a.log.Error("the flight recorder does not run", "error", err)
		}
	}
	<-ctx.Done()
	return nil
}

// serveHTTP is the life of all HTTP servers.
func (a *App) serveHTTP(ctx context.Context) error {
	servers := []*http.Server{api.HTTPServer(a.server)}
	listeners := []net.Listener{a.listener}
	beside := func(l net.Listener, h http.Handler) {
		servers = append(servers, &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute})
		listeners = append(listeners, l)
	}
	if a.tls != nil {
		a.tls.encrypt(servers[0])
	}
	if a.adminListener != nil {
		beside(a.adminListener, a.adminHandler())
	}
	if a.redirectListener != nil {
		beside(a.redirectListener, a.redirect)
	}
	served := make(chan error, len(servers))
	for i, s := range servers {
		s.ErrorLog = slog.NewLogLogger(a.log.Handler(), slog.LevelDebug)
		go func() {
			if s.TLSConfig != nil {
				served <- s.ServeTLS(listeners[i], "", "")
			} else {
				served <- s.Serve(listeners[i])
			}
		}()
	}
	var errs []error
	waiting := len(servers)
	select {
	case <-ctx.Done():
	case err := <-served: // a socket failed: the others end too
		errs = append(errs, err)
		waiting--
	}
	// Downloads may go on, but not until the drain's deadline.
	grace, cancel := context.WithTimeout(context.Background(), a.cfg.Drain/2)
	defer cancel()
	for _, s := range servers {
		if s.Shutdown(grace) != nil {
			_ = s.Close()
		}
	}
	for range waiting {
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Close ends Run and waits for it; without Run it closes sockets and files. Twice is
// fine.
func (a *App) Close() error {
	a.mu.Lock()
	running, closed := a.mu.running, a.mu.closed
	a.mu.closed = true
	a.mu.Unlock()
	a.cancel()
	if running {
		<-a.done
		return nil
	}
	if closed {
		return nil
	}
	return a.release()
}

// release closes what NewApp has opened so far.
func (a *App) release() error {
	var errs []error
	for _, l := range []net.Listener{a.listener, a.adminListener, a.redirectListener} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	if a.turn != nil {
		errs = append(errs, a.turn.Close())
	}
	if a.engine != nil {
		errs = append(errs, a.engine.Close())
	}
	errs = append(errs, a.closeMedia())
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	errs = append(errs, a.flight.Close())
	if a.state != nil {
		errs = append(errs, a.state.Close())
	}
	return errors.Join(errs...)
}

// part is one long-lived child of an App.
type part struct {
	cancel context.CancelFunc
	result chan error
}

// startPart runs one; when it ends before it was stopped, failed is told.
func startPart(failed chan<- error, name string, run func(context.Context) error) *part {
	ctx, cancel := context.WithCancel(context.Background())
	p := &part{cancel: cancel, result: make(chan error, 1)}
	go func() {
		err := run(ctx)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("ended by itself")
			}
			failed <- fmt.Errorf("%s: %w", name, err)
			err = nil // told once
		}
		p.result <- err
	}()
	return p
}

// stop ends it and waits.
func (p *part) stop() error {
	p.cancel()
	return <-p.result
}

func (a *App) closeMedia() error {
	if a.media == nil {
		return nil
	}
	return a.media.Close()
}
