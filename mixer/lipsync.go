package mixer

import (
	"sync"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
	"mixdown/mixer/audio"
)

// Lip sync: pictures wait for their sound, never the other way round.
//
// A picture is to be drawn on the canvas whose PTS is that of the sound that was
// taken with it. What is compared is distances between clocks, in the process's
// time: a picture with media time v is shown at v + shift, sound with media time
// a is pulled at a + audio.Timing.Played. What ties v to a is the sender's wall
// clock, by the sender reports of both streams (RFC 3550 section 6.4.1); without
// them, that both are taken to have been as long on their way.
//
// Both are stamped by the room's clock, by tick, in what clients and recordings
// get; so nothing later counts: how long a canvas takes to be drawn and coded
// changes when it arrives and not when it is shown, by anybody who goes by our
// sender reports. Who goes by arrival sees pictures later by that (5 to 15 ms),
// where people notice least.
const (
	// maxPictureDelay is what pictures wait at most: more is felt by whoever
	// is answered late, and fills the due queue.
	maxPictureDelay = 300 * time.Millisecond
	// syncSlew is how much the delay changes in a second: 2% faster or slower
	// is not seen.
	syncSlew = 20 * time.Millisecond
	// syncBand is what is not worth such a correction: nobody sees it, and it
	// keeps the wobble of reports away from the pictures. One that has begun goes
	// on to syncDone. Within the band the delay creeps, which takes the mean of
	// what wobbles: a picture that is to be shown at the tick next to its sound is
	// half a frame off already, and there is not much to spare.
	syncBand  = 15 * time.Millisecond
	syncDone  = time.Millisecond
	syncCreep = syncSlew / 10
	// reportsAgree is by how much reports may differ; worse ones are believed
	// after reportsDoubt, in which the slowest senders have sent two: it was no
	// lie then, but a clock that was set. Until it is known nothing moves.
	reportsAgree = 60 * time.Millisecond
	reportsDoubt = 12 * time.Second
	// reportsApart is how different the ways of a sender's sound and pictures
	// can be; reports that claim more are wrong.
	reportsApart = 500 * time.Millisecond
	// soundGone is after how long without packets pictures no longer wait for
	// sound; DTX encoders send one every 400 ms.
	soundGone = 5 * time.Second
	// soundLag is how much later sound is than its samples' place: a decoder
	// gives out what an encoder took in 6.5 ms before, which counts for the
	// sender's codec and for ours, and the limiter looks ahead.
	soundLag = 2*6500*time.Microsecond + audio.LimiterDelay*time.Second/codec.SampleRate
	// suppressorLag is what taking noise out costs.
	suppressorLag = 10 * time.Millisecond
)

// lipSync decides how long one sender's pictures wait. The zero value waits for
// nothing until it knows more. Safe for concurrent use; it does not block, and
// knows no clock.
type lipSync struct {
	mu       sync.Mutex
	begin    codec.NTPTime // all of the sender's wall clock is relative to it
	sound    wallClock
	soundAt  time.Duration // last packet
	lag      time.Duration // of the sound, besides soundLag
	pictures [codec.NumSources]pictureSync
	stats    SyncStats
}

// SyncStats counts frames that have sound to go with them.
type SyncStats struct {
	// Waited is how long frames were to wait for their sound.
	Waited worker.Histogram
	// Apart is how far from its sound each was believed to be shown all the
	// same, before or after.
	Apart worker.Histogram
}

// pictureSync is that of one of the sender's pictures.
type pictureSync struct {
	clock wallClock
	epoch uint64        // of the picture's transit
	shift time.Duration // from media time to when it is shown, on the process's clock
	last  time.Duration // when shift was last looked at
	basis syncBasis
	// moving says that a correction is under way.
	moving bool
	state  SyncState
}

// syncBasis is by what a picture's delay was found; more is better.
type syncBasis uint8

const (
	byNothing syncBasis = iota // there is no sound
	byTransit                  // sound and picture are taken to be as fast
	byReports                  // the sender has told
)

// SyncState says how one picture is held back for lip sync.
type SyncState struct {
	// Delay is how long pictures wait, besides what decoding and ticks take.
	Delay time.Duration
	// Skew is how much later than its sound the picture is believed to be
	// shown; negative is earlier. What the delay could make up for is not in it.
	Skew time.Duration
	// Known says that there is sound to go with the pictures; Skew else means
	// nothing. Reported says that the sender's reports tell what belongs
	// together, which else is guessed.
	Known, Reported bool
}

// mediaTime is what is read of a frame: it outlives the frame.
type mediaTime struct {
	stream  codec.StreamID
	pts     time.Duration
	capture codec.NTPTime
}

func mediaTimeOf(f *codec.EncodedFrame) mediaTime { return mediaTime{f.Stream, f.PTS, f.Capture} }

// heard takes a packet of sound that came at now.
func (l *lipSync) heard(f *codec.EncodedFrame, now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.soundAt = now
	if !f.Redundant {
		l.read(&l.sound, mediaTimeOf(f), now)
	}
}

// read takes what the sender's reports say. The caller holds mu.
func (l *lipSync) read(c *wallClock, t mediaTime, now time.Duration) {
	if c.stream != t.stream {
		*c = wallClock{stream: t.stream}
	}
	if t.capture == 0 {
		*c = wallClock{stream: t.stream}
		return
	}
	if l.begin == 0 {
		l.begin = t.capture
	}
	c.take(t.capture.Sub(l.begin)-t.pts, now)
}

// suppressed tells whether noise is taken out of the sound.
func (l *lipSync) suppressed(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lag = 0; on {
		l.lag = suppressorLag
	}
}

// pictureSeen is one frame as it came.
type pictureSeen struct {
	mediaTime
	// fastest and epoch are [video.Source.Transit] with this frame in it.
	fastest time.Duration
	epoch   uint64
	// played is when the sound is.
	played audio.Timing
	// frame is the canvas's frame interval: half of that a picture waits for a
	// tick, on average.
	frame time.Duration
}

// seen takes a frame of picture id that came at now. It returns how long the
// picture's frames are to wait after their capture.
func (l *lipSync) seen(id codec.SourceID, f pictureSeen, now time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.pictures[id]
	if p.epoch != f.epoch {
		// Its clock has jumped, and the shift with it.
		*p = pictureSync{epoch: f.epoch, shift: f.fastest, last: now}
	}
	l.read(&p.clock, f.mediaTime, now)
	wanted, basis := l.wanted(p, &f, now)
	aim := min(max(wanted, f.fastest), f.fastest+maxPictureDelay)
	switch elapsed := min(max(now-p.last, 0), time.Second); {
	case basis > p.basis:
		// More is known than ever before: at the beginning, once each.
		p.shift, p.basis, p.moving = aim, basis, false
	case p.clock.doubted || l.sound.doubted:
		// What was right goes on to be.
	default:
		p.slew(aim, elapsed)
	}
	p.last = now
	p.shift = min(max(p.shift, f.fastest), f.fastest+maxPictureDelay)
	p.state = SyncState{Delay: p.shift - f.fastest, Known: basis != byNothing, Reported: basis == byReports}
	if p.state.Known {
		p.state.Skew = p.shift - wanted
		l.stats.Waited.Observe(p.state.Delay)
		l.stats.Apart.Observe(p.state.Skew.Abs())
	}
	return p.state.Delay
}

// wanted returns the shift at which a picture is shown with its sound. The
// caller holds mu.
func (l *lipSync) wanted(p *pictureSync, f *pictureSeen, now time.Duration) (time.Duration, syncBasis) {
	played := f.played
	if played.Stream == 0 || played.Stream != l.sound.stream || now-l.soundAt > soundGone {
		return f.fastest, byNothing
	}
	rest := soundLag + l.lag - f.frame/2
	if p.clock.told && l.sound.told {
		ahead := p.clock.offset - l.sound.offset // of the picture's media time to the sound's, at the same instant
		if apart := f.fastest - (played.Fastest + ahead); apart < reportsApart && apart > -reportsApart {
			return played.Played + ahead + rest, byReports
		}
	}
	return f.fastest + played.Played - played.Fastest + rest, byTransit
}

// slew moves the shift towards aim, by as much as that time allows.
func (p *pictureSync) slew(aim, elapsed time.Duration) {
	d := aim - p.shift
	p.moving = d.Abs() > syncBand || p.moving && d.Abs() > syncDone
	speed := syncCreep
	if p.moving {
		speed = syncSlew
	}
	step := time.Duration(float64(speed) * elapsed.Seconds())
	p.shift += min(max(d, -step), step)
}

// stateOf returns what is done about one picture.
func (l *lipSync) stateOf(id codec.SourceID) SyncState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pictures[id].state
}

// counted returns the counters.
func (l *lipSync) counted() SyncStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// wallClock is how a sender's wall clock stands to one stream's media time, by
// its sender reports.
type wallClock struct {
	stream codec.StreamID
	offset time.Duration // wall clock less media time, as it is believed
	told   bool          // offset is
	// doubt is what was told last and is not believed yet, steadySince when it
	// first was, doubtedSince when the first such thing was.
	doubt                     time.Duration
	steadySince, doubtedSince time.Duration
	doubted                   bool // there is a doubt, and offset is still held
	liar                      bool // nothing is believed until it is steady
}

// take takes the offset that a frame carries, by the latest report before it.
// One report that is off (a lie, a clock that was just being set) changes
// nothing; when those that follow agree with it, it is the truth. Who never
// agrees with himself is not believed.
func (c *wallClock) take(offset, now time.Duration) {
	switch near := func(to time.Duration) bool { return (offset - to).Abs() <= reportsAgree }; {
	case !c.told && !c.liar, c.told && near(c.offset):
		c.offset, c.told, c.doubted = offset, true, false
		return
	case c.doubted && !near(c.doubt), c.liar && !near(c.doubt):
		c.steadySince = now
	case !c.doubted && !c.liar:
		c.steadySince, c.doubtedSince, c.doubted = now, now, true
	case now-c.steadySince >= reportsDoubt:
		c.offset, c.told, c.doubted, c.liar = offset, true, false, false
	}
	c.doubt = offset
	if c.doubted && now-c.doubtedSince > 3*reportsDoubt {
		c.told, c.doubted, c.liar = false, false, true
	}
}
