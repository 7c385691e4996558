package client

import (
	"slices"
	"time"

	"mixdown/codec"
)

// SentStats counts what a track sent since the start.
type SentStats struct {
	Units, Keyframes         uint64
	Packets, Bytes, Errors   uint64
	Resent, KeyframeRequests uint64
	// Silent are units of sound that were not sent: DTX.
	Silent uint64
	// Skipped is media time left out because this process could not run.
	Skipped time.Duration
	// Target is what the server asked for last; zero is nothing in particular.
	Target codec.UplinkTarget
	// Withheld are pictures that were not sent because nobody sees them.
	Withheld uint64
}

// ReceivedStats counts what came on one track since the start.
type ReceivedStats struct {
	Packets, Bytes uint64
	// Missing is sequence numbers that had not come when a later one did: what
	// the path lost or reordered, before retransmission. 0 for sound.
	Missing uint64
	// Lost is those that never came, or too late to be of use.
	Lost uint64
	// Reordered came late but before they were given up; Duplicates came twice.
	Reordered, Duplicates uint64
	// Probes are repairs of packets that had come already, and padding, by which
	// the server sees what the path carries.
	Probes uint64
	// Frames are whole pictures that a decoder could have shown; Keyframes
	// are among them. 0 for sound.
	Frames, Keyframes uint64
	// Broken are pictures that were given up; Undecodable came whole but
	// reference one of those.
	Broken, Undecodable uint64
	// PLIs is how often a key frame was asked for.
	PLIs uint64
	// Width and Height of the latest key frame.
	Width, Height int
	// Paused is media time that the sender left out without losing a packet:
	// DTX. 0 for pictures.
	Paused time.Duration
	// First is when the first whole picture, or the first packet of sound,
	// had come, from the moment the offer was posted; 0 is never.
	First time.Duration
}

// Stats is everything that a client counts.
type Stats struct {
	AudioSent, VideoSent         SentStats
	AudioReceived, VideoReceived ReceivedStats
}

// Arrivals records when something arrived, on the process's clock. It is
// bounded: beyond its capacity the oldest half is forgotten.
type Arrivals struct {
	at []arrival
}

type arrival struct {
	at time.Duration
	// paused is how much of the time since the arrival before was a pause that
	// the sender meant.
	paused time.Duration
}

const maxArrivals = 1 << 17 // 43 minutes of sound

func (a *Arrivals) add(now, paused time.Duration) {
	if len(a.at) >= maxArrivals {
		a.at = append(a.at[:0], a.at[maxArrivals/2:]...)
	}
	a.at = append(a.at, arrival{now, paused})
}

// Gap is one pause between two arrivals.
type Gap struct {
	// End is when the later one arrived, on the process's clock.
	End time.Duration
	// Length is the time since the one before, without what the sender left out
	// on purpose.
	Length time.Duration
}

// GapsBetween returns the pauses that ended in (from, to], the last of them
// the one that is open at to, unless the sender makes pauses: whether the last
// one is meant, only its end would tell.
func (a *Arrivals) GapsBetween(from, to time.Duration) []Gap {
	var gaps []Gap
	last := from
	pauses := false
	for _, t := range a.at {
		if t.at <= from {
			continue
		}
		if t.at > to {
			break
		}
		gaps = append(gaps, Gap{t.at, max(t.at-last-t.paused, 0)})
		last = t.at
		pauses = pauses || t.paused > 0
	}
	if pauses {
		return gaps
	}
	return append(gaps, Gap{to, to - last})
}

// Quantile returns the q-quantile of gaps' lengths, 0 for none.
func Quantile(gaps []Gap, q float64) time.Duration {
	if len(gaps) == 0 {
		return 0
	}
	lengths := make([]time.Duration, len(gaps))
	for i, g := range gaps {
		lengths[i] = g.Length
	}
	slices.Sort(lengths)
	return lengths[min(int(q*float64(len(lengths))), len(lengths)-1)]
}
