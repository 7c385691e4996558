package mixer

import (
	"math"
	"time"

	"mixdown/mixer/layout"
	"mixdown/mixer/video"
)

// Price is the processor time that something is expected to take, in cores.
type Price struct {
	// Decode is decoding pictures and scaling them to their tiles, Compose
	// drawing the canvas, Encode coding it, Sound the audio ticks, Network
	// everything else: sockets, encryption, signalling, the Go runtime.
	Decode, Compose, Encode, Sound, Network float64
}

// Cores is the sum.
func (p Price) Cores() float64 { return p.Decode + p.Compose + p.Encode + p.Sound + p.Network }

// rates are what work costs, in core seconds.
type rates struct {
	decode  float64 // per million pixels
	compose float64 // per million pixels, on a machine that decodes at defaultRates
	encode  float64 // per million pixels
	sound   float64 // per sender and second
	network float64 // per participant and second
	// decoded is how large the pictures are that are decoded, in million pixels;
	// 0 is not known.
	decoded float64
}

// defaultRates hold until the process has measured its own. They are this
// project's benchmarks on one core of an AMD EPYC: BenchmarkStageDecode (0.3 ms
// for 640x360 with scaling), BenchmarkStageCompose (1 ms for nine moving tiles
// at 1280x720), BenchmarkStageEncode (3.5 to 4 ms for 1280x720 at 1.5 Mb/s),
// `mixdown bench room --video=false` with all talking (0.07 core for nine) and
// `mixdown bench room` (what is left of nine people's 0.38 core).
var defaultRates = rates{decode: 0.0014, compose: 0.0011, encode: 0.0042, sound: 0.006, network: 0.005}

// work is what the rooms have done up to one moment: totals, which only grow,
// but for the last two.
type work struct {
	cpu           CPUTime
	process       time.Duration
	pool          time.Duration // processor time of all its tasks
	decoded       uint64        // pictures
	decodedPixels float64
	encodedPixels float64

	senders, participants int // now
}

const (
	// ratesMemory is the time constant of what is measured.
	ratesMemory = 30 * time.Second
	// enoughWork is the least processor time in one look that tells anything.
	enoughWork = 20 * time.Millisecond
	// What is measured is believed within these factors of the defaults: a still
	// canvas costs next to nothing to encode, but it may begin to move.
	leastRate, greatestRate = 0.5, 8
)

// learn takes what was done since the earlier look into the rates.
func (r *rates) learn(now, earlier *work, passed time.Duration) {
	if passed <= 0 {
		return
	}
	fresh := 1 - math.Exp(-passed.Seconds()/ratesMemory.Seconds())
	blend := func(rate *float64, usual float64, spent time.Duration, amount float64) {
		if spent < enoughWork || amount <= 0 {
			return
		}
		seen := spent.Seconds() / amount
		*rate += (min(max(seen, leastRate*usual), greatestRate*usual) - *rate) * fresh
	}
	const million = 1e6
	d := &defaultRates
	blend(&r.decode, d.decode, now.cpu.Decode-earlier.cpu.Decode, (now.decodedPixels-earlier.decodedPixels)/million)
	blend(&r.encode, d.encode, now.cpu.Encode-earlier.cpu.Encode, (now.encodedPixels-earlier.encodedPixels)/million)
	sound := now.cpu.Sound - earlier.cpu.Sound
	blend(&r.sound, d.sound, sound, float64(now.senders)*passed.Seconds())
	blend(&r.network, d.network, now.process-earlier.process-(now.pool-earlier.pool)-sound, float64(now.participants)*passed.Seconds())
	if now.decoded > earlier.decoded {
		size := (now.decodedPixels - earlier.decodedPixels) / float64(now.decoded-earlier.decoded) / million
		if r.decoded == 0 {
			r.decoded = size
		}
		r.decoded += (size - r.decoded) * fresh
	}
}

// million pixels a second.
func pixelRate(width, height, fps int) float64 {
	return float64(width) * float64(height) * float64(fps) / 1e6
}

// canvas is the price of a canvas with the tiers given.
func (r *rates) canvas(c layout.Canvas, tiers ...video.Tier) Price {
	// Both are moving samples about, on the same machine.
	slow := r.decode / defaultRates.decode
	p := Price{Compose: r.compose * slow * pixelRate(c.Width, c.Height, c.FPS)}
	for _, t := range tiers {
		p.Encode += r.encode * pixelRate(t.Width, t.Height, t.FPS)
	}
	return p
}

// joining is what the price of a participant depends on.
type joining struct {
	role    Role
	noVideo bool // takes none
	canvas  layout.Canvas
	// tiles are those that the canvas has already.
	tiles int
	// starts is the tier whose encoder would start for him; zero is none.
	starts video.Tier
	// own is the tier of a canvas of his own; zero is none.
	own video.Tier
	// first says that the room's clocks stand still without him.
	first bool
}

// uplinkSlack is by how much the picture that a sender is asked for may have
// more pixels than its tile: its sizes come in steps.
const uplinkSlack = 1.5

// join is the price of one more participant. That the other tiles get smaller
// for him, and cheaper with them, is not in it.
func (r *rates) join(j joining) Price {
	p := Price{Network: r.network}
	if j.role != RoleViewer {
		tile := min(uplinkSlack/float64(j.tiles+1), 1) * float64(j.canvas.Width*j.canvas.Height) / 1e6
		p.Decode = r.decode * max(tile, r.decoded) * float64(j.canvas.FPS)
		p.Sound = r.sound
	}
	if j.first {
		p.Compose = r.canvas(j.canvas).Compose
	}
	if j.role != RolePublisher && !j.noVideo {
		p.Encode = r.encode * pixelRate(j.starts.Width, j.starts.Height, j.starts.FPS)
	}
	if j.own != (video.Tier{}) {
		own := r.canvas(j.canvas, j.own)
		p.Compose += own.Compose
		p.Encode += own.Encode
	}
	return p
}
