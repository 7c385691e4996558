//go:build !nodlopen

package h264

// #cgo CFLAGS: -O2 -Wall -Wextra
// #cgo linux LDFLAGS: -ldl
// #include <stdlib.h>
// #include "openh264.h"
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"
)

// Library is an OpenH264 that was loaded. It stays loaded for the life of the
// process. Safe for concurrent use; its coders are not.
type Library struct {
	lib  *C.mixdown_h264_library
	path string
}

// names are what the library is called, newest first: the number is that of its
// binary interface, 8 since 2.6, 7 since 2.3, 6 since 2.2, 5 before. Then the
// names on macOS.
var names = []string{
	"libopenh264.so.8", "libopenh264.so.7", "libopenh264.so.6", "libopenh264.so.5", "libopenh264.so",
	"libopenh264.8.dylib", "libopenh264.7.dylib", "libopenh264.dylib",
}

// Load loads the library from a file, or, if path is empty, from wherever the
// system keeps it. It reads a file, and runs the library's own beginnings. The
// error wraps [ErrUnavailable] and says what to do.
func Load(path string) (*Library, error) {
	if path != "" {
		return load(path)
	}
	var errs []error
	for _, name := range names {
		l, err := load(name)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, errNotThere) {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return nil, fmt.Errorf("%w: there is no libopenh264 here", ErrUnavailable)
}

// errNotThere is the loader's way to say that there is no such file.
var errNotThere = fmt.Errorf("%w: no such library", ErrUnavailable)

func load(path string) (*Library, error) {
	lib := (*C.mixdown_h264_library)(C.calloc(1, C.size_t(unsafe.Sizeof(C.mixdown_h264_library{}))))
	if lib == nil {
		return nil, fmt.Errorf("%w: out of memory", ErrUnavailable)
	}
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	if why := C.mixdown_h264_load(lib, name); why != nil {
		C.free(unsafe.Pointer(lib))
		text := C.GoString(why)
		if strings.Contains(text, "cannot open shared object file") || strings.Contains(text, "no such file") {
			return nil, fmt.Errorf("%w: %s", errNotThere, text)
		}
		return nil, fmt.Errorf("%w: %s: %s", ErrUnavailable, path, text)
	}
	l := &Library{lib, path}
	if v := l.version(); !v.known() {
		// Loaded it stays, but nothing of it was called but its version.
		C.free(unsafe.Pointer(lib))
		return nil, fmt.Errorf("%w: %s is OpenH264 %v, whose interface is not known here: want %v to 2.6", ErrUnavailable, path, v, oldest)
	}
	return l, nil
}

// Path returns where the library was loaded from.
func (l *Library) Path() string { return l.path }

// Version returns the library's version, "2.6.0".
func (l *Library) Version() string { return l.version().String() }

func (l *Library) version() version {
	return version{int(l.lib.major), int(l.lib.minor), int(l.lib.revision)}
}

// DecoderFault says why the library's decoder should not be given what strangers
// send, or is nil. The library tells its version only: that a distribution has
// mended an older one cannot be seen.
func (l *Library) DecoderFault() error { return l.version().decoderFault() }
