package transport

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/sdp/v3"
)

func readOffer(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "offers", name+".sdp"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// shape is an answer's m-lines in short: "audio sendrecv" or "video -".
func shape(t testing.TB, answer string) []string {
	t.Helper()
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(answer); err != nil {
		t.Fatalf("answer cannot be parsed: %v\n%s", err, answer)
	}
	var lines []string
	for _, m := range desc.MediaDescriptions {
		direction := "-"
		for _, a := range m.Attributes {
			if m.MediaName.Port.Value != 0 && slices.Contains([]string{"sendrecv", "sendonly", "recvonly", "inactive"}, a.Key) {
				direction = a.Key
			}
		}
		lines = append(lines, m.MediaName.Media+" "+direction)
	}
	return lines
}

func TestAnswersToRealOffers(t *testing.T) {
	e := startEngine(t, Config{})
	for _, tc := range []struct {
		offer string
		role  Role
		want  []string
	}{
		{"chromium-participant", RoleParticipant, []string{"audio sendrecv", "video sendrecv", "video recvonly", "application sendrecv"}},
		{"chromium-participant", RolePublisher, []string{"audio recvonly", "video recvonly", "video recvonly", "application sendrecv"}},
		{"chromium-participant", RoleViewer, []string{"audio sendonly", "video sendonly", "video inactive", "application sendrecv"}},
		{"chromium-viewer", RoleParticipant, []string{"audio sendonly", "video sendonly"}},
		{"chromium-viewer", RoleViewer, []string{"audio sendonly", "video sendonly"}},
		{"chromium-nodevices", RoleParticipant, []string{"audio sendrecv", "video sendrecv"}},
		{"chromium-simulcast", RolePublisher, []string{"audio recvonly", "video recvonly"}},
		{"obs", RolePublisher, []string{"audio recvonly", "video -"}},
		{"ffmpeg", RolePublisher, []string{"audio recvonly", "video -"}},
		{"gstreamer", RolePublisher, []string{"video recvonly", "audio recvonly"}},
	} {
		t.Run(tc.offer+" "+tc.role.String(), func(t *testing.T) {
			h := newRecorder(t)
			p, answer, err := e.Accept(context.Background(), Offer{SDP: readOffer(t, tc.offer), Role: tc.role, Epoch: time.Now(), Handler: h})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if got := shape(t, answer.SDP); !slices.Equal(got, tc.want) {
				t.Errorf("answer has %q, want %q\n%s", got, tc.want, answer.SDP)
			}
			if strings.Contains(answer.SDP, "simulcast") != strings.Contains(tc.offer, "simulcast") {
				t.Errorf("simulcast is answered, or is not:\n%s", answer.SDP)
			}
			if !strings.Contains(answer.SDP, "a=ice-ufrag:"+answer.UFrag+"\r\n") {
				t.Errorf("ufrag is %q", answer.UFrag)
			}
			if !strings.Contains(answer.SDP, "a=ice-lite") {
				t.Error("not ICE-lite")
			}
		})
	}
}

// TestChromiumAnswerInFull looks at what a browser needs of an answer.
func TestChromiumAnswerInFull(t *testing.T) {
	e := startEngine(t, Config{})
	h := newRecorder(t)
	p, answer, err := e.Accept(context.Background(), Offer{SDP: readOffer(t, "chromium-participant"), Epoch: time.Now(), CNAME: "room7", Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	count := func(s string) int { return strings.Count(answer.SDP, s+"\r\n") }
	for line, want := range map[string]int{
		"a=group:BUNDLE 0 1 2 3":                         1,
		"a=msid:room7 audio":                             1,
		"a=msid:room7 video":                             1,
		"m=audio 9 UDP/TLS/RTP/SAVPF 63 111":             1, // RED first, or Chromium does not send it
		"m=video 9 UDP/TLS/RTP/SAVPF 96 97":              2,
		"a=rtcp-fb:96 nack":                              2,
		"a=rtcp-fb:96 nack pli":                          2,
		"a=rtcp-fb:96 ccm fir":                           2,
		"a=rtcp-fb:96 transport-cc":                      2,
		"a=rtcp-fb:96 goog-remb":                         2,
		"a=fmtp:97 apt=96":                               2,
		"a=rtpmap:63 red/48000/2":                        1,
		"a=fmtp:63 111/111":                              1,
		"a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1": 1,
		"a=extmap:4 " + uriMID:                           3,
		"a=extmap:3 " + uriTWCC:                          3,
		"a=extmap:1 " + uriLevel:                         1,
		"a=rtcp-mux":                                     3,
	} {
		if got := count(line); got != want {
			t.Errorf("%q is there %d times, want %d", line, got, want)
		}
	}
	if n := strings.Count(answer.SDP, "cname:room7"); n != 3 {
		t.Errorf("%d SSRCs have the CNAME, want 3: sound, picture, repairs", n)
	}
	if t.Failed() {
		t.Log(answer.SDP)
	}
}

// TestRedundancyIsNegotiated: RED is answered where it is for Opus, comes
// towards us and is wanted.
func TestRedundancyIsNegotiated(t *testing.T) {
	chromium := readOffer(t, "chromium-participant")
	for _, tc := range []struct {
		name, sdp string
		cfg       Config
		role      Role
		want      string // formats of the answer
	}{
		{"chromium", chromium, Config{}, RoleParticipant, "63 111"},
		{"refused", chromium, Config{NoRED: true}, RoleParticipant, "111"},
		{"we only send", chromium, Config{}, RoleViewer, "111"},
		{"RED first in the offer", strings.Replace(chromium, "111 63", "63 111", 1), Config{}, RoleParticipant, "63 111"},
		{"two redundant blocks", strings.Replace(chromium, "63 111/111", "63 111/111/111", 1), Config{}, RoleParticipant, "63 111"},
		{"no parameters", strings.Replace(chromium, "a=fmtp:63", "a=x-fmtp:63", 1), Config{}, RoleParticipant, "111"},
		{"of another codec", strings.Replace(chromium, "63 111/111", "63 111/9", 1), Config{}, RoleParticipant, "111"},
		{"no redundant block", strings.Replace(chromium, "63 111/111", "63 111", 1), Config{}, RoleParticipant, "111"},
		{"of another clock", strings.Replace(chromium, "red/48000/2", "red/8000", 1), Config{}, RoleParticipant, "111"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := startEngine(t, tc.cfg)
			p, answer, err := e.Accept(t.Context(), Offer{SDP: tc.sdp, Role: tc.role, Epoch: time.Now(), Handler: newRecorder(t)})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if !strings.Contains(answer.SDP, "m=audio 9 UDP/TLS/RTP/SAVPF "+tc.want+"\r\n") {
				t.Errorf("want formats %s in\n%s", tc.want, answer.SDP)
			}
			if red := strings.Contains(answer.SDP, "red/48000/2"); red != strings.Contains(tc.want, "63") {
				t.Errorf("RED is described: %v, with formats %s", red, tc.want)
			}
		})
	}
}

func TestSoundWishes(t *testing.T) {
	for _, tc := range []struct {
		fmtp string
		want soundWishes
	}{
		{"", soundWishes{}},
		{"minptime=10;useinbandfec=1", soundWishes{fec: true}},
		{" maxaveragebitrate=20000 ; usedtx=0; stereo=1;UseInbandFEC= 1", soundWishes{fec: true, noDTX: true, maxBps: 20000}},
		{"useinbandfec=0;usedtx=1;maxaveragebitrate=5999", soundWishes{}},
		{"maxaveragebitrate=99999999999999999999;=;;usedtx", soundWishes{}},
	} {
		if got := readSoundWishes(tc.fmtp); got != tc.want {
			t.Errorf("%q: %+v, want %+v", tc.fmtp, got, tc.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	chromium := readOffer(t, "chromium-participant")
	obs := readOffer(t, "obs")
	noOpus := strings.ReplaceAll(obs, "opus/48000/2", "PCMU/8000")
	for _, tc := range []struct {
		name, sdp string
		role      Role
		want      error
		mentions  string
	}{
		{"empty", "", 0, ErrBadSDP, "empty"},
		{"html", "<html>hello</html>", 0, ErrBadSDP, ""},
		{"json", `{"sdp":"v=0","type":"offer"}`, 0, ErrBadSDP, ""},
		{"too long", chromium + strings.Repeat("a=x\r\n", 20000), 0, ErrBadSDP, "65536"},
		{"no media", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", 0, ErrBadSDP, "m-line"},
		{"too many lines", chromium + strings.Repeat("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", 40), 0, ErrBadSDP, "44 m-lines"},
		{"no ufrag", strings.ReplaceAll(obs, "a=ice-ufrag:F9Rw\n", ""), 0, ErrBadSDP, "ice-ufrag"},
		{"short password", strings.ReplaceAll(obs, "CVvcQGqWVfSXbVE5/X6tf2", "x"), 0, ErrBadSDP, "ice-pwd"},
		{"no fingerprint", strings.ReplaceAll(obs, "a=fingerprint", "a=finger"), 0, ErrBadSDP, "fingerprint"},
		{"fingerprint is no hex", strings.ReplaceAll(obs, "8C:6B", "8X:6B"), 0, ErrBadSDP, "fingerprint"},
		{"no bundle", strings.ReplaceAll(obs, "a=group:BUNDLE 0 1\n", ""), 0, ErrBadSDP, "BUNDLE"},
		{"mid twice", strings.ReplaceAll(obs, "a=mid:1", "a=mid:0"), 0, ErrBadSDP, "twice"},
		{"mid with a blank", strings.ReplaceAll(obs, "a=mid:1", "a=mid:1 2"), 0, ErrBadSDP, "token"},
		{"no rtcp-mux", strings.ReplaceAll(obs, "a=rtcp-mux\n", ""), 0, ErrBadSDP, "rtcp-mux"},
		{"odd setup", strings.ReplaceAll(obs, "a=setup:actpass", "a=setup:holdconn"), 0, ErrBadSDP, "setup"},
		{"no codec of ours", noOpus, 0, ErrNoUsableCodec, "Opus and VP8"},
		{"viewer who only sends", obs, RoleViewer, ErrNoUsableCodec, "recvonly"},
		{"publisher who only receives", readOffer(t, "chromium-viewer"), RolePublisher, ErrNoUsableCodec, "sendonly"},
		{"only data", strings.ReplaceAll(chromium, "SAVPF", "SAVP"), 0, ErrNoUsableCodec, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parseOffer(tc.sdp, tc.role, h264Ways{})
			if !errors.Is(err, tc.want) {
				t.Fatalf("error is %v, want %v", err, tc.want)
			}
			if !strings.Contains(err.Error(), tc.mentions) {
				t.Errorf("error %q does not mention %q", err, tc.mentions)
			}
			if len(err.Error()) > 400 {
				t.Errorf("error is %d bytes", len(err.Error()))
			}
		})
	}
}

func TestOfferPlan(t *testing.T) {
	plan, err := parseOffer(readOffer(t, "chromium-participant"), RoleParticipant, h264Ways{})
	if err != nil {
		t.Fatal(err)
	}
	camera := plan.lines[1]
	if camera.pt != 96 || camera.rtxPT != 97 || camera.ext != (extensionIDs{mid: 4, twcc: 3, delay: 5, rid: 10, repaired: 11}) {
		t.Errorf("camera line is %+v", camera)
	}
	if want := []declaredSSRC{{1964495580, false}, {1621629988, true}}; !slices.Equal(camera.ssrcs, want) {
		t.Errorf("camera's SSRCs are %v, want %v", camera.ssrcs, want)
	}
	if len(plan.candidates) != 2 {
		t.Errorf("candidates are %q, want the two UDP ones of the first line", plan.candidates)
	}
	if text := plan.forPion(true); strings.Contains(text, "H264") || strings.Contains(text, "192.0.2.2 9 ") || strings.Count(text, "a=candidate") != 2 {
		t.Errorf("pion gets to see\n%s", text)
	}
}

// Transport-wide feedback is for pictures, wherever they go.
func TestFeedbackIsForPictures(t *testing.T) {
	for _, tc := range []struct {
		offer string
		role  Role
		want  bool
	}{
		{"chromium-participant", RoleParticipant, true},
		{"chromium-viewer", RoleViewer, true},
		{"chromium-audio", RoleParticipant, false},
		{"firefox-audio", RoleParticipant, false},
	} {
		text := readOffer(t, tc.offer)
		if !strings.Contains(text, "transport-cc") {
			t.Fatalf("%s offers no feedback", tc.offer)
		}
		plan, err := parseOffer(text, tc.role, h264Ways{})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range plan.lines {
			if l.kind == kindAudio && (l.has("transport-cc") != tc.want || (l.ext.twcc != 0) != tc.want) {
				t.Errorf("%s: feedback %v, numbers %d; want %v", tc.offer, l.feedback, l.ext.twcc, tc.want)
			}
		}
	}
}

// FuzzOffer: no text of a client makes the parser panic, what pion gets to see
// is always well-formed, and answers can be made of it.
func FuzzOffer(f *testing.F) {
	files, err := filepath.Glob("testdata/offers/*.sdp")
	if err != nil || len(files) == 0 {
		f.Fatal("no offers", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b), uint8(0))
		f.Add(string(b), uint8(2))
	}
	f.Fuzz(func(t *testing.T, text string, role uint8) {
		plan, err := parseOffer(text, Role(role%3), h264Ways{true, true})
		if err != nil {
			if !errors.Is(err, ErrBadSDP) && !errors.Is(err, ErrNoUsableCodec) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		forPion := plan.forPion(true)
		var desc sdp.SessionDescription
		if err := desc.UnmarshalString(forPion); err != nil {
			t.Fatalf("pion would get %v\n%s", err, forPion)
		}
		if _, err := parseOffer(forPion, RoleParticipant, h264Ways{true, true}); err != nil {
			t.Fatalf("our own text is refused: %v\n%s", err, forPion)
		}
		// Our rewritten offer has the shape of an answer to it.
		answer, _, err := plan.finishAnswer(forPion)
		if err != nil {
			t.Fatal(err)
		}
		if got := shape(t, answer); len(got) != len(plan.lines) {
			t.Fatalf("answer has %d m-lines for %d", len(got), len(plan.lines))
		}
	})
}
