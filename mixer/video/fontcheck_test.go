package video

import (
	"slices"
	"testing"
)

// TestCheckFonts needs the fonts that the Makefile installs.
func TestCheckFonts(t *testing.T) {
	c := CheckFonts(nil)
	if c.Families == 0 {
		t.Fatal("no fonts were found")
	}
	for _, script := range []string{"Latin", "Korean", "Japanese", "Chinese", "emoji"} {
		if slices.Contains(c.Missing, script) {
			t.Errorf("no font has %s", script)
		}
	}
	if c := CheckFonts([]string{t.TempDir()}); c.Families != 0 || len(c.Missing) != len(scripts) {
		t.Errorf("with no fonts: %+v", c)
	}
}
