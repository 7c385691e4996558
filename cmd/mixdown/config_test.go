package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// parseServe parses a serve command line without running it.
func parseServe(t *testing.T, args ...string) (serveCmd, error) {
	t.Helper()
	var c commands
	parser, err := newParser(&c, streams{io.Discard, io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(append([]string{"serve"}, args...))
	return c.Serve, err
}

func configOf(t *testing.T, yaml string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mixdown.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	c, err := parseServe(t)
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP != "127.0.0.1:8080" || !slices.Equal(c.Media, []string{":8189"}) || c.Admin != "127.0.0.1:9090" ||
		len(c.MediaTCP) != 0 || !c.ICELite || len(c.Public) != 0 || !strings.HasSuffix(c.Data, "/data") || c.Drain != 10*time.Second {
		t.Errorf("defaults %+v", c)
	}
}

func TestFlagWinsOverEnvironmentWinsOverFile(t *testing.T) {
	file := configOf(t, "# a comment\nhttp: 127.0.0.1:1001\nadmin: 127.0.0.1:1002\ndrain: 1s\nmedia: [\":1003\", \":1004\"]\nworkers: 3\n")
	t.Setenv("MIXDOWN_HTTP", "127.0.0.1:2001")
	t.Setenv("MIXDOWN_ADMIN", "127.0.0.1:2002")
	c, err := parseServe(t, "--config", file, "--http", "127.0.0.1:3001")
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP != "127.0.0.1:3001" {
		t.Errorf("http %s: want the flag's", c.HTTP)
	}
	if c.Admin != "127.0.0.1:2002" {
		t.Errorf("admin %s: want the environment's", c.Admin)
	}
	if c.Drain != time.Second || c.Workers != 3 || !slices.Equal(c.Media, []string{":1003", ":1004"}) {
		t.Errorf("drain %v, workers %d, media %v: want the file's", c.Drain, c.Workers, c.Media)
	}
}

func TestFileNamedByEnvironment(t *testing.T) {
	t.Setenv("MIXDOWN_CONFIG", configOf(t, "drain: 7s"))
	c, err := parseServe(t)
	if err != nil {
		t.Fatal(err)
	}
	if c.Drain != 7*time.Second {
		t.Errorf("drain %v: want the 7s of the file", c.Drain)
	}
}

func TestFileWithNothingInIt(t *testing.T) {
	for _, yaml := range []string{"", "\n", "# nothing\n", "---\n"} {
		if _, err := parseServe(t, "--config", configOf(t, yaml)); err != nil {
			t.Errorf("%q: %v", yaml, err)
		}
	}
}

func TestFileIsStrict(t *testing.T) {
	for name, tc := range map[string]struct{ yaml, want string }{
		"unknown key":     {"http: 127.0.0.1:1\nhtpp: x\n", `line 2: unknown key "htpp"`},
		"config itself":   {"config: x\n", `unknown key "config"`},
		"help":            {"help: true\n", `unknown key "help"`},
		"given twice":     {"drain: 1s\ndrain: 2s\n", "drain"},
		"no value":        {"drain:\n", `key "drain": has no value`},
		"mapping":         {"media:\n  udp: 1\n", `key "media"`},
		"list of lists":   {"media: [[\":1\"]]\n", `key "media"`},
		"not a mapping":   {"- http\n", "flag: value"},
		"no YAML":         {"# text\nhttp: [\n", "line 2: "},
		"bad value":       {"drain: soon\n", "drain"},
		"public address":  {"http: 0.0.0.0:80\n", "use --http 127.0.0.1:8080"},
		"list for scalar": {"http: [a, b]\n", "http"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseServe(t, "--config", configOf(t, tc.yaml))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v: want %q in it", err, tc.want)
			}
		})
	}
}

func TestFileMustExist(t *testing.T) {
	if _, err := parseServe(t, "--config", "/nonexistent.yaml"); err == nil || !strings.Contains(err.Error(), "/nonexistent.yaml") {
		t.Errorf("error %v: want one that names the file", err)
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, s := range []string{"http: a\n", "media: [a, 1, true]\n", "a: {b: c}\n", "- x\n", "&a http: *a\n", "? x\n: y\n", "---\nhttp: a\n---\nhttp: b\n"} {
		f.Add([]byte(s))
	}
	known := map[string]bool{"http": true, "media": true}
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := parseConfig(data, known)
		if err != nil {
			return
		}
		for k := range parsed.values {
			if !known[k] {
				t.Fatalf("key %q was accepted", k)
			}
		}
	})
}
