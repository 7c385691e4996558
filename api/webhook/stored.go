package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Event is what endpoints are told.
type Event struct {
	// ID is the same however often it is sent: 1..64 of A-Z, a-z, 0-9, "_" and
	// "-", and none that another event has.
	ID string
	// Type is that of the envelope, as "room.started".
	Type string
	// Room is whose events this one must not overtake; "" is nobody's.
	Room string
	// Body is the envelope as JSON. The Sender does not keep it.
	Body []byte
}

// stored is an event in the store, under "NAME/NUMBER": a line of what follows,
// and the body.
type stored struct {
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	Room     string    `json:"room"`
	At       time.Time `json:"at"`
	Attempts int       `json:"attempts,omitempty"`

	body []byte
}

var errNotStored = errors.New("not what was stored")

// bytes is what goes into the store.
func (s *stored) bytes() ([]byte, error) {
	b, err := json.Marshal(s)
	return append(append(b, '\n'), s.body...), err
}

// readStored reads what bytes wrote; the body is part of b.
func readStored(b []byte) (s stored, err error) {
	line, body, found := bytes.Cut(b, []byte("\n"))
	if err := json.Unmarshal(line, &s); err != nil || !found || !idPattern(s.ID) {
		return stored{}, errNotStored
	}
	s.body = body
	return s, nil
}

// idPattern reports whether an id may be in a header and in what is signed.
func idPattern(id string) bool {
	return len(id) > 0 && len(id) <= 64 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// keyOf is an event's key: keys sort as their numbers do.
func keyOf(name string, number uint64) string { return fmt.Sprintf("%s/%016x", name, number) }

// readKey reads what keyOf wrote.
func readKey(key string) (name string, number uint64, err error) {
	i := strings.LastIndexByte(key, '/')
	if i < 0 {
		return "", 0, errNotStored
	}
	if number, err = strconv.ParseUint(key[i+1:], 16, 64); err != nil || keyOf(key[:i], number) != key {
		return "", 0, errNotStored
	}
	return key[:i], number, nil
}
