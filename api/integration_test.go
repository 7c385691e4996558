package api

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/codec/vp8"
)

// patience is how long a test waits for what takes a moment.
const patience = 20 * time.Second

// client is a pion client that joins by HTTP.
type client struct {
	pc       *webrtc.PeerConnection
	base     string
	location string
	audio    atomic.Int64 // packets heard
	video    atomic.Int64
	readers  sync.WaitGroup
	writers  sync.WaitGroup
	stop     context.CancelFunc
}

// offerOf makes an offer with all candidates: sound and picture both ways.
func offerOf(t testing.TB, pc *webrtc.PeerConnection) string {
	t.Helper()
	gathered := webrtc.GatheringCompletePromise(pc)
	offer, err := pc.CreateOffer(nil)
	must(t, err)
	must(t, pc.SetLocalDescription(offer))
	<-gathered
	return pc.LocalDescription().SDP
}

// dial joins a room and sends a tone and a grey picture until it leaves.
func dial(t *testing.T, base, path string) *client {
	t.Helper()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	c := &client{pc: pc, base: base, stop: stop}
	t.Cleanup(c.close)
	voice, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "a", "s")
	must(t, err)
	picture, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "v", "s")
	must(t, err)
	for _, track := range []webrtc.TrackLocal{voice, picture} {
		sender, err := pc.AddTrack(track)
		must(t, err)
		c.readers.Go(func() {
			buf := make([]byte, 1500)
			for {
				if _, _, err := sender.Read(buf); err != nil {
					return
				}
			}
		})
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		count := &c.audio
		if track.Kind() == webrtc.RTPCodecTypeVideo {
			count = &c.video
		}
		for {
			if _, _, err := track.ReadRTP(); err != nil {
				return
			}
			count.Add(1)
		}
	})
	resp, err := http.Post(base+path, "application/sdp", strings.NewReader(offerOf(t, pc)))
	must(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != 201 {
		t.Fatalf("join: %d %s", resp.StatusCode, answer)
	}
	c.location = base + resp.Header.Get("Location")
	must(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}))
	c.writers.Go(func() { send(ctx, voice, picture) })
	return c
}

// send writes 20 ms of a square wave and, every other time, a key frame.
func send(ctx context.Context, voice, picture *webrtc.TrackLocalStaticSample) {
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		return
	}
	defer enc.Close()
	pictures, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: 160, Height: 90, FPS: 25, BitrateBps: 100_000})
	if err != nil {
		return
	}
	defer pictures.Close()
	var pcm codec.AudioFrame
	for i := range pcm {
		pcm[i] = int16(8000 * (1 - 2*(i/60%2)))
	}
	pool := codec.NewVideoPool(8 << 20)
	buf := make([]byte, 1275)
	tick := time.NewTicker(codec.FrameDuration)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if size, err := enc.Encode(&pcm, buf); err == nil {
			_ = voice.WriteSample(media.Sample{Data: append([]byte(nil), buf[:size]...), Duration: codec.FrameDuration})
		}
		if n%2 != 0 {
			continue
		}
		frame, err := pool.Get(160, 90)
		if err != nil {
			continue
		}
		if coded, err := pictures.Encode(frame, time.Duration(n)*codec.FrameDuration, n%50 == 0); err == nil {
			_ = picture.WriteSample(media.Sample{Data: append([]byte(nil), coded.Data...), Duration: 2 * codec.FrameDuration})
			coded.Release()
		}
		frame.Release()
	}
}

func (c *client) close() {
	c.stop()
	c.writers.Wait()
	_ = c.pc.Close()
	c.readers.Wait()
}

// eventually fails the test unless ok holds before patience ends.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func statusOf(t *testing.T, method, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	must(t, err)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(b)
}

// Two clients join, hear and see the mix, are recorded; one leaves, the other
// is kicked and told so.
func TestConference(t *testing.T) {
	f := newFixture(t, true)
	srv := httptest.NewUnstartedServer(f)
	srv.Config = HTTPServer(f)
	srv.Start()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		srv.Close()
	})

	f.do("PUT", "/v1/rooms/talk", `{"canvas":{"width":320,"height":180,"fps":15},"tiers":["320x180@15"]}`).want(t, 201)
	ann := dial(t, srv.URL, "/v1/rooms/talk/participants?name=Ann")
	bob := dial(t, srv.URL, "/v1/rooms/talk/participants?name=Bob")
	for _, c := range []*client{ann, bob} {
		eventually(t, "media", func() bool { return c.audio.Load() > 25 && c.video.Load() > 10 })
	}
	if _, half := f.sessions.counts(); half != 0 {
		t.Errorf("%d sessions are half-open though media flows", half)
	}
	var list List[Participant]
	f.do("GET", "/v1/rooms/talk/participants", "").want(t, 200).json(t, &list)
	if len(list.Items) != 2 || list.Items[0].State != "active" || list.Items[0].Send.Audio.Codec != "opus" ||
		list.Items[0].Send.Video == nil || list.Items[0].Receive.Tier != "320x180@15" {
		t.Errorf("got %+v", list.Items)
	}
	var picture Layout
	f.do("GET", "/v1/rooms/talk/layout", "").want(t, 200).json(t, &picture)
	if len(picture.Shown) != 2 || picture.Mode != "grid" || picture.Canvas.Width != 320 || picture.Shown[0].Width == 0 {
		t.Errorf("got %+v", picture)
	}

	started := f.do("POST", "/v1/rooms/talk/recordings", `{"format":"webm","source":"program"}`).want(t, 201)
	recording := started.Header.Get("Location")
	f.do("POST", "/v1/rooms/talk/recordings", "").problem(t, 409, "recording-active")
	var rec Recording
	eventually(t, "recording", func() bool {
		f.do("GET", recording, "").want(t, 200).json(t, &rec)
		return rec.State == "active" && rec.Bytes > 0
	})
	f.do("PATCH", recording, `{"state":"stopped"}`).want(t, 200).json(t, &rec)
	if rec.State != "complete" || rec.Room != "talk" {
		t.Errorf("got %+v", rec)
	}
	if status, body := statusOf(t, "GET", srv.URL+rec.Media); status != 200 || !strings.HasPrefix(body, "\x1a\x45\xdf\xa3") {
		t.Errorf("download: %d, %d bytes", status, len(body))
	}

	if status, _ := statusOf(t, "DELETE", ann.location); status != 200 {
		t.Errorf("leaving: %d", status)
	}
	eventually(t, "Ann is gone", func() bool {
		f.do("GET", "/v1/rooms/talk/participants", "").want(t, 200).json(t, &list)
		return len(list.Items) == 1
	})
	if status, _ := statusOf(t, "GET", bob.location); status != 204 {
		t.Errorf("Bob's session: %d", status)
	}
	f.do("DELETE", "/v1/rooms/talk/participants/"+list.Items[0].ID, "").want(t, 204)
	if status, body := statusOf(t, "GET", bob.location); status != 410 || !strings.Contains(body, `"kicked"`) {
		t.Errorf("after a kick: %d %s", status, body)
	}
	eventually(t, "Bob is disconnected", func() bool {
		state := bob.pc.ConnectionState()
		return state != webrtc.PeerConnectionStateConnected
	})
	eventually(t, "the room is empty", func() bool {
		var room Room
		f.do("GET", "/v1/rooms/talk", "").want(t, 200).json(t, &room)
		return room.Status.Participants == 0
	})
	if live, half := f.sessions.counts(); live != 0 || half != 0 {
		t.Errorf("%d sessions and %d half-open ones are left", live, half)
	}
	for _, c := range []*client{ann, bob} {
		if strings.Contains(f.log.String(), strings.TrimPrefix(c.location, srv.URL+"/v1/sessions/")) {
			t.Error("a session's secret is in the log")
		}
	}
}

// WHIP and WHEP: the one only sends, the other only receives.
func TestPublisherAndViewer(t *testing.T) {
	f := newFixture(t, true)
	srv := httptest.NewServer(f)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		srv.Close()
	})
	publisher := dial(t, srv.URL, "/whip/stage")
	viewer := dial(t, srv.URL, "/whep/stage")
	eventually(t, "the viewer sees", func() bool { return viewer.audio.Load() > 25 && viewer.video.Load() > 10 })
	if n := publisher.audio.Load() + publisher.video.Load(); n != 0 {
		t.Errorf("the publisher got %d packets", n)
	}
	var picture Layout
	f.do("GET", "/v1/rooms/stage/layout", "").want(t, 200).json(t, &picture)
	if len(picture.Shown) != 1 {
		t.Errorf("%d tiles, want the publisher's", len(picture.Shown))
	}
}

// TestRefusedOffersLeaveNoRoom: what cannot be answered must not make a room,
// or a client without any right to speak of fills the server with them.
func TestRefusedOffersLeaveNoRoom(t *testing.T) {
	f := newFixture(t, true)
	for body, status := range map[string]int{
		"not SDP at all": http.StatusBadRequest,
		strings.NewReplacer("opus/48000/2", "PCMU/8000", "VP8/90000", "H265/90000").Replace(sampleOffer): http.StatusUnprocessableEntity,
	} {
		got := f.do("POST", "/v1/rooms/ghost/participants", body, "Content-Type", sdpType)
		if got.StatusCode != status {
			t.Errorf("status %d, want %d: %s", got.StatusCode, status, got.text)
		}
	}
	if got := f.do("GET", "/v1/rooms/ghost", ""); got.StatusCode != http.StatusNotFound {
		t.Errorf("the room is there: %d %s", got.StatusCode, got.text)
	}
}
