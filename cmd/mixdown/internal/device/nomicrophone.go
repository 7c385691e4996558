//go:build nomicrophone

package device

import (
	"errors"

	"mixdown/codec"
)

// registerMicrophones fails: a static program cannot load the sound system's
// libraries, which is how every sound system on Linux is reached.
func registerMicrophones() error {
	return errors.New("this build has no microphone, being static: build with make build STATIC=0")
}

// Speaker is a loudspeaker, of which this build has none.
type Speaker struct{}

// OpenSpeaker fails, for the same reason.
func OpenSpeaker(func(*codec.AudioFrame)) (*Speaker, error) {
	return nil, errors.New("this build has no loudspeaker, being static: build with make build STATIC=0, or have --hear write a file")
}

// Close does nothing.
func (*Speaker) Close() error { return nil }
