package transport

import (
	"sync/atomic"

	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
)

// failures count what goes wrong before, and beneath, any media.
type failures struct {
	paths, handshakes, unauthentic atomic.Uint64
}

// neverUp counts a client that has not connected: whether no check of a path
// came from it, or it did not get through the handshake.
func (f *failures) neverUp(ice webrtc.ICEConnectionState) {
	switch ice {
	case webrtc.ICEConnectionStateConnected, webrtc.ICEConnectionStateCompleted:
		f.handshakes.Add(1)
	default:
		f.paths.Add(1)
	}
}

// srtpWatch is the log of one connection, which counts as it goes by what SRTP
// could not make sense of: pion tells nobody else of it. All that its sessions
// say as information is, one line each, that a packet was forged, damaged,
// repeated or too old.
type srtpWatch struct {
	pionLog
	refused *atomic.Uint64
}

// NewLogger implements logging.LoggerFactory.
func (w srtpWatch) NewLogger(scope string) logging.LeveledLogger {
	log := w.pionLog.NewLogger(scope)
	if scope == "srtp" {
		return srtpScope{log, w.refused}
	}
	return log
}

type srtpScope struct {
	logging.LeveledLogger
	refused *atomic.Uint64
}

func (s srtpScope) Info(msg string) {
	s.refused.Add(1)
	s.LeveledLogger.Info(msg)
}
