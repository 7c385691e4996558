package transport

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"mixdown/codec"
)

// forPion writes the offer anew, with nothing in it but what was understood:
// the accepted lines, one codec each, the directions that the role allows.
// pion never sees the client's own text, so none of its heuristics (plan B,
// simulcast, undeclared streams) can be steered from outside.
//
// Each line carries "a=ssrc:none". Streams are found by our own demultiplexer
// (see peerin.go); the line keeps pion from starting receivers, which would
// compete for the packets, and from inventing a transceiver for every unknown
// SSRC that a client may send.
func (p *offerPlan) forPion(withCandidates bool) string {
	var b strings.Builder
	line := func(format string, args ...any) {
		fmt.Fprintf(&b, format, args...)
		b.WriteString("\r\n")
	}
	line("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0")
	var mids []string
	for _, l := range p.lines {
		if l.accepted {
			mids = append(mids, l.mid)
		}
	}
	line("a=group:BUNDLE %s", strings.Join(mids, " "))
	line("a=ice-ufrag:%s", p.ufrag)
	line("a=ice-pwd:%s", p.pwd)
	line("a=fingerprint:%s", p.fingerprint)
	if p.peerIsLite {
		line("a=ice-lite")
	}
	if p.mixedExt {
		line("a=extmap-allow-mixed")
	}
	for _, l := range p.lines {
		if !l.accepted {
			continue
		}
		l.write(line, p.setup)
		if withCandidates {
			for _, c := range p.candidates {
				line("a=candidate:%s", c)
			}
			withCandidates = false
		}
	}
	return b.String()
}

func (l *mediaLine) write(line func(string, ...any), setup string) {
	if l.kind == kindData {
		line("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0")
		line("a=mid:%s\r\na=setup:%s\r\na=sctp-port:5000\r\na=max-message-size:65536", l.mid, setup)
		return
	}
	media, name := "audio", "opus/48000/2"
	if l.kind == kindVideo {
		media, name = "video", l.codec.String()+"/90000"
	}
	formats := strconv.Itoa(int(l.pt))
	if l.rtxPT != 0 {
		formats += " " + strconv.Itoa(int(l.rtxPT))
	}
	line("m=%s 9 UDP/TLS/RTP/SAVPF %s\r\nc=IN IP4 0.0.0.0", media, formats)
	line("a=mid:%s\r\na=setup:%s\r\na=rtcp-mux", l.mid, setup)
	switch { // as the client would put it
	case l.recv && l.send:
		line("a=sendrecv")
	case l.recv:
		line("a=sendonly")
	case l.send:
		line("a=recvonly")
	default:
		line("a=inactive")
	}
	line("a=rtpmap:%d %s", l.pt, name)
	if l.kind == kindAudio {
		line("a=fmtp:%d %s", l.pt, opusFmtp)
	}
	if l.codec == codec.H264 {
		line("a=fmtp:%d %s", l.pt, h264Fmtp) // as it was registered
	}
	if l.rtxPT != 0 {
		line("a=rtpmap:%d rtx/90000\r\na=fmtp:%d apt=%d", l.rtxPT, l.rtxPT, l.pt)
	}
	for _, f := range l.feedback {
		line("a=rtcp-fb:%d %s", l.pt, f)
	}
	for _, uri := range []string{uriMID, uriTWCC, uriCaptureTime, uriPlayoutDelay, uriLevel, uriCSRCLevel} {
		if id := l.ext.slot(uri, l.kind); id != nil && *id != 0 {
			line("a=extmap:%d %s", *id, uri)
		}
	}
	line("a=ssrc:none cname:none")
}

// opusFmtp asks senders for forward error correction, and for nothing in
// silence (RFC 7587 section 6.1). Mono is what it does not say.
const opusFmtp = "minptime=10;useinbandfec=1;usedtx=1"

// preferRED puts the redundant format in front of the answered formats of a line
// that takes it. pion is not told: it neither sends nor reads it. Browsers send
// redundancy only when it comes before Opus.
func (l *mediaLine) preferRED(m *sdp.MediaDescription) {
	red := strconv.Itoa(int(l.redPT))
	m.MediaName.Formats = slices.Insert(m.MediaName.Formats, 0, red)
	m.WithValueAttribute("rtpmap", red+" red/48000/2")
	m.WithValueAttribute("fmtp", fmt.Sprintf("%s %d/%d", red, l.pt, l.pt))
}

// finishAnswer turns pion's answer to forPion's text into the answer to the
// client's offer: a line for each of the client's m-lines, in its order (RFC
// 3264 section 6), the refused ones with port 0, and the candidates sorted.
func (p *offerPlan) finishAnswer(text string) (answer, ufrag string, err error) {
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(text); err != nil {
		return "", "", fmt.Errorf("answer cannot be read back: %w", err)
	}
	byMID := make(map[string]*sdp.MediaDescription)
	for _, m := range desc.MediaDescriptions {
		if mid, ok := m.Attribute("mid"); ok && m.MediaName.Port.Value != 0 {
			byMID[mid] = m
		}
		if v, ok := m.Attribute("ice-ufrag"); ok {
			ufrag = v
		}
		arrangeCandidates(m, p.public)
	}
	desc.MediaDescriptions = nil
	for _, l := range p.lines {
		m := byMID[l.mid]
		if l.accepted && m == nil {
			return "", "", fmt.Errorf("answer lacks m-line %d", l.number)
		}
		if l.accepted && l.codec == codec.H264 {
			l.answerH264(m)
		}
		if l.accepted && l.reduced {
			m.WithPropertyAttribute("rtcp-rsize")
		}
		if !l.accepted {
			m = l.refusal()
		} else if l.redPT != 0 && l.recv {
			l.preferRED(m)
		} else if l.rid != "" && l.recv {
			l.answerSimulcast(m)
		}
		desc.MediaDescriptions = append(desc.MediaDescriptions, m)
	}
	out, err := desc.Marshal()
	if err != nil {
		return "", "", fmt.Errorf("answer cannot be written: %w", err)
	}
	return string(out), ufrag, nil
}

// refusal is an m-line with port 0 (RFC 3264 section 6). Firefox wants the
// connection line even here.
func (l *mediaLine) refusal() *sdp.MediaDescription {
	name := sdp.MediaName{Media: "application", Protos: []string{"UDP", "TLS", "RTP", "SAVPF"}, Formats: []string{"0"}}
	offered := l.media.MediaName
	if isToken(offered.Media, 32) {
		name.Media = offered.Media
	}
	if len(offered.Protos) > 0 && len(offered.Protos) < 6 && !slices.ContainsFunc(offered.Protos, func(s string) bool { return !isToken(s, 16) }) {
		name.Protos = offered.Protos
	}
	if len(offered.Formats) > 0 && isToken(offered.Formats[0], 32) {
		name.Formats = offered.Formats[:1]
	}
	m := &sdp.MediaDescription{
		MediaName: name,
		ConnectionInformation: &sdp.ConnectionInformation{
			NetworkType: "IN", AddressType: "IP4", Address: &sdp.Address{Address: "0.0.0.0"},
		},
	}
	return m.WithPropertyAttribute("inactive").WithValueAttribute("mid", l.mid)
}
