package video

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/go-text/typesetting/font"
	ot "github.com/go-text/typesetting/font/opentype"
	"github.com/go-text/typesetting/font/opentype/tables"
	"github.com/go-text/typesetting/fontscan"
	"github.com/go-text/typesetting/language"
)

// Bounds of the search for fonts: a desktop may have thousands.
const (
	maxFontFiles    = 4096
	maxFontFamilies = 256
	maxRuneCache    = 4096
)

// errNoFonts says that nothing to write with was found.
var errNoFonts = errors.New("no usable font found")

// fontBook finds a face for each character: the fonts of the system, best
// first. It satisfies shaping.Fontmap. Font files are opened when a character
// first needs them. Not safe for concurrent use.
//
// It is small on purpose. fontscan's own FontMap picks by CSS families, wants
// a directory that it can write its index to, and keeps it in a global
// that is tried once; a server in a read-only container would have no labels.
type fontBook struct {
	faces []*fontFace
	runes map[rune]*font.Face
}

// fontFace is one face of one file.
type fontFace struct {
	file   string
	index  int
	family string // lower case, without spaces
	score  int    // lower is better
	emoji  bool   // has coloured glyphs
	bad    bool   // could not be loaded
	cmap   font.Cmap
	face   *font.Face
}

// systemFontDirs returns where this system keeps fonts.
func systemFontDirs() []string {
	dirs, err := fontscan.DefaultFontDirectories(discardLogger{})
	if err != nil {
		return nil
	}
	return dirs
}

// discardLogger drops what fontscan says about fontconfig files that are missing.
type discardLogger struct{}

func (discardLogger) Printf(string, ...any) {}

// openFonts reads the names of all fonts in dirs. It takes up to a second where
// there are many.
func openFonts(dirs []string) (*fontBook, error) {
	best := map[string]*fontFace{} // by family
	files := 0
	for _, dir := range dirs {
		// What cannot be read is passed over: the other fonts may do.
		_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !isFontFile(path) {
				return nil
			}
			if files++; files > maxFontFiles {
				return fs.SkipAll
			}
			for _, f := range describeFile(path) {
				if old := best[f.kin()]; old == nil || f.score < old.score {
					best[f.kin()] = f
				}
			}
			return nil
		})
	}
	b := &fontBook{runes: make(map[rune]*font.Face)}
	for _, f := range best {
		b.faces = append(b.faces, f)
	}
	slices.SortFunc(b.faces, func(x, y *fontFace) int {
		return cmp.Or(cmp.Compare(x.score, y.score), strings.Compare(x.family, y.family))
	})
	b.faces = b.faces[:min(len(b.faces), maxFontFamilies)]
	for _, f := range b.faces {
		if f.load() {
			return b, nil
		}
	}
	return nil, errNoFonts
}

// kin is the family, without the region that Noto's CJK fonts carry: every
// one of the five has all glyphs of all regions, and takes 20 MB once loaded.
func (f *fontFace) kin() string {
	if i := strings.Index(f.family, "cjk"); i >= 0 {
		return f.family[:i+len("cjk")]
	}
	return f.family
}

func isFontFile(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".ttf", ".otf", ".ttc", ".otc":
		return true
	}
	return false
}

// describeFile lists the faces of one file, or none if it is not a font.
func describeFile(path string) []*fontFace {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	loaders, err := ot.NewLoaders(file)
	if err != nil {
		return nil
	}
	var faces []*fontFace
	for i, ld := range loaders {
		desc, _ := font.Describe(ld, nil)
		f := &fontFace{file: path, index: i, family: font.NormalizeFamily(desc.Family)}
		for _, tag := range []string{"CBDT", "sbix", "COLR"} {
			f.emoji = f.emoji || ld.HasTable(ot.MustNewTag(tag))
		}
		f.score = fontScore(f.family, desc.Aspect)
		faces = append(faces, f)
	}
	return faces
}

// plainFamilies are fonts that read well when small, best first.
var plainFamilies = []string{"notosans", "inter", "roboto", "opensans", "sourcesans3", "dejavusans", "liberationsans", "arial", "helvetica"}

// fontScore ranks a face for labels: upright, neither thin nor heavy, sans-serif.
func fontScore(family string, a font.Aspect) int {
	score := int(math.Abs(float64(a.Weight) - float64(font.WeightMedium)))
	if a.Style != font.StyleNormal {
		score += 2000
	}
	if a.Stretch != font.StretchNormal {
		score += 1000
	}
	for _, odd := range []string{"serif", "mono", "math", "symbol", "condensed", "display"} {
		if strings.Contains(family, odd) {
			score += 4000
		}
	}
	if i := slices.Index(plainFamilies, family); i >= 0 {
		return score + 100*i
	}
	if strings.HasPrefix(family, "notosans") { // the scripts of the world, one family each
		return score + 1000
	}
	return score + 2000
}

// load reads the font file and reports whether it can be used.
func (f *fontFace) load() bool {
	if f.face != nil || f.bad {
		return !f.bad
	}
	f.bad = true
	file, err := os.Open(f.file)
	if err != nil {
		return false
	}
	defer file.Close()
	loaders, err := ot.NewLoaders(file)
	if err != nil || f.index >= len(loaders) {
		return false
	}
	ft, err := font.NewFont(loaders[f.index])
	if err != nil {
		return false
	}
	f.face, f.cmap, f.bad = font.NewFace(ft), ft.Cmap, false
	return true
}

// covers reports whether the face has a glyph for r. Only the table of
// characters is read for that, not the glyphs: a CJK font has 16 MB of them.
func (f *fontFace) covers(r rune) bool {
	if f.cmap == nil && !f.bad {
		cmap, err := readCmap(f.file, f.index)
		if err != nil {
			f.bad = true
			return false
		}
		f.cmap = cmap
	}
	if f.bad {
		return false
	}
	gid, ok := f.cmap.Lookup(r)
	return ok && gid != 0
}

func readCmap(path string, index int) (font.Cmap, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	loaders, err := ot.NewLoaders(file)
	if err != nil {
		return nil, err
	}
	if index >= len(loaders) {
		return nil, fmt.Errorf("%s: no face %d", path, index)
	}
	raw, err := loaders[index].RawTable(ot.MustNewTag("cmap"))
	if err != nil {
		return nil, err
	}
	table, _, err := tables.ParseCmap(raw)
	if err != nil {
		return nil, err
	}
	cmap, _, err := font.ProcessCmap(table, tables.FPNone)
	return cmap, err
}

// textLanguage guesses the language of a name. It matters for Han characters,
// which look different in Korea, Japan and China: the fonts that have all of
// them pick the shape by language. A name says which only by its other
// characters.
func textLanguage(text []rune) language.Language {
	guess := language.DefaultLanguage()
	for _, r := range text {
		switch {
		case unicode.Is(unicode.Hangul, r):
			return "ko"
		case unicode.In(r, unicode.Hiragana, unicode.Katakana):
			return "ja"
		case unicode.Is(unicode.Han, r):
			guess = "zh-hans"
		}
	}
	return guess
}

// ResolveFace returns the best face that has r, or the best face of all, whose
// empty box then stands for r.
func (b *fontBook) ResolveFace(r rune) *font.Face {
	if face, ok := b.runes[r]; ok {
		return face
	}
	if len(b.runes) >= maxRuneCache {
		clear(b.runes)
	}
	face := b.find(r)
	b.runes[r] = face
	return face
}

func (b *fontBook) find(r rune) *font.Face {
	// From here on up characters are pictures first.
	const pictographs = 0x1f000
	var second, coloured *fontFace
	for _, f := range b.faces {
		if !f.covers(r) {
			continue
		}
		switch {
		case f.emoji:
			if coloured == nil {
				coloured = f
			}
		case r >= pictographs:
			if second == nil {
				second = f
			}
		case f.load():
			return f.face
		}
	}
	if r >= pictographs && coloured != nil {
		second, coloured = coloured, second
	}
	for _, f := range append([]*fontFace{second, coloured}, b.faces...) {
		if f != nil && f.load() {
			return f.face
		}
	}
	return nil // not reached: openFonts loaded one
}
