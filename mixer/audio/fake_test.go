package audio

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mixdown/codec"
)

// fakeDecoder decodes packets that say which stretch of a signal they are: the
// decoded sound shows exactly what was played. What it makes up is the
// constant fakeConcealed.
type fakeDecoder struct {
	signal                   func(sample int64) int16
	decoded, concealed, fecs int
	resets, closed           int
	fec                      bool // the packets carry FEC
}

const fakeConcealed = 77

func fakePacket(seq, pts int64, samples int) *codec.EncodedFrame {
	f := codec.NewEncodedFrame(16)
	f.Codec, f.Seq, f.PTS = codec.Opus, seq, durationOf(pts)
	f.Data = binary.BigEndian.AppendUint64(f.Data, uint64(pts))
	f.Data = binary.BigEndian.AppendUint16(f.Data, uint16(samples))
	return f
}

func (d *fakeDecoder) Decode(packet []byte, pcm []int16) (int, error) {
	if len(packet) == 1 {
		for i := range pcm[:codec.FrameSamples] {
			pcm[i] = fakeConcealed
		}
		return codec.FrameSamples, nil
	}
	if len(packet) != 10 {
		return 0, codec.ErrCorrupt
	}
	pts, n := int64(binary.BigEndian.Uint64(packet)), int(binary.BigEndian.Uint16(packet[8:]))
	if n == 0 || n > len(pcm) {
		return 0, codec.ErrCorrupt
	}
	d.decoded++
	for i := range n {
		pcm[i] = d.signal(pts + int64(i))
	}
	return n, nil
}

func (d *fakeDecoder) Duration(packet []byte) (int, error) {
	if len(packet) == 1 {
		return codec.FrameSamples, nil
	}
	if len(packet) != 10 {
		return 0, codec.ErrCorrupt
	}
	return int(binary.BigEndian.Uint16(packet[8:])), nil
}

func (d *fakeDecoder) HasFEC(packet []byte) bool { return d.fec && len(packet) == 10 }

func (d *fakeDecoder) Silent(packet []byte) bool { return len(packet) == 1 }

func (d *fakeDecoder) DecodeFEC(packet []byte, pcm []int16) error {
	d.fecs++
	pts := int64(binary.BigEndian.Uint64(packet))
	for i := range pcm {
		pcm[i] = d.signal(pts - int64(len(pcm)) + int64(i))
	}
	return nil
}

func (d *fakeDecoder) Conceal(pcm []int16) error {
	if len(pcm)%shortest != 0 || len(pcm) == 0 {
		return codec.ErrBadConfig
	}
	d.concealed++
	for i := range pcm {
		pcm[i] = fakeConcealed
	}
	return nil
}

func (d *fakeDecoder) Reset() error { d.resets++; return nil }
func (d *fakeDecoder) Close() error { d.closed++; return nil }

// loud is a signal without pauses whose value tells the sample.
func loud(sample int64) int16 { return int16(10000 + sample%9973) }

// period is one of a sine of 200 Hz.
var period = func() (x [codec.SampleRate / 200]int16) {
	for i := range x {
		x[i] = int16(12000 * math.Sin(2*math.Pi*float64(i)/float64(len(x))))
	}
	return x
}()

// wave is a loud signal with a pitch, so that splices find something.
func wave(sample int64) int16 { return period[uint64(sample)%uint64(len(period))] }

// talking is wave in phrases of 1.6 s with pauses of 0.4 s.
func talking(sample int64) int16 {
	if sample%(2*codec.SampleRate) >= codec.SampleRate*8/5 {
		return int16(sample & 1)
	}
	return wave(sample)
}

// link is a simulated sender and the way to us.
type link struct {
	t       *testing.T
	playout *Playout
	decoder *fakeDecoder
	// samples per packet, the sender's clock error, when its first packet is
	// ready, and how late our ticks are.
	samples  int
	ppm      float64
	phase    time.Duration
	late     func(tick int) time.Duration
	delay    func(seq int64, at time.Duration) time.Duration
	lost     func(seq int64) bool
	quiet    func(tick int) uint8
	inFlight []arrival
	seq      int64
	tick     int
	// what was seen, per tick: added latency and info
	latency []time.Duration
	infos   []Info
	pcm     []int16
	// forget keeps nothing of what was seen but the last tick
	forget bool
	// edit, when set, may change a packet before it is pushed; nil drops it.
	edit func(*codec.EncodedFrame) *codec.EncodedFrame
}

func newLink(t *testing.T, signal func(int64) int16) *link {
	dec := &fakeDecoder{signal: signal}
	p, err := NewPlayout(PlayoutConfig{Decoder: dec})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return &link{
		t: t, playout: p, decoder: dec, samples: codec.FrameSamples,
		late:  func(int) time.Duration { return 0 },
		delay: func(int64, time.Duration) time.Duration { return 0 },
		lost:  func(int64) bool { return false },
		quiet: func(int) uint8 { return DecodeAlways },
	}
}

// newRealLink is one with a real decoder, to be fed by replay.
func newRealLink(t *testing.T) *link {
	l := newLink(t, loud)
	p, err := NewPlayout(PlayoutConfig{Decoder: realDecoder(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	l.playout = p
	return l
}

// sentAt is when the sender has sample pts ready, were packets that short.
func (l *link) sentAt(pts int64) time.Duration {
	return l.phase + time.Duration(float64(durationOf(pts))*(1+l.ppm*1e-6))
}

// run ticks for so long.
func (l *link) run(d time.Duration) {
	for end := l.tick + int(d/codec.FrameDuration); l.tick < end; l.tick++ {
		now := time.Duration(l.tick)*codec.FrameDuration + l.late(l.tick)
		for {
			pts := l.seq * int64(l.samples)
			at := l.sentAt(pts)
			if at > now {
				break
			}
			if !l.lost(l.seq) {
				l.inFlight = append(l.inFlight, arrival{fakePacket(l.seq, pts, l.samples), at + l.delay(l.seq, at)})
			}
			l.seq++
		}
		slices.SortStableFunc(l.inFlight, func(a, b arrival) int { return int(a.at - b.at) })
		n := 0
		for n < len(l.inFlight) && l.inFlight[n].at <= now {
			f := l.inFlight[n].frame
			if l.edit != nil {
				f = l.edit(f)
			}
			if f != nil {
				l.playout.Push(f, l.inFlight[n].at)
			}
			n++
		}
		l.inFlight = append(l.inFlight[:0], l.inFlight[n:]...)
		var dst codec.AudioFrame
		info := l.playout.Pull(&dst, now, l.quiet(l.tick))
		if l.forget {
			l.infos, l.pcm, l.latency = l.infos[:0], l.pcm[:0], l.latency[:0]
		}
		l.infos = append(l.infos, info)
		l.pcm = append(l.pcm, dst[:]...)
		l.latency = append(l.latency, now-l.sentAt(samplesOf(info.PTS)))
	}
}

// quantile of the added latency since tick `from`.
func (l *link) quantile(from int, q float64) time.Duration {
	x := slices.Clone(l.latency[from:])
	slices.Sort(x)
	return x[min(int(q*float64(len(x))), len(x)-1)]
}

func (l *link) concealedSince(from int) (n int) {
	for _, info := range l.infos[from:] {
		if info.Concealed {
			n++
		}
	}
	return n
}

func uniform(seed uint64, span time.Duration) func() time.Duration {
	r := rand.New(rand.NewPCG(seed, 3))
	return func() time.Duration { return time.Duration(r.Int64N(int64(span))) }
}
