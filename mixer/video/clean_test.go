package video

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"golang.org/x/text/unicode/norm"
)

func TestCleanName(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "Ada Lovelace", "Ada Lovelace"},
		{"empty", "", ""},
		{"only space", " \t\n ", ""},
		{"newlines and tabs", "Ada\r\n\tLovelace\n", "Ada Lovelace"},
		{"line and paragraph separators", "a\u2028b\u2029c", "a b c"},
		{"controls", "a\x00b\x1b[31mc\x7f\u0085", "ab[31mc"},
		{"bidi override", "abc\u202egnp.exe", "abcgnp.exe"},
		{"bidi isolates and marks", "\u2066a\u2069\u200eb\u200f\u061c", "ab"},
		{"zero width space, BOM, soft hyphen", "a\u200bb\ufeffc\u00add", "abcd"},
		{"joiners stay", "\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"},
		{"NFC", "Zoe\u0308", "Zo\u00eb"},
		{"Hangul jamo compose", "\u1112\u1161\u11ab", "\ud55c"},
		{"composes across what is removed", "e\u202e\u0301", "\u00e9"},
		{"invalid UTF-8", "a\xffb\xc3", "ab"},
		{"replacement character", "a\ufffdb", "ab"},
		{"private use", "a\ue000b", "ab"},
		{"Korean", "김민수", "김민수"},
		{"emoji family is one", "👨‍👩‍👧‍👦", "👨‍👩‍👧‍👦"},
		{"odd spaces", "a\u00a0\u3000b", "a b"},
		{"too long", strings.Repeat("x", 100), strings.Repeat("x", 64)},
		{"cut at a space", strings.Repeat("x", 63) + " yyy", strings.Repeat("x", 63)},
		{"stacked marks", "a" + strings.Repeat("\u0338", 50) + "b", "a" + strings.Repeat("\u0338", 4) + "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := CleanName(c.in); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestInitials(t *testing.T) {
	for in, want := range map[string]string{
		"": "?", "  ": "?", "ada": "A", "Ada Lovelace": "AL", "Johann Sebastian Bach": "JB",
		"김민수": "김", "jean-luc picard": "JP", "éva": "É", "(guest) 7": "G7", "\u202e": "?", "...": "?",
		"محمد علي": "مع", "👨‍👩‍👧‍👦": "👨‍👩‍👧‍👦",
	} {
		if got := Initials(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"", "Ada", "김민수", "a\u202eb", "e\u0301\u0301\u0301\u0301\u0301\u0301", "\xff\xfe", "👨‍👩‍👧‍👦", "\u1112\u1161\u11ab", "a\u200d\u200d\u200d\u200d\u200d b", "\u0300\u0301", "ﷺﷺﷺ", "🇰🇷🇰🇷🇰"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := CleanName(s)
		if !utf8.ValidString(got) || !norm.NFC.IsNormalString(got) {
			t.Errorf("%q -> %q is not NFC", s, got)
		}
		if n := uniseg.GraphemeClusterCount(got); n > MaxNameGraphemes {
			t.Errorf("%q -> %d graphemes", s, n)
		}
		for _, r := range got {
			if unicode.IsControl(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == '\u2028' || r == '\u2029' {
				t.Errorf("%q -> %q holds %U", s, got, r)
			}
		}
		if again := CleanName(got); again != got {
			t.Errorf("%q -> %q -> %q", s, got, again)
		}
		Initials(s)
	})
}
