package audio

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"mixdown/codec"
	"mixdown/codec/ogg"
)

const numClips = 16

var clipCache struct {
	sync.Mutex
	fetched bool
	voices  [numClips][]int16
}

// speechClip returns n samples of a human voice, 1..16, at most 30 s; they are
// fetched if they are not there. They belong to the caller.
func speechClip(t testing.TB, voice, n int) []int16 {
	t.Helper()
	c := &clipCache
	c.Lock()
	defer c.Unlock()
	if !c.fetched {
		if out, err := exec.Command("sh", "../../cmd/mixdown/testdata/fetch-clips.sh").CombinedOutput(); err != nil {
			t.Fatalf("fetch-clips.sh: %v\n%s", err, out)
		}
		c.fetched = true
	}
	x := &c.voices[(voice-1)%numClips]
	if *x == nil {
		*x = readOgg(t, fmt.Sprintf("../../.cache/clips/speech-%02d.ogg", (voice-1)%numClips+1))
	}
	if n > len(*x) {
		t.Fatalf("%d samples of a clip of %d", n, len(*x))
	}
	return slices.Clone((*x)[:n])
}

// readOgg decodes a file.
func readOgg(t testing.TB, name string) (x []int16) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := ogg.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dec, pcm := realDecoder(t), make([]int16, codec.MaxPacketSamples)
	for {
		p, err := r.Next()
		if err == io.EOF {
			return x
		} else if err != nil {
			t.Fatal(err)
		}
		if _, err := dec.Decode(p.Data, pcm); err != nil {
			t.Fatal(err)
		}
		x = append(x, pcm[p.From:p.To]...)
	}
}
