package bench

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"mixdown/codec"
	"mixdown/codec/opus"
)

// timeline is what one client heard, as sound on the line of RTP timestamps,
// with the instant at which each piece came.
type timeline struct {
	pcm    []int16
	pieces []piece // in order of at
}

// piece is one packet's sound.
type piece struct {
	at, samples int // in pcm
	arrival     time.Duration
	capture     codec.NTPTime
}

// maxHole bounds what is filled in where packets are missing: beyond, the line
// goes on as if nothing had been there.
const maxHole = 60 * codec.SampleRate

// newTimeline decodes packets. Lost ones are concealed, pauses of the sender
// (DTX) are silence.
func newTimeline(packets []heardPacket) (*timeline, error) {
	packets = slices.Clone(packets)
	slices.SortFunc(packets, func(a, b heardPacket) int { return int(a.seq - b.seq) })
	dec, err := opus.NewDecoder()
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	var (
		t    timeline
		buf  [codec.MaxPacketSamples]int16
		next time.Duration // where the packet before ends
	)
	for i, p := range packets {
		if i > 0 && p.seq == packets[i-1].seq {
			continue
		}
		if hole := samplesOf(p.pts - next); i > 0 && hole > 0 && hole <= maxHole {
			lost := 0
			if p.seq > packets[i-1].seq+1 {
				lost = min(hole, 5*codec.FrameSamples) / codec.FrameSamples * codec.FrameSamples
			}
			if lost > 0 {
				if err := dec.Conceal(buf[:lost]); err != nil {
					return nil, err
				}
				t.pcm = append(t.pcm, buf[:lost]...)
			}
			t.pcm = append(t.pcm, make([]int16, hole-lost)...)
		}
		n, err := dec.Decode(p.data, buf[:])
		if err != nil {
			return nil, fmt.Errorf("what came is no Opus: %w", err)
		}
		t.pieces = append(t.pieces, piece{len(t.pcm), n, p.arrival, p.capture})
		t.pcm = append(t.pcm, buf[:n]...)
		next = p.pts + time.Duration(n)*time.Second/codec.SampleRate
	}
	return &t, nil
}

func samplesOf(d time.Duration) int {
	return int((d*codec.SampleRate + time.Second/2) / time.Second)
}

func durationOf(samples int) time.Duration {
	return time.Duration(samples) * time.Second / codec.SampleRate
}

// between returns the sound that came in [from, to], and at which of t.pcm it
// begins.
func (t *timeline) between(from, to time.Duration) (pcm []int16, at int) {
	first, _ := slices.BinarySearchFunc(t.pieces, from, func(p piece, at time.Duration) int { return cmp.Compare(p.arrival, at) })
	last, _ := slices.BinarySearchFunc(t.pieces, to, func(p piece, at time.Duration) int { return cmp.Compare(p.arrival, at) })
	if first >= last {
		return nil, 0
	}
	end := t.pieces[last-1]
	at = t.pieces[first].at
	return t.pcm[at : end.at+end.samples], at
}

// after returns by how many samples t begins after u: by the server's own clock if
// its sender reports have told it, else by what came when. Neither may be empty.
func (t *timeline) after(u *timeline) int {
	a, b := t.pieces[len(t.pieces)/2], u.pieces[len(u.pieces)/2]
	d := a.arrival - b.arrival
	if a.capture != 0 && b.capture != 0 {
		d = a.capture.Sub(b.capture)
	}
	return samplesOf(d) - a.at + b.at
}

// pieceAt returns the packet that holds a sample; ok is false where there was
// none. What begins right after a pause may be found a little before its packet:
// a gate fades it in.
func (t *timeline) pieceAt(sample int) (p piece, ok bool) {
	i, found := slices.BinarySearchFunc(t.pieces, sample, func(p piece, at int) int { return cmp.Compare(p.at, at) })
	if !found {
		i--
	}
	if i >= 0 && sample < t.pieces[i].at+t.pieces[i].samples {
		return t.pieces[i], true
	}
	if i++; i < len(t.pieces) && t.pieces[i].at-sample < fadeSamples {
		return t.pieces[i], true
	}
	return piece{}, false
}

// fadeSamples is 10 ms.
const fadeSamples = codec.SampleRate / 100
