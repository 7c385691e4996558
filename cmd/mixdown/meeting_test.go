package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/mixer"
)

// This file holds the bench on which the tests of the whole server stand: a
// server, three people in a meeting who must not notice anything, and a
// witness who says when the machine itself was late.

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
func newTarget(t *testing.T, data string, change ...func(*Config)) *target {
	t.Helper()
	cores := runtime.NumCPU()
	before := runtime.GOMAXPROCS(2 * cores) // as serve does
	tg := &target{data: data, errs: &lockedBuffer{}}
	cfg := Config{
		HTTP: "127.0.0.1:0", Media: []string{"127.0.0.1:0"}, Admin: adminOff, Data: data, Drain: 8 * time.Second,
		Workers: cores, Log: slog.New(slog.NewTextHandler(tg.errs, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	for _, f := range change {
		f(&cfg)
	}
	app, err := NewApp(cfg)
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
	// One tier: nobody is sent another one, which costs a key frame, because the
	// machine is busy.
	if code, body, _ := call(t, "PUT", tg.url+"/v1/rooms/"+meetingRoom, `{"tiers":["1280x720@30"]}`, "Content-Type", "application/json"); code/100 != 2 {
		t.Fatalf("making the room: %d %s", code, body)
	}
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
	// What an attacker sends may say that nothing reaches him: such a client has
	// a key frame made every ten seconds, and one on account.
	most := uint64(len(w.clients)) * (1 + uint64((to-w.from)/(10*time.Second)))
	if keys > most && !keysAllowed && (asked == 0 || late == 0) {
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
