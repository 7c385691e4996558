package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"mixdown/codec"
)

// Errors of [Client.Run], to be tested with errors.Is.
var (
	// ErrRefused says that the server answered the offer with an error; the
	// wrapping error, a [Refusal], has its words.
	ErrRefused = errors.New("the server refused")
	// ErrSource says that Video or Audio failed; the wrapping error says how.
	ErrSource = errors.New("source")
	// ErrNoConnection says that no connection came about.
	ErrNoConnection = errors.New("no media connection")
	// ErrDisconnected says that the connection ended, which was not our wish.
	ErrDisconnected = errors.New("disconnected")
)

// Refusal is an [ErrRefused].
type Refusal struct {
	// Status is the answer's, of HTTP; Text what it says, bounded.
	Status int
	Text   string
	// RetryAfter is how long the server asks to wait; 0 when it does not.
	RetryAfter time.Duration
}

// Error implements error.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%v: %d %s: %s", ErrRefused, r.Status, http.StatusText(r.Status), r.Text)
}

// Is says that it is an ErrRefused.
func (r *Refusal) Is(target error) bool { return target == ErrRefused }

// Config says where a client joins and what it sends. Only URL is required.
type Config struct {
	// URL as [Endpoint] takes it.
	URL string
	// Token says who the client is, to servers with keys. It defaults to what the
	// fragment of URL has, as invitations do (#token=...).
	Token string
	// Name is shown to the others.
	Name string
	// Video and Audio are what is sent; nil sends none and only receives. A
	// viewer must have neither.
	Video, Audio Source
	// NoVideo asks for no picture.
	NoVideo bool
	// NoUplink sends what Video has, whatever the server asks for. Else the
	// client follows the events of its session, if it sends a picture; what it
	// makes of them, Video decides, see [Resizer].
	NoUplink bool
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
	// RED is how many earlier packets each packet of sound repeats (RFC 2198),
	// 0 to 2, if the server takes that. 1 is what browsers do.
	RED int
	// Conn, when set, is the UDP socket for all media: a path with faults built
	// in, say. The client closes it.
	Conn net.PacketConn
	// Certificate may be shared by many clients; nil makes one.
	Certificate *Certificate
	// HTTP defaults to a client with a timeout of 10 s.
	HTTP *http.Client
	// ConnectTimeout from offer to connection. Defaults to 10 s.
	ConnectTimeout time.Duration
	// Restart begins another ICE session when the server has not answered for
	// RestartAfter, by default 4 s: the network may be another one by now. Else
	// the client waits for ConsentTimeout.
	Restart      bool
	RestartAfter time.Duration
	// ConsentTimeout is how long a server may give no answer before the client
	// ends with ErrDisconnected. Defaults to 30 s (RFC 7675 section 5.1).
	ConsentTimeout time.Duration
	// KeepPlace leaves the session as it is when the connection ends by itself,
	// for a later client that Replaces it.
	KeepPlace bool
	// Replaces is the [Client.Session] of an earlier client, if this one is to be
	// the same participant. A server that does not know it takes this one for
	// somebody new.
	Replaces string
	// Log defaults to discarding.
	Log *slog.Logger
}

// Client is one participant. Create it with [New]; it is safe for concurrent use.
type Client struct {
	cfg       Config
	endpoint  string
	role      Role
	recv      receiver
	arrivals  transportLog
	link      link
	audio     *track // nil when not sent
	video     *track
	cname     string
	connected chan struct{}
	session   atomic.Pointer[string]
	joined    atomic.Int64
	restarts  atomic.Uint64           // of ICE
	fail      context.CancelCauseFunc // ends Run; set by it
}

// New validates the configuration and starts nothing.
func New(cfg Config) (*Client, error) {
	endpoint, role, err := Endpoint(cfg.URL, cfg.Name)
	if err != nil {
		return nil, err
	}
	if cfg.Token == "" {
		cfg.Token = invitation(cfg.URL)
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
	if cfg.RED < 0 || cfg.RED > maxRED {
		return nil, fmt.Errorf("RED is %d: want 0 to %d", cfg.RED, maxRED)
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Timeout: 10 * time.Second}
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	if cfg.ConsentTimeout == 0 {
		cfg.ConsentTimeout = consentTimeout
	}
	if cfg.RestartAfter == 0 {
		cfg.RestartAfter = 4 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Replaces != "" {
		if endpoint, err = replacing(endpoint, cfg.Replaces); err != nil {
			return nil, err
		}
	}
	c := &Client{cfg: cfg, endpoint: endpoint, role: role, connected: make(chan struct{})}
	// One msid and CNAME for both, so that a receiver knows they belong together.
	c.cname = "mixdown-" + rand.Text()
	if cfg.Audio != nil {
		c.audio = newTrack(sound, cfg.Audio)
		c.audio.drift = drift(cfg.DriftPPM)
	}
	if cfg.Video != nil {
		c.video = newTrack(picture, cfg.Video)
		c.video.drift = drift(cfg.DriftPPM)
	}
	c.recv.init()
	c.link.onRTP, c.link.onRTCP = c.takeRTP, c.takeRTCP
	c.recv.mu.onAudio, c.recv.mu.onVideo = cfg.OnAudio, cfg.OnVideo
	return c, nil
}

// Certificate is one end's of a DTLS connection.
type Certificate = tls.Certificate

// NewCertificate makes one, which many clients may share.
func NewCertificate() (*Certificate, error) {
	cert, err := selfsign.GenerateSelfSigned()
	return &cert, err
}

// Connected is closed when media can flow for the first time.
func (c *Client) Connected() <-chan struct{} { return c.connected }

// Joined returns when that was, on the process's clock; 0 before.
func (c *Client) Joined() time.Duration { return time.Duration(c.joined.Load()) }

// Session returns what [Config.Replaces] of a later client takes to be the same
// participant; "" before the server has answered. It is a secret.
func (c *Client) Session() string {
	if s := c.session.Load(); s != nil {
		return path.Base(*s)
	}
	return ""
}

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
	c.fail = cancel
	var wg sync.WaitGroup
	defer wg.Wait() // last: after the connection is closed
	defer cancel(nil)

	cert := c.cfg.Certificate
	if cert == nil {
		if cert, err = NewCertificate(); err != nil {
			return err
		}
	}
	if c.link.sock, err = socketOf(c.cfg.Conn); err != nil {
		return err
	}
	c.link.init()
	defer func() { err = errors.Join(err, c.link.close()) }()

	answer, session, err := c.negotiate(ctx, fingerprint(cert.Certificate[0]))
	if err != nil {
		if parent.Err() != nil {
			return nil
		}
		return err
	}
	goodbye := func() {}
	defer func() {
		if c.cfg.KeepPlace && parent.Err() == nil {
			return
		}
		c.leave(session)
		goodbye()
	}()
	wg.Go(func() {
		if err := c.link.read(); err != nil {
			cancel(fmt.Errorf("%w: %w", ErrDisconnected, err))
		}
	})
	if goodbye, err = c.connect(ctx, &wg, cert, answer); err != nil {
		if ctx.Err() != nil {
			return ended(parent, ctx)
		}
		return err
	}
	c.joined.Store(int64(codec.Now()))
	close(c.connected)

	start := time.Now()
	for _, t := range c.tracks() {
		wg.Go(func() {
			if err := t.run(ctx, start); err != nil {
				cancel(fmt.Errorf("%s %w: %w", t.kind, ErrSource, err))
			}
		})
	}
	defer c.arrivals.flushLate(func() { c.sendFeedback(codec.Now()) })()
	wg.Go(func() { c.keepUp(ctx, session) })
	if c.video != nil && !c.cfg.NoUplink {
		wg.Go(func() { c.obey(ctx, session) })
	}
	<-ctx.Done()
	return ended(parent, ctx)
}

// tracks are those that are sent.
func (c *Client) tracks() (list []*track) {
	for _, t := range []*track{c.audio, c.video} {
		if t != nil {
			list = append(list, t)
		}
	}
	return list
}

// connect finds a path and agrees on keys, and returns what says goodbye.
func (c *Client) connect(parent context.Context, wg *sync.WaitGroup, cert *Certificate, a *answer) (goodbye func(), err error) {
	ctx, cancel := context.WithTimeoutCause(parent, c.cfg.ConnectTimeout, fmt.Errorf("%w within %v", ErrNoConnection, c.cfg.ConnectTimeout))
	defer cancel()
	nothing := func() {}
	if err := c.link.connect(ctx); err != nil {
		return nothing, err
	}
	conn, err := c.link.shake(ctx, *cert, a.fingerprint, !a.active)
	if err != nil {
		if ctx.Err() != nil {
			return nothing, context.Cause(ctx)
		}
		return nothing, fmt.Errorf("%w: %w", ErrNoConnection, err)
	}
	wg.Go(func() {
		_, _ = io.Copy(io.Discard, conn) // until the server says goodbye, or we do
		c.fail(fmt.Errorf("%w: the server said goodbye", ErrDisconnected))
	})
	return func() { _ = conn.Close() }, nil // what it could not say is noticed anyway
}

// ended tells why ctx is done: nil when its parent is, which is the caller's wish.
func ended(parent, ctx context.Context) error {
	if parent.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// offerLines are the m-lines: one for sound, one for the picture, without those
// that go in no direction.
func (c *Client) offerLines() (lines []offerLine, tracks []*track) {
	for _, l := range []struct {
		t    *track
		line offerLine
	}{{c.audio, offerLine{red: c.cfg.RED > 0}}, {c.video, offerLine{video: true}}} {
		l.line.gets = c.role != Publisher && !(l.line.video && c.cfg.NoVideo)
		if l.t != nil {
			l.line.sends, l.line.ssrc, l.line.rtx = true, l.t.ssrc, l.t.rtx
		}
		if l.line.sends || l.line.gets {
			lines, tracks = append(lines, l.line), append(tracks, l.t)
		}
	}
	return lines, tracks
}

const maxAnswerBytes = 256 << 10

// negotiate posts the offer and takes the answer. It also returns the session's
// URL.
func (c *Client) negotiate(ctx context.Context, fingerprint string) (a *answer, session string, err error) {
	lines, tracks := c.offerLines()
	offer := offerText(c.link.ice.Load().local, fingerprint, c.cname, lines)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, strings.NewReader(offer))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Content-Type", "application/sdp")
	if c.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	c.recv.posted = codec.Now()
	res, err := c.cfg.HTTP.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
	if err != nil {
		return nil, "", err
	}
	if res.StatusCode != http.StatusCreated {
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After")) // a date is none of ours
		return nil, "", &Refusal{res.StatusCode, strings.TrimSpace(string(body)), time.Duration(max(seconds, 0)) * time.Second}
	}
	if session, err = resolve(c.endpoint, res.Header.Get("Location")); err != nil {
		return nil, "", err
	}
	c.session.Store(&session)
	if a, err = parseAnswer(string(body), len(lines)); err == nil {
		i := c.link.ice.Load() // nobody has sent a check yet
		i.remote, i.candidates = a.remote, a.candidates
		for i, t := range tracks {
			if t != nil {
				err = errors.Join(err, t.negotiated(&c.link, &a.lines[i], c.cfg.RED))
			}
		}
	}
	if err != nil {
		c.leave(session)
		return nil, "", err
	}
	return a, session, nil
}

// Restarts returns how many further ICE sessions have begun.
func (c *Client) Restarts() uint64 { return c.restarts.Load() }

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

// Between two compound packets of RTCP, as browsers have it: 1 s with pictures,
// 5 s without. The first ones come sooner: without them the server cannot put
// sound and picture together, nor tell how the path is.
const (
	firstReport   = 100 * time.Millisecond
	earlyReports  = 3
	pictureReport = time.Second
	soundReport   = 5 * time.Second
)

// keepUp sends reports and keeps the path open until ctx is done.
func (c *Client) keepUp(ctx context.Context, session string) {
	interval := soundReport
	if c.video != nil || c.role != Publisher && !c.cfg.NoVideo {
		interval = pictureReport
	}
	report, consent := codec.Now()+firstReport, codec.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := codec.Now()
		if now >= consent {
			// Clients that joined together do not go on together (RFC 7675 section 5.1).
			consent = now + consentInterval*4/5 + mathrand.N(consentInterval*2/5)
			if err := c.link.consent(now, c.cfg.ConsentTimeout); err != nil {
				c.fail(fmt.Errorf("%w: %w", ErrDisconnected, err))
				return
			}
		}
		if c.cfg.Restart && c.link.silent(now) > c.cfg.RestartAfter {
			if err := c.reach(ctx, session); err != nil {
				c.fail(fmt.Errorf("%w: %w", ErrDisconnected, err))
				return
			}
			now = codec.Now()
			consent = now + consentInterval
		}
		if now >= report {
			c.sendReports(now)
			report = now + pictureReport
			if n++; n > earlyReports {
				report = now + interval
			}
		}
		timer.Reset(min(report, consent) - now)
	}
}

// sendReports tells of what was sent and of what came (RFC 3550 section 6.4).
func (c *Client) sendReports(now time.Duration) {
	blocks := c.recv.reports(now)
	for _, t := range c.tracks() {
		if sr := t.report(time.Now()); sr != nil {
			sr.Reports, blocks = blocks, nil
			c.link.writeRTCP(sr, rtcp.NewCNAMESourceDescription(sr.SSRC, c.cname))
		}
	}
	if len(blocks) > 0 {
		ssrc := c.reporter()
		c.link.writeRTCP(&rtcp.ReceiverReport{SSRC: ssrc, Reports: blocks}, rtcp.NewCNAMESourceDescription(ssrc, c.cname))
	}
}

// reporter is the SSRC that feedback comes from.
func (c *Client) reporter() uint32 {
	for _, t := range c.tracks() {
		return t.ssrc
	}
	return 1 // who sends nothing collides with nobody
}

// takeRTP handles one packet; it runs where packets are read.
func (c *Client) takeRTP(h *rtp.Header, payload []byte, size int, now time.Duration) {
	if ext := h.GetExtension(extTWCC); len(ext) == 2 && c.arrivals.came(uint16(ext[0])<<8|uint16(ext[1]), h.SSRC, now) {
		c.sendFeedback(now)
	}
	switch h.PayloadType {
	case ptOpus:
		c.recv.takeAudio(h, payload, size, now)
	case ptVP8, ptRTX:
		nacks, wantKey := c.recv.takeVideo(h, payload, now)
		ssrc := c.recv.mu.pictureState.ssrc // the reader's, which this is
		if len(nacks) > 0 {
			c.link.writeRTCP(&rtcp.TransportLayerNack{
				SenderSSRC: c.reporter(), MediaSSRC: ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(nacks),
			})
		}
		if wantKey {
			c.link.writeRTCP(&rtcp.PictureLossIndication{SenderSSRC: c.reporter(), MediaSSRC: ssrc})
		}
	}
}

// sendFeedback tells when the latest packets came.
func (c *Client) sendFeedback(now time.Duration) {
	c.arrivals.write(c.reporter(), now, c.link.sendRTCP)
}

// takeRTCP handles one compound packet; it runs where packets are read.
func (c *Client) takeRTCP(packets []rtcp.Packet, now time.Duration) {
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			c.recv.senderReport(p, now)
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			if c.video != nil {
				c.video.takeKeyframeRequest()
			}
		case *rtcp.TransportLayerNack:
			if c.video == nil || p.MediaSSRC != c.video.ssrc {
				continue
			}
			for _, pair := range p.Nacks {
				pair.Range(func(seq uint16) bool {
					c.video.resend(seq)
					return true
				})
			}
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
