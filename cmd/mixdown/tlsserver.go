package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/acme"
)

// serverTLS is how HTTP is encrypted.
type serverTLS struct {
	// certificate is tls.Config.GetCertificate, of TURN as well.
	certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// until is when the certificate ends; zero while there is none.
	until func() time.Time
	// domains are the public names, for which browsers are told to insist on
	// TLS. There are none with a certificate of our own: they would allow no
	// exception for it then.
	domains []string

	self *selfSigned       // nil: another mode
	acme *acmeCertificates // nil: another mode
}

// newServerTLS returns what the flags ask for, nil for nothing. What it keeps is in
// data.
func newServerTLS(f tlsFlags, data string, log *slog.Logger) (s *serverTLS, err error) {
	s = &serverTLS{}
	switch f.mode() {
	case tlsOff:
		return nil, nil
	case tlsFiles:
		pair := &certificateFiles{cert: f.TLSCert, key: f.TLSKey, log: log}
		if _, err := pair.get(nil); err != nil {
			return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
		}
		s.certificate, s.until, s.domains = pair.get, pair.until, f.domains()
	case tlsSelf:
		if s.self, err = newSelfSigned(filepath.Join(data, "tls"), f.domains(), log); err != nil {
			return nil, err
		}
		s.certificate, s.until = s.self.get, s.self.until
	case tlsAuto:
		if s.acme, err = newACME(f, filepath.Join(data, "acme"), log); err != nil {
			return nil, err
		}
		s.certificate, s.until, s.domains = s.acme.get, s.acme.until, f.domains()
	default:
		return nil, fmt.Errorf("--tls %q: want off, self, auto or files", f.TLS)
	}
	return s, nil
}

// config is that of the HTTP server, which adds HTTP/2.
func (s *serverTLS) config() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certificate, NextProtos: []string{"h2", "http/1.1"}}
	if s.acme != nil {
		c.NextProtos = append(c.NextProtos, acme.ALPNProto)
	}
	return c
}

// maxHTTP2Streams is how many requests of one connection are answered at a time: a
// page has two or three streams of events and a few requests.
const maxHTTP2Streams = 64

// encrypt has an HTTP server speak TLS by [http.Server.ServeTLS].
func (s *serverTLS) encrypt(server *http.Server) {
	server.TLSConfig = s.config()
	server.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: maxHTTP2Streams}
	server.Handler = s.strict(server.Handler)
}

// run is the life of what gets certificates.
func (s *serverTLS) run(ctx context.Context) error {
	if s != nil && s.acme != nil {
		return s.acme.run(ctx)
	}
	<-ctx.Done()
	return nil
}

// strictFor is half a year: long enough to matter, short enough to outlive a
// mistake.
const strictFor = 180 * 24 * time.Hour

// strict tells browsers to come by TLS only (RFC 6797), if they came by one of the
// public names.
func (s *serverTLS) strict(next http.Handler) http.Handler {
	if len(s.domains) == 0 {
		return next
	}
	value := "max-age=" + strconv.Itoa(int(strictFor.Seconds()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(s.domains, hostOnly(r.Host)) {
			w.Header().Set("Strict-Transport-Security", value)
		}
		next.ServeHTTP(w, r)
	})
}

// hostOnly is a Host header without its port, in small letters.
func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// redirect answers plain HTTP. Pages are sent on to HTTPS; everything else is
// refused, since a client that goes on by itself would have sent its token, or
// its picture's keys, for everybody to read, and nobody would notice. port is that
// of HTTPS.
func (s *serverTLS) redirect(port int) http.Handler {
	if s.acme != nil {
		port = httpsPort // the CA finds us there, whatever the port is called here
	}
	onward := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostOnly(r.Host)
		if len(s.domains) > 0 && !slices.Contains(s.domains, host) {
			host = s.domains[0]
		} else if !checkHost(host) {
			http.Error(w, "the Host header names no server", http.StatusBadRequest)
			return
		}
		to := httpsURL(host, port)
		if r.Method != http.MethodGet && r.Method != http.MethodHead || strings.HasPrefix(r.URL.Path, "/v1/") {
			http.Error(w, "this is plain HTTP, which others can read: use "+to, http.StatusForbidden)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, to+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	})
	if s.acme != nil {
		return s.acme.manager.HTTPHandler(onward)
	}
	return onward
}

// checkHost says whether a Host header can be part of a URL.
func checkHost(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Zone() == "" // which may hold anything
	}
	return checkHostname(host)
}

const httpsPort = 443

// httpsURL is the URL of a host, without a slash at its end.
func httpsURL(host string, port int) string {
	if port == httpsPort {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return "https://" + host
	}
	return "https://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// urls are those under which people find a server that listens at an address, the
// best one first.
func (s *serverTLS) urls(at net.Addr) (urls []string) {
	tcp, ok := at.(*net.TCPAddr)
	if !ok {
		return []string{"https://" + at.String()}
	}
	port := tcp.Port
	for _, d := range s.domains {
		if s.acme != nil {
			port = httpsPort
		}
		urls = append(urls, httpsURL(d, port))
	}
	switch {
	case len(urls) > 0:
	case !tcp.IP.IsUnspecified():
		urls = append(urls, httpsURL(tcp.IP.String(), port))
	default:
		addrs, _ := ownAddresses()
		for _, a := range addrs {
			if a.Is4() && !(a.IsLoopback() && len(urls) > 0) {
				urls = append(urls, httpsURL(a.String(), port))
			}
		}
		if len(urls) == 0 {
			urls = append(urls, httpsURL("localhost", port))
		}
	}
	return urls
}

// tlsCollector exposes how long the certificate is good.
type tlsCollector struct{ server *serverTLS }

var certificateEnd = desc("tls_certificate_expiry_timestamp_seconds", "When the certificate for HTTPS ends, in seconds since 1970; the first of several. Absent while there is none.")

// Describe implements prometheus.Collector.
func (c tlsCollector) Describe(ch chan<- *prometheus.Desc) { ch <- certificateEnd }

// Collect implements prometheus.Collector.
func (c tlsCollector) Collect(ch chan<- prometheus.Metric) {
	if until := c.server.until(); !until.IsZero() {
		ch <- prometheus.MustNewConstMetric(certificateEnd, prometheus.GaugeValue, float64(until.Unix()))
	}
}

// announce says where the server is found; the first line is for programs.
func (a *App) announce(w io.Writer) {
	for i, u := range a.URLs() {
		if i == 0 {
			fmt.Fprintf(w, "listening on %s\n", u)
		} else {
			fmt.Fprintf(w, "also on %s\n", u)
		}
	}
	if a.tls != nil && a.tls.self != nil {
		fmt.Fprintf(w, "browsers warn of its certificate, until it is accepted; SHA-256 %s\n", a.tls.self.fingerprint())
	}
}
