package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mixdown/cmd/mixdown/internal/client"
)

// TestFlagsOfTLS: what is wrong is named.
func TestFlagsOfTLS(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string // "": nothing is wrong
	}{
		"self":                 {[]string{"--tls", "self"}, ""},
		"self with a name":     {[]string{"--tls", "self", "--domain", "mixdown.lan"}, ""},
		"files":                {[]string{"--tls-cert", "a", "--tls-key", "b", "--redirect", ":80"}, ""},
		"auto":                 {[]string{"--tls", "auto", "--domain", "meet.example.org", "--domain", "bücher.example"}, ""},
		"turn has it as well":  {[]string{"--tls", "self", "--turn-tls", ":5349"}, ""},
		"another mode":         {[]string{"--tls", "on"}, `--tls "on": want off, self, auto or files`},
		"half of the files":    {[]string{"--tls-cert", "a"}, "--tls files needs both"},
		"files and self":       {[]string{"--tls", "self", "--tls-cert", "a", "--tls-key", "b"}, "--tls-cert and --tls-key"},
		"auto without name":    {[]string{"--tls", "auto"}, "--tls auto needs --domain"},
		"name for nothing":     {[]string{"--domain", "meet.example.org"}, "--domain is of no use"},
		"name with port":       {[]string{"--tls", "auto", "--domain", "meet.example.org:443"}, `--domain "meet.example.org:443"`},
		"address for a name":   {[]string{"--tls", "auto", "--domain", "192.0.2.1"}, `--domain "192.0.2.1"`},
		"name of one word":     {[]string{"--tls", "auto", "--domain", "localhost"}, `--domain "localhost"`},
		"wildcard":             {[]string{"--tls", "auto", "--domain", "*.example.org"}, `--domain "*.example.org"`},
		"redirect to nothing":  {[]string{"--redirect", ":80"}, "--redirect leads to HTTPS"},
		"redirect of a number": {[]string{"--tls", "self", "--redirect", "80"}, `--redirect "80"`},
		"CA for nothing":       {[]string{"--tls", "self", "--acme-email", "x@example.org"}, "--acme-email"},
		"CA by plain HTTP":     {[]string{"--tls", "auto", "--domain", "a.example", "--acme-directory", "http://ca.example"}, "--acme-directory"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseServe(t, append(tc.args, "--http", "127.0.0.1:0")...)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v: want %q", err, tc.want)
			}
		})
	}
	for mode, want := range map[string]string{"": "127.0.0.1:8080", tlsOff: "127.0.0.1:8080", tlsSelf: ":8443", tlsAuto: ":443", tlsFiles: ":443"} {
		if got := (&tlsFlags{TLS: mode}).address(); got != want {
			t.Errorf("--tls %s listens at %s: want %s", mode, got, want)
		}
	}
}

// selfSignedFor is a certificate of our own whose machine has these addresses.
func selfSignedFor(t *testing.T, dir string, now time.Time, addrs ...string) (*selfSigned, error) {
	t.Helper()
	s := &selfSigned{
		file: filepath.Join(dir, "tls", "self.pem"), names: []string{"mixdown.lan"}, log: slog.New(slog.DiscardHandler),
		now: func() time.Time { return now },
		addresses: func() (list []netip.Addr, err error) {
			for _, a := range addrs {
				list = append(list, netip.MustParseAddr(a))
			}
			return list, nil
		},
	}
	return s, s.open()
}

func mustLeaf(t *testing.T, s *selfSigned, hello *tls.ClientHelloInfo) *x509.Certificate {
	t.Helper()
	pair, err := s.get(hello)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

// TestSelfSigned: it is good for all addresses and names of the machine, is kept, and
// replaced when it is not good any more.
func TestSelfSigned(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	open := func(now time.Time, addrs ...string) *selfSigned {
		t.Helper()
		s, err := selfSignedFor(t, dir, now, addrs...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := open(now, "192.0.2.7", "2001:db8::7", "127.0.0.1")
	leaf := mustLeaf(t, first, nil)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	for _, name := range []string{"mixdown.lan", "localhost", "192.0.2.7", "2001:db8::7", "127.0.0.1"} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if leaf.IsCA {
		t.Error("whoever trusts it trusts what it signs")
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life > 825*24*time.Hour {
		t.Errorf("good for %v: phones take 825 days at most", life)
	}
	for _, file := range []string{first.file, filepath.Dir(first.file)} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v: want nothing for others", file, info.Mode(), err)
		}
	}
	if again := open(now.Add(time.Hour), "127.0.0.1", "192.0.2.7"); again.fingerprint() != first.fingerprint() {
		t.Error("another start made another certificate")
	}

	moved := open(now, "198.51.100.9", "127.0.0.1")
	if moved.fingerprint() == first.fingerprint() {
		t.Fatal("it does not name the machine's new address")
	}
	for _, a := range []string{"198.51.100.9", "192.0.2.7"} {
		if !covers(mustLeaf(t, moved, nil), []netip.Addr{netip.MustParseAddr(a)}, nil) {
			t.Errorf("%s is not in it", a)
		}
	}
	if six := open(now, "192.0.2.7", "2001:db8::99"); six.fingerprint() != moved.fingerprint() {
		t.Error("another certificate because of an address that is another one tomorrow")
	}
	if back := open(now, "192.0.2.7"); back.fingerprint() != moved.fingerprint() {
		t.Error("back at an address from before, and phones have to accept another certificate")
	}
	if old := open(leaf.NotAfter.Add(-selfRenew+time.Hour), "192.0.2.7"); old.fingerprint() == moved.fingerprint() {
		t.Error("it is at its end, and was not replaced")
	}

	if err := os.WriteFile(first.file, []byte("half a certi"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := selfSignedFor(t, dir, now, "192.0.2.7"); err == nil || !strings.Contains(err.Error(), first.file) {
		t.Errorf("error %v: want one that names the file", err)
	}
}

// connAt is a connection to one of our addresses.
type connAt struct {
	net.Conn
	addr net.Addr
}

func (c connAt) LocalAddr() net.Addr { return c.addr }

// TestSelfSignedFollowsTheMachine, while it runs: at another address, and near the
// end, but not at each handshake.
func TestSelfSignedFollowsTheMachine(t *testing.T) {
	now, addrs := time.Now(), []string{"192.0.2.7"}
	s, err := selfSignedFor(t, t.TempDir(), now, addrs...)
	if err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return now }
	s.addresses = func() (list []netip.Addr, err error) {
		for _, a := range addrs {
			list = append(list, netip.MustParseAddr(a))
		}
		return list, nil
	}
	at := func(addr string) *tls.ClientHelloInfo {
		return &tls.ClientHelloInfo{Conn: connAt{addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 443))}}
	}
	first := mustLeaf(t, s, at("::ffff:192.0.2.7"))
	if !mustLeaf(t, s, at("fe80::1")).Equal(first) {
		t.Error("another certificate for an address that no URL can name")
	}
	named := at("192.0.2.8")
	named.ServerName = "mixdown.lan"
	if !mustLeaf(t, s, named).Equal(first) {
		t.Error("another certificate for who came by a name that it has")
	}
	addrs = append(addrs, "192.0.2.8")
	if !mustLeaf(t, s, at("192.0.2.8")).Equal(first) {
		t.Error("another certificate within a minute of the last")
	}
	now = now.Add(selfAgain)
	second := mustLeaf(t, s, at("192.0.2.8"))
	if second.Equal(first) || !covers(second, []netip.Addr{netip.MustParseAddr("192.0.2.8")}, nil) {
		t.Error("no certificate for the new address")
	}
	s.addresses = func() ([]netip.Addr, error) { return nil, errors.New("no addresses today") }
	now = second.NotAfter.Add(-time.Hour)
	if !mustLeaf(t, s, nil).Equal(second) {
		t.Error("the certificate was given up though there is no other")
	}
}

// TestServesTLS: pages, API, clients and TURN, with one certificate.
func TestServesTLS(t *testing.T) {
	data := t.TempDir()
	app, _ := startApp(t, func(c *Config) {
		c.Data = data
		c.TLS = tlsFlags{TLS: tlsSelf}
		c.TURN = turnFlags{TURN: turnOff, TURNTLS: "127.0.0.1:0"}
	})
	text, err := os.ReadFile(filepath.Join(data, "tls", "self.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	caller := &http.Client{Transport: transport, Timeout: 10 * time.Second}

	page := app.URLs()[0]
	if page != "https://"+app.Addr().String() {
		t.Fatalf("the URL is %s", page)
	}
	res, err := caller.Get(page + "/v1/rooms")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 200 || res.ProtoMajor != 2 {
		t.Errorf("%s over %s: want 200 over HTTP/2", res.Status, res.Proto)
	}
	if h := res.Header.Get("Strict-Transport-Security"); h != "" {
		t.Errorf("Strict-Transport-Security %q: browsers would allow no exception for the certificate", h)
	}

	joined := play(t, client.Config{
		URL: page + "/r/tls", Name: "encrypted", HTTP: caller,
		Video: client.Loop(realClip(t, "video-01.ivf")), Audio: client.Loop(realClip(t, "speech-01.ogg")),
	})
	soon(t, "a client sees and hears", func() bool {
		s := joined.Stats()
		return s.VideoReceived.Frames > 5 && s.AudioReceived.Packets > 10
	})

	if conn, err := tls.Dial("tcp", app.turn.Addrs()[0].String(), &tls.Config{RootCAs: roots}); err != nil {
		t.Errorf("TURN: %v", err)
	} else {
		if got := fingerprint(conn.ConnectionState().PeerCertificates[0]); got != app.tls.self.fingerprint() {
			t.Errorf("TURN has certificate %s: want %s", got, app.tls.self.fingerprint())
		}
		_ = conn.Close()
	}
	old := &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11}
	if conn, err := tls.Dial("tcp", app.Addr().String(), old); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 is spoken")
	}
	var said bytes.Buffer
	app.announce(&said)
	if !strings.HasPrefix(said.String(), "listening on "+page+"\n") || !strings.Contains(said.String(), app.tls.self.fingerprint()) {
		t.Errorf("it says %q", &said)
	}
	if end := scrape(t, "http://"+app.AdminAddr())["mixdown_tls_certificate_expiry_timestamp_seconds"]; end < float64(time.Now().Unix()) {
		t.Errorf("the certificate ended at %v", end)
	}
}

// TestStrictTransport: by public names only.
func TestStrictTransport(t *testing.T) {
	s := &serverTLS{domains: []string{"meet.example.org"}}
	h := s.strict(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for host, want := range map[string]string{"meet.example.org": "max-age=15552000", "Meet.Example.org:443": "max-age=15552000", "192.0.2.1": "", "other.example.org": ""} {
		r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		r.Host = host
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Strict-Transport-Security"); got != want {
			t.Errorf("%s: %q: want %q", host, got, want)
		}
	}
}

// TestRedirect: pages go on to HTTPS, and to this server only; what carries secrets is
// told, not sent on.
func TestRedirect(t *testing.T) {
	public := (&serverTLS{domains: []string{"meet.example.org", "b.example.org"}}).redirect(443)
	lan := (&serverTLS{}).redirect(8443)
	for _, tc := range []struct {
		h                  http.Handler
		method, host, path string
		code               int
		to                 string
	}{
		{public, "GET", "meet.example.org", "/r/a?x=1", 307, "https://meet.example.org/r/a?x=1"},
		{public, "HEAD", "b.example.org:80", "/", 307, "https://b.example.org/"},
		{public, "GET", "evil.example", "/r/a", 307, "https://meet.example.org/r/a"},
		{public, "GET", "meet.example.org", "//evil.example/", 307, "https://meet.example.org//evil.example/"},
		{public, "POST", "meet.example.org", "/whip/a", 403, ""},
		{public, "GET", "meet.example.org", "/v1/rooms?token=x", 403, ""},
		{lan, "GET", "192.0.2.1:80", "/", 307, "https://192.0.2.1:8443/"},
		{lan, "GET", "[2001:db8::1]:80", "/", 307, "https://[2001:db8::1]:8443/"},
		{lan, "GET", "a@evil.example", "/", 400, ""},
		{lan, "GET", "", "/", 400, ""},
	} {
		r, w := httptest.NewRequest(tc.method, tc.path, nil), httptest.NewRecorder()
		r.RequestURI, r.Host = tc.path, tc.host
		tc.h.ServeHTTP(w, r)
		if w.Code != tc.code || w.Header().Get("Location") != tc.to {
			t.Errorf("%s %s of %q: %d to %q: want %d to %q", tc.method, tc.path, tc.host, w.Code, w.Header().Get("Location"), tc.code, tc.to)
		}
	}
}

// TestRedirectListens beside HTTPS.
func TestRedirectListens(t *testing.T) {
	dir := t.TempDir()
	files := tlsFlags{TLSCert: filepath.Join(dir, "cert.pem"), TLSKey: filepath.Join(dir, "key.pem"), Redirect: "127.0.0.1:0"}
	writeCertificate(t, files.TLSCert, files.TLSKey, 1)
	app, _ := startApp(t, func(c *Config) { c.TLS = files })
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	res, err := transport.RoundTrip(httptest.NewRequest("GET", "http://"+app.redirectListener.Addr().String()+"/r/a", nil))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if to := res.Header.Get("Location"); res.StatusCode != 307 || to != app.URLs()[0]+"/r/a" {
		t.Errorf("%s to %q: want 307 to %s/r/a", res.Status, to, app.URLs()[0])
	}
}

// TestURLs: what people are told can be opened.
func TestURLs(t *testing.T) {
	any8443 := &net.TCPAddr{IP: net.IPv6unspecified, Port: 8443}
	if got := (&serverTLS{domains: []string{"a.example", "b.example"}}).urls(any8443); !slices.Equal(got, []string{"https://a.example:8443", "https://b.example:8443"}) {
		t.Errorf("%q", got)
	}
	if got := (&serverTLS{domains: []string{"a.example"}, acme: &acmeCertificates{}}).urls(any8443); !slices.Equal(got, []string{"https://a.example"}) {
		t.Errorf("%q", got)
	}
	if got := (&serverTLS{}).urls(&net.TCPAddr{IP: net.IPv6loopback, Port: 443}); !slices.Equal(got, []string{"https://[::1]"}) {
		t.Errorf("%q", got)
	}
	for _, u := range (&serverTLS{}).urls(any8443) {
		if strings.Contains(u, "0.0.0.0") || strings.Contains(u, "[::]") || !strings.HasSuffix(u, ":8443") {
			t.Errorf("%s cannot be opened", u)
		}
	}
}

// TestNoCertificate is an error at once.
func TestNoCertificate(t *testing.T) {
	_, err := NewApp(Config{HTTP: "127.0.0.1:0", Media: []string{"127.0.0.1:0"}, Admin: adminOff, Data: t.TempDir(), TLS: tlsFlags{TLSCert: "/nonexistent", TLSKey: "/nonexistent"}})
	if err == nil || !strings.Contains(err.Error(), "--tls-cert") {
		t.Errorf("error %v: want one that names the flag", err)
	}
}

// TestCertificateFilesWarnOnce of each thing that is wrong.
func TestCertificateFilesWarnOnce(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	c := &certificateFiles{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), log: slog.New(slog.NewTextHandler(&log, nil))}
	writeCertificate(t, c.cert, c.key, 1)
	for range 2 {
		if _, err := c.get(nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(c.key); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.get(nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings: want 1: %s", n, &log)
	}
	if c.until().Before(time.Now()) {
		t.Errorf("it ended at %v", c.until())
	}
}

// getText reads a URL.
func getText(ctx context.Context, c *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// TestJoinPinsTLS: a certificate that the server made itself is accepted by its
// fingerprint, and no other.
func TestJoinPinsTLS(t *testing.T) {
	app, _ := startApp(t, func(c *Config) { c.TLS = tlsFlags{TLS: tlsSelf} })
	room := app.URLs()[0] + "/r/pinned"
	pinned, err := (&pinFlags{Fingerprint: app.tls.self.fingerprint()}).client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pinned.CloseIdleConnections)
	joined := play(t, client.Config{URL: room, Name: "pinned", HTTP: pinned, Audio: client.Loop(realClip(t, "speech-01.ogg"))})
	soon(t, "who knows the fingerprint hears", func() bool { return joined.Stats().AudioReceived.Packets > 5 })

	// Those fail at once, and not because their time is over.
	join := []string{"join", room, "--no-video", "--for", "60s", "--no-reconnect", "--quiet"}
	wrong := strings.Repeat("00:", 31) + "00"
	if code, _, errs := runMain(t, append(join, "--fingerprint", wrong)...); code == 0 || !strings.Contains(errs, errOtherCertificate.Error()) {
		t.Errorf("another one: exit code %d: %s", code, errs)
	}
	if code, _, errs := runMain(t, join...); code == 0 || !strings.Contains(errs, "certificate") {
		t.Errorf("none: exit code %d: %s", code, errs)
	}
	if code, _, errs := runMain(t, append(join, "--fingerprint", "00:11")...); code != exitUsage || !strings.Contains(errs, "--fingerprint") {
		t.Errorf("half of one: exit code %d: %s", code, errs)
	}
}

// FuzzRedirect: whatever a client says to be looking for, it is sent to a server
// that it has named, or to ours.
func FuzzRedirect(f *testing.F) {
	for _, host := range []string{"meet.example.org", "192.0.2.1:80", "[2001:db8::1]:80", "[2001:db8::1]", "[::1%25lo]:80", "a@b", "a:b:c", "", "a/b", "..", "[]", "a\\b", "a?b#c"} {
		f.Add(host, "/r/a?b=c")
		f.Add(host, "//evil.example/")
	}
	public := (&serverTLS{domains: []string{"meet.example.org"}}).redirect(443)
	lan := (&serverTLS{}).redirect(8443)
	f.Fuzz(func(t *testing.T, host, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Host != "" || !strings.HasPrefix(target, "/") {
			return // no server gets that as a path
		}
		for i, ours := range []string{"meet.example.org", ""} {
			h := []http.Handler{public, lan}[i]
			r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
			r.URL, r.RequestURI, r.Host = u, target, host
			h.ServeHTTP(w, r)
			if w.Code != http.StatusTemporaryRedirect {
				continue
			}
			to, err := url.Parse(w.Header().Get("Location"))
			if err != nil || to.Scheme != "https" || to.User != nil {
				t.Fatalf("%q of %q is sent to %q: %v", target, host, w.Header().Get("Location"), err)
			}
			if ours != "" && to.Host != ours || ours == "" && !strings.EqualFold(to.Hostname(), hostOnly(host)) {
				t.Fatalf("%q of %q is sent to %q", target, host, to)
			}
		}
	})
}
