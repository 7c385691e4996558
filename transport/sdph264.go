package transport

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"mixdown/codec"
	"mixdown/codec/h264/nal"
)

// h264Ways are the directions in which H.264 is spoken.
type h264Ways struct{ Send, Receive bool }

func (e *Engine) h264() h264Ways { return h264Ways{e.cfg.SendH264, e.cfg.ReceiveH264} }

// spoken lists the codecs, for messages.
func (w h264Ways) spoken() string {
	switch {
	case w.Send && w.Receive:
		return "Opus, VP8 and H.264 (packetization mode 1)"
	case w.Send:
		return "Opus and VP8, and sends H.264 (constrained baseline, packetization mode 1)"
	case w.Receive:
		return "Opus and VP8, and takes H.264"
	}
	return "Opus and VP8"
}

// h264Fmtp is by what pion knows the format; answers have the client's own words.
const h264Fmtp = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"

// h264Wishes is what an a=fmtp of H.264 says (RFC 6184 section 8.1).
type h264Wishes struct {
	mode       int
	asymmetric bool
	// id is the profile-level-id, six digits; "" is not said.
	id                          string
	profile, constraints, level uint8
}

// readH264Wishes reads an a=fmtp. ok is false when it asks for what is not spoken.
func readH264Wishes(fmtp string) (w h264Wishes, ok bool) {
	// By RFC, who says nothing means level 1, a postage stamp. Nobody does.
	w.profile, w.constraints = nal.ProfileBaseline, 0xe0
	for _, part := range strings.Split(fmtp, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch value = strings.TrimSpace(value); strings.ToLower(strings.TrimSpace(key)) {
		case "packetization-mode":
			mode, err := strconv.Atoi(value)
			if err != nil || mode < 0 || mode > 1 {
				return w, false // 2 is interleaved: not for real time
			}
			w.mode = mode
		case "level-asymmetry-allowed":
			w.asymmetric = value == "1"
		case "profile-level-id":
			id, err := hex.DecodeString(sixDigits(value))
			if err != nil || len(id) != 3 {
				return w, false
			}
			w.id, w.profile, w.constraints, w.level = value, id[0], id[1], id[2]
		}
	}
	switch w.profile {
	case nal.ProfileBaseline, nal.ProfileMain, nal.ProfileHigh:
		return w, true
	}
	return w, false
}

// sixDigits mends a profile-level-id. Of constrained baseline ffmpeg's WHIP muxer
// writes seven digits, its own mark for the constraint (0x200) in place of the
// byte that has it.
func sixDigits(id string) string {
	if len(id) == 7 && id[2:5] == "200" {
		return id[:2] + "e0" + id[5:]
	}
	return id
}

// constrained reports whether the profile is constrained baseline.
func (w *h264Wishes) constrained() bool {
	return w.profile == nal.ProfileBaseline && w.constraints&0x40 != 0
}

// sendable reports whether we make what the format asks for: large pictures in
// several packets, of a profile of which constrained baseline is a part. (Of the
// others it is too, but the answer would have to promise more.)
func (w *h264Wishes) sendable() bool { return w.mode == 1 && w.profile == nal.ProfileBaseline }

// rank orders formats: the higher the better.
func (w *h264Wishes) rank() int {
	switch {
	case w.sendable() && w.constrained():
		return 3
	case w.sendable():
		return 2
	case w.mode == 1:
		return 1
	}
	return 0
}

// limits are what the level allows to be sent, in macroblocks; 0 is unbounded.
func (w *h264Wishes) limits() (blocks, perSecond int) {
	if w.level == 0 {
		return 0, 0
	}
	if w.level == 11 && w.profile != nal.ProfileHigh && w.constraints&0x10 != 0 {
		return nal.Level(9) // 1b (table A-1, constraint_set3_flag)
	}
	return nal.Level(w.level)
}

// readH264 finds the best format of H.264 in a line.
func (l *mediaLine) readH264(names, params map[uint8]string) {
	best := -1
	for _, f := range l.media.MediaName.Formats {
		pt, err := strconv.ParseUint(f, 10, 7)
		if err != nil || pt == 0 || names[uint8(pt)] != "h264/90000" {
			continue
		}
		if w, ok := readH264Wishes(params[uint8(pt)]); ok && w.rank() > best {
			best = w.rank()
			l.pt, l.codec, l.h264 = uint8(pt), codec.H264, w
		}
	}
}

// answerH264 says in the answer what the offer said: the parameters that make a
// format have to be the same (RFC 6184 section 8.2.2), and browsers show black
// where they are not.
func (l *mediaLine) answerH264(m *sdp.MediaDescription) {
	pt := strconv.Itoa(int(l.pt))
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		return a.Key == "fmtp" && strings.HasPrefix(a.Value, pt+" ")
	})
	var parts []string
	if l.h264.asymmetric {
		parts = append(parts, "level-asymmetry-allowed=1")
	}
	parts = append(parts, fmt.Sprintf("packetization-mode=%d", l.h264.mode))
	if l.h264.id != "" {
		parts = append(parts, "profile-level-id="+l.h264.id)
	}
	m.WithValueAttribute("fmtp", pt+" "+strings.Join(parts, ";"))
}
