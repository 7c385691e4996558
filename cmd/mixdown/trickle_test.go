package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// TestTrickleByPatch: a client that says nothing of its addresses in its offer and
// checks no paths itself (it is ICE-lite) is found by a server that does, once it
// has told by PATCH where it is. Sound comes, so the path carries.
func TestTrickleByPatch(t *testing.T) {
	_, url := startApp(t, func(c *Config) { c.FullICE = true })
	var s webrtc.SettingEngine
	s.SetLite(true)
	s.SetIncludeLoopbackCandidate(true)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	var m webrtc.MediaEngine
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(&m)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pc.GracefulClose(); err != nil {
			t.Error(err)
		}
	})
	heard := make(chan struct{}, 1)
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			if _, _, err := track.ReadRTP(); err != nil {
				return
			}
			select {
			case heard <- struct{}{}:
			default:
			}
		}
	})
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	post := func(method, to, contentType, body string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, to, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(text)
	}
	full := pc.LocalDescription().SDP
	var bare, candidates strings.Builder
	for line := range strings.Lines(full) {
		switch {
		case strings.HasPrefix(line, "a=candidate"):
			candidates.WriteString(line)
		case !strings.HasPrefix(line, "a=end-of-candidates"):
			bare.WriteString(line)
			if strings.HasPrefix(line, "a=ice-ufrag") || strings.HasPrefix(line, "a=ice-pwd") {
				candidates.WriteString(line)
			}
		}
	}
	res, answer := post("POST", url+"/whep/trickle", "application/sdp", bare.String())
	if res.StatusCode != http.StatusCreated || !strings.HasPrefix(res.Header.Get("Accept-Patch"), "application/trickle-ice-sdpfrag,") {
		t.Fatalf("%s %v: %s", res.Status, res.Header, answer)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-heard:
		t.Fatal("it was found before it said where it is")
	case <-time.After(500 * time.Millisecond): // no sign of a path can be waited for
	}
	if res, text := post("PATCH", url+res.Header.Get("Location"), "application/trickle-ice-sdpfrag", candidates.String()); res.StatusCode != http.StatusNoContent {
		t.Fatalf("%s: %s", res.Status, text)
	}
	select {
	case <-heard:
	case <-time.After(20 * time.Second):
		t.Fatalf("no sound: %s, %s", pc.ICEConnectionState(), pc.ConnectionState())
	}
}
