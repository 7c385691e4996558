package ogg

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"mixdown/codec/ogg/oggtest"
	"mixdown/codec/opus"
)

// sound is a packet of 20 ms (SILK) and n bytes.
func sound(n int) []byte { return append([]byte{0x08}, bytes.Repeat([]byte{0x5a}, n-1)...) }

// all reads a file to its end.
func all(r io.Reader) (h Head, packets []Packet, err error) {
	in, err := NewReader(r)
	if err != nil {
		return Head{}, nil, err
	}
	for {
		p, err := in.Next()
		if err == io.EOF {
			return in.Head(), packets, nil
		} else if err != nil {
			return in.Head(), packets, err
		}
		p.Data = bytes.Clone(p.Data)
		packets = append(packets, p)
	}
}

func TestReader(t *testing.T) {
	want := [][]byte{sound(1), sound(254), sound(255), sound(256), sound(700), sound(1276)}
	file := oggtest.File(oggtest.Head(2, 1000, -3*256), 500, want...)
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(file), "byte by byte": iotest.OneByteReader(bytes.NewReader(file)),
	} {
		head, got, err := all(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := (Head{Channels: 2, PreSkip: 1000, InputRate: 48000, GainDB: -3}); head != want {
			t.Errorf("%s: head %+v: want %+v", name, head, want)
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %d packets: want %d", name, len(got), len(want))
		}
		for i, p := range got {
			from, to := 0, 960
			switch i {
			case 0:
				from = 960
			case 1:
				from = 40
			case len(got) - 1:
				to = 460
			}
			if !bytes.Equal(p.Data, want[i]) || p.Samples != 960 || p.From != from || p.To != to {
				t.Errorf("%s: packet %d: %d bytes, %d samples, %d to %d: want %d, 960, %d to %d",
					name, i, len(p.Data), p.Samples, p.From, p.To, len(want[i]), from, to)
			}
		}
	}
}

func TestPacketsAcrossPages(t *testing.T) {
	long := sound(1021) // 765 bytes fill their page, 256 are in the next
	var file []byte
	for _, page := range [][]byte{
		oggtest.Page(oggtest.First, 0, 1, 0, false, oggtest.Head(1, 0, 0)),
		oggtest.Page(0, -1, 1, 1, true, append(oggtest.Tags(), make([]byte, 510-len(oggtest.Tags()))...)),
		oggtest.Page(oggtest.Continued, 0, 1, 2, false, make([]byte, 9)),
		oggtest.Page(0, 960, 1, 3, true, sound(3), long[:255]),
		oggtest.Page(oggtest.Continued, -1, 1, 4, true, long[255:765]),
		oggtest.Page(oggtest.Continued, -1, 1, 5, true),
		oggtest.Page(oggtest.Continued|oggtest.Last, 2880, 1, 6, false, long[765:], sound(4)),
	} {
		file = append(file, page...)
	}
	_, got, err := all(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || len(got[0].Data) != 3 || !bytes.Equal(got[1].Data, long) || len(got[2].Data) != 4 {
		t.Fatalf("%d packets: want three of 3, 1021 and 4 bytes", len(got))
	}
}

func TestTrim(t *testing.T) {
	pages := func(offset int64, granules ...int64) []byte {
		file := oggtest.Page(oggtest.First, 0, 1, 0, false, oggtest.Head(1, 312, 0))
		file = append(file, oggtest.Page(0, 0, 1, 1, false, oggtest.Tags())...)
		for i, g := range granules {
			flags := byte(0)
			if i == len(granules)-1 {
				flags = oggtest.Last
			}
			file = append(file, oggtest.Page(flags, offset+g, 1, uint32(i+2), false, sound(2), sound(2))...)
		}
		return file
	}
	for _, tc := range []struct {
		name string
		file []byte
		want int // samples to hear
	}{
		{"nothing", pages(0, 1920, 3840), 3840 - 312},
		{"part of a packet", pages(0, 1920, 3500), 3500 - 312},
		{"a packet and a half", pages(0, 1920, 2400), 2400 - 312},
		{"the whole last page", pages(0, 1920, 1920), 1920 - 312},
		{"the only page", pages(0, 1000), 1000 - 312},
		{"all", pages(0, 100), 0},
		{"begun late", pages(1<<40, 1920, 3500), 3500 - 312},
		{"more promised than there is", pages(0, 1920, 9999), 3840 - 312},
	} {
		_, got, err := all(bytes.NewReader(tc.file))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		n := 0
		for _, p := range got {
			n += p.To - p.From
		}
		if n != tc.want {
			t.Errorf("%s: %d samples: want %d", tc.name, n, tc.want)
		}
	}
}

func TestBadFilesNameTheFault(t *testing.T) {
	good := oggtest.File(oggtest.Head(1, 0, 0), 0, sound(5), sound(5), sound(5))
	headPage := oggtest.Page(oggtest.First, 0, 1, 0, false, oggtest.Head(1, 0, 0))
	tagsPage := oggtest.Page(0, 0, 1, 1, false, oggtest.Tags())
	join := func(pages ...[]byte) []byte { return bytes.Join(pages, nil) }
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1] ^= 1
	var endless []byte
	for i := range uint32(300) {
		endless = append(endless, oggtest.Page(oggtest.Continued, -1, 1, i+2, true, make([]byte, 255*255))...)
	}
	for name, tc := range map[string]struct {
		file []byte
		want string
	}{
		"empty":          {nil, "empty"},
		"other format":   {[]byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"), "ffmpeg -i FILE"},
		"short":          {[]byte("OggS\x00\x02"), "cut off"},
		"page version":   {append([]byte("OggS\x01"), good[5:]...), "version 1"},
		"vorbis":         {oggtest.Page(oggtest.First, 0, 1, 0, false, []byte("\x01vorbis123")), "Vorbis"},
		"no beginning":   {oggtest.Page(0, 0, 1, 0, false, oggtest.Head(1, 0, 0)), "start of the file is missing"},
		"short head":     {oggtest.Page(oggtest.First, 0, 1, 0, false, oggtest.Head(1, 0, 0)[:18]), "18 bytes"},
		"head version":   {oggtest.Page(oggtest.First, 0, 1, 0, false, append([]byte("OpusHead\x10"), oggtest.Head(1, 0, 0)[9:]...)), "version 16"},
		"surround":       {oggtest.Page(oggtest.First, 0, 1, 0, false, oggtest.Head(6, 0, 0)), "channels 6"},
		"mapping":        {oggtest.Page(oggtest.First, 0, 1, 0, false, append(oggtest.Head(2, 0, 0)[:18], 1, 0, 0)), "mapping 1"},
		"crowded head":   {oggtest.Page(oggtest.First, 0, 1, 0, false, oggtest.Head(1, 0, 0), oggtest.Tags()), "not alone"},
		"no tags":        {join(headPage, oggtest.Page(0, 0, 1, 1, false, sound(5))), "want OpusTags"},
		"ends at head":   {headPage, "ends before OpusTags"},
		"tags and sound": {join(headPage, oggtest.Page(0, 0, 1, 1, false, oggtest.Tags(), sound(5))), "OpusTags does not end"},
		"endless tags":   {join(headPage, oggtest.Page(0, -1, 1, 1, true, append(oggtest.Tags(), make([]byte, 510-16)...)), endless), "OpusTags has more than"},
		"no sound":       {join(headPage, tagsPage), "no packets"},
		"cut off":        {good[:len(good)-3], "cut off"},
		"damaged":        {damaged, "page 4: checksum"},
		"missing page":   {join(headPage, tagsPage, oggtest.Page(0, 960, 1, 3, false, sound(5))), "numbered 3 after 1"},
		"multiplexed":    {join(headPage, oggtest.Page(oggtest.First, 0, 2, 0, false, []byte("\x80theora")), tagsPage), "multiplexed"},
		"other serial":   {join(headPage, tagsPage, oggtest.Page(0, 960, 9, 2, false, sound(5))), "second stream"},
		"chained":        {join(good, good), "chained"},
		"after the last": {join(good, oggtest.Page(0, 99999, 1, 5, false, sound(5))), "after the one that says it is the last"},
		"garbage behind": {join(good, make([]byte, 40)), "page 5 starts with"},
		"no packet":      {join(headPage, tagsPage, oggtest.Page(0, 960, 1, 2, false, nil)), "empty packet"},
		"not continued":  {join(headPage, tagsPage, oggtest.Page(0, -1, 1, 2, true, sound(255)), oggtest.Page(0, 960, 1, 3, false, sound(5))), "do not fit"},
		"nothing before": {join(headPage, tagsPage, oggtest.Page(oggtest.Continued, 960, 1, 2, false, sound(5))), "do not fit"},
		"half a packet":  {join(headPage, tagsPage, oggtest.Page(0, -1, 1, 2, true, sound(255))), "ends within a packet"},
		"half at last":   {join(headPage, tagsPage, oggtest.Page(oggtest.Last, -1, 1, 2, true, sound(255))), "ends within a packet"},
		"endless packet": {join(headPage, tagsPage, oggtest.Page(0, -1, 1, 2, true, sound(255*255))), "more than 61440"},
		"granule":        {join(headPage, tagsPage, oggtest.Page(0, 900, 1, 2, false, sound(5))), "granule position 900"},
		"granule back":   {join(headPage, tagsPage, oggtest.Page(0, 960, 1, 2, false, sound(5)), oggtest.Page(0, 900, 1, 3, false, sound(5))), "900 after 960"},
		"no granule":     {join(headPage, tagsPage, oggtest.Page(0, -1, 1, 2, false, sound(5))), "granule position -1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := all(bytes.NewReader(tc.file))
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v: want ErrFormat that says %q", err, tc.want)
			}
		})
	}
}

func TestReadErrorIsPassedOn(t *testing.T) {
	file := oggtest.File(oggtest.Head(1, 0, 0), 0, sound(5), sound(5))
	broken := errors.New("the disk is gone")
	for _, n := range []int{0, 10, 60, len(file) - 2} {
		_, _, err := all(io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v: want the reader's own error", n, err)
		}
	}
}

func TestErrorsAreFinal(t *testing.T) {
	file := oggtest.File(oggtest.Head(1, 0, 0), 0, sound(5), sound(5))
	r, err := NewReader(bytes.NewReader(file[:len(file)-1]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	_, first := r.Next()
	_, second := r.Next()
	if first == nil || first != second {
		t.Errorf("%v, then %v: want the same error twice", first, second)
	}
}

// Files of other people's programs; see testdata/README.md.
func TestRealFiles(t *testing.T) {
	for _, tc := range []struct {
		name     string
		channels int
		preSkip  int
		samples  int // that are heard
	}{
		{"ffmpeg-mono.ogg", 1, 312, 24000},
		{"ffmpeg-stereo-60ms.ogg", 2, 312, 24000},
		{"opusenc-44k.opus", 1, 312, 22050 * 48000 / 44100},
	} {
		f, err := os.Open(filepath.Join("testdata", tc.name))
		if err != nil {
			t.Fatal(err)
		}
		head, packets, err := all(f)
		f.Close()
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		heard := 0
		for _, p := range packets {
			heard += p.To - p.From
		}
		if head.Channels != tc.channels || head.PreSkip != tc.preSkip || heard != tc.samples {
			t.Errorf("%s: %+v, %d samples: want %d channels, pre-skip %d, %d samples", tc.name, head, heard, tc.channels, tc.preSkip, tc.samples)
		}
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	var packets [][]byte
	for range 300 {
		packets = append(packets, sound(80))
	}
	r, err := NewReader(bytes.NewReader(oggtest.File(oggtest.Head(1, 0, 0), 0, packets...)))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(200, func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%.1f allocations a packet: want none", n)
	}
}

// FuzzReader takes the checksums for right, since no fuzzer guesses them.
func FuzzReader(f *testing.F) {
	f.Add(oggtest.File(oggtest.Head(1, 312, 0), 100, sound(3), sound(300), []byte{0x0b, 0x03, 1, 2, 3}))
	f.Add(oggtest.File(oggtest.Head(2, 5000, 256), 0, sound(255)))
	long := oggtest.File(oggtest.Head(1, 0, 0), 0)
	long = append(long, oggtest.Page(0, -1, 1, 2, true, sound(255))...)
	f.Add(append(long, oggtest.Page(oggtest.Continued|oggtest.Last, 900, 1, 3, false, sound(2))...))
	f.Fuzz(func(t *testing.T, file []byte) {
		oggtest.Checksums(file)
		r, err := NewReader(bytes.NewReader(file))
		for err == nil {
			var p Packet
			if p, err = r.Next(); err != nil {
				break
			}
			n, bad := opus.Duration(p.Data)
			if bad != nil || n != p.Samples || p.From < 0 || p.From > p.To || p.To > p.Samples {
				t.Fatalf("packet of %d samples (%v): %d, %d to %d", n, bad, p.Samples, p.From, p.To)
			}
			if cap(r.partial) > 2*maxPacketBytes+maxPageBytes {
				t.Fatalf("%d bytes are held", cap(r.partial))
			}
		}
		if err != io.EOF && !errors.Is(err, ErrFormat) {
			t.Fatalf("error %v is not ErrFormat", err)
		}
	})
}

func ExampleReader() {
	file := oggtest.File(oggtest.Head(1, 312, 0), 0, sound(5), sound(5))
	r, err := NewReader(bytes.NewReader(file))
	if err != nil {
		fmt.Println(err)
		return
	}
	for {
		p, err := r.Next()
		if err != nil {
			break
		}
		fmt.Printf("%d bytes: %d to %d of %d samples\n", len(p.Data), p.From, p.To, p.Samples)
	}
	// Output:
	// 5 bytes: 312 to 960 of 960 samples
	// 5 bytes: 0 to 960 of 960 samples
}
