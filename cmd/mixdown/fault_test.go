package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/codec"
	"mixdown/codec/webm/webmtest"
	"mixdown/mixer"
)

// This file holds what goes wrong by itself: clients that vanish or stall, a
// server that is killed or told to end.

// TestVanishedClient: a client whose sockets die without a goodbye is shown as
// reconnecting, and is gone, tile and all, within 10 s. Another that has a
// pause of 4 s, which is less, stays.
func TestVanishedClient(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	m := newMeeting(t, tg)
	victim := joinWire(t, tg, wireConfig{name: "Victim", audio: true, video: true})
	pausing := joinWire(t, tg, wireConfig{name: "Pausing", audio: true})
	room := tg.room(t, meetingRoom)
	state := func(id mixer.ParticipantID) mixer.State {
		info, err := room.Participant(id)
		if err != nil {
			return mixer.StateLeft
		}
		return info.State
	}
	tiles := func(id mixer.ParticipantID) (n int) {
		for _, tile := range room.Layout().Tiles {
			if tile.Participant == id {
				n++
			}
		}
		return n
	}
	eventually(t, 5*time.Second, "the victim has a tile", func() bool { return tiles(victim.id) == 1 && state(victim.id) == mixer.StateActive })
	m.settle(t)
	w := m.watch()
	died := time.Now()
	victim.die()
	pausing.silent.Store(true)
	eventually(t, 6*time.Second, "the victim is reconnecting", func() bool { return state(victim.id) == mixer.StateReconnecting })
	if tiles(victim.id) != 1 {
		t.Error("who is reconnecting has lost the tile")
	}
	lost := time.Since(died)
	eventually(t, 6*time.Second, "the pausing one is reconnecting, too", func() bool { return state(pausing.id) == mixer.StateReconnecting })
	pausing.silent.Store(false)
	eventually(t, 6*time.Second, "the pausing one is back", func() bool { return state(pausing.id) == mixer.StateActive })
	eventually(t, 15*time.Second, "the victim is gone", func() bool { return state(victim.id) == mixer.StateLeft })
	gone := time.Since(died)
	eventually(t, time.Second, "its tile is gone", func() bool { return tiles(victim.id) == 0 })
	t.Logf("reconnecting after %v, gone after %v", lost.Round(10*time.Millisecond), gone.Round(10*time.Millisecond))
	if gone > 10*time.Second {
		t.Errorf("gone after %v: want 10s or less", gone)
	}
	if code, _, _ := call(t, "GET", victim.session, ""); code != http.StatusGone {
		t.Errorf("its session answers %d: want 410", code)
	}
	w.end(t, "while one vanishes", false)
}

// TestSlowReaders: those who stop reading, downloads as well as media, cost
// the others nothing and the server little.
func TestSlowReaders(t *testing.T) {
	data := t.TempDir()
	id := plantRecording(t, data, 256<<20)
	tg := newTarget(t, data)
	m := newMeeting(t, tg)
	before := measure(t)
	w := m.watch()

	// Downloads that are begun and never read on.
	const downloads = 40
	for range downloads {
		conn, err := net.Dial("tcp", tg.app.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /v1/recordings/%s/media HTTP/1.1\r\nHost: localhost\r\n\r\n", id)
		head := make([]byte, 12)
		if _, err := io.ReadFull(conn, head); err != nil || string(head) != "HTTP/1.1 200" {
			t.Fatalf("the download answers %q, %v", head, err)
		}
	}
	during(3*time.Second, 1, func(int) {})
	w.end(t, "while 40 downloads stand still", false)
	now := measure(t)
	t.Logf("40 downloads of 256 MB: heap +%.1f MB, resident +%.1f MB", float64(now.heap-before.heap)/1e6, float64(now.rss-before.rss)/1e6)
	if now.heap-before.heap > 16<<20 {
		t.Errorf("the heap has grown by %d bytes", now.heap-before.heap)
	}

	// A client that sends, but neither reads RTP nor ever sends RTCP.
	deaf := joinWire(t, tg, wireConfig{name: "Deaf", audio: true, video: true, deaf: true})
	room := tg.room(t, meetingRoom)
	eventually(t, 5*time.Second, "the deaf one is active", func() bool {
		info, err := room.Participant(deaf.id)
		return err == nil && info.State == mixer.StateActive
	})
	m.settle(t)
	before = measure(t)
	w = m.watch()
	video, audio := clips(t)["video-01.ivf"], clips(t)["speech-01.ogg"]
	during(6*time.Second, 50, func(i int) {
		deaf.sendAudio(audio.Units[i%len(audio.Units)].Data)
		if i%2 == 0 {
			deaf.sendVideo(video.Units[i/2%len(video.Units)].Data)
		}
	})
	w.end(t, "while one does not read", false)
	flat(t, "while one does not read", before, 8<<20, 48<<20)
	if info, err := room.Participant(deaf.id); err != nil || info.State != mixer.StateActive {
		t.Errorf("who keeps the connection up is %v, %v: want active", info.State, err)
	}
}

// plantRecording puts a finished recording of that size into a data directory.
// The file is sparse: nobody looks into what is complete.
func plantRecording(t *testing.T, data string, size int64) (id string) {
	t.Helper()
	dir := filepath.Join(data, "recordings")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	id = "rec_0123456789abcdefghijklmnop"
	description := fmt.Sprintf(`{"id":%q,"room":"r","roomId":"R_1","state":"complete","started":"2026-01-01T00:00:00Z",
		"stopped":"2026-01-01T00:01:00Z","durationNs":60000000000,"bytes":%d,"parts":[{"bytes":%d,"durationNs":60000000000,"width":1280,"height":720}],
		"format":"webm","mediaType":"video/webm"}`, id, size, size)
	if err := os.WriteFile(filepath.Join(dir, id+".json"), []byte(description), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, id+".webm"), nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, id+".webm"), size); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestHalfOpenFlood: 200 joins that never connect do not keep anybody out,
// end within 15 s, and leave nothing behind.
func TestHalfOpenFlood(t *testing.T) {
	tg := newTarget(t, t.TempDir())
	// Places are counted from the answer on, so the flood gets rooms of its own.
	m := newMeeting(t, tg)
	offer := wireOffer("flood", strings.Repeat("A1:", 31)+"A1", wireConfig{audio: true, video: true})
	post := func(i int) (int, string) {
		code, _, header := callFrom(t, byte(10+i%8), "POST", fmt.Sprintf("%s/v1/rooms/flood-%d/participants", tg.url, i%8), offer, "Content-Type", "application/sdp")
		return code, header.Get("Location")
	}
	// One each beforehand: the rooms that they make stay for minutes and are no leak.
	for i := range 8 {
		if code, session := post(i); code != http.StatusCreated {
			t.Fatalf("the flood's own offer answers %d", code)
		} else if code, _, _ := call(t, "DELETE", tg.url+session, ""); code != http.StatusOK {
			t.Fatalf("leaving answers %d", code)
		}
	}
	eventually(t, 5*time.Second, "they have left", func() bool { return tg.app.engine.Peers() == bystanders })
	http.DefaultClient.CloseIdleConnections()
	before := measure(t)
	w := m.watch()
	began := time.Now()
	during(2*time.Second, 100, func(i int) {
		if code, _ := post(i); code != http.StatusCreated {
			t.Errorf("join %d of the flood answers %d", i, code)
		}
	})
	peers := tg.app.engine.Peers()
	full := measure(t)
	if peers != 200+bystanders {
		t.Errorf("there are %d connections: want %d", peers, 200+bystanders)
	}
	w.end(t, "200 half-open joins", false)
	real := joinWire(t, tg, wireConfig{name: "Real", audio: true})
	eventually(t, 5*time.Second, "a real client joins beside the flood", func() bool {
		info, err := tg.room(t, meetingRoom).Participant(real.id)
		return err == nil && info.State == mixer.StateActive
	})
	real.leave(t)
	eventually(t, 20*time.Second, "the flood is over", func() bool { return tg.app.engine.Peers() == bystanders })
	t.Logf("200 half-open joins: %d peers, +%.1f MB heap, +%.1f MB resident, +%d goroutines; gone after %v", peers,
		float64(full.heap-before.heap)/1e6, float64(full.rss-before.rss)/1e6, full.goroutines-before.goroutines, time.Since(began).Round(100*time.Millisecond))
	eventually(t, 5*time.Second, "nobody is left in the rooms", func() bool { return tg.app.rooms.Stats().Participants == bystanders })
	http.DefaultClient.CloseIdleConnections()
	flat(t, "after the flood", before, 4<<20, 64<<20)
}

// program builds the program itself.
func program(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "mixdown")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-tags=dynamic,nolibopusfile", "-o", exe, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return exe
}

// process is a running `mixdown serve`.
type process struct {
	*exec.Cmd
	url string
}

func serve(t *testing.T, exe, data string, flags ...string) *process {
	t.Helper()
	args := append([]string{"serve", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0", "--admin", "off", "--data", data, "--log-level", "warn"}, flags...)
	p := &process{Cmd: exec.Command(exe, args...)}
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		t.Fatalf("the first line is %q, %v", line, err)
	}
	p.url = url
	return p
}

// recordFor joins a client, records for that long and returns what the API
// says of the recording then, which still runs, and when it began. The client is left to die with
// the server.
func recordFor(t *testing.T, p *process, long time.Duration) (rec recordingJSON, start time.Time) {
	t.Helper()
	c, err := client.New(client.Config{
		URL: p.url + "/r/rec", Name: "Speaker",
		Video: client.Loop(clips(t)["video-01.ivf"]), Audio: client.Loop(clips(t)["speech-01.ogg"]),
		HTTP: &http.Client{Timeout: time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = c.Run(ctx); close(ended) }() // how it ends is the server's doing
	t.Cleanup(func() { cancel(); <-ended })
	eventually(t, 10*time.Second, "the speaker sees the mix", func() bool { return c.Stats().VideoReceived.Frames > 10 })
	code, body, _ := call(t, "POST", p.url+"/v1/rooms/rec/recordings", "{}", "Content-Type", "application/json")
	if code != http.StatusCreated {
		t.Fatalf("recording answers %d %s", code, body)
	}
	if err := json.Unmarshal([]byte(body), &rec); err != nil {
		t.Fatal(err)
	}
	eventually(t, long+10*time.Second, "the recording is long enough", func() bool {
		asked := time.Now()
		rec = describe(t, p, rec.ID)
		// What is written lags behind: the least lag comes nearest to the truth.
		if s := asked.Add(-time.Duration(rec.Duration * float64(time.Second))); start.IsZero() || s.Before(start) {
			start = s
		}
		return rec.Duration >= long.Seconds()
	})
	return rec, start
}

type recordingJSON struct {
	ID, State, Media, Error string
	Bytes                   int64
	Duration                float64
}

func describe(t *testing.T, p *process, id string) (rec recordingJSON) {
	t.Helper()
	code, body, _ := call(t, "GET", p.url+"/v1/recordings/"+id, "")
	if code != http.StatusOK {
		t.Fatalf("recording %s answers %d %s", id, code, body)
	}
	if err := json.Unmarshal([]byte(body), &rec); err != nil {
		t.Fatal(err)
	}
	return rec
}

// plays decodes a file and returns how long its picture and its sound last.
func plays(t *testing.T, file string) (picture, sound time.Duration) {
	t.Helper()
	webmtest.Run(t, "ffmpeg", "-v", "error", "-i", file, "-f", "null", "-")
	for _, k := range webmtest.Probe(t, file).Packets {
		if k.Video {
			picture = max(picture, k.PTS+time.Second/30)
		} else {
			sound = max(sound, k.PTS+codec.FrameDuration)
		}
	}
	return picture, sound
}

// TestKilledServer: kill -9 in the middle of a recording. The file on disk
// plays to within the last second, the next start finishes it, and so does
// `mixdown recover`.
func TestKilledServer(t *testing.T) {
	exe := program(t)
	for name, finish := range map[string]func(t *testing.T, data string){
		"next start": func(*testing.T, string) {},
		"recover": func(t *testing.T, data string) {
			var out bytes.Buffer
			cmd := exec.Command(exe, "recover", filepath.Join(data, "recordings"))
			cmd.Stdout, cmd.Stderr = &out, os.Stderr
			if err := cmd.Run(); err != nil || !strings.Contains(out.String(), "finished now") {
				t.Fatalf("recover: %v, %q: want a file that is finished now", err, out.String())
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			p := serve(t, exe, data)
			rec, start := recordFor(t, p, 4*time.Second)
			if err := p.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			lasted := time.Since(start)
			_ = p.Wait() // "killed"
			file := filepath.Join(data, "recordings", rec.ID+".webm")
			picture, sound := plays(t, file)
			t.Logf("killed after %v of recording: %v of picture and %v of sound are on disk", lasted, picture, sound)
			least := lasted - time.Second
			if picture < least || sound < least {
				t.Errorf("picture ends at %v and sound at %v: want %v or more", picture, sound, least)
			}
			finish(t, data)
			again := describe(t, serve(t, exe, data), rec.ID)
			if again.State != "complete" || again.Error != "" || time.Duration(again.Duration*float64(time.Second)) < least {
				t.Errorf("the next start lists it as %+v", again)
			}
			picture, sound = plays(t, file)
			if longest := max(picture, sound).Seconds(); longest < again.Duration-0.1 || longest > again.Duration+0.1 {
				t.Errorf("it is said to last %.3f s and lasts %.3f s", again.Duration, longest)
			}
		})
	}
}

// TestDrain: SIGTERM in the middle of a recording ends it properly within the
// time that --drain gives; a second SIGTERM ends everything at once.
func TestDrain(t *testing.T) {
	exe := program(t)
	t.Run("once", func(t *testing.T) {
		data := t.TempDir()
		p := serve(t, exe, data, "--drain", "5s")
		rec, _ := recordFor(t, p, 2*time.Second)
		asked := time.Now()
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(); err != nil {
			t.Errorf("it ended with %v: want exit code 0", err)
		}
		took := time.Since(asked)
		if took > 5*time.Second {
			t.Errorf("it took %v to end: want 5s or less", took)
		}
		description, err := os.ReadFile(filepath.Join(data, "recordings", rec.ID+".json"))
		if err != nil || !bytes.Contains(description, []byte(`"state": "complete"`)) {
			t.Errorf("the description says %s, %v: want complete", description, err)
		}
		picture, sound := plays(t, filepath.Join(data, "recordings", rec.ID+".webm"))
		t.Logf("drained in %v; %v of picture, %v of sound", took.Round(time.Millisecond), picture, sound)
		least := time.Duration(rec.Duration*float64(time.Second)) - 2*codec.FrameDuration // the other track may end first
		if picture < least || sound < least {
			t.Errorf("picture ends at %v and sound at %v: want %v or more", picture, sound, least)
		}
	})
	t.Run("twice", func(t *testing.T) {
		data := t.TempDir()
		// A download that stands still keeps the first one from ending at once.
		id := plantRecording(t, data, 256<<20)
		p := serve(t, exe, data, "--drain", "1m")
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /v1/recordings/%s/media HTTP/1.1\r\nHost: localhost\r\n\r\n", id)
		if _, err := io.ReadFull(conn, make([]byte, 12)); err != nil {
			t.Fatal(err)
		}
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "the server refuses new connections", func() bool {
			c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
			if err == nil {
				_ = c.Close()
			}
			return err != nil
		})
		asked := time.Now()
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		err = p.Wait()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 128+int(syscall.SIGTERM) {
			t.Errorf("it ended with %v: want exit code 143", err)
		}
		if took := time.Since(asked); took > 2*time.Second {
			t.Errorf("it took %v to end at once", took)
		}
	})
}
