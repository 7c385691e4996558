package main

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mixdown/cmd/mixdown/internal/client"
)

// played is what ffmpeg made of a stream.
type played struct {
	pictures, sound int
	first, last     float64 // seconds, of the pictures
	longest         float64 // between two pictures
}

// ffmpegPlays has ffmpeg decode a stream for so many seconds of it, and fails the test
// if it has anything to complain of.
func ffmpegPlays(t *testing.T, url string, seconds int) (p played) {
	t.Helper()
	var out, said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "warning", "-xerror", "-t", strconv.Itoa(seconds), "-i", url,
		"-map", "0", "-fps_mode", "passthrough", "-enc_time_base", "1/1000", "-f", "framecrc", "-")
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil || said.Len() > 0 {
		t.Errorf("ffmpeg on %s: %v\n%.3000s", url, err, said.Bytes())
	}
	kinds := map[string]string{} // of streams
	for line := range strings.Lines(out.String()) {
		if rest, ok := strings.CutPrefix(line, "#media_type "); ok {
			stream, kind, _ := strings.Cut(strings.TrimSpace(rest), ": ")
			kinds[stream] = kind
		}
		field := strings.Split(line, ",")
		if strings.HasPrefix(line, "#") || len(field) < 6 {
			continue
		}
		if kinds[strings.TrimSpace(field[0])] != "video" {
			p.sound++
			continue
		}
		pts, err := strconv.Atoi(strings.TrimSpace(field[2]))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		at := float64(pts) / 1000
		if p.pictures == 0 {
			p.first = at
		} else {
			p.longest = max(p.longest, at-p.last)
		}
		p.last = at
		p.pictures++
	}
	return p
}

// newShow is a room with two who send pictures and sound, at one tier.
func newShow(t *testing.T) (tg *target, url string, clients []*client.Client) {
	t.Helper()
	tg = newTarget(t, t.TempDir())
	url = tg.url + "/v1/rooms/show"
	if code, body, _ := call(t, "PUT", url, `{"canvas":{"width":640,"height":360,"fps":30},"tiers":["640x360@30"]}`, "Content-Type", "application/json"); code != 201 {
		t.Fatalf("making the room: %d %s", code, body)
	}
	for i := 1; i <= 2; i++ {
		clients = append(clients, joinClient(t, client.Config{
			URL: tg.url + "/r/show", Name: fmt.Sprintf("Guest %d", i),
			Video: client.Loop(clips(t)[fmt.Sprintf("video-%02d.ivf", i)]),
			Audio: client.Loop(clips(t)[fmt.Sprintf("speech-%02d.ogg", i)]),
		}))
	}
	for i, c := range clients {
		eventually(t, 15*time.Second, fmt.Sprintf("guest %d hears and sees", i+1), func() bool {
			s := c.Stats()
			return s.AudioReceived.Packets > 50 && s.VideoReceived.Frames > 15
		})
	}
	return tg, url, clients
}

// ffmpeg plays what a room's guests see and hear, without an encode more than
// there are anyway.
func TestPlayersWatchByHTTP(t *testing.T) {
	tg, url, _ := newShow(t)
	room := tg.room(t, "show")
	if n := room.Layout().Cost.Encodes; n != 1 {
		t.Fatalf("%d encoders run", n)
	}
	const seconds = 4
	// A machine that is too busy makes the room's clock jump over ticks, for which
	// there is no sound. Of all others each packet must come.
	skipped := func() int { return int(room.Stats().AudioClock.Skipped) }
	before := skipped()
	var both [2]played
	var running sync.WaitGroup
	for i := range both {
		running.Go(func() { both[i] = ffmpegPlays(t, url+"/live.webm", seconds) })
	}
	eventually(t, 10*time.Second, "two viewers", func() bool { return room.Info().Viewers == 2 })
	if n := room.Layout().Cost.Encodes; n != 1 {
		t.Errorf("%d encoders run for two viewers more", n)
	}
	if n := room.Info().Participants; n != 2 {
		t.Errorf("%d participants", n)
	}
	running.Wait()
	lost := skipped() - before
	for _, p := range both {
		t.Logf("%+v; %d ticks were skipped", p, lost)
		if p.pictures < seconds*10 || p.sound < seconds*50-lost || p.first > 0.1 || p.last < seconds-0.5 {
			t.Errorf("in %d s, of which %d ticks were skipped: %+v", seconds, lost, p)
		}
	}
	// In Ogg something stands in for what is missing, so that time goes on.
	if p := ffmpegPlays(t, url+"/live.ogg", 2); p.sound < 99 || p.pictures > 0 {
		t.Errorf("two seconds of live.ogg: %+v", p)
	}
	before = skipped()
	if p := ffmpegPlays(t, url+"/live.webm?video=false", 2); p.sound < 100-(skipped()-before) || p.pictures > 0 {
		t.Errorf("two seconds of sound in WebM, of which %d ticks were skipped: %+v", skipped()-before, p)
	}
	eventually(t, 10*time.Second, "nobody watches by HTTP", func() bool { return room.Info().Viewers == 0 })
}

// A snapshot shows both tiles.
func TestSnapshotShowsTheTiles(t *testing.T) {
	_, url, _ := newShow(t)
	code, body, header := call(t, "GET", url+"/snapshot.jpg", "")
	if code != 200 || header.Get("Content-Type") != "image/jpeg" {
		t.Fatalf("%d %v", code, header)
	}
	img, err := jpeg.Decode(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx() != 640 || b.Dy() != 360 {
		t.Errorf("%v", b)
	}
	// A placeholder is of one colour; a picture is not.
	for name, part := range map[string]image.Rectangle{"left": image.Rect(40, 120, 280, 240), "right": image.Rect(360, 120, 600, 240)} {
		seen := map[uint32]bool{}
		for y := part.Min.Y; y < part.Max.Y; y += 4 {
			for x := part.Min.X; x < part.Max.X; x += 4 {
				r, g, b, _ := img.At(x, y).RGBA()
				seen[r>>11<<10|g>>11<<5|b>>11] = true
			}
		}
		if len(seen) < 40 {
			t.Errorf("the %s tile has %d colours: want a picture", name, len(seen))
		}
	}
	_, again, _ := call(t, "GET", url+"/snapshot.jpg", "")
	if small, _, _ := call(t, "GET", url+"/snapshot.jpg?width=320", ""); small != 200 || again == "" {
		t.Errorf("status %d, %d bytes", small, len(again))
	}
}

// stall opens a stream and reads nothing of it but the first bytes, with as small
// a buffer as there is.
func stall(t *testing.T, tg *target, path string) net.Conn {
	t.Helper()
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errorOr(c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) }), &err)
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", tg.app.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	begin := make([]byte, 15)
	if _, err := io.ReadFull(conn, begin); err != nil || string(begin) != "HTTP/1.1 200 OK" {
		t.Fatalf("%q, %v", begin, err)
	}
	return conn
}

func errorOr(err error, other *error) error {
	if err != nil {
		return err
	}
	return *other
}

// Who does not read misses everything, is disconnected, and is noticed by
// nobody: neither by one who reads beside him nor by the guests, for whom no key
// frame is coded that they did not ask for.
func TestStalledReaderHarmsNobody(t *testing.T) {
	tg, url, clients := newShow(t)
	room := tg.room(t, "show")
	stalled := stall(t, tg, "/v1/rooms/show/live.webm")
	eventually(t, 15*time.Second, "the stalled one is behind", func() bool { return room.Stats().Outlets.Resyncs == 1 })

	keys := func() (n, asked uint64) {
		for _, c := range clients {
			s := c.Stats().VideoReceived
			n, asked = n+s.Keyframes, asked+s.PLIs
		}
		return n, asked
	}
	frames := func(i int) uint64 { return clients[i].Stats().VideoReceived.Frames }
	// The healthy one's own beginning costs a key frame; after that none comes.
	healthy, err := http.Get(url + "/live.webm")
	if err != nil {
		t.Fatal(err)
	}
	defer healthy.Body.Close()
	if _, err := io.ReadFull(healthy.Body, make([]byte, 30_000)); err != nil {
		t.Fatal(err)
	}
	read := make(chan int64, 1)
	go func() { n, _ := io.Copy(io.Discard, healthy.Body); read <- n }()
	tick := time.NewTimer(time.Second) // key frames that were asked for have come
	<-tick.C
	keysBefore, askedBefore := keys()
	seen := []uint64{frames(0), frames(1)}
	dropped := room.Stats().Outlets.Dropped
	eventually(t, 30*time.Second, "the stalled one is disconnected", func() bool { return room.Info().Viewers == 1 })
	keysAfter, askedAfter := keys()
	if keysAfter != keysBefore && askedAfter == askedBefore {
		t.Errorf("%d key frames more, though nobody asked", keysAfter-keysBefore)
	}
	s := room.Stats().Outlets
	if s.Dropped <= dropped || s.KeyRequests != 0 {
		t.Errorf("%+v", s)
	}
	for i := range clients {
		if frames(i) < seen[i]+10 {
			t.Errorf("guest %d saw %d pictures meanwhile", i+1, frames(i)-seen[i])
		}
	}
	t.Logf("the stalled one missed %d frames; %d key frames, asked for %d times", s.Dropped, keysAfter-keysBefore, askedAfter-askedBefore)
	stalled.Close()
	before := room.Stats().AudioClock.Skipped
	p := ffmpegPlays(t, url+"/live.webm", 3)
	if lost := int(room.Stats().AudioClock.Skipped - before); p.pictures < 30 || p.sound < 150-lost {
		t.Errorf("afterwards, with %d ticks skipped: %+v", lost, p)
	}
	healthy.Body.Close()
	if n := <-read; n < 50_000 {
		t.Errorf("the healthy one has read %d bytes", n)
	}
}
