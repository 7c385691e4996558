package video

import "time"

// Limits on what one sender may make us decode (a 16383x16383 VP8 picture
// would take 400 MB).
const (
	maxSourceLong  = 1920
	maxSourceShort = 1088 // 1080 rounded up to whole macroblocks
	// sizeChangeEvery is how often a picture may change its size: each change
	// makes the decoder allocate anew.
	sizeChangeEvery = time.Second
	// defaultPixelRate is 1080p at 40 fps: more than any tile shows, less than
	// a third of one core.
	defaultPixelRate = maxSourceLong * maxSourceShort * 40
)

// police decides which coded pictures of one source are decoded at all. It
// counts in pixels, on the frames' Arrival clock. Not safe for concurrent use.
//
// Pixels are a bucket that holds one second's worth. When it is empty only
// key frames pass, and they too stop once they have overdrawn it by another
// second's worth.
type police struct {
	rate float64 // pixels per second

	level   float64 // pixels left; down to -rate
	last    time.Duration
	started bool

	width, height int // of the last key frame that passed
	changed       time.Duration
	sizes         int // how many sizes have passed
}

// ruling is what police says of one frame.
type ruling uint8

const (
	pass ruling = iota
	tooLarge
	tooManySizes
	tooManyPixels
)

// key judges a key frame of that size.
func (p *police) key(width, height int, now time.Duration) ruling {
	p.refill(now)
	// Phones send it turned by 90 degrees.
	if min(width, height) < 1 || max(width, height) > maxSourceLong || min(width, height) > maxSourceShort {
		return tooLarge
	}
	resized := width != p.width || height != p.height
	// The first change after the start is free of the interval: senders begin
	// small and grow as soon as they know their link.
	if resized && p.sizes > 1 && now-p.changed < sizeChangeEvery {
		return tooManySizes
	}
	if p.level < -p.rate+float64(width*height) {
		return tooManyPixels
	}
	if resized {
		p.width, p.height, p.changed = width, height, now
		p.sizes = min(p.sizes+1, 2)
	}
	p.level -= float64(width * height)
	return pass
}

// delta judges a frame that is not a key frame.
func (p *police) delta(now time.Duration) ruling {
	p.refill(now)
	if p.level < float64(p.width*p.height) {
		return tooManyPixels
	}
	p.level -= float64(p.width * p.height)
	return pass
}

func (p *police) refill(now time.Duration) {
	if !p.started {
		p.started, p.level = true, p.rate
	} else if now > p.last {
		p.level = min(p.rate, p.level+p.rate*(now-p.last).Seconds())
	}
	p.last = max(p.last, now)
}
