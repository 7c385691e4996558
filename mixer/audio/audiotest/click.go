package audiotest

import (
	"math"
	"time"

	"mixdown/codec"
)

// Click is a place where sound breaks.
type Click struct {
	At time.Duration
	// DB is how far it stands out.
	DB float64
}

const (
	clickWindow = codec.SampleRate / 2000 // 0.5 ms: a break is that short
	clickGuard  = 4                       // 2 ms: what a break smears over
	clickAround = 40                      // 20 ms: longer than any pitch period
	// ClickDB is from where something counts as a click. Coded speech without
	// any break reached 13.7 dB in four minutes and 14.8 dB, once, in an hour (the
	// sharpest burst of a real voice), an Opus stream that goes on from a fresh encoder in loud speech 15 to 30.
	ClickDB = 14
	// clickFloor is about -80 dBov after differencing: below it nothing is
	// heard.
	clickFloor = 12
)

// Clicks finds breaks in sound: half milliseconds in which the third
// difference (which leaves what is not smooth) has more than [ClickDB] more
// power than anywhere in the 20 ms before and the 20 ms after. Onsets of speech
// stay loud afterwards, and the pulses of a voice come again within 20 ms, so
// neither is taken for one.
func Clicks(x []int16) []Click {
	n := len(x) / clickWindow
	power := make([]float64, n)
	var d0, d1, d2 float64 // the last sample and its first two differences
	for i := range n * clickWindow {
		v := float64(x[i])
		a := v - d0
		b := a - d1
		c := b - d2
		d0, d1, d2 = v, a, b
		power[i/clickWindow] += c * c / clickWindow
	}
	var found []Click
	for k := clickAround; k < n-clickAround; k++ {
		around := float64(clickFloor * clickFloor)
		for d := clickGuard; d <= clickAround; d++ {
			around = max(around, power[k-d], power[k+d])
		}
		if db := 10 * math.Log10((power[k]+1)/around); db > ClickDB {
			at := time.Duration(k*clickWindow) * time.Second / codec.SampleRate
			if last := len(found) - 1; last >= 0 && at-found[last].At <= 4*time.Millisecond {
				found[last].DB = max(found[last].DB, db)
				continue
			}
			found = append(found, Click{at, db})
		}
	}
	return found
}
