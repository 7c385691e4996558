package transport

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

func TestTURNCredentials(t *testing.T) {
	s := startTURN(t, TURNConfig{})
	now := time.Now()
	for _, test := range []struct {
		name               string
		username, password string
		reason             string
	}{
		{name: "good"},
		{name: "expired", reason: "expired"},
		{name: "lasts too long", reason: "expired"},
		{name: "other secret", reason: "forged"},
		{name: "other name", reason: "forged"},
		{name: "not of ours", username: "alice", password: "secret", reason: "forged"},
	} {
		t.Run(test.name, func(t *testing.T) {
			username, password := s.cfg.Secret.Credential("p_1", now)
			switch test.name {
			case "expired":
				username, password = s.cfg.Secret.Credential("p_1", now.Add(-TURNCredentialLife-time.Second))
			case "lasts too long":
				username, password = s.cfg.Secret.Credential("p_1", now.Add(time.Hour))
			case "other secret":
				username, password = NewTURNSecret().Credential("p_1", now)
			case "other name":
				username += "2"
			case "not of ours":
				username, password = test.username, test.password
			}
			before := s.Stats()
			relay, err := turnClient(t, s, "udp", username, password).Allocate()
			after := s.Stats()
			if test.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := relay.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("an allocation was made")
			}
			if after.Refused[test.reason] != before.Refused[test.reason]+1 || after.Made != before.Made {
				t.Errorf("before %+v, after %+v", before, after)
			}
		})
	}
}

// TestTURNOutlivesCredential: a call goes on when the credential that it was begun
// with ends; another one cannot be begun with it.
func TestTURNOutlivesCredential(t *testing.T) {
	s := startTURN(t, TURNConfig{})
	username, password := s.Credential("p_1")
	allocate(t, turnClient(t, s, "udp", username, password))
	p, r := s.onlyRelay(t)
	later := time.Now().Add(TURNCredentialLife + time.Second)
	for _, test := range []struct {
		name     string
		username string
		client   netip.AddrPort
		method   stun.Method
		ok       bool
	}{
		{"refresh", username, r.client, stun.MethodRefresh, true},
		{"permission", username, r.client, stun.MethodCreatePermission, true},
		{"channel", username, r.client, stun.MethodChannelBind, true},
		{"another client", username, netip.MustParseAddrPort("192.0.2.1:1"), stun.MethodAllocate, false},
		{"another client's refresh", username, netip.MustParseAddrPort("192.0.2.1:1"), stun.MethodRefresh, false},
		{"another credential", "1" + username[1:] + "2", r.client, stun.MethodRefresh, false},
	} {
		_, _, ok := p.keyFor(&turn.RequestAttributes{
			Username: test.username, Realm: s.cfg.Realm, SrcAddr: net.UDPAddrFromAddrPort(test.client), Method: test.method,
		}, later)
		if ok != test.ok {
			t.Errorf("%s: %v", test.name, ok)
		}
	}
}

// TestTURNSecretIsWhatOthersTake: another implementation of the same draft, which
// has the secret, makes the same key of a credential.
func TestTURNSecretIsWhatOthersTake(t *testing.T) {
	secret := TURNSecret("shared with a coturn, somewhere")
	username, password := secret.Credential("p_7Q", time.Now())
	user, key, ok := turn.LongTermTURNRESTAuthHandler(string(secret), pionLog{discardLog}.NewLogger(""))(&turn.RequestAttributes{
		Username: username, Realm: "example.org", SrcAddr: &net.UDPAddr{}, Method: stun.MethodAllocate,
	})
	if want := turn.GenerateAuthKey(username, "example.org", password); !ok || user != "p_7Q" || !bytes.Equal(key, want) {
		t.Errorf("%q, %x, %v: want p_7Q, %x", user, key, ok, want)
	}
}
