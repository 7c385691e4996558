package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

const (
	// acmeFirst and acmeLast bound the wait after an attempt that failed, which
	// doubles. Let's Encrypt allows five failures an hour and name.
	acmeFirst, acmeLast = 5 * time.Minute, time.Hour
	// acmeRequest bounds one request to the CA.
	acmeRequest = 30 * time.Second
	// acmePatience is how long a handshake waits for the first certificate:
	// browsers give up after half a minute.
	acmePatience = 25 * time.Second
)

// acmeCertificates are certificates that a CA gives by itself (RFC 8555), proving
// over TLS (RFC 8737) or plain HTTP that the names are this server's. Only run asks
// the CA: were it asked in handshakes, whoever connects could use up what the CA
// allows.
type acmeCertificates struct {
	manager *autocert.Manager
	names   []*acmeName
	log     *slog.Logger
	client  *acmeTransport
}

// acmeName is the state of one domain.
type acmeName struct {
	domain string
	tried  chan struct{} // closed once the first attempt has ended
	ready  atomic.Pointer[tls.Certificate]
}

func newACME(f tlsFlags, dir string, log *slog.Logger) (*acmeCertificates, error) {
	client := &acmeTransport{next: http.DefaultTransport}
	if f.Roots != "" {
		text, err := os.ReadFile(f.Roots)
		if err != nil {
			return nil, fmt.Errorf("--acme-roots: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--acme-roots %s: no certificate in it: want PEM", f.Roots)
		}
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
		client.next = transport
	}
	client.ended, client.end = context.WithCancel(context.Background())
	a := &acmeCertificates{log: log, client: client}
	domains := f.domains()
	for _, d := range domains {
		a.names = append(a.names, &acmeName{domain: d, tried: make(chan struct{})})
	}
	a.manager = &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(dir), Email: f.Email,
		HostPolicy: func(_ context.Context, host string) error {
			if !slices.Contains(domains, hostOnly(host)) {
				return fmt.Errorf("%.253q is no --domain of this server", host)
			}
			return nil
		},
		Client: &acme.Client{DirectoryURL: f.Directory, HTTPClient: &http.Client{Transport: client, Timeout: acmeRequest}, UserAgent: "mixdown"},
	}
	return a, nil
}

// acmeTransport carries requests to the CA. It ends them with the server, which
// nothing in autocert can. And it says of an order's URL what autocert wants to hear
// again when it asks for the certificate: in the Location of that answer, which RFC
// 8555 section 7.4 does not promise, and not all CAs send.
type acmeTransport struct {
	next  http.RoundTripper
	ended context.Context
	end   context.CancelFunc

	mu struct {
		sync.Mutex
		orders map[string]string // by where they are finalised
	}
}

// maxOrders bounds those that are remembered; each domain has one at a time, every
// few weeks.
const maxOrders = 64

// maxACMEAnswer bounds an answer that has an order.
const maxACMEAnswer = 1 << 20

// RoundTrip implements http.RoundTripper.
func (t *acmeTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.ended.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(r.Context())
	// The body is read after this returns.
	forget := context.AfterFunc(t.ended, cancel)
	context.AfterFunc(r.Context(), func() { forget(); cancel() })
	res, err := t.next.RoundTrip(r.WithContext(ctx))
	if err != nil || r.Method != http.MethodPost {
		return res, err
	}
	where := res.Header.Get("Location")
	switch {
	case where == "":
		t.mu.Lock()
		where = t.mu.orders[r.URL.String()]
		t.mu.Unlock()
		if where != "" {
			res.Header.Set("Location", where)
		}
	case res.StatusCode == http.StatusCreated:
		text, err := io.ReadAll(io.LimitReader(res.Body, maxACMEAnswer))
		_ = res.Body.Close()
		if err != nil {
			return nil, err
		}
		res.Body = io.NopCloser(bytes.NewReader(text))
		t.remember(text, where)
	}
	return res, nil
}

// remember keeps where an order is, if it is one.
func (t *acmeTransport) remember(text []byte, where string) {
	var order struct {
		Finalize string `json:"finalize"`
	}
	if json.Unmarshal(text, &order) != nil || order.Finalize == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.orders == nil || len(t.mu.orders) >= maxOrders {
		t.mu.orders = make(map[string]string)
	}
	t.mu.orders[order.Finalize] = where
}

// asks is what the manager takes for a client that knows elliptic curves, as all
// have for ten years: for others it would want a second certificate.
func asks(domain string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: domain, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		SupportedCurves: []tls.CurveID{tls.CurveP256}, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	}
}

// get is tls.Config.GetCertificate. Who names nobody gets the first domain's, as
// clients do that came by address.
func (a *acmeCertificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto {
		return a.manager.GetCertificate(hello) // the CA looks whether this is us
	}
	asked := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	i := slices.IndexFunc(a.names, func(n *acmeName) bool { return n.domain == asked })
	if asked == "" {
		i = 0
	}
	if i < 0 {
		return nil, fmt.Errorf("%.253q is no --domain of this server", asked)
	}
	n := a.names[i]
	patience := time.NewTimer(acmePatience)
	defer patience.Stop()
	select {
	case <-n.tried:
	case <-patience.C:
	case <-hello.Context().Done():
	}
	if n.ready.Load() == nil {
		return nil, fmt.Errorf("there is no certificate for %s yet", n.domain)
	}
	cert, err := a.manager.GetCertificate(asks(n.domain))
	if err == nil {
		n.ready.Store(cert) // it may have been renewed
	}
	return cert, err
}

// until is when the first of the certificates ends; zero while there is none.
func (a *acmeCertificates) until() (first time.Time) {
	for _, n := range a.names {
		if cert := n.ready.Load(); cert != nil && (first.IsZero() || cert.Leaf.NotAfter.Before(first)) {
			first = cert.Leaf.NotAfter
		}
	}
	return first
}

// run gets all certificates; the manager renews them by itself. It returns soon
// after ctx is done.
func (a *acmeCertificates) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, a.client.end)
	defer stop()
	waits := make([]time.Duration, len(a.names))
	due := make([]time.Time, len(a.names))
	for {
		var next time.Time
		for i, n := range a.names {
			if n.ready.Load() != nil {
				continue
			}
			if now := time.Now(); !now.Before(due[i]) && !a.try(ctx, n) {
				waits[i] = min(max(2*waits[i], acmeFirst), acmeLast)
				due[i] = time.Now().Add(waits[i])
			}
			if n.ready.Load() == nil && (next.IsZero() || due[i].Before(next)) {
				next = due[i]
			}
			if ctx.Err() != nil {
				return nil
			}
		}
		if next.IsZero() {
			<-ctx.Done()
			return nil
		}
		wait := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-wait.C:
		}
	}
}

// try gets one certificate and says whether it did.
func (a *acmeCertificates) try(ctx context.Context, n *acmeName) bool {
	began := time.Now()
	cert, err := a.manager.GetCertificate(asks(n.domain))
	defer func() {
		select {
		case <-n.tried:
		default:
			close(n.tried)
		}
	}()
	if err == nil && cert.Leaf == nil {
		err = errors.New("the certificate cannot be read")
	}
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		a.log.Error("no certificate: port 443 (or 80, see --redirect) of the domain must lead here from everywhere", "domain", n.domain, "error", err)
		return false
	}
	n.ready.Store(cert)
	a.log.Info("certificate", "domain", n.domain, "until", cert.Leaf.NotAfter.Format(time.DateOnly), "took", time.Since(began).Round(time.Millisecond))
	return true
}
