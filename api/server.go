package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/cors"
	"github.com/go-chi/httprate"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"mixdown/mixer"
	"mixdown/transport"
)

// Config is what a Server needs. Rooms and Engine are required.
type Config struct {
	// Log receives one line per request, at debug, and what went wrong.
	// Defaults to discarding.
	Log *slog.Logger
	// Rooms are served. The caller owns and runs it.
	Rooms *mixer.Manager
	// Engine connects clients. The caller owns and runs it.
	Engine *transport.Engine
	// Recordings are listed and downloaded from here; nil serves none. (A nil
	// *record.Store in it is not nil: leave the field out.)
	Recordings Recordings
	// Authorizer decides who may. Defaults to [Keyless] with Origins.
	Authorizer Authorizer
	// BehindProxy believes the last address of X-Forwarded-For, as the one that a
	// proxy before the server was asked from.
	BehindProxy bool
	// Origins are the web pages of other origins that may use the API, as
	// "https://example.org"; "*" is all. Defaults to none.
	Origins []string
	// ICEServers tells which servers clients may use to reach the media. host is
	// by which name or address the client has reached this server, and may be
	// empty; credentials are made for name, 1..64 of A-Z, a-z, 0-9, "_" and "-".
	// Called for each request, at the same time; nil tells none.
	ICEServers func(host, name string) []ICEServer
	// JoinsPerSecond is per address (IPv6: per /64). Defaults to 10, and to
	// 100 without an Authorizer, where every client comes from this machine.
	JoinsPerSecond int
	// LayoutsPerSecond is how often one layout may be changed, on average over
	// four seconds. Defaults to 2: each change moves pictures, and has senders
	// change their size.
	LayoutsPerSecond int
	// MaxHalfOpen is how many clients of one address may be between their
	// answer and their first media key; negative is no limit. Defaults to
	// 5, and to 200 without an Authorizer.
	MaxHalfOpen int
	// MaxPerAddress is how many clients of one address (IPv6: of a /64) may be
	// connected or connecting; negative is no limit. Defaults to 200, since a
	// whole office may have one address, and to no limit without an Authorizer.
	MaxPerAddress int
	// MaxStreams is how many clients may be told of events at one time, and
	// MaxStreamsPerAddress how many of one address, and of one token's holder at
	// whatever addresses; negative is no limit.
	// Default to 4096 and 100, and without an Authorizer to 2000 per address.
	MaxStreams, MaxStreamsPerAddress int
	// MaxLive is how many clients may watch or listen by plain HTTP at one time,
	// and MaxLivePerRoom how many of them one room; negative is no limit. Default
	// to 512 and 64. They count as streams of their addresses as well.
	MaxLive, MaxLivePerRoom int
	// Revoke ends the tokens that an identity has for a room, when it is removed
	// or banned from it. It may block on the disk; nil, without keys, does nothing.
	Revoke func(room mixer.RoomID, identity string) error
	// Bans keeps who is banned over a restart; nil forgets them.
	Bans BanStore
	// KeptRooms keeps persistent rooms over a restart; nil keeps none.
	KeptRooms KeptRooms
	// Presets are rooms that others can be made after, by name: JSON as it is sent
	// to make one. "default" is what rooms are made after that name none.
	Presets map[string]json.RawMessage
	// Pages serves what is not the API's, for GET and HEAD; nil is nothing.
	Pages http.Handler
	// Metrics registers the counters; nil counts nothing.
	Metrics prometheus.Registerer
	// Tracer traces joins; nil traces nothing.
	Tracer trace.Tracer
	// Version is told in the OpenAPI document. Defaults to "dev".
	Version string
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	joins, halfOpen, clients, streams := 10, 5, 200, 100
	if c.Authorizer == nil {
		c.Authorizer = Keyless{Origins: c.Origins}
		joins, halfOpen, clients, streams = 100, 200, -1, 2000
	}
	if c.JoinsPerSecond == 0 {
		c.JoinsPerSecond = joins
	}
	if c.LayoutsPerSecond == 0 {
		c.LayoutsPerSecond = 2
	}
	if c.MaxHalfOpen == 0 {
		c.MaxHalfOpen = halfOpen
	}
	if c.MaxPerAddress == 0 {
		c.MaxPerAddress = clients
	}
	if c.MaxStreams == 0 {
		c.MaxStreams = 4096
	}
	if c.MaxStreamsPerAddress == 0 {
		c.MaxStreamsPerAddress = streams
	}
	if c.MaxLive == 0 {
		c.MaxLive = 512
	}
	if c.MaxLivePerRoom == 0 {
		c.MaxLivePerRoom = 64
	}
	if c.Version == "" {
		c.Version = "dev"
	}
}

// validate reports every fault at once.
func (c *Config) validate() error {
	var faults []error
	if c.Rooms == nil {
		faults = append(faults, errors.New("Rooms is missing"))
	}
	if c.Engine == nil {
		faults = append(faults, errors.New("Engine is missing"))
	}
	if c.JoinsPerSecond < 0 {
		faults = append(faults, fmt.Errorf("JoinsPerSecond is %d: want 1 or more", c.JoinsPerSecond))
	}
	if c.LayoutsPerSecond < 0 {
		faults = append(faults, fmt.Errorf("LayoutsPerSecond is %d: want 1 or more", c.LayoutsPerSecond))
	}
	for _, o := range c.Origins {
		if o != "*" && !strings.HasPrefix(o, "https://") && !strings.HasPrefix(o, "http://") {
			faults = append(faults, fmt.Errorf("origin %q: want scheme://host[:port]", o))
		}
	}
	return errors.Join(faults...)
}

// Server answers HTTP requests. Create it with [New]; it is safe for
// concurrent use.
type Server struct {
	log         *slog.Logger
	rooms       *mixer.Manager
	check       func(sdp string, role transport.Role) (transport.Wishes, error)
	accept      joiner
	recordings  Recordings
	keeper      *keeper
	presets     atomic.Pointer[presets]
	authorizer  Authorizer
	behindProxy bool
	sessions    *sessions
	streams     *streams
	live        *liveStreams
	metrics     *metrics
	tracer      trace.Tracer // nil: none
	pages       http.Handler
	origins     []string // of pages that may use the API besides our own
	draining    atomic.Bool
	// limitLayouts refuses who changes one layout too often.
	limitLayouts func(http.Handler) http.Handler
	ice          func(host, name string) []ICEServer // nil: none
	revoke       func(room mixer.RoomID, identity string) error
	bans         *bans
	pins         *pinTries

	version string
	started time.Time

	router   chi.Router
	huma     huma.API
	handler  http.Handler
	document []byte // OpenAPI, JSON
	docsPage []byte
}

// New validates cfg, reporting every fault, and starts nothing.
func New(cfg Config) (*Server, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	s := &Server{
		log: cfg.Log, rooms: cfg.Rooms, check: cfg.Engine.CheckOffer, accept: acceptWith(cfg.Engine), recordings: cfg.Recordings,
		authorizer: cfg.Authorizer, behindProxy: cfg.BehindProxy, tracer: cfg.Tracer, pages: cfg.Pages, ice: cfg.ICEServers, origins: cfg.Origins,
		revoke: cfg.Revoke, pins: newPinTries(),
		version: cfg.Version, started: time.Now().UTC().Truncate(time.Millisecond),
	}
	s.sessions = newSessions(cfg.MaxHalfOpen, cfg.MaxPerAddress, &s.draining)
	s.sessions.serve = s.serveChannel
	var err error
	if s.bans, err = newBans(cfg.Bans); err != nil {
		return nil, fmt.Errorf("api: bans: %w", err)
	}
	s.streams = newStreams(cfg.MaxStreams, cfg.MaxStreamsPerAddress)
	s.live = newLiveStreams(cfg.MaxLive, cfg.MaxLivePerRoom)
	if s.metrics, err = newMetrics(cfg.Metrics, s.sessions, eventMetrics{s.rooms, s.streams}, liveMetrics{s.live}); err != nil {
		return nil, fmt.Errorf("api: metrics: %w", err)
	}

	s.router = chi.NewRouter()
	s.router.Use(middleware.GetHead)
	s.router.NotFound(s.notFound)
	s.router.MethodNotAllowed(s.methodNotAllowed)
	s.huma = huma.NewAPI(humaConfig(cfg.Version), adapter{s})
	s.routes(cfg)
	if err := s.finishDocument(); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	if err := s.SetPresets(cfg.Presets); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	s.keeper = newKeeper(cfg.Rooms, cfg.KeptRooms)

	allowed := cors.Handler(cors.Options{
		// Our own pages need no CORS, and who says to be one may have rebound a
		// name to this machine.
		AllowOriginFunc: func(_ *http.Request, origin string) bool { return originListed(cfg.Origins, origin) },
		AllowedMethods:  []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"},
		AllowedHeaders:  []string{"Authorization", "Content-Type", "If-Match", "If-None-Match", "Last-Event-ID", "Range", pinHeader},
		ExposedHeaders:  []string{"Location", "ETag", "Link", "Retry-After", "Accept-Post", "Accept-Patch"},
		MaxAge:          600,
	})
	s.handler = s.observe(s.recover(allowed(s.router)))
	return s, nil
}

func originListed(origins []string, origin string) bool {
	for _, o := range origins {
		if o == "*" || strings.EqualFold(o, origin) {
			return true
		}
	}
	return false
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.behindProxy {
		r = forwarded(r)
	}
	s.handler.ServeHTTP(w, oneSpelling(r))
}

// spelling escapes what no name has, and what the router must not take for more
// than a part of one.
var spelling = strings.NewReplacer("%", "%25", "/", "%2F")

// oneSpelling returns a request whose path is not escaped where it need not be. The
// router would hand %72 to some as it is and to others as r, and who may do what
// would be decided of another room than what is then done.
func oneSpelling(r *http.Request) *http.Request {
	if !strings.Contains(r.URL.RawPath, "%") {
		return r
	}
	parts := strings.Split(r.URL.RawPath, "/")
	for i, part := range parts {
		if plain, err := url.PathUnescape(part); err == nil {
			parts[i] = spelling.Replace(plain)
		}
	}
	of, u := *r, *r.URL
	u.RawPath = strings.Join(parts, "/")
	of.URL = &u
	return &of
}

// Drain refuses joins and fails /readyz from now on, and ends streams of
// events and live streams. Sessions go on until their rooms end; they then answer 410 drained.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.streams.end()
}

// HTTPServer returns a server for h with the limits that this surface was made
// for. There is no WriteTimeout, since downloads may take long; answers have
// their own deadlines.
func HTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ConnContext:       withConn,
	}
}

// layoutBurst is for how many seconds changes of layouts are counted together,
// so that somebody may try a few modes.
const layoutBurst = 4

// routes registers everything. What is not registered by s.handle passes no
// authorisation: that is the health checks, which say nothing, and the pages.
func (s *Server) routes(cfg Config) {
	s.router.Get("/livez", s.livez)
	s.router.Get("/readyz", s.readyz)

	limit := httprate.LimitBy(cfg.JoinsPerSecond, time.Second, limitKey,
		httprate.WithLimitHandler(func(w http.ResponseWriter, r *http.Request) {
			s.fail(w, r, tooMany.problem("slow down"))
		}),
		httprate.WithResponseHeaders(httprate.ResponseHeaders{}))
	s.joinRoutes(limit)
	s.liveRoutes(limit)
	s.roomRoutes()
	s.limitLayouts = httprate.LimitBy(layoutBurst*cfg.LayoutsPerSecond, layoutBurst*time.Second,
		func(r *http.Request) (string, error) { return r.URL.Path, nil },
		httprate.WithLimitHandler(func(w http.ResponseWriter, r *http.Request) {
			s.fail(w, r, tooManyLayouts.problem("slow down"))
		}),
		httprate.WithResponseHeaders(httprate.ResponseHeaders{}))
	s.layoutRoutes()
	s.participantRoutes()
	s.moderationRoutes()
	s.inputRoutes()
	s.recordingRoutes()
	s.nodeRoutes()
	s.eventRoutes()
	s.chatRoutes()
	s.tokenRoutes()
	s.documentRoutes()
}

// rawHandler is a plain handler whose error is answered with a Problem.
type rawHandler func(http.ResponseWriter, *http.Request) error

// grantOf says what a request needs.
type grantOf func(*http.Request) Grant

// static needs the same always.
func static(a Action) grantOf { return func(*http.Request) Grant { return Grant{Action: a} } }

// inRoom needs an action on the room in the path.
func inRoom(a Action) grantOf {
	return func(r *http.Request) Grant {
		return Grant{Action: a, Room: mixer.RoomID(chi.URLParam(r, "room"))}
	}
}

// scoped lets tokens in URLs do it, those of one scope.
func scoped(scope string, need grantOf) grantOf {
	return func(r *http.Request) Grant {
		g := need(r)
		g.Scope = scope
		return g
	}
}

// handle is the only way in: it puts the authorisation step, and then what is
// in between, before h.
func (s *Server) handle(method, pattern string, need grantOf, h http.HandlerFunc, between ...func(http.Handler) http.Handler) {
	step := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who, err := s.authorizer.Authorize(r, need(r))
			if err != nil {
				s.fail(w, r, err)
				return
			}
			sc := scopeOf(r.Context())
			sc.identity = who
			sc.may = func(g Grant) error {
				_, err := s.authorizer.Authorize(r, g)
				return err
			}
			next.ServeHTTP(w, withoutToken(r))
		})
	}
	s.router.With(step).With(between...).Method(method, pattern, h)
}

// raw registers a plain handler, and documents it.
func (s *Server) raw(op huma.Operation, need grantOf, h rawHandler, between ...func(http.Handler) http.Handler) {
	s.huma.OpenAPI().AddOperation(s.described(&op))
	s.handle(op.Method, op.Path, need, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	}, between...)
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	page := r.Method == http.MethodGet || r.Method == http.MethodHead
	for _, prefix := range []string{"/v1/", "/whip/", "/whep/"} {
		page = page && !strings.HasPrefix(r.URL.Path, prefix)
	}
	if page && s.pages != nil {
		s.pages.ServeHTTP(w, r)
		return
	}
	s.fail(w, r, noRoute.problem(""))
}

func (s *Server) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if r.URL.RawPath != "" {
		path = r.URL.RawPath
	}
	var allow []string
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		known := s.router.Match(chi.NewRouteContext(), m, path) ||
			m == "HEAD" && s.router.Match(chi.NewRouteContext(), "GET", path)
		if known {
			allow = append(allow, m)
		}
	}
	s.fail(w, r, noMethod.problem("").with("Allow", strings.Join(allow, ", ")))
}

func (s *Server) livez(w http.ResponseWriter, _ *http.Request) { status(w, "ok") }

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		s.fail(w, r, draining.problem(""))
		return
	}
	status(w, strings.TrimSuffix("ok\n"+s.storageLine(), "\n"))
}

func status(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = fmt.Fprintln(w, text)
}

// scope is what is known of one request. Its middleware makes it, the
// authorisation step adds the identity, the decoding of bodies the body.
type scope struct {
	id       string
	identity Identity
	body     []byte
	// may says whether the same client may do something else as well.
	may func(Grant) error
}

type scopeKey struct{}

// scopeOf never returns nil.
func scopeOf(ctx context.Context) *scope {
	if s, ok := ctx.Value(scopeKey{}).(*scope); ok {
		return s
	}
	return &scope{}
}
