package bench

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"mixdown/codec"
)

// A talker has a second tone, the probe, that tells whether he hears himself while
// all others talk as well. It lies above the voices, where eight of them leave
// twenty decibels less of coding noise than among them, and it sounds in turns, since
// what tones need most room for in a codec is other tones: while one of them
// sounds, its sender is sent a mix without any.
const (
	maxProbes  = 16 // so many talkers have one: of more than eight not all are heard anyway
	probeCycle = 5 * time.Second
	// probeLevel is its amplitude, of full scale, among many; among fewer there is less
	// noise, and probeShare for each of them is enough. Of two it must not be louder:
	// rooms correct who is too loud, where otherwise two are sent each other's packets.
	probeLevel, probeShare = 0.35, 0.04
	// probeGuard is left free on both sides of a turn: loops are started at one
	// instant, but packets are 20 ms, and a playout's delay changes.
	probeGuard = 30 * time.Millisecond
	probeRamp  = 30 * time.Millisecond
)

// probe is when in each cycle somebody's tone sounds, in samples, at which frequency
// and how loud.
type probe struct {
	hz, level float64
	from, to  int
}

// probeOf returns the i-th talker's; ok is false when he has none.
func probeOf(i, talkers int) (p probe, ok bool) {
	n := min(talkers, maxProbes)
	if i >= n || n < 2 {
		return p, false
	}
	slot, guard := samplesOf(probeCycle)/n, samplesOf(probeGuard)
	// 3.7 to 4.8 kHz, 70 Hz apart, but not evenly; whole cycles in a loop.
	f := 3700 + 70*(float64((5*i)%maxProbes)+0.5*rand.New(rand.NewPCG(uint64(i), 0x70726f6265)).Float64())
	return probe{
		hz: math.Round(f*soundSeconds) / soundSeconds, level: min(probeLevel, float64(n)*probeShare),
		from: i*slot + guard, to: (i+1)*slot - guard,
	}, true
}

// duty is the share of time that it sounds.
func (p probe) duty() float64 { return float64(p.to-p.from) / float64(samplesOf(probeCycle)) }

// add sounds it in a loop of which pcm begins at sample from.
func (p probe) add(pcm []int16, from int) {
	ramp := float64(samplesOf(probeRamp))
	for i := range pcm {
		at := (from + i) % samplesOf(probeCycle)
		if at < p.from || at >= p.to {
			continue
		}
		edge := min(float64(min(at-p.from, p.to-at))/ramp, 1)
		level := 32767 * p.level * (0.5 - 0.5*math.Cos(math.Pi*edge))
		v := float64(pcm[i]) + level*math.Sin(2*math.Pi*math.Mod(p.hz*float64(from+i)/codec.SampleRate, 1))
		pcm[i] = int16(min(max(math.Round(v), -32768), 32767))
	}
}

// ownVoice is how much of himself a talker hears while others talk, all in dB.
type ownVoice struct {
	// heard is false for who was not in the mix, or too seldom to be measured:
	// there are no figures then.
	heard bool
	// belowDB is how far his probe lies below what somebody else hears of it;
	// floorDB what would be read there of a probe that is not heard at all.
	belowDB, floorDB float64
	// lossDB is what the coder swallows of so soft a sound, which both make up for.
	lossDB float64
}

// probe returns the member's; ok is false when he has none.
func (m *member) probe(talkers int) (p probe, ok bool) {
	if m.role != participant {
		return p, false
	}
	return probeOf(m.index, talkers)
}

// talkInTurns starts the loops of all who talk at one instant, so that their
// probes take turns.
func (c *cast) talkInTurns() {
	at := codec.Now() + 100*time.Millisecond
	for _, m := range c.participants() {
		if m.talks {
			m.audio.exchange(m.audio.playing(), at)
		}
	}
}

// judgeOwnVoice fills in how much talkers hear of themselves.
func (r *Result) judgeOwnVoice(participants []*member, got map[*member]received) error {
	voices, err := ownVoices(participants, r.Talkers, got)
	r.sumUpVoices(voices)
	return err
}

func (r *Result) sumUpVoices(voices []ownVoice) {
	var below, floor []float64
	for _, v := range voices {
		if v.heard {
			below, floor = append(below, v.belowDB), append(floor, v.floorDB)
		}
	}
	r.OwnVoiceBelowDB, r.OwnVoiceFloorDB, r.OwnVoices = minMedian(below), minMedian(floor), len(below)
}

// ownVoices returns that of each who has a probe and heard something, those on good
// links first. It decodes, and takes a second of CPU for each of them and a minute,
// on all cores.
func ownVoices(participants []*member, talkers int, got map[*member]received) ([]ownVoice, error) {
	var healthy, poor []*member
	for _, m := range participants {
		if _, ok := m.probe(talkers); !ok || len(got[m].sound) == 0 {
			continue
		}
		if m.impaired {
			poor = append(poor, m)
		} else {
			healthy = append(healthy, m)
		}
	}
	// Who is on a good link hears most of what there is to compare with.
	hear := slices.Concat(healthy, poor)
	if len(hear) < 2 {
		return nil, nil
	}
	lines, voices := make([]*timeline, len(hear)), make([]ownVoice, len(hear))
	each := func(do func(i int, m *member) error) error {
		var g errgroup.Group
		g.SetLimit(runtime.NumCPU())
		for i, m := range hear {
			g.Go(func() error {
				if err := do(i, m); err != nil {
					return fmt.Errorf("%s: %w", m.name(), err)
				}
				return nil
			})
		}
		return g.Wait()
	}
	if err := each(func(i int, m *member) (err error) {
		if lines[i], err = newTimeline(got[m].sound); err == nil && loudness(lines[i].pcm) < unheard {
			err = errors.New("heard nobody, though others talked")
		}
		return err
	}); err != nil {
		return nil, err
	}
	return voices, each(func(i int, m *member) (err error) {
		other := lines[0]
		if i == 0 {
			other = lines[1]
		}
		p, _ := m.probe(talkers)
		voices[i], err = lockIn(lines[i].pcm, other.pcm, other.after(lines[i]), p)
		return err
	})
}
