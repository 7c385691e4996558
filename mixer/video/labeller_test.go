package video

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-text/typesetting/di"
	"github.com/go-text/typesetting/font"

	"mixdown/codec/yuv"
	"mixdown/mixer/layout"
)

// await returns what key looks like as soon as it has been rendered.
func await(l *Labeller, key labelKey) *yuv.Overlay {
	for {
		if o, ready := l.get(key); ready {
			return o
		}
		l.mu.Lock()
		if el := l.mu.cache[key]; el == nil || !el.Value.(*label).ready {
			l.mu.wake.Wait()
		}
		l.mu.Unlock()
	}
}

var tile9 = layout.Rect{W: 416, H: 234}

func systemSetter(t testing.TB) *typesetter {
	t.Helper()
	fonts, err := openFonts(systemFontDirs())
	if err != nil {
		t.Fatalf("these tests want fonts, such as fonts-dejavu-core and fonts-noto-cjk: %v", err)
	}
	return &typesetter{fonts: fonts}
}

// ink counts the samples of an overlay that are bright and opaque: text.
func ink(o *yuv.Overlay) int {
	n := 0
	for i, a := range o.A {
		if a > 200 && o.Y[i] > 150 {
			n++
		}
	}
	return n
}

// TestScriptsHaveGlyphs: each name is set in faces that have all its
// characters, none as the empty box (glyph 0).
func TestScriptsHaveGlyphs(t *testing.T) {
	setter := systemSetter(t)
	for _, c := range []struct {
		name, text string
		rightward  bool
	}{
		{"Latin", "Ada Lovelace", true},
		{"Korean", "김민수", true},
		{"Korean and Latin", "김민수 (Minsu)", true},
		{"Japanese", "山田さくら", true},
		{"Chinese", "王小明", true},
		{"Cyrillic", "Анна Каренина", true},
		{"Greek", "Ελένη", true},
		{"accents", "Žofie Ångström", true},
		{"Arabic", "محمد علي", false},
		{"emoji", "Zoë 🎉", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := setter.shape(c.text, 16, 1000)
			if len(l.runs) == 0 || l.width == 0 {
				t.Fatal("nothing was set")
			}
			for _, run := range l.runs {
				if run.Direction.IsVertical() {
					t.Error("set vertically")
				}
				for _, g := range run.Glyphs {
					if g.GlyphID == 0 {
						t.Errorf("rune %d of %q is an empty box", g.TextIndex(), c.text)
					}
				}
			}
			if rightward := l.runs[0].Direction.Progression() == di.FromTopLeft; rightward != c.rightward {
				t.Errorf("left to right is %v", rightward)
			}
			key, _ := nameKey(c.text, tile9)
			o, err := setter.render(key)
			if err != nil || o == nil {
				t.Fatalf("%v, %v", o, err)
			}
			if ink(o) < 20 {
				t.Errorf("%d samples of text", ink(o))
			}
		})
	}
}

// TestArabicIsJoined: the letters of a word take other shapes in its middle
// than alone, which is what a shaper is for.
func TestArabicIsJoined(t *testing.T) {
	setter := systemSetter(t)
	glyphs := func(text string) (ids []font.GID) {
		for _, run := range setter.shape(text, 16, 1000).runs {
			for _, g := range run.Glyphs {
				ids = append(ids, g.GlyphID)
			}
		}
		return ids
	}
	joined, alone := glyphs("حح"), glyphs("ح")
	if len(joined) != 2 || len(alone) != 1 || joined[0] == alone[0] || joined[1] == alone[0] {
		t.Errorf("glyphs %v joined, %v alone", joined, alone)
	}
}

// TestHanByRegion: the same character is drawn as its readers know it, from one font.
func TestHanByRegion(t *testing.T) {
	setter := systemSetter(t)
	glyph := func(text string) (font.GID, *font.Face) {
		run := setter.shape(text, 16, 1000).runs[0]
		return run.Glyphs[0].GlyphID, run.Face
	}
	chinese, face := glyph("\u76f4")
	japanese, other := glyph("\u76f4\u3055")
	if chinese == japanese {
		t.Error("U+76F4 is the same in Chinese and Japanese")
	}
	if face != other {
		t.Error("two fonts of 20 MB for one script")
	}
}

// TestMixedDirections: in a right-to-left name the Latin part stands left of
// what comes before it in the text.
func TestMixedDirections(t *testing.T) {
	l := systemSetter(t).shape("محمد Smith", 16, 1000)
	if len(l.runs) < 2 {
		t.Fatalf("%d runs", len(l.runs))
	}
	if first, last := l.runs[0].Runes.Offset, l.runs[len(l.runs)-1].Runes.Offset; first <= last {
		t.Errorf("seen first: rune %d, last: rune %d", first, last)
	}
}

func TestLongNamesEndInEllipsis(t *testing.T) {
	setter := systemSetter(t)
	for _, text := range []string{
		strings.Repeat("wide ", 12), strings.Repeat("W", 64), strings.Repeat("김", 64), strings.Repeat("م", 64),
	} {
		key, _ := nameKey(text, tile9)
		o, err := setter.render(key)
		if err != nil || o == nil {
			t.Fatalf("%q: %v", text, err)
		}
		if o.Width > tile9.W-2*labelMargin(tile9) {
			t.Errorf("%q: %d wide", text, o.Width)
		}
		if o.Width < tile9.W/2 {
			t.Errorf("%q: only %d of %d wide", text, o.Width, tile9.W)
		}
		l := setter.shape(text, key.size, 200)
		shown := 0
		for _, run := range l.runs {
			shown += len(run.Glyphs)
		}
		if l.width > 200 || shown >= 64 {
			t.Errorf("%q: %d glyphs, %d wide", text, shown, l.width)
		}
	}
}

// TestHostileNames: bounded in size and time whatever the name.
func TestHostileNames(t *testing.T) {
	setter := systemSetter(t)
	for _, text := range []string{
		strings.Repeat("a\u0338\u0301", 4000), "\u202e\u202d", "\x00\x01", "a\nb\nc\nd",
		strings.Repeat("\u0300", 64), strings.Repeat("👨‍👩‍👧‍👦", 64), "\U0010fffd", "\ufdfd\ufdfd\ufdfd", strings.Repeat("\u200d", 100),
	} {
		key, _ := nameKey(text, tile9)
		o, err := renderSafely(setter, key)
		if err != nil {
			t.Errorf("%.20q: %v", text, err)
		}
		if o != nil && (o.Width > tile9.W || o.Height > tile9.H/4 || o.Width%2 != 0 || o.Height%2 != 0) {
			t.Errorf("%.20q: %dx%d", text, o.Width, o.Height)
		}
	}
}

// TestPill: the label's corners are clear, its ground is translucent black,
// Latin and Korean letters stand on it.
func TestPill(t *testing.T) {
	setter := systemSetter(t)
	for _, text := range []string{"Ada", "김민수"} {
		key, _ := nameKey(text, tile9)
		o, err := setter.render(key)
		if err != nil {
			t.Fatal(err)
		}
		if o.A[0] > 40 || o.A[o.Width-1] > 40 {
			t.Errorf("%s: corners are %d and %d opaque", text, o.A[0], o.A[o.Width-1])
		}
		middle := o.Height/2*o.StrideY + 2 // left of the text
		if o.A[middle] != pillColour.A || o.Y[middle] != 16 {
			t.Errorf("%s: ground is %d at opacity %d", text, o.Y[middle], o.A[middle])
		}
		if o.U[0] != 128 || o.V[0] != 128 {
			t.Errorf("%s: ground is coloured", text)
		}
		if ink(o) < 30 {
			t.Errorf("%s: %d samples of text", text, ink(o))
		}
	}
}

func TestAvatar(t *testing.T) {
	setter := systemSetter(t)
	key, ok := avatarKey("Ada Lovelace", 3, tile9)
	if !ok {
		t.Fatal("no avatar on a tile of 416x234")
	}
	o, err := setter.render(key)
	if err != nil || o == nil {
		t.Fatal(err)
	}
	if o.Width != key.size || o.Height != key.size || o.A[0] != 0 {
		t.Errorf("%dx%d, corner %d", o.Width, o.Height, o.A[0])
	}
	disc := hues[3].disc
	at := o.Height / 8 * o.StrideY // near the top, in the middle
	at += o.Width / 2
	if o.A[at] != 255 || o.Y[at] != disc.y || o.U[o.Height/16*o.StrideUV+o.Width/4] != disc.u {
		t.Errorf("disc is %d at %d, want %d", o.Y[at], o.A[at], disc.y)
	}
	if ink(o) < 100 {
		t.Errorf("%d samples of initials", ink(o))
	}
}

func TestLabellerCachesAndBounds(t *testing.T) {
	l, err := NewLabeller(LabellerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	const most = 20
	l.labels = most
	runLabeller(t, l)
	key, _ := nameKey("Ada", tile9)
	if _, ready := l.get(key); ready {
		t.Error("ready before it was rendered")
	}
	o := await(l, key)
	if o == nil {
		t.Fatal("nothing rendered")
	}
	if again, ready := l.get(key); again != o || !ready {
		t.Error("not kept")
	}
	if n := testing.AllocsPerRun(100, func() { l.get(key) }); n != 0 {
		t.Errorf("%v allocations per hit", n)
	}
	for i := range most + 50 {
		k := key
		k.text, k.size = fmt.Sprint("n", i), 11
		await(l, k)
	}
	s := l.Stats()
	if s.Cached > most || s.Bytes > maxLabelBytes || s.Evicted < 50 || s.Rendered < most+50 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
	if _, ready := l.get(key); ready {
		t.Error("the least recently used was kept")
	}
	await(l, key)
}

func TestLabellerQueueIsBounded(t *testing.T) {
	l, err := NewLabeller(LabellerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxLabelRequests + 10 {
		l.get(labelKey{text: fmt.Sprint(i), size: 16, maxWidth: 100})
	}
	if s := l.Stats(); s.Refused != 10 || s.Cached != maxLabelRequests {
		t.Errorf("%+v", s)
	}
}

// TestNoFonts: said once, no names, discs without initials, no crash.
func TestNoFonts(t *testing.T) {
	var log bytes.Buffer
	l, err := NewLabeller(LabellerConfig{FontDirs: []string{t.TempDir()}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	for i := range 3 {
		if o := await(l, labelKey{text: fmt.Sprint(i), size: 16, maxWidth: 100}); o != nil {
			t.Error("a name without a font")
		}
	}
	if o := await(l, labelKey{kind: avatar, text: "Ada", size: 100}); o == nil || ink(o) != 0 {
		t.Error("want a bare disc")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "install a font"); n != 1 {
		t.Errorf("logged %d times: %s", n, log.String())
	}
	if l.Run(context.Background()) == nil {
		t.Error("a second Run was taken")
	}
}

func BenchmarkRenderName(b *testing.B) {
	setter := systemSetter(b)
	key, _ := nameKey("김민수 (Minsu Kim)", tile9)
	setter.render(key)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := setter.render(key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenFonts(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := openFonts(systemFontDirs()); err != nil {
			b.Fatal(err)
		}
	}
}
