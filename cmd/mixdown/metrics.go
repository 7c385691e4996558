package main

import (
	"fmt"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

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
	}, []string{"version", "go", "libvpx", "libopus", "openh264"})
	info.WithLabelValues(Version(), runtime.Version(), vp8.Version(), opus.Version(), a.h264.version()).Set(1)
	collected := []prometheus.Collector{
		// How long goroutines wait for a processor is what makes ticks late, and
		// collections are what stops all of them.
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler, collectors.MetricsGC)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		info,
		poolCollector{a.pool},
		roomsCollector{a.rooms},
		liveCollector{a.rooms},
		&costCollector{rooms: a.rooms},
		governorCollector{a.rooms.Governor()},
		storageCollector{a.store},
		transportCollector{a.engine},
		queueCollector{a},
		recorderCollector{a.flight},
	}
	if a.turn != nil {
		collected = append(collected, turnCollector{a.turn})
	}
	if a.tls != nil {
		collected = append(collected, tlsCollector{a.tls})
	}
	for _, c := range collected {
		if err := a.registry.Register(c); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	return nil
}

// desc names a metric of ours and says, by its labels, what varies.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("mixdown_"+name, help, labels, nil)
}

// metric reads one number out of a snapshot.
type metric[S any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*S) float64
}

// counter and gauge make metrics without labels. Numbers that count things are
// uint64 or int, times are seconds.
func counter[S any, N uint64 | float64](name, help string, read func(*S) N) metric[S] {
	return metric[S]{desc(name, help), prometheus.CounterValue, func(s *S) float64 { return float64(read(s)) }}
}

func gauge[S any](name, help string, read func(*S) int) metric[S] {
	return metric[S]{desc(name, help), prometheus.GaugeValue, func(s *S) float64 { return float64(read(s)) }}
}

// send puts the metrics of a snapshot on ch.
func send[S any](ch chan<- prometheus.Metric, metrics []metric[S], s *S) {
	for _, m := range metrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.read(s))
	}
}

// histogram exposes one of the project's histograms.
func histogram(ch chan<- prometheus.Metric, d *prometheus.Desc, h *worker.Histogram, labels ...string) {
	ch <- prometheus.MustNewConstHistogram(d, h.Count(), h.Sum().Seconds(), h.Buckets(), labels...)
}

// poolCollector exposes the worker pool.
type poolCollector struct{ pool *worker.Pool }

var poolMetrics = []metric[worker.Stats]{
	gauge("pool_workers", "Threads for video work.", func(s *worker.Stats) int { return s.Workers }),
	gauge("pool_workers_niced", "Threads that could be given a low priority.", func(s *worker.Stats) int { return s.Niced }),
	gauge("pool_queued_tasks", "Tasks that wait for a thread now.", func(s *worker.Stats) int { return s.Queued }),
	gauge("pool_running_tasks", "Tasks that run now.", func(s *worker.Stats) int { return s.Running }),
	counter("pool_tasks_total", "Tasks that have run.", func(s *worker.Stats) uint64 { return s.Executed }),
	counter("pool_tasks_merged_total", "Submissions of a task that was waiting already.", func(s *worker.Stats) uint64 { return s.Merged }),
	counter("pool_tasks_late_total", "Tasks that ended past their deadline.", func(s *worker.Stats) uint64 { return s.Late }),
	counter("pool_busy_seconds_total", "Seconds that all threads together spent in tasks.", func(s *worker.Stats) float64 { return s.Busy.Seconds() }),
	counter("pool_cpu_seconds_total", "Seconds of processor time in tasks; the rest of busy they stood aside for other threads.",
		func(s *worker.Stats) float64 { return s.CPU.Seconds() }),
}

var (
	poolQueueDelay = desc("pool_queue_delay_seconds", "Seconds from ready to running: the signal of overload.")
	poolLateness   = desc("pool_lateness_seconds", "Seconds past its deadline at which a task ended.")
)

// Describe implements prometheus.Collector.
func (c poolCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c poolCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.pool.Stats()
	send(ch, poolMetrics, &s)
	histogram(ch, poolQueueDelay, &s.QueueDelay)
	histogram(ch, poolLateness, &s.Lateness)
}
