// Package web holds the pages that mixdown serves: plain modules, embedded in
// the binary, with no build step.
//
// The page at / makes or joins a room, the page at /r/{room} joins that one;
// both are the same document. The page at /admin shows all rooms to whoever may
// see them, and lets them be moderated. They talk to the server only through the
// public API, so they are also the shortest examples of clients.
package web

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed static
var static embed.FS

// contentSecurityPolicy lets the page load its own files, talk to its own
// server, and nothing else. Pictures and sound come from blobs and streams.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; " +
	"connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the pages at /, /r/{room}, /test and /admin, and their files below
// /static/. It answers GET and HEAD; everything else is 404 or 405.
func Handler() http.Handler {
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the directory is embedded above
	}
	mux := http.NewServeMux()
	page := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, name) }
	}
	mux.HandleFunc("GET /{$}", page("page.html"))
	mux.HandleFunc("GET /r/{room}", page("page.html"))
	mux.HandleFunc("GET /admin", page("admin.html"))
	mux.HandleFunc("GET /test", page("test.html"))
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(files)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(self)")
		h.Set("Cache-Control", "no-cache")
		mux.ServeHTTP(w, r)
	})
}
