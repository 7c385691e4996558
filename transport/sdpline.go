package transport

import (
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"mixdown/codec"
)

// mediaKind is what an m-line is for.
type mediaKind uint8

const (
	kindOther mediaKind = iota
	kindAudio
	kindVideo
	kindData
)

// extensionIDs are the header extension numbers (RFC 8285) that the offer gave
// to what we understand; 0 is "not offered".
type extensionIDs struct {
	mid, level, csrcLevel, twcc, capture, delay, rid, repaired uint8
}

// The extensions that are taken over from an offer.
const (
	uriMID       = "urn:ietf:params:rtp-hdrext:sdes:mid"
	uriLevel     = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	uriCSRCLevel = "urn:ietf:params:rtp-hdrext:csrc-audio-level"
	uriTWCC      = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)

// slot returns where the number of an extension is kept; nil for those that
// are not taken over.
func (x *extensionIDs) slot(uri string, kind mediaKind) *uint8 {
	switch {
	case uri == uriMID:
		return &x.mid
	case uri == uriTWCC:
		return &x.twcc
	case uri == uriCaptureTime:
		return &x.capture
	case uri == uriPlayoutDelay && kind == kindVideo:
		return &x.delay
	case uri == uriRID && kind == kindVideo:
		return &x.rid
	case uri == uriRepaired && kind == kindVideo:
		return &x.repaired
	case uri == uriLevel && kind == kindAudio:
		return &x.level
	case uri == uriCSRCLevel && kind == kindAudio:
		return &x.csrcLevel
	}
	return nil
}

// mediaLine is one m-line of an offer and what becomes of it.
type mediaLine struct {
	media  *sdp.MediaDescription
	number int // from 1, for messages
	kind   mediaKind
	mid    string

	// accepted lines appear in the answer with a port; the others with port 0.
	accepted bool
	// recv and send are the directions as the server sees them.
	recv, send bool
	// source is what a video line carries towards us.
	source codec.SourceID
	// codec is that of pt, the payload type that is spoken; rtxPT is that of its
	// retransmissions; 0 is none (0 is PCMU, which is never ours).
	codec     codec.Codec
	pt, rtxPT uint8
	// h264 is what the offer says of it, where that is spoken.
	h264 h264Wishes
	// redPT is the payload type of Opus with redundancy (RFC 2198), in offers
	// of sound; 0 is none.
	redPT uint8
	// sound is what the offer says of the Opus that the client receives.
	sound soundWishes
	// rid names the one size that is taken of a picture that is offered in
	// several; "" where it is not.
	rid      string
	feedback []string // rtcp-fb of pt that both sides know
	// reduced says that feedback may come without a report (RFC 5506).
	reduced bool
	ext     extensionIDs
	// ssrcs that the offer declares, in its order; the value says whether it
	// repairs another.
	ssrcs []declaredSSRC
}

type declaredSSRC struct {
	ssrc uint32
	rtx  bool
}

// feedbackKinds are the RTCP messages that we understand or send.
var feedbackKinds = map[string]bool{
	"nack": true, "nack pli": true, "ccm fir": true, "goog-remb": true, "transport-cc": true,
}

// has reports whether a kind of feedback was offered.
func (l *mediaLine) has(feedback string) bool {
	for _, f := range l.feedback {
		if f == feedback {
			return true
		}
	}
	return false
}

// numbersID is the id of the transport-wide sequence number in what is sent on the
// line; 0 when the client does not want it, or would not tell what came.
func (l *mediaLine) numbersID() uint8 {
	if !l.has("transport-cc") {
		return 0
	}
	return l.ext.twcc
}

// readFormats finds Opus in a line, or VP8, or else H.264, with what belongs to
// it.
func (l *mediaLine) readFormats(desc *sdp.SessionDescription, h264 h264Ways) {
	if l.kind != kindAudio && l.kind != kindVideo {
		return
	}
	want := "opus/48000/2"
	l.codec = codec.Opus
	if l.kind == kindVideo {
		want, l.codec = "vp8/90000", codec.VP8
	}
	names := make(map[uint8]string)
	params := make(map[uint8]string)
	for _, a := range l.media.Attributes {
		head, rest, _ := strings.Cut(a.Value, " ")
		pt, err := strconv.ParseUint(head, 10, 7)
		if err != nil {
			continue
		}
		switch a.Key {
		case "rtpmap":
			names[uint8(pt)] = strings.ToLower(strings.TrimSpace(rest))
		case "fmtp":
			params[uint8(pt)] = strings.TrimSpace(rest)
		}
	}
	for _, f := range l.media.MediaName.Formats {
		pt, err := strconv.ParseUint(f, 10, 7)
		if err != nil || pt == 0 {
			continue
		}
		if names[uint8(pt)] == want {
			l.pt = uint8(pt)
			break
		}
	}
	if l.pt == 0 && l.kind == kindVideo && (h264.Send || h264.Receive) {
		l.readH264(names, params)
	}
	if l.pt == 0 {
		l.codec = 0
		return
	}
	for _, f := range l.media.MediaName.Formats {
		pt, err := strconv.ParseUint(f, 10, 7)
		if err == nil && pt != 0 && l.kind == kindVideo && names[uint8(pt)] == "rtx/90000" &&
			params[uint8(pt)] == "apt="+strconv.Itoa(int(l.pt)) {
			l.rtxPT = uint8(pt)
			break
		}
	}
	if l.kind == kindAudio {
		l.sound = readSoundWishes(params[l.pt])
		for _, f := range l.media.MediaName.Formats {
			pt, err := strconv.ParseUint(f, 10, 7)
			if err == nil && pt != 0 && l.redPT == 0 && names[uint8(pt)] == "red/48000/2" && onlyOf(params[uint8(pt)], l.pt) {
				l.redPT = uint8(pt)
			}
		}
	}
	l.readFeedback()
	for _, attrs := range [][]sdp.Attribute{desc.Attributes, l.media.Attributes} {
		l.readExtensions(attrs)
	}
	l.readSSRCs()
	l.readSimulcast()
}

// onlyOf reports whether the parameters of a red format name at least a primary
// and one redundant block, all of payload type pt (RFC 2198 section 5): "111/111".
func onlyOf(fmtp string, pt uint8) bool {
	parts := strings.Split(fmtp, "/")
	for _, part := range parts {
		if strings.TrimSpace(part) != strconv.Itoa(int(pt)) {
			return false
		}
	}
	return len(parts) > 1
}

// soundWishes are the parameters by which a client says what Opus it would
// like to get (RFC 7587 section 6.1).
type soundWishes struct {
	fec    bool // useinbandfec=1
	noDTX  bool // usedtx=0, said in so many words
	maxBps int  // maxaveragebitrate; 0 is unbounded
}

// readSoundWishes reads an a=fmtp of Opus. What is malformed counts as not
// said. The rest is of no use: the mix is mono, whatever stereo= says.
func readSoundWishes(fmtp string) (w soundWishes) {
	for _, part := range strings.Split(fmtp, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch value = strings.TrimSpace(value); strings.ToLower(strings.TrimSpace(key)) {
		case "useinbandfec":
			w.fec = value == "1"
		case "usedtx":
			w.noDTX = value == "0"
		case "maxaveragebitrate":
			// 6 to 510 kb/s is what Opus can be.
			if bps, err := strconv.Atoi(value); err == nil && bps >= 6000 && bps <= 510_000 {
				w.maxBps = bps
			}
		}
	}
	return w
}

func (l *mediaLine) readFeedback() {
	_, l.reduced = l.media.Attribute("rtcp-rsize")
	for _, a := range l.media.Attributes {
		if a.Key != "rtcp-fb" {
			continue
		}
		head, kind, _ := strings.Cut(a.Value, " ")
		if head != "*" && head != strconv.Itoa(int(l.pt)) {
			continue
		}
		if kind = strings.TrimSpace(kind); feedbackKinds[kind] && !l.has(kind) {
			l.feedback = append(l.feedback, kind)
		}
	}
}

func (l *mediaLine) readExtensions(attrs []sdp.Attribute) {
	for _, a := range attrs {
		if a.Key != "extmap" {
			continue
		}
		head, uri, _ := strings.Cut(a.Value, " ")
		uri, _, _ = strings.Cut(strings.TrimSpace(uri), " ")
		head, _, _ = strings.Cut(head, "/")
		// Above 14 needs the two-byte form, which costs every packet.
		id, err := strconv.ParseUint(head, 10, 8)
		if err != nil || id < 1 || id > 14 {
			continue
		}
		if slot := l.ext.slot(uri, l.kind); slot != nil && *slot == 0 {
			*slot = uint8(id)
		}
	}
}

func (l *mediaLine) readSSRCs() {
	repairs := make(map[uint32]bool)
	for _, a := range l.media.Attributes {
		if f := strings.Fields(a.Value); a.Key == "ssrc-group" && len(f) == 3 && f[0] == "FID" {
			if ssrc, err := strconv.ParseUint(f[2], 10, 32); err == nil {
				repairs[uint32(ssrc)] = true
			}
		}
	}
	seen := make(map[uint32]bool)
	for _, a := range l.media.Attributes {
		if a.Key != "ssrc" || len(l.ssrcs) == maxDeclaredSSRCs {
			continue
		}
		head, _, _ := strings.Cut(a.Value, " ")
		ssrc, err := strconv.ParseUint(head, 10, 32)
		if err != nil || seen[uint32(ssrc)] {
			continue
		}
		seen[uint32(ssrc)] = true
		l.ssrcs = append(l.ssrcs, declaredSSRC{uint32(ssrc), repairs[uint32(ssrc)]})
	}
}
