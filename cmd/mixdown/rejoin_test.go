package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/mixer"
	"mixdown/transport/transporttest"
)

// atAddress has a server listen where another one did.
func atAddress(app *App) func(*Config) {
	return func(c *Config) { c.HTTP = app.Addr().String() }
}

// TestJoinOutlivesTheServer: `mixdown join` comes back when the server has been
// restarted, and the file that it saves goes on.
func TestJoinOutlivesTheServer(t *testing.T) {
	var first *App
	var url string
	out := filepath.Join(t.TempDir(), "got.webm")
	type result struct {
		code      int
		out, errs string
	}
	ended := make(chan result, 1)
	t.Run("before", func(t *testing.T) {
		first, url = startApp(t)
		go func() {
			var r result
			var o, e strings.Builder
			r.code = run(context.Background(), []string{"join", url + "/r/film", "--for", "9s", "--save", out,
				"--play", filepath.Join(clipsDir, "video-01.ivf"), "--audio", filepath.Join(clipsDir, "speech-01.ogg")}, streams{&o, &e})
			r.out, r.errs = o.String(), e.String()
			ended <- r
		}()
		soon(t, "it is there", func() bool { return speaks(first, "film") })

	})
	second, _ := startApp(t, atAddress(first))
	soon(t, "it is there again", func() bool { return speaks(second, "film") })
	r := <-ended
	if r.code != 0 || !strings.Contains(r.errs, "joining again in") || !strings.Contains(r.out, "rejoined ") {
		t.Errorf("exit code %d: %s%s", r.code, r.errs, r.out)
	}
	probe, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-count_frames", "-of", "csv=p=0",
		"-show_entries", "stream=nb_read_frames:format=duration", out).Output()
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.FieldsFunc(string(probe), func(r rune) bool { return r == '\n' || r == ',' })
	// Pictures, packets of sound (of which who is alone gets few: it is silence), seconds.
	for i, least := range []float64{75, 20, 5} {
		if got, err := strconv.ParseFloat(fields[i], 64); err != nil || got < least {
			t.Errorf("the file holds %s: want at least %v", probe, least)
			break
		}
	}
}

// speaks reports whether the only one in a room is connected and is heard.
func speaks(app *App, id mixer.RoomID) bool {
	room, err := app.rooms.Room(id)
	if err != nil {
		return false
	}
	list := room.Participants()
	return len(list) == 1 && list[0].State == mixer.StateActive && list[0].Speaking
}

// TestRejoinKeepsThePlace: a client whose network goes silent comes back over
// another as the participant that it was.
func TestRejoinKeepsThePlace(t *testing.T) {
	app, url := startApp(t)
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pulled := transporttest.Spec{Outages: []transporttest.Outage{{At: 2 * time.Second, For: time.Hour}}}
	// The first connection alone goes by the link that is cut.
	var room *stay
	room, err = newStay(client.Config{
		URL: url + "/r/film", Name: "Film", Audio: client.Loop(realClip(t, "speech-01.ogg")), Video: client.Loop(realClip(t, "video-01.ivf")),
		Conn: transporttest.WrapPacketConn(conn, pulled, pulled, 1),
	}, true, io.Discard, func() { room.config.Conn = nil })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- room.run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	soon(t, "it is there", func() bool { return speaks(app, "film") })
	was := app.theOnly(t, "film")
	soon(t, "it joins again", func() bool { return room.attempts.Load() == 1 && room.client.Load().Joined() > 0 })
	soon(t, "it speaks again", func() bool { return speaks(app, "film") })
	if is := app.theOnly(t, "film"); is.ID != was.ID || is.CSRC != was.CSRC {
		t.Errorf("it is %v with CSRC %v: was %v, %v", is.ID, is.CSRC, was.ID, was.CSRC)
	}
	before := room.client.Load().Stats()
	soon(t, "it sees and hears", func() bool {
		s := room.client.Load().Stats()
		return s.VideoReceived.Frames > before.VideoReceived.Frames+15 && s.AudioReceived.Packets > before.AudioReceived.Packets+25
	})
}

// theOnly returns the only participant of a room.
func (a *App) theOnly(t *testing.T, id mixer.RoomID) mixer.ParticipantInfo {
	t.Helper()
	room, err := a.rooms.Room(id)
	if err != nil {
		t.Fatal(err)
	}
	list := room.Participants()
	if len(list) != 1 {
		t.Fatalf("%d participants", len(list))
	}
	return list[0]
}

// TestNobodyRejoinsWhoIsNotWanted: who was removed stays out, who was never let
// in does not try for ever, and a server that is not there is said at once.
func TestNobodyRejoinsWhoIsNotWanted(t *testing.T) {
	app, url := startApp(t)
	start := func(room string, again bool) (*stay, chan error) {
		s, err := newStay(client.Config{URL: url + "/r/" + room, Audio: client.Loop(realClip(t, "speech-01.ogg"))}, again, io.Discard, func() {})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- s.run(t.Context()) }()
		return s, ended
	}
	_, ended := start("kick", true)
	soon(t, "it is there", func() bool { return speaks(app, "kick") })
	ask(t, http.StatusNoContent, "DELETE", url+"/v1/rooms/kick/participants/"+string(app.theOnly(t, "kick").ID), "")
	var refusal *client.Refusal
	if err := <-ended; !errors.As(err, &refusal) || refusal.Status != http.StatusGone {
		t.Errorf("who was removed ends with %v", err)
	}

	s, ended := start("leave", false)
	soon(t, "it is there", func() bool { return speaks(app, "leave") })
	ask(t, http.StatusNoContent, "DELETE", url+"/v1/rooms/leave/participants/"+string(app.theOnly(t, "leave").ID), "")
	if err := <-ended; !errors.Is(err, client.ErrDisconnected) || s.attempts.Load() != 0 {
		t.Errorf("without --reconnect it ends with %v after %d more attempts", err, s.attempts.Load())
	}

	ask(t, http.StatusCreated, "PUT", url+"/v1/rooms/locked", `{"locked":true}`)
	s, ended = start("locked", true)
	if err := <-ended; !errors.Is(err, client.ErrRefused) || s.attempts.Load() != 0 {
		t.Errorf("a locked room: %v after %d more attempts", err, s.attempts.Load())
	}
	url = "http://127.0.0.1:1"
	s, ended = start("nowhere", true)
	if err := <-ended; err == nil || s.attempts.Load() != 0 {
		t.Errorf("no server: %v after %d more attempts", err, s.attempts.Load())
	}
}

func TestFinal(t *testing.T) {
	for status, want := range map[int]bool{
		400: true, 401: true, 403: true, 404: true, 409: false, 410: true, 422: true, 429: false, 500: false, 503: false,
	} {
		if got := final(&client.Refusal{Status: status}); got != want {
			t.Errorf("%d: %v", status, got)
		}
	}
	if final(client.ErrDisconnected) || !final(errors.Join(client.ErrSource)) {
		t.Error("an end of the connection is final, or one of a source is not")
	}
}
