package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"mixdown/codec/h264"
	"mixdown/codec/opus"
	"mixdown/codec/vp8"
)

// version is set by the linker (-X main.version=...); see the Makefile.
var version = ""

// Version returns what this program is called in documents and metrics.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}

type versionCmd struct{}

// Run prints the versions of everything that a security notice may be about.
func (versionCmd) Run(_ context.Context, s streams) error {
	h264Line := "no OpenH264"
	if lib, err := h264.Load(""); err == nil {
		h264Line = fmt.Sprintf("OpenH264 %s (%s)", lib.Version(), lib.Path())
	}
	_, err := fmt.Fprintf(s.Out, "mixdown %s\n%s %s/%s\nlibvpx %s\n%s\n%s\n",
		Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, vp8.Version(), opus.Version(), h264Line)
	return err
}
