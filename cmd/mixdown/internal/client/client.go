package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"mixdown/codec"
)

// Errors of [Client.Run], to be tested with errors.Is.
var (
	// ErrRefused says that the server answered the offer with an error; the
	// wrapping error has its words.
	ErrRefused = errors.New("the server refused")
	// ErrNoConnection says that no connection came about.
	ErrNoConnection = errors.New("no media connection")
	// ErrDisconnected says that the connection ended, which was not our wish.
	ErrDisconnected = errors.New("disconnected")
)

// Config says where a client joins and what it sends. Only URL is required.
type Config struct {
	// URL as [Endpoint] takes it.
	URL string
	// Name is shown to the others.
	Name string
	// Video and Audio are what is sent; nil sends none and only receives. A
	// viewer must have neither.
	Video, Audio Source
	// NoVideo asks for no picture.
	NoVideo bool
	// DriftPPM is how fast the media clock of stored sources runs against this
	// machine's, in millionths; negative is slow. Sound, picture and the
	// timestamps of sender reports all go by it, the wall clock in the reports
	// does not: that is how a receiver sees it of a real device. Live sources
	// have clocks of their own.
	DriftPPM float64
	// OnAudio and OnVideo get what is received. They must be quick, since
	// they run where packets are read, and may be nil.
	OnAudio func(Packet)
	OnVideo func(Frame)
	// Conn, when set, is the socket for all media: a path with faults built
	// in, say. It is bound to one address; the client closes it.
	Conn net.PacketConn
	// Certificate may be shared by many clients; nil makes one.
	Certificate *webrtc.Certificate
	// HTTP defaults to a client with a timeout of 10 s.
	HTTP *http.Client
	// ConnectTimeout from offer to connection. Defaults to 10 s.
	ConnectTimeout time.Duration
	// Log defaults to discarding.
	Log *slog.Logger
}

// Client is one participant. Create it with [New]; it is safe for concurrent use.
type Client struct {
	cfg       Config
	endpoint  string
	role      Role
	recv      receiver
	audio     *track // nil when not sent
	video     *track
	connected chan struct{}
}

// New validates the configuration and starts nothing.
func New(cfg Config) (*Client, error) {
	endpoint, role, err := Endpoint(cfg.URL, cfg.Name)
	if err != nil {
		return nil, err
	}
	if role == Viewer && (cfg.Video != nil || cfg.Audio != nil) {
		return nil, errors.New("a viewer (/whep/) sends nothing: leave out Video and Audio")
	}
	if role == Publisher && cfg.Video == nil && cfg.Audio == nil {
		return nil, errors.New("a publisher (/whip/) needs Video or Audio")
	}
	if !(cfg.DriftPPM > -1e5 && cfg.DriftPPM < 1e5) {
		return nil, fmt.Errorf("DriftPPM is %v: want a tenth of all at most, -100000 to 100000", cfg.DriftPPM)
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Timeout: 10 * time.Second}
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{cfg: cfg, endpoint: endpoint, role: role, connected: make(chan struct{})}
	// One msid and CNAME for both, so that a receiver knows they belong together.
	streamID := "mixdown-" + rand.Text()
	if cfg.Audio != nil {
		c.audio = newTrack(webrtc.RTPCodecTypeAudio, cfg.Audio, streamID)
		c.audio.drift = drift(cfg.DriftPPM)
	}
	if cfg.Video != nil {
		c.video = newTrack(webrtc.RTPCodecTypeVideo, cfg.Video, streamID)
		c.video.drift = drift(cfg.DriftPPM)
	}
	c.recv.mu.onAudio, c.recv.mu.onVideo = cfg.OnAudio, cfg.OnVideo
	return c, nil
}

// NewCertificate makes a DTLS certificate that many clients may share.
func NewCertificate() (*webrtc.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return webrtc.GenerateCertificate(key)
}

// Connected is closed when media can flow for the first time.
func (c *Client) Connected() <-chan struct{} { return c.connected }

// Stats returns a snapshot of the counters.
func (c *Client) Stats() Stats {
	var s Stats
	if c.audio != nil {
		s.AudioSent = c.audio.stats()
	}
	if c.video != nil {
		s.VideoSent = c.video.stats()
	}
	c.recv.mu.Lock()
	defer c.recv.mu.Unlock()
	s.AudioReceived, s.VideoReceived = c.recv.mu.audio, c.recv.mu.video
	return s
}

// AudioGaps and PictureGaps return the pauses between what arrived in (from,
// to] on the process's clock; see [Arrivals.GapsBetween].
func (c *Client) AudioGaps(from, to time.Duration) []Gap {
	c.recv.mu.Lock()
	defer c.recv.mu.Unlock()
	return c.recv.mu.arrivals.GapsBetween(from, to)
}

// PictureGaps is AudioGaps for whole pictures.
func (c *Client) PictureGaps(from, to time.Duration) []Gap {
	c.recv.mu.Lock()
	defer c.recv.mu.Unlock()
	return c.recv.mu.pictures.GapsBetween(from, to)
}

// Run joins, plays and receives until parent is done, then leaves properly and
// returns nil. It returns an error when it cannot join, when the connection
// ends by itself, or when a source fails. It is called once. When it has
// returned no callback runs any more.
func (c *Client) Run(parent context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(parent)
	var wg sync.WaitGroup
	defer wg.Wait() // last: after the connection is closed
	defer cancel(nil)

	pc, closePC, err := c.newPeerConnection()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closePC()) }()

	pc.OnTrack(func(t *webrtc.TrackRemote, from *webrtc.RTPReceiver) {
		if t.Kind() == webrtc.RTPCodecTypeAudio {
			wg.Go(func() { c.recv.readAudio(t) })
			wg.Go(func() { c.recv.readReports(from, &c.recv.mu.audioClock, codec.SampleRate) })
		} else {
			wg.Go(func() { c.recv.readVideo(t, pc.WriteRTCP) })
			wg.Go(func() { c.recv.readReports(from, &c.recv.mu.videoClock, 90000) })
		}
	})
	var once sync.Once
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			once.Do(func() { close(c.connected) })
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			cancel(fmt.Errorf("%w: connection %v", ErrDisconnected, s))
		}
	})
	senders, err := c.addTracks(pc)
	if err != nil {
		return err
	}
	session, err := c.negotiate(ctx, pc)
	if err != nil {
		if parent.Err() != nil {
			return nil
		}
		return err
	}
	defer c.leave(session)

	select {
	case <-c.connected:
	case <-ctx.Done():
		return ended(parent, ctx)
	case <-time.After(c.cfg.ConnectTimeout):
		return fmt.Errorf("%w within %v", ErrNoConnection, c.cfg.ConnectTimeout)
	}
	start := time.Now()
	for t, sender := range senders {
		wg.Go(func() { t.readRTCP(sender) })
		wg.Go(func() {
			if err := t.run(ctx, start); err != nil {
				cancel(fmt.Errorf("%v source: %w", t.kind, err))
			}
		})
	}
	wg.Go(func() { c.sendReports(ctx, pc) })
	<-ctx.Done()
	return ended(parent, ctx)
}

// ended tells why ctx is done: nil when its parent is, which is the caller's wish.
func ended(parent, ctx context.Context) error {
	if parent.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// newPeerConnection also returns what closes it and all that belongs to it.
func (c *Client) newPeerConnection() (*webrtc.PeerConnection, func() error, error) {
	media, err := mediaEngine()
	if err != nil {
		return nil, nil, err
	}
	registry := &interceptor.Registry{}
	reports, err := report.NewReceiverInterceptor()
	if err != nil {
		return nil, nil, err
	}
	// A NACK goes out within 20 ms of a gap that two later packets confirm.
	nacks, err := nack.NewGeneratorInterceptor(nack.GeneratorInterval(20*time.Millisecond),
		nack.GeneratorSkipLastN(2), nack.GeneratorMaxNacksPerPacket(8))
	if err != nil {
		return nil, nil, err
	}
	registry.Add(reports)
	registry.Add(nacks)

	settings, closeSettings, err := c.settings()
	if err != nil {
		return nil, nil, err
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings))
	config := webrtc.Configuration{}
	if c.cfg.Certificate != nil {
		config.Certificates = []webrtc.Certificate{*c.cfg.Certificate}
	}
	pc, err := api.NewPeerConnection(config)
	if err != nil {
		return nil, nil, errors.Join(err, closeSettings())
	}
	return pc, func() error { return errors.Join(pc.GracefulClose(), closeSettings()) }, nil
}

// mediaEngine knows the two codecs, with what browsers say of them.
func mediaEngine() (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	err := m.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
		},
		PayloadType: 111,
	}, webrtc.RTPCodecTypeAudio)
	if err != nil {
		return nil, err
	}
	for _, p := range []webrtc.RTPCodecParameters{{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeVP8, ClockRate: 90000,
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}, {Type: "goog-remb"}},
		},
		PayloadType: 96,
	}, {
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: "apt=96"},
		PayloadType:        97,
	}} {
		if err := m.RegisterCodec(p, webrtc.RTPCodecTypeVideo); err != nil {
			return nil, err
		}
	}
	return m, m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: audioLevelURI}, webrtc.RTPCodecTypeAudio)
}

// addTracks makes the m-lines: one for sound, one for the picture.
func (c *Client) addTracks(pc *webrtc.PeerConnection) (map[*track]*webrtc.RTPSender, error) {
	senders := make(map[*track]*webrtc.RTPSender)
	for _, line := range []struct {
		kind webrtc.RTPCodecType
		t    *track
	}{{webrtc.RTPCodecTypeAudio, c.audio}, {webrtc.RTPCodecTypeVideo, c.video}} {
		takes := c.role != Publisher && !(line.kind == webrtc.RTPCodecTypeVideo && c.cfg.NoVideo)
		switch {
		case line.t != nil:
			direction := webrtc.RTPTransceiverDirectionSendrecv
			if !takes {
				direction = webrtc.RTPTransceiverDirectionSendonly
			}
			tr, err := pc.AddTransceiverFromTrack(line.t, webrtc.RTPTransceiverInit{Direction: direction})
			if err != nil {
				return nil, err
			}
			senders[line.t] = tr.Sender()
		case takes:
			if _, err := pc.AddTransceiverFromKind(line.kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
				return nil, err
			}
		}
	}
	return senders, nil
}

const maxAnswerBytes = 256 << 10

// negotiate posts the offer, all candidates in it, and takes the answer. It
// returns the session's URL.
func (c *Client) negotiate(ctx context.Context, pc *webrtc.PeerConnection) (session string, err error) {
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		return "", err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, strings.NewReader(pc.LocalDescription().SDP))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/sdp")
	c.recv.posted = codec.Now()
	res, err := c.cfg.HTTP.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("%w: %s: %s", ErrRefused, res.Status, strings.TrimSpace(string(body)))
	}
	if session, err = resolve(c.endpoint, res.Header.Get("Location")); err != nil {
		return "", err
	}
	err = pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(body)})
	if err != nil {
		c.leave(session)
		return "", fmt.Errorf("the server's answer: %w", err)
	}
	return session, nil
}

func resolve(endpoint, location string) (string, error) {
	base, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	if location == "" {
		return "", errors.New("the server's answer has no Location")
	}
	u, err := base.Parse(location)
	if err != nil {
		return "", fmt.Errorf("the server's Location: %w", err)
	}
	return u.String(), nil
}

// leave deletes the session: politeness, since the server notices anyway.
func (c *Client) leave(session string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, session, nil)
	if err != nil {
		return
	}
	res, err := c.cfg.HTTP.Do(req)
	if err != nil {
		c.cfg.Log.Debug("leaving", "error", err)
		return
	}
	_ = res.Body.Close()
}

// sendReports sends sender reports with a CNAME once a second, the first one
// at once: without it the server cannot put sound and picture together.
func (c *Client) sendReports(ctx context.Context, pc *webrtc.PeerConnection) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		now := time.Now()
		for _, t := range []*track{c.audio, c.video} {
			if t == nil {
				continue
			}
			if sr := t.report(now); sr != nil {
				// It fails only while the connection closes.
				_ = pc.WriteRTCP([]rtcp.Packet{sr, rtcp.NewCNAMESourceDescription(sr.SSRC, t.streamID)})
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Quiesce takes the callbacks away: when it returns, none is running, and none
// will be called again. Counting goes on.
func (c *Client) Quiesce() {
	c.recv.mu.Lock()
	defer c.recv.mu.Unlock()
	c.recv.mu.onAudio, c.recv.mu.onVideo = nil, nil
}

// RequestKeyframe asks for a key frame with the next packet of the picture: for
// those who begin to decode in the middle. It does not block.
func (c *Client) RequestKeyframe() { c.recv.wantKey.Store(true) }
