package vp8

import (
	"bytes"
	"testing"

	"go.uber.org/goleak"

	"mixdown/codec"
	"mixdown/codec/codectest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newEncoder(c codec.VideoEncoderConfig) (codec.VideoEncoder, error) { return NewEncoder(c) }
func newDecoder() (codec.VideoDecoder, error)                           { return NewDecoder(DecoderConfig{}) }

// format is VP8's (RFC 6386 section 9.1).
var format = codectest.VideoFormat{Layers: 2, Resize: func(key []byte, w, h int) []byte {
	key = bytes.Clone(key)
	key[6], key[7], key[8], key[9] = byte(w), byte(w>>8), byte(h), byte(h>>8)
	return key
}}

func TestDecoder(t *testing.T) { codectest.VideoDecoder(t, format, newDecoder, newEncoder) }
func TestEncoder(t *testing.T) { codectest.VideoEncoder(t, format, newEncoder, newDecoder) }
