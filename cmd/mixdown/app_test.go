package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/cmd/mixdown/internal/tone"
	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/codec/vp8"
	"mixdown/codec/webm/webmtest"
)

// clipsDir is where fetch-clips.sh puts real pictures and speech.
const clipsDir = "../../.cache/clips"

func realClip(t *testing.T, name string) *clip.Clip {
	t.Helper()
	c, err := clip.Load(filepath.Join(clipsDir, name))
	if err != nil {
		t.Fatalf("%v (make clips fetches them)", err)
	}
	return c
}

// startApp runs a whole server on free ports and ends it with the test.
func startApp(t *testing.T, change ...func(*Config)) (app *App, url string) {
	t.Helper()
	cfg := Config{HTTP: "127.0.0.1:0", Media: []string{"127.0.0.1:0"}, Admin: "127.0.0.1:0", Data: t.TempDir(), Drain: 10 * time.Second}
	for _, f := range change {
		f(&cfg)
	}
	app, err := NewApp(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- app.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := app.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return app, "http://" + app.Addr().String()
}

// ask makes a request and returns the body; any status but want fails the test.
func ask(t *testing.T, want int, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case method == http.MethodPatch:
		req.Header.Set("Content-Type", "application/merge-patch+json")
	case body != "":
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != want {
		t.Fatalf("%s %s: %s: %s", method, url, res.Status, answer)
	}
	return string(answer)
}

// soon polls until ok, and fails the test when that takes too long.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s still not: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// play runs a client until the test ends.
func play(t *testing.T, cfg client.Config) *client.Client {
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
	return c
}

// TestJoinPlaysARealClip lets `mixdown join` play a real film and real speech to
// a whole server, and looks at what it and somebody else got.
func TestJoinPlaysARealClip(t *testing.T) {
	_, url := startApp(t)
	room := url + "/r/film"

	// The somebody else only listens, and sees and hears the film.
	var heard []int16
	dec, err := opus.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	pictures, err := vp8.NewDecoder(vp8.DecoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer pictures.Close()
	var wrong error
	listener := play(t, client.Config{
		URL: url + "/whep/film?constantSize=true", Name: "listener", // as join --save does
		OnAudio: func(p client.Packet) {
			var pcm [codec.MaxPacketSamples]int16
			n, err := dec.Decode(p.Data, pcm[:])
			wrong = errors.Join(wrong, err)
			heard = append(heard, pcm[:n]...)
		},
		OnVideo: func(f client.Frame) { wrong = errors.Join(wrong, pictures.Decode(f.Data)) },
	})
	out := filepath.Join(t.TempDir(), "got.webm")
	code, said, errs := runMain(t, "join", room, "--name", "film", "--for", "6s", "--save", out,
		"--play", filepath.Join(clipsDir, "video-01.ivf"), "--audio", filepath.Join(clipsDir, "speech-01.ogg"), "--tone", "700")
	if code != 0 {
		t.Fatalf("join: exit code %d: %s", code, errs)
	}
	for _, want := range []string{"sent ", "received ", "1280x720", "saved "} {
		if !strings.Contains(said, want) {
			t.Errorf("join's summary lacks %q:\n%s", want, said)
		}
	}
	stats := listener.Stats()
	if stats.AudioReceived.Packets < 150 || stats.VideoReceived.Frames < 60 {
		t.Errorf("the listener got %d packets of sound and %d pictures in 6 s", stats.AudioReceived.Packets, stats.VideoReceived.Frames)
	}
	// What follows is the listener's: it goes first.
	picture := lastPicture(t, listener, pictures)
	if wrong != nil {
		t.Errorf("what the listener got could not be decoded: %v", wrong)
	}
	if d := spread(picture); d < 20 {
		t.Errorf("luma of the last picture of the film varies by %.1f: that is no film", d)
	}
	film := heard[max(0, len(heard)-5*codec.SampleRate):]
	if l := tone.LevelsDB(film, []float64{700, 1234}); l[0] < -40 || l[0] < l[1]+20 {
		t.Errorf("700 Hz at %.1f dB, 1234 Hz at %.1f dB: want the tone of the film", l[0], l[1])
	}

	probe, _ := webmtest.Run(t, "ffprobe", "-v", "error", "-count_frames", "-of", "json",
		"-show_entries", "stream=codec_name,width,height,nb_read_frames:format=duration", out)
	var file struct {
		Streams []struct {
			CodecName     string `json:"codec_name"`
			Width, Height int
			Frames        int `json:"nb_read_frames,string"`
		}
		Format struct {
			Duration float64 `json:"duration,string"`
		}
	}
	if err := json.Unmarshal(probe, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Streams) != 2 || file.Streams[0].CodecName != "vp8" || file.Streams[0].Width != 1280 || file.Streams[1].CodecName != "opus" {
		t.Fatalf("saved file: %s", probe)
	}
	// Who talks alone hears silence, of which little is sent.
	if file.Streams[0].Frames < 60 || file.Streams[1].Frames < 10 || file.Format.Duration < 2 {
		t.Errorf("saved file is too short: %s", probe)
	}
}

// lastPicture takes the decoder's picture while the client is not using it.
func lastPicture(t *testing.T, c *client.Client, dec *vp8.Decoder) *codec.VideoFrame {
	t.Helper()
	c.Quiesce()
	w, h := dec.Size()
	if w != 1280 || h != 720 {
		t.Fatalf("the picture is %dx%d: want 1280x720", w, h)
	}
	frame, err := codec.NewVideoPool(16<<20).Get(w, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := dec.Picture(frame); err != nil {
		t.Fatal(err)
	}
	return frame
}

// spread is the mean distance of luma from its mean.
func spread(f *codec.VideoFrame) float64 {
	var sum, dist float64
	n := float64(f.Width * f.Height)
	for y := range f.Height {
		for _, v := range f.Y[y*f.StrideY:][:f.Width] {
			sum += float64(v)
		}
	}
	for y := range f.Height {
		for _, v := range f.Y[y*f.StrideY:][:f.Width] {
			dist += max(float64(v)-sum/n, sum/n-float64(v))
		}
	}
	return dist / n
}

// TestTwoHearEachOtherAndNotThemselves joins two with a tone each.
func TestTwoHearEachOtherAndNotThemselves(t *testing.T) {
	_, url := startApp(t)
	hz := []float64{433, 1217}
	heard := make([][]int16, 2)
	clients := make([]*client.Client, 2)
	for i := range clients {
		sound, err := tone.Make(tone.Spec{Hz: hz[i], Level: 0.1, Duration: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		dec, err := opus.NewDecoder()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = dec.Close() })
		clients[i] = play(t, client.Config{
			URL: url + "/r/tones", Name: fmt.Sprint("tone ", i), NoVideo: true, Audio: client.Loop(sound),
			OnAudio: func(p client.Packet) {
				var pcm [codec.MaxPacketSamples]int16
				if n, err := dec.Decode(p.Data, pcm[:]); err == nil {
					heard[i] = append(heard[i], pcm[:n]...)
				}
			},
		})
	}
	// 8 s, of which the first 3 may hold the joining of the other.
	soon(t, "8 s of sound for both", func() bool {
		return clients[0].Stats().AudioReceived.Packets >= 400 && clients[1].Stats().AudioReceived.Packets >= 400
	})
	for i, c := range clients {
		c.Quiesce()
		pcm := heard[i][len(heard[i])-4*codec.SampleRate:]
		own, other := hz[i], hz[1-i]
		levels := tone.LevelsDB(pcm, []float64{own, other})
		if levels[1] < -30 {
			t.Errorf("client %d hears the other's %.0f Hz at %.1f dB: want about -20", i, other, levels[1])
		}
		if d := levels[1] - levels[0]; d < 40 {
			t.Errorf("client %d hears its own %.0f Hz only %.1f dB below the other's", i, own, d)
		}
	}
}

// TestEndFinishesRecordings ends a server as Kubernetes does: by SIGTERM, in
// the middle of a recording.
func TestEndFinishesRecordings(t *testing.T) {
	data := t.TempDir()
	cmd := mixdown(t.Context(), "serve", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0", "--admin", "off", "--data", data, "--drain", "10s")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	defer func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		http.DefaultClient.CloseIdleConnections()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("no first line: %v", err)
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		t.Fatalf("first line %q: want \"listening on http://...\"", line)
	}
	ask(t, 200, "GET", url+"/readyz", "")

	c, err := client.New(client.Config{URL: url + "/r/rec", Video: client.Loop(realClip(t, "video-01.ivf")), Audio: client.Loop(realClip(t, "speech-01.ogg"))})
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() { left <- c.Run(t.Context()) }()
	soon(t, "pictures", func() bool { return c.Stats().VideoReceived.Frames > 10 })
	ask(t, 201, "POST", url+"/v1/rooms/rec/recordings", "{}")
	soon(t, "three more seconds", func() bool { return c.Stats().VideoReceived.Frames > 100 })

	begin := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	ended = true
	if err != nil {
		t.Errorf("after SIGTERM the server ended with %v\n%s", err, log.String())
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("the end took %v: want at most --drain, 10s", took)
	}
	if err := <-left; !errors.Is(err, client.ErrDisconnected) {
		t.Errorf("the client was told %v: want that it was disconnected", err)
	}
	files, err := filepath.Glob(filepath.Join(data, "recordings", "*.webm"))
	if err != nil || len(files) != 1 {
		t.Fatalf("recordings %v, %v: want one", files, err)
	}
	probe, _ := webmtest.Run(t, "ffprobe", "-v", "error", "-of", "csv=p=0", "-show_entries", "format=duration", files[0])
	var seconds float64
	if _, err := fmt.Sscan(string(probe), &seconds); err != nil || seconds < 2 {
		t.Errorf("duration %q: want 2 s or more, written by a proper end", probe)
	}
}

// TestSecondSignalEndsAtOnce gives a server a reason to take its time.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	cmd := mixdown(t.Context(), "serve", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0", "--admin", "off", "--data", t.TempDir(), "--drain", "1m")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(strings.TrimSpace(line), "listening on http://")
	// A request whose body never ends holds the drain up.
	body, write := io.Pipe()
	defer write.Close()
	go func() {
		res, err := http.Post("http://"+host+"/v1/rooms/slow/participants", "application/sdp", body)
		if err == nil {
			_ = res.Body.Close()
		}
	}()
	if _, err := write.Write([]byte("v=0\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	log := bufio.NewScanner(errs)
	for log.Scan() && !strings.Contains(log.Text(), "draining") {
	}
	begin := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for log.Scan() { // until the process is gone
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d: want %d", code, 128+int(syscall.SIGTERM))
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v after the second signal", took)
	}
}

func TestAdminServesMetricsAndProfiles(t *testing.T) {
	app, url := startApp(t)
	metrics := ask(t, 200, "GET", "http://"+app.AdminAddr()+"/metrics", "")
	for _, want := range []string{
		"mixdown_build_info{", `libvpx="v1.`, "mixdown_pool_workers ", "mixdown_pool_queue_delay_seconds_bucket", "mixdown_pool_lateness_seconds_bucket",
		"mixdown_rooms 0", "mixdown_audio_tick_lateness_seconds_count", "go_goroutines", "process_cpu_seconds_total",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	ask(t, 200, "GET", "http://"+app.AdminAddr()+"/debug/pprof/goroutine?debug=1", "")
	// Neither is for everybody.
	ask(t, 404, "GET", url+"/metrics", "")
	ask(t, 404, "GET", url+"/debug/pprof/", "")
}

func TestTakenPortIsKnownAtOnce(t *testing.T) {
	app, _ := startApp(t)
	_, err := NewApp(Config{HTTP: app.Addr().String(), Media: []string{"127.0.0.1:0"}, Admin: adminOff, Data: t.TempDir(), Drain: time.Second})
	if err == nil || !strings.Contains(err.Error(), "--http") {
		t.Errorf("error %v: want one that names --http", err)
	}
}

func TestCloseWithoutRun(t *testing.T) {
	app, err := NewApp(Config{HTTP: "127.0.0.1:0", Media: []string{"127.0.0.1:0"}, Admin: adminOff, Data: t.TempDir(), Drain: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := app.Run(t.Context()); err == nil {
		t.Error("Run after Close succeeded")
	}
}

func TestRecoverFinishesWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	video, audio := webmtest.Clip(t, webmtest.Spec{Width: 160, Height: 90, FPS: 30, Seconds: 2, KeyEvery: 30})
	_ = audio
	file := filepath.Join(dir, "cut.webm")
	s, err := newSaver(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range video {
		s.video(client.Frame{Data: f.Data, PTS: f.PTS, Key: f.Key, Width: 160, Height: 90})
	}
	// As a kill leaves it: what was written stays, nothing is finished.
	if err := errors.Join(s.webm.Flush(), s.file.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other.webm"), []byte("not a recording"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := runMain(t, "recover", dir)
	if code != exitFailure || !strings.Contains(out, "cut.webm: finished now") || !strings.Contains(out, "other.webm: ") {
		t.Errorf("exit code %d, %q, %q: want failure for the file that is none, and the other finished", code, out, errs)
	}
	if err := os.Remove(filepath.Join(dir, "other.webm")); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := runMain(t, "recover", dir); code != 0 || !strings.Contains(out, "cut.webm: complete") {
		t.Errorf("second time: exit code %d, %q, %q: want 0 and complete", code, out, errs)
	}
	probe, _ := webmtest.Run(t, "ffprobe", "-v", "error", "-of", "csv=p=0", "-show_entries", "format=duration", file)
	var seconds float64
	if _, err := fmt.Sscan(string(probe), &seconds); err != nil || seconds < 1.5 {
		t.Errorf("duration %q: want 2 s", probe)
	}
}
