package transport

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"

	"mixdown/codec"
)

// Bounds on one offer. A browser's is about 6 KB with three m-lines; one that
// has renegotiated for hours may have collected a dozen dead ones.
const (
	maxOfferBytes       = 64 << 10
	maxMediaLines       = 32
	maxRemoteCandidates = 16 // what a port scan by ICE may reach (security)
	maxDeclaredSSRCs    = 8  // per m-line; simulcast with RTX declares 6

	minUFrag, minPwd, maxCredential = 4, 22, 256 // RFC 8839 section 5.4
)

// offerPlan is an offer, understood.
type offerPlan struct {
	lines                   []*mediaLine
	ufrag, pwd, fingerprint string
	setup                   string
	peerIsLite, mixedExt    bool
	candidates              []string
	h264                    h264Ways
	public                  []netip.Addr // ours, see Config.PublicAddresses
}

// CheckOffer reports what an [Engine] without H.264 would say of an offer's text:
// nil, ErrBadSDP or ErrNoUsableCodec. See [Engine.CheckOffer].
func CheckOffer(sdp string, role Role) error {
	_, err := parseOffer(sdp, role, h264Ways{})
	return err
}

// Wishes is what an offer says of the picture that the client wants.
type Wishes struct {
	// Codec is the one in which it would be sent; 0 is no picture.
	Codec codec.Codec
	// MaxBlocks and MaxBlockRate bound it, in macroblocks (16x16 samples) of a
	// picture and of a second; 0 is unbounded.
	MaxBlocks, MaxBlockRate int
}

// CheckOffer reports what [Engine.Accept] would say of an offer's text, without
// connecting anybody: nil, ErrBadSDP or ErrNoUsableCodec. So a caller can
// refuse, and knows what is wanted, before it has prepared anything for the
// client.
func (e *Engine) CheckOffer(sdp string, role Role) (Wishes, error) {
	plan, err := parseOffer(sdp, role, e.h264())
	if err != nil {
		return Wishes{}, err
	}
	var w Wishes
	for _, l := range plan.lines {
		if l.send && l.kind == kindVideo {
			w.Codec = l.codec
			w.MaxBlocks, w.MaxBlockRate = l.h264.limits()
		}
	}
	return w, nil
}

// parseOffer reads an offer and decides what becomes of each m-line. It does
// not depend on the network, the clock or pion's state, so that it can be
// fuzzed. Errors are ErrBadSDP or ErrNoUsableCodec and say what to change.
func parseOffer(text string, role Role, h264 h264Ways) (*offerPlan, error) {
	if len(text) > maxOfferBytes {
		return nil, badSDP("offer is %d bytes: at most %d are read", len(text), maxOfferBytes)
	}
	if strings.TrimSpace(text) == "" {
		return nil, badSDP("offer is empty: send the SDP as the body")
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\r\n"
	}
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(text); err != nil {
		return nil, badSDP("%s", clip(err.Error(), 200))
	}
	if n := len(desc.MediaDescriptions); n == 0 {
		return nil, badSDP("offer has no m-line: add audio or video")
	} else if n > maxMediaLines {
		return nil, badSDP("offer has %d m-lines: at most %d", n, maxMediaLines)
	}
	plan := &offerPlan{h264: h264}
	for i, m := range desc.MediaDescriptions {
		plan.lines = append(plan.lines, &mediaLine{media: m, number: i + 1, kind: kindOf(m)})
	}
	if err := plan.readMIDs(&desc); err != nil {
		return nil, err
	}
	for _, l := range plan.lines {
		if l.accepted { // still: is in the bundle and not disabled
			l.readFormats(&desc, plan.h264)
		}
	}
	plan.assign(&desc, role)
	if err := plan.checkUsable(role); err != nil {
		return nil, err
	}
	if err := plan.readTransport(&desc); err != nil {
		return nil, err
	}
	plan.refuseTWCC()
	return plan, nil
}

func badSDP(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrBadSDP}, args...)...)
}

// clip bounds text that comes from a client and ends up in a message.
func clip(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "..."
	}
	return s
}

// isToken reports whether s is a short token (RFC 8866 section 9), so that it
// can be written into an SDP as it is.
func isToken(s string, longest int) bool {
	if s == "" || len(s) > longest {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),:;<=>?@[\]`, c) >= 0 {
			return false
		}
	}
	return true
}

func kindOf(m *sdp.MediaDescription) mediaKind {
	rtp := false
	for _, p := range m.MediaName.Protos {
		rtp = rtp || p == "SAVPF"
	}
	switch m.MediaName.Media {
	case "audio":
		if rtp {
			return kindAudio
		}
	case "video":
		if rtp {
			return kindVideo
		}
	case "application":
		for _, f := range m.MediaName.Formats {
			if f == "webrtc-datachannel" {
				return kindData
			}
		}
	}
	return kindOther
}

// readMIDs names the lines and finds out which of them share the one transport
// (RFC 9143). Those are marked accepted for the time being.
func (p *offerPlan) readMIDs(desc *sdp.SessionDescription) error {
	seen := make(map[string]bool)
	for _, l := range p.lines {
		mid, ok := l.media.Attribute("mid")
		if !ok && len(p.lines) == 1 {
			mid = "0" // nothing to tell apart
		} else if !ok {
			return badSDP("m-line %d has no a=mid: lines cannot be bundled without", l.number)
		}
		if !isToken(mid, 64) {
			return badSDP("m-line %d: a=mid is %q: want a token of 1..64 characters", l.number, clip(mid, 32))
		}
		if seen[mid] {
			return badSDP("m-line %d: a=mid:%s is used twice", l.number, mid)
		}
		seen[mid] = true
		l.mid = mid
	}
	bundled := make(map[string]bool)
	for _, a := range desc.Attributes {
		if a.Key != "group" {
			continue
		}
		if mids := strings.Fields(a.Value); len(mids) > 1 && mids[0] == "BUNDLE" && len(bundled) == 0 {
			for _, mid := range mids[1:] {
				bundled[mid] = true
			}
		}
	}
	if len(bundled) == 0 {
		if len(p.lines) > 1 {
			return badSDP("a=group:BUNDLE is missing: all media go through one port, so list every mid in it")
		}
		bundled[p.lines[0].mid] = true
	}
	for _, l := range p.lines {
		_, bundleOnly := l.media.Attribute("bundle-only")
		l.accepted = bundled[l.mid] && (l.media.MediaName.Port.Value != 0 || bundleOnly)
	}
	return nil
}

// assign decides which lines are used and in which direction. The server
// sends one audio and one video stream, on the first line of each kind that
// may carry it. It takes one sound and up to two pictures: the first video
// line is the camera, the second the shared screen.
func (p *offerPlan) assign(desc *sdp.SessionDescription, role Role) {
	var soundIn, soundOut, pictureOut, data bool
	videos := 0
	for _, l := range p.lines {
		ok := l.accepted
		l.accepted = false
		sends, receives := directionOf(desc, l.media)
		switch l.kind {
		case kindAudio:
			if !ok || l.pt == 0 {
				continue
			}
			l.recv = sends && role.mayReceive() && !soundIn
			l.send = receives && role.maySend() && !soundOut
			soundIn, soundOut = soundIn || l.recv, soundOut || l.send
			// The first is taken even when idle, so that it stays usable.
			l.accepted = l.recv || l.send || !(soundIn || soundOut)
		case kindVideo:
			if !ok || l.pt == 0 {
				continue
			}
			l.recv = sends && role.mayReceive() && videos < int(codec.NumSources)
			l.send = receives && role.maySend() && !pictureOut
			if l.codec == codec.H264 {
				l.recv = l.recv && p.h264.Receive
				l.send = l.send && p.h264.Send && l.h264.sendable()
			}
			pictureOut = pictureOut || l.send
			if videos < int(codec.NumSources) {
				l.source = codec.SourceID(videos)
				l.accepted = true
			}
			l.accepted = l.accepted || l.send
			videos++
		case kindData:
			if ok && !data {
				data, l.accepted = true, true
			}
		}
	}
}

// refuseRED takes sound without redundancy only.
func (p *offerPlan) refuseRED() {
	for _, l := range p.lines {
		l.redPT = 0
	}
}

// refusePlayoutDelay leaves it to clients how late they show pictures.
func (p *offerPlan) refusePlayoutDelay() {
	for _, l := range p.lines {
		l.ext.delay = 0
	}
}

// reduced reports whether the client takes feedback without reports on every line.
func (p *offerPlan) reduced() bool {
	return !slices.ContainsFunc(p.lines, func(l *mediaLine) bool { return (l.recv || l.send) && !l.reduced })
}

// refuseTWCC goes without transport-wide feedback where nobody sends a picture:
// there is no bandwidth to estimate, and ten feedbacks a second each way would
// cost a third of what sound alone costs.
func (p *offerPlan) refuseTWCC() {
	for _, l := range p.lines {
		if l.kind == kindVideo && (l.recv || l.send) {
			return
		}
	}
	for _, l := range p.lines {
		l.ext.twcc = 0
		l.feedback = slices.DeleteFunc(l.feedback, func(kind string) bool { return kind == "transport-cc" })
	}
}

// directionOf returns what the client wants of a line. A line without a
// direction inherits the session's; the default is both (RFC 8866 section 6.7).
func directionOf(desc *sdp.SessionDescription, m *sdp.MediaDescription) (sends, receives bool) {
	for _, attrs := range [][]sdp.Attribute{m.Attributes, desc.Attributes} {
		for _, a := range attrs {
			switch a.Key {
			case "sendrecv":
				return true, true
			case "sendonly":
				return true, false
			case "recvonly":
				return false, true
			case "inactive":
				return false, false
			}
		}
	}
	return true, true
}

func (p *offerPlan) checkUsable(role Role) error {
	codecs := 0
	for _, l := range p.lines {
		if l.recv || l.send {
			return nil
		}
		if l.pt != 0 {
			codecs++
		}
	}
	if codecs == 0 {
		return fmt.Errorf("%w: this server speaks %s, and the offer has none of them (in a bundled m-line with UDP/TLS/RTP/SAVPF)", ErrNoUsableCodec, p.h264.spoken())
	}
	want := "sendrecv, sendonly or recvonly"
	switch role {
	case RolePublisher:
		want = "sendonly or sendrecv, since a publisher only sends"
	case RoleViewer:
		want = "recvonly or sendrecv, since a viewer only receives"
	}
	return fmt.Errorf("%w: the offer has what this server speaks, but in no direction that is of use to a %s: want a=%s", ErrNoUsableCodec, role, want)
}

// readTransport finds ICE and DTLS parameters: of the session, or of the
// bundle's first accepted line (RFC 9143 section 7.1.3).
func (p *offerPlan) readTransport(desc *sdp.SessionDescription) error {
	var first *mediaLine
	for _, l := range p.lines {
		if l.accepted {
			first = l
			break
		}
	}
	// The tag of the bundle group need not be a line that we accept: any line
	// of the group may hold what belongs to all.
	get := func(key string) string {
		if v, ok := first.media.Attribute(key); ok {
			return strings.TrimSpace(v)
		}
		if v, ok := desc.Attribute(key); ok {
			return strings.TrimSpace(v)
		}
		for _, l := range p.lines {
			if v, ok := l.media.Attribute(key); ok {
				return strings.TrimSpace(v)
			}
		}
		return ""
	}
	p.ufrag, p.pwd, p.fingerprint, p.setup = get("ice-ufrag"), get("ice-pwd"), get("fingerprint"), get("setup")
	if n := len(p.ufrag); !isToken(p.ufrag, maxCredential) || n < minUFrag {
		return badSDP("a=ice-ufrag is %q: want 4..256 characters (RFC 8839)", clip(p.ufrag, 32))
	}
	if n := len(p.pwd); !isToken(p.pwd, maxCredential) || n < minPwd {
		return badSDP("a=ice-pwd is missing or short: want 22..256 characters (RFC 8839)")
	}
	algorithm, value, _ := strings.Cut(p.fingerprint, " ")
	if !isToken(algorithm, 16) || !isFingerprint(value) {
		return badSDP(`a=fingerprint is %q: want "sha-256 AB:CD:..." (RFC 8122)`, clip(p.fingerprint, 32))
	}
	switch p.setup {
	case "actpass", "active", "passive":
	case "":
		p.setup = "actpass"
	default:
		return badSDP("a=setup is %q: want actpass, active or passive", clip(p.setup, 32))
	}
	_, p.peerIsLite = desc.Attribute("ice-lite")
	_, p.mixedExt = desc.Attribute("extmap-allow-mixed")
	for _, l := range p.lines {
		if l.kind == kindAudio || l.kind == kindVideo {
			if _, mux := l.media.Attribute("rtcp-mux"); l.accepted && !mux {
				return badSDP("m-line %d has no a=rtcp-mux: RTCP has no port of its own here", l.number)
			}
		}
	}
	p.readCandidates(first)
	return nil
}

func isFingerprint(s string) bool {
	if len(s) < 20*3-1 || len(s) > 64*3-1 || len(s)%3 != 2 {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
		if (i%3 == 2) != (s[i] == ':') || i%3 != 2 && !hex {
			return false
		}
	}
	return true
}

// readCandidates keeps UDP candidates that name an address: names (mDNS, RFC
// 8828) would have to be looked up in the client's network, and a client that
// hides its address is found by its own checks anyway. Browsers repeat them on
// every line, with the ports that they would use unbundled; those of the line
// that carries the bundle count.
func (p *offerPlan) readCandidates(l *mediaLine) {
	for _, a := range l.media.Attributes {
		if a.Key == "candidate" && len(p.candidates) < maxRemoteCandidates {
			if c, ok := usableCandidate(a.Value); ok {
				p.candidates = append(p.candidates, c)
			}
		}
	}
}

// usableCandidate reports whether we could send to a candidate, and returns it as
// it goes to pion.
func usableCandidate(value string) (string, bool) {
	f := strings.Fields(value)
	if len(f) < 8 || f[1] != "1" || !strings.EqualFold(f[2], "udp") || strings.HasSuffix(f[4], ".local") {
		return "", false
	}
	value = strings.Join(f, " ")
	_, err := ice.UnmarshalCandidate(value)
	return value, err == nil
}
