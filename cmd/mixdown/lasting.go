package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mixdown/api"
	"mixdown/mixer/record"
)

// lastingFlags are those of serve that say what rooms are made after, and how
// much is kept of them.
type lastingFlags struct {
	Preset  map[string]presetText `mapsep:"none" placeholder:"NAME=JSON" help:"A room that others are made after, by {\"preset\":\"NAME\"}; default is for all that name none, those too that a first join makes. In the file: preset, with a mapping for each name."`
	MaxAge  age                   `name:"recordings-max-age" default:"0" placeholder:"TIME" help:"Delete recordings when they are so old, as 30d or 12h (0: never)."`
	Bytes   byteSize              `name:"recordings-max-bytes" default:"0" placeholder:"SIZE" help:"How much all recordings may have together, as 500GB (0: as much as the disk has)."`
	Count   int                   `name:"recordings-max-count" default:"0" placeholder:"N" help:"How many recordings are kept (0: any number)."`
	Replace bool                  `name:"recordings-replace" help:"Beyond these two delete the oldest recordings. Without, what is being recorded ends, and nothing new begins."`
	Reserve byteSize              `name:"disk-reserve" default:"1GiB" placeholder:"SIZE" help:"What recordings leave free of the disk (${default}). They end properly before they would take it, and it is told before that."`
}

// limits are those flags for the store.
func (f *lastingFlags) limits() record.Limits {
	return record.Limits{MaxAge: time.Duration(f.MaxAge), MaxBytes: int64(f.Bytes), MaxCount: f.Count, Replace: f.Replace, Reserve: int64(f.Reserve)}
}

// presets are those flags for the API, which judges them.
func (f *lastingFlags) presets() map[string]json.RawMessage {
	all := make(map[string]json.RawMessage, len(f.Preset))
	for name, text := range f.Preset {
		all[name] = json.RawMessage(text)
	}
	return all
}

// validate is serveCmd.Validate's part of these.
func (f *lastingFlags) validate() error {
	if f.Count < 0 {
		return fmt.Errorf("--recordings-max-count %d: want 1 or more, or 0 for any number", f.Count)
	}
	if f.Replace && f.Bytes == 0 && f.Count == 0 {
		return errors.New("--recordings-replace is of no use without --recordings-max-bytes or --recordings-max-count")
	}
	if err := api.CheckPresets(f.presets()); err != nil {
		return fmt.Errorf("--preset: %w", err)
	}
	return nil
}

// reloadLasting has SIGHUP change all of these.
func (a *App) reloadLasting() {
	a.onReload(func(c *serveCmd) error {
		if err := a.server.SetPresets(c.Lasting.presets()); err != nil {
			return fmt.Errorf("--preset: %w", err)
		}
		return nil
	}, "preset")
	a.onReload(func(c *serveCmd) error { return a.store.SetLimits(c.Lasting.limits()) },
		"recordings-max-age", "recordings-max-bytes", "recordings-max-count", "recordings-replace", "disk-reserve")
}

// presetText is a room as JSON.
type presetText string

// UnmarshalJSON takes a mapping of the configuration file.
func (p *presetText) UnmarshalJSON(text []byte) error {
	*p = presetText(text)
	return nil
}

// byteSize is a number of bytes; text has a unit, as 500GB or 1.5GiB.
type byteSize int64

var byteUnits = []struct {
	name  string
	bytes float64
}{ // the longer ones first: all end in B
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *byteSize) UnmarshalText(text []byte) error {
	number, unit := string(text), 1.0
	for _, u := range byteUnits {
		if n, is := strings.CutSuffix(number, u.name); is {
			number, unit = strings.TrimSpace(n), u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n >= 0 && n*unit < math.MaxInt64) {
		return fmt.Errorf("%q: want a size, as 500GB, 1.5GiB or 0", text)
	}
	*b = byteSize(n * unit)
	return nil
}

// age is a time for which something is kept; text may count days, as 30d.
type age time.Duration

// maxAge is a hundred years.
const maxAge = 36500 * 24 * time.Hour

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *age) UnmarshalText(text []byte) error {
	bad := fmt.Errorf("%q: want a time, as 30d, 12h or 0", text)
	if days, is := strings.CutSuffix(string(text), "d"); is {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || !(n >= 0 && n <= maxAge.Hours()/24) {
			return bad
		}
		*a = age(n * 24 * float64(time.Hour))
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 0 || d > maxAge {
		return bad
	}
	*a = age(d)
	return nil
}

// storageCollector exposes how much room there is for recordings.
type storageCollector struct{ store *record.Store }

var (
	storageLevel      = desc("storage_level", "Room for recordings: 0 enough, 1 little, 2 none.")
	storageFree       = desc("storage_free_bytes", "What the disk of the recordings has left.")
	storageReserve    = desc("storage_reserve_bytes", "What of it recordings leave free.")
	recordingsKept    = desc("recordings_kept", "Recordings that there are, those in progress included.")
	recordingsBytes   = desc("recordings_bytes", "What they have together.")
	recordingsMax     = desc("recordings_max_bytes", "What they may have together; 0 is no bound.")
	recordingsDeleted = desc("recordings_deleted_total", "Recordings that the server has deleted by itself, for their age or for the room they took.", "reason")
	recordingsEnded   = desc("recordings_ended_for_storage_total", "Recordings that were ended because there was no room left.")
)

// Describe implements prometheus.Collector.
func (c storageCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c storageCollector) Collect(ch chan<- prometheus.Metric) {
	st := c.store.Storage()
	gauge := func(d *prometheus.Desc, v int64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge(storageLevel, int64(st.Level))
	if st.Free >= 0 {
		gauge(storageFree, st.Free)
	}
	gauge(storageReserve, st.Reserve)
	gauge(recordingsKept, int64(st.Count))
	gauge(recordingsBytes, st.Bytes)
	gauge(recordingsMax, st.MaxBytes)
	counter(recordingsDeleted, st.DeletedForAge, "age")
	counter(recordingsDeleted, st.DeletedForRoom, "room")
	counter(recordingsEnded, st.Ended)
}
