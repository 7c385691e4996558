package client

import (
	"math"
	"testing"
	"time"

	"mixdown/codec"
)

// TestPacerDrifts: over an hour of 20 ms packets the media clock is ahead of
// the clock by just what it was told.
func TestPacerDrifts(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, ppm := range []drift{0, 300, -300, 5000} {
		p := pacer{start: start, drift: ppm}
		now := start
		for range 3600 * 50 {
			now = now.Add(p.advance(20*time.Millisecond, now))
		}
		took := now.Sub(start)
		got := (float64(p.pts)/float64(took) - 1) * 1e6
		if p.pts != time.Hour || math.Abs(got-float64(ppm)) > 0.001 || p.skipped != 0 {
			t.Errorf("told %v ppm: an hour of media took %v, %.4f ppm, %v skipped", ppm, took, got, p.skipped)
		}
	}
}

// TestReportsDrift: two sender reports show a receiver the drift, whatever has
// been sent between them.
func TestReportsDrift(t *testing.T) {
	for _, ppm := range []drift{0, 300, -300} {
		tr := newTrack(sound, nil)
		tr.drift = ppm
		start := time.Unix(1000, 0)
		first := tr.mu.lastRTPTime
		report := func(media time.Duration, at time.Time) (codec.NTPTime, uint32) {
			tr.mu.lastRTPTime = first + uint32(media.Seconds()*codec.SampleRate)
			tr.mu.lastSent, tr.mu.stats.Packets = start.Add(ppm.clock(media)), 1
			sr := tr.report(at)
			return codec.NTPTime(sr.NTPTime), sr.RTPTime
		}
		ntp0, rtp0 := report(time.Second, start.Add(5*time.Second))
		ntp1, rtp1 := report(999*time.Second, start.Add(1005*time.Second))
		got := (float64(rtp1-rtp0)/codec.SampleRate/ntp1.Sub(ntp0).Seconds() - 1) * 1e6
		// A sample of rounding at each end is 0.04 ppm of 1000 s.
		if math.Abs(got-float64(ppm)) > 0.1 {
			t.Errorf("told %v ppm: the reports say %.3f", ppm, got)
		}
	}
}

func TestDriftThereAndBack(t *testing.T) {
	for _, ppm := range []drift{0, 300, -300, 99_999, -99_999} {
		if got := ppm.media(ppm.clock(time.Hour)) - time.Hour; got < -time.Microsecond || got > time.Microsecond {
			t.Errorf("%v ppm: there and back differ by %v in an hour", ppm, got)
		}
	}
	for _, ppm := range []float64{math.NaN(), 1e5, math.Inf(-1)} {
		if _, err := New(Config{URL: "http://h/r/x", DriftPPM: ppm}); err == nil {
			t.Errorf("a drift of %v ppm was taken", ppm)
		}
	}
}
