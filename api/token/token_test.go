package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	secret = "0123456789abcdef0123456789abcdef"
	other  = "another secret of at least 32 bytes"
)

var now = time.Unix(1_800_000_000, 0)

func ring(t testing.TB) *Keyring {
	t.Helper()
	k, err := NewKeyring(map[string]string{"K1": secret, "K2": other})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func good() Claims {
	return Claims{Key: "K1", Subject: "ann", Name: "Ann", Expires: now.Add(time.Hour),
		Video: Video{RoomJoin: true, Room: "standup"}}
}

func TestRoundTrip(t *testing.T) {
	k, no := ring(t), false
	want := good()
	want.Issued = now
	want.Video.CanPublish, want.Video.CanPublishSources, want.Video.Hidden = &no, []string{"camera"}, true
	want.Mix = Mix{Role: Viewer, MaxTier: "640x360@30", PersonalCanvas: true, Recordings: true}
	text, err := k.Mint(want, now)
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Verify(text, now)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// sign makes a token of any header and payload.
func sign(method jwt.SigningMethod, key any, payload map[string]any, header map[string]any) string {
	t := jwt.NewWithClaims(method, jwt.MapClaims(payload))
	for name, v := range header {
		t.Header[name] = v
	}
	text, err := t.SignedString(key)
	if err != nil {
		panic(err)
	}
	return text
}

func payload(edit map[string]any) map[string]any {
	p := map[string]any{"iss": "K1", "sub": "ann", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"video": map[string]any{"roomJoin": true, "room": "standup"}}
	for name, v := range edit {
		if v == nil {
			delete(p, name)
		} else {
			p[name] = v
		}
	}
	return p
}

func TestVerify(t *testing.T) {
	k := ring(t)
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	whole := sign(jwt.SigningMethodHS256, []byte(secret), payload(nil), nil)
	parts := strings.Split(whole, ".")
	for _, c := range []struct {
		name string
		text string
		want error
	}{
		{"as it should be", whole, nil},
		{"as LiveKit's SDKs make it", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{
			"iat": nil, "nbf": at(0), "exp": at(6 * time.Hour), "metadata": "", "kind": "standard", "sip": map[string]any{"admin": true},
		}), nil), nil},
		{"nothing", "", ErrForged},
		{"no token", "hello", ErrForged},
		{"no signature", parts[0] + "." + parts[1] + ".", ErrForged},
		{"another payload", parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"K1","exp":99999999999}`)) + "." + parts[2], ErrForged},
		{"very long", whole + strings.Repeat("A", maxToken), ErrForged},
		{"alg none", sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, payload(nil), nil), ErrForged},
		{"another algorithm of the same key", sign(jwt.SigningMethodHS512, []byte(secret), payload(nil), nil), ErrForged},
		{"unknown key", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"iss": "K9"}), nil), ErrForged},
		{"no key named", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"iss": nil}), nil), ErrForged},
		{"another key's secret", sign(jwt.SigningMethodHS256, []byte(other), payload(nil), nil), ErrForged},
		{"an extension that must be understood", sign(jwt.SigningMethodHS256, []byte(secret), payload(nil), map[string]any{"crit": []string{"b64"}}), ErrForged},
		{"expired", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"iat": at(-2 * time.Hour), "exp": at(-time.Minute)}), nil), ErrExpired},
		{"expired by less than clocks differ", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"iat": at(-time.Hour), "exp": at(-5 * time.Second)}), nil), nil},
		{"no expiry", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"exp": nil}), nil), ErrLife},
		{"no beginning", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"iat": nil}), nil), ErrLife},
		{"25 hours", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"exp": at(25 * time.Hour)}), nil), ErrLife},
		{"24 hours", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"exp": at(24 * time.Hour)}), nil), nil},
		{"its last hour of a month", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"iat": at(-30 * 24 * time.Hour), "exp": at(time.Hour)}), nil), ErrLife},
		{"made tomorrow", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"iat": at(time.Hour), "exp": at(2 * time.Hour)}), nil), ErrNotYet},
		{"good tomorrow", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"nbf": at(time.Minute)}), nil), ErrNotYet},
		{"for URLs, an hour", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"mix": map[string]any{"scope": "live"}}), nil), ErrLife},
		{"for URLs, ten minutes", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"exp": at(10 * time.Minute), "mix": map[string]any{"scope": "live"}}), nil), nil},
		{"a restriction that nobody knows", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"mix": map[string]any{"maxPeople": 3}}), nil), ErrClaims},
		{"a role that nobody knows", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"mix": map[string]any{"role": "king"}}), nil), ErrClaims},
		{"a scope that nobody knows", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"exp": at(time.Minute), "mix": map[string]any{"scope": "all"}}), nil), ErrClaims},
		{"a room that is a number", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"video": map[string]any{"room": 3}}), nil), ErrClaims},
		{"a line break in the identity", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"sub": "a\nb"}), nil), ErrClaims},
		{"a long identity", sign(jwt.SigningMethodHS256, []byte(secret), payload(map[string]any{"sub": strings.Repeat("a", 257)}), nil), ErrClaims},
	} {
		t.Run(c.name, func(t *testing.T) {
			claims, err := k.Verify(c.text, now)
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err != nil && !reflect.DeepEqual(claims, Claims{}) {
				t.Errorf("refused, and yet %+v", claims)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Error("the error has the secret")
			}
		})
	}
}

func TestMint(t *testing.T) {
	k := ring(t)
	for name, c := range map[string]struct {
		edit func(*Claims)
		want error
	}{
		"as it should be":        {func(*Claims) {}, nil},
		"unknown key":            {func(c *Claims) { c.Key = "K9" }, ErrNoKey},
		"no expiry":              {func(c *Claims) { c.Expires = time.Time{} }, ErrLife},
		"a month":                {func(c *Claims) { c.Expires = now.Add(30 * 24 * time.Hour) }, ErrLife},
		"for URLs, eleven":       {func(c *Claims) { c.Mix.Scope, c.Expires = ScopeLive, now.Add(11*time.Minute) }, ErrLife},
		"over already":           {func(c *Claims) { c.Issued, c.Expires = now.Add(-time.Hour), now.Add(-time.Minute) }, ErrExpired},
		"a role nobody knows":    {func(c *Claims) { c.Mix.Role = "king" }, ErrClaims},
		"a control in the ident": {func(c *Claims) { c.Subject = "a\x00" }, ErrClaims},
	} {
		t.Run(name, func(t *testing.T) {
			claims := good()
			c.edit(&claims)
			if _, err := k.Mint(claims, now); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
}

// What a key is taken for ends with the key.
func TestReplace(t *testing.T) {
	k := ring(t)
	text, err := k.Mint(good(), now)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Replace(map[string]string{"K1": "short"}); err == nil {
		t.Fatal("a short secret was taken")
	}
	if _, err := k.Verify(text, now); err != nil {
		t.Fatalf("after a fault that should have changed nothing: %v", err)
	}
	if err := k.Replace(map[string]string{"K2": other}); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Verify(text, now); !errors.Is(err, ErrForged) {
		t.Fatalf("%v, want %v", err, ErrForged)
	}
	if ids := k.IDs(); !reflect.DeepEqual(ids, []string{"K2"}) {
		t.Errorf("ids %v", ids)
	}
}

func TestMay(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		name              string
		claims            Claims
		mic, camera, hear bool
		write, admin      bool
	}{
		{"nothing said", Claims{}, true, true, true, true, false},
		{"listener", Claims{Video: Video{CanPublish: &no, CanPublishData: &no}}, false, false, true, false, false},
		{"sender", Claims{Video: Video{CanPublish: &yes, CanSubscribe: &no}}, true, true, false, true, false},
		{"sources win", Claims{Video: Video{CanPublish: &no, CanPublishSources: []string{"microphone"}}}, true, false, true, true, false},
		{"host", Claims{Mix: Mix{Role: Host}}, true, true, true, true, true},
		{"admin", Claims{Video: Video{RoomAdmin: true}}, true, true, true, true, true},
	} {
		got := []bool{c.claims.MaySend("microphone"), c.claims.MaySend("camera"), c.claims.MaySubscribe(), c.claims.MayWrite(), c.claims.MayAdmin()}
		if want := []bool{c.mic, c.camera, c.hear, c.write, c.admin}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
}

func TestCheckKeys(t *testing.T) {
	err := CheckKeys(map[string]string{"a b": secret, "short": "verysecret", "fine": secret})
	if err == nil || !strings.Contains(err.Error(), `"a b"`) || !strings.Contains(err.Error(), `"short"`) || strings.Contains(err.Error(), "verysecret") {
		t.Errorf("%v", err)
	}
	if err := CheckKeys(nil); err == nil {
		t.Error("no keys were taken for some")
	}
	id, made := NewKey()
	if err := CheckKeys(map[string]string{id: made}); err != nil {
		t.Errorf("a key of our own: %v", err)
	}
	if again, _ := NewKey(); again == id {
		t.Error("two keys have one id")
	}
}

func TestReadKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	digits := "12345678901234567890123456789012"
	write("# ours\nK1: " + secret + "\nK2: " + digits + "\nK3: \"" + other + "\"\n")
	keys, err := ReadKeys(path)
	if err != nil || !reflect.DeepEqual(keys, map[string]string{"K1": secret, "K2": digits, "K3": other}) {
		t.Errorf("%v, %v", keys, err)
	}
	for name, c := range map[string][2]string{
		"empty":    {"", "no keys"},
		"short":    {"K1: tooshort-secret\n", "32"},
		"twice":    {"K1: " + secret + "\nK1: " + secret + "\n", "twice"},
		"list":     {"- " + secret + "\n", "line 1"},
		"mapping":  {"K1:\n  a: " + secret + "\n", "line 1"},
		"not YAML": {"K1: [" + secret + "\n", "not YAML"},
	} {
		write(c[0])
		_, err := ReadKeys(path)
		if err == nil || !strings.Contains(err.Error(), c[1]) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "tooshort-secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadKeys(path + ".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// FuzzVerify signs any payload with a good key, and takes it also as a token as it
// is: neither may panic, and what is taken must be fit to be minted again.
func FuzzVerify(f *testing.F) {
	k := ring(f)
	text, err := k.Mint(good(), now)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{text, `{"iss":"K1","iat":1800000000,"exp":1800000100,"video":{"room":"r"},"mix":{"scope":"live"}}`,
		`{"iss":"K1","nbf":1.8e9,"exp":1800000100.5}`, `{"iss":1}`, `{"mix":null,"video":[]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := k.Verify(text, now); err == nil && !strings.Contains(text, ".") {
			t.Fatal("that was no token")
		}
		head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(text))
		mac, err := jwt.SigningMethodHS256.Sign(head, []byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		c, err := k.Verify(head+"."+base64.RawURLEncoding.EncodeToString(mac), now)
		if err != nil {
			return
		}
		if !json.Valid([]byte(text)) {
			t.Fatal("taken without being JSON")
		}
		if c.Key == "K1" {
			if _, err := k.Mint(c, now); err != nil {
				t.Fatalf("taken, but not made: %v", err)
			}
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	for _, seed := range []string{"K1: " + secret, "a: 1\nb: x\n", "[", "- a", "? x\n: y", "--- \na: b\n---\nc: d"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := ParseKeys(data)
		if err == nil {
			_ = CheckKeys(keys)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	k := ring(b)
	text, err := k.Mint(good(), now)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Verify(text, now); err != nil {
			b.Fatal(err)
		}
	}
}
