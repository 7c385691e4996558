package record

import (
	"crypto/rand"
	"encoding/base32"
	"strconv"
	"strings"
	"time"
)

// A recording's id is `rec_` and 26 letters and digits: the millisecond it was
// made, so that ids sort by age, and 80 random bits, so that nobody guesses
// one. File names are made of ids and of nothing else.
const (
	idPrefix = "rec_"
	idChars  = 26
)

// idEncoding keeps the order of the bytes it encodes and is the same to file
// systems that ignore case.
var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// newID returns an id that was not given out before.
func newID(now time.Time) string {
	var b [16]byte
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	_, _ = rand.Read(b[6:]) // never fails (crypto/rand)
	return idPrefix + idEncoding.EncodeToString(b[:])
}

// validID reports whether newID could have made id.
func validID(id string) bool {
	if len(id) != len(idPrefix)+idChars || !strings.HasPrefix(id, idPrefix) {
		return false
	}
	for _, c := range []byte(id[len(idPrefix):]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'v') {
			return false
		}
	}
	return true
}

const (
	mediaSuffix   = ".webm"
	sidecarSuffix = ".json"
	// maxParts bounds the files of a recording: a canvas that changes its
	// size this often is out of its mind.
	maxParts = 1000
)

// mediaName names the file of a part, the first being 1.
func mediaName(id string, part int) string {
	if part == 1 {
		return id + mediaSuffix
	}
	return id + "." + strconv.Itoa(part) + mediaSuffix
}

// parseName takes a file name apart: a sidecar has part 0.
func parseName(name string) (id string, part int, ok bool) {
	if len(name) < len(idPrefix)+idChars {
		return "", 0, false
	}
	id = name[:len(idPrefix)+idChars]
	rest := name[len(id):]
	if !validID(id) {
		return "", 0, false
	}
	switch {
	case rest == sidecarSuffix:
		return id, 0, true
	case rest == mediaSuffix:
		return id, 1, true
	}
	n, found := strings.CutSuffix(strings.TrimPrefix(rest, "."), mediaSuffix)
	part, err := strconv.Atoi(n)
	if !found || err != nil || part < 2 || part > maxParts || mediaName(id, part) != name {
		return "", 0, false
	}
	return id, part, true
}
