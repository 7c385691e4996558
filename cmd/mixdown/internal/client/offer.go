package client

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// The payload types and extension numbers that are offered, as Chromium numbers
// them; an answer uses the same (RFC 3264 section 6.1, RFC 8285 section 6).
const (
	ptOpus = 111
	ptRED  = 63
	ptVP8  = 96
	ptRTX  = 97

	extLevel     = 1 // RFC 6464
	extCSRCLevel = 2 // RFC 6465
	extTWCC      = 3 // draft-holmer-rmcat-transport-wide-cc-extensions-01

	uriLevel     = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	uriTWCC      = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	uriCSRCLevel = "urn:ietf:params:rtp-hdrext:csrc-audio-level"
)

// offerLine is one m-line of an offer.
type offerLine struct {
	video       bool
	sends, gets bool
	ssrc, rtx   uint32 // of what is sent
	red         bool   // sound with redundancy
}

// offerText writes an offer. It has no candidates: the server learns our address
// from our checks.
func offerText(local credentials, fingerprint, stream string, lines []offerLine) string {
	var b strings.Builder
	line := func(format string, args ...any) {
		fmt.Fprintf(&b, format, args...)
		b.WriteString("\r\n")
	}
	line("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0")
	bundle := "a=group:BUNDLE"
	for mid := range lines {
		bundle += " " + strconv.Itoa(mid)
	}
	line("%s\r\na=msid-semantic: WMS %s", bundle, stream)
	for mid, l := range lines {
		kind, formats := "audio", strconv.Itoa(ptOpus)
		switch {
		case l.video:
			kind, formats = "video", fmt.Sprintf("%d %d", ptVP8, ptRTX)
		case l.red:
			formats += " " + strconv.Itoa(ptRED)
		}
		line("m=%s 9 UDP/TLS/RTP/SAVPF %s\r\nc=IN IP4 0.0.0.0", kind, formats)
		line("a=mid:%d\r\na=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:%s", mid, local.ufrag, local.pwd, fingerprint)
		line("a=setup:actpass\r\na=rtcp-mux\r\na=rtcp-rsize")
		switch {
		case l.sends && l.gets:
			line("a=sendrecv")
		case l.sends:
			line("a=sendonly")
		default:
			line("a=recvonly")
		}
		if l.video {
			line("a=rtpmap:%d VP8/90000", ptVP8)
			for _, f := range []string{"nack", "nack pli", "ccm fir", "goog-remb", "transport-cc"} {
				line("a=rtcp-fb:%d %s", ptVP8, f)
			}
			line("a=rtpmap:%d rtx/90000\r\na=fmtp:%d apt=%d", ptRTX, ptRTX, ptVP8)
		} else {
			line("a=rtpmap:%d opus/48000/2\r\na=fmtp:%d minptime=10;useinbandfec=1", ptOpus, ptOpus)
			if l.red {
				line("a=rtpmap:%d red/48000/2\r\na=fmtp:%d %d/%d", ptRED, ptRED, ptOpus, ptOpus)
			}
			line("a=rtcp-fb:%d transport-cc", ptOpus)
			line("a=extmap:%d %s\r\na=extmap:%d %s", extLevel, uriLevel, extCSRCLevel, uriCSRCLevel)
		}
		line("a=extmap:%d %s", extTWCC, uriTWCC)
		if !l.sends {
			continue
		}
		line("a=msid:%s %s", stream, kind)
		if l.rtx != 0 {
			line("a=ssrc-group:FID %d %d\r\na=ssrc:%d cname:%s", l.ssrc, l.rtx, l.rtx, stream)
		}
		line("a=ssrc:%d cname:%s", l.ssrc, stream)
	}
	return b.String()
}

// answer is what the server said.
type answer struct {
	remote      credentials
	fingerprint string
	// active says that the server is the client of the DTLS handshake.
	active     bool
	candidates []netip.AddrPort
	lines      []answerLine // one for each of the offer's
}

// answerLine is one m-line of an answer.
type answerLine struct {
	takes, sends bool // the server's directions
	formats      []int
	extensions   []int // that it took over
}

// has reports whether a payload type was taken.
func (l *answerLine) has(pt int) bool { return slices.Contains(l.formats, pt) }

// errBadAnswer says that the server's answer is of no use; the wrapping error
// names what.
var errBadAnswer = errors.New("the server's answer")

func badAnswer(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errBadAnswer}, args...)...)
}

// maxCandidates of an answer are checked.
const maxCandidates = 16

// parseAnswer reads an answer to an offer of so many lines.
func parseAnswer(text string, lines int) (*answer, error) {
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(text); err != nil {
		return nil, badAnswer("%v", err)
	}
	if n := len(desc.MediaDescriptions); n != lines {
		return nil, badAnswer("%d m-lines for %d", n, lines)
	}
	// What belongs to the transport may stand on any line of the bundle.
	get := func(key string) string {
		for _, m := range desc.MediaDescriptions {
			if v, ok := m.Attribute(key); ok && m.MediaName.Port.Value != 0 {
				return v
			}
		}
		v, _ := desc.Attribute(key)
		return v
	}
	a := &answer{
		remote:      credentials{get("ice-ufrag"), get("ice-pwd")},
		fingerprint: get("fingerprint"), active: get("setup") == "active",
	}
	if a.remote.ufrag == "" || a.remote.pwd == "" {
		return nil, badAnswer("no ice-ufrag or ice-pwd")
	}
	if !strings.HasPrefix(strings.ToLower(a.fingerprint), "sha-256 ") {
		return nil, badAnswer("fingerprint is %.40q: want sha-256", a.fingerprint)
	}
	for _, m := range desc.MediaDescriptions {
		a.lines = append(a.lines, readLine(m))
		for _, attr := range m.Attributes {
			if c, ok := readCandidate(attr); ok && len(a.candidates) < maxCandidates && !slices.Contains(a.candidates, c) {
				a.candidates = append(a.candidates, c)
			}
		}
	}
	if len(a.candidates) == 0 {
		return nil, badAnswer("no UDP candidate with an address")
	}
	return a, nil
}

func readLine(m *sdp.MediaDescription) (l answerLine) {
	if m.MediaName.Port.Value == 0 {
		return l
	}
	l.takes, l.sends = true, true
	for _, f := range m.MediaName.Formats {
		if pt, err := strconv.Atoi(f); err == nil {
			l.formats = append(l.formats, pt)
		}
	}
	for _, attr := range m.Attributes {
		switch attr.Key {
		case "sendonly":
			l.takes = false
		case "recvonly":
			l.sends = false
		case "inactive":
			l.takes, l.sends = false, false
		case "extmap":
			head, _, _ := strings.Cut(attr.Value, " ")
			head, _, _ = strings.Cut(head, "/")
			if id, err := strconv.Atoi(head); err == nil {
				l.extensions = append(l.extensions, id)
			}
		}
	}
	return l
}

// readCandidate takes a candidate (RFC 8839 section 5.1) for RTP over UDP that
// is an address: names are not looked up.
func readCandidate(a sdp.Attribute) (netip.AddrPort, bool) {
	f := strings.Fields(a.Value)
	if a.Key != "candidate" || len(f) < 8 || f[1] != "1" || !strings.EqualFold(f[2], "udp") {
		return netip.AddrPort{}, false
	}
	addr, err := netip.ParseAddr(f[4])
	port, err2 := strconv.ParseUint(f[5], 10, 16)
	if err != nil || err2 != nil || port == 0 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), true
}
