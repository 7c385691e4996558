package mixer

import (
	"math"
	"sync/atomic"

	"mixdown/mixer/audio"
)

// audioClasses are the rates at which a mix is coded: one for clean links, one
// with forward error correction for links that lose a little, one with more of
// both. The rate grows because correction takes its share of it. Each that has
// listeners costs an encode.
var audioClasses = []audio.Class{
	{BitrateBps: 32_000},
	{BitrateBps: 40_000, PacketLossPercent: 8},
	{BitrateBps: 48_000, PacketLossPercent: 20},
}

// From classUp[i] on, somebody in class i goes one up; below classDown[i]
// somebody in class i+1 goes one down. Single packets that are lost now and
// then are concealed well enough.
var (
	classUp   = [...]float64{0.02, 0.08}
	classDown = [...]float64{0.005, 0.04}
)

// lossMemory weighs a new report: those of the last three or so count.
const lossMemory = 0.3

// lossClass chooses a class by the loss that a client reports of its sound.
// Safe for concurrent use.
type lossClass struct {
	loss atomic.Uint64 // math.Float64bits of the mean
	at   atomic.Int32
	most atomic.Int32 // the highest class that suits the client
	take atomic.Int32 // the bitrate that others may send it as they do
}

// mostRelayed is the most that is handed on of what others send, as much as our
// own encoder may be set to: beyond, it is no speech that they send.
const mostRelayed = 64_000

// limit says which rate the client can take at most, 0 being any, and whether
// it makes use of error correction. Without limit it takes the lowest class.
func (c *lossClass) limit(maxBps int, fec bool) {
	most := 0
	for i, class := range audioClasses {
		if (maxBps == 0 || class.BitrateBps <= maxBps) && (fec || class.PacketLossPercent == 0) {
			most = i
		}
	}
	c.most.Store(int32(most))
	take := mostRelayed
	if maxBps > 0 {
		take = min(maxBps, take)
	}
	c.take.Store(int32(take))
}

// relayBps is the bitrate of others' packets that the client can be given as they
// came, 0 being none: where sound is lost, it is our encoder that does something
// about it. Without limit it is none.
func (c *lossClass) relayBps() int {
	if c.at.Load() > 0 {
		return 0
	}
	return int(c.take.Load())
}

// class is the class to be in.
func (c *lossClass) class() int { return int(min(c.at.Load(), c.most.Load())) }

// report takes a fraction, 0..1. Reports come one at a time.
func (c *lossClass) report(fraction float64) {
	if !(fraction >= 0 && fraction <= 1) {
		return
	}
	loss := math.Float64frombits(c.loss.Load())
	loss += lossMemory * (fraction - loss)
	c.loss.Store(math.Float64bits(loss))
	switch now := c.at.Load(); {
	case int(now) < len(classUp) && loss >= classUp[now]:
		c.at.Store(now + 1)
	case now > 0 && loss < classDown[now-1]:
		c.at.Store(now - 1)
	}
}
