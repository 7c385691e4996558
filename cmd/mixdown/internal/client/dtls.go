package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/srtp/v3"
)

// flightInterval is when what a handshake lost is repeated for the first time.
const flightInterval = 250 * time.Millisecond

// fingerprint is a certificate's, as SDP has it (RFC 8122).
func fingerprint(certificate []byte) string {
	sum := sha256.Sum256(certificate)
	return "sha-256 " + strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}

// profiles in the order of what they cost.
var profiles = map[dtls.SRTPProtectionProfile]srtp.ProtectionProfile{
	dtls.SRTP_AEAD_AES_128_GCM:       srtp.ProtectionProfileAeadAes128Gcm,
	dtls.SRTP_AEAD_AES_256_GCM:       srtp.ProtectionProfileAeadAes256Gcm,
	dtls.SRTP_AES128_CM_HMAC_SHA1_80: srtp.ProtectionProfileAes128CmHmacSha1_80,
}

// shake does the handshake and sets the keys up (RFC 5764). theirs is the
// server's fingerprint. The connection that it returns is read until the server
// ends it.
func (l *link) shake(ctx context.Context, cert tls.Certificate, theirs string, asClient bool) (*dtls.Conn, error) {
	logs := logging.NewDefaultLoggerFactory()
	logs.DefaultLogLevel = logging.LogLevelDisabled
	shared := []dtls.Option{
		dtls.WithCertificates(cert),
		dtls.WithInsecureSkipVerify(true), // the fingerprint is what counts
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 || !strings.EqualFold(fingerprint(raw[0]), theirs) {
				return errors.New("the server's certificate is not the one of its answer")
			}
			return nil
		}),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithLoggerFactory(logs),
	}
	remote := net.UDPAddrFromAddrPort(*l.ice.Load().selected.Load())
	var conn *dtls.Conn
	var err error
	if asClient {
		options := make([]dtls.ClientOption, 0, len(shared))
		for _, o := range shared {
			options = append(options, o)
		}
		conn, err = dtls.ClientWithOptions(recordConn{l, remote}, remote, options...)
	} else {
		options := []dtls.ServerOption{
			dtls.WithClientAuth(dtls.RequireAnyClientCert),
			dtls.WithInsecureSkipVerifyHello(true), // ICE has verified the address
		}
		for _, o := range shared {
			options = append(options, o)
		}
		conn, err = dtls.ServerWithOptions(recordConn{l, remote}, remote, options...)
	}
	if err != nil {
		return nil, err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("DTLS: %w", err), conn.Close())
	}
	if err := l.deriveKeys(conn, asClient); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (l *link) deriveKeys(conn *dtls.Conn, asClient bool) error {
	profile, ok := conn.SelectedSRTPProtectionProfile()
	state, known := conn.ConnectionState()
	if !ok || !known {
		return errors.New("DTLS has agreed on no SRTP")
	}
	cfg := srtp.Config{Profile: profiles[profile]}
	if err := cfg.ExtractSessionKeysFromDTLS(&state, asClient); err != nil {
		return err
	}
	k := cfg.Keys
	in, err := srtp.CreateContext(k.RemoteMasterKey, k.RemoteMasterSalt, cfg.Profile)
	if err != nil {
		return err
	}
	out, err := srtp.CreateContext(k.LocalMasterKey, k.LocalMasterSalt, cfg.Profile)
	if err != nil {
		return err
	}
	l.out.Lock()
	l.out.srtp, l.out.buf = out, make([]byte, maxDatagram)
	l.out.Unlock()
	l.in.Store(in)
	return nil
}

// recordConn is DTLS's share of the socket.
type recordConn struct {
	*link
	remote net.Addr
}

func (r recordConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := r.records.Read(b)
	return n, r.remote, err
}
func (r recordConn) WriteTo(b []byte, _ net.Addr) (int, error) { return r.link.write(b) }
func (r recordConn) Close() error                              { return r.records.Close() }
func (r recordConn) LocalAddr() net.Addr                       { return r.sock.LocalAddr() }
func (r recordConn) SetDeadline(t time.Time) error             { return r.records.SetReadDeadline(t) }
func (r recordConn) SetReadDeadline(t time.Time) error         { return r.records.SetReadDeadline(t) }
func (r recordConn) SetWriteDeadline(time.Time) error          { return nil }
