package transport

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"

	"mixdown/codec"
)

// logged is a log that can be read while it is written.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// No log, however verbose, tells ICE's passwords.
func TestNoPasswordIsLogged(t *testing.T) {
	var log logged
	e := startEngine(t, Config{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	h := newRecorder(t)
	c, _, answer := join(t, e, h, RoleParticipant, clientConfig{audio: "sendrecv"})
	c.awaitUp(t)
	h.wait(t, "link up", h.linkIs(codec.LinkUp))
	pwd := regexp.MustCompile(`a=ice-pwd:(\S+)`)
	text := log.String()
	if !strings.Contains(text, "pion=ice") {
		t.Fatalf("pion's words are not in the log:\n%s", text)
	}
	for whose, sdp := range map[string]string{"the client's": c.pc.LocalDescription().SDP, "the server's": answer.SDP} {
		found := pwd.FindStringSubmatch(sdp)
		if found == nil {
			t.Fatalf("no password in %s description", whose)
		}
		if strings.Contains(text, found[1]) {
			t.Errorf("%s password is in the log", whose)
		}
	}
}
