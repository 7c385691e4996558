//go:build !linux

package worker

import "errors"

// niceThread does nothing where nice values belong to whole processes.
func niceThread(int) error { return errors.ErrUnsupported }
