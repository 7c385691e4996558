package bench

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"mixdown/mixer/layout"
	"mixdown/transport/transporttest"
)

// Config says what room to measure. Participants, Duration, Clips and
// Executable (or URL and PID) are required.
type Config struct {
	// Participants join, of whom the first Talkers talk. The others send what a
	// silent client sends.
	Participants, Talkers int
	// Viewers join besides and only receive.
	Viewers int
	// AudioOnly leaves pictures out: nobody sends or gets any.
	AudioOnly bool
	// Video is what each participant sends. Defaults to 640x360@30, which is
	// what the clips are; others are made from them.
	Video layout.Canvas
	// Canvas is what the room composes. Defaults to 1280x720@30.
	Canvas layout.Canvas
	// Arrangement is how the room arranges it; nil is a grid. A room that was
	// named is left as it is.
	Arrangement *Arrangement
	// Uplink has senders do what the server asks for: a picture as large as its
	// tile, and none that nobody sees. Else they send Video all along.
	Uplink bool
	// Still has everybody send one picture over and over, in as many frames a
	// second as a moving one.
	Still bool
	// Climb is for how long is waited, when all have joined, until all who are not
	// on poor links are sent the largest tier: they begin on a smaller one. 0 does
	// not wait.
	Climb time.Duration
	// Duration is what is measured, after Warmup of the same.
	Duration, Warmup time.Duration
	// Latency is for how long the latency of sound is measured afterwards, in
	// the same room, in which nobody talks any more; 0 is not at all. The
	// latency of pictures is measured during Duration, unless this is 0.
	Latency time.Duration
	// SkewOnly leaves out, of what Latency is for, the twenty who sound markers
	// of their own: those whose pictures are numbered have their turn more often.
	// The floor is not measured either.
	SkewOnly bool
	// NoRecording has no recording made during Latency, in which the skew is
	// looked for as well.
	NoRecording bool
	// Requests are sent a second, by REST, during Duration.
	Requests int
	// Impair is what the last ImpairCount participants' links do, both ways.
	Impair      transporttest.Spec
	ImpairCount int
	// Seed picks the packets that those faults hit; the same seed, the same
	// fate of each link's n-th packet.
	Seed uint64
	// Clips is the directory that fetch-clips.sh fills.
	Clips string
	// Executable is run as the server, unless URL and PID name a running one.
	Executable string
	URL        string
	PID        int
	// AdminURL is where that one has its metrics, "http://HOST:PORT". Without it
	// Result.Server is nil.
	AdminURL string
	// noFloor leaves out what the codecs need by themselves.
	noFloor bool
	// Log gets the server's log and what happens; it may be io.Discard.
	Log io.Writer
}

// joinsLate says whether somebody joins in the middle whose skew is measured.
func (c Config) joinsLate() bool { return c.Latency > 0 && !c.AudioOnly }

// records says whether a recording is made: not in rooms of others.
func (c Config) records() bool { return c.joinsLate() && !c.NoRecording }

// Bounds of a Config.
const (
	maxClients  = 900 // of the 1000 that a room can hold, less those who join for the markers
	maxDuration = 24 * time.Hour
	maxRequests = 20_000
)

func (c Config) withDefaults() Config {
	c.Video.Width, c.Video.Height, c.Video.FPS = cmp.Or(c.Video.Width, 640), cmp.Or(c.Video.Height, 360), cmp.Or(c.Video.FPS, 30)
	c.Canvas.Width, c.Canvas.Height, c.Canvas.FPS = cmp.Or(c.Canvas.Width, 1280), cmp.Or(c.Canvas.Height, 720), cmp.Or(c.Canvas.FPS, 30)
	c.noFloor = c.noFloor || c.SkewOnly
	if c.Log == nil {
		c.Log = io.Discard
	}
	if _, ok := c.Log.(*sharedLog); !ok {
		c.Log = &sharedLog{w: c.Log}
	}
	return c
}

// Validate reports everything that is wrong with the numbers, by the names of
// the flags.
func (c *Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Participants < 1 || c.Participants > maxClients {
		fault("%d participants: want 1..%d", c.Participants, maxClients)
	} else if c.Talkers < 0 || c.Talkers > c.Participants {
		fault("%d talkers: want 0..%d", c.Talkers, c.Participants)
	}
	if c.Viewers < 0 || c.Viewers > maxClients || c.Participants+c.Viewers > maxClients {
		fault("%d viewers: want 0..%d, %d with the participants", c.Viewers, maxClients, maxClients)
	}
	if c.ImpairCount < 0 || c.ImpairCount > max(c.Participants, 0) {
		fault("%d impaired: want 0..%d", c.ImpairCount, c.Participants)
	}
	if c.Duration < time.Second || c.Duration > maxDuration {
		fault("duration %v: want 1s..%v", c.Duration, maxDuration)
	}
	if c.Warmup < 0 || c.Warmup > maxDuration {
		fault("warmup %v: want 0s..%v", c.Warmup, maxDuration)
	}
	if c.Climb < 0 || c.Climb > maxDuration {
		fault("climb %v: want 0s..%v", c.Climb, maxDuration)
	}
	if c.Latency != 0 && (c.Latency < 2*time.Second || c.Latency > maxDuration) {
		fault("latency %v: want 2s..%v, or 0s for none", c.Latency, maxDuration)
	}
	if c.SkewOnly && !c.joinsLate() {
		fault("skew only, and yet no latency or no picture: leave one of them out")
	}
	if c.Requests < 0 || c.Requests > maxRequests {
		fault("%d requests: want 0..%d", c.Requests, maxRequests)
	}
	d := c.withDefaults()
	if err := d.Canvas.Validate(); err != nil {
		fault("canvas %v: %w", c.Canvas, err)
	}
	if err := d.Video.Validate(); err != nil {
		fault("video %v: %w", c.Video, err)
	}
	if c.Still && (c.AudioOnly || c.Latency != 0) {
		fault("still pictures show no numbers, and without pictures there is nothing to be still: leave latency and audio only out")
	}
	if c.AudioOnly && c.Arrangement != nil {
		fault("audio only, and yet a layout is given: leave one of them out")
	}
	if c.AudioOnly && (c.Video != layout.Canvas{} || c.Canvas != layout.Canvas{}) {
		fault("audio only, and yet a video or canvas is given: leave one of them out")
	}
	if (c.URL == "") != (c.PID == 0) {
		fault("a running server needs both its URL and its process id")
	} else if _, err := urlsOf(c.URL); err != nil {
		faults = append(faults, err)
	}
	if c.AdminURL != "" && c.URL == "" {
		fault("an admin address, and yet no running server is given")
	} else if u, err := url.Parse(c.AdminURL); c.AdminURL != "" && (err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "") {
		fault("admin address %q: want http://HOST:PORT", c.AdminURL)
	}
	return errors.Join(faults...)
}
