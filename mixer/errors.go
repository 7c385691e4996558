package mixer

import (
	"errors"
	"strings"
)

// Kind classifies an Error for whoever has to answer a caller. The set is
// small and closed: api maps each to one HTTP status.
type Kind uint8

// The kinds of failure.
const (
	Internal Kind = iota
	Invalid
	Unauthenticated
	Permission
	NotFound
	Conflict
	Precondition
	Gone
	Exhausted
	Unavailable
)

// String returns the kind's name, lower case.
func (k Kind) String() string {
	names := [...]string{"internal", "invalid", "unauthenticated", "permission", "not found",
		"conflict", "precondition", "gone", "exhausted", "unavailable"}
	if int(k) < len(names) {
		return names[k]
	}
	return "internal"
}

// Reasons that callers tell apart with errors.Is; each comes wrapped in an
// Error.
var (
	ErrRoomExists     = errors.New("a room of this id exists")
	ErrNoRoom         = errors.New("no such room")
	ErrNoParticipant  = errors.New("no such participant")
	ErrRoomFull       = errors.New("the room is full")
	ErrRoomLocked     = errors.New("the room is locked")
	ErrPIN            = errors.New("the room has a PIN, and that was not it")
	ErrHeld           = errors.New("in the waiting room there is nothing to be heard, seen or said")
	ErrHidden         = errors.New("who is hidden has no place in the picture and no voice")
	ErrStaysMuted     = errors.New("in this room it takes a moderator to unmute somebody")
	ErrDraining       = errors.New("the server is shutting down")
	ErrTooManyRooms   = errors.New("the server has as many rooms as it may")
	ErrEnding         = errors.New("the room is still ending")
	ErrNoRecording    = errors.New("the room is not being recorded by that id")
	ErrCannotRecord   = errors.New("the server keeps no recordings")
	ErrAlreadyRunning = errors.New("the room is being recorded already")
)

// Error is every error that this package returns from its public methods.
type Error struct {
	// Op is what was tried, as "room.join".
	Op   string
	Kind Kind
	// Room and Participant are empty where the failure concerns none.
	Room        RoomID
	Participant ParticipantID
	// Field names the faulty input of an Invalid error as a JSON pointer
	// ("/canvas/width"); it may be empty.
	Field string
	Err   error
}

// Error returns "op: room: participant: field: cause", leaving out what is empty.
func (e *Error) Error() string {
	parts := []string{e.Op}
	for _, s := range []string{string(e.Room), string(e.Participant), e.Field} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	cause := e.Kind.String()
	if e.Err != nil {
		cause = e.Err.Error()
	}
	return strings.Join(append(parts, cause), ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the Kind of the first Error in err's chain, and Internal when
// there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}
