package webhook

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// The specification's own vector, which its libraries test with.
func TestSignature(t *testing.T) {
	s, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	must(t, err)
	got := s.Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 999), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSecrets(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	if a == b {
		t.Error("two secrets are alike")
	}
	if again, err := ParseSecret(a.Text()); err != nil || again != a {
		t.Errorf("%v: %v", a.Text(), err)
	}
	if shown := fmt.Sprintf("%v %s %#v %+v %q", a, a, a, Endpoint{Secrets: []Secret{a}}, a); strings.Contains(shown, a.key) || strings.Contains(shown, a.Text()) || !strings.Contains(shown, "***") {
		t.Errorf("shown as %s", shown)
	}
	for _, text := range []string{"", "whsec_", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_short", "whsec_AAAA",
		"whsec_" + strings.Repeat("AAAA", 30), "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
		if _, err := ParseSecret(text); err == nil || len(text) > 8 && strings.Contains(err.Error(), text[8:]) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParseEndpoint(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	e, err := ParseEndpoint("https://example.org/hook?x=1  secret=" + a.Text() + "," + b.Text() + " events=room.*,chat name=billing")
	must(t, err)
	if e.URL != "https://example.org/hook?x=1" || len(e.Secrets) != 2 || e.Secrets[1] != b || strings.Join(e.Events, " ") != "room.* chat" || e.Name != "billing" {
		t.Errorf("%+v", e)
	}
	must(t, Check([]Endpoint{e}))
	for typ, want := range map[string]bool{"room.started": true, "room.finished": true, "chat": true, "participant.joined": false, "roomy.x": false} {
		if e.wants(typ) != want {
			t.Errorf("%s is wanted: %v", typ, !want)
		}
	}
	plain := Endpoint{URL: "https://example.org:8443/x", Secrets: []Secret{a}}
	plain.setDefaults()
	must(t, plain.validate())
	if plain.Name != "example.org:8443" || plain.wants("speaker.changed") || plain.wants("chat") || !plain.wants("overload") || !plain.wants("recording.failed") {
		t.Errorf("%+v", plain)
	}
	for _, line := range []string{"", " ", "https://x secret=nonsense", "https://x secret=", "https://x colour=red", "https://x events"} {
		if _, err := ParseEndpoint(line); err == nil {
			t.Errorf("%q was read", line)
		}
	}
	for _, bad := range []Endpoint{
		{URL: "ftp://x"}, {URL: "https://"}, {URL: "https://u:pw@x/"}, {URL: "https://x/#secret"}, {URL: "//x"}, {URL: "https://x\n/"},
		{URL: "https://x/" + strings.Repeat("x", 3000)}, {URL: "https://x", Name: "a/b"}, {URL: "https://x", Name: strings.Repeat("x", 65)},
		{URL: "https://x", Events: []string{"room.*.x"}}, {URL: "https://x", Events: []string{""}}, {URL: "https://x", Events: []string{"ROOM.started"}},
		{URL: "https://x", Secrets: []Secret{a, a, a, a}}, {URL: "https://x", Secrets: []Secret{{}}},
	} {
		if bad.Secrets == nil {
			bad.Secrets = []Secret{a}
		}
		if err := Check([]Endpoint{bad}); err == nil || strings.Contains(err.Error(), "pw@") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// FuzzParseEndpoint reads what may stand in a configuration: what is read and
// checked can be sent to, under a name that can be a key.
func FuzzParseEndpoint(f *testing.F) {
	for _, line := range []string{
		"https://example.org/hook secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw events=room.*,chat name=billing",
		"http://[::1]:80", "https://u:p@x/#f", "https://x secret=whsec_", "\x00 =,", "https://x events=*.*",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		e, err := ParseEndpoint(line)
		if err != nil {
			return
		}
		list, err := checked([]Endpoint{e})
		if err != nil {
			return
		}
		name, number, err := readKey(keyOf(list[0].Name, 7))
		if err != nil || name != list[0].Name || number != 7 || len(list[0].Secrets) == 0 || len(list[0].Events) == 0 {
			t.Errorf("%q became %+v: %v", line, list[0], err)
		}
	})
}

// FuzzStored reads entries of the queue: what was read is written back as it
// was, and its id may be in a header.
func FuzzStored(f *testing.F) {
	good, _ := (&stored{ID: "P-1", Type: "chat", Room: "r", Attempts: 3, body: []byte("{}")}).bytes()
	f.Add("test/000000000000000a", good)
	f.Add("a/b/ffffffffffffffff", []byte("{}\n"))
	f.Add("", []byte(`{"id":"a\r\nX: y"}`+"\n{}"))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		if name, number, err := readKey(key); err == nil && keyOf(name, number) != key {
			t.Errorf("key %q is %q %d", key, name, number)
		}
		s, err := readStored(value)
		if err != nil {
			return
		}
		if strings.ContainsAny(s.ID, ".\r\n ") || s.ID == "" {
			t.Errorf("id %q", s.ID)
		}
		b, err := s.bytes()
		if err != nil {
			return // a time beyond what can be written
		}
		if again, err := readStored(b); err != nil || again.ID != s.ID || again.Room != s.Room || !bytes.Equal(again.body, s.body) {
			t.Errorf("%q became %q: %v", value, b, err)
		}
	})
}
