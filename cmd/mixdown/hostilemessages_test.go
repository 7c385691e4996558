package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"mixdown/transport"
)

// speaking is a client that listens, and speaks on its data channel.
type speaking struct {
	pc      *webrtc.PeerConnection
	channel *webrtc.DataChannel
	told    atomic.Int64 // messages
	errors  atomic.Int64 // those that say that something was refused
	chats   atomic.Int64
	closed  chan struct{}
}

func joinSpeaking(t *testing.T, tg *target, name string) *speaking {
	t.Helper()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	protocol := transport.MessagesProtocol
	s := &speaking{pc: pc, closed: make(chan struct{})}
	if s.channel, err = pc.CreateDataChannel(transport.MessagesLabel, &webrtc.DataChannelInit{Protocol: &protocol}); err != nil {
		t.Fatal(err)
	}
	s.channel.OnClose(func() { close(s.closed) })
	s.channel.OnMessage(func(m webrtc.DataChannelMessage) {
		var e struct{ Type string }
		if json.Unmarshal(m.Data, &e) != nil || len(m.Data) > transport.MaxMessage {
			t.Errorf("%.100q", m.Data)
		}
		switch e.Type {
		case "error":
			s.errors.Add(1)
		case "chat":
			s.chats.Add(1)
		}
		s.told.Add(1)
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
	res, err := http.Post(tg.url+"/whep/"+meetingRoom+"?name="+name, "application/sdp", strings.NewReader(pc.LocalDescription().SDP))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s %v", res.StatusCode, answer, err)
	}
	// It does not look at what the answer allows.
	lax := strings.ReplaceAll(string(answer), "a=max-message-size:16384", "a=max-message-size:262144")
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: lax}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "a snapshot", func() bool { return s.told.Load() > 0 })
	return s
}

// TestMessageFlood: whatever a client says on its data channel, and however fast,
// nobody in the meeting notices. It is read at the pace at which it may speak, and
// its texts reach the others no faster than people write.
func TestMessageFlood(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	m := newMeeting(t, tg)
	reader, flooder := joinSpeaking(t, tg, "Reader"), joinSpeaking(t, tg, "Flooder")
	m.settle(t)

	const long = 4 * time.Second
	messages := []string{
		"x", "{}", `{"type":"shout"}`, "\xff\xfe", strings.Repeat(`{"data":`, 1000), `{"type":"chat","data":{"text":"flood"}}`,
		`{"type":"chat","data":{"text":"` + strings.Repeat("ü", 2000) + `"}}`, `{"type":"leave"}`, strings.Repeat("y", transport.MaxMessage),
	}
	watch, sent := m.watch(), 0
	before := tg.app.engine.Stats()
	during(long, 10_000, func(i int) {
		if flooder.channel.BufferedAmount() < 4<<20 && flooder.channel.SendText(messages[i%len(messages)]) == nil {
			sent++
		}
	})
	watch.end(t, "10,000 messages a second", false)
	now := tg.app.engine.Stats()
	read := now.Messages - before.Messages
	t.Logf("%d messages sent, %d read, %d errors answered, %d texts told", sent, read, flooder.errors.Load(), reader.chats.Load())
	// 20 at once, then 10 a second.
	if most := uint64(20 + 10*(long.Seconds()+2)); read < 20 || read > most {
		t.Errorf("%d messages were read: want 20 to %d", read, most)
	}
	if n := reader.chats.Load(); n == 0 || n > 10+2*int64(long.Seconds()+2) {
		t.Errorf("%d texts were told: want some, and 10 and 2 a second at most", n)
	}
	if s := flooder.pc.ConnectionState(); s != webrtc.PeerConnectionStateConnected {
		t.Errorf("the flooder is %v: it was slowed down enough", s)
	}

	// Too long a message is the end of its channel, and of nothing else. One that
	// is longer than all that is kept never arrives; its author is told of events
	// all the same.
	long40, long200 := joinSpeaking(t, tg, "Forty"), joinSpeaking(t, tg, "TwoHundred")
	watch = m.watch()
	for _, talker := range []struct {
		*speaking
		bytes int
	}{{long40, 40 << 10}, {long200, 200 << 10}} {
		if err := talker.channel.Send(make([]byte, talker.bytes)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-long40.closed:
	case <-time.After(10 * time.Second):
		t.Error("the channel stays open")
	}
	chats := long200.chats.Load()
	if err := reader.channel.SendText(`{"type":"chat","data":{"text":"still there?"}}`); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the author of 200 kB is told of events", func() bool { return long200.chats.Load() > chats })
	watch.end(t, "messages of 40 and 200 kB", false)
	for _, talker := range []*speaking{long40, long200} {
		if s := talker.pc.ConnectionState(); s != webrtc.PeerConnectionStateConnected {
			t.Errorf("a client is %v", s)
		}
	}
}
