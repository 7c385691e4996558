package transport

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
)

// Of a client that offers to send one picture in several sizes at once
// (simulcast, RFC 8853) we take one: the mixer decodes one, and asks for the
// size that it shows. The others, left out of the answer, are not sent.

// The header extensions that tell the sizes apart (RFC 8852).
const (
	uriRID      = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	uriRepaired = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
)

const (
	maxRIDs = 8 // of an m-line are looked at; clients offer three
	// maxRIDBytes is what a one-byte header extension holds (RFC 8285 section 4.2).
	maxRIDBytes = 16
	// What mixers decode at most; see there.
	maxRIDLong, maxRIDShort = 1920, 1088
)

// largeRIDs are what clients call the largest of their sizes, the most telling
// first: offers seldom say how large one is (RFC 8851 section 5), and by RFC
// the order is that of preference, while browsers have the largest last.
var largeRIDs = []string{"f", "full", "hd", "hi", "high", "h"}

// rid is one offered size of a picture.
type rid struct {
	name          string
	width, height int // that it is not larger than; 0 is not said
	paused        bool
}

// readSimulcast finds the one size of a line's picture that is taken; it stays
// "" where nothing of the kind is offered, or nothing that is understood, which
// then is answered with a single stream.
func (l *mediaLine) readSimulcast() {
	if l.kind != kindVideo || l.pt == 0 {
		return
	}
	offered := make(map[string]rid)
	for _, a := range l.media.Attributes {
		if a.Key != "rid" || len(offered) == maxRIDs {
			continue
		}
		if r, ok := readRID(a.Value, l.pt); ok {
			offered[r.name] = r
		}
	}
	simulcast, _ := l.media.Attribute("simulcast")
	var best rid
	for _, r := range sendList(simulcast) {
		if of, ok := offered[r.name]; ok {
			of.paused = r.paused
			if best.name == "" || of.before(best) {
				best = of
			}
		}
	}
	l.rid = best.name
}

// readRID reads the value of an a=rid (RFC 8851 section 4) that the client
// sends, "f send pt=96;max-width=1280". ok is false when it is of no use: it
// must not depend on others, and be coded as the line is.
func readRID(value string, pt uint8) (r rid, ok bool) {
	f := strings.Fields(value)
	if len(f) < 2 || len(f) > 3 || f[1] != "send" || !isRID(f[0]) {
		return r, false
	}
	r.name = f[0]
	if len(f) < 3 {
		return r, true
	}
	for _, part := range strings.Split(f[2], ";") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "pt":
			if !slices.Contains(strings.Split(value, ","), strconv.Itoa(int(pt))) {
				return r, false
			}
		case "depend":
			return r, false
		case "max-width", "max-height":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 {
				return r, false
			}
			if key == "max-width" {
				r.width = n
			} else {
				r.height = n
			}
		}
	}
	return r, true
}

// sendList reads what an a=simulcast sends (RFC 8853 section 5.1), "send
// q;h,h2;~f recv x": of alternatives the first, in the order given.
func sendList(value string) (list []rid) {
	f := strings.Fields(value)
	for i := 0; i+1 < len(f); i += 2 {
		if f[i] != "send" {
			continue
		}
		for _, stream := range strings.SplitN(f[i+1], ";", maxRIDs+1) {
			first, _, _ := strings.Cut(stream, ",")
			name, paused := strings.CutPrefix(first, "~")
			if isRID(name) && len(list) < maxRIDs {
				list = append(list, rid{name: name, paused: paused})
			}
		}
	}
	return list
}

// isRID reports whether s is an identifier that we write into an answer.
func isRID(s string) bool {
	return s != "" && len(s) <= maxRIDBytes && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_')
	})
}

// before reports whether r is taken rather than o, which comes earlier in the
// list: one that is sent at once, that is not too large to be decoded, the
// larger one if both say how large they are; else the one whose name says that
// it is the largest; else the later one, which in browsers is.
func (r rid) before(o rid) bool {
	switch {
	case r.paused != o.paused:
		return o.paused
	case r.tooLarge() != o.tooLarge():
		return o.tooLarge()
	case r.width*r.height > 0 && o.width*o.height > 0:
		return r.width*r.height > o.width*o.height
	}
	mine, other := slices.Index(largeRIDs, r.name), slices.Index(largeRIDs, o.name)
	if mine >= 0 && other >= 0 {
		return mine < other
	}
	return other < 0
}

func (r rid) tooLarge() bool {
	return max(r.width, r.height) > maxRIDLong || min(r.width, r.height) > maxRIDShort
}

// answerSimulcast writes into a line of the answer that one size is wanted. Like
// redundancy, it is nothing that pion needs to know.
func (l *mediaLine) answerSimulcast(m *sdp.MediaDescription) {
	for _, uri := range []string{uriRID, uriRepaired} {
		if id := *l.ext.slot(uri, l.kind); id != 0 {
			m.WithValueAttribute("extmap", strconv.Itoa(int(id))+" "+uri)
		}
	}
	m.WithValueAttribute("rid", l.rid+" recv")
	m.WithValueAttribute("simulcast", "recv "+l.rid)
}

// other reports whether a packet is of a size that was not taken: a client may
// not have seen the answer yet, or not have understood it.
func (l *mediaLine) other(h *rtp.Header) bool {
	if l.rid == "" {
		return false
	}
	for _, id := range []uint8{l.ext.rid, l.ext.repaired} {
		if id == 0 {
			continue
		}
		if of := h.GetExtension(id); len(of) > 0 && string(of) != l.rid {
			return true
		}
	}
	return false
}
