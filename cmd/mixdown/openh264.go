package main

import (
	"fmt"
	"log/slog"

	"mixdown/codec"
	"mixdown/codec/h264"
	"mixdown/mixer"
)

// The values of --openh264 that are no file.
const (
	openH264Auto = "auto"
	openH264Off  = "off"
)

// openH264 is H.264 as far as there is any; the zero value is none.
type openH264 struct {
	lib *h264.Library
	// decodes says that what clients send is decoded too.
	decodes bool
}

// loadOpenH264 loads the library that where names: a file, auto, or off, which ""
// is too. Only a file that was named and cannot be loaded is an error. It says
// once in the log what there is, and what to do for more.
func loadOpenH264(where string, trust bool, log *slog.Logger) (openH264, error) {
	path := where
	switch where {
	case "", openH264Off:
		return openH264{}, nil
	case openH264Auto:
		path = ""
	}
	lib, err := h264.Load(path)
	if err != nil {
		if path != "" {
			return openH264{}, fmt.Errorf("--openh264: %w", err)
		}
		log.Info("no H.264: clients without VP8, such as OBS, have no pictures", "why", err)
		return openH264{}, nil
	}
	fault := lib.DecoderFault()
	if fault != nil && !trust {
		log.Warn("H.264 is sent to clients without VP8, but not taken from them: --openh264-trusted takes it all the same",
			"library", lib.Path(), "why", fault)
		return openH264{lib, false}, nil
	}
	log.Info("H.264 for clients without VP8", "library", lib.Path(), "version", lib.Version())
	return openH264{lib, true}, nil
}

// version is the library's, "" when there is none.
func (o openH264) version() string {
	if o.lib == nil {
		return ""
	}
	return o.lib.Version()
}

// add gives rooms the codec.
func (o openH264) add(c *mixer.Codecs) {
	if o.lib != nil {
		c.H264Encoder = o.lib.NewEncoder
	}
	if o.decodes {
		c.H264Decoder = func() (codec.VideoDecoder, error) { return o.lib.NewDecoder(h264.DecoderConfig{}) }
	}
}
