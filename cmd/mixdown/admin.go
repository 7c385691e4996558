package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mixdown/api"
)

const (
	// maxProfile is how long one request may profile: what is not seen in two
	// minutes is not found by waiting longer.
	maxProfile = 2 * time.Minute
	// defaultProfile is pprof's own.
	defaultProfile = 30 * time.Second
	// maxProfilers bounds the requests that profile at the same time; more are
	// refused.
	maxProfilers = 2
	// readWithin is how long a client may take to read a profile.
	readWithin = time.Minute
)

// adminHandler serves metrics and profiles.
func (a *App) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}))
	mux.Handle("GET /livez", a.server) // for whoever need not know how HTTP is served
	mux.Handle("GET /readyz", a.server)
	bounded := boundProfiles()
	for path, handler := range map[string]http.HandlerFunc{
		"GET /debug/pprof/":         pprof.Index,
		"GET /debug/pprof/cmdline":  pprof.Cmdline,
		"GET /debug/pprof/profile":  pprof.Profile,
		"GET /debug/pprof/symbol":   pprof.Symbol,
		"GET /debug/pprof/trace":    pprof.Trace,
		"GET /debug/flightrecorder": a.flight.serve,
	} {
		mux.Handle(path, bounded(handler))
	}
	if addr, ok := a.adminListener.Addr().(*net.TCPAddr); ok && addr.IP.IsLoopback() {
		return loopbackNames(mux)
	}
	return mux
}

// loopbackNames refuses requests to this machine by another name: a web page
// whose name has been made to lead here (DNS rebinding) could read profiles.
func loopbackNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !api.LoopbackHost(r.Host) {
			http.Error(w, "this address answers to localhost and 127.0.0.1 only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// boundProfiles returns a wrapper that bounds how long, and in all how often,
// handlers profile.
func boundProfiles() func(http.Handler) http.Handler {
	places := make(chan struct{}, maxProfilers)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			length := defaultProfile
			if text := r.FormValue("seconds"); text != "" {
				n, err := strconv.Atoi(text)
				if err != nil || n < 1 || n > int(maxProfile.Seconds()) {
					http.Error(w, fmt.Sprintf("seconds=%.20q: want a whole number, 1 to %.0f", text, maxProfile.Seconds()), http.StatusBadRequest)
					return
				}
				length = time.Duration(n) * time.Second
			}
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
			default:
				w.Header().Set("Retry-After", "10")
				http.Error(w, fmt.Sprintf("%d requests are profiling already", maxProfilers), http.StatusServiceUnavailable)
				return
			}
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(length + readWithin)) // not every writer has deadlines
			next.ServeHTTP(w, r)
		})
	}
}
