package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// pinFlags are those of join that say which server is the right one.
type pinFlags struct {
	Fingerprint string `placeholder:"SHA256" help:"The fingerprint of the server's certificate, as a server with --tls self prints it: then this one is accepted, and no other."`
}

// validate is joinCmd.Validate's part of these.
func (f *pinFlags) validate() error {
	_, err := f.sum()
	return err
}

// sum is the fingerprint in bytes, nil for none.
func (f *pinFlags) sum() ([]byte, error) {
	if f.Fingerprint == "" {
		return nil, nil
	}
	sum, err := hex.DecodeString(strings.ReplaceAll(f.Fingerprint, ":", ""))
	if err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("--fingerprint %.100q: want the %d bytes of a SHA-256 in hexadecimal, with colons between them or not", f.Fingerprint, sha256.Size)
	}
	return sum, nil
}

// errOtherCertificate says that somebody else answers.
var errOtherCertificate = errors.New("the server's certificate is not that of --fingerprint")

// client is what asks the server; nil for what asks any.
func (f *pinFlags) client() (*http.Client, error) {
	sum, err := f.sum()
	if sum == nil || err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{
		InsecureSkipVerify: true, // nobody vouches for it, and nobody needs to
		VerifyConnection: func(state tls.ConnectionState) error {
			if got := sha256.Sum256(state.PeerCertificates[0].Raw); subtle.ConstantTimeCompare(got[:], sum) != 1 {
				return errOtherCertificate
			}
			return nil
		},
	}
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}, nil
}
