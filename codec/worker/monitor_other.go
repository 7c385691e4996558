//go:build !linux

package worker

import "errors"

// RelaxMonitor does nothing where threads have no timer slack.
func RelaxMonitor() error { return errors.ErrUnsupported }
