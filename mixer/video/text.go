package video

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"slices"

	"github.com/go-text/typesetting/di"
	"github.com/go-text/typesetting/font"
	ot "github.com/go-text/typesetting/font/opentype"
	"github.com/go-text/typesetting/shaping"
	xdraw "golang.org/x/image/draw"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
	"golang.org/x/text/unicode/bidi"
)

// typesetter shapes one line of text at a time and draws it. Not safe for
// concurrent use.
type typesetter struct {
	fonts     *fontBook
	segmenter shaping.Segmenter
	shaper    shaping.HarfbuzzShaper
	wrapper   shaping.LineWrapper
	raster    vector.Rasterizer
}

// line is shaped text, its runs from left to right as they are seen.
type line struct {
	runs  []shaping.Output
	width int // pixels, rounded up
}

// shape sets text in a size (pixels per em) and ends it with an ellipsis where
// it would be wider than maxWidth pixels. Right-to-left text and mixtures come
// out in the order in which they are seen.
func (t *typesetter) shape(text string, size, maxWidth int) line {
	runes := []rune(text)
	direction := paragraphDirection(text)
	outs := t.shapeRuns(runes, size, direction)
	ellipsis := t.shapeRuns([]rune{'\u2026'}, size, direction)
	lines, _ := t.wrapper.WrapParagraph(shaping.WrapConfig{
		Direction: direction, TruncateAfterLines: 1, Truncator: ellipsis[0],
		BreakPolicy: shaping.Always,
	}, maxWidth, runes, shaping.NewSliceIterator(outs))
	if len(lines) == 0 {
		return line{}
	}
	runs := slices.Clone([]shaping.Output(lines[0])) // the wrapper reuses its own
	slices.SortStableFunc(runs, func(a, b shaping.Output) int { return int(a.VisualIndex - b.VisualIndex) })
	var width fixed.Int26_6
	for _, run := range runs {
		width += run.Advance
	}
	return line{runs, width.Ceil()}
}

func (t *typesetter) shapeRuns(runes []rune, size int, direction di.Direction) []shaping.Output {
	var outs []shaping.Output
	for _, input := range t.segmenter.Split(shaping.Input{
		Text: runes, RunEnd: len(runes), Direction: direction,
		Size: fixed.I(size), Language: textLanguage(runes),
	}, t.fonts) {
		outs = append(outs, t.shaper.Shape(input))
	}
	return outs
}

// paragraphDirection is that of the first strong character (UAX #9, rules P2
// and P3).
func paragraphDirection(text string) di.Direction {
	for _, r := range text {
		props, _ := bidi.LookupRune(r)
		switch props.Class() {
		case bidi.L:
			return di.DirectionLTR
		case bidi.R, bidi.AL:
			return di.DirectionRTL
		}
	}
	return di.DirectionLTR
}

// draw puts l on dst in a colour, its left end at x, its baseline at y.
func (t *typesetter) draw(dst *image.RGBA, l line, x, y int, c color.Color) {
	ink := image.NewUniform(c)
	dot := fixed.I(x)
	for i := range l.runs {
		run := &l.runs[i]
		scale := float32(run.Size) / 64 / float32(run.Face.Upem())
		for _, g := range run.Glyphs {
			gx := float32(dot+g.XOffset) / 64
			gy := float32(y) - float32(g.YOffset)/64
			t.drawGlyph(dst, run.Face, g, gx, gy, scale, ink)
			dot += g.Advance
		}
	}
}

func (t *typesetter) drawGlyph(dst *image.RGBA, face *font.Face, g shaping.Glyph, x, y, scale float32, ink image.Image) {
	if g.GlyphID == font.EmptyGlyph {
		return
	}
	if bitmap, ok := face.GlyphDataBitmap(g.GlyphID); ok && bitmap.Format == font.PNG {
		if drawBitmap(dst, bitmap, g, x, y) {
			return
		}
	}
	// Of layered colour fonts the plain outline is drawn.
	if outline, ok := face.GlyphDataOutline(g.GlyphID); ok {
		t.drawOutline(dst, outline, x, y, scale, ink)
	}
}

func (t *typesetter) drawOutline(dst *image.RGBA, outline font.GlyphOutline, x, y, scale float32, ink image.Image) {
	bounds := dst.Bounds()
	t.raster.Reset(bounds.Dx(), bounds.Dy())
	at := func(p ot.SegmentPoint) (float32, float32) { return x + p.X*scale, y - p.Y*scale }
	open := false
	for _, s := range outline.Segments {
		switch ax, ay := at(s.Args[0]); s.Op {
		case ot.SegmentOpMoveTo:
			if open {
				t.raster.ClosePath()
			}
			t.raster.MoveTo(ax, ay)
			open = true
		case ot.SegmentOpLineTo:
			t.raster.LineTo(ax, ay)
		case ot.SegmentOpQuadTo:
			bx, by := at(s.Args[1])
			t.raster.QuadTo(ax, ay, bx, by)
		case ot.SegmentOpCubeTo:
			bx, by := at(s.Args[1])
			cx, cy := at(s.Args[2])
			t.raster.CubeTo(ax, ay, bx, by, cx, cy)
		}
	}
	if open {
		t.raster.ClosePath()
	}
	t.raster.Draw(dst, bounds, ink, image.Point{})
}

// maxGlyphSide bounds the bitmaps of colour fonts; Noto's are 136x128.
const maxGlyphSide = 512

// drawBitmap draws a coloured glyph at the size that shaping gave it.
func drawBitmap(dst *image.RGBA, bitmap font.GlyphBitmap, g shaping.Glyph, x, y float32) bool {
	cfg, err := png.DecodeConfig(bytes.NewReader(bitmap.Data))
	if err != nil || cfg.Width > maxGlyphSide || cfg.Height > maxGlyphSide {
		return false
	}
	img, err := png.Decode(bytes.NewReader(bitmap.Data))
	if err != nil {
		return false
	}
	left := int(x + float32(g.XBearing)/64)
	top := int(y - float32(g.YBearing)/64)
	r := image.Rect(left, top, left+g.Width.Ceil(), top-g.Height.Floor())
	if r.Empty() || r.Dx() > maxGlyphSide || r.Dy() > maxGlyphSide {
		return false
	}
	xdraw.CatmullRom.Scale(dst, r, img, img.Bounds(), draw.Over, nil)
	return true
}
