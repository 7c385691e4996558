// Package probe is a client that tries one way to a server: it joins a room as a
// viewer, by UDP alone, by TCP alone or through a TURN server alone, waits for the
// first packet of the picture, and leaves.
//
//	told, err := probe.Run(ctx, probe.Config{URL: "http://127.0.0.1:8080", Way: probe.TCP})
//	fmt.Println(told.Connected, told.Local, told.Remote)
//
// A way that works says that ICE, DTLS and SRTP work both ways, since a handshake
// needs both.
package probe

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
)

// Way is how media is tried.
type Way uint8

// The ways.
const (
	UDP   Way = iota
	TCP       // ICE over TCP (RFC 6544)
	Relay     // through Config.Server and nothing else
)

// Config says what to try. URL is required.
type Config struct {
	// URL is the server's, as http://HOST:PORT.
	URL string
	// Room defaults to one with a name that nobody else has.
	Room string
	// Token is sent along if it is not empty.
	Token string
	// Way is tried, for Relay through Server.
	Way    Way
	Server webrtc.ICEServer
	// TLS is for a TURN server over TLS; nil believes whom the system believes.
	TLS *tls.Config
	// HTTP defaults to a client with a timeout of 10 s.
	HTTP *http.Client
}

// Told is what came of it.
type Told struct {
	// UDP and TCP are the addresses of media that the server told of.
	UDP, TCP []netip.AddrPort
	// Connected and Picture are when there was a connection, and the first packet
	// of the picture, from the offer on.
	Connected, Picture time.Duration
	// Local and Remote are the addresses that were found to work.
	Local, Remote string
}

// ErrNoPath says that no packet found its way, ErrNoPicture that a path was found
// and no picture came.
var (
	ErrNoPath    = errors.New("no packet found its way")
	ErrNoPicture = errors.New("connected, but no picture came")
)

// maxAnswer is more than any answer takes.
const maxAnswer = 1 << 20

// Run tries, until ctx is done at the latest. What it returns beside an error is
// what was found out before.
func Run(ctx context.Context, cfg Config) (told Told, err error) {
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Timeout: 10 * time.Second}
		defer cfg.HTTP.CloseIdleConnections()
	}
	if cfg.Room == "" {
		cfg.Room = "probe-" + strings.ToLower(rand.Text()[:13])
	}
	pc, err := newConnection(cfg)
	if err != nil {
		return told, err
	}
	a := &attempt{pc: pc, connected: make(chan struct{}), picture: make(chan struct{}), failed: make(chan struct{})}
	defer func() {
		err = errors.Join(err, pc.GracefulClose())
		a.readers.Wait()
	}()
	a.listen()
	offer, err := a.offer(ctx)
	if err != nil {
		return told, err
	}
	began := time.Now()
	answer, session, err := post(ctx, cfg, offer)
	if err != nil {
		return told, err
	}
	defer func() { err = errors.Join(err, leave(ctx, cfg, session)) }()
	told.UDP, told.TCP = candidates(answer)
	if cfg.Way == UDP && len(told.UDP) == 0 || cfg.Way == TCP && len(told.TCP) == 0 {
		return told, fmt.Errorf("%w: the server tells of none", ErrNoPath)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return told, fmt.Errorf("answer: %w", err)
	}
	select {
	case <-a.connected:
		told.Connected = time.Since(began)
	case <-a.failed:
		return told, ErrNoPath
	case <-ctx.Done():
		return told, ErrNoPath
	}
	if pair, err := pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair(); err == nil && pair != nil {
		told.Local, told.Remote = address(pair.Local), address(pair.Remote)
	}
	select {
	case <-a.picture:
		told.Picture = time.Since(began)
		return told, nil
	case <-a.failed:
	case <-ctx.Done():
	}
	return told, ErrNoPicture
}

func address(c *webrtc.ICECandidate) string {
	return fmt.Sprintf("%s:%d/%s", c.Address, c.Port, c.Protocol)
}

// newConnection makes a client that has one way out.
func newConnection(cfg Config) (*webrtc.PeerConnection, error) {
	var s webrtc.SettingEngine
	s.LoggerFactory = &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	s.SetIncludeLoopbackCandidate(true)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	var servers webrtc.Configuration
	switch cfg.Way {
	case TCP:
		s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6})
	case Relay:
		servers.ICEServers, servers.ICETransportPolicy = []webrtc.ICEServer{cfg.Server}, webrtc.ICETransportPolicyRelay
		s.SetRelayAcceptanceMinWait(0) // there is nothing better to wait for
		if len(cfg.Server.URLs) > 0 && strings.HasPrefix(cfg.Server.URLs[0], "turns:") {
			s.SetICEProxyDialer(tlsDialer{cfg.TLS})
		}
	}
	var m webrtc.MediaEngine
	if err := m.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithSettingEngine(s),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{})).NewPeerConnection(servers)
}

// tlsDialer connects to a TURN server over TLS. pion's own way has no
// configuration, and what it dials through a proxy it does not encrypt.
type tlsDialer struct{ config *tls.Config }

func (d tlsDialer) Dial(network, address string) (net.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: dialTimeout}, network, address, d.config)
}

// dialTimeout is for TCP and TLS together.
const dialTimeout = 10 * time.Second

// attempt is one connection that is being made.
type attempt struct {
	pc                         *webrtc.PeerConnection
	connected, picture, failed chan struct{} // closed once
	onConnected, onPicture     sync.Once
	onFailed                   sync.Once
	readers                    sync.WaitGroup
}

func (a *attempt) listen() {
	a.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			a.onConnected.Do(func() { close(a.connected) })
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			a.onFailed.Do(func() { close(a.failed) })
		}
	})
	a.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		a.readers.Go(func() {
			for {
				if _, _, err := track.ReadRTP(); err != nil {
					return
				}
				if track.Kind() == webrtc.RTPCodecTypeVideo {
					a.onPicture.Do(func() { close(a.picture) })
				}
			}
		})
	})
}

// offer asks for sound and a picture, with all candidates.
func (a *attempt) offer(ctx context.Context) (string, error) {
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		_, err := a.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		if err != nil {
			return "", err
		}
	}
	offer, err := a.pc.CreateOffer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(a.pc)
	if err := a.pc.SetLocalDescription(offer); err != nil {
		return "", err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", fmt.Errorf("%w: gathering addresses took too long", ErrNoPath)
	}
	if sdp := a.pc.LocalDescription().SDP; strings.Contains(sdp, "a=candidate:") || !a.relayOnly() {
		return sdp, nil
	}
	return "", fmt.Errorf("%w: the TURN server gave no relay", ErrNoPath)
}

func (a *attempt) relayOnly() bool {
	return a.pc.GetConfiguration().ICETransportPolicy == webrtc.ICETransportPolicyRelay
}

// post makes the offer. session is the absolute URL of what came of it.
func post(ctx context.Context, cfg Config, offer string) (answer, session string, err error) {
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return "", "", err
	}
	req, err := request(ctx, cfg, http.MethodPost, base.JoinPath("whep", cfg.Room).String(), strings.NewReader(offer))
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Content-Type", "application/sdp")
	res, err := cfg.HTTP.Do(req)
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return "", "", err
	}
	if res.StatusCode != http.StatusCreated {
		return "", "", fmt.Errorf("POST %s: %s: %.300s", req.URL.Redacted(), res.Status, body)
	}
	location, err := res.Location()
	if err != nil {
		return "", "", fmt.Errorf("the answer's Location: %w", err)
	}
	return string(body), location.String(), nil
}

// leave ends the session, also when ctx is done.
func leave(ctx context.Context, cfg Config, session string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	req, err := request(ctx, cfg, http.MethodDelete, session, nil)
	if err != nil {
		return err
	}
	res, err := cfg.HTTP.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func request(ctx context.Context, cfg Config, method, url string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err == nil && cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+cfg.Token)
	}
	return req, err
}

// candidates are the addresses of an answer (RFC 8839 section 5.1), each once.
func candidates(sdp string) (udp, tcp []netip.AddrPort) {
	for line := range strings.Lines(sdp) {
		text, ok := strings.CutPrefix(strings.TrimSpace(line), "a=candidate:")
		if !ok {
			continue
		}
		f := strings.Fields(text)
		if len(f) < 6 {
			continue
		}
		addr, err := netip.ParseAddrPort(f[4] + ":" + f[5])
		if strings.Contains(f[4], ":") {
			addr, err = netip.ParseAddrPort("[" + f[4] + "]:" + f[5])
		}
		switch {
		case err != nil:
		case strings.EqualFold(f[2], "udp") && !slices.Contains(udp, addr):
			udp = append(udp, addr)
		case strings.EqualFold(f[2], "tcp") && !slices.Contains(tcp, addr):
			tcp = append(tcp, addr)
		}
	}
	return udp, tcp
}
