package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"mixdown/codec/opus"
	"mixdown/codec/vp8"
)

// Report is what one run of the headline benchmark leaves behind. Its JSON is
// the file that is kept.
type Report struct {
	// Date is that of the beginning, UTC.
	Date time.Time `json:"date"`
	// Commit is the source that was measured, with "-dirty" when it was
	// changed, and Version what the program calls itself.
	Commit   string            `json:"commit"`
	Version  string            `json:"version"`
	Machine  string            `json:"machine"`
	Kernel   string            `json:"kernel"`
	Versions map[string]string `json:"versions"` // of libraries
	// Seconds of each measurement.
	Seconds   float64           `json:"seconds"`
	Scenarios []ScenarioResult  `json:"scenarios"`
	Churn     []*ChurnResult    `json:"churn,omitempty"`
	Capacity  []*CapacityResult `json:"capacity,omitempty"`
}

// ScenarioResult is one column of a headline table.
type ScenarioResult struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Group says in which table; empty is the first.
	Group string `json:"group,omitempty"`
	// Command measures this alone.
	Command string    `json:"command"`
	Runs    []*Result `json:"runs"`
}

// newReport describes this machine and program.
func newReport(now time.Time, version, commit string, measured time.Duration) *Report {
	kernel := "unknown"
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = runtime.GOOS + " " + strings.TrimSpace(string(text))
	}
	return &Report{
		Date: now.UTC().Truncate(time.Second), Commit: commit, Version: version, Machine: machine(), Kernel: kernel, Seconds: measured.Seconds(),
		Versions: map[string]string{"go": runtime.Version(), "libvpx": vp8.Version(), "libopus": opus.Version()},
	}
}

// Save writes the report into dir as YYYY-MM-DD-COMMIT.json, with a number
// behind it when there is such a file already, and returns its path.
func (r *Report) Save(dir string) (string, error) {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	base := r.Date.Format(time.DateOnly) + "-" + fileName(r.Commit)
	for n := 1; n < 1000; n++ {
		name := base + ".json"
		if n > 1 {
			name = fmt.Sprintf("%s-%d.json", base, n)
		}
		path := filepath.Join(dir, name)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		_, err = f.Write(append(data, '\n'))
		return path, errors.Join(err, f.Close())
	}
	return "", fmt.Errorf("%s holds a thousand results of one commit and day", dir)
}

// fileName keeps what is harmless in the name of a file.
func fileName(s string) string {
	s = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' {
			return c
		}
		return '_'
	}, s)
	if s == "" {
		return "unknown"
	}
	return s
}

// maxReportBytes bounds what LoadReport reads.
const maxReportBytes = 16 << 20

// LoadReport reads what Save has written.
func LoadReport(path string) (*Report, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxReportBytes {
		return nil, fmt.Errorf("%s has %d bytes: want a report of the benchmark, %d at most", path, info.Size(), maxReportBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := parseReport(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// parseReport also checks what printing relies on.
func parseReport(data []byte) (*Report, error) {
	r := new(Report)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("this is no report of the benchmark: %w", err)
	}
	if r.Date.IsZero() || len(r.Scenarios)+len(r.Capacity) == 0 {
		return nil, errors.New("this is no report of the benchmark: it has no date, or neither scenarios nor capacity")
	}
	for _, s := range r.Scenarios {
		if len(s.Runs) == 0 {
			return nil, fmt.Errorf("scenario %q has no runs", s.Name)
		}
		for _, run := range s.Runs {
			if run == nil {
				return nil, fmt.Errorf("scenario %q has a run that is null", s.Name)
			}
		}
	}
	if slices.Contains(r.Churn, nil) {
		return nil, errors.New("a churn is null")
	}
	for _, c := range r.Capacity {
		if c == nil || c.Broke > 0 && len(c.First) == 0 {
			return nil, errors.New("a capacity is null, or broke without saying why")
		}
	}
	return r, nil
}
