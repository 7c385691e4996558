package video

import (
	"strings"
	"testing"
)

func TestParseTier(t *testing.T) {
	for _, c := range []struct {
		text string
		want Tier
		err  string
	}{
		{text: "1280x720@30", want: Tier{1280, 720, 30, 1_500_000}},
		{text: "640x360@30", want: Tier{640, 360, 30, 600_000}},
		{text: "320x180@15", want: Tier{320, 180, 15, 150_000}},
		{text: "1920x1080@30", want: Tier{1920, 1080, 30, 2_600_000}},
		{text: "16x16@1", want: Tier{16, 16, 1, 50_000}},
		{text: "", err: "want WIDTHxHEIGHT@FPS, for example 1280x720@30"},
		{text: "1280x720", err: "want WIDTHxHEIGHT@FPS"},
		{text: "1280@30", err: "want WIDTHxHEIGHT@FPS"},
		{text: "x720@30", err: `width ""`},
		{text: "1280x+720@30", err: `height "+720"`},
		{text: "1280x720@030", err: `fps "030"`},
		{text: "1280x720@30fps", err: `fps "30fps"`},
		{text: "999999x720@30", err: `width "999999"`},
		{text: "1281x720@30", err: "width: 1281, want even, 16..3840"},
		{text: "1280x720@61", err: "fps: 61, want 1..60"},
		{text: strings.Repeat("9", 500), err: `999..."`},
	} {
		got, err := ParseTier(c.text)
		if c.err == "" && (err != nil || got != c.want) {
			t.Errorf("%q: %+v, %v, want %+v", c.text, got, err, c.want)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%q: error %v, want one with %q", c.text, err, c.err)
		}
		if err != nil && len(err.Error()) > 250 {
			t.Errorf("%.20q...: error of %d bytes", c.text, len(err.Error()))
		}
	}
}

func TestTierValidate(t *testing.T) {
	if err := (Tier{Width: 640, Height: 360, FPS: 30, BitrateBps: -1}).Validate(); err == nil || !strings.Contains(err.Error(), "bitrate: -1") {
		t.Errorf("negative bitrate: %v", err)
	}
	if got := (Tier{Width: 640, Height: 360, FPS: 30}).bitrate(); got != 600_000 {
		t.Errorf("default bitrate %d", got)
	}
	if got := (Tier{Width: 640, Height: 360, FPS: 30, BitrateBps: 7}).bitrate(); got != 7 {
		t.Errorf("own bitrate %d", got)
	}
}

func TestTierSizeOf(t *testing.T) {
	tier := Tier{Width: 640, Height: 360, FPS: 30}
	for _, c := range []struct {
		name               string
		w, h, wantW, wantH int
	}{
		{"same shape", 1280, 720, 640, 360},
		{"never enlarged", 320, 180, 320, 180},
		{"portrait", 720, 1280, 202, 360},
		{"4:3", 1024, 768, 480, 360},
		{"sliver stays codable", 3840, 16, 640, 16},
	} {
		if w, h := tier.sizeOf(c.w, c.h); w != c.wantW || h != c.wantH {
			t.Errorf("%s: %dx%d, want %dx%d", c.name, w, h, c.wantW, c.wantH)
		}
	}
}

func FuzzParseTier(f *testing.F) {
	for _, s := range []string{"1280x720@30", "640x360@30", "320x180@15", "", "x@", "-1x2@3", "1e3x720@30", "１２８０x720@30", "0x0@0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tier, err := ParseTier(s)
		if err != nil {
			return
		}
		if tier.Validate() != nil || tier.BitrateBps <= 0 {
			t.Errorf("%q parsed to %+v", s, tier)
		}
		if tier.String() != s {
			t.Errorf("%q comes back as %q", s, tier)
		}
	})
}
