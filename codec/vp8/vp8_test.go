package vp8

import (
	"testing"

	"go.uber.org/goleak"

	"mixdown/codec"
	"mixdown/codec/codectest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newEncoder(c codec.VideoEncoderConfig) (codec.VideoEncoder, error) { return NewEncoder(c) }
func newDecoder() (codec.VideoDecoder, error)                           { return NewDecoder(DecoderConfig{}) }

func TestDecoder(t *testing.T) { codectest.VideoDecoder(t, newDecoder, newEncoder) }
func TestEncoder(t *testing.T) { codectest.VideoEncoder(t, newEncoder, newDecoder) }
