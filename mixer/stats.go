package mixer

import (
	"mixdown/codec"
	"mixdown/codec/worker"
	"mixdown/mixer/audio"
	"mixdown/mixer/video"
)

// Stats is what all rooms did since the process began, those that have ended
// included: every counter only grows.
type Stats struct {
	// Rooms, Participants and Recordings are how many there are now.
	Rooms, Participants, Recordings int
	// AudioClock and VideoClock say how punctual the ticks were.
	AudioClock, VideoClock ClockStats
	// ComposeSkipped is video ticks that found the last canvas unfinished.
	ComposeSkipped uint64
	// Canvas counts what was drawn, Composing how long each canvas took.
	Canvas    video.CompositorStats
	Composing worker.Histogram
	// Mix counts ticks and encodes of sound, Sound what came in.
	Mix   audio.MixStats
	Sound audio.PlayoutStats
	// Sources counts decoded pictures.
	Sources video.SourceStats
	// Sync is how long pictures wait for their sound.
	Sync SyncStats
	// Renditions counts encoded pictures, by tier and codec.
	Renditions map[RenditionKind]video.RenditionStats
	// Adapt counts how often clients were sent another tier.
	Adapt AdaptStats
	// Outlets counts what those take who watch by plain HTTP.
	Outlets OutletStats
	// CPU is the processor time of all of this.
	CPU CPUTime
}

// RenditionKind is what renditions are told apart by.
type RenditionKind struct {
	Tier  video.Tier
	Codec codec.Codec
}

// add counts o in; what are states of one moment and not counters are left out.
func (s *Stats) add(o Stats) {
	s.AudioClock.add(o.AudioClock)
	s.VideoClock.add(o.VideoClock)
	s.ComposeSkipped += o.ComposeSkipped

	s.Canvas.Drawn += o.Canvas.Drawn
	s.Canvas.Unchanged += o.Canvas.Unchanged
	s.Canvas.Tiles += o.Canvas.Tiles
	s.Canvas.Scaled += o.Canvas.Scaled
	s.Canvas.Busy += o.Canvas.Busy
	s.Canvas.NoMemory += o.Canvas.NoMemory
	s.Canvas.Time += o.Canvas.Time
	s.Composing = s.Composing.Add(o.Composing)
	s.Adapt.add(o.Adapt)
	s.Outlets.add(o.Outlets)
	s.CPU.add(o.CPU)

	s.Mix.Ticks += o.Mix.Ticks
	s.Mix.Encodes += o.Mix.Encodes
	s.Mix.SharedEncodes += o.Mix.SharedEncodes
	s.Mix.Decoded += o.Mix.Decoded
	s.Mix.Silent += o.Mix.Silent
	s.Mix.Skipped += o.Mix.Skipped
	s.Mix.Checked += o.Mix.Checked
	s.Mix.Distrusted += o.Mix.Distrusted
	s.Mix.ClassChanges += o.Mix.ClassChanges
	s.Mix.Relayed += o.Mix.Relayed
	s.Mix.ToRelay += o.Mix.ToRelay
	s.Mix.FromRelay += o.Mix.FromRelay
	s.Mix.EchoHeld += o.Mix.EchoHeld
	s.Mix.ToPersonal += o.Mix.ToPersonal
	s.Mix.ToShared += o.Mix.ToShared
	s.Mix.Crowded += o.Mix.Crowded
	s.Mix.EncodeErrors += o.Mix.EncodeErrors

	addSound(&s.Sound, o.Sound)
	addSource(&s.Sources, o.Sources)
	s.Sync.Waited = s.Sync.Waited.Add(o.Sync.Waited)
	s.Sync.Apart = s.Sync.Apart.Add(o.Sync.Apart)
	for kind, r := range o.Renditions {
		if s.Renditions == nil {
			s.Renditions = make(map[RenditionKind]video.RenditionStats)
		}
		sum := s.Renditions[kind]
		addRendition(&sum, r)
		s.Renditions[kind] = sum
	}
}

func (s *ClockStats) add(o ClockStats) {
	s.Ticks += o.Ticks
	s.Skipped += o.Skipped
	s.Lateness = s.Lateness.Add(o.Lateness)
	s.Took = s.Took.Add(o.Took)
}

func addSound(s *audio.PlayoutStats, o audio.PlayoutStats) {
	s.Packets += o.Packets
	s.Overflowed += o.Overflowed
	s.Duplicate += o.Duplicate
	s.Late += o.Late
	s.Corrupt += o.Corrupt
	s.Skipped += o.Skipped
	s.Undecoded += o.Undecoded
	s.Redundant += o.Redundant
	s.Splices += o.Splices
	s.Lost += o.Lost
	s.Recovered += o.Recovered
	s.Underruns += o.Underruns
	s.Restarts += o.Restarts
	s.Stretched += o.Stretched
	s.Squeezed += o.Squeezed
}

func addSource(s *video.SourceStats, o video.SourceStats) {
	s.Received += o.Received
	s.Decoded += o.Decoded
	s.DecodedPixels += o.DecodedPixels
	s.Pictures += o.Pictures
	s.Overflow += o.Overflow
	s.AwaitingKey += o.AwaitingKey
	s.Hidden += o.Hidden
	s.TooLarge += o.TooLarge
	s.SizeChanges += o.SizeChanges
	s.TooManyPixels += o.TooManyPixels
	s.Corrupt += o.Corrupt
	s.Unscaled += o.Unscaled
	s.Superseded += o.Superseded
	s.NoMemory += o.NoMemory
	s.KeyframeRequests += o.KeyframeRequests
	s.DecodeTime += o.DecodeTime
	s.DecodeTimes = s.DecodeTimes.Add(o.DecodeTimes)
	s.CPU += o.CPU
}

func addRendition(s *video.RenditionStats, o video.RenditionStats) {
	s.Written += o.Written
	s.Still += o.Still
	s.Passed += o.Passed
	s.PassedBytes += o.PassedBytes
	s.PassDropped += o.PassDropped
	s.Passing = s.Passing || o.Passing
	s.Skipped += o.Skipped
	s.Encoded += o.Encoded
	s.Keyframes += o.Keyframes
	for i := range s.KeyRequests {
		s.KeyRequests[i] += o.KeyRequests[i]
		s.KeyframesFor[i] += o.KeyframesFor[i]
	}
	s.RateDropped += o.RateDropped
	s.Errors += o.Errors
	s.NoMemory += o.NoMemory
	s.Bytes += o.Bytes
	s.EncodeTime += o.EncodeTime
	s.EncodeTimes = s.EncodeTimes.Add(o.EncodeTimes)
	s.CPU += o.CPU
	s.Subscribers += o.Subscribers
}

// stats counts what the program and its canvases did. The caller holds
// Room.past's lock.
func (g *program) stats(canvases []*canvas) Stats {
	g.mu.Lock()
	s := Stats{Mix: g.mu.mixed, CPU: CPUTime{Sound: g.soundTime()}}
	g.mu.Unlock()
	for _, c := range canvases {
		if !c.counted {
			s.add(c.stats())
		}
	}
	return s
}

// stats counts what came in through the source.
func (s *source) stats() Stats {
	stats := Stats{Sound: s.playout.Stats(), Sync: s.sync.counted()}
	for _, p := range s.pictures {
		addSource(&stats.Sources, p.Stats())
	}
	stats.CPU.Decode = stats.Sources.CPU
	return stats
}

// Stats returns what happened in the room since it began.
func (r *Room) Stats() Stats {
	sum := Stats{AudioClock: r.audioClock.read(), VideoClock: r.videoClock.read()}
	r.past.Lock()
	sum.add(r.past.stats)
	// Under the lock, so that who is leaving is counted exactly once.
	for _, v := range r.snap.Load().views {
		if !v.prog.counted {
			sum.add(v.prog.stats(v.canvases))
		}
	}
	for _, p := range *r.roster.Load() {
		if p.source != nil && !p.counted {
			sum.add(p.source.stats())
		}
	}
	r.past.Unlock()
	info := r.Info()
	sum.Outlets.add(r.outletCount.stats())
	sum.Rooms, sum.Participants, sum.Outlets.Open = 1, info.Participants, info.Viewers
	if info.Recording != "" {
		sum.Recordings = 1
	}
	return sum
}

// settle counts what a leaver sent into the room's past.
func (r *Room) settle(p *Participant) {
	r.past.Lock()
	defer r.past.Unlock()
	p.counted = true
	r.past.stats.add(p.source.stats())
}

// Stats returns what happened in the process. It takes microseconds per
// participant.
func (m *Manager) Stats() Stats {
	rooms, sum := m.listAndPast()
	for _, r := range rooms {
		s := r.Stats()
		sum.add(s)
		sum.Rooms++
		sum.Participants += s.Participants
		sum.Outlets.Open += s.Outlets.Open
		sum.Recordings += s.Recordings
	}
	return sum
}
