package main

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mixdown/codec/opus"
	"mixdown/codec/vp8"
	"mixdown/codec/worker"
)

// registerMetrics puts everything that is counted anywhere into the registry.
// Collectors read snapshots when they are asked, so counting costs nothing
// while nobody looks.
func (a *App) registerMetrics() error {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "mixdown_build_info",
		Help: "Always 1; the labels are the versions of the program and its codec libraries.",
	}, []string{"version", "go", "libvpx", "libopus"})
	info.WithLabelValues(Version(), runtime.Version(), vp8.Version(), opus.Version()).Set(1)
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		info,
		poolCollector{a.pool},
		roomsCollector{a.rooms},
	} {
		if err := a.registry.Register(c); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	return nil
}

// adminHandler serves metrics and profiles.
func (a *App) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}))
	// Profiles take as long as they are asked to.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// desc is short for a metric without variable labels.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("mixdown_"+name, help, labels, nil)
}

// poolCollector exposes the worker pool.
type poolCollector struct{ pool *worker.Pool }

var (
	poolWorkers    = desc("pool_workers", "Threads for video work.")
	poolNiced      = desc("pool_workers_niced", "Threads that could be given a low priority.")
	poolQueued     = desc("pool_queued_tasks", "Tasks that wait for a thread now.")
	poolRunning    = desc("pool_running_tasks", "Tasks that run now.")
	poolExecuted   = desc("pool_tasks_total", "Tasks that have run.")
	poolMerged     = desc("pool_tasks_merged_total", "Submissions of a task that was waiting already.")
	poolLate       = desc("pool_tasks_late_total", "Tasks that ended past their deadline.")
	poolBusy       = desc("pool_busy_seconds_total", "Time that all threads together spent in tasks.")
	poolQueueDelay = desc("pool_queue_delay_seconds", "Time from ready to running: the signal of overload.")
	poolLateness   = desc("pool_lateness_seconds", "How far past its deadline a task ended.")
)

// Describe implements prometheus.Collector.
func (c poolCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c poolCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.pool.Stats()
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	gauge(poolWorkers, float64(s.Workers))
	gauge(poolNiced, float64(s.Niced))
	gauge(poolQueued, float64(s.Queued))
	gauge(poolRunning, float64(s.Running))
	counter(poolExecuted, float64(s.Executed))
	counter(poolMerged, float64(s.Merged))
	counter(poolLate, float64(s.Late))
	counter(poolBusy, s.Busy.Seconds())
	histogram(ch, poolQueueDelay, &s.QueueDelay)
	histogram(ch, poolLateness, &s.Lateness)
}

// histogram exposes one of the project's histograms.
func histogram(ch chan<- prometheus.Metric, d *prometheus.Desc, h *worker.Histogram, labels ...string) {
	ch <- prometheus.MustNewConstHistogram(d, h.Count(), h.Sum().Seconds(), h.Buckets(), labels...)
}
