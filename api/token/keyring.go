package token

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// MaxLife is how long a token lasts at most.
	MaxLife = 24 * time.Hour
	// MaxURLLife is how long one for URLs does: those end up in histories,
	// proxies' logs and pictures of screens.
	MaxURLLife = 10 * time.Minute
	// Leeway is by how much the clock of who makes tokens may differ from ours.
	Leeway = 10 * time.Second
	// MinSecret is how many bytes a secret has at least: those of the hash
	// (RFC 7518 section 3.2).
	MinSecret = 32
	// maxToken bounds a token's text, in bytes.
	maxToken = 8 << 10
	maxKeys  = 1024
)

// Why a token is not good. Their texts are for whoever sent it.
var (
	// ErrForged says that it is none, or that no key of ours has made it.
	ErrForged = errors.New("no key of this server has made this token")
	// ErrExpired says that it was good once.
	ErrExpired = errors.New("the token has expired")
	// ErrNotYet says that it will be good later.
	ErrNotYet = errors.New("the token is not good yet: is the clock right where it was made?")
	// ErrLife says that it lasts too long, or without end.
	ErrLife = errors.New("a token says when it was made (iat or nbf) and ends (exp) at most 24 hours after that, for URLs 10 minutes")
	// ErrClaims says that it was made by a key of ours, and makes no sense; errors
	// that wrap it say why.
	ErrClaims = errors.New("the token's claims make no sense")
	// ErrNoKey says that a token was to be made with a key that is not there.
	ErrNoKey = errors.New("there is no such key")
)

// Keyring holds keys. Create it with [NewKeyring]. Safe for concurrent use.
type Keyring struct {
	keys   atomic.Pointer[map[string][]byte] // never changed in place
	parser *jwt.Parser
}

// NewKeyring holds secrets by the ids of their keys. The error names every key
// that will not do, and no secret.
func NewKeyring(keys map[string]string) (*Keyring, error) {
	k := &Keyring{parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithoutClaimsValidation(), // the times are checked against the caller's
		jwt.WithStrictDecoding(),
	)}
	return k, k.Replace(keys)
}

// Replace takes other keys from now on; tokens of those that are gone are good
// no more. With an error it changes nothing.
func (k *Keyring) Replace(keys map[string]string) error {
	if err := CheckKeys(keys); err != nil {
		return err
	}
	held := make(map[string][]byte, len(keys))
	for id, secret := range keys {
		held[id] = []byte(secret)
	}
	k.keys.Store(&held)
	return nil
}

// keyID is what a key may be called.
var keyID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// CheckKeys reports every fault of keys, and no secret.
func CheckKeys(keys map[string]string) error {
	if len(keys) == 0 {
		return errors.New("no keys: make one with `mixdown keys new`")
	}
	if len(keys) > maxKeys {
		return fmt.Errorf("%d keys: want at most %d", len(keys), maxKeys)
	}
	var faults []error
	for _, id := range slices.Sorted(maps.Keys(keys)) {
		if !keyID.MatchString(id) {
			faults = append(faults, fmt.Errorf("key id %.80q: want 1 to 64 letters, digits, '-' and '_', starting with a letter or digit", id))
		}
		if n := len(keys[id]); n < MinSecret {
			faults = append(faults, fmt.Errorf("key %.64q: its secret has %d bytes, want at least %d (`mixdown keys new` makes one)", id, n, MinSecret))
		}
	}
	return errors.Join(faults...)
}

// IDs returns the keys' ids, sorted.
func (k *Keyring) IDs() []string { return slices.Sorted(maps.Keys(*k.keys.Load())) }

// NewKey makes a key up: 60 random bits of id, 256 of secret.
func NewKey() (id, secret string) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	return "K" + rand.Text()[:12], base64.RawURLEncoding.EncodeToString(b[:])
}

// Mint signs claims with the key that they name, made now unless they say
// otherwise. It refuses what Verify would refuse.
func (k *Keyring) Mint(c Claims, now time.Time) (string, error) {
	secret, ok := (*k.keys.Load())[c.Key]
	if !ok {
		return "", fmt.Errorf("%w: %.64q", ErrNoKey, c.Key)
	}
	if c.Issued.IsZero() {
		c.Issued = now
	}
	if err := c.checkAt(now); err != nil {
		return "", err
	}
	w, err := c.wire()
	if err != nil {
		return "", err
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, w).SignedString(secret)
}

// Verify returns what a token says, if one of the keys has made it and it is
// good now. Otherwise the error is one of the Err values above, or wraps it.
func (k *Keyring) Verify(text string, now time.Time) (Claims, error) {
	if len(text) > maxToken {
		return Claims{}, ErrForged
	}
	keys := *k.keys.Load()
	var w wire
	t, err := k.parser.ParseWithClaims(text, &w, func(t *jwt.Token) (any, error) {
		// Extensions that must be understood are not (RFC 7515 section 4.1.11).
		if t.Header["crit"] != nil {
			return nil, ErrForged
		}
		secret, ok := keys[w.Issuer]
		if !ok {
			return nil, ErrForged
		}
		return secret, nil
	})
	if err != nil || !t.Valid {
		return Claims{}, ErrForged
	}
	// A nbf that is later than iat counts; the claims keep the time of making.
	if w.NotBefore != nil && w.NotBefore.After(now.Add(Leeway)) {
		return Claims{}, ErrNotYet
	}
	c, err := w.claims()
	if err == nil {
		err = c.checkAt(now)
	}
	if err != nil {
		return Claims{}, err
	}
	return c, nil
}

// checkAt reports whether a token that says this is good now.
func (c *Claims) checkAt(now time.Time) error {
	life := MaxLife
	if c.Mix.Scope != "" {
		life = MaxURLLife
	}
	switch {
	case c.Expires.IsZero(), c.Issued.IsZero(), c.Expires.Sub(c.Issued) > life+Leeway:
		return ErrLife
	case !now.Before(c.Expires.Add(Leeway)):
		return ErrExpired
	case c.Issued.After(now.Add(Leeway)):
		return ErrNotYet
	}
	if err := c.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrClaims, err)
	}
	return nil
}
