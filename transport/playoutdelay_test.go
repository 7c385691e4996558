package transport

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// Key frames carry the bound, and one frame a second does; a packet never carries
// both stamps.
func TestPlayoutDelayIsSent(t *testing.T) {
	p := testPacer(t, func(cfg *pacerConfig) {
		cfg.VideoCaptureID, cfg.DelayID, cfg.MaxDelay, cfg.Epoch = 6, 7, 480*ms, time.Unix(1e9, 0)
	})
	var told []int
	for i := range 60 {
		now := time.Duration(i) * 40 * ms
		kind := "T0"
		if i == 0 || i == 10 {
			kind = "key"
		}
		send(t, p, now, paceVideo(1, now, 3000, kind), 0)
		out, _ := drain(t, p, now)
		for k, s := range out {
			ext := s.GetExtension(7)
			if ext == nil {
				continue
			}
			if !bytes.Equal(ext, []byte{0, 0, 48}) || k != 0 || s.GetExtension(6) != nil {
				t.Errorf("frame %d, packet %d: %x, and %x", i, k, ext, s.GetExtension(6))
			}
			told = append(told, i)
		}
	}
	// The first frame has the other stamp, and so has each 25th.
	if len(told) != 3 || told[0] != 1 || told[1] != 10 || told[2] != 35 {
		t.Errorf("told with frames %v, want 1, 10 and 35", told)
	}
}

// It is taken over from an offer only where the server wants it.
func TestPlayoutDelayIsAnswered(t *testing.T) {
	for _, want := range []time.Duration{0, 200 * ms} {
		e := startEngine(t, Config{PlayoutDelay: want})
		_, answer, err := e.Accept(t.Context(), Offer{
			SDP: readOffer(t, "chromium-viewer"), Epoch: time.Now(), CNAME: "room", Handler: newRecorder(t), Role: RoleViewer,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(answer.SDP, uriPlayoutDelay); got != map[bool]int{true: 1}[want != 0] {
			t.Errorf("%v: answered %d times", want, got)
		}
	}
	for _, bad := range []time.Duration{-1, 5 * ms, MaxPlayoutDelay + playoutUnit} {
		if _, err := New(Config{UDP: []string{"127.0.0.1:0"}, PlayoutDelay: bad}); err == nil || !strings.Contains(err.Error(), "PlayoutDelay") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
