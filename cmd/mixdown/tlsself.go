package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// selfLife is how long a certificate of our own is good: Apple's devices take
	// none of more than 825 days.
	selfLife = 800 * 24 * time.Hour
	// selfRenew is how long before its end another one is made. Each wants to be
	// accepted anew on every phone, so this is no more than anybody is away.
	selfRenew = 30 * 24 * time.Hour
	// maxSelfNames bounds what a certificate of our own names: it is sent with
	// every handshake, and a laptop sees many networks.
	maxSelfNames = 64
	// selfAgain is how soon another one may be made, whoever connects by whatever
	// address.
	selfAgain = time.Minute
)

// selfSigned is a certificate of our own, made for every address of this machine
// and kept in a file: who has accepted it once is not asked again. When the machine
// has other addresses than the certificate, or its end is near, another one is
// made, which names the earlier addresses as well.
//
// It certifies itself and nothing else (it is no CA): whoever makes his phone
// trust it trusts the holder of its key with this server alone.
type selfSigned struct {
	file  string
	names []string // DNS names beside this machine's own
	log   *slog.Logger
	now   func() time.Time
	// addresses are this machine's; a func for the tests.
	addresses func() ([]netip.Addr, error)

	mu struct {
		sync.Mutex
		loaded *tls.Certificate
		made   time.Time // when the last was tried to be made
	}
}

// newSelfSigned reads what the directory holds, or makes it.
func newSelfSigned(dir string, names []string, log *slog.Logger) (*selfSigned, error) {
	s := &selfSigned{file: filepath.Join(dir, "self.pem"), names: names, log: log, now: time.Now, addresses: ownAddresses}
	return s, s.open()
}

func (s *selfSigned) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Others could read a key through a directory that is open to them.
	if err := os.MkdirAll(filepath.Dir(s.file), 0o700); err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(s.file, s.file)
	switch {
	case err == nil:
		s.mu.loaded = &pair
	case errors.Is(err, fs.ErrNotExist):
	default:
		return fmt.Errorf("--tls self: %s: %w (delete it to have another one made)", s.file, err)
	}
	addrs, err := s.addresses()
	if err != nil {
		return err
	}
	// Addresses of IPv6 come and go by the day (RFC 8981), and people type others.
	lasting := slices.DeleteFunc(slices.Clone(addrs), netip.Addr.Is6)
	lasting = lasting[:min(len(lasting), maxSelfNames/2)]
	if s.mu.loaded != nil && s.mu.loaded.Leaf.NotAfter.Sub(s.now()) > selfRenew && covers(s.mu.loaded.Leaf, lasting, s.dnsNames()) {
		return nil
	}
	return s.make(addrs)
}

// get is tls.Config.GetCertificate. The file is not looked at any more.
func (s *selfSigned) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	leaf := s.mu.loaded.Leaf
	due := leaf.NotAfter.Sub(s.now()) < selfRenew
	if hello != nil && hello.Conn != nil && hello.ServerName == "" && !due { // who came by a name says so (RFC 6066)
		if at, err := netip.ParseAddrPort(hello.Conn.LocalAddr().String()); err == nil {
			addr := at.Addr().Unmap().WithZone("")
			due = !addr.IsLinkLocalUnicast() && !covers(leaf, []netip.Addr{addr}, nil)
		}
	}
	if due && s.now().Sub(s.mu.made) >= selfAgain {
		addrs, err := s.addresses()
		if err == nil {
			err = s.make(addrs)
		}
		if err != nil {
			s.log.Warn("no new certificate could be made: that from before is used", "error", err)
		}
	}
	return s.mu.loaded, nil
}

// fingerprint is the certificate's, as browsers show it.
func (s *selfSigned) fingerprint() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fingerprint(s.mu.loaded.Leaf)
}

// until is the certificate's end.
func (s *selfSigned) until() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.loaded.Leaf.NotAfter
}

func fingerprint(cert *x509.Certificate) string {
	return strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(cert.Raw)), " ", ":")
}

// make makes a certificate and writes it. s.mu is held.
func (s *selfSigned) make(addrs []netip.Addr) error {
	s.mu.made = s.now()
	names := s.dnsNames()
	if s.mu.loaded != nil {
		for _, ip := range s.mu.loaded.Leaf.IPAddresses {
			if addr, ok := netip.AddrFromSlice(ip); ok && !slices.Contains(addrs, addr.Unmap()) {
				addrs = append(addrs, addr.Unmap())
			}
		}
	}
	addrs = addrs[:min(len(addrs), max(0, maxSelfNames-len(names)))]
	certificate, key, err := selfSign(names, addrs, s.now())
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	// The old one stays until the new one is whole.
	temporary := s.file + ".new"
	if err := os.WriteFile(temporary, append(certificate, key...), 0o600); err != nil {
		return err
	}
	if err := os.Rename(temporary, s.file); err != nil {
		return err
	}
	s.mu.loaded = &pair
	s.log.Info("a certificate was made", "file", s.file, "for", append(names, addrStrings(addrs)...),
		"until", pair.Leaf.NotAfter.Format(time.DateOnly), "sha256", fingerprint(pair.Leaf))
	return nil
}

// selfSign returns a certificate and its key, PEM both.
func selfSign(names []string, addrs []netip.Addr, now time.Time) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"mixdown"}, CommonName: names[0]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(selfLife), // phones' clocks are late
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, DNSNames: names,
	}
	for _, a := range addrs {
		template.IPAddresses = append(template.IPAddresses, net.IP(a.AsSlice()))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs}), nil
}

// covers says whether a certificate is good for all of these.
func covers(cert *x509.Certificate, addrs []netip.Addr, names []string) bool {
	for _, a := range addrs {
		if !slices.ContainsFunc(cert.IPAddresses, net.IP(a.AsSlice()).Equal) {
			return false
		}
	}
	for _, n := range names {
		if !slices.Contains(cert.DNSNames, n) {
			return false
		}
	}
	return true
}

// dnsNames are this machine's names: the configured ones, localhost, and what others
// on a LAN find it by (RFC 6762).
func (s *selfSigned) dnsNames() []string {
	names := slices.Clone(s.names)
	if host, err := os.Hostname(); err == nil && checkHostname(host) {
		names = append(names, strings.ToLower(host))
		if !strings.Contains(host, ".") {
			names = append(names, strings.ToLower(host)+".local")
		}
	}
	names = append(names, "localhost")
	slices.Sort(names[1:]) // the first names the certificate
	return slices.Compact(names)
}

// checkHostname says whether a name can stand in a certificate: what an
// administrator has called a machine may be anything.
func checkHostname(host string) bool {
	for _, r := range host {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.') {
			return false
		}
	}
	return host != "" && len(host) < 250 && !strings.HasPrefix(host, ".") && !strings.HasSuffix(host, ".") && !strings.Contains(host, "..")
}

// ownAddresses are this machine's, the one by which it reaches others first,
// loopback last. Link-local ones of IPv6 are left out: no URL can name them.
func ownAddresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			if addr := p.Addr().Unmap().WithZone(""); !(addr.Is6() && addr.IsLinkLocalUnicast()) && !slices.Contains(addrs, addr) {
				addrs = append(addrs, addr)
			}
		}
	}
	first := outward()
	rank := func(a netip.Addr) int {
		switch {
		case a == first:
			return 0
		case a.IsLoopback():
			return 3
		case a.Is4():
			return 1
		}
		return 2
	}
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return rank(a) - rank(b) })
	return addrs, nil
}

// outward is the address from which this machine reaches others. Nothing is sent:
// a UDP socket knows its address once it knows the other end.
func outward() netip.Addr {
	conn, err := net.Dial("udp4", "192.0.2.1:9") // RFC 5737: nobody's
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	at, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

func addrStrings(addrs []netip.Addr) (list []string) {
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return list
}
