package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is the process that is measured.
type server struct {
	cmd   *exec.Cmd
	pid   int
	url   string // "http://host:port"
	admin string // the same of its admin address; "" when unknown
}

// running returns the server that cfg names, once it is known that it can be
// measured; nil when it names none.
func running(ctx context.Context, cfg Config) (*server, error) {
	if cfg.URL == "" {
		return nil, nil
	}
	s := &server{pid: cfg.PID, url: cfg.URL, admin: strings.TrimSuffix(cfg.AdminURL, "/")}
	if _, err := readUsage(s.pid); err != nil {
		return nil, fmt.Errorf("process %d: %w", s.pid, err)
	}
	if s.admin != "" && s.scrape(ctx) == nil {
		return nil, fmt.Errorf("no metrics at %s/metrics", s.admin)
	}
	return s, nil
}

// startServer runs exe as a server on free ports and waits until it listens. It
// has no limit: what is measured here is what a room costs and where it breaks,
// not when a server says no, or gives less to those who are there.
func startServer(ctx context.Context, exe, data string, log io.Writer) (*server, error) {
	cmd := exec.CommandContext(ctx, exe, "serve", "--http", "127.0.0.1:0", "--media", "127.0.0.1:0",
		"--admin", "127.0.0.1:0", "--data", data, "--log-level", "warn", "--no-limit")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	for _, e := range os.Environ() {
		// The server of a benchmark is the one described here, not the user's.
		if !strings.HasPrefix(e, "MIXDOWN_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, pid: cmd.Process.Pid}
	lines := bufio.NewScanner(out)
	for s.url == "" || s.admin == "" {
		if !lines.Scan() {
			return nil, errors.Join(errors.New("the server ended before it listened"), cmd.Wait())
		}
		if u, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			s.url = u
		}
		if u, ok := strings.CutPrefix(lines.Text(), "admin on "); ok {
			s.admin = u
		}
	}
	return s, nil
}

// stop ends the process as an operator would, and reports how it ended.
func (s *server) stop() error {
	if s.cmd == nil {
		return nil // not ours
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("the server: %w", err)
	}
	return nil
}

// usage is the CPU and memory of a process so far.
type usage struct {
	cpu               time.Duration
	rssBytes, peakRSS int64
}

// clockTicks is what /proc counts CPU time in: USER_HZ, 100 on every Linux.
const clockTicks = 100

func readUsage(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	// The name in parentheses may hold anything; fields count from behind it,
	// where utime and stime are the 12th and 13th (proc(5): 14 and 15).
	_, rest, _ := strings.Cut(string(stat), ") ")
	if i := strings.LastIndex(string(stat), ") "); i >= 0 {
		rest = string(stat)[i+2:]
	}
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return usage{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return usage{}, err
		}
		ticks += n
	}
	u := usage{cpu: time.Duration(ticks) * time.Second / clockTicks}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}, err
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch key {
		case "VmRSS":
			u.rssBytes = kb << 10
		case "VmHWM":
			u.peakRSS = kb << 10
		}
	}
	return u, nil
}

// ownCPU is what this process has used.
func ownCPU() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// series is a scrape: values by "name{labels}".
type series map[string]float64

// scrape reads the server's metrics; nil when there are none to be had.
func (s *server) scrape(ctx context.Context) series {
	if s.admin == "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.admin+"/metrics", nil)
	if err != nil {
		return nil
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil
	}
	values := make(series)
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(line[i+1:], 64); err == nil {
			values[line[:i]] = v
		}
	}
	return values
}

// since returns how much each counter grew.
func (s series) since(before series) series {
	d := make(series, len(s))
	for name, v := range s {
		d[name] = v - before[name]
	}
	return d
}

// sum adds up a metric over all its labels.
func (s series) sum(name string) (total float64) {
	for series, v := range s {
		if series == name || strings.HasPrefix(series, name+"{") {
			total += v
		}
	}
	return total
}

// quantile returns the upper bound of the bucket that the q-quantile of a
// histogram falls into, in seconds; 0 for none. Beyond the last bound it is that
// bound: a Result holds no infinity, which JSON has no word for.
func (s series) quantile(name string, q float64) float64 {
	total := s[name+"_count"]
	best, last := math.Inf(1), 0.0
	for series, n := range s {
		bound, ok := strings.CutPrefix(series, name+`_bucket{le="`)
		if !ok || total == 0 {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSuffix(bound, `"}`), 64)
		if err != nil || math.IsInf(v, 0) {
			continue
		}
		last = max(last, v)
		if n >= q*total {
			best = min(best, v)
		}
	}
	return min(best, last)
}
