package transport

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"mixdown/codec"
)

// Offer is one client's request to connect.
type Offer struct {
	// SDP is the client's offer, at most 64 KiB.
	SDP string
	// Role narrows what the offer asks for.
	Role Role
	// Epoch is the wall clock instant of the room's PTS zero, for sender
	// reports. Take it from time.Now, so that it stays right when the wall
	// clock is set. Required unless Role is RolePublisher.
	Epoch time.Time
	// CNAME names the room's clock in RTCP and SDP; 1..64 letters, digits or
	// punctuation without '(),:;<=>?@[\]"'. Defaults to a random one.
	CNAME string
	// Handler gets the client's media. Required.
	Handler Handler
}

// Answer is what the client gets back.
type Answer struct {
	// SDP holds every candidate: no trickling is needed.
	SDP string
	// UFrag is the server's ICE user fragment, which names this ICE session.
	UFrag string
	// SendsAudio and SendsVideo say what the server will send, ReceivesAudio,
	// ReceivesCamera and ReceivesScreen what the client may send.
	SendsAudio, SendsVideo                        bool
	ReceivesAudio, ReceivesCamera, ReceivesScreen bool
	// VideoSent and VideoReceived are the codecs of the pictures; 0 is none.
	VideoSent, VideoReceived codec.Codec
	// AudioFEC says that the client makes use of forward error correction, and
	// MaxAudioBps bounds the bitrate of the sound it wants; 0 is unbounded (RFC
	// 7587 section 6.1).
	AudioFEC    bool
	MaxAudioBps int
}

// Accept answers an offer. It takes some milliseconds and returns an error of
// this package; then the Handler has not been called and never will be. Before
// Run has started it waits for that. The Peer lives until it is closed, its
// client goes or the engine ends; ctx bounds only this call.
func (e *Engine) Accept(ctx context.Context, offer Offer) (*Peer, Answer, error) {
	switch {
	case offer.Handler == nil:
		return nil, Answer{}, fmt.Errorf("%w: Offer.Handler is nil", ErrBadConfig)
	case !offer.Role.valid():
		return nil, Answer{}, fmt.Errorf("%w: Offer.Role is %d", ErrBadConfig, offer.Role)
	case offer.Epoch.IsZero() && offer.Role.maySend():
		return nil, Answer{}, fmt.Errorf("%w: Offer.Epoch is not set", ErrBadConfig)
	case offer.CNAME == "":
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		offer.CNAME = hex.EncodeToString(b[:])
	case !isToken(offer.CNAME, 64):
		return nil, Answer{}, fmt.Errorf("%w: Offer.CNAME is %q: want a token of 1..64 characters", ErrBadConfig, offer.CNAME)
	}
	plan, err := parseOffer(offer.SDP, offer.Role, e.h264())
	if err != nil {
		return nil, Answer{}, err
	}
	if e.cfg.PlayoutDelay == 0 {
		plan.refusePlayoutDelay()
	}
	if e.cfg.NoRED {
		plan.refuseRED()
	}
	plan.public = e.cfg.PublicAddresses
	if err := e.reserve(ctx); err != nil {
		return nil, Answer{}, err
	}
	p, answer, err := e.connect(ctx, plan, offer)
	if err != nil {
		e.release(nil)
		return nil, Answer{}, err
	}
	e.release(p)
	p.accepted.Store(true)
	p.poke()
	return p, answer, nil
}

// connect makes the peer and its answer. When it fails nothing is left.
func (e *Engine) connect(ctx context.Context, plan *offerPlan, offer Offer) (*Peer, Answer, error) {
	p := &Peer{
		engine: e, cfg: &e.cfg, log: e.cfg.Log, handler: offer.Handler, plan: plan,
		epoch: offer.Epoch, cname: offer.CNAME,
		dispatcher: e.dispatcher(), deadlineIndex: -1,
		ending: make(chan struct{}), done: make(chan struct{}),
		link: linkWatch{deadline: codec.Now() + e.cfg.ConnectTimeout},
		ice:  peerICE{ufrag: plan.ufrag, pwd: plan.pwd, candidates: len(plan.candidates)},
	}
	api := webrtc.NewAPI(
		webrtc.WithMediaEngine(e.media), // copied for each connection
		webrtc.WithSettingEngine(e.settings(p)),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{}),
	)
	pc, err := api.NewPeerConnection(webrtc.Configuration{
		Certificates: []webrtc.Certificate{e.cert},
		BundlePolicy: webrtc.BundlePolicyMaxBundle,
	})
	if err != nil {
		return nil, Answer{}, fmt.Errorf("peer connection: %w", err)
	}
	p.pc = pc
	answer, err := p.negotiate(ctx)
	if err != nil {
		return nil, Answer{}, errors.Join(err, pc.GracefulClose())
	}
	return p, answer, nil
}

func (e *Engine) settings(p *Peer) webrtc.SettingEngine {
	var s webrtc.SettingEngine
	s.LoggerFactory = srtpWatch{pionLog{e.cfg.Log}, &e.failures.unauthentic}
	s.BufferFactory = p.buffer
	s.SetICEUDPMux(&guardMux{e.mux, &p.counts.policed})
	networks := []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6}
	if e.tcp != nil {
		s.SetICETCPMux(&tcpForPeer{e.tcp, &p.counts.policed})
		networks = append(networks, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6)
	}
	s.SetNetworkTypes(networks)
	s.DisableActiveTCP(true) // clients connect to us
	s.SetIncludeLoopbackCandidate(true)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetRemoteIPFilter(p.meets)
	s.SetLite(!e.cfg.FullICE)
	if !e.cfg.FullICE {
		s.SetICEBindingRequestHandler(new(follower).check)
	}
	s.DetachDataChannels()
	s.SetSCTPMaxMessageSize(MaxMessage)
	s.SetSCTPMaxReceiveBufferSize(4 * MaxMessage)
	// The peer's loop has the last word on both ends of a connection's life;
	// pion also takes the sum of the two for the time to connect in. The third
	// is how precisely silence is measured.
	s.SetICETimeouts(e.cfg.LostAfter, max(e.cfg.ConnectTimeout, e.cfg.VanishAfter), min(time.Second, e.cfg.LostAfter/2))
	return s
}

// negotiate has pion answer the offer and sets up both directions by what
// came of it.
func (p *Peer) negotiate(ctx context.Context) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.GatherTimeout)
	defer cancel()
	pc := p.pc
	pc.OnConnectionStateChange(func(webrtc.PeerConnectionState) { p.poke() })
	pc.OnDataChannel(p.acceptChannel)
	err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: p.plan.forPion(p.cfg.FullICE)})
	if err != nil {
		return Answer{}, badSDP("%s", clip(err.Error(), 200))
	}
	if err := p.addTracks(); err != nil {
		return Answer{}, err
	}
	local, err := pc.CreateAnswer(nil)
	if err != nil {
		return Answer{}, fmt.Errorf("answer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(local); err != nil {
		return Answer{}, fmt.Errorf("answer: %w", err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("gathering candidates: %w", ctx.Err())
	}
	var answer Answer
	if answer.SDP, answer.UFrag, err = p.plan.finishAnswer(pc.LocalDescription().SDP); err != nil {
		return Answer{}, err
	}
	for _, l := range p.plan.lines {
		answer.SendsAudio = answer.SendsAudio || l.send && l.kind == kindAudio
		answer.SendsVideo = answer.SendsVideo || l.send && l.kind == kindVideo
		answer.ReceivesAudio = answer.ReceivesAudio || l.recv && l.kind == kindAudio
		answer.ReceivesCamera = answer.ReceivesCamera || l.recv && l.kind == kindVideo && l.source == codec.Camera
		if l.send && l.kind == kindVideo {
			answer.VideoSent = l.codec
		}
		if l.recv && l.kind == kindVideo && answer.VideoReceived == 0 {
			answer.VideoReceived = l.codec
		}
		if l.send && l.kind == kindAudio {
			answer.AudioFEC, answer.MaxAudioBps = l.sound.fec, l.sound.maxBps
		}
		answer.ReceivesScreen = answer.ReceivesScreen || l.recv && l.kind == kindVideo && l.source == codec.Screen
	}
	return answer, p.setup()
}

// addTracks gives pion the streams that we send. It puts each on the first
// line that takes it, which is the one that the plan chose: forPion has
// narrowed all others.
func (p *Peer) addTracks() error {
	for _, l := range p.plan.lines {
		if !l.send {
			continue
		}
		t := &outTrack{kind: webrtc.RTPCodecTypeAudio, mime: webrtc.MimeTypeOpus, stream: p.cname, pt: l.pt}
		if l.kind == kindVideo {
			t.kind, t.mime = webrtc.RTPCodecTypeVideo, webrtc.MimeTypeVP8
			if l.codec == codec.H264 {
				t.mime = webrtc.MimeTypeH264
			}
			p.out.video = t
		} else {
			p.out.audio = t
		}
		if _, err := p.pc.AddTrack(t); err != nil {
			return fmt.Errorf("m-line %d: %w", l.number, err)
		}
	}
	return nil
}

// setup makes the cores, now that the numbers are known. Nothing of them is
// used yet: a client cannot send before it has the answer. But the readers run
// already, and the locks are how they get to see all this.
func (p *Peer) setup() error {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	var seed [16]byte
	_, _ = rand.Read(seed[:]) // never fails
	cfg := pacerConfig{Epoch: p.epoch, TargetBps: p.cfg.StartBps, Seed: binary.LittleEndian.Uint64(seed[:])}
	p.rtcp.ssrc = binary.LittleEndian.Uint32(seed[8:]) | 1
	for _, l := range p.plan.lines {
		switch {
		case l.send && l.kind == kindAudio:
			cfg.AudioSSRC, cfg.AudioPT, cfg.CSRCLevelID = p.out.audio.ssrc, l.pt, l.ext.csrcLevel
			cfg.AllAudio = l.sound.noDTX
			cfg.AudioTWCC, cfg.AudioCaptureID = l.numbersID(), l.ext.capture
			p.out.audioSSRC = cfg.AudioSSRC
			if cfg.AudioSSRC == 0 {
				return errors.New("pion did not bind the audio track")
			}
		case l.send && l.kind == kindVideo:
			cfg.VideoSSRC, cfg.VideoPT = p.out.video.ssrc, l.pt
			cfg.VideoTWCC, cfg.VideoCaptureID = l.numbersID(), l.ext.capture
			cfg.DelayID, cfg.MaxDelay = l.ext.delay, p.cfg.PlayoutDelay
			p.out.videoSSRC = cfg.VideoSSRC
			if p.out.video.rtx != 0 {
				cfg.RTXSSRC, cfg.RTXPT = p.out.video.rtx, l.rtxPT
			}
			if cfg.VideoSSRC == 0 {
				return errors.New("pion did not bind the video track")
			}
		}
	}
	if ssrc := cfg.VideoSSRC; ssrc != 0 {
		p.rtcp.ssrc = ssrc
	}
	if ssrc := cfg.AudioSSRC; ssrc != 0 {
		p.rtcp.ssrc = ssrc
	}
	p.out.pacer = newPacer(cfg)
	p.in.init(p.plan, p.cfg, p.rtcp.ssrc)
	return nil
}
