package bench

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
	"mixdown/transport/transporttest"
)

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

// role is what somebody is in the room for.
type role uint8

const (
	participant role = iota
	viewer           // only receives
	beacon           // sends markers of sound while latency is measured
	late             // joins for that as well, as a participant with pictures
)

// member is one client of the benchmark.
type member struct {
	index    int // among those of its role
	role     role
	talks    bool
	impaired bool
	numbered bool // his pictures carry numbers
	reads    bool // what he gets is looked at for markers
	drift    float64
	audio    *sender // nil: sends none
	video    *sender
	beep     *beep // what he sounds in the latency phase; nil for none

	client *client.Client
	link   *transporttest.PacketConn // nil when not impaired
	result chan error                // of client.Run

	keepSound, keepPictures atomic.Bool
	mu                      sync.Mutex
	got                     received // what came while those were set; under mu
	// keepFirst is how many of the first pictures are kept in firsts, which is
	// under mu.
	keepFirst int
	firsts    []seenPicture
}

// received is what one client got, in order of arrival.
type received struct {
	sound    []heardPacket
	pictures []seenPicture
	bytes    int // of pictures
}

type heardPacket struct {
	seq          int64
	pts, arrival time.Duration
	capture      codec.NTPTime
	data         []byte
}

type seenPicture struct {
	arrival time.Duration
	capture codec.NTPTime
	data    []byte
	key     bool
}

// maxKeptBytes bounds the pictures that a client keeps: eight minutes. Later
// ones are not looked at.
const maxKeptBytes = 96 << 20

func (m *member) name() string {
	return [...]string{"Bench", "Viewer", "Beacon", "Late"}[m.role] + fmt.Sprintf(" %d", m.index+1)
}

// cast is everybody of a run.
type cast struct {
	members []*member // participants, then viewers
	beacons []*member
	late    []*member // who joins with them
	// What is sent by who says nothing, and by who is about to sound a marker.
	quiet, steady *clip.Clip
}

// participants are those who are not only there to watch.
func (c *cast) participants() []*member {
	for i, m := range c.members {
		if m.role != participant {
			return c.members[:i]
		}
	}
	return c.members
}

// everybody is also those who join for the markers.
func (c *cast) everybody() []*member { return slices.Concat(c.members, c.late, c.beacons) }

// readers are those who look for markers.
func (c *cast) readers() (r []*member) {
	for _, m := range slices.Concat(c.members, c.late) {
		if m.reads {
			r = append(r, m)
		}
	}
	return r
}

// maxNumbered is how many participants' pictures carry numbers: enough for
// thousands of readings a minute, too few to change what the pictures cost. Of
// those on poor links only the skew is looked at.
const maxNumbered, maxNumberedPoor = 4, 2

// prepare loads and makes what everybody sends, on all cores. It takes some
// seconds of CPU.
func prepare(cfg Config) (*cast, error) {
	c := &cast{}
	impaired := 0
	if !cfg.Impair.Zero() {
		impaired = cfg.ImpairCount
	}
	for i := range cfg.Participants {
		c.members = append(c.members, &member{
			index: i, talks: i < cfg.Talkers, impaired: i >= cfg.Participants-impaired,
		})
	}
	for i := range cfg.Viewers {
		c.members = append(c.members, &member{index: i, role: viewer})
	}
	if cfg.Latency > 0 {
		c.mark(cfg)
	}
	streams := newStreams(cfg)
	var err error
	if c.quiet, err = streams.silence(false); err != nil {
		return nil, err
	}
	if c.steady, err = streams.silence(true); err != nil {
		return nil, err
	}
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for _, m := range c.everybody() {
		m.result = make(chan error, 1)
		g.Go(func() error { return m.load(cfg, streams) })
	}
	if err = g.Wait(); err == nil && cfg.Latency > 0 {
		err = c.makeBeeps()
	}
	return c, err
}

// mark says who carries markers and who looks for them.
func (c *cast) mark(cfg Config) {
	var healthy, poor []*member
	for _, m := range c.participants() {
		if m.impaired {
			poor = append(poor, m)
		} else {
			healthy = append(healthy, m)
		}
	}
	if !cfg.AudioOnly {
		for _, m := range slices.Concat(healthy[:min(len(healthy), maxNumbered)], poor[:min(len(poor), maxNumberedPoor)]) {
			m.numbered = true
		}
	}
	// The first and the last in the order of sending.
	for _, m := range c.members {
		if !m.impaired {
			m.reads = true
			break
		}
	}
	for _, m := range slices.Backward(c.members) {
		if !m.impaired {
			m.reads = true
			break
		}
	}
	if cfg.joinsLate() {
		// Of another clip than the others.
		c.late = append(c.late, &member{role: late, numbered: true, reads: true, drift: maxDriftPPM})
	}
	if cfg.SkewOnly {
		return
	}
	for i := range beaconCount {
		c.beacons = append(c.beacons, &member{index: i, role: beacon, drift: beaconDrift(i)})
	}
}

// load makes what the member sends.
func (m *member) load(cfg Config, s *streams) error {
	switch m.role {
	case viewer:
		return nil
	case participant, late:
		if !cfg.AudioOnly {
			index := m.index
			if m.role == late {
				index = cfg.Participants
			}
			sizes, err := s.sizes(index, m.numbered)
			if err != nil {
				return err
			}
			m.video = newPictures(sizes, cfg.Still)
		}
	}
	if m.talks {
		c, err := s.speech(m.index, cfg.Talkers)
		if err != nil {
			return err
		}
		m.audio = newSender(c)
		return nil
	}
	c, err := s.silence(m.role == beacon || m.role == late)
	if err != nil {
		return err
	}
	m.audio = newSender(c)
	return nil
}

// toneLevel is a tone's amplitude: loud enough that who talks is heard all the
// time, soft enough that the sum of eight does not clip.
const toneLevel = 0.1

// join starts one member's client.
func (m *member) join(ctx context.Context, room roomURLs, cert *client.Certificate, cfg Config) error {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if m.impaired {
		m.link = transporttest.WrapPacketConn(conn, cfg.Impair, cfg.Impair, cfg.Seed+2*uint64(m.index)+1) // it takes two seeds
		conn = m.link
		m.drift += cfg.Impair.DriftPPM
	}
	c := client.Config{
		URL: room.join, Name: m.name(), Conn: conn, Certificate: cert, NoVideo: cfg.AudioOnly || m.role == beacon, DriftPPM: m.drift,
		OnAudio: m.onAudio, OnVideo: m.onVideo, NoUplink: !cfg.Uplink,
	}
	if m.role == viewer {
		c.URL, c.Name = room.view, ""
	}
	// A nil *sender in a Source would not be nil.
	if m.audio != nil {
		c.Audio = m.audio
	}
	if m.video != nil {
		c.Video = m.video
	}
	if m.client, err = client.New(c); err != nil {
		return err
	}
	go func() { m.result <- m.client.Run(ctx) }() // waited for by whoever made ctx end
	return nil
}

func (m *member) onAudio(p client.Packet) {
	if m.keepSound.Load() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.got.sound = append(m.got.sound, heardPacket{p.Seq, p.PTS, p.Arrival, p.Capture, slices.Clone(p.Data)})
	}
}

func (m *member) onVideo(f client.Frame) {
	if m.keepFirst > 0 {
		m.mu.Lock()
		if len(m.firsts) < m.keepFirst {
			m.firsts = append(m.firsts, seenPicture{f.Arrival, f.Capture, slices.Clone(f.Data), f.Key})
		}
		m.mu.Unlock()
	}
	if !m.keepPictures.Load() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.got.bytes < maxKeptBytes {
		m.got.bytes += len(f.Data)
		m.got.pictures = append(m.got.pictures, seenPicture{f.Arrival, f.Capture, slices.Clone(f.Data), f.Key})
	}
}

// connected waits until media has come.
func (m *member) connected(ctx context.Context, cfg Config, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s := m.client.Stats()
		if s.AudioReceived.Packets > 0 && (s.VideoReceived.Frames > 0 || cfg.AudioOnly || m.role == beacon) {
			return nil
		}
		select {
		case err := <-m.result:
			m.result <- err
			return fmt.Errorf("%s left: %w", m.name(), err)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %d packets of sound, %d pictures after %v: want some of what was asked for",
				m.name(), s.AudioReceived.Packets, s.VideoReceived.Frames, timeout)
		}
	}
}

// left returns an error if the member's client has ended by itself.
func (m *member) left() error {
	select {
	case err := <-m.result:
		m.result <- err
		return fmt.Errorf("%s left: %w", m.name(), err)
	default:
		return nil
	}
}
