package transport

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	somePwd       = "P2uYro0UCOQ4zxjKXaWCBui1"
	someCandidate = "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1"
)

// readFragment returns a recorded or quoted fragment.
func readFragment(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "fragments", name+".sdpfrag"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParseFragment(t *testing.T) {
	udp := strings.TrimPrefix(someCandidate, "a=candidate:")
	for _, tc := range []struct {
		name, text string
		want       Fragment
	}{
		{"of RFC 9725", readFragment(t, "rfc9725"), Fragment{UFrag: "EsAw", Pwd: somePwd, candidates: []string{
			"1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1",
			"3471623853 1 udp 2122194687 198.51.100.2 61765 typ host generation 0 ufrag EsAw network-id 2",
		}}},
		{"of mediamtx' pages", readFragment(t, "mediamtx"), Fragment{UFrag: "3gDP", Pwd: "N7xJ1yB5ZPwmyKKFbmNMnHZD", candidates: []string{
			"2385411301 1 udp 2113937151 192.0.2.9 50123 typ host generation 0 ufrag 3gDP network-cost 999",
		}}},
		{"of Chromium, restarted", readFragment(t, "chromium-restart"), Fragment{UFrag: "tB0N", Pwd: "Q8yTkzI7dDR2y0gbUCDs6WUJ"}},
		{"nothing", "", Fragment{}},
		{"the end", "a=end-of-candidates\r\n", Fragment{}},
		{"newlines only", "a=ice-ufrag:EsAw\n" + someCandidate + "\n", Fragment{UFrag: "EsAw", candidates: []string{udp}}},
		{"the same again", someCandidate + "\r\n" + someCandidate, Fragment{candidates: []string{udp}}},
		{"of the session before", "a=ice-ufrag:newer\r\n" + someCandidate, Fragment{UFrag: "newer"}},
		{"hidden, of TCP, for RTCP, of no type", strings.Join([]string{
			strings.Replace(someCandidate, "192.0.2.1", "5e8e0f5c.local", 1), strings.Replace(someCandidate, " udp ", " tcp ", 1),
			strings.Replace(someCandidate, " 1 udp", " 2 udp", 1), strings.Replace(someCandidate, "typ host", "typ moon", 1),
			"a=candidate:", "a=candidate", "a=candidate:1 1 udp",
		}, "\r\n"), Fragment{}},
		{"credentials twice", "a=ice-ufrag:EsAw\r\na=ice-pwd:" + somePwd + "\r\nm=audio 9 RTP/AVP 0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:" + somePwd, Fragment{UFrag: "EsAw", Pwd: somePwd}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseFragment(tc.text)
			if err != nil {
				t.Fatal(err)
			}
			if got.UFrag != tc.want.UFrag || got.Pwd != tc.want.Pwd || !slices.Equal(got.candidates, tc.want.candidates) {
				t.Errorf("got %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

// TestOfferAsFragment: a whole offer says all that a fragment does.
func TestOfferAsFragment(t *testing.T) {
	offer := readOffer(t, "chromium-participant")
	f, err := ParseFragment(offer)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := parseOffer(offer, RoleParticipant, h264Ways{})
	if err != nil {
		t.Fatal(err)
	}
	if f.UFrag != plan.ufrag || f.Pwd != plan.pwd || len(f.candidates) < len(plan.candidates) {
		t.Errorf("got %+v", f)
	}
}

func TestHostileFragments(t *testing.T) {
	var many strings.Builder
	for i := range maxFragmentCandidates + 1 {
		fmt.Fprintf(&many, "a=candidate:%d 1 udp 1 192.0.2.1 %d typ host\r\n", i, i+1)
	}
	for name, text := range map[string]string{
		"too long":              strings.Repeat("a=x\r\n", maxFragmentBytes/5+1),
		"too many candidates":   many.String(),
		"no lines":              `{"candidate":""}`,
		"binary":                "\x00\x01\x02",
		"short ufrag":           "a=ice-ufrag:abc",
		"long ufrag":            "a=ice-ufrag:" + strings.Repeat("a", 257),
		"ufrag with a space":    "a=ice-ufrag:ab cd",
		"short password":        "a=ice-ufrag:EsAw\r\na=ice-pwd:tooshort",
		"password alone":        "a=ice-pwd:" + somePwd,
		"no ufrag":              "a=ice-ufrag\r\na=ice-pwd:" + somePwd,
		"two ufrags":            "a=ice-ufrag:EsAw\r\na=ice-ufrag:EsAx",
		"two passwords":         "a=ice-ufrag:EsAw\r\na=ice-pwd:" + somePwd + "\r\na=ice-pwd:" + somePwd + "x",
		"a line in between":     "a=ice-ufrag:EsAw\r\nhello\r\na=ice-pwd:" + somePwd,
		"a carriage return too": "a=ice-ufrag:Es\rAw",
	} {
		f, err := ParseFragment(text)
		if !errors.Is(err, ErrBadFragment) || f.UFrag+f.Pwd != "" || f.candidates != nil {
			t.Errorf("%s: got %+v, %v", name, f, err)
		}
		if len(err.Error()) > 300 {
			t.Errorf("%s: the error is %d bytes long", name, len(err.Error()))
		}
	}
	// As many as are allowed.
	if f, err := ParseFragment(strings.SplitN(many.String(), "\r\n", 2)[1]); err != nil || len(f.candidates) != maxFragmentCandidates {
		t.Errorf("%d candidates, %v", len(f.candidates), err)
	}
}

// FuzzFragment: no text of a client makes the parser panic, and what comes of it
// goes into pion's offers as it is.
func FuzzFragment(f *testing.F) {
	for _, name := range []string{"rfc9725", "mediamtx", "chromium-restart"} {
		f.Add(readFragment(f, name))
	}
	f.Add(readOffer(f, "chromium-participant"))
	f.Add("a=ice-ufrag:EsAw\na=ice-pwd:" + somePwd + "\n" + someCandidate)
	offer := readOffer(f, "chromium-participant")
	f.Fuzz(func(t *testing.T, text string) {
		fragment, err := ParseFragment(text)
		if err != nil {
			if !errors.Is(err, ErrBadFragment) {
				t.Fatal(err)
			}
			return
		}
		if len(fragment.candidates) > maxFragmentCandidates {
			t.Fatalf("%d candidates", len(fragment.candidates))
		}
		if fragment.Pwd == "" {
			return
		}
		plan, err := parseOffer(offer, RoleParticipant, h264Ways{})
		if err != nil {
			t.Fatal(err)
		}
		plan.ufrag, plan.pwd, plan.candidates = fragment.UFrag, fragment.Pwd, fragment.candidates[:min(len(fragment.candidates), maxRemoteCandidates)]
		again, err := parseOffer(plan.forPion(true), RoleParticipant, h264Ways{})
		if err != nil {
			t.Fatalf("our own text is refused: %v", err)
		}
		if again.ufrag != plan.ufrag || again.pwd != plan.pwd || !slices.Equal(again.candidates, plan.candidates) {
			t.Fatalf("%+v became %+v", plan, again)
		}
	})
}
