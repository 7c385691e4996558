package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// secretPrefix begins the secrets of Standard Webhooks, so that people and
// scanners recognise them.
const secretPrefix = "whsec_"

// Bounds of a secret's length, of the specification ("Signature scheme").
const minSecret, maxSecret = 24, 64

// Secret is what an endpoint's messages are signed with. It prints as nothing
// that helps anybody.
type Secret struct{ key string }

// NewSecret makes one of 256 random bits.
func NewSecret() Secret {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: it ends the process instead
	return Secret{string(b)}
}

// ParseSecret reads whsec_ and 24 to 64 bytes in base64.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	if !ok {
		return Secret{}, errors.New("a secret begins with whsec_")
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Secret{}, errors.New("what follows whsec_ is no base64")
	}
	if len(b) < minSecret || len(b) > maxSecret {
		return Secret{}, fmt.Errorf("a secret of %d bytes: want %d..%d", len(b), minSecret, maxSecret)
	}
	return Secret{string(b)}, nil
}

// Text is the secret as ParseSecret reads it.
func (s Secret) Text() string { return secretPrefix + base64.StdEncoding.EncodeToString([]byte(s.key)) }

// String hides it, so that no log tells it.
func (s Secret) String() string { return secretPrefix + "***" }

// GoString hides it as well.
func (s Secret) GoString() string { return s.String() }

// Sign returns the signature of a message: of an id without a dot, the instant
// of sending, and the body, all as they are sent.
func (s Secret) Sign(id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, []byte(s.key))
	_, _ = fmt.Fprintf(mac, "%s.%s.", id, strconv.FormatInt(at.Unix(), 10)) // a hash takes everything
	_, _ = mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
