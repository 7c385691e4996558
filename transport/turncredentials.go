package transport

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// TURNCredentialLife is how long a credential opens allocations. One that is
	// open goes on for as long as it is used.
	TURNCredentialLife = 10 * time.Minute
	// turnClockSkew is how far the clocks of who gives credentials and who takes
	// them may be apart.
	turnClockSkew = time.Minute
	// minTURNSecret in bytes: less could be guessed from one credential, at home.
	minTURNSecret = 16
)

// TURNSecret signs credentials that servers check without asking anybody
// (draft-uberti-behave-turn-rest): the username is when the credential ends,
// seconds since 1970, a colon and a name; the password is its HMAC. It may be
// shared with other servers, as coturn's static-auth-secret.
type TURNSecret string

// NewTURNSecret makes one that nobody else knows.
func NewTURNSecret() TURNSecret { return TURNSecret(rand.Text()) }

// Validate says what is wrong with a secret that somebody chose.
func (s TURNSecret) Validate() error {
	if len(s) < minTURNSecret {
		return fmt.Errorf("%d characters: want %d or more, as openssl rand -hex 32 makes them", len(s), minTURNSecret)
	}
	return nil
}

// Credential makes one for a name, 1..64 of A-Z, a-z, 0-9, "_" and "-", that
// ends TURNCredentialLife from now.
func (s TURNSecret) Credential(name string, now time.Time) (username, password string) {
	username = strconv.FormatInt(now.Add(TURNCredentialLife).Unix(), 10) + ":" + name
	return username, s.password(username)
}

// password is base64 of HMAC-SHA1, since that is what all servers take.
func (s TURNSecret) password(username string) string {
	mac := hmac.New(sha1.New, []byte(s))
	_, _ = mac.Write([]byte(username)) // never fails
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// parseTURNUsername takes a username apart; ok is false when no Credential
// made it.
func parseTURNUsername(username string) (ends time.Time, name string, ok bool) {
	digits, name, ok := strings.Cut(username, ":")
	if !ok || len(digits) == 0 || len(digits) > 11 || len(name) == 0 || len(name) > 64 {
		return time.Time{}, "", false
	}
	var seconds int64
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return time.Time{}, "", false
		}
		seconds = 10*seconds + int64(c-'0')
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return time.Time{}, "", false
		}
	}
	return time.Unix(seconds, 0), name, true
}
