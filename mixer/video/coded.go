package video

import (
	"fmt"

	"mixdown/codec"
	"mixdown/codec/h264/nal"
	"mixdown/codec/vp8"
)

// codedHeader is what the head of a coded picture says, without decoding it.
type codedHeader struct {
	// Key says that a decoder can start here; only then the rest means something.
	Key           bool
	Width, Height int
	// decoded are the samples that are decoded for it, which may be more.
	decodedWidth, decodedHeight int
	// common says that whoever takes the codec can decode it: of H.264 there are
	// profiles, and clients agree to the least.
	common bool
}

// parseHeader reads the head of a coded picture. Errors wrap [codec.ErrCorrupt].
func parseHeader(f *codec.EncodedFrame) (codedHeader, error) {
	switch f.Codec {
	case codec.VP8:
		h, err := vp8.ParseHeader(f.Data)
		return codedHeader{h.Key, h.Width, h.Height, h.Width, h.Height, true}, err
	case codec.H264:
		h, err := nal.ParseFrame(f.Data)
		set := &h.Set
		return codedHeader{h.Key, set.Width, set.Height, set.CodedWidth, set.CodedHeight, set.ConstrainedBaseline()}, err
	}
	return codedHeader{}, fmt.Errorf("a picture in %v: %w", f.Codec, codec.ErrCorrupt)
}
