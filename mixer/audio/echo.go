package audio

import (
	"math"
	"time"

	"mixdown/codec"
)

const (
	echoBlock = codec.FrameDuration / envelopeBlocks
	// echoLags is how far back an echo is looked for: 600 ms is the way there
	// (network and playout, 50 to 300 ms), the room, and the way back.
	echoLags = int(600*time.Millisecond/echoBlock) + 1
	// echoTail is how long a room goes on sounding, and echoTailDB by how much
	// less each block: 60 dB in 0.4 s.
	echoTail   = 25
	echoTailDB = 1.5
	// echoHistory is a power of two that holds the lags and the tail.
	echoHistory = 128

	// What is compared is by how much each band differs from its own mean of
	// the last 120 ms, which is the pattern of syllables. With a longer mean,
	// two people who take turns of a word each look alike at the lag of a turn.
	echoMean = 1.0 / 12
	// echoClip bounds what one onset counts, in dB.
	echoClip = 15
	// What is not echoAbove dB over the noise is between words, and has no
	// pattern. The noise is the lowest that there was, and rises by echoRise dB
	// a block; echoHang blocks after a word still count.
	echoAbove = 6
	echoRise  = 0.03
	echoHang  = 5

	// echoMemory is over how many blocks, not counting those in which nothing
	// is being sent, the comparison goes: 2.5 s.
	echoMemory = 250
	// Of 16 recordings of a voice and their echoes, through Opus both ways and a
	// room with noise at -70 dBov, the likeness was above 0.7 for 99% of the
	// time when they were 10 to 30 dB down, above 0.53 at 40 dB. Of two
	// recordings at once, or in turns of 0.8 s and more, it was below 0.5 for
	// 99% of two hours; the rest were places where both say the same sentence.
	// It must last, at one and the same delay.
	echoOn   = 0.5
	echoOff  = 0.3
	echoLast = 140 // blocks
	// echoMoved is the power of a pattern that is one: a tone that goes on adds
	// no evidence to that of its beginning.
	echoMoved = 10
	// echoSame is by how many blocks a delay may wander: client's playout.
	echoSame = 3
	// echoPrior is what the sums of squares begin with, about half of what
	// they come to: a few words that happen to be alike are no evidence.
	echoPrior = 8000
	// echoTiny is added to sums that may be zero, and 1 to those that are
	// divided by: arithmetic gets slow where they would decay to.
	echoTiny = 1e-9

	// echoNow is over how many blocks the likeness at this moment goes, by
	// which the loss is learnt: 200 ms. Above echoNowLike it is only echo.
	echoNow     = 20
	echoNowLike = 0.5
	// The loss is learnt as that which 9 of 10 blocks of echo exceed, in steps
	// of dB. echoMargin is how far beyond even that something must be to be
	// his own.
	echoQuantile = 0.1
	echoStep     = 0.5
	echoMargin   = 6.0
)

// EchoDetector tells whether a participant's uplink carries back what he was
// sent, as it does when his loudspeaker is open and his client cancels nothing.
// It compares the patterns of loudness of the two, for every delay up to 600
// ms, and wants two or three seconds of speech for a decision. Feed it once a
// tick, then ask.
//
// Two people in one room are an echo too: what is sent to one comes back
// through the other's voice in his microphone.
//
// It is pure and allocates nothing. The zero value is ready.
type EchoDetector struct {
	sent, got echoSide
	history   [echoHistory]echoPast // a ring, the newest is at blocks-1
	blocks    uint
	pending   int // blocks until nothing that was sent can still come back

	// Decaying sums: of sent times got and of sent squared at each lag, and of
	// got squared.
	cross, energy [echoLags]float32
	own           float32

	likely float32
	lag    uint // of the greatest likeness
	lasts  int  // blocks for which that was high and stayed where it is
	moved  bool // this tick's sound had a pattern to go by
	echo   bool
	delay  uint // of the echo, in blocks

	nowCross, nowSent, nowGot float32 // like the sums above, but short and at delay
	loss                      float32
	beyond                    int // ticks in a row that were louder than any echo
}

// echoPast is what was sent in one block.
type echoPast struct {
	pattern [envelopeBands]float32
	loud    float32
}

// echoSide makes one side's pattern.
type echoSide struct {
	mean   [envelopeBands]float32
	noise  float32
	level  float32 // mean loudness of what is not noise
	hang   int
	primed bool
}

// pattern takes one block. It is all zeros between words.
func (s *echoSide) pattern(bands *[envelopeBands]float32, loud float32) (p [envelopeBands]float32) {
	if !s.primed {
		s.mean, s.noise, s.level, s.primed = *bands, loud, loud, true
	}
	s.noise = min(s.noise+echoRise, loud)
	switch {
	case loud > s.noise+echoAbove:
		s.hang = echoHang
		s.level += (loud - s.level) / echoMemory
	case s.hang > 0:
		s.hang--
	}
	for k := range p {
		v := bands[k] - s.mean[k]
		s.mean[k] += echoMean * v
		p[k] = min(max(v, -echoClip), echoClip)
	}
	if s.hang == 0 {
		clear(p[:])
	}
	return p
}

// Feed takes 20 ms of what he was sent and of what came from him, both of the
// same tick. nil is silence, or that it was not decoded because it was silent.
func (d *EchoDetector) Feed(sent, got *Envelope) {
	if sent == nil {
		sent = &silentEnvelope
	}
	if got == nil {
		got = &silentEnvelope
	}
	if d.blocks == 0 {
		d.own = echoPrior
		for lag := range d.energy {
			d.energy[lag] = echoPrior
		}
	}
	beyond := false
	d.moved = false
	for b := range envelopeBlocks {
		g := d.got.pattern(&got.bands[b], got.loud[b])
		s := d.sent.pattern(&sent.bands[b], sent.loud[b])
		d.history[d.blocks%echoHistory] = echoPast{s, sent.loud[b]}
		d.blocks++
		if d.sent.hang > 0 {
			d.pending = echoLags
		} else if d.pending > 0 {
			d.pending--
		}
		if d.pending > 0 {
			d.compare(&g)
		}
		if d.echo && d.exceeds(&g, got.loud[b]) {
			beyond = true
		}
	}
	if d.beyond++; !beyond {
		d.beyond = 0
	}
	if d.pending > 0 {
		d.decide()
	}
}

// compare adds one block of what came to the sums of all lags.
func (d *EchoDetector) compare(g *[envelopeBands]float32) {
	const keep = 1 - 1.0/echoMemory
	g0, g1, g2 := g[0], g[1], g[2]
	power := g0*g0 + g1*g1 + g2*g2
	d.own = keep*d.own + power + 1
	d.moved = d.moved || power > echoMoved
	at := d.blocks - 1
	for lag := range d.cross {
		p := &d.history[(at-uint(lag))%echoHistory].pattern
		d.cross[lag] = keep*d.cross[lag] + echoTiny + p[0]*g0 + p[1]*g1 + p[2]*g2
		d.energy[lag] = keep*d.energy[lag] + 1 + p[0]*p[0] + p[1]*p[1] + p[2]*p[2]
	}
}

// decide looks for the likeliest delay and goes by how long it has been that.
func (d *EchoDetector) decide() {
	last := d.lag
	d.likely = 0
	for lag, c := range d.cross {
		if c <= 0 {
			continue
		}
		// Whoever sends next to nothing back is no echo, however alike.
		e := d.energy[lag]
		if r := c * c / (e * max(d.own, e/8)); r > d.likely {
			d.likely, d.lag = r, uint(lag)
		}
	}
	d.likely = float32(math.Sqrt(float64(d.likely)))
	same := d.lag+echoSame-last <= 2*echoSame
	switch {
	case d.likely > echoOn && same:
		if d.moved {
			d.lasts += envelopeBlocks
		}
		if d.lasts < echoLast {
			return
		}
		if !d.echo {
			d.echo = true
			d.loss = d.sent.level - d.got.level
			d.nowCross, d.nowSent, d.nowGot = 0, 0, 0
		}
		d.delay = d.lag
	case d.likely < echoOff:
		d.lasts, d.echo = 0, false
	default:
		d.lasts = 0
	}
}

// exceeds reports whether a block is louder than the echo can be, and learns
// from it how loud that is.
func (d *EchoDetector) exceeds(g *[envelopeBands]float32, loud float32) bool {
	at := d.blocks - 1
	p := &d.history[(at-d.delay)%echoHistory].pattern
	const keep = 1 - 1.0/echoNow
	d.nowCross = keep*d.nowCross + echoTiny + p[0]*g[0] + p[1]*g[1] + p[2]*g[2]
	d.nowSent = keep*d.nowSent + 1 + p[0]*p[0] + p[1]*p[1] + p[2]*p[2]
	d.nowGot = keep*d.nowGot + 1 + g[0]*g[0] + g[1]*g[1] + g[2]*g[2]

	// What is due now is the loudest that was sent about that long ago, or what
	// the room still holds of it.
	due := float32(envelopeFloor)
	for lag := d.delay - min(d.delay, echoSame); lag <= d.delay+echoTail; lag++ {
		past := d.history[(at-lag)%echoHistory].loud
		if lag > d.delay+echoSame {
			past -= echoTailDB * float32(lag-d.delay-echoSame)
		}
		due = max(due, past)
	}
	if due > d.sent.noise+echoAbove && d.nowCross > echoNowLike*float32(math.Sqrt(float64(d.nowSent*d.nowGot))) {
		if due-loud < d.loss {
			d.loss -= (1 - echoQuantile) * echoStep
		} else {
			d.loss += echoQuantile * echoStep
		}
	}
	return loud > due-d.loss+echoMargin
}

// Echo reports whether what comes from him is, at times, what he was sent.
func (d *EchoDetector) Echo() bool { return d.echo }

// suspects reports whether it may be one: what is likely has not lasted yet.
func (d *EchoDetector) suspects() bool { return d.echo || d.lasts > 0 }

// Only reports whether what came in the last tick is probably nothing but
// echo: there is one, and the tick is not clearly louder than what was sent
// and is due to come back now. A Gate is not to open on that, nor to stay open.
func (d *EchoDetector) Only() bool { return d.echo && d.beyond < 2 }

// Delay is how long the echo takes, from the tick it was sent in to the tick it
// came back in; it means something while [EchoDetector.Echo] is true.
func (d *EchoDetector) Delay() time.Duration { return time.Duration(d.delay) * echoBlock }

// LossDB is by how much weaker the loudest of it comes back than it was sent;
// it means something while [EchoDetector.Echo] is true.
func (d *EchoDetector) LossDB() float64 { return float64(d.loss) }
