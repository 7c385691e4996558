package main

import (
	"bufio"
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestReload changes a file under a server that runs.
func TestReload(t *testing.T) {
	file := configOf(t, "")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("cores: 2\nlog-level: warn\ndrain: 10s\n")
	var log logBuffer
	level := new(slog.LevelVar)
	app, _ := startApp(t, func(c *Config) {
		c.Cores, c.LogLevel, c.Log = 2, level, slog.New(slog.NewTextHandler(&log, nil))
	})
	line := commandLine{"serve", "--config", file, "--workers", "2"}
	_, was, err := line.serve()
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("--origin: not today")
	app.onReload(func(c *serveCmd) error {
		if len(c.Origin) > 0 {
			return refused
		}
		return nil
	}, "origin")

	write("cores: 3\nlog-level: debug\ndrain: 20s\nworkers: 7\norigin: [https://example.org]\n")
	was = app.reload(line, was)
	if level.Level() != slog.LevelDebug || app.rooms.Governor().Stats().Cores != 3 {
		t.Errorf("level %v, %+v: want debug and 3 cores", level.Level(), app.rooms.Governor().Stats())
	}
	for _, want := range []string{`changed="cores, log-level"`, `want a restart, and stay as they were" flags=drain`, refused.Error()} {
		if !strings.Contains(log.take(), want) {
			t.Errorf("the log lacks %s:\n%s", want, log.take())
		}
	}

	// What has a fault changes nothing, and all faults are told.
	log.reset()
	write("cores: 4\nlog-level: error\ndrain: never\nadmin: 9090\n")
	was = app.reload(line, was)
	if level.Level() != slog.LevelDebug || app.rooms.Governor().Stats().Cores != 3 {
		t.Errorf("level %v, %+v: want what was before", level.Level(), app.rooms.Governor().Stats())
	}
	if text := log.take(); !strings.Contains(text, "has faults") || !strings.Contains(text, "line 3") {
		t.Errorf("the log says %s", text)
	}

	// What wants a restart is told again as long as it does; what was taken is not.
	log.reset()
	write("cores: 3\nlog-level: debug\ndrain: 20s\n")
	was = app.reload(line, was)
	if text := log.take(); !strings.Contains(text, "flags=drain") || !strings.Contains(text, `changed=""`) {
		t.Errorf("the log says %s", text)
	}
	log.reset()
	write("cores: 3\nlog-level: debug\ndrain: 10s\n")
	app.reload(line, was)
	if text := log.take(); strings.Contains(text, "restart") {
		t.Errorf("all is as it was, and the log says %s", text)
	}
}

// logBuffer is a log that can be read meanwhile.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

// TestSIGHUPReadsTheFileAgain sends the signal to a process.
func TestSIGHUPReadsTheFileAgain(t *testing.T) {
	file := configOf(t, "log-level: info\n")
	cmd := mixdown(t.Context(), "serve", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0", "--admin", "off", "--data", t.TempDir(), "--config", file)
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		http.DefaultClient.CloseIdleConnections()
	}()
	log := bufio.NewScanner(errs)
	until := func(want string) {
		t.Helper()
		for log.Scan() {
			if strings.Contains(log.Text(), want) {
				return
			}
		}
		t.Fatalf("the log ended without %q", want)
	}
	until("msg=serving")
	if err := os.WriteFile(file, []byte("log-level: debug\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until("changed=log-level")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until("msg=ended")
}
