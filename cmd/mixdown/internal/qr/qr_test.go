package qr_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"mixdown/cmd/mixdown/internal/qr"
)

// link is as long as an invitation is.
const link = "https://192.168.1.20:8443/r/standup#token=eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." +
	"eyJpc3MiOiJBUElfMTIzNDU2Nzg5IiwiZXhwIjoxNzYzNjc2ODAwLCJ2aWRlbyI6eyJyb29tSm9pbiI6dHJ1ZSwicm9vbSI6InN0YW5kdXAifSwibWl4Ijp7InJvbGUiOiJzcGVha2VyIn19." +
	"c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWduYXR1cmUtc2ln"

// picture is a code as # and ., without what is around it.
func picture(c *qr.Code) string {
	var b strings.Builder
	for y := range c.Width() {
		for x := range c.Width() {
			if c.Dark(x, y) {
				b.WriteByte('#')
			} else {
				b.WriteByte('.')
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// TestEncode compares with pictures that other programs (zbar) have read.
func TestEncode(t *testing.T) {
	for file, text := range map[string]string{
		"version1.txt":  "mixdown",
		"version6.txt":  strings.Repeat("0123456789", 12),
		"version10.txt": link,
		"version20.txt": strings.Repeat("x", qr.MaxLength),
	} {
		c, err := qr.Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if got := picture(c); got != string(want) {
			t.Errorf("%s:\n%s", file, got)
		}
	}
}

// TestSizes: the smallest that holds the text.
func TestSizes(t *testing.T) {
	for length, width := range map[int]int{0: 21, 17: 21, 18: 25, 134: 41, 135: 45, 230: 53, 231: 57, 321: 61, 322: 65, qr.MaxLength: 97} {
		c, err := qr.Encode(strings.Repeat("a", length))
		if err != nil {
			t.Fatalf("%d bytes: %v", length, err)
		}
		if c.Width() != width {
			t.Errorf("%d bytes: %d modules wide: want %d", length, c.Width(), width)
		}
	}
	if _, err := qr.Encode(strings.Repeat("a", qr.MaxLength+1)); !errors.Is(err, qr.ErrTooLong) {
		t.Errorf("error %v: want ErrTooLong", err)
	}
}

// TestString: lines of one width, that end as the terminal was.
func TestString(t *testing.T) {
	c, err := qr.Encode("mixdown")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(c.String(), "\n"), "\n")
	if len(lines) != 13 {
		t.Errorf("%d lines: want 25 rows in pairs", len(lines))
	}
	for i, l := range lines {
		body, ok := strings.CutPrefix(l, "\x1b[30;107m")
		body, end := strings.CutSuffix(body, "\x1b[0m")
		if !ok || !end || len([]rune(body)) != 25 {
			t.Errorf("line %d: %q", i, l)
		}
	}
}
