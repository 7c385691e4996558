package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestConfigInit: the file that is printed has every flag, changes nothing as it
// is, and with all its defaults in force is the same again.
func TestConfigInit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mixdown.yaml")
	if code, _, errs := runMain(t, "config", "init", file); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	if code, _, errs := runMain(t, "config", "init", file); code != exitUsage || !strings.Contains(errs, "is there already") {
		t.Errorf("a second time: exit code %d: %s", code, errs)
	}
	_, text, _ := runMain(t, "config", "init")
	written, err := os.ReadFile(file)
	if err != nil || string(written) != text {
		t.Errorf("%v: what was written is not what is printed", err)
	}
	plain, err := parseServe(t)
	if err != nil {
		t.Fatal(err)
	}
	if asIs, err := parseServe(t, "--config", file); err != nil || !same(plain, asIs) {
		t.Errorf("%v: with the file as it is %+v, without it %+v", err, asIs, plain)
	}
	_, ctx, err := serveContext(nil)
	if err != nil {
		t.Fatal(err)
	}
	var defaults strings.Builder
	for _, flag := range ctx.Selected().Flags {
		if flag.Name == configFlag {
			continue
		}
		_, line, found := strings.Cut(text, "\n#"+flag.Name+": ")
		line, _, _ = strings.Cut(line, "\n")
		if !found || line == "" {
			t.Errorf("the file says nothing of %s", flag.Name)
		}
		if flag.HasDefault || flag.IsBool() {
			defaults.WriteString(flag.Name + ": " + line + "\n")
		}
	}
	if explicit, err := parseServe(t, "--config", configOf(t, defaults.String())); err != nil || !same(plain, explicit) {
		t.Errorf("%v: with the defaults said %+v, without %+v\n%s", err, explicit, plain, &defaults)
	}
	for i, line := range strings.Split(text, "\n") {
		if len(line) > 130 {
			t.Errorf("line %d has %d characters", i+1, len(line))
		}
	}
}

// same compares what was set.
func same(a, b serveCmd) bool {
	a.Config, b.Config = "", ""
	return reflect.DeepEqual(a, b)
}

// TestConfigCheck: every fault is told at once, each with its line, in order.
func TestConfigCheck(t *testing.T) {
	t.Setenv("MIXDOWN_LOG", "nonsense") // has no say here
	file := configOf(t, `# comment
htpp: x
drain: soon
admin: 0.0.0.0:9090
log-level: loud
workers: -3
cores: 0.5
media: [":8189", "8190"]
cores: 1
trace-dir:
turn-tls: :5349
public-address: [192.0.2.1, here]
`)
	code, out, errs := runMain(t, "config", "check", file)
	if code != exitFailure || !strings.Contains(errs, "cannot be used") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	want := []string{
		`line 2: unknown key "htpp"`, `line 3: key "drain"`, `line 4: --admin 0.0.0.0:9090`, `line 5: key "log-level": "loud": want one of debug`,
		`line 6: --workers -3`, `line 8: --media "8190"`, `line 9: key "cores" is given twice, first on line 7`, `line 10: key "trace-dir": has no value`,
		`line 11: --turn-tls`, `line 12: key "public-address"`,
	}
	if len(lines) != len(want) {
		t.Fatalf("%d faults: want %d\n%s", len(lines), len(want), out)
	}
	for i, w := range want {
		if !strings.HasPrefix(lines[i], file+": "+w) {
			t.Errorf("%s: want %s", lines[i], w)
		}
	}
	// serve itself says as much of what it can tell before anything else.
	if _, err := parseServe(t, "--config", file); err == nil || !strings.Contains(err.Error(), "line 3: ") || !strings.Contains(err.Error(), "line 9: ") {
		t.Errorf("serve says %v", err)
	}
	if code, out, errs := runMain(t, "config", "check", configOf(t, "drain: 3s\n")); code != 0 || !strings.Contains(out, "is good") {
		t.Errorf("a good one: exit code %d: %s%s", code, out, errs)
	}
	if code, _, errs := runMain(t, "config", "check", configOf(t, "drain: [")); code != exitFailure {
		t.Errorf("no YAML: exit code %d: %s", code, errs)
	}
	if code, _, errs := runMain(t, "config", "check", "/nonexistent.yaml"); code != exitFailure || !strings.Contains(errs, "/nonexistent.yaml") {
		t.Errorf("no file: exit code %d: %s", code, errs)
	}
}

// TestDeployedFiles: each is printed as it is, and is what it says.
func TestDeployedFiles(t *testing.T) {
	for command, name := range deployed {
		code, out, errs := runMain(t, "config", command)
		file, err := os.ReadFile(filepath.Join("deploy", name))
		if code != 0 || err != nil || out != string(file) || len(out) < 100 {
			t.Errorf("%s: exit code %d, %v, %s", command, code, err, errs)
		}
		if strings.HasSuffix(name, ".yaml") {
			var into map[string]any
			if err := yaml.Unmarshal([]byte(out), &into); err != nil || len(into) == 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	entries, err := deploy.ReadDir("deploy")
	if err != nil || len(entries) != len(deployed) {
		t.Errorf("%v: %d files, %d commands that print them", err, len(entries), len(deployed))
	}
}

// TestDockerfileIsTheSources: what is printed builds what the source builds.
func TestDockerfileIsTheSources(t *testing.T) {
	ours, err := deploy.ReadFile("deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := os.ReadFile("../../Dockerfile")
	if err != nil || !bytes.Equal(ours, sources) {
		t.Errorf("%v: the source's Dockerfile and deploy/Dockerfile differ: copy one over the other", err)
	}
}

var flagInFile = regexp.MustCompile(`(?:--([a-z0-9-]+)|MIXDOWN_([A-Z0-9_]+))`)

// TestDeployedFlagsExist: what the files call the program with is known to it.
func TestDeployedFlagsExist(t *testing.T) {
	_, ctx, err := serveContext(nil)
	if err != nil {
		t.Fatal(err)
	}
	known := configKeys(ctx.Flags())
	known[configFlag] = true
	for _, other := range []string{"admin", "link"} { // of mixdown token
		known[other] = true
	}
	for _, name := range []string{"mixdown.service", "compose.yaml", "entrypoint.sh"} {
		data, err := deploy.ReadFile("deploy/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if !strings.Contains(line, "mixdown") && !strings.Contains(line, "MIXDOWN_") || strings.Contains(line, "useradd") || strings.Contains(line, "systemctl") {
				continue
			}
			for _, m := range flagInFile.FindAllStringSubmatch(line, -1) {
				flag := m[1] + strings.ReplaceAll(strings.ToLower(m[2]), "_", "-")
				if !known[flag] {
					t.Errorf("%s: there is no flag %s: %s", name, flag, line)
				}
			}
		}
	}
}

// TestEntrypointMakesTheKeyOnce runs it with a program of that name in its path.
func TestEntrypointMakesTheKeyOnce(t *testing.T) {
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	cmd := mixdown(t.Context())
	wrapper := "#!/bin/sh\n[ \"$1\" = serve ] && exec echo \"$@\"\nexec " + cmd.Path + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "mixdown"), []byte(wrapper), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		sh := mixdown(t.Context())
		sh.Path, sh.Args = "/bin/sh", append([]string{"sh", "deploy/entrypoint.sh"}, args...)
		sh.Env = append(sh.Env, "PATH="+dir+":"+os.Getenv("PATH"), "MIXDOWN_KEYS="+keys)
		out, err := sh.Output()
		if err != nil {
			t.Fatalf("%v: %s", args, err)
		}
		return string(out)
	}
	run("version")
	if _, err := os.Stat(keys); err == nil {
		t.Error("there is a key, and no server was started")
	}
	if out := run("serve", "--drain", "1s"); out != "serve --drain 1s\n" {
		t.Errorf("it ran %q", out)
	}
	first, err := os.ReadFile(keys)
	if err != nil || len(first) < 32 {
		t.Fatalf("%v: %d bytes of keys", err, len(first))
	}
	if info, err := os.Stat(keys); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: want a file for nobody else", info.Mode(), err)
	}
	run("serve")
	if again, err := os.ReadFile(keys); err != nil || !bytes.Equal(first, again) {
		t.Errorf("%v: the second start made another key", err)
	}
}

// FuzzCheckConfig: whatever a file holds, its faults are told and nothing panics;
// and serve takes what has none.
func FuzzCheckConfig(f *testing.F) {
	for _, s := range []string{
		"drain: 3s\n", "cores: .inf\n", "media: []\n", "webhook:\n- url: 7\n", "preset: {a: {b: [1, null]}}\n", "preset: [1]\n", "webhook: {a: b}\n",
		"public-address: [::1, x]\n", "ice-lite: maybe\n", "turn-secret: \"\"\n", "tls: auto\ndomain: [x]\n", "? [a]\n: b\n", "<<: {drain: 1s}\n", "drain: *a\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// Files that it could name are somebody's.
		if bytes.Contains(data, []byte("keys")) || bytes.Contains(data, []byte("/")) {
			return
		}
		if checkConfig(data) != nil {
			return
		}
		file := filepath.Join(t.TempDir(), "mixdown.yaml")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := parseServe(t, "--config", file); err != nil {
			t.Errorf("the file is good, and serve says %v", err)
		}
	})
}

// TestTokenBesideAServersEnvironment: in a container the environment is serve's,
// and mixdown token has to run there.
func TestTokenBesideAServersEnvironment(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	t.Setenv("MIXDOWN_ADMIN", "127.0.0.1:9090")
	if code, _, errs := runMain(t, "keys", "new", keys); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	t.Setenv("MIXDOWN_KEYS", keys)
	if code, out, errs := runMain(t, "token", "--admin"); code != 0 || strings.Count(out, ".") != 2 {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}
