package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"mixdown/mixer"
	"mixdown/mixer/video"
)

// This file holds clients and pages that mean no good, one behaviour a test.

// TestForgedGoodbyes: records in plain text, which anybody can send who forges
// a client's address, end nobody's connection.
func TestForgedGoodbyes(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	m := newMeeting(t, tg)
	w := joinWire(t, tg, wireConfig{name: "Victim", audio: true})
	m.settle(t)
	watch := m.watch()
	record := func(kind byte, content ...byte) []byte {
		return append([]byte{kind, 254, 253, 0, 0, 0, 0, 0, 0, 9, 9, 0, byte(len(content))}, content...)
	}
	for _, forged := range [][]byte{
		record(21, 1, 0),  // close_notify
		record(21, 2, 40), // handshake_failure
		record(23, 'x'),   // data
		record(20, 1),     // change of the cipher
		record(22, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), // ClientHello
		append(record(22, 0), record(21, 1, 0)...),
	} {
		for range 20 {
			if _, err := w.conn.Write(forged); err != nil {
				t.Fatal(err)
			}
		}
		// What follows it in the socket has been read: so has it.
		before := tg.app.rooms.Stats().Sound.Packets
		sound := clips(t)["speech-01.ogg"]
		n := 0
		eventually(t, 5*time.Second, "its sound is still heard", func() bool {
			w.sendAudio(sound.Units[n%len(sound.Units)].Data)
			n++
			return tg.app.rooms.Stats().Sound.Packets > before && n > 25
		})
		select {
		case <-w.gone:
			t.Fatalf("%v in plain text ended the connection", forged)
		default:
		}
	}
	if n := tg.app.engine.Forged(); n != 80 {
		t.Errorf("%d forged datagrams were counted: want 80", n)
	}
	watch.end(t, "while somebody's goodbyes are forged", false)
}

// TestMadeUpSenders: a client that sends each report under another number, of
// which the SRTP session would remember every one, does not grow the server.
func TestMadeUpSenders(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	m := newMeeting(t, tg)
	w := joinWire(t, tg, wireConfig{name: "Multitude", audio: true, video: true})
	m.settle(t)
	about := func(i int) []byte {
		return binary.BigEndian.AppendUint32([]byte{0x80, 201, 0, 1}, uint32(i+1)*2654435761)
	}
	before := measure(t)
	watch := m.watch()
	sent := 0
	during(4*time.Second, pace(10_000), func(i int) {
		// A context for each: ours would remember them, too.
		w.sendRTCPOnce(about(i))
		sent++
	})
	watch.end(t, "RTCP from 40,000 senders", false)
	flat(t, fmt.Sprintf("after %d senders", sent), before, 2<<20, 32<<20)
	w.sendAudio(clips(t)["speech-01.ogg"].Units[0].Data)
	select {
	case <-w.gone:
		t.Error("the client was thrown out: want its reports dropped")
	default:
	}
}

// forgedKey is a VP8 key frame (RFC 6386 section 9.1) whose header claims a
// size; what follows is taken from a real one, so that a decoder has
// something to chew on.
func forgedKey(real []byte, width, height int) []byte {
	b := bytes.Clone(real)
	tag := uint32(b[0]&0x1f) | uint32(len(b)-20)<<5 // all but some bytes is the first partition
	b[0], b[1], b[2] = byte(tag), byte(tag>>8), byte(tag>>16)
	binary.LittleEndian.PutUint16(b[6:], uint16(width))
	binary.LittleEndian.PutUint16(b[8:], uint16(height))
	return b
}

// TestFrameBombs: key frames that claim to be enormous, tiny, or of another
// size each time, and more of them than anybody can decode. They are refused
// before the decoder sees them, counted and answered by requests for better
// ones; the others notice nothing.
func TestFrameBombs(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	m := newMeeting(t, tg)
	w := joinWire(t, tg, wireConfig{name: "Bomber", audio: true, video: true})
	room := tg.room(t, meetingRoom)
	eventually(t, 5*time.Second, "the bomber is active", func() bool {
		info, err := room.Participant(w.id)
		return err == nil && info.State == mixer.StateActive
	})
	real := clips(t)["video-01.ivf"].Units[0].Data
	small := real[:min(len(real), 1000)] // one packet
	// Bombs are to cost no more than what anybody may send, so that comes first.
	good := clips(t)["video-02.ivf"]
	film := func() { during(3*time.Second, 30, func(i int) { w.sendVideo(good.Units[i%len(good.Units)].Data) }) }
	film()
	before := measure(t)
	for _, bomb := range []struct {
		name      string
		perSecond int
		frame     func(i int) []byte
		// counted is the counter that must have moved, and by how much of what was sent.
		counted func(video.SourceStats) uint64
		least   float64
	}{
		{"16383x16383", 100, func(int) []byte { return forgedKey(small, 16383, 16383) },
			func(s video.SourceStats) uint64 { return s.TooLarge }, 0.9},
		{"1920x1090", 100, func(int) []byte { return forgedKey(small, 1920, 1090) },
			func(s video.SourceStats) uint64 { return s.TooLarge }, 0.9},
		{"0x0", 100, func(int) []byte { return forgedKey(small, 0, 0) },
			// No picture at all: the source never hears of it.
			func(video.SourceStats) uint64 { return uint64(w.plis.Load()) }, 0.01},
		{"another size each frame", 100, func(i int) []byte { return forgedKey(small, 16+2*(i%900), 16+2*(i%500)) },
			func(s video.SourceStats) uint64 { return s.SizeChanges }, 0.9},
		{"1x1", 100, func(int) []byte { return forgedKey(small, 1, 1) },
			func(s video.SourceStats) uint64 { return s.Decoded + s.Corrupt }, 0.3},
		{"1920x1088, 500 a second", 500, func(int) []byte { return forgedKey(small, 1920, 1088) },
			func(s video.SourceStats) uint64 { return s.TooManyPixels + s.Overflow }, 0.5},
		{"real key frames, 100 a second", 100, func(int) []byte { return real },
			func(s video.SourceStats) uint64 { return s.Received }, 0.2},
	} {
		m.settle(t)
		start := tg.app.rooms.Stats().Sources
		counted, plis := bomb.counted(start), w.plis.Load()
		watch := m.watch()
		sent := 0
		during(2*time.Second, bomb.perSecond, func(i int) {
			w.sendVideo(bomb.frame(i))
			sent++
		})
		// The bystanders' own pictures are refused by no police.
		eventually(t, 5*time.Second, bomb.name+" is counted", func() bool {
			s := tg.app.rooms.Stats().Sources
			return float64(bomb.counted(s)-counted) >= bomb.least*float64(sent)
		})
		watch.end(t, bomb.name, false)
		s := tg.app.rooms.Stats().Sources
		t.Logf("%s: of %d frames %d too large, %d too many sizes, %d too many pixels, %d corrupt, %d overflowed; %d requests for key frames came back", bomb.name, sent,
			s.TooLarge-start.TooLarge, s.SizeChanges-start.SizeChanges, s.TooManyPixels-start.TooManyPixels, s.Corrupt-start.Corrupt, s.Overflow-start.Overflow, w.plis.Load()-plis)
	}
	if n := w.plis.Load(); n == 0 || n > 40 {
		t.Errorf("the bomber was asked for %d key frames in 14 s: want some, at most two a second", n)
	}
	flat(t, "after the bombs", before, 6<<20, 64<<20)
	// It is forgiven: good pictures are shown again.
	start := tg.app.rooms.Stats().Sources.Pictures
	film()
	all := tg.app.rooms.Stats().Sources.Pictures - start
	if all < 3*30*(bystanders+1)*3/4 {
		t.Errorf("%d pictures in 3 s after the bombs: want those of all four, about %d", all, 3*30*(bystanders+1))
	}
}

// TestHostileNames: whatever somebody calls himself, the join works or is
// refused by name, the label is drawn, and the API's answers stay JSON.
func TestHostileNames(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	m := newMeeting(t, tg)
	for _, tc := range []struct {
		what, name string
		refused    bool
		tile       string // what the tile says; "" is not looked at
	}{
		{"bidi override", "abc\u202egnp.exe\u202c", false, "abcgnp.exe"},
		{"bidi isolates", "\u2066x\u2069\u200fy\u061c", false, "xy"},
		{"newlines", "two\r\nlines\u2028three\u2029", false, ""},
		{"NUL and controls", "a\x00b\x1b[31mc\x7f\u0085d", false, "ab[31mcd"},
		{"invalid UTF-8", "a\xff\xfeb", true, ""},
		{"surrogate", "a\xed\xa0\x80b", true, ""},
		{"a thousand combining marks", "z" + strings.Repeat("\u0301", 1000), true, ""},
		{"a hundred combining marks", "z" + strings.Repeat("\u0335", 100), false, "z" + strings.Repeat("\u0335", 4)},
		{"two hundred graphemes", strings.Repeat("w", 200), false, strings.Repeat("w", 64)},
		{"a thousand graphemes", strings.Repeat("w", 1000), true, ""},
		{"only what cannot be seen", "\u200b\u2060\ufeff\u00ad", false, ""},
		{"tags and private use", "a\U000e0041\U000e007f\ue000\U0010fffdb", false, ""},
		{"markup", `<img src=x onerror="alert(1)">&amp;'\"`, false, `<img src=x onerror="alert(1)">&amp;'\"`},
		{"header injection", "a\r\nX-Evil: 1", false, ""},
		{"emoji family", strings.Repeat("\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", 5), false, ""},
		{"Korean", "김철수", false, "김철수"},
		{"Korean in pieces", "\u1100\u1161\u11a8", false, "각"},
		{"scripts in a row", "ﷺ ꙮ ᬅ 𒐫 ⸻ ‱", false, ""},
	} {
		t.Run(tc.what, func(t *testing.T) {
			labels := tg.app.labels.Stats()
			w, err := dialWire(tg, wireConfig{name: tc.name, audio: true, video: true})
			if tc.refused {
				if err == nil {
					w.die()
					t.Fatal("the join works: want it refused")
				}
				if !strings.Contains(err.Error(), `"parameter":"name"`) || !utf8.ValidString(err.Error()) {
					t.Errorf("refused by %v: want the parameter's name in it", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer w.leave(t)
			path := fmt.Sprintf("%s/v1/rooms/%s/participants", tg.url, meetingRoom)
			var list struct {
				Items []struct{ ID, Name string }
			}
			code, body, _ := call(t, "GET", path, "")
			if err := json.Unmarshal([]byte(body), &list); err != nil || code != http.StatusOK {
				t.Fatalf("the list of participants: %d, %v", code, err)
			}
			for _, p := range list.Items {
				if p.ID != string(w.id) {
					continue
				}
				for _, c := range p.Name {
					if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) || c == '\u2028' || c == '\u2029' || c == utf8.RuneError {
						t.Errorf("the API says %+q, with %U in it", p.Name, c)
					}
				}
				if p.Name != video.CleanName(p.Name) {
					t.Errorf("the API says %+q, a label would say %+q", p.Name, video.CleanName(p.Name))
				}
			}
			room := tg.room(t, meetingRoom)
			tile := ""
			eventually(t, 5*time.Second, "there is a tile", func() bool {
				for _, l := range room.Layout().Tiles {
					if l.Participant == w.id {
						tile = l.Name
						return true
					}
				}
				return false
			})
			if tc.tile != "" && video.CleanName(tile) != tc.tile {
				t.Errorf("the tile shows %+q: want %+q", video.CleanName(tile), tc.tile)
			}
			// Two texts at most: name and initials. Neither needs to be new, but
			// none may fail, and pictures go on.
			drawn := tg.app.rooms.Stats().Canvas.Drawn
			eventually(t, 5*time.Second, "the canvas is drawn with the label", func() bool {
				now := tg.app.labels.Stats()
				return tg.app.rooms.Stats().Canvas.Drawn > drawn+10 && (video.CleanName(tile) == "" || now.Rendered > labels.Rendered)
			})
			if now := tg.app.labels.Stats(); now.Failed > labels.Failed {
				t.Errorf("%d labels could not be drawn", now.Failed-labels.Failed)
			}
		})
	}
	// Renaming has room for more than a query.
	w := joinWire(t, tg, wireConfig{name: "Renamed", audio: true})
	m.settle(t)
	watch := m.watch()
	path := fmt.Sprintf("%s/v1/rooms/%s/participants/%s", tg.url, meetingRoom, w.id)
	names := []string{"z" + strings.Repeat("\u0301", 10_000), strings.Repeat("\u202e", 10_000), strings.Repeat("👨\u200d👩\u200d👧\u200d👦", 1000), strings.Repeat("\x00\n", 1000)}
	during(2*time.Second, 50, func(i int) {
		name := names[i%len(names)]
		body, err := json.Marshal(map[string]string{"name": name})
		if err != nil {
			t.Fatal(err)
		}
		code, answer, _ := call(t, "PATCH", path, string(body), "Content-Type", "application/json")
		if code != http.StatusOK && (code != http.StatusUnprocessableEntity || !strings.Contains(answer, `"#/name"`)) {
			t.Errorf("renaming to %.40q answers %d %.300s", name, code, answer)
		}
	})
	watch.end(t, "names of 10,000 runes", false)
}

// TestForeignPages: what a web page from elsewhere can make a browser send to
// a server on this machine is refused, on every route, and told to no
// stranger.
func TestForeignPages(t *testing.T) {
	data := t.TempDir()
	recording := plantRecording(t, data, 4096)
	tg := newTarget(t, data)
	if code, body, _ := call(t, "PUT", tg.url+"/v1/rooms/home", "{}", "Content-Type", "application/json"); code != http.StatusCreated {
		t.Fatalf("%d %s", code, body)
	}
	own := "http://" + tg.app.Addr().String()
	port := strings.TrimPrefix(own, "http://127.0.0.1")
	offer := wireOffer("page", strings.TrimSuffix(strings.Repeat("A1:", 32), ":"), wireConfig{audio: true})
	routes := []struct{ method, path, body, contentType string }{
		{"GET", "/v1/rooms", "", ""},
		{"GET", "/v1/rooms/home", "", ""},
		{"PUT", "/v1/rooms/new", "{}", "application/json"},
		{"PATCH", "/v1/rooms/home", `{"locked":true}`, "application/json"},
		{"DELETE", "/v1/rooms/home", "", ""},
		{"POST", "/v1/rooms/home/participants", offer, "application/sdp"},
		{"GET", "/v1/rooms/home/participants", "", ""},
		{"POST", "/whip/home", offer, "application/sdp"},
		{"POST", "/whep/home", offer, "application/sdp"},
		{"POST", "/v1/rooms/home/recordings", "{}", "text/plain"},
		{"GET", "/v1/recordings", "", ""},
		{"GET", "/v1/recordings/" + recording + "/media", "", ""},
		{"DELETE", "/v1/recordings/" + recording, "", ""},
		{"DELETE", "/v1/sessions/AAAAAAAAAAAAAAAAAAAAAA", "", ""},
	}
	attacks := []struct {
		name    string
		headers []string
	}{
		{"rebound name", []string{"Host", "evil.example" + port}},
		{"rebound name with its own origin", []string{"Host", "evil.example" + port, "Origin", "http://evil.example" + port}},
		{"name that begins like ours", []string{"Host", "localhost.evil.example" + port}},
		{"name that begins like our address", []string{"Host", "127.0.0.1.evil.example" + port}},
		{"all addresses", []string{"Host", "0.0.0.0" + port}},
		{"address of another machine", []string{"Host", "192.0.2.1" + port}},
		{"decimal address", []string{"Host", "2130706433" + port}},
		{"foreign origin", []string{"Origin", "https://evil.example"}},
		{"null origin", []string{"Origin", "null"}},
		{"other port", []string{"Origin", "http://127.0.0.1:1"}},
		{"other name of this machine", []string{"Origin", "http://localhost" + port + ".evil.example"}},
		{"our address as user", []string{"Origin", "http://127.0.0.1" + port + "@evil.example"}},
		{"file", []string{"Origin", "file://"}},
		{"extension", []string{"Origin", "chrome-extension://abcdefgh"}},
		{"cross-site without origin", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}},
		{"same-site without origin", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors"}},
	}
	for _, at := range attacks {
		t.Run(at.name, func(t *testing.T) {
			for _, route := range routes {
				headers := at.headers
				if route.contentType != "" {
					headers = append([]string{"Content-Type", route.contentType}, headers...)
				}
				code, body, h := call(t, route.method, own+route.path, route.body, headers...)
				if code != http.StatusForbidden {
					t.Errorf("%s %s answers %d %.200s: want 403", route.method, route.path, code, body)
				}
				for name := range h {
					if strings.HasPrefix(name, "Access-Control-") {
						t.Errorf("%s %s tells a stranger %s: %s", route.method, route.path, name, h.Get(name))
					}
				}
				// The question that a browser asks beforehand.
				code, _, h = call(t, "OPTIONS", own+route.path, "", append([]string{"Access-Control-Request-Method", route.method,
					"Access-Control-Request-Headers", "content-type"}, at.headers...)...)
				if h.Get("Access-Control-Allow-Origin") != "" || h.Get("Access-Control-Allow-Methods") != "" {
					t.Errorf("preflight for %s %s answers %d, %v", route.method, route.path, code, h)
				}
			}
		})
	}
	if rooms := tg.app.rooms.Rooms(); len(rooms) != 1 || rooms[0].Locked || rooms[0].Participants != 0 || rooms[0].Recording != "" {
		t.Errorf("the attacks had an effect: %+v", rooms)
	}
	if code, _, _ := call(t, "GET", own+"/v1/recordings/"+recording, ""); code != http.StatusOK {
		t.Errorf("the recording answers %d", code)
	}
	// Our own page, and programs, which have no origin.
	for _, headers := range [][]string{nil, {"Origin", own}, {"Host", "localhost" + port, "Origin", "http://localhost" + port, "Sec-Fetch-Site", "same-origin"}, {"Host", "[::1]" + port}} {
		if code, body, _ := call(t, "GET", own+"/v1/rooms", "", headers...); code != http.StatusOK {
			t.Errorf("with %v it answers %d %s", headers, code, body)
		}
	}
}

// TestTraversal: no id in the API's paths leads out of the directory of
// recordings, or to another file in it.
func TestTraversal(t *testing.T) {
	data := t.TempDir()
	recording := plantRecording(t, data, 4096)
	for _, f := range []string{"secret.webm", "secret.json", "secret", "recordings/secret.webm", "recordings/rec_0123456789abcdefghijklmnoq.webm.bak", "recordings/.hidden"} {
		if err := os.WriteFile(filepath.Join(data, f), []byte(marker), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A link that somebody put there is not followed, by its id neither.
	linked := "rec_0123456789abcdefghijklmnov"
	if err := os.Symlink(filepath.Join(data, "secret.webm"), filepath.Join(data, "recordings", linked+".webm")); err != nil {
		t.Fatal(err)
	}
	description, err := os.ReadFile(filepath.Join(data, "recordings", recording+".json"))
	if err != nil {
		t.Fatal(err)
	}
	description = bytes.ReplaceAll(description, []byte(recording), []byte(linked))
	if err := os.WriteFile(filepath.Join(data, "recordings", linked+".json"), description, 0o600); err != nil {
		t.Fatal(err)
	}
	tg := newTarget(t, data)
	ids := []string{"..", "../secret", "../../secret", "..%2fsecret", "..%2Fsecret.webm", "%2e%2e%2fsecret", "..%5csecret", "..%252fsecret", "%2fetc%2fpasswd", "/etc/passwd",
		"secret", "secret.webm", "secret%00", "secret%00.webm", recording + "/../secret", recording + "%2f..%2fsecret", recording + ".webm", recording + ".json", recording + ".2",
		recording + "%00", "rec_0123456789abcdefghijklmnoq.webm.bak", ".hidden", ".", "%2e", "rec_", strings.Repeat("a", 5000), "rec_" + strings.Repeat("../", 8) + "aa",
		"REC_0123456789ABCDEFGHIJKLMNOP", linked, "file:%2f%2f%2fetc%2fpasswd", "%c0%ae%c0%ae%2fsecret"}
	patterns := []string{"/v1/recordings/%s", "/v1/recordings/%s/media", "/v1/recordings/%s/media?part=2", "/v1/rooms/%s", "/v1/rooms/%s/recordings", "/v1/rooms/%s/layout",
		"/v1/rooms/%s/participants", "/v1/rooms/r/participants/%s", "/v1/sessions/%s", "/whip/%s", "/whep/%s", "/r/%s", "/%s", "/v1/recordings?pageToken=%s",
		"/v1/recordings/" + recording + "/media?part=%s"}
	for _, id := range ids {
		for _, pattern := range patterns {
			for _, method := range []string{"GET", "DELETE", "PATCH"} {
				request := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", method, fmt.Sprintf(pattern, id))
				code, answer := rawRequest(t, tg, request)
				if code >= 500 || strings.Contains(answer, marker) || strings.Contains(answer, "root:") {
					t.Errorf("%d for %.300q: %.300q", code, request, answer)
				}
			}
		}
	}
	for _, f := range []string{"secret.webm", "secret.json", "secret", "recordings/secret.webm", "recordings/.hidden"} {
		if b, err := os.ReadFile(filepath.Join(data, f)); err != nil || string(b) != marker {
			t.Errorf("%s: %q, %v", f, b, err)
		}
	}
}

// TestFeedbackFlood: a client that asks for a key frame a thousand times a
// second gets one per 300 ms, and one that reports everything as lost, over
// and over, gets no more repeated than its share.
func TestFeedbackFlood(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	m := newMeeting(t, tg)
	var keys keyLog
	w := joinWire(t, tg, wireConfig{name: "Nagger", audio: true, video: true, onRTP: keys.take})
	eventually(t, 5*time.Second, "pictures come", func() bool { return keys.pictures.Load() > 30 })
	m.settle(t)

	const long = 4 * time.Second
	start, requests := keys.count(), keyframesMade(tg)
	watch := m.watch()
	pli, err := rtcp.Marshal([]rtcp.Packet{&rtcp.PictureLossIndication{SenderSSRC: wireAudioSSRC, MediaSSRC: w.theirVideo}})
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	during(long, 1000, func(int) {
		w.sendRTCP(pli)
		sent++
	})
	watch.end(t, "1000 requests for key frames a second", true)
	m.settle(t)
	got, made := keys.count()-start, keyframesMade(tg)-requests
	closest := keys.closest()
	t.Logf("%d requests in %v: %d key frames made, %d came, the closest two %v apart", sent, long, made, got, closest)
	if most := uint64(long/(300*time.Millisecond)) + 2; made > most || made < 3 {
		t.Errorf("%d key frames were made: want some, at most %d", made, most)
	}
	if closest < 290*time.Millisecond { // a tick of rounding
		t.Errorf("two key frames are %v apart: want 300ms", closest)
	}

	// Everything that was sent lately is asked for again, 250 times a second.
	repeated, bytes := keys.repairs.Load(), keys.repairBytes.Load()
	watch = m.watch()
	asked := 0
	during(long, 250, func(int) {
		newest := uint16(keys.newest.Load())
		var pairs []rtcp.NackPair
		for i := range uint16(16) { // 272 packets, back from the newest
			pairs = append(pairs, rtcp.NackPair{PacketID: newest - 17*i - 16, LostPackets: 0xffff})
		}
		b, err := rtcp.Marshal([]rtcp.Packet{&rtcp.TransportLayerNack{SenderSSRC: wireAudioSSRC, MediaSSRC: w.theirVideo, Nacks: pairs}})
		if err != nil {
			t.Error(err)
		}
		w.sendRTCP(b)
		asked += 17 * len(pairs)
	})
	watch.end(t, "68,000 packets reported as lost each second", false)
	repeated, bytes = keys.repairs.Load()-repeated, keys.repairBytes.Load()-bytes
	// 30% of the 4 Mb/s that a path is taken for, and a second of it saved up.
	budget := 0.3 * 4e6 / 8 * (long.Seconds() + 1)
	t.Logf("%d packets asked for: %d came again, %.1f kB; the budget is %.1f kB", asked, repeated, float64(bytes)/1e3, budget/1e3)
	if repeated == 0 || float64(bytes) > 1.1*budget {
		t.Errorf("%d bytes were sent again: want some, at most %.0f", bytes, budget)
	}
}

func keyframesMade(tg *target) (n uint64) {
	for _, r := range tg.app.rooms.Stats().Renditions {
		n += r.Keyframes
	}
	return n
}

// keyLog notes what a wire receives.
type keyLog struct {
	pictures, repairs, repairBytes atomic.Int64
	newest                         atomic.Uint32

	mu struct {
		sync.Mutex
		keys []uint32 // RTP timestamps
	}
}

func (k *keyLog) take(h *rtp.Header, payload []byte) {
	switch h.PayloadType {
	case wireRTXPT:
		k.repairs.Add(1)
		k.repairBytes.Add(int64(len(payload)))
	case wireVideoPT:
		k.newest.Store(uint32(h.SequenceNumber))
		// Our own long descriptor: six bytes, S in the first (RFC 7741 section
		// 4.2), then the frame's header, whose first bit is 0 in a key frame.
		if len(payload) > 6 && payload[0]&0x17 == 0x10 {
			k.pictures.Add(1)
			if payload[6]&1 == 0 {
				k.mu.Lock()
				k.mu.keys = append(k.mu.keys, h.Timestamp)
				k.mu.Unlock()
			}
		}
	}
}

func (k *keyLog) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.mu.keys)
}

// closest returns the shortest media time between two key frames.
func (k *keyLog) closest() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	least := time.Duration(math.MaxInt64)
	for i := 1; i < len(k.mu.keys); i++ {
		least = min(least, time.Duration(k.mu.keys[i]-k.mu.keys[i-1])*time.Second/90000)
	}
	return least
}
