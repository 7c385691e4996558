package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// beMain in the environment turns the test binary into the program itself, so
// that tests can run, signal and kill a real process without building it.
const beMain = "GO_TEST_IS_MIXDOWN"

func TestMain(m *testing.M) {
	if os.Getenv(beMain) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// mixdown is a command that runs this program. The caller starts it.
func mixdown(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "MIXDOWN_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, beMain+"=1")
	return cmd
}

// runMain runs a command inside the test process.
func runMain(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	code = run(t.Context(), args, streams{&o, &e})
	return code, o.String(), e.String()
}

func TestVersionNamesTheCodecLibraries(t *testing.T) {
	code, out, errs := runMain(t, "version")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	for _, want := range []string{"mixdown ", "libvpx v1.", "libopus 1.", "OpenH264 2."} {
		if !strings.Contains(out, want) {
			t.Errorf("version says %q: want %q in it", out, want)
		}
	}
}

func TestBadUsageSaysHow(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"public http":      {[]string{"serve", "--http", "0.0.0.0:8080"}, "use --http 127.0.0.1:8080"},
		"all addresses":    {[]string{"serve", "--http", ":8080"}, "use --http 127.0.0.1:8080"},
		"public IPv6":      {[]string{"serve", "--http", "[::]:8080"}, "use --http 127.0.0.1:8080"},
		"a name":           {[]string{"serve", "--http", "example.org:80"}, "use --http 127.0.0.1:8080"},
		"public admin":     {[]string{"serve", "--admin", "0.0.0.0:9090"}, "use --admin 127.0.0.1:9090"},
		"no port":          {[]string{"serve", "--http", "localhost"}, "want HOST:PORT"},
		"media":            {[]string{"serve", "--media", "8189"}, "want HOST:PORT, as :8189"},
		"media TCP":        {[]string{"serve", "--media-tcp", "8189"}, "want HOST:PORT, as :8189, or off"},
		"media TCP off":    {[]string{"serve", "--media-tcp", "off,:8189"}, "off alone"},
		"public address":   {[]string{"serve", "--public-address", "example.org"}, "--public-address"},
		"drain":            {[]string{"serve", "--drain", "0s"}, "--drain"},
		"workers":          {[]string{"serve", "--workers", "-1"}, "--workers"},
		"cores":            {[]string{"serve", "--cores", "2000"}, "--cores 2000: want 0.05 to 1024"},
		"log":              {[]string{"serve", "--log", "xml"}, "text"},
		"unknown flag":     {[]string{"serve", "--htp", "x"}, "--htp"},
		"join URL":         {[]string{"join", "http://127.0.0.1:1/rooms/x"}, "want /r/ROOM"},
		"join scheme":      {[]string{"join", "127.0.0.1:1/r/x"}, "URL"},
		"tone":             {[]string{"join", "http://127.0.0.1:1/r/x", "--tone", "3"}, "20..20000 Hz"},
		"too many talkers": {[]string{"bench", "room", "--participants", "2", "--talkers", "3"}, "want 0..2"},
		"impairment":       {[]string{"bench", "room", "--impair", "lost=5%"}, "lost"},
		"pid alone":        {[]string{"bench", "room", "--pid", "5"}, "URL"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := runMain(t, tc.args...)
			if code != exitUsage || !strings.Contains(errs, tc.want) {
				t.Errorf("exit code %d, %q: want %d and %q", code, errs, exitUsage, tc.want)
			}
		})
	}
}
