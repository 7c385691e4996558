package video

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"golang.org/x/text/unicode/norm"
)

// Limits on what people may call themselves. They bound the work of shaping a
// name and what it can do to its surroundings: a base letter with a hundred
// accents paints over the tiles above and below.
const (
	// MaxNameGraphemes is how many characters, as a reader counts them, of a
	// name are kept.
	MaxNameGraphemes = 64
	maxMarks         = 4    // combining marks per grapheme
	maxGraphemeRunes = 16   // an emoji family of four has seven
	maxNameBytes     = 4096 // looked at, before anything else
)

// CleanName makes text that somebody sent fit to be shown: NFC, valid UTF-8,
// on one line, without control characters and bidirectional overrides, at most
// [MaxNameGraphemes] graphemes with at most 4 combining marks each. Runs of
// spaces become one. It may return "".
func CleanName(s string) string {
	if len(s) > maxNameBytes {
		s = s[:maxNameBytes] // a rune cut in two is dropped below
	}
	return clean(s, MaxNameGraphemes)
}

// CleanText does the same to what somebody has written to others, and keeps all
// of its graphemes. Its length is the caller's to bound.
func CleanText(s string) string { return clean(s, len(s)) }

func clean(s string, graphemes int) string {
	var b strings.Builder
	b.Grow(len(s))
	space := false
	for _, r := range norm.NFC.String(strings.ToValidUTF8(s, "")) {
		switch {
		case unicode.IsSpace(r) || unicode.In(r, unicode.Zs):
			space = b.Len() > 0
			continue
		case !showable(r):
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	// What was taken out may have brought together what composes.
	return norm.NFC.String(limitGraphemes(norm.NFC.String(b.String()), graphemes))
}

// showable reports whether a rune may stand in a name. Of the format characters
// only the joiners stay, which emoji and the scripts of India and Iran need.
// The others reorder, hide or tag what stands around them.
func showable(r rune) bool {
	switch r {
	case utf8.RuneError:
		return false
	case '\u200c', '\u200d':
		return true
	}
	return !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Cs, unicode.Co, unicode.Zl, unicode.Zp)
}

// limitGraphemes keeps the first graphemes and of each the first marks.
func limitGraphemes(s string, most int) string {
	var b strings.Builder
	state := -1
	for n := 0; len(s) > 0 && n < most; n++ {
		var cluster string
		cluster, s, _, state = uniseg.FirstGraphemeClusterInString(s, state)
		marks, runes := 0, 0
		for _, r := range cluster {
			if unicode.Is(unicode.M, r) {
				if marks++; marks > maxMarks {
					continue
				}
			}
			if runes++; runes > maxGraphemeRunes {
				break
			}
			b.WriteRune(r)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// Initials returns the one or two characters that stand for a name: the first
// of the first and of the last word. Of a name in a script that does not part
// words, its first; "?" for an empty one.
func Initials(name string) string {
	words := strings.FieldsFunc(CleanName(name), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.Is(unicode.M, r) && r != '\u200d' && r != '\u200c' && r < 0x2190
	})
	if len(words) == 0 {
		return "?"
	}
	first := initial(words[0])
	if len(words) == 1 {
		return first
	}
	return first + initial(words[len(words)-1])
}

func initial(word string) string {
	cluster, _, _, _ := uniseg.FirstGraphemeClusterInString(word, -1)
	return strings.ToUpper(cluster)
}
