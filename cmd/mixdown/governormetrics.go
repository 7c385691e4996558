package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"mixdown/mixer"
)

// governorCollector exposes what keeps the process from doing more than it can.
type governorCollector struct{ governor *mixer.Governor }

var (
	governorLevel   = desc("governor_level", "How far what everybody is sent was lowered: 0 normal, 1 faster encoding, 2 half the rate, 3 no top tier, 4 and 5 fewer pictures.")
	governorCores   = desc("governor_cores", "Processor time that may be used; 0 is no governor.")
	governorBudget  = desc("governor_budget_cores", "Processor time that is believed to be there.")
	governorUsed    = desc("governor_used_cores", "Processor time that the process uses, over two seconds.")
	governorClaimed = desc("governor_claimed_cores", "Processor time of what was admitted in the last seconds.")
	governorLeft    = desc("governor_left_cores", "Processor time that may still be admitted.")
	governorClimbed = desc("governor_climbs_total", "Steps up of the level, by what was too much.", "reason")
	governorFell    = desc("governor_descents_total", "Steps down of the level.")
	admitted        = desc("admitted_total", "Joins, canvases and groups that were admitted.")
	refused         = desc("refused_total", "Those that were refused, for their price or because the level was raised.", "reason")
)

// Describe implements prometheus.Collector.
func (c governorCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c governorCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.governor.Stats()
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge(governorLevel, float64(s.Level))
	gauge(governorCores, s.Cores)
	gauge(governorBudget, s.Budget)
	gauge(governorUsed, s.Used)
	gauge(governorClaimed, s.Claimed)
	gauge(governorLeft, s.Left)
	for reason := mixer.StrainNone + 1; reason < mixer.NumStrains; reason++ {
		counter(governorClimbed, s.Climbed[reason], reason.String())
	}
	counter(governorFell, s.Descended)
	counter(admitted, s.Admitted)
	counter(refused, s.RefusedPrice, "price")
	counter(refused, s.RefusedLevel, "level")
}
