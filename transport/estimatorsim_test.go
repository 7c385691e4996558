package transport

import (
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"

	"mixdown/codec"
	"mixdown/transport/transporttest"
)

// pathSim is clients behind one bottleneck, each with a pacer, a source of
// pictures that follows the estimate as a mixer would, and feedback.
type pathSim struct {
	link    transporttest.Spec // to the clients, shared
	back    transporttest.Spec // from each
	clients int                // defaults to 1
	// feedback is between two feedbacks; defaults to 100 ms.
	feedback time.Duration
	// noTWCC clients send receiver reports each second, and REMB when remb is set.
	noTWCC bool
	remb   func(now time.Duration, received float64) float64
	// fixed is a bitrate of pictures that follows nothing.
	fixed int
	next  int // PaceVideo's second figure when fixed
	noRTX bool
	cross func(now time.Duration) int  // bytes of others' traffic in this millisecond
	mute  func(now time.Duration) bool // when true, feedback is lost
	seed  uint64
	// vary has pictures differ in size, and ticks come up to 8 ms late.
	vary bool
}

type simParcel struct {
	client int // -1: others
	twcc   uint16
	has    bool
	ssrc   uint32
	seq    uint16
	ts     uint32
	bytes  int
	at     time.Duration // sent
}

// simClient is one client with its server side.
type simClient struct {
	pacer   *pacer
	rec     *twcc.Recorder
	back    *transporttest.Link[[]byte]
	back2   *transporttest.Link[simReport]
	stream  codec.StreamID
	tier    int
	wantKey bool
	upAfter time.Duration
	lastEst int

	estimates []int           // each ms
	sound     []time.Duration // arrivals
	// soundDelays are from the making of each to its arrival.
	soundDelays []time.Duration
	bytes       int // received
	// of reports
	lost, got     int
	highest       int64
	received      uint64
	receivedAt    time.Duration
	receivedPast  uint64
	delays        time.Duration // the way of the latest packet
	videoReceived []int         // bytes, each ms
}

type simReport struct {
	loss float64
	sent time.Duration
	remb float64
}

// simTiers is a ladder like the mixer's.
var simTiers = []int{150_000, 600_000, 1_500_000}

const simStart = time.Second // the clock starts above 0

func (s pathSim) run(t testing.TB, length time.Duration) []*simClient {
	t.Helper()
	if s.clients == 0 {
		s.clients = 1
	}
	if s.feedback == 0 {
		s.feedback = 100 * ms
	}
	// Instants of the link count from the simulation's beginning.
	link := transporttest.NewLink[simParcel](s.link, s.seed)
	var all []*simClient
	for i := range s.clients {
		cfg := pacerConfig{
			AudioSSRC: 10, AudioPT: 111, VideoSSRC: 20, VideoPT: 96, RTXSSRC: 30, RTXPT: 97, AudioTWCC: 3, VideoTWCC: 3,
			Seed: s.seed + uint64(i), TargetBps: 4_000_000,
		}
		if s.noRTX {
			cfg.RTXPT, cfg.RTXSSRC = 0, 0
		}
		if s.noTWCC {
			cfg.AudioTWCC, cfg.VideoTWCC = 0, 0
		}
		c := &simClient{
			pacer: newPacer(cfg), rec: twcc.NewRecorder(9), stream: codec.NewStreamID(), tier: 1, wantKey: true, highest: -1,
			back: transporttest.NewLink[[]byte](s.back, s.seed+100+uint64(i)), back2: transporttest.NewLink[simReport](s.back, s.seed+200+uint64(i)),
		}
		t.Cleanup(c.pacer.close)
		all = append(all, c)
	}
	var pkt outPacket
	for now := simStart; now < simStart+length; now += ms {
		for i, c := range all {
			s.media(c, now)
			for {
				ok, _ := c.pacer.next(&pkt, now)
				if !ok {
					break
				}
				p := simParcel{client: i, ssrc: pkt.Header.SSRC, seq: pkt.Header.SequenceNumber, ts: pkt.Header.Timestamp, bytes: pkt.size() + srtpTag, at: now}
				if ext := pkt.Header.GetExtension(3); len(ext) == 2 {
					p.twcc, p.has = uint16(ext[0])<<8|uint16(ext[1]), true
				}
				link.Push(p, p.bytes, now-simStart)
			}
			if fb, ok := c.pacer.news(now); ok {
				c.lastEst = fb.EstimateBps
			}
		}
		if s.cross != nil {
			for n := s.cross(now - simStart); n > 0; n -= 1200 {
				link.Push(simParcel{client: -1}, min(n, 1200), now-simStart)
			}
		}
		for p, ok := link.Pop(now - simStart); ok; p, ok = link.Pop(now - simStart) {
			if p.client >= 0 {
				all[p.client].take(p, now)
			}
		}
		for i, c := range all {
			s.report(t, c, now, time.Duration(i)*37*ms)
			c.estimates = append(c.estimates, c.pacer.path.videoBps(now))
			c.videoReceived = append(c.videoReceived, c.bytes)
		}
	}
	return all
}

// media makes sound and pictures, and follows the estimate.
func (s pathSim) media(c *simClient, now time.Duration) {
	at := now - simStart
	if late := s.late(at/(20*ms), 6); at%(20*ms) == late {
		f := paceAudio(at - late)
		f.Data = f.Buffer()[:80]
		c.pacer.pushAudio(f, now)
		f.Release()
	}
	bps := s.fixed
	if bps == 0 {
		s.adapt(c, now)
		bps = simTiers[c.tier]
	} else {
		c.pacer.setPace(s.fixed, s.next, now)
	}
	n := int(at / (33 * ms))
	if at%(33*ms) != s.late(at/(33*ms), 9) {
		return
	}
	mean := bps / 8 * 33 / 1000
	kind, size := "T0", mean*4/3
	if n%2 == 1 {
		kind, size = "T1", mean*2/3
	}
	if s.vary {
		size = size * (60 + (n*n*7919+n*int(s.seed+1)*104729)%9973%81) / 100
	}
	if c.wantKey {
		kind, size = "key", mean*6
	}
	f := paceVideo(c.stream, at+1, max(size, 100), kind)
	switch c.pacer.pushVideo(f, now) {
	case codec.Sent:
		c.wantKey = false
	case codec.NeedKey:
		c.wantKey = true
	}
	f.Release()
}

// late is how late the n-th tick is, in ms below most.
func (s pathSim) late(n, most time.Duration) time.Duration {
	if !s.vary {
		return 0
	}
	return (n*n*7919 + n*time.Duration(s.seed+1)*104729) % 9973 % most * ms
}

// adapt is the mixer's part: down at once, up when there is room.
func (s pathSim) adapt(c *simClient, now time.Duration) {
	was := c.tier
	if est := c.lastEst; est > 0 {
		for c.tier > 0 && est < simTiers[c.tier] {
			c.tier--
			c.upAfter = now + time.Second
		}
		if c.tier+1 < len(simTiers) && est > simTiers[c.tier+1]*105/100 && now > c.upAfter {
			c.tier++
			c.upAfter = now + time.Second
		}
	}
	if c.tier != was {
		c.stream, c.wantKey = codec.NewStreamID(), true
	}
	next := 0
	if c.tier+1 < len(simTiers) {
		next = simTiers[c.tier+1]
	}
	c.pacer.setPace(simTiers[c.tier], next, now)
}

// take is what the client does with a packet.
func (c *simClient) take(p simParcel, now time.Duration) {
	if p.has {
		c.rec.Record(p.ssrc, p.twcc, (now + 7*time.Hour).Microseconds())
	}
	if p.ssrc == 10 {
		c.sound = append(c.sound, now)
		pts := durationOf(int64(int32(p.ts-c.pacer.audio.timeBase)), audioClockRate)
		c.soundDelays = append(c.soundDelays, now-simStart-pts)
	}
	c.received += uint64(p.bytes)
	if p.ssrc == 20 {
		c.bytes += p.bytes
		c.got++
		if c.highest >= 0 {
			if d := int64(int16(p.seq - uint16(c.highest))); d > 0 {
				c.lost += int(d) - 1
				c.highest += d
			}
		} else {
			c.highest = int64(p.seq)
		}
	}
	c.delays = now - p.at
}

// report is what the client says, and what the server makes of it.
func (s pathSim) report(t testing.TB, c *simClient, now, phase time.Duration) {
	at := now - simStart + phase
	muted := s.mute != nil && s.mute(now-simStart)
	if !s.noTWCC && at%s.feedback == 0 {
		for _, p := range c.rec.BuildFeedbackPacket() {
			b, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if !muted {
				c.back.Push(b, len(b), now-simStart)
			}
		}
	}
	if s.noTWCC && at%time.Second == 0 && !muted {
		r := simReport{sent: now}
		if c.got+c.lost > 0 {
			r.loss = float64(c.lost) / float64(c.got+c.lost)
		}
		if s.remb != nil {
			r.remb = s.remb(now-simStart, float64(c.received-c.receivedPast)*8/(now-c.receivedAt).Seconds())
		}
		c.lost, c.got, c.receivedPast, c.receivedAt = 0, 0, c.received, now
		c.back2.Push(r, 100, now-simStart)
	}
	for b, ok := c.back.Pop(now - simStart); ok; b, ok = c.back.Pop(now - simStart) {
		if !c.pacer.twcc(b, now) {
			t.Fatalf("feedback was refused: %x", b)
		}
	}
	for r, ok := c.back2.Pop(now - simStart); ok; r, ok = c.back2.Pop(now - simStart) {
		// The round trip: this way, and what packets take now.
		c.pacer.report(r.loss, now-r.sent+max(c.delays, ms), now)
		if r.remb > 0 {
			c.pacer.remb(r.remb, now)
		}
	}
}

// at is the estimate at an instant, for pictures, in bits/s.
func (c *simClient) at(at time.Duration) int { return c.estimates[at/ms] }

// reaches is when the estimate is first above (or below) bps after an instant.
func (c *simClient) reaches(above bool, bps int, after time.Duration) (time.Duration, bool) {
	for i := int(after / ms); i < len(c.estimates); i++ {
		if c.estimates[i] > bps == above && c.estimates[i] != 0 {
			return time.Duration(i)*ms - after, true
		}
	}
	return 0, false
}

// least and most are the extremes of the estimate in a span.
func (c *simClient) span(from, to time.Duration) (least, most int) {
	least = 1 << 40
	for _, e := range c.estimates[from/ms : to/ms] {
		if e > 0 {
			least, most = min(least, e), max(most, e)
		}
	}
	return least, most
}

// soundGap is the longest time without sound between two instants.
func (c *simClient) soundGap(from, to time.Duration) (gap time.Duration) {
	last := time.Duration(-1)
	for _, at := range c.sound {
		if at -= simStart; at >= from && at < to {
			if last >= 0 {
				gap = max(gap, at-last)
			}
			last = at
		}
	}
	if last < 0 {
		return to - from
	}
	return max(gap, to-last-20*ms)
}

// soundDelay is the longest way that sound which came between two instants took.
func (c *simClient) soundDelay(from, to time.Duration) (longest time.Duration) {
	for i, at := range c.sound {
		if at -= simStart; at >= from && at < to {
			longest = max(longest, c.soundDelays[i])
		}
	}
	return longest
}

// video is the bitrate of pictures that came.
func (c *simClient) video(from, to time.Duration) int {
	return int(float64(c.videoReceived[to/ms-1]-c.videoReceived[from/ms]) * 8 / (to - from).Seconds())
}
