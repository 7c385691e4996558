package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mixdown/mixer/record"
)

// TestRoomsOutliveARestart: the real server, twice over one data directory.
func TestRoomsOutliveARestart(t *testing.T) {
	data := t.TempDir()
	same := func(c *Config) {
		c.Data = data
		c.Lasting.Preset = map[string]presetText{"webinar": `{"maxParticipants":300,"layout":{"mode":"speaker"}}`}
	}
	first, url := startApp(t, same)
	ask(t, http.StatusCreated, "PUT", url+"/v1/rooms/board", `{"persistent":true,"preset":"webinar","name":"Board"}`)
	ask(t, http.StatusCreated, "PUT", url+"/v1/rooms/passing", `{}`)
	ask(t, http.StatusOK, "PATCH", url+"/v1/rooms/board/layout", `{"limit":4}`)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	_, url = startApp(t, same)
	var room struct {
		Name            string
		MaxParticipants int
		Persistent      bool
		Layout          struct {
			Mode  string
			Limit int
		}
	}
	if err := json.Unmarshal([]byte(ask(t, http.StatusOK, "GET", url+"/v1/rooms/board", "")), &room); err != nil {
		t.Fatal(err)
	}
	if room.Name != "Board" || room.MaxParticipants != 300 || !room.Persistent || room.Layout.Mode != "speaker" || room.Layout.Limit != 4 {
		t.Errorf("%+v", room)
	}
	ask(t, http.StatusNotFound, "GET", url+"/v1/rooms/passing", "")
}

// TestFullDiskIsTold: by everything that is there to tell it.
func TestFullDiskIsTold(t *testing.T) {
	app, url := startApp(t, func(c *Config) { c.Lasting.Reserve = 1 << 60 }) // no disk has that
	ask(t, http.StatusCreated, "PUT", url+"/v1/rooms/r", `{}`)
	app.store.Check() // Run's first may come a moment later
	if got := ask(t, http.StatusInsufficientStorage, "POST", url+"/v1/rooms/r/recordings", `{}`); !strings.Contains(got, `"storage-full"`) {
		t.Errorf("%s", got)
	}
	if got := ask(t, http.StatusOK, "GET", url+"/readyz", ""); !strings.HasPrefix(got, "ok\nstorage full: ") {
		t.Errorf("%s", got)
	}
	if got := ask(t, http.StatusOK, "GET", "http://"+app.AdminAddr()+"/metrics", ""); !strings.Contains(got, "\nmixdown_storage_level 2\n") {
		t.Error("not in the metrics")
	}
	if err := app.store.SetLimits(record.Limits{}); err != nil {
		t.Fatal(err)
	}
	app.store.Check()
	if got := ask(t, http.StatusOK, "GET", url+"/readyz", ""); got != "ok\n" {
		t.Errorf("%s", got)
	}
}

func TestLastingFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mixdown.yaml")
	if err := os.WriteFile(file, []byte(`
recordings-max-age: 30d
recordings-max-bytes: 1.5GB
disk-reserve: 2GiB
preset:
  default: {maxParticipants: 12}
  webinar:
    layout:
      mode: speaker
      pins: [ann, bob]
    tiers: ["640x360@30"]
    locked: true
`), 0o600); err != nil {
		t.Fatal(err)
	}
	var c commands
	parser, err := newParser(&c, streams{&bytes.Buffer{}, &bytes.Buffer{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"serve", "--config", file, "--recordings-max-count", "7", "--recordings-replace"}); err != nil {
		t.Fatal(err)
	}
	f := c.Serve.Lasting
	if want := (record.Limits{MaxAge: 720 * time.Hour, MaxBytes: 1.5e9, MaxCount: 7, Replace: true, Reserve: 2 << 30}); f.limits() != want {
		t.Errorf("%+v, want %+v", f.limits(), want)
	}
	if got := string(f.presets()["default"]); got != `{"maxParticipants":12}` {
		t.Errorf("%s", got)
	}
	if got := string(f.presets()["webinar"]); got != `{"layout":{"mode":"speaker","pins":["ann","bob"]},"locked":true,"tiers":["640x360@30"]}` {
		t.Errorf("%s", got)
	}
}

func TestLastingFlagsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"a size":               {[]string{"--disk-reserve", "much"}, "as 500GB, 1.5GiB or 0"},
		"a negative size":      {[]string{"--recordings-max-bytes=-1"}, "as 500GB"},
		"too large a size":     {[]string{"--recordings-max-bytes", "99999999TB"}, "as 500GB"},
		"an age":               {[]string{"--recordings-max-age", "a while"}, "as 30d, 12h or 0"},
		"too great an age":     {[]string{"--recordings-max-age", "1e9d"}, "as 30d"},
		"a count":              {[]string{"--recordings-max-count=-1"}, "--recordings-max-count -1"},
		"nothing to replace":   {[]string{"--recordings-replace"}, "--recordings-replace is of no use"},
		"a preset's text":      {[]string{"--preset", `webinar={`}, "webinar"},
		"a preset's fields":    {[]string{"--preset", `webinar={"canvas":{"width":15}}`}, "#/canvas/width"},
		"a preset without any": {[]string{"--preset", `webinar`}, "webinar"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			args := append([]string{"serve", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0", "--admin", "off", "--data", t.TempDir()}, c.args...)
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if code := run(ended, args, streams{&out, &errs}); code == 0 || !strings.Contains(errs.String(), c.want) {
				t.Errorf("%d: %s", code, &errs)
			}
		})
	}
}
