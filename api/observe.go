package api

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
)

// answerTimeout is how long a client may take to read an answer that is not a
// download.
const answerTimeout = 30 * time.Second

// observe gives a request its id and its deadline, and counts and logs it once it was
// answered. The log has the route's template, never the path: a path can hold
// a session's secret.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		sc := &scope{id: rand.Text()[:16]}
		rctx := chi.NewRouteContext() // ours, since chi recycles its own before we can read the template
		rctx.Routes = s.router
		ctx := context.WithValue(context.WithValue(r.Context(), scopeKey{}, sc), chi.RouteCtxKey, rctx)
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		_ = http.NewResponseController(w).SetWriteDeadline(began.Add(answerTimeout)) // not every writer has deadlines
		h := ww.Header()
		h.Set("X-Request-Id", sc.id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")

		next.ServeHTTP(ww, r.WithContext(ctx))

		method, route := r.Method, rctx.RoutePattern()
		if route == "" || route == "/*" {
			// Outside the routes the words are the client's own: bound them.
			route, method = "none", "any"
		}
		code := ww.Status()
		if code == 0 {
			code = http.StatusOK
		}
		s.metrics.requests.WithLabelValues(method, route, strconv.Itoa(code)).Inc()
		s.log.LogAttrs(ctx, slog.LevelDebug, "request",
			slog.String("request", sc.id), slog.String("method", method), slog.String("route", route),
			slog.Int("status", code), slog.Int("bytes", ww.BytesWritten()),
			slog.Duration("took", time.Since(began)), slog.String("from", clientAddr(r).String()))
	})
}

// recover answers a panic with a bare 500 and goes on. The stack goes into the
// log and nowhere else.
func (s *Server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler {
				panic(v)
			}
			s.log.Error("panic in a request", "request", scopeOf(r.Context()).id, "panic", v, "stack", string(debug.Stack()))
			s.metrics.panics.Inc()
			if ww, ok := w.(middleware.WrapResponseWriter); ok && ww.Status() == 0 {
				s.fail(w, r, errPanic)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

var errPanic = errors.New("panic, logged with its stack")

// metrics are the counters of the surface. They always count; without a
// registry nobody reads them.
type metrics struct {
	requests *prometheus.CounterVec
	panics   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, sessions *sessions, others ...prometheus.Collector) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mixdown_http_requests_total", Help: "Requests answered, by method, route template and status.",
		}, []string{"method", "route", "code"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mixdown_http_panics_total", Help: "Requests that ended in a bug of ours.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	live := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mixdown_sessions", Help: "Signalling sessions that live.",
	}, func() float64 { n, _ := sessions.counts(); return float64(n) })
	halfOpen := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mixdown_sessions_half_open", Help: "Clients that were answered and have not connected yet.",
	}, func() float64 { _, n := sessions.counts(); return float64(n) })
	var errs []error
	for _, c := range append([]prometheus.Collector{m.requests, m.panics, live, halfOpen}, others...) {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}
