package audio

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"testing"

	"mixdown/codec"
	"mixdown/codec/ogg"
)

// clip decodes one of the recordings of human speech that `make clips` fetches;
// false where nobody has made them.
func clip(t testing.TB, name string) (x []int16, ok bool) {
	f, err := os.Open("../../.cache/clips/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false
	} else if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := ogg.NewReader(f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	dec := realDecoder(t)
	pcm := make([]int16, codec.MaxPacketSamples)
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		n, err := dec.Decode(p.Data, pcm)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		x = append(x, pcm[min(p.From, n):min(p.To, n)]...)
	}
	// Clips that are joined must not click.
	for i := range min(second/100, len(x)) {
		x[i] = int16(int(x[i]) * i / (second / 100))
		x[len(x)-1-i] = int16(int(x[len(x)-1-i]) * i / (second / 100))
	}
	return x, true
}
