//go:build nomicrophone

package device

import "errors"

// registerMicrophones fails: a static program cannot load the sound system's
// libraries, which is how every sound system on Linux is reached.
func registerMicrophones() error {
	return errors.New("this build has no microphone, being static: build with make build STATIC=0")
}
