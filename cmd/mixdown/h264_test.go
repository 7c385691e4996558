package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	rtpcodecs "github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/codec/h264"
	"mixdown/codec/h264/nal"
	"mixdown/codec/vp8"
)

// withH264 lets a server take H.264 as well, by a Debian library that was mended.
func withH264(c *Config) { c.OpenH264, c.TrustOpenH264 = openH264Auto, true }

// Colours, as U and V.
var red, blue = [2]byte{90, 220}, [2]byte{220, 110}

// plain codes n plain pictures, 30 a second, with a key frame each second. Each is
// a little brighter than the one before: a canvas at rest would hardly be coded.
func plain(t *testing.T, enc codec.VideoEncoder, w, h, n int, colour [2]byte) *clip.Clip {
	t.Helper()
	defer enc.Close()
	picture, err := codec.NewVideoPool(16<<20).Get(w, h)
	if err != nil {
		t.Fatal(err)
	}
	paint := func(plane []byte, value byte) {
		for i := range plane {
			plane[i] = value
		}
	}
	paint(picture.U, colour[0])
	paint(picture.V, colour[1])
	c := &clip.Clip{Width: w, Height: h}
	for i := range n {
		paint(picture.Y, byte(100+i%30))
		f, err := enc.Encode(picture, time.Duration(i)*time.Second/30, i%30 == 0)
		if err != nil {
			t.Fatal(err)
		}
		c.Codec = f.Codec
		c.Units = append(c.Units, clip.Unit{Data: bytes.Clone(f.Data), Duration: time.Second / 30, Key: f.Key})
		f.Release()
	}
	return c
}

// holds reports whether a part of a decoder's picture has that colour.
func holds(dec codec.VideoDecoder, colour [2]byte) bool {
	small, err := codec.NewVideoPool(1<<20).Get(64, 36)
	if err != nil || dec.Picture(small) != nil {
		return false
	}
	n := 0
	for y := range 18 {
		for x := range 32 {
			u, v := int(small.U[y*small.StrideUV+x]), int(small.V[y*small.StrideUV+x])
			if max(u-int(colour[0]), int(colour[0])-u, v-int(colour[1]), int(colour[1])-v) < 12 {
				n++
			}
		}
	}
	return n > 32
}

// foreign is a client made of pion alone: its own packets, and its own way to
// put ours together.
type foreign struct {
	pc       *webrtc.PeerConnection
	location string
	answer   string

	mu     sync.Mutex
	dec    codec.VideoDecoder
	stream []byte // what came, in Annex B form, from the first key frame on
	frames int
	failed error
}

// joinForeign posts an offer that has H.264 and no VP8, and plays a clip if it
// has one.
func joinForeign(t *testing.T, lib *h264.Library, url string, direction webrtc.RTPTransceiverDirection, play *clip.Clip) *foreign {
	t.Helper()
	f := &foreign{}
	var err error
	if f.dec, err = lib.NewDecoder(h264.DecoderConfig{}); err != nil {
		t.Fatal(err)
	}
	var m webrtc.MediaEngine
	feedback := []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}}
	for _, c := range []webrtc.RTPCodecParameters{
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000, RTCPFeedback: feedback,
			SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"}, PayloadType: 125},
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: "apt=125"}, PayloadType: 126},
	} {
		if err := m.RegisterCodec(c, webrtc.RTPCodecTypeVideo); err != nil {
			t.Fatal(err)
		}
	}
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	f.pc, err = webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithSettingEngine(settings), webrtc.WithInterceptorRegistry(&interceptor.Registry{})).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264}, "video", "foreign")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: direction}); err != nil {
		t.Fatal(err)
	}
	up, done := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(up) })
		}
	})
	f.pc.OnTrack(func(r *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { f.read(r) })
	f.connect(t, url)
	var sending sync.WaitGroup
	if play != nil {
		sending.Go(func() {
			select {
			case <-up:
			case <-done:
				return
			}
			tick := time.NewTicker(time.Second / 30)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-tick.C:
					u := play.Units[n%len(play.Units)]
					_ = track.WriteSample(media.Sample{Data: u.Data, Duration: u.Duration})
				case <-done:
					return
				}
			}
		})
	}
	t.Cleanup(func() {
		close(done)
		sending.Wait()
		_ = f.pc.GracefulClose()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.dec.Close()
	})
	return f
}

// connect makes the offer, posts it and takes the answer.
func (f *foreign) connect(t *testing.T, url string) {
	t.Helper()
	offer, err := f.pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(f.pc)
	if err := f.pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	res, err := http.Post(url, "application/sdp", strings.NewReader(f.pc.LocalDescription().SDP))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", res.Status, body)
	}
	f.location, f.answer = res.Header.Get("Location"), string(body)
	if err := f.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: f.answer}); err != nil {
		t.Fatal(err)
	}
}

// read takes what comes, with pion's depacketiser, until the connection ends.
func (f *foreign) read(r *webrtc.TrackRemote) {
	var packets rtpcodecs.H264Packet
	var picture []byte
	for {
		var p *rtp.Packet
		var err error
		if p, _, err = r.ReadRTP(); err != nil {
			return
		}
		part, err := packets.Unmarshal(p.Payload)
		picture = append(picture, part...)
		if !p.Marker || err != nil {
			continue
		}
		f.mu.Lock()
		if h, err := nal.ParseFrame(picture); err != nil {
			f.failed = err
		} else if h.Key || len(f.stream) > 0 {
			f.stream = append(f.stream, picture...)
			f.frames++
			if err := f.dec.Decode(picture); err != nil {
				f.failed = err
			}
		}
		f.mu.Unlock()
		picture = nil
	}
}

func (f *foreign) sees(colour [2]byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return holds(f.dec, colour)
}

func openLibrary(t *testing.T) *h264.Library {
	t.Helper()
	lib, err := h264.Load("")
	if err != nil {
		t.Fatalf("%v (make deps-test installs one)", err)
	}
	return lib
}

// watchVP8 is a client of ours, which speaks VP8.
func watchVP8(t *testing.T, url string, source client.Source) (c *client.Client, sees func(colour [2]byte) bool) {
	t.Helper()
	dec, err := vp8.NewDecoder(vp8.DecoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	t.Cleanup(func() { // after the client has ended
		mu.Lock()
		defer mu.Unlock()
		dec.Close()
	})
	c = play(t, client.Config{URL: url, Name: "vp8", Video: source, NoUplink: true, OnVideo: func(f client.Frame) {
		mu.Lock()
		defer mu.Unlock()
		_ = dec.Decode(f.Data)
	}})
	return c, func(colour [2]byte) bool {
		mu.Lock()
		defer mu.Unlock()
		return holds(dec, colour)
	}
}

// encodedH264 is how many pictures the server has coded in H.264, and in how many
// renditions.
func encodedH264(app *App) (pictures uint64, renditions int) {
	for kind, r := range app.rooms.Stats().Renditions {
		if kind.Codec == codec.H264 {
			pictures += r.Encoded
			renditions++
		}
	}
	return pictures, renditions
}

// TestH264BesideVP8: who offers no VP8 meets who sends nothing else, and each
// sees both.
func TestH264BesideVP8(t *testing.T) {
	lib := openLibrary(t)
	app, url := startApp(t, withH264)
	vp8Encoder, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: 320, Height: 180, FPS: 30, BitrateBps: 300_000})
	if err != nil {
		t.Fatal(err)
	}
	h264Encoder, err := lib.NewEncoder(codec.VideoEncoderConfig{Width: 320, Height: 180, FPS: 30, BitrateBps: 300_000})
	if err != nil {
		t.Fatal(err)
	}
	_, sees := watchVP8(t, url+"/r/both", client.Loop(plain(t, vp8Encoder, 320, 180, 30, red)))
	soon(t, "red in VP8", func() bool { return sees(red) })
	if _, n := encodedH264(app); n != 0 {
		t.Errorf("%d renditions in H.264, and nobody wants one", n)
	}
	f := joinForeign(t, lib, url+"/v1/rooms/both/participants", webrtc.RTPTransceiverDirectionSendrecv, plain(t, h264Encoder, 320, 180, 30, blue))
	if !strings.Contains(f.answer, "a=rtpmap:125 H264/90000\r\n") || !strings.Contains(f.answer, "profile-level-id=42e01f\r\n") ||
		!strings.Contains(f.answer, "a=fmtp:126 apt=125\r\n") || strings.Contains(f.answer, "VP8") {
		t.Errorf("answer is\n%s", f.answer)
	}
	soon(t, "blue in VP8", func() bool { return sees(red) && sees(blue) })
	soon(t, "both in H.264", func() bool { return f.sees(red) && f.sees(blue) })

	var list struct {
		Items []struct {
			Name    string
			Send    struct{ Video struct{ Codec string } }
			Receive struct{ Codec, Tier string }
		}
	}
	if err := json.Unmarshal([]byte(ask(t, 200, "GET", url+"/v1/rooms/both/participants", "")), &list); err != nil {
		t.Fatal(err)
	}
	wants := map[string]string{"vp8": "VP8", "": "H264"}
	for _, p := range list.Items {
		if want := wants[p.Name]; p.Send.Video.Codec != want || p.Receive.Codec != want || p.Receive.Tier == "" {
			t.Errorf("%+v, want %s", p, want)
		}
	}
	if len(list.Items) != 2 {
		t.Errorf("%d participants", len(list.Items))
	}

	soon(t, "three seconds of it", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.frames > 90
	})
	f.mu.Lock()
	stream, failed := bytes.Clone(f.stream), f.failed
	f.mu.Unlock()
	if failed != nil {
		t.Errorf("what came cannot be decoded: %v", failed)
	}
	checkWithFFmpeg(t, stream)

	ask(t, 200, "DELETE", url+f.location, "")
	soon(t, "nobody takes H.264 any more", func() bool {
		for kind, r := range app.rooms.Stats().Renditions {
			if kind.Codec == codec.H264 && r.Subscribers > 0 {
				return false
			}
		}
		return true
	})
}

// checkWithFFmpeg has another decoder look at a stream.
func checkWithFFmpeg(t *testing.T, stream []byte) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-f", "h264", "-count_frames",
		"-show_entries", "stream=profile,width,height,has_b_frames,pix_fmt,nb_read_frames", "-of", "json", "-")
	cmd.Stdin = bytes.NewReader(stream)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Fatalf("ffprobe: %v: %s", err, errs.String())
	}
	var probe struct {
		Streams []struct {
			Profile       string
			Width, Height int
			PixFmt        string `json:"pix_fmt"`
			HasBFrames    int    `json:"has_b_frames"`
			Frames        string `json:"nb_read_frames"`
		}
	}
	if err := json.Unmarshal(out.Bytes(), &probe); err != nil || len(probe.Streams) != 1 {
		t.Fatalf("ffprobe: %v: %s", err, out.String())
	}
	s := probe.Streams[0]
	if s.Profile != "Constrained Baseline" || s.HasBFrames != 0 || s.PixFmt != "yuv420p" || s.Width*9 != s.Height*16 {
		t.Errorf("ffmpeg sees %+v", s)
	}
}

// TestWHIPOfH264: what another encoder makes, published as OBS and ffmpeg do.
func TestWHIPOfH264(t *testing.T) {
	lib := openLibrary(t)
	_, url := startApp(t, withH264)
	file := filepath.Join(t.TempDir(), "blue.h264")
	// U and V of 220 and 110 as RGB.
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=0x5b6bff:size=640x360:rate=30:duration=2",
		"-vf", "format=yuv420p,geq=lum=110:cb=220:cr=110", "-c:v", "libx264", "-profile:v", "baseline", "-tune", "zerolatency", "-g", "30", file).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	published := readAnnexB(t, file)
	f := joinForeign(t, lib, url+"/whip/stage", webrtc.RTPTransceiverDirectionSendonly, published)
	if !strings.Contains(f.answer, "a=recvonly\r\n") {
		t.Errorf("answer is\n%s", f.answer)
	}
	_, sees := watchVP8(t, url+"/whep/stage", nil)
	soon(t, "blue in VP8", func() bool { return sees(blue) })
}

// readAnnexB reads a file of pictures with one slice each.
func readAnnexB(t *testing.T, file string) *clip.Clip {
	t.Helper()
	data := readFile(t, file)
	c := &clip.Clip{Codec: codec.H264}
	var picture []byte
	for unit, rest := nal.Next(data); unit != nil; unit, rest = nal.Next(rest) {
		picture = append(append(picture, 0, 0, 0, 1), unit...)
		if k := nal.TypeOf(unit); k != nal.Slice && k != nal.IDR {
			continue
		}
		if next, _ := nal.Next(rest); next != nil && (nal.TypeOf(next) == nal.Slice || nal.TypeOf(next) == nal.IDR) && !nal.FirstSlice(next) {
			continue
		}
		c.Units = append(c.Units, clip.Unit{Data: picture, Duration: time.Second / 30})
		picture = nil
	}
	if len(c.Units) < 30 {
		t.Fatalf("%d pictures in %s", len(c.Units), file)
	}
	return c
}

// TestWithoutH264 is told: a publisher that knows nothing else is refused with
// what would do.
func TestWithoutH264(t *testing.T) {
	_, url := startApp(t)
	offer := string(readFile(t, "../../transport/testdata/offers/ffmpeg.sdp"))
	video := offer[strings.Index(offer, "m=video"):]
	offer = strings.Replace(offer[:strings.Index(offer, "m=audio")], "BUNDLE 0 1", "BUNDLE 1", 1) + video
	res, err := http.Post(url+"/whip/stage", "application/sdp", strings.NewReader(offer))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(body), "speaks Opus and VP8") {
		t.Errorf("%s: %s", res.Status, body)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
