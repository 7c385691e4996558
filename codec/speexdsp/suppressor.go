package speexdsp

// #cgo pkg-config: speexdsp
// #cgo CFLAGS: -O2 -Wall -Wextra
// // Its archive needs libm behind itself, which its pkg-config file leaves out.
// #cgo LDFLAGS: -lspeexdsp -lm
// #cgo noescape speex_preprocess_run
// #cgo nocallback speex_preprocess_run
// #include <speex/speex_preprocess.h>
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"mixdown/codec"
)

// blockSamples is what the library works on. It delays by just that, hence half
// a tick: a whole one costs 10 ms more delay for 0.2 to 0.6 dB, a quarter saves
// 5 ms and costs 0.2 to 0.9 dB (segmental SNR of speech in white noise and a
// fan's, 10 dB below it).
const blockSamples = codec.FrameSamples / 2

// Delay is by how much a [Suppressor] delays, in samples: 10 ms.
const Delay = blockSamples

// Config says how much a [Suppressor] does.
type Config struct {
	// SuppressionDB is by how much noise is turned down at most, 1..40. More
	// than 20 makes what is left of it warble. Defaults to 15.
	SuppressionDB int
}

// Suppressor takes the noise out of one person's sound. It is not safe for
// concurrent use. Its memory lies in C and is freed by Close; there is no
// finalizer, so one that is not closed leaks it.
type Suppressor struct {
	state *C.SpeexPreprocessState // nil when closed
}

// NewSuppressor returns a suppressor that has heard nothing yet; it needs about
// a second to learn the noise. It holds 70 kB, and a tick takes about 55 us,
// twice as much as decoding it. Errors wrap [codec.ErrBadConfig].
func NewSuppressor(c Config) (*Suppressor, error) {
	if c.SuppressionDB == 0 {
		c.SuppressionDB = 15
	}
	if c.SuppressionDB < 1 || c.SuppressionDB > 40 {
		return nil, fmt.Errorf("speexdsp: SuppressionDB %d: want 1..40: %w", c.SuppressionDB, codec.ErrBadConfig)
	}
	state := C.speex_preprocess_state_init(blockSamples, codec.SampleRate)
	if state == nil {
		return nil, errors.New("speexdsp: out of memory")
	}
	// All else is off as it comes. (To say so of the VAD prints a warning.)
	for _, control := range []struct {
		request C.int
		value   C.spx_int32_t
	}{
		{C.SPEEX_PREPROCESS_SET_DENOISE, 1},
		{C.SPEEX_PREPROCESS_SET_NOISE_SUPPRESS, C.spx_int32_t(-c.SuppressionDB)},
	} {
		if C.speex_preprocess_ctl(state, control.request, unsafe.Pointer(&control.value)) != 0 {
			C.speex_preprocess_state_destroy(state)
			return nil, fmt.Errorf("speexdsp: libspeexdsp refuses control %d", control.request)
		}
	}
	return &Suppressor{state: state}, nil
}

// Process changes 20 ms in place; what it gives is [Delay] late. It allocates
// nothing and does not block. After Close it does nothing.
func (s *Suppressor) Process(pcm *codec.AudioFrame) {
	if s.state == nil {
		return
	}
	for i := 0; i < len(pcm); i += blockSamples {
		C.speex_preprocess_run(s.state, (*C.spx_int16_t)(&pcm[i]))
	}
	runtime.KeepAlive(s)
}

// Close frees the memory. Twice is fine.
func (s *Suppressor) Close() error {
	if s.state != nil {
		C.speex_preprocess_state_destroy(s.state)
		s.state = nil
	}
	return nil
}
