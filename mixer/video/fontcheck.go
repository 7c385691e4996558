package video

// FontCheck is what a system's fonts can write.
type FontCheck struct {
	// Families is how many there are, at most as many as labels look through.
	Families int
	// Missing are the scripts that none of them has.
	Missing []string
}

// scripts are what names are commonly written in, by a character of each.
var scripts = []struct {
	name   string
	sample rune
}{
	{"Latin", 'é'}, {"Greek", 'Ω'}, {"Cyrillic", 'Ж'}, {"Arabic", 'ش'}, {"Hebrew", 'ש'}, {"Devanagari", 'क'}, {"Thai", 'ก'},
	{"Korean", '한'}, {"Japanese", 'あ'}, {"Chinese", '漢'}, {"emoji", '😀'},
}

// CheckFonts looks for what can be written with the fonts in dirs, by default the
// system's directories. It takes up to a second where there are many fonts.
func CheckFonts(dirs []string) FontCheck {
	if dirs == nil {
		dirs = systemFontDirs()
	}
	var c FontCheck
	fonts, err := openFonts(dirs)
	if err == nil {
		c.Families = len(fonts.faces)
	}
	for _, s := range scripts {
		if err != nil || !fonts.has(s.sample) {
			c.Missing = append(c.Missing, s.name)
		}
	}
	return c
}

// has reports whether some face has a character.
func (b *fontBook) has(r rune) bool {
	for _, f := range b.faces {
		if f.covers(r) {
			return true
		}
	}
	return false
}
