package bench

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/pion/webrtc/v4"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/cmd/mixdown/internal/tone"
	"mixdown/codec"
	"mixdown/codec/opus"
	"mixdown/transport/transporttest"
)

// Clips that fetch-clips.sh makes; with more participants they repeat.
const clipCount = 16

// soundSeconds is the length of a participant's loop of sound.
const soundSeconds = 30

// toneOf returns the i-th participant's tone in Hz: a whole number of cycles in
// a loop, so that it has no seam, and anywhere in the telephone band. Order
// would do harm: coding noise is full of sums and differences of the tones, and
// with even spacing (or the golden ratio's) they fall exactly on others.
func toneOf(i int) float64 {
	f := rand.New(rand.NewPCG(uint64(i), 0x746f6e65)).Float64()
	return math.Round((300+2700*f)*soundSeconds) / soundSeconds
}

// member is one participant of the benchmark.
type member struct {
	index    int
	talks    bool
	impaired bool
	video    *clip.Clip
	audio    *clip.Clip
	client   *client.Client
	link     *transporttest.PacketConn // nil when not impaired
	result   chan error                // of client.Run

	// heard is the packets of the last tail of the run, in order of arrival;
	// only the client touches it until Run has returned.
	heard []heardPacket
	keep  func() bool // whether to keep what comes now
}

type heardPacket struct {
	seq  int64
	data []byte
}

// prepare loads and makes what everybody sends. It takes some seconds of CPU.
func prepare(cfg Config) ([]*member, error) {
	members := make([]*member, cfg.Participants)
	for i := range members {
		m := &member{index: i, talks: i < cfg.Talkers, impaired: i >= cfg.Participants-cfg.ImpairCount && !cfg.Impair.Zero(), result: make(chan error, 1)}
		n := i%clipCount + 1
		var err error
		if m.video, err = clip.Load(filepath.Join(cfg.Clips, fmt.Sprintf("video-%02d.ivf", n))); err != nil {
			return nil, fmt.Errorf("%w (make clips fetches them)", err)
		}
		// Nobody is perfectly silent: a quiet room is sent, not nothing.
		spec := tone.Spec{Noise: 0.0003, Duration: soundSeconds * time.Second}
		if m.talks {
			speech, err := clip.Load(filepath.Join(cfg.Clips, fmt.Sprintf("speech-%02d.ogg", n)))
			if err != nil {
				return nil, fmt.Errorf("%w (make clips fetches them)", err)
			}
			spec.Hz, spec.Level, spec.Speech, spec.SpeechGain = toneOf(i), toneLevel, speech, 0.5
		}
		if m.audio, err = tone.Make(spec); err != nil {
			return nil, err
		}
		members[i] = m
	}
	return members, nil
}

// toneLevel is a tone's amplitude: loud enough to stand 60 dB above the coding
// noise in the sum of eight, soft enough that the sum does not clip.
const toneLevel = 0.1

// join starts one member's client.
func (m *member) join(ctx context.Context, url string, cert *webrtc.Certificate, cfg Config) error {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if m.impaired {
		m.link = transporttest.WrapPacketConn(conn, cfg.Impair, cfg.Impair, uint64(m.index)+1)
		conn = m.link
	}
	m.client, err = client.New(client.Config{
		URL: url, Name: fmt.Sprintf("Bench %d", m.index+1), Conn: conn, Certificate: cert,
		Video: client.Loop(m.video), Audio: client.Loop(m.audio),
		OnAudio: func(p client.Packet) {
			if m.keep() {
				m.heard = append(m.heard, heardPacket{p.Seq, slices.Clone(p.Data)})
			}
		},
	})
	if err != nil {
		return err
	}
	go func() { m.result <- m.client.Run(ctx) }() // waited for by leave
	return nil
}

// connected waits until media has come.
func (m *member) connected(ctx context.Context, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s := m.client.Stats()
		if s.AudioReceived.Packets > 0 && s.VideoReceived.Frames > 0 {
			return nil
		}
		select {
		case err := <-m.result:
			m.result <- err
			return fmt.Errorf("participant %d left: %w", m.index+1, err)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("participant %d: %d packets of sound, %d pictures after %v: want some of both",
				m.index+1, s.AudioReceived.Packets, s.VideoReceived.Frames, timeout)
		}
	}
}

// ownTone is how much of himself a talker hears.
type ownTone struct {
	// belowDB is how far his own tone lies below the median of the others'
	// that are heard, aboveNoiseDB how far above the coding noise beside it:
	// where that is nothing, belowDB is limited by Opus, not by the mix.
	belowDB, aboveNoiseDB float64
}

// judge decodes what the member heard. ok is false when there is nothing to
// compare.
func (m *member) judge(talkers int) (o ownTone, ok bool, err error) {
	if !m.talks || talkers < 2 || len(m.heard) < 100 {
		return o, false, nil
	}
	pcm, err := m.decode()
	if err != nil {
		return o, false, err
	}
	own := toneOf(m.index)
	hz := []float64{own}
	for i := range talkers {
		if i != m.index {
			hz = append(hz, toneOf(i))
		}
	}
	levels := tone.LevelsDB(pcm, hz)
	others := slices.DeleteFunc(slices.Clone(levels[1:]), func(l float64) bool { return l < unheardDB })
	if len(others) == 0 {
		return o, true, fmt.Errorf("participant %d heard none of the others' tones", m.index+1)
	}
	slices.Sort(others)
	return ownTone{others[len(others)/2] - levels[0], levels[0] - tone.NoiseDB(pcm, own)}, true, nil
}

// decode turns what was heard into sound; what was lost is concealed.
func (m *member) decode() (pcm []int16, err error) {
	slices.SortFunc(m.heard, func(a, b heardPacket) int { return int(a.seq - b.seq) })
	dec, err := opus.NewDecoder()
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	var buf [codec.MaxPacketSamples]int16
	last := m.heard[0].seq - 1
	for _, p := range m.heard {
		for ; last+1 < p.seq && p.seq-last < 50; last++ {
			if err := dec.Conceal(buf[:codec.FrameSamples]); err != nil {
				return nil, err
			}
			pcm = append(pcm, buf[:codec.FrameSamples]...)
		}
		last = p.seq
		n, err := dec.Decode(p.data, buf[:])
		if err != nil {
			return nil, fmt.Errorf("participant %d received what is no Opus: %w", m.index+1, err)
		}
		pcm = append(pcm, buf[:n]...)
	}
	return pcm, nil
}

// unheardDB is the level below which a tone was not in the mix at all: only so
// many are at one time.
const unheardDB = -50
