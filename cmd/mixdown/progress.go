package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"mixdown/cmd/mixdown/internal/client"
)

// progress shows on a terminal how a client fares.
type progress struct {
	bar *progressbar.ProgressBar // nil when nobody looks
}

func newProgress(w io.Writer, quiet bool, total time.Duration) *progress {
	p := &progress{}
	f, ok := w.(*os.File)
	if quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return p
	}
	length := int64(-1)
	if total > 0 {
		length = int64(total / time.Second)
	}
	p.bar = progressbar.NewOptions64(length, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription("joining"),
		progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(total == 0), progressbar.OptionClearOnFinish())
	return p
}

// run updates the terminal once a second until ended is closed. latest returns
// the client whose turn it is.
func (p *progress) run(ended <-chan struct{}, latest func() *client.Client) {
	if p.bar == nil {
		<-ended
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var of *client.Client
	var before client.Stats
	for {
		select {
		case <-ended:
			_ = p.bar.Finish() // a terminal that has gone is no fault
			return
		case <-tick.C:
		}
		c := latest()
		if c.Joined() == 0 {
			p.bar.Describe("joining")
			continue
		}
		if c != of {
			of, before = c, client.Stats{}
		}
		now := c.Stats()
		p.bar.Describe(fmt.Sprintf("%2d fps %dx%d, %2d audio/s", now.VideoReceived.Frames-before.VideoReceived.Frames,
			now.VideoReceived.Width, now.VideoReceived.Height, now.AudioReceived.Packets-before.AudioReceived.Packets))
		before = now
		_ = p.bar.Add(1)
	}
}

// summary tells what was sent and what came between joined and now.
func summary(w io.Writer, c *client.Client, joined, now time.Duration) {
	s := c.Stats()
	if joined == 0 {
		fmt.Fprintln(w, "not connected")
		return
	}
	seconds := (now - joined).Seconds()
	fmt.Fprintf(w, "connected  %.1f s\n", seconds)
	if n := s.VideoSent; n.Units > 0 {
		fmt.Fprintf(w, "sent       %d pictures (%d key frames) in %d packets, %s; %d sent again, %d key frames asked for\n",
			n.Units, n.Keyframes, n.Packets, rate(n.Bytes, seconds), n.Resent, n.KeyframeRequests)
	}
	if n := s.AudioSent; n.Units > 0 {
		fmt.Fprintf(w, "sent       %d packets of sound, %s\n", n.Packets, rate(n.Bytes, seconds))
	}
	if n := s.VideoReceived; n.Packets > 0 {
		gaps := c.PictureGaps(joined, now)
		fmt.Fprintf(w, "received   %d pictures (%d key frames) of %dx%d, %.1f fps, %s; longest pause %v\n",
			n.Frames, n.Keyframes, n.Width, n.Height, float64(n.Frames)/seconds, rate(n.Bytes, seconds), longest(gaps))
		fmt.Fprintf(w, "           %d packets missing, %d for good; %d pictures broken, %d useless without those, %d key frames asked for\n",
			n.Missing, n.Lost, n.Broken, n.Undecodable, n.PLIs)
	}
	if n := s.AudioReceived; n.Packets > 0 {
		gaps := c.AudioGaps(joined+n.First, now)
		fmt.Fprintf(w, "received   %d packets of sound, %.1f/s, %s; %d lost; gaps p99 %v, longest %v\n",
			n.Packets, float64(n.Packets)/seconds, rate(n.Bytes, seconds), n.Lost,
			client.Quantile(gaps, 0.99).Round(time.Millisecond), longest(gaps))
	}
}

func rate(bytes uint64, seconds float64) string {
	return fmt.Sprintf("%.0f kb/s", float64(bytes)*8/1000/seconds)
}

func longest(gaps []client.Gap) time.Duration {
	return client.Quantile(gaps, 1).Round(time.Millisecond)
}
