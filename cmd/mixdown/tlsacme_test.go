package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// pebbleFile is Let's Encrypt's own server for tests of ACME clients.
const pebbleFile = "../../.cache/bin/pebble"

// pebble is a CA. It cannot be told to take any port that is free, so it has an
// address of its own.
type pebble struct {
	dir, host string
	flags     tlsFlags     // that make it the CA
	caller    *http.Client // who knows it
	stop      func()       // twice is fine; nil before start
	said      lockedBuffer
}

func newPebble(t *testing.T) *pebble {
	t.Helper()
	switch info, err := os.Stat(pebbleFile); {
	case err != nil:
		t.Fatalf("%v: make %s", err, strings.TrimPrefix(pebbleFile, "../../"))
	case info.Size() == 0:
		t.Skip("make could not install pebble on this machine: certificates by ACME are not tested")
	}
	p := &pebble{dir: t.TempDir(), host: fmt.Sprintf("127.%d.%d.%d", 1+rand.N(254), rand.N(255), 1+rand.N(254))}
	cert, key, err := selfSign([]string{"pebble"}, []netip.Addr{netip.MustParseAddr(p.host)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "cert.pem", cert)
	p.write(t, "key.pem", key)
	p.flags = tlsFlags{Directory: "https://" + p.host + ":14000/dir", Roots: filepath.Join(p.dir, "cert.pem")}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	p.caller = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	return p
}

func (p *pebble) write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, file), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs it until the end of the test. Whatever name it is to certify, it looks
// at these ports of 127.0.0.1.
func (p *pebble) start(t *testing.T, tlsPort, httpPort int) {
	t.Helper()
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": p.host + ":14000", "managementListenAddress": p.host + ":15000",
		"certificate": filepath.Join(p.dir, "cert.pem"), "privateKey": filepath.Join(p.dir, "key.pem"),
		"tlsPort": tlsPort, "httpPort": httpPort, "retryAfter": map[string]int{"authz": 1, "order": 1}, "keyAlgorithm": "ecdsa",
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "pebble.json", config)
	cmd := exec.Command(pebbleFile, "-config", filepath.Join(p.dir, "pebble.json"), "-dnsserver", startNames(t))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	cmd.Stdout, cmd.Stderr = &p.said, &p.said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("pebble said:\n%s", &p.said)
		}
	})
	soon(t, "pebble answers", func() bool {
		_, err := getText(t.Context(), p.caller, p.flags.Directory)
		return err == nil
	})
}

// startNames is a name server, over TCP, for whom all names are 127.0.0.1.
func startNames(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				for answerName(conn) == nil {
				}
			})
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
		conns.Wait()
	})
	return l.Addr().String()
}

// answerName answers one question (RFC 1035 section 4.2.2).
func answerName(conn net.Conn) error {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return err
	}
	text := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, text); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(text); err != nil {
		return err
	}
	m.Response, m.Additionals = true, nil
	for _, q := range m.Questions {
		if q.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			})
		}
	}
	text, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...))
	return err
}

// roots are those of the certificates that it gives.
func (p *pebble) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	text, err := getText(t.Context(), p.caller, "https://"+p.host+":15000/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("pebble's root is %q", text)
	}
	return pool
}

// automatic is a server with --tls auto whose sockets are open; begin runs it, and
// end ends it.
type automatic struct {
	*App
	t     *testing.T
	log   *lockedBuffer
	ended chan error
}

func newAutomatic(t *testing.T, data, domain string, flags tlsFlags) *automatic {
	t.Helper()
	a := &automatic{t: t, log: &lockedBuffer{}}
	flags.TLS, flags.Domain = tlsAuto, []string{domain}
	app, err := NewApp(Config{
		HTTP: "127.0.0.1:0", Media: []string{"127.0.0.1:0"}, Admin: adminOff, Data: data, Drain: 10 * time.Second, TLS: flags,
		Log: slog.New(slog.NewTextHandler(a.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	a.App = app
	t.Cleanup(a.end)
	return a
}

func (a *automatic) begin() {
	a.ended = make(chan error, 1)
	go func() { a.ended <- a.Run(context.Background()) }()
}

func (a *automatic) end() {
	if err := a.Close(); err != nil {
		a.t.Errorf("Close: %v", err)
	}
	if a.ended != nil {
		if err := <-a.ended; err != nil {
			a.t.Errorf("Run: %v", err)
		}
		a.ended = nil
	}
	if a.t.Failed() {
		a.t.Logf("the server said:\n%s", a.log)
	}
}

// certificate does a handshake as a browser does that came by a name.
func (a *automatic) certificate(name string, roots *x509.CertPool) (*x509.Certificate, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 30 * time.Second}, Config: &tls.Config{ServerName: name, RootCAs: roots, NextProtos: []string{"h2"}}}
	conn, err := d.DialContext(a.t.Context(), "tcp", a.Addr().String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	state := conn.(*tls.Conn).ConnectionState()
	if state.NegotiatedProtocol != "h2" {
		return nil, fmt.Errorf("speaks %q: want HTTP/2", state.NegotiatedProtocol)
	}
	return state.PeerCertificates[0], nil
}

// TestACME: certificates come by themselves, proven over TLS and over plain HTTP,
// outlive the server, and are for nobody else.
func TestACME(t *testing.T) {
	const byTLS, byHTTP = "meet.mixdown.test", "plain.mixdown.test"
	data := t.TempDir()
	ca := newPebble(t)
	flags := ca.flags
	flags.Redirect = redirectOff
	one := newAutomatic(t, data, byTLS, flags)
	flags.Redirect = "127.0.0.1:0"
	two := newAutomatic(t, t.TempDir(), byHTTP, flags)
	port := func(a net.Addr) int { return a.(*net.TCPAddr).Port }
	// The CA asks the first for the second's certificate as well, and gets no
	// answer that it could take: what is left then is plain HTTP.
	ca.start(t, port(one.Addr()), port(two.redirectListener.Addr()))
	roots := ca.roots(t)
	var got []*x509.Certificate
	for _, a := range []*automatic{one, two} {
		a.begin()
		name := a.tls.domains[0]
		cert, err := a.certificate(name, roots) // waits for the first one
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.Equal(cert.DNSNames, []string{name}) || a.tls.until() != cert.NotAfter {
			t.Errorf("the certificate is for %q until %v, and said to end at %v", cert.DNSNames, cert.NotAfter, a.tls.until())
		}
		got = append(got, cert)
	}
	if _, err := one.certificate("other.mixdown.test", roots); err == nil {
		t.Error("there is a certificate for a name that is not ours")
	}
	if err := filepath.Walk(filepath.Join(data, "acme"), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v: want nothing for others", path, info.Mode())
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	one.end()
	ca.stop()

	// The next start needs no CA.
	flags.Redirect = redirectOff
	again := newAutomatic(t, data, byTLS, flags)
	again.begin()
	if cert, err := again.certificate(byTLS, roots); err != nil || !cert.Equal(got[0]) {
		t.Errorf("after a restart, without the CA: another certificate, or %v", err)
	}
}

// TestACMEThatFails is said, and not tried again and again because somebody connects.
func TestACMEThatFails(t *testing.T) {
	var asked lockedBuffer
	ca, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := ca.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(&asked, "asked")
			_ = conn.Close()
		}
	}()
	defer func() { _ = ca.Close(); <-ended }()
	a := newAutomatic(t, t.TempDir(), "meet.mixdown.test", tlsFlags{Redirect: redirectOff, Directory: "https://" + ca.Addr().String() + "/dir"})
	a.begin()
	for range 3 {
		if _, err := a.certificate("meet.mixdown.test", nil); err == nil {
			t.Fatal("there is a certificate that nobody has given")
		}
	}
	soon(t, "it is said that there is no certificate", func() bool {
		return strings.Contains(a.log.String(), "level=ERROR") && strings.Contains(a.log.String(), "meet.mixdown.test")
	})
	if n := strings.Count(asked.String(), "asked"); n > 2 {
		t.Errorf("the CA was asked %d times", n)
	}
	if !a.tls.until().IsZero() {
		t.Error("a certificate that is not there has an end")
	}
	if strings.Count(a.log.String(), "no certificate:") != 1 {
		t.Errorf("the log has it more than once: %s", a.log)
	}
}

// TestACMERoots: a CA of one's own that cannot be read is an error at once.
func TestACMERoots(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, "/nonexistent.pem"} {
		_, err := newACME(tlsFlags{Domain: []string{"meet.mixdown.test"}, Roots: file}, t.TempDir(), slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), "--acme-roots") || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error %v: want one that names flag and file", file, err)
		}
	}
}
