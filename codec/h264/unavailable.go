//go:build nodlopen

package h264

import (
	"fmt"

	"mixdown/codec"
)

// Library is an OpenH264 that was loaded, which cannot be in this build.
type Library struct{}

// Load returns [ErrUnavailable].
func Load(string) (*Library, error) {
	return nil, fmt.Errorf("%w: this binary is linked statically and loads no libraries (make build STATIC=0 makes one that does)", ErrUnavailable)
}

// Path returns "".
func (l *Library) Path() string { return "" }

// Version returns "".
func (l *Library) Version() string { return "" }

// DecoderFault returns [ErrUnavailable].
func (l *Library) DecoderFault() error { return ErrUnavailable }

// NewEncoder returns [ErrUnavailable].
func (l *Library) NewEncoder(codec.VideoEncoderConfig) (codec.VideoEncoder, error) {
	return nil, ErrUnavailable
}

// NewDecoder returns [ErrUnavailable].
func (l *Library) NewDecoder(DecoderConfig) (codec.VideoDecoder, error) { return nil, ErrUnavailable }
