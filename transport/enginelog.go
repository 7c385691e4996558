package transport

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/pion/logging"
)

// pionLog passes what pion says to our log, all of it as debugging: it calls
// an error what any client can cause, and we count such things ourselves.
type pionLog struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (l pionLog) NewLogger(scope string) logging.LeveledLogger {
	return pionScope{l.log, scope}
}

type pionScope struct {
	log   *slog.Logger
	scope string
}

func (s pionScope) say(msg string) {
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.log.Debug(msg, "pion", s.scope)
	}
}

// sayf leaves out what tells a password: who has ICE's can answer in a client's name.
func (s pionScope) sayf(format string, args ...any) {
	if strings.Contains(strings.ToLower(format), "pwd") {
		return
	}
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.log.Debug(fmt.Sprintf(format, args...), "pion", s.scope)
	}
}

// Trace is per packet: never logged.
func (s pionScope) Trace(string)          {}
func (s pionScope) Tracef(string, ...any) {}

func (s pionScope) Debug(msg string)                  { s.say(msg) }
func (s pionScope) Debugf(format string, args ...any) { s.sayf(format, args...) }
func (s pionScope) Info(msg string)                   { s.say(msg) }
func (s pionScope) Infof(format string, args ...any)  { s.sayf(format, args...) }
func (s pionScope) Warn(msg string)                   { s.say(msg) }
func (s pionScope) Warnf(format string, args ...any)  { s.sayf(format, args...) }
func (s pionScope) Error(msg string)                  { s.say(msg) }
func (s pionScope) Errorf(format string, args ...any) { s.sayf(format, args...) }
