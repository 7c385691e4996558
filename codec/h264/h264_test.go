//go:build !nodlopen

package h264

import (
	"testing"

	"go.uber.org/goleak"

	"mixdown/codec"
	"mixdown/codec/codectest"
	"mixdown/codec/h264/h264test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func library(t testing.TB) *Library {
	t.Helper()
	l, err := Load("")
	if err != nil {
		t.Fatalf("%v (make deps-test installs one)", err)
	}
	return l
}

var format = codectest.VideoFormat{Even: true, Layers: 1, Resize: h264test.Resize}

func TestDecoder(t *testing.T) {
	l := library(t)
	codectest.VideoDecoder(t, format, func() (codec.VideoDecoder, error) { return l.NewDecoder(DecoderConfig{}) }, l.NewEncoder)
}

func TestEncoder(t *testing.T) {
	l := library(t)
	codectest.VideoEncoder(t, format, l.NewEncoder, func() (codec.VideoDecoder, error) { return l.NewDecoder(DecoderConfig{}) })
}
