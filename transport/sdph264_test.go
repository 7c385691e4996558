package transport

import (
	"strings"
	"testing"

	"mixdown/codec"
)

func TestH264Wishes(t *testing.T) {
	for _, tc := range []struct {
		fmtp          string
		ok            bool
		rank          int
		blocks, speed int
	}{
		{"level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", true, 3, 3600, 108_000},
		{"profile-level-id=42C01E; packetization-mode=1", true, 3, 1620, 40_500},
		{"packetization-mode=1;profile-level-id=42001f", true, 2, 3600, 108_000},
		{"packetization-mode=1;profile-level-id=640c28", true, 1, 8192, 245_760},
		{"packetization-mode=1;profile-level-id=4d0029", true, 1, 8192, 245_760},
		{"profile-level-id=42e01f", true, 0, 3600, 108_000},
		{"packetization-mode=1", true, 3, 0, 0},
		{"packetization-mode=1;profile-level-id=42f00b", true, 3, 99, 1485}, // 1b
		{"", true, 0, 0, 0},
		{"packetization-mode=2;profile-level-id=42e01f", false, 0, 0, 0},
		{"packetization-mode=1;profile-level-id=7a001f", false, 0, 0, 0},
		{"packetization-mode=1;profile-level-id=42e0", false, 0, 0, 0},
		{"packetization-mode=1;profile-level-id=zzzzzz", false, 0, 0, 0},
	} {
		w, ok := readH264Wishes(tc.fmtp)
		if ok != tc.ok {
			t.Errorf("%q: ok %v", tc.fmtp, ok)
			continue
		}
		if blocks, speed := w.limits(); ok && (w.rank() != tc.rank || blocks != tc.blocks || speed != tc.speed) {
			t.Errorf("%q: rank %d, %d blocks, %d a second; want %d, %d, %d", tc.fmtp, w.rank(), blocks, speed, tc.rank, tc.blocks, tc.speed)
		}
	}
}

// TestH264IsWhatIsLeft: VP8 wherever it is offered; of H.264 what suits both
// directions, or the one that there is.
func TestH264IsWhatIsLeft(t *testing.T) {
	offer := func(lines ...string) string {
		text := readOffer(t, "ffmpeg")
		video := text[strings.Index(text, "m=video"):]
		text = strings.Replace(text[:strings.Index(text, "m=audio")], "BUNDLE 0 1", "BUNDLE 1", 1) + video
		text = strings.Replace(text, "a=sendonly", "a=sendrecv", 1)
		text = strings.Replace(text, "SAVPF 106", "SAVPF 96 97 98 99", 1)
		i, j := strings.Index(text, "a=rtpmap"), strings.Index(text, "a=ssrc")
		return text[:i] + strings.Join(lines, "\r\n") + "\r\n" + text[j:]
	}
	const (
		h264 = "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96"
		high = "a=rtpmap:98 H264/90000\r\na=fmtp:98 packetization-mode=1;profile-level-id=640028"
		vp8  = "a=rtpmap:99 VP8/90000"
	)
	for _, tc := range []struct {
		name       string
		lines      []string
		ways       h264Ways
		codec      codec.Codec
		pt, rtx    uint8
		send, recv bool
	}{
		{"VP8 first", []string{h264, high, vp8}, h264Ways{true, true}, codec.VP8, 99, 0, true, true},
		{"H.264", []string{high, h264}, h264Ways{true, true}, codec.H264, 96, 97, true, true},
		{"that is only sent", []string{h264}, h264Ways{Send: true}, codec.H264, 96, 97, true, false},
		{"that is only taken", []string{h264}, h264Ways{Receive: true}, codec.H264, 96, 97, false, true},
		{"that we do not make", []string{high}, h264Ways{true, true}, codec.H264, 98, 0, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			plan, err := parseOffer(offer(tc.lines...), RoleParticipant, tc.ways)
			if err != nil {
				t.Fatal(err)
			}
			l := plan.lines[0]
			if l.codec != tc.codec || l.pt != tc.pt || l.rtxPT != tc.rtx || l.send != tc.send || l.recv != tc.recv {
				t.Errorf("%v %d, repairs %d, send %v, receive %v", l.codec, l.pt, l.rtxPT, l.send, l.recv)
			}
		})
	}
	if _, err := parseOffer(offer(h264), RoleParticipant, h264Ways{}); err == nil || !strings.Contains(err.Error(), "Opus and VP8,") {
		t.Errorf("%v", err)
	}
	if _, err := parseOffer(offer(high), RoleViewer, h264Ways{true, true}); err == nil {
		t.Error("a viewer of the high profile only was taken")
	}
}
