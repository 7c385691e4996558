package h264

import (
	"errors"
	"fmt"
)

// ErrUnavailable says that there is no OpenH264 to be had.
var ErrUnavailable = errors.New("H.264 is not available")

// version is one of OpenH264's.
type version struct{ major, minor, revision int }

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.revision) }

func (v version) before(o version) bool {
	if v.major != o.major {
		return v.major < o.major
	}
	if v.minor != o.minor {
		return v.minor < o.minor
	}
	return v.revision < o.revision
}

// The binary interface is known of these, see openh264.c.
var (
	oldest  = version{2, 1, 0}
	unknown = version{2, 7, 0}
	// mended is the first without CVE-2025-27091, a heap overflow in the decoder
	// that bytes from the network reach. (2.6.0 was first, 2.5.1 was made of
	// 2.5.0 afterwards.)
	mended = version{2, 5, 1}
)

func (v version) known() bool { return !v.before(oldest) && v.before(unknown) }

func (v version) decoderFault() error {
	if v.before(mended) {
		return fmt.Errorf("OpenH264 %v has a heap overflow in its decoder (CVE-2025-27091), unless whoever built it has mended that: want %v or later", v, mended)
	}
	return nil
}
