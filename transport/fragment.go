package transport

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pion/sdp/v3"
)

// FragmentType is the media type of a [Fragment] (RFC 8840 section 9).
const FragmentType = "application/trickle-ice-sdpfrag"

// Bounds on one fragment. A browser that trickles sends a line for each of its
// addresses and m-lines.
const (
	maxFragmentBytes      = 64 << 10
	maxFragmentCandidates = 64
)

// ErrBadFragment says that a fragment cannot be understood (HTTP 400); the
// wrapping error names the fault.
var ErrBadFragment = errors.New("bad ICE fragment")

// Fragment is what a client says of ICE after its offer: candidates that it has
// found, or credentials for another ICE session. The zero value says nothing.
type Fragment struct {
	// UFrag and Pwd are the client's; empty when they are not said.
	UFrag, Pwd string

	candidates []string // those that can be used, without "candidate:"
}

// ParseFragment reads a fragment (RFC 8840 section 4), at most 64 KiB and 64
// candidates. Lines that are none of ICE's are left out, so that whole offers
// will do, as are candidates that we have no use for. Errors are ErrBadFragment.
func ParseFragment(text string) (f Fragment, err error) {
	bad := func(format string, args ...any) (Fragment, error) {
		return Fragment{}, fmt.Errorf("%w: "+format, append([]any{ErrBadFragment}, args...)...)
	}
	if len(text) > maxFragmentBytes {
		return bad("%d bytes: at most %d are read", len(text), maxFragmentBytes)
	}
	candidates := 0
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		if len(line) < 2 || line[0] < 'a' || line[0] > 'z' || line[1] != '=' {
			return bad(`line %d is %q: want "a=..." or "m=..."`, n+1, clip(line, 32))
		}
		attribute, ok := strings.CutPrefix(line, "a=")
		if !ok {
			continue
		}
		key, value, _ := strings.Cut(attribute, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "ice-ufrag", "ice-pwd":
			said, shortest := &f.UFrag, minUFrag
			if key == "ice-pwd" {
				said, shortest = &f.Pwd, minPwd
			}
			switch {
			case !isToken(value, maxCredential) || len(value) < shortest:
				return bad("line %d: a=%s is %q: want %d..%d characters (RFC 8839)", n+1, key, clip(value, 8), shortest, maxCredential)
			case *said != "" && *said != value:
				return bad("line %d: another a=%s than before: all media go through one transport", n+1, key)
			}
			*said = value
		case "candidate":
			if candidates++; candidates > maxFragmentCandidates {
				return bad("more than %d candidates", maxFragmentCandidates)
			}
			if c, ok := usableCandidate(value); ok && !slices.Contains(f.candidates, c) {
				f.candidates = append(f.candidates, c)
			}
		}
	}
	if f.Pwd != "" && f.UFrag == "" {
		return bad("a=ice-pwd without a=ice-ufrag")
	}
	// What belongs to another session than the one that the fragment is of is of no use.
	f.candidates = slices.DeleteFunc(f.candidates, func(c string) bool {
		fields := strings.Fields(c)
		i := slices.Index(fields, "ufrag")
		return i > 0 && i+1 < len(fields) && f.UFrag != "" && fields[i+1] != f.UFrag
	})
	return f, nil
}

// fragmentOf returns what an answer says of ICE, as a fragment (RFC 9725 section
// 4.3.3): the bundle's first line, under which all of it stands.
func fragmentOf(answer string) (string, error) {
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(answer); err != nil {
		return "", fmt.Errorf("answer cannot be read back: %w", err)
	}
	var b strings.Builder
	line := func(key, value string) { fmt.Fprintf(&b, "%s=%s\r\n", key, value) }
	attribute := func(a sdp.Attribute) {
		if a.Value == "" {
			line("a", a.Key)
		} else {
			line("a", a.Key+":"+a.Value)
		}
	}
	for _, a := range desc.Attributes {
		if a.Key == "ice-lite" || a.Key == "ice-options" || a.Key == "group" {
			attribute(a)
		}
	}
	for _, m := range desc.MediaDescriptions {
		if m.MediaName.Port.Value == 0 {
			continue
		}
		line("m", m.MediaName.String())
		for _, key := range []string{"mid", "ice-ufrag", "ice-pwd", "ice-options", "candidate", "end-of-candidates"} {
			for _, a := range m.Attributes {
				if a.Key == key {
					attribute(a)
				}
			}
		}
		return b.String(), nil
	}
	return "", errors.New("answer has no m-line")
}
