package api

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"

	"mixdown/transport"
)

// An answerRow is an offer of a real client (transport/testdata/offers says where
// they are from), and what becomes of it at each of the three doors: the status,
// then of each m-line the mid, the direction and the formats, or "-" when it is
// refused.
type answerRow struct{ offer, participants, whip, whep string }

var answers = []answerRow{
	{"chromium-audio",
		"201 0 audio sendrecv 63,111",
		"201 0 audio recvonly 63,111",
		"201 0 audio sendonly 111"},
	{"chromium-h264",
		"201 0 audio sendrecv 63,111 | 1 video -",
		"201 0 audio recvonly 63,111 | 1 video -",
		"201 0 audio sendonly 111 | 1 video -"},
	{"chromium-h264only",
		"422",
		"422",
		"422"},
	{"chromium-nodevices",
		"201 0 audio sendrecv 63,111 | 1 video sendrecv 96,97",
		"201 0 audio recvonly 63,111 | 1 video recvonly 96,97",
		"201 0 audio sendonly 111 | 1 video sendonly 96,97"},
	{"chromium-participant",
		"201 0 audio sendrecv 63,111 | 1 video sendrecv 96,97 | 2 video recvonly 96,97 | 3 application sendrecv",
		"201 0 audio recvonly 63,111 | 1 video recvonly 96,97 | 2 video recvonly 96,97 | 3 application sendrecv",
		"201 0 audio sendonly 111 | 1 video sendonly 96,97 | 2 video inactive 96,97 | 3 application sendrecv"},
	{"chromium-simulcast",
		"201 0 audio recvonly 63,111 | 1 video recvonly 96,97 rid:f recv",
		"201 0 audio recvonly 63,111 | 1 video recvonly 96,97 rid:f recv",
		"422"},
	{"chromium-viewer",
		"201 0 audio sendonly 111 | 1 video sendonly 96,97",
		"422",
		"201 0 audio sendonly 111 | 1 video sendonly 96,97"},
	{"ffmpeg",
		"201 0 audio recvonly 111 | 1 video -",
		"201 0 audio recvonly 111 | 1 video -",
		"422"},
	{"ffmpeg-constrained",
		"201 0 audio recvonly 111 | 1 video -",
		"201 0 audio recvonly 111 | 1 video -",
		"422"},
	{"firefox-audio",
		"201 0 audio sendrecv 109",
		"201 0 audio recvonly 109",
		"201 0 audio sendonly 109"},
	{"firefox-nodevices",
		"201 0 audio sendrecv 109 | 1 video sendrecv 120,124",
		"201 0 audio recvonly 109 | 1 video recvonly 120,124",
		"201 0 audio sendonly 109 | 1 video sendonly 120,124"},
	{"firefox-participant",
		"201 0 audio sendrecv 109 | 1 video sendrecv 120,124 | 2 video recvonly 120,124 | 3 application sendrecv",
		"201 0 audio recvonly 109 | 1 video recvonly 120,124 | 2 video recvonly 120,124 | 3 application sendrecv",
		"201 0 audio sendonly 109 | 1 video sendonly 120,124 | 2 video inactive 120,124 | 3 application sendrecv"},
	{"firefox-simulcast",
		"201 0 audio recvonly 109 | 1 video recvonly 120,124 rid:f recv",
		"201 0 audio recvonly 109 | 1 video recvonly 120,124 rid:f recv",
		"422"},
	{"firefox-viewer",
		"201 0 audio sendonly 109 | 1 video sendonly 120,124",
		"422",
		"201 0 audio sendonly 109 | 1 video sendonly 120,124"},
	{"gstreamer",
		"201 video0 video recvonly 101,102 | audio1 audio recvonly 97",
		"201 video0 video recvonly 101,102 | audio1 audio recvonly 97",
		"422"},
	{"gstreamer-webrtcbin-participant",
		"201 video0 video sendrecv 96 | audio1 audio sendrecv 97",
		"201 video0 video recvonly 96 | audio1 audio recvonly 97",
		"201 video0 video sendonly 96 | audio1 audio sendonly 97"},
	{"gstreamer-webrtcbin-publisher-h264",
		"201 video0 video - | audio1 audio recvonly 97",
		"201 video0 video - | audio1 audio recvonly 97",
		"422"},
	{"gstreamer-webrtcbin-viewer",
		"201 video0 video sendonly 96 | audio1 audio sendonly 97",
		"422",
		"201 video0 video sendonly 96 | audio1 audio sendonly 97"},
	{"mediamtx-publisher",
		"201 0 video - | 1 audio sendrecv 111",
		"201 0 video - | 1 audio recvonly 111",
		"201 0 video - | 1 audio sendonly 111"},
	{"mediamtx-reader",
		"201 0 video sendonly 96,97 | 1 audio sendonly 111 | 2 application sendrecv",
		"422",
		"201 0 video sendonly 96,97 | 1 audio sendonly 111 | 2 application sendrecv"},
	{"obs",
		"201 0 audio recvonly 111 | 1 video -",
		"201 0 audio recvonly 111 | 1 video -",
		"422"},
	{"obs-simulcast",
		"201 0 audio recvonly 111 | 1 video -",
		"201 0 audio recvonly 111 | 1 video -",
		"422"},
	{"werift-viewer",
		"201 0 video sendonly 98 | 1 audio sendonly 96",
		"422",
		"201 0 video sendonly 98 | 1 audio sendonly 96"},
}

// answersWithH264 are those that it changes, and one of a client that has both.
var answersWithH264 = []answerRow{
	{"chromium-h264",
		"201 0 audio sendrecv 63,111 | 1 video sendrecv 108,109",
		"201 0 audio recvonly 63,111 | 1 video recvonly 108,109",
		"201 0 audio sendonly 111 | 1 video sendonly 108,109"},
	{"chromium-h264only",
		"201 0 video sendrecv 108,109",
		"201 0 video recvonly 108,109",
		"201 0 video sendonly 108,109"},
	{"chromium-nodevices",
		"201 0 audio sendrecv 63,111 | 1 video sendrecv 96,97",
		"201 0 audio recvonly 63,111 | 1 video recvonly 96,97",
		"201 0 audio sendonly 111 | 1 video sendonly 96,97"},
	{"ffmpeg",
		"201 0 audio recvonly 111 | 1 video recvonly 106",
		"201 0 audio recvonly 111 | 1 video recvonly 106",
		"422"},
	{"ffmpeg-constrained",
		"201 0 audio recvonly 111 | 1 video recvonly 106",
		"201 0 audio recvonly 111 | 1 video recvonly 106",
		"422"},
	{"gstreamer-webrtcbin-publisher-h264",
		"201 video0 video recvonly 96 | audio1 audio recvonly 97",
		"201 video0 video recvonly 96 | audio1 audio recvonly 97",
		"422"},
	{"mediamtx-publisher",
		"201 0 video sendrecv 108 | 1 audio sendrecv 111",
		"201 0 video recvonly 108 | 1 audio recvonly 111",
		"201 0 video sendonly 108 | 1 audio sendonly 111"},
	{"obs",
		"201 0 audio recvonly 111 | 1 video recvonly 96",
		"201 0 audio recvonly 111 | 1 video recvonly 96",
		"422"},
	{"obs-simulcast",
		"201 0 audio recvonly 111 | 1 video recvonly 96 rid:1 recv",
		"201 0 audio recvonly 111 | 1 video recvonly 96 rid:1 recv",
		"422"},
}

func TestAnswersToClients(t *testing.T) {
	files, err := filepath.Glob("../transport/testdata/offers/*.sdp")
	must(t, err)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".sdp")
		if !slices.ContainsFunc(answers, func(row answerRow) bool { return row.offer == name }) {
			t.Errorf("nothing is said of %s", name)
		}
	}
	for name, tc := range map[string]struct {
		rows []answerRow
		cfg  transport.Config
	}{
		"without H.264": {answers, transport.Config{}},
		"with H.264":    {answersWithH264, transport.Config{SendH264: true, ReceiveH264: true}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, true, quiet, withEngine(t, tc.cfg))
			for _, row := range tc.rows {
				offer, err := os.ReadFile(filepath.Join("../transport/testdata/offers", row.offer+".sdp"))
				must(t, err)
				for _, door := range [][2]string{
					{"/v1/rooms/r/participants", row.participants}, {"/whip/r", row.whip}, {"/whep/r", row.whep},
				} {
					t.Run(row.offer+door[0], func(t *testing.T) {
						r := f.post(door[0], "", string(offer))
						defer f.tidy(r)
						got := fmt.Sprint(r.StatusCode)
						if r.StatusCode == 201 {
							got += " " + checkAnswered(t, string(offer), r.text)
						}
						if got != door[1] {
							t.Errorf("got  %s\nwant %s\n%s", got, door[1], r.text)
						}
					})
				}
			}
		})
	}
}

// withEngine gives the server an engine of its own.
func withEngine(t *testing.T, cfg transport.Config) func(*Config) {
	cfg.UDP = []string{"127.0.0.1:0"}
	engine, err := transport.New(cfg)
	must(t, err)
	ran := make(chan error, 1)
	go func() { ran <- engine.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
		<-ran
	})
	return func(c *Config) { c.Engine = engine }
}

// checkAnswered looks at what holds for every answer, and returns the rest in
// short.
func checkAnswered(t *testing.T, offer, answer string) string {
	t.Helper()
	var offered, answered sdp.SessionDescription
	must(t, offered.UnmarshalString(strings.ReplaceAll(offer, "\r\n", "\n")))
	must(t, answered.UnmarshalString(answer))
	if len(answered.MediaDescriptions) != len(offered.MediaDescriptions) {
		t.Fatalf("%d m-lines for %d", len(answered.MediaDescriptions), len(offered.MediaDescriptions))
	}
	if len(answer) > 8<<10 {
		t.Errorf("%d bytes: ffmpeg reads 8192", len(answer))
	}
	var lines, bundle []string
	for i, m := range answered.MediaDescriptions {
		asked := offered.MediaDescriptions[i]
		mid, _ := m.Attribute("mid")
		if want, ok := asked.Attribute("mid"); mid != want && (ok || mid != "0") {
			t.Errorf("m-line %d has mid %q, want %q", i, mid, want)
		}
		if m.MediaName.Media != asked.MediaName.Media {
			t.Errorf("m-line %d is %q, want %q", i, m.MediaName.Media, asked.MediaName.Media)
		}
		line := mid + " " + m.MediaName.Media
		if m.MediaName.Port.Value == 0 {
			lines = append(lines, line+" -")
			continue
		}
		bundle = append(bundle, mid)
		lines = append(lines, line+checkLine(t, &offered, asked, m))
	}
	if group, _ := answered.Attribute("group"); group != "BUNDLE "+strings.Join(bundle, " ") {
		t.Errorf("group is %q, accepted are %q", group, bundle)
	}
	if print, _ := answered.Attribute("fingerprint"); !strings.HasPrefix(print, "sha-256 ") {
		t.Errorf("fingerprint is %q", print)
	}
	if _, lite := answered.Attribute("ice-lite"); !lite {
		t.Error("not ICE-lite")
	}
	candidates := slices.DeleteFunc(strings.Split(answer, "\r\n"), func(s string) bool { return !strings.HasPrefix(s, "a=candidate:") })
	if len(candidates) == 0 || !strings.Contains(candidates[0], " udp ") || !strings.Contains(candidates[0], " typ host") {
		t.Errorf("the first candidate is no UDP host: %q", candidates)
	}
	return strings.Join(lines, " | ")
}

// checkLine looks at one line that was accepted.
func checkLine(t *testing.T, offered *sdp.SessionDescription, asked, m *sdp.MediaDescription) string {
	t.Helper()
	wish, ok := asked.Attribute("setup")
	if !ok {
		wish, _ = offered.Attribute("setup")
	}
	setup, _ := m.Attribute("setup")
	if roles := map[string][]string{"actpass": {"active", "passive"}, "passive": {"active"}, "active": {"passive"}}; !slices.Contains(roles[wish], setup) {
		t.Errorf("a=setup:%s for %s", setup, wish)
	}
	for _, key := range []string{"ice-ufrag", "ice-pwd"} {
		if v, ok := m.Attribute(key); !ok || v == "" {
			t.Errorf("no a=%s", key)
		}
	}
	for _, format := range m.MediaName.Formats {
		if !slices.Contains(asked.MediaName.Formats, format) {
			t.Errorf("format %s was not offered", format)
		}
	}
	out := ""
	for _, a := range m.Attributes {
		switch a.Key {
		case "sendrecv", "sendonly", "recvonly", "inactive":
			out += " " + a.Key
		}
	}
	if m.MediaName.Media == "application" {
		return out
	}
	if _, ok := m.Attribute("rtcp-mux"); !ok {
		t.Error("no a=rtcp-mux")
	}
	out += " " + strings.Join(m.MediaName.Formats, ",")
	for _, a := range m.Attributes {
		if a.Key == "rid" {
			out += " rid:" + a.Value
		}
	}
	return out
}
