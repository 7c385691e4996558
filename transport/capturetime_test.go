package transport

import (
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/transport/v4/packetio"

	"mixdown/codec"
)

func TestParseCaptureTime(t *testing.T) {
	const at = uint64(0xe9000000_80000000)
	alone := binary.BigEndian.AppendUint64(nil, at)
	ahead := int64(-3) << 31 // the capturer's clock is 1.5 s behind
	both := binary.BigEndian.AppendUint64(alone[:8:8], uint64(ahead))
	for _, tc := range []struct {
		ext  []byte
		want codec.NTPTime
	}{
		{nil, 0}, {alone[:7], 0}, {append(alone[:8:8], 1), 0}, {make([]byte, 8), 0},
		{alone, codec.NTPTime(at)}, {both, codec.NTPTime(at + 3<<31)},
	} {
		if got, ok := parseCaptureTime(tc.ext); got != tc.want || ok != (tc.want != 0) {
			t.Errorf("%x: %x, %v; want %x", tc.ext, got, ok, tc.want)
		}
	}
}

// Of each stream the first packet, and then one a second, says when what it begins
// was mixed.
func TestCaptureTimeIsSent(t *testing.T) {
	epoch := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	p := testPacer(t, func(cfg *pacerConfig) {
		cfg.Epoch, cfg.AudioCaptureID, cfg.VideoCaptureID, cfg.AudioTWCC, cfg.VideoTWCC, cfg.CSRCLevelID = epoch, 5, 6, 3, 3, 4
	})
	stamped := make(map[uint32][]time.Duration)
	for i := range 125 {
		now := time.Duration(i) * 20 * ms
		f := paceAudio(now)
		f.Heard = append(f.Heard, codec.Contributor{CSRC: 1}, codec.Contributor{CSRC: 2})
		p.pushAudio(f, now)
		f.Release()
		if i%2 == 0 {
			send(t, p, now, paceVideo(1, now, 3000, map[bool]string{true: "key", false: "T0"}[i == 0]), codec.Sent)
		}
		out, _ := drain(t, p, now)
		for _, s := range out {
			id := uint8(5)
			if s.SSRC == 20 {
				id = 6
			}
			ext := s.GetExtension(id)
			if s.GetExtension(3) == nil || s.SSRC == 10 && len(s.GetExtension(4)) != 2 {
				t.Fatalf("PTS %v: another extension is missing", now)
			}
			if ext == nil {
				continue
			}
			at, ok := parseCaptureTime(ext)
			if want := codec.NTPTimeOf(epoch.Add(now)); !ok || at != want {
				t.Errorf("PTS %v: %x, want %x", now, ext, want)
			}
			stamped[s.SSRC] = append(stamped[s.SSRC], now)
		}
	}
	for _, ssrc := range []uint32{10, 20} {
		if s := stamped[ssrc]; len(s) != 3 || s[0] != 0 || s[1] != time.Second || s[2] != 2*time.Second {
			t.Errorf("stream %d: stamped at %v, want at 0, 1 and 2 s", ssrc, s)
		}
	}
}

// captures notes when what came was captured.
type captures struct {
	dropAll
	sound, picture []codec.NTPTime
}

func (c *captures) WriteAudio(f *codec.EncodedFrame) {
	c.sound = append(c.sound, f.Capture)
	f.Release()
}

func (c *captures) WriteVideo(_ codec.SourceID, f *codec.EncodedFrame) {
	c.picture = append(c.picture, f.Capture)
	f.Release()
}

// What packets say of their capture is known at once, and outweighs reports for as
// long as it is fresh.
func TestCaptureTimeIsTaken(t *testing.T) {
	var h captures
	p := offlinePeer(t, &h)
	defer p.in.close()
	defer p.out.close()
	for _, l := range p.in.lines {
		l.ext.capture = 9
	}
	const at = codec.NTPTime(0xe9000000_00000000)
	buffers := make(map[uint32]io.Writer) // as pion has one for each stream
	write := func(pkt *rtp.Packet, ssrc uint32, pt uint8, stamp codec.NTPTime) {
		pkt.SSRC, pkt.PayloadType = ssrc, pt
		if stamp != 0 {
			if err := pkt.SetExtension(9, binary.BigEndian.AppendUint64(nil, uint64(stamp))); err != nil {
				t.Fatal(err)
			}
		}
		b, err := pkt.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if buffers[ssrc] == nil {
			buffers[ssrc] = p.buffer(packetio.RTPBufferPacket, ssrc)
		}
		if _, err := buffers[ssrc].Write(b); err != nil {
			t.Fatal(err)
		}
	}
	write(soundPacket(0), 2573355466, 111, at)
	write(soundPacket(1), 2573355466, 111, 0)
	write(picturePacket(0), 1964495580, 96, at+1<<32)
	if len(h.sound) != 2 || h.sound[0] != at || h.sound[1] != at+1<<32/50 {
		t.Errorf("sound captured at %x, want %x and 20 ms later", h.sound, at)
	}
	if len(h.picture) != 1 || h.picture[0] != at+1<<32 {
		t.Errorf("picture captured at %x, want %x", h.picture, at+1<<32)
	}
	clock := senderClock{rate: 48000}
	clock.captured(at, 0)
	for _, tc := range []struct {
		seconds uint32
		want    codec.NTPTime
	}{
		{1, at + 1<<32}, {4, at + 4<<32}, {6, 7<<32 + at},
	} {
		// The reports are a second ahead.
		clock.report(at+codec.NTPTime(tc.seconds+1)<<32, tc.seconds*48000)
		if got := clock.capture(tc.seconds * 48000); got != tc.want {
			t.Errorf("after %d s: %x, want %x", tc.seconds, got, tc.want)
		}
	}
}

// Who does not say that feedback may come alone gets a report with it, and is not
// told that ours may.
func TestFeedbackAlone(t *testing.T) {
	for name, want := range map[string]bool{"chromium-participant": true, "obs": false, "firefox-audio": false} {
		plan, err := parseOffer(readOffer(t, name), RoleParticipant, h264Ways{true, true})
		if err != nil {
			t.Fatal(err)
		}
		answer, _, err := plan.finishAnswer(plan.forPion(true))
		if err != nil {
			t.Fatal(err)
		}
		if told := strings.Contains(answer, "a=rtcp-rsize"); told != want || plan.reduced() != want {
			t.Errorf("%s: answered %v, done %v; want %v", name, told, plan.reduced(), want)
		}
	}
}
