package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// tlsFlags are those of serve that say how HTTP is encrypted. No phone opens a
// camera for a page that came by plain HTTP from another machine.
type tlsFlags struct {
	TLS       string   `name:"tls" placeholder:"MODE" help:"How HTTP is encrypted: off; self, with a certificate of our own for all addresses of this machine, kept in --data; auto, with certificates that Let's Encrypt makes for --domain, whose terms you agree to by this; files, with --tls-cert and --tls-key (files if these are given, else off). Moves the default of --http to :8443 for self, :443 for auto and files."`
	TLSCert   string   `name:"tls-cert" type:"path" placeholder:"FILE" help:"Certificate chain, PEM; read again when it changes."`
	TLSKey    string   `name:"tls-key" type:"path" placeholder:"FILE" help:"Its key, PEM."`
	Domain    []string `name:"domain" placeholder:"NAME" help:"Public names of this server, for --tls. Browsers that came once by one of them in mode auto or files insist on TLS for half a year."`
	Redirect  string   `name:"redirect" placeholder:"HOST:PORT" help:"Where plain HTTP is sent on to HTTPS, or off (:80 for --tls auto, else off)."`
	Email     string   `name:"acme-email" placeholder:"ADDRESS" help:"Whom the CA writes to about certificates of --tls auto (nobody)."`
	Directory string   `name:"acme-directory" default:"https://acme-v02.api.letsencrypt.org/directory" placeholder:"URL" help:"Another CA for --tls auto (${default})."`
	Roots     string   `name:"acme-roots" type:"path" placeholder:"FILE" help:"Whom to believe that he is that CA, PEM: for one within a company (the system's roots)."`
}

// The values of --tls.
const (
	tlsOff   = "off"
	tlsSelf  = "self"
	tlsAuto  = "auto"
	tlsFiles = "files"
)

// redirectOff is the value of --redirect that opens no socket.
const redirectOff = "off"

// plainAddress is the default of --http without TLS.
const plainAddress = "127.0.0.1:8080"

// mode is --tls, or what follows from the other flags.
func (f *tlsFlags) mode() string {
	switch {
	case f.TLS != "":
		return f.TLS
	case f.TLSCert != "" || f.TLSKey != "":
		return tlsFiles
	}
	return tlsOff
}

// on says whether HTTP is encrypted.
func (f *tlsFlags) on() bool { return f.mode() != tlsOff }

// address is the default of --http.
func (f *tlsFlags) address() string {
	switch f.mode() {
	case tlsSelf:
		return ":8443"
	case tlsAuto, tlsFiles:
		return ":443"
	}
	return plainAddress
}

// redirect is where plain HTTP is listened for, "" for nowhere.
func (f *tlsFlags) redirect() string {
	switch {
	case f.Redirect == redirectOff:
		return ""
	case f.Redirect == "" && f.mode() == tlsAuto:
		return ":80"
	}
	return f.Redirect
}

// validate is serveCmd.Validate's part of these. Each fault begins with its flag
// and says how to do it right.
func (f *tlsFlags) validate() (faults []error) {
	mode := f.mode()
	if !slices.Contains([]string{tlsOff, tlsSelf, tlsAuto, tlsFiles}, mode) {
		return []error{fmt.Errorf("--tls %q: want off, self, auto or files", mode)}
	}
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch {
	case mode == tlsFiles && (f.TLSCert == "" || f.TLSKey == ""):
		fault("--tls files needs both --tls-cert and --tls-key")
	case mode != tlsFiles && (f.TLSCert != "" || f.TLSKey != ""):
		fault("--tls-cert and --tls-key are of no use with --tls %s: leave one of them out", mode)
	}
	if mode == tlsAuto && len(f.Domain) == 0 {
		fault("--tls auto needs --domain: the public name of this server, as meet.example.org")
	}
	if mode == tlsOff && len(f.Domain) > 0 {
		fault("--domain is of no use without --tls auto, self or files")
	}
	for _, name := range f.Domain {
		if err := checkDomain(name); err != nil {
			faults = append(faults, err)
		}
	}
	if f.Redirect != "" && f.Redirect != redirectOff {
		if _, _, err := net.SplitHostPort(f.Redirect); err != nil {
			fault("--redirect %q: want HOST:PORT, as :80, or off", f.Redirect)
		} else if mode == tlsOff {
			fault("--redirect leads to HTTPS, of which there is none: give --tls auto, self or files")
		}
	}
	if mode != tlsAuto && (f.Email != "" || f.Roots != "") {
		fault("--acme-email and --acme-roots are of no use without --tls auto")
	}
	if mode == tlsAuto && !strings.HasPrefix(f.Directory, "https://") {
		fault("--acme-directory %q: want https://...", f.Directory)
	}
	return faults
}

// checkDomain says whether a CA could certify a name.
func checkDomain(name string) error {
	_, addrErr := netip.ParseAddr(name)
	ascii, err := idna.Lookup.ToASCII(name)
	if err != nil || addrErr == nil || !strings.Contains(strings.Trim(ascii, "."), ".") || strings.HasPrefix(ascii, ".") ||
		strings.HasSuffix(ascii, ".") || strings.Contains(ascii, "*") {
		return fmt.Errorf("--domain %q: want a full name without port, as meet.example.org", name)
	}
	return nil
}

// domains are the names as they stand in certificates and Host headers.
func (f *tlsFlags) domains() (names []string) {
	for _, name := range f.Domain {
		if ascii, err := idna.Lookup.ToASCII(name); err == nil {
			names = append(names, ascii)
		}
	}
	return names
}
