package webhook

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Endpoint is a receiver.
type Endpoint struct {
	// Name is what it is called in logs, metrics and the store, where its queue
	// is kept under it: 1..64 of A-Z, a-z, 0-9 and "._:[]-". Defaults to the
	// host and port of URL, whose path is nobody's business: it may hold a
	// password.
	Name string
	// URL is where to, by https; by http where the client allows it.
	URL string
	// Secrets sign; one or, while receivers change to another, up to three.
	Secrets []Secret
	// Events are types, as "room.started", groups of them, as "recording.*", or
	// "*". Defaults to [DefaultEvents].
	Events []string
}

// DefaultEvents leave out what comes all the time, and what people write.
var DefaultEvents = []string{"room.*", "participant.*", "recording.*", "output.*", "overload", "storage"}

var (
	namePattern  = regexp.MustCompile(`^[A-Za-z0-9._:\[\]-]{1,64}$`)
	eventPattern = regexp.MustCompile(`^(\*|[a-z]+(\.([a-z]+|\*))?)$`)
)

const (
	maxSecrets = 3
	maxURL     = 2048
)

// setDefaults must come before validate.
func (e *Endpoint) setDefaults() {
	if e.Name == "" {
		if u, err := url.Parse(e.URL); err == nil {
			e.Name = u.Host
		}
	}
	if len(e.Events) == 0 {
		e.Events = DefaultEvents
	}
}

// validate reports every fault, by the field's name.
func (e *Endpoint) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch u, err := url.Parse(e.URL); {
	case err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || len(e.URL) > maxURL:
		fault("url: want https://HOST/PATH") // not what it is: it may hold a password
	case u.User != nil:
		fault("url: want no name and password in it: the signature tells who sends")
	case u.Fragment != "":
		fault("url: want nothing after #, which is never sent")
	case !namePattern.MatchString(e.Name):
		fault("name: want 1..64 of A-Z, a-z, 0-9 and ._:[]-")
	}
	if n := len(e.Secrets); n == 0 || n > maxSecrets {
		fault("secret: want 1..%d of them; here is a new one: %s", maxSecrets, NewSecret().Text())
	}
	for _, s := range e.Secrets {
		if len(s.key) < minSecret {
			fault("secret: empty")
		}
	}
	for _, t := range e.Events {
		if !eventPattern.MatchString(t) {
			fault("events: %q: want a type, as room.started, a group of them, as recording.*, or *", clip(t))
		}
	}
	return errors.Join(faults...)
}

// wants reports whether events of a type are for the endpoint.
func (e *Endpoint) wants(typ string) bool {
	group, _, _ := strings.Cut(typ, ".")
	return slices.ContainsFunc(e.Events, func(p string) bool { return p == typ || p == "*" || p == group+".*" })
}

// ParseEndpoint reads an endpoint from one line: its URL and, after spaces,
// any of secret=whsec_..., events=room.*,recording.* and name=billing. secret
// takes several too. The result was not validated otherwise.
func ParseEndpoint(line string) (Endpoint, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return Endpoint{}, errors.New("want a URL, as https://example.org/hook")
	}
	e := Endpoint{URL: words[0]}
	var faults []error
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		list := strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
		switch {
		case len(list) == 0:
			faults = append(faults, fmt.Errorf("%q: want KEY=VALUE", clip(key)))
		case key == "secret":
			faults = append(faults, e.AddSecrets(list...))
		case key == "events":
			e.Events = append(e.Events, list...)
		case key == "name":
			e.Name = value
		default:
			faults = append(faults, fmt.Errorf("%q: known are secret=, events= and name=", clip(key)))
		}
	}
	return e, errors.Join(faults...)
}

// AddSecrets reads secrets. No error tells what they are.
func (e *Endpoint) AddSecrets(texts ...string) error {
	for _, text := range texts {
		s, err := ParseSecret(text)
		if err != nil {
			return fmt.Errorf("secret: %w", err)
		}
		e.Secrets = append(e.Secrets, s)
	}
	return nil
}

// Check reports everything that is wrong with a list of endpoints, as New would.
func Check(list []Endpoint) error {
	_, err := checked(list)
	return err
}

// checked returns the list with its defaults.
func checked(list []Endpoint) ([]Endpoint, error) {
	out := slices.Clone(list)
	var faults []error
	seen := make(map[string]bool)
	for i := range out {
		e := &out[i]
		e.setDefaults()
		if err := e.validate(); err != nil {
			faults = append(faults, fmt.Errorf("webhook %d (%s): %w", i+1, clip(e.Name), err))
		}
		if seen[e.Name] {
			faults = append(faults, fmt.Errorf("webhook %d: there is another one called %q: give each a name", i+1, clip(e.Name)))
		}
		seen[e.Name] = true
	}
	return out, errors.Join(faults...)
}

// clip shortens what somebody wrote before it is shown.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "?")
}
