package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/codec/webm/webmtest"
	"mixdown/mixer"
)

// This file holds what goes wrong by accident (clients that vanish or stop
// reading, a server that is killed) and the bench on which both these tests
// and those of hostile_test.go stand: a whole server, three people in a
// meeting who must not notice anything, and a witness who says when the
// machine itself was late.

const (
	// bystanders are in the meeting that is attacked.
	bystanders = 3
	// meetingRoom is where they are; attackers who want to be near join it.
	meetingRoom = "meeting"
)

// raceDetector says that the test was built with -race, which makes everything
// five to ten times as slow and as large: then a quarter is sent, at a quarter
// of the speed, and how much memory the process has in all says nothing.
var raceDetector = sync.OnceValue(func() bool {
	info, ok := debug.ReadBuildInfo()
	for i := 0; ok && i < len(info.Settings); i++ {
		if s := info.Settings[i]; s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
})

// maxGap is the longest pause in a bystander's sound: two packets late.
func maxGap() time.Duration {
	if raceDetector() {
		return 500 * time.Millisecond // it stops for longer than what is judged otherwise
	}
	return 60 * time.Millisecond
}

// pace is n, or what is left of it under the race detector.
func pace(n int) int {
	if raceDetector() {
		return n / 4
	}
	return n
}

// target is a whole server, as main runs it, on free ports.
type target struct {
	app  *App
	url  string
	data string
	errs *lockedBuffer // what it logged as errors
}

// lockedBuffer collects a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newTarget starts a server with data as its directory. At the end of the
// test it must end in time, without an error and without one in its log.
func newTarget(t *testing.T, data string) *target {
	t.Helper()
	cores := runtime.NumCPU()
	before := runtime.GOMAXPROCS(2 * cores) // as serve does
	tg := &target{data: data, errs: &lockedBuffer{}}
	app, err := NewApp(Config{
		HTTP: "127.0.0.1:0", Media: []string{"127.0.0.1:0"}, Admin: adminOff, Data: data, Drain: 8 * time.Second,
		Workers: cores, Log: slog.New(slog.NewTextHandler(tg.errs, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		t.Fatal(err)
	}
	tg.app, tg.url = app, "http://"+app.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		callers.Range(func(_, c any) bool {
			c.(*http.Client).CloseIdleConnections()
			return true
		})
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
		for line := range strings.Lines(tg.errs.String()) {
			// Whoever records an empty room gets an empty recording.
			if !strings.Contains(line, "nothing was recorded") {
				t.Errorf("the server logged an error: %.2000s", line)
			}
		}
		runtime.GOMAXPROCS(before)
	})
	return tg
}

// room returns the meeting's room.
func (tg *target) room(t *testing.T, id string) *mixer.Room {
	t.Helper()
	room, err := tg.app.rooms.Room(mixer.RoomID(id))
	if err != nil {
		t.Fatal(err)
	}
	return room
}

// call makes one request and returns the status and the body, which must be
// JSON if it says so.
func call(t *testing.T, method, url, body string, headers ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(res.Header.Get("Content-Type"), "json") && !json.Valid(text) {
		t.Errorf("%s %s answered what is no JSON: %q", method, url, text)
	}
	return res.StatusCode, string(text), res.Header
}

// eventually polls until ok, and fails after limit.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// during calls do at a steady rate, for a time. Whoever falls behind catches
// up, so the number of calls is certain.
func during(d time.Duration, perSecond int, do func(i int)) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	start, total := time.Now(), int(d.Seconds()*float64(perSecond))
	for i := 0; i < total; <-tick.C {
		for due := int(time.Since(start).Seconds() * float64(perSecond)); i < min(due, total); i++ {
			do(i)
		}
	}
}

// Clips are read once and shared: they are immutable.
var loadClips = sync.OnceValues(func() (map[string]*clip.Clip, error) {
	dir := filepath.Join("..", "..", ".cache", "clips")
	if out, err := exec.Command("sh", filepath.Join("testdata", "fetch-clips.sh")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("fetch-clips.sh: %w\n%s", err, out)
	}
	dec, err := opus.NewDecoder()
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	clips := make(map[string]*clip.Clip)
	for i := 1; i <= bystanders; i++ {
		for _, name := range []string{fmt.Sprintf("video-%02d.ivf", i), fmt.Sprintf("speech-%02d.ogg", i)} {
			c, err := clip.Load(filepath.Join(dir, name))
			if err == nil && c.Codec == codec.Opus {
				c, err = c.Measure(dec)
			}
			if err != nil {
				return nil, err
			}
			clips[name] = c
		}
	}
	return clips, nil
})

func clips(t *testing.T) map[string]*clip.Clip {
	t.Helper()
	all, err := loadClips()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// meeting is three well-behaved people with sound and picture.
type meeting struct {
	*witness
	clients []*client.Client
}

// newMeeting has them join and waits until the last key frame that their
// joining costs has gone by.
func newMeeting(t *testing.T, tg *target) *meeting {
	t.Helper()
	m := &meeting{witness: startWitness(t)}
	for i := 1; i <= bystanders; i++ {
		m.clients = append(m.clients, joinClient(t, client.Config{
			URL: tg.url + "/r/" + meetingRoom, Name: fmt.Sprintf("Bystander %d", i),
			Video: client.Loop(clips(t)[fmt.Sprintf("video-%02d.ivf", i)]),
			Audio: client.Loop(clips(t)[fmt.Sprintf("speech-%02d.ogg", i)]),
		}))
	}
	for i, c := range m.clients {
		eventually(t, 10*time.Second, fmt.Sprintf("bystander %d hears and sees", i+1), func() bool {
			s := c.Stats()
			return s.AudioReceived.Packets > 50 && s.VideoReceived.Frames > 15
		})
	}
	m.settle(t)
	return m
}

// joinClient runs a client until the end of the test, which its own end must not precede.
func joinClient(t *testing.T, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", cfg.Name, err)
		}
	})
	select {
	case <-c.Connected():
	case err := <-ended:
		ended <- nil
		t.Fatalf("%s: %v", cfg.Name, err)
	}
	return c
}

// settle waits until nobody has had a key frame for more than the window in
// which requests are merged: what joining costs is over.
func (m *meeting) settle(t *testing.T) {
	t.Helper()
	last, since := m.keyframes(), codec.Now()
	eventually(t, 10*time.Second, "key frames come to an end", func() bool {
		if now := m.keyframes(); now != last {
			last, since = now, codec.Now()
		}
		return codec.Now()-since > 700*time.Millisecond
	})
}

func (m *meeting) keyframes() (n uint64) {
	for _, c := range m.clients {
		n += c.Stats().VideoReceived.Keyframes
	}
	return n
}

// window is a time in which the meeting is watched.
type window struct {
	*meeting
	from   time.Duration
	before []client.Stats
}

func (m *meeting) watch() *window {
	w := &window{meeting: m, from: codec.Now()}
	for _, c := range m.clients {
		w.before = append(w.before, c.Stats())
	}
	return w
}

// end fails the test if a bystander heard a gap, or, unless keys are allowed,
// was sent a key frame that nobody in the meeting had asked for.
func (w *window) end(t *testing.T, what string, keysAllowed bool) {
	t.Helper()
	to := codec.Now()
	excused := 0
	var packets, keys, asked uint64
	var worst, worstExcused time.Duration
	for i, c := range w.clients {
		for _, g := range c.AudioGaps(w.from, to) {
			switch {
			case g.Length <= maxGap() || w.excuses(g):
				if g.Length > maxGap() {
					excused++
					worstExcused = max(worstExcused, g.Length)
				} else {
					worst = max(worst, g.Length)
				}
			default:
				t.Errorf("%s: bystander %d heard nothing for %v, %v after the start, and the machine was not late",
					what, i+1, g.Length, g.End-w.from)
			}
		}
		now := c.Stats()
		packets += now.AudioReceived.Packets - w.before[i].AudioReceived.Packets
		keys += now.VideoReceived.Keyframes - w.before[i].VideoReceived.Keyframes
		asked += now.VideoReceived.PLIs - w.before[i].VideoReceived.PLIs
	}
	late, latest := w.between(w.from, to)
	if keys > 0 && !keysAllowed && (asked == 0 || late == 0) {
		// A bystander that could not read for long has lost pictures, and asks.
		t.Errorf("%s: the bystanders were sent %d key frames, and had asked for %d, while the machine was late %d times", what, keys, asked, late)
	}
	t.Logf("%s: %.1f s, %d audio packets to %d bystanders, longest gap %v; %d gaps up to %v excused, since the machine was late %d times, up to %v; %d key frames",
		what, (to - w.from).Seconds(), packets, len(w.clients), worst.Round(time.Millisecond), excused,
		worstExcused.Round(time.Millisecond), late, latest.Round(time.Millisecond), keys)
	if packets == 0 {
		t.Errorf("%s: nobody heard anything", what)
	}
}

// The witness is a process that does nothing but wake up each 5 ms. When it
// is late, so is everybody: what happens then says nothing of the server.
const (
	witnessEnv    = "MIXDOWN_TEST_WITNESS"
	witnessPeriod = 5 * time.Millisecond
	witnessLate   = 10 * time.Millisecond
)

// A process of its own, since one goroutine more in this process would be late
// because of the attack, too. Not in TestMain, which is shared.
func init() {
	if os.Getenv(witnessEnv) == "" {
		return
	}
	go func() { // ends with whoever started us
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for last := monotonic(); ; {
		time.Sleep(witnessPeriod) // that is its work
		now := monotonic()
		if late := now - last - witnessPeriod; late > witnessLate {
			fmt.Println(int64(now), int64(late))
		}
		last = now
	}
}

// monotonic is a clock that two processes have in common.
func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

type witness struct {
	mu   sync.Mutex
	late []client.Gap // when it woke, and how late
}

func startWitness(t *testing.T) *witness {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), witnessEnv+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w, offset, read := &witness{}, codec.Now()-monotonic(), make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var at, late int64
			if _, err := fmt.Sscan(lines.Text(), &at, &late); err == nil {
				w.mu.Lock()
				w.late = append(w.late, client.Gap{End: time.Duration(at) + offset, Length: time.Duration(late)})
				w.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		_ = stdin.Close()
		<-read
		_ = cmd.Wait()
	})
	return w
}

// excuses reports whether the machine was late during a gap.
func (w *witness) excuses(g client.Gap) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.late {
		// A gap ends when its packet is read, which is late for the same reason.
		if l.End > g.End-g.Length-witnessLate && l.End-l.Length < g.End+witnessLate {
			return true
		}
	}
	return false
}

// between returns how often the machine was late in (from, to], and how much.
func (w *witness) between(from, to time.Duration) (n int, worst time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.late {
		if l.End > from && l.End <= to {
			n++
			worst = max(worst, l.Length)
		}
	}
	return n, worst
}

// footprint is what this process, server and clients, holds.
type footprint struct {
	heap, rss  int64 // bytes
	goroutines int
}

func measure(t *testing.T) footprint {
	t.Helper()
	runtime.GC() // twice: pools keep what they hold for one cycle
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var pages, resident int64
	if _, err := fmt.Sscan(string(statm), &pages, &resident); err != nil {
		t.Fatal(err)
	}
	return footprint{int64(m.HeapAlloc), resident * int64(os.Getpagesize()), runtime.NumGoroutine()}
}

// flat fails if more than that is held now than before. Goroutines that are
// on their way out get time for it.
func flat(t *testing.T, what string, before footprint, heap, rss int64) {
	t.Helper()
	if raceDetector() {
		rss = math.MaxInt64 / 2
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	now := measure(t)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); now = measure(t) {
		if now.goroutines <= before.goroutines && now.heap <= before.heap+heap && now.rss <= before.rss+rss {
			break
		}
		<-tick.C
	}
	t.Logf("%s: heap %.1f -> %.1f MB, resident %.1f -> %.1f MB, goroutines %d -> %d", what,
		float64(before.heap)/1e6, float64(now.heap)/1e6, float64(before.rss)/1e6, float64(now.rss)/1e6, before.goroutines, now.goroutines)
	if now.heap > before.heap+heap || now.rss > before.rss+rss {
		t.Errorf("%s: memory has grown by more than %d MB of heap or %d MB in all", what, heap>>20, rss>>20)
	}
	if now.goroutines > before.goroutines {
		stacks := make([]byte, 1<<20)
		t.Errorf("%s: %d goroutines are left\n%.6000s", what, now.goroutines-before.goroutines, stacks[:runtime.Stack(stacks, true)])
	}
}

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
