package mixer

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"mixdown/codec"
)

// records keeps the lines of a log that are about departures.
type records struct {
	mu    sync.Mutex
	lines []map[string]any
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range bytes.Lines(p) {
		var m map[string]any
		if json.Unmarshal(line, &m) == nil && m["msg"] == "participant left" {
			r.lines = append(r.lines, m)
		}
	}
	return len(p), nil
}

func (r *records) of(id ParticipantID) (found []map[string]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.lines {
		if m["participant"] == string(id) {
			found = append(found, m)
		}
	}
	return found
}

// accounted is an endpoint that says what went over it.
type accounted struct {
	Endpoint
	traffic codec.Traffic
}

func (c *accounted) Traffic() codec.Traffic { return c.traffic }

// TestEachDepartureIsOneLine: with what went over all connections of the
// participant, and why it left.
func TestEachDepartureIsOneLine(t *testing.T) {
	var log records
	m := newManager(t, func(c *Config) { c.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	r := newTestRoom(t, m, RoomConfig{})

	alice, err := r.Join(t.Context(), JoinRequest{Identity: "alice@example.org", Name: "Alice"})
	if err != nil {
		t.Fatal(err)
	}
	first := &accounted{newClient(t), codec.Traffic{SentPackets: 10, SentBytes: 1000, SentLost: 1, Repairs: 2, ReceivedPackets: 5, ReceivedBytes: 500, ReceivedLost: 3}}
	second := &accounted{newClient(t), codec.Traffic{SentPackets: 20, SentBytes: 2000, ReceivedPackets: 6, ReceivedBytes: 600, Restarts: 1}}
	alice.Attach(first, all, all)
	alice.Feedback(codec.Feedback{Link: codec.LinkUp})
	await(t, "Alice", func() bool { return alice.Info().State == StateActive })
	old, err := r.Replace(t.Context(), alice.ID(), Comeback{Endpoint: second, Sends: all, Takes: all})
	if err != nil {
		t.Fatal(err)
	}
	_ = old.Close()
	alice.PeerClosed(errors.New("the battery is empty"))

	never, err := r.Join(t.Context(), JoinRequest{Name: "Never", Role: RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	never.Leave(nil)
	await(t, "two lines", func() bool { return len(log.of(alice.ID())) > 0 && len(log.of(never.ID())) > 0 })

	line := log.of(alice.ID())[0]
	sent, _ := line["sent"].(map[string]any)
	received, _ := line["received"].(map[string]any)
	for _, tc := range []struct {
		where map[string]any
		name  string
		want  any
	}{
		{line, "identity", "alice@example.org"}, {line, "reason", "the battery is empty"}, {line, "connected", true}, {line, "networkChanges", 1.0},
		{line, "role", RoleParticipant.String()}, {line, "room", string(r.Info().ID)}, {line, "roomId", r.Info().Life},
		{sent, "audio", "opus"}, {sent, "video", "VP8"}, {sent, "packets", 30.0}, {sent, "bytes", 3000.0}, {sent, "lost", 1.0}, {sent, "repairs", 2.0},
		{received, "packets", 11.0}, {received, "bytes", 1100.0}, {received, "lostVideo", 3.0}, {received, "lostAudio", 0.0}, {received, "audio", "opus"},
	} {
		if tc.where[tc.name] != tc.want {
			t.Errorf("%s is %v: want %v in %v", tc.name, tc.where[tc.name], tc.want, line)
		}
	}
	if seconds, ok := line["seconds"].(float64); !ok || seconds < 0 || seconds > 60 {
		t.Errorf("seconds are %v", line["seconds"])
	}
	if line := log.of(never.ID())[0]; line["connected"] != false || line["sent"] != nil || line["reason"] != "left" || line["role"] != RoleViewer.String() {
		t.Errorf("of who never connected: %v", line)
	}
	if n := len(log.of(alice.ID())); n != 1 {
		t.Errorf("%d lines of one departure", n)
	}
}
