package outside

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPublic(t *testing.T) {
	for _, inside := range strings.Fields(`
		127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255
		100.100.100.200 169.254.169.254 168.63.129.16 192.0.0.192 192.0.2.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.7
		224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 192.88.99.1
		:: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254
		64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::8.8.8.8
		fe80::1 fe80::1%eth0 fec0::1 fc00::1 fd00:ec2::254 ff02::1 100::1 5f00::1
		2001::1 2001:0:7f00:1::1 2001:10::1 2001:db8::1 2002:7f00:1::1 2002:808:808::1 3fff::1 4000::1`) {
		if Public(netip.MustParseAddr(inside)) {
			t.Errorf("%s is taken for public", inside)
		}
	}
	for _, public := range strings.Fields(`
		1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 128.0.0.1 168.63.129.15 169.253.1.1 172.15.0.1
		172.32.0.1 192.0.1.1 192.167.1.1 198.17.1.1 198.20.0.1 223.255.255.255
		2600::1 2a00:1450:4001::1 2606:4700:4700::1111 2001:200::1 2001:4860:4860::8888 ::ffff:8.8.8.8 64:ff9b::8.8.8.8`) {
		if !Public(netip.MustParseAddr(public)) {
			t.Errorf("%s is not taken for public", public)
		}
	}
	if Public(netip.Addr{}) {
		t.Error("no address is taken for public")
	}
}

// FuzzPublic holds IPv4 addresses in IPv6 ones to the same law.
func FuzzPublic(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "8.8.8.8", "::1", "2001:db8::1", "64:ff9b::a00:1"} {
		b, _ := netip.MustParseAddr(s).MarshalBinary()
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		public := Public(addr)
		if public && (addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified()) {
			t.Errorf("%v is taken for public", addr)
		}
		if v4 := addr.Unmap(); v4.Is4() {
			in := netip.MustParseAddr("64:ff9b::").As16()
			four := v4.As4()
			copy(in[12:], four[:])
			if Public(netip.AddrFrom16(in)) != public || Public(netip.AddrFrom16(v4.As16())) != public {
				t.Errorf("%v is judged otherwise when it is within an IPv6 address", addr)
			}
		}
	})
}

// client makes one that has nothing open after the test.
func client(t *testing.T, cfg Config) *http.Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func loopback() Config {
	return Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

func TestGoesNowhereInside(t *testing.T) {
	reached := 0
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	c := client(t, Config{})
	for _, url := range []string{
		"http://127.0.0.1:" + port, "http://localhost:" + port, "https://localhost:" + port, "http://[::1]:" + port,
		"http://[::ffff:127.0.0.1]:" + port, "http://0.0.0.0:" + port,
		"https://169.254.169.254/latest/meta-data/", "https://10.0.0.1", "https://[fd00:ec2::254]", "https://[fe80::1%25lo]:" + port,
		"file:///etc/passwd", "gopher://127.0.0.1:" + port, "ftp://8.8.8.8",
	} {
		resp, err := c.Get(url)
		if err == nil {
			resp.Body.Close()
			t.Errorf("%s: %s", url, resp.Status)
			continue
		}
		if !errors.Is(err, ErrInside) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if reached != 0 {
		t.Errorf("the server was reached %d times", reached)
	}
}

// Nothing public is connected to here: the decision itself is asked.
func TestDecidesAtConnectTime(t *testing.T) {
	g := guard{allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("192.0.2.7/32")}}
	plain := context.WithValue(t.Context(), plainKey{}, true)
	for _, c := range []struct {
		address      string
		https, plain bool
	}{
		{"8.8.8.8:443", true, false}, {"[2600::1]:443", true, false}, {"10.1.2.3:80", true, true}, {"[::ffff:10.1.2.3]:80", true, true},
		{"10.2.0.1:80", false, false}, {"192.0.2.7:1", true, true}, {"192.0.2.8:1", false, false}, {"nonsense", false, false},
		{"[64:ff9b::10.1.2.3]:80", false, false}, // allowed is what it says
	} {
		if err := g.control(t.Context(), "tcp", c.address, nil); (err == nil) != c.https || err != nil && !errors.Is(err, ErrInside) {
			t.Errorf("https to %s: %v", c.address, err)
		}
		if err := g.control(plain, "tcp", c.address, nil); (err == nil) != c.plain || err != nil && !errors.Is(err, ErrInside) {
			t.Errorf("http to %s: %v", c.address, err)
		}
	}
}

func TestAllowed(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 1000))
	}))
	defer srv.Close()
	cfg := loopback()
	cfg.MaxBytes = 100
	c := client(t, cfg)
	if _, err := c.Get(srv.URL); err == nil || errors.Is(err, ErrInside) {
		t.Errorf("a certificate of nobody's: %v", err)
	}
	c.Transport.(*trip).next.TLSClientConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig
	resp, err := c.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || len(b) != 100 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestFollowsNoRedirect(t *testing.T) {
	seen := []string{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.Path)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	resp, err := client(t, loopback()).Get(srv.URL + "/hook")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 307 || len(seen) != 1 {
		t.Errorf("%s after %v", resp.Status, seen)
	}
}

// A proxy would connect in our stead, wherever it likes.
func TestUsesNoProxy(t *testing.T) {
	proxied := make(chan struct{}, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied <- struct{}{} }))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	if _, err := client(t, loopback()).Get("http://10.0.0.1:9"); !errors.Is(err, ErrInside) {
		t.Error(err)
	}
	if len(proxied) != 0 {
		t.Error("the proxy was asked")
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer srv.Close()
	defer close(release)
	cfg := loopback()
	cfg.Timeout = 20 * time.Millisecond
	var late interface{ Timeout() bool }
	if _, err := client(t, cfg).Get(srv.URL); !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("%v", err)
	}
}

func TestConfigFaults(t *testing.T) {
	_, err := New(Config{Timeout: -1, MaxBytes: -1, Allow: []netip.Prefix{{}}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range []string{"Timeout", "MaxBytes", "Allow"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}
