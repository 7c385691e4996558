package video

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"mixdown/mixer/layout"
)

// Tier is a size, rate and bitrate at which a canvas is offered.
type Tier struct {
	// Width and Height bound the coded picture; a canvas of another shape is
	// fitted inside, never stretched, and never enlarged.
	Width, Height int
	// FPS is the highest frame rate.
	FPS int
	// BitrateBps is the encoder's target. Zero means [Tier.DefaultBitrate].
	BitrateBps int
}

// tierForm is what the errors of ParseTier ask for.
const tierForm = "want WIDTHxHEIGHT@FPS, for example 1280x720@30"

// ParseTier reads "1280x720@30" and sets the default bitrate. The error names
// the part that is wrong and says what would be right.
func ParseTier(s string) (Tier, error) {
	size, rate, ok := strings.Cut(s, "@")
	width, height, ok2 := strings.Cut(size, "x")
	if !ok || !ok2 {
		return Tier{}, fmt.Errorf("tier %s: %s", shorten(s), tierForm)
	}
	var t Tier
	for _, part := range []struct {
		name, text string
		value      *int
	}{{"width", width, &t.Width}, {"height", height, &t.Height}, {"fps", rate, &t.FPS}} {
		n, err := number(part.text)
		if err != nil {
			return Tier{}, fmt.Errorf("tier %s: %s %s: %w; %s", shorten(s), part.name, shorten(part.text), err, tierForm)
		}
		*part.value = n
	}
	if err := t.Validate(); err != nil {
		return Tier{}, fmt.Errorf("tier %s: %w", shorten(s), err)
	}
	t.BitrateBps = t.DefaultBitrate()
	return t, nil
}

// number reads digits only: Atoi's signs would give one tier two spellings.
func number(s string) (int, error) {
	if s == "" || len(s) > 5 || strings.Trim(s, "0123456789") != "" || s[0] == '0' {
		return 0, errors.New("not a number without sign or leading zero")
	}
	return strconv.Atoi(s)
}

// shorten quotes what somebody sent, at most so much of it that an error
// stays readable.
func shorten(s string) string {
	const most = 40
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strconv.Quote(s)
}

// Validate reports every field that is out of range.
func (t Tier) Validate() error {
	err := layout.Canvas{Width: t.Width, Height: t.Height, FPS: t.FPS}.Validate()
	if t.BitrateBps < 0 || t.BitrateBps > maxBitrateBps {
		err = errors.Join(err, fmt.Errorf("bitrate: %d, want 0..%d bit/s", t.BitrateBps, maxBitrateBps))
	}
	return err
}

const maxBitrateBps = 100_000_000

// String returns "1280x720@30".
func (t Tier) String() string { return fmt.Sprintf("%dx%d@%d", t.Width, t.Height, t.FPS) }

// DefaultBitrate returns, in bit/s, 1.5 Mb/s for 1280x720@30, 600 kb/s for 640x360@30 and
// 150 kb/s for 320x180@15. All three lie on one curve, pixels per second to the
// power of 2/3, that also serves every other size: a picture of four times
// the pixels needs 2.5 times the bits to look as good.
func (t Tier) DefaultBitrate() int {
	const reference, step = 1280 * 720 * 30, 50_000
	share := float64(t.Width) * float64(t.Height) * float64(t.FPS) / reference
	return max(1, int(math.Round(1_500_000*math.Pow(share, 2.0/3)/step))) * step
}

// bitrate is the target to encode at.
func (t Tier) bitrate() int {
	if t.BitrateBps > 0 {
		return t.BitrateBps
	}
	return t.DefaultBitrate()
}

// SizeOn returns the size of the pictures of this tier of a canvas.
func (t Tier) SizeOn(c layout.Canvas) (w, h int) { return t.sizeOf(c.Width, c.Height) }

// sizeOf returns the size at which a canvas is coded: inside the tier,
// the canvas' aspect kept, not larger than the canvas.
func (t Tier) sizeOf(canvasW, canvasH int) (w, h int) {
	bounds := layout.Rect{W: min(t.Width, canvasW), H: min(t.Height, canvasH)}
	fit := layout.Fit(bounds, canvasW, canvasH)
	return max(fit.W, layout.MinSide), max(fit.H, layout.MinSide)
}
