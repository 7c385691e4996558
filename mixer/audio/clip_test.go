package audio

import (
	"bytes"
	"os"
	"testing"

	"mixdown/codec"
)

// clip decodes one of the recordings of human speech that `make clips` fetches;
// false where nobody has made them.
func clip(t testing.TB, name string) (x []int16, ok bool) {
	data, err := os.ReadFile("../../.cache/clips/" + name)
	if os.IsNotExist(err) {
		return nil, false
	} else if err != nil {
		t.Fatal(err)
	}
	dec := realDecoder(t)
	pcm := make([]int16, codec.MaxPacketSamples)
	// An Ogg page (RFC 3533 section 6) is 27 bytes, a list of lengths, and
	// packets; one ends where a length is less than 255.
	var packet []byte
	for headers := 2; len(data) > 27 && bytes.HasPrefix(data, []byte("OggS")); {
		lengths := data[27 : 27+int(data[26])]
		data = data[27+len(lengths):]
		for _, n := range lengths {
			packet = append(packet, data[:n]...)
			data = data[n:]
			if n == 255 {
				continue
			}
			if headers--; headers < 0 {
				n, err := dec.Decode(packet, pcm)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				x = append(x, pcm[:n]...)
			}
			packet = packet[:0]
		}
	}
	// The last packet goes on beyond the recording's end; and clips that are
	// joined must not click.
	x = x[:max(len(x)-second/20, 0)]
	for i := range min(second/100, len(x)) {
		x[i] = int16(int(x[i]) * i / (second / 100))
		x[len(x)-1-i] = int16(int(x[len(x)-1-i]) * i / (second / 100))
	}
	return x, true
}
