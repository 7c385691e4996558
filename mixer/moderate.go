package mixer

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
)

// PIN is what those must know who join a room: 4 to 16 digits, or "" for none. It
// prints as "****", so that it gets into no log.
type PIN string

var pinPattern = regexp.MustCompile(`^[0-9]{4,16}$`)

func (p PIN) validate() error {
	if p != "" && !pinPattern.MatchString(string(p)) {
		return errors.New(`want 4 to 16 digits, or "" for none`)
	}
	return nil
}

// Is reports whether other is the PIN, or there is none, in a time that does not
// depend on where they differ.
func (p PIN) Is(other PIN) bool {
	a, b := sha256.Sum256([]byte(p)), sha256.Sum256([]byte(other))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 || p == ""
}

// String hides the PIN.
func (p PIN) String() string {
	if p == "" {
		return ""
	}
	return "****"
}

// GoString hides the PIN.
func (p PIN) GoString() string { return fmt.Sprintf("%q", p.String()) }

// LogValue hides the PIN.
func (p PIN) LogValue() slog.Value { return slog.StringValue(p.String()) }

// visible are those of a roster who are hidden, or who are not.
func visible(roster []*Participant, hidden bool) []ParticipantInfo {
	infos := make([]ParticipantInfo, 0, len(roster))
	for _, p := range roster {
		if p.hidden == hidden {
			infos = append(infos, p.Info())
		}
	}
	return infos
}

// Held reports whether the participant is in the waiting room. It does not block.
func (p *Participant) Held() bool { return p.facts.Load().held }

// Admitted is closed when the participant is let out of the waiting room; it never
// is for who was not held.
func (p *Participant) Admitted() <-chan struct{} { return p.admitted }

// admitHeld lets p in, if it is held. Control loop only.
func (r *Room) admitHeld(p *Participant) {
	if !p.facts.Load().held {
		return
	}
	p.change(func(f *facts) { f.held = false })
	close(p.admitted)
	r.log.Info("participant is let in", "participant", p.id, "identity", p.identity)
	r.follow(p)
}

// foremost is who is shown as the speaker: who was given the floor, or else who
// speaks before all others.
func (g *program) foremost() ParticipantID {
	if g.granted != "" {
		return g.granted
	}
	return g.dominant()
}

// mayHaveFloor reports whether there is a tile of p's in the main program.
func (p *Participant) mayHaveFloor() bool {
	f := p.facts.Load()
	return p.source != nil && f.group == "" && !f.audience && !f.held
}

// canHaveFloor reports whether id is somebody who may have the floor, or nobody.
// Control loop only.
func (r *Room) canHaveFloor(id ParticipantID) bool {
	return id == "" || slices.ContainsFunc(r.participants, func(p *Participant) bool { return p.id == id && p.mayHaveFloor() })
}

// grantFloor gives the floor of the main program to id; "" takes it back. Control
// loop only.
func (r *Room) grantFloor(op string, id ParticipantID) error {
	if !r.canHaveFloor(id) {
		return &Error{Op: op, Kind: Invalid, Room: r.room.ID, Field: "/floor",
			Err: errors.New(`want the id of somebody in the main program who has a tile, or "" for nobody`)}
	}
	r.tidings.updated = r.tidings.updated || r.main.granted != id
	r.main.granted = id
	return nil
}

// checkFloor takes the floor from who has left or has no tile any more. Control
// loop only.
func (r *Room) checkFloor() {
	if !r.canHaveFloor(r.main.granted) {
		r.main.granted, r.tidings.updated = "", true
	}
}

// checkAudience says whether p may be given a tile and a voice.
func (p *Participant) checkAudience(op string, audience bool) error {
	fail := func(err error) error {
		return &Error{Op: op, Kind: Conflict, Room: p.room.Info().ID, Participant: p.id, Field: "/role", Err: err}
	}
	switch {
	case p.hidden && !audience:
		return fail(ErrHidden)
	case p.role != RoleParticipant:
		return fail(fmt.Errorf("%w: it came as a %s, and its connection can do no more", ErrNotThatRole, p.role))
	}
	return nil
}

// MuteAll mutes everybody in the room who sends sound, or nobody any more, but for
// those named, and returns all who are there then. One command does it: nobody is
// heard in between.
func (r *Room) MuteAll(ctx context.Context, muted bool, but ...ParticipantID) ([]ParticipantInfo, error) {
	err := r.do(ctx, "participants.mute", func() error {
		for _, p := range r.participants {
			if p.source != nil && p.facts.Load().muted != muted && !slices.Contains(but, p.id) {
				p.change(func(f *facts) { f.muted = muted })
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r.Participants(), nil
}

// MuteSelf mutes the participant by its own wish, or takes back that it is muted,
// whoever did that. A room with NoSelfUnmute grants the latter to moderators alone:
// Permission (ErrStaysMuted). Conflict (ErrNotThatRole) for who sends nothing.
func (p *Participant) MuteSelf(ctx context.Context, muted, moderator bool) error {
	const op = "participant.mute"
	r := p.room
	return r.do(ctx, op, func() error {
		fail := func(kind Kind, err error) error {
			return &Error{Op: op, Kind: kind, Room: r.room.ID, Participant: p.id, Err: err}
		}
		switch now := p.facts.Load().muted; {
		case !slices.Contains(r.participants, p):
			return fail(NotFound, ErrNoParticipant)
		case p.source == nil:
			return fail(Conflict, fmt.Errorf("%w: a %s sends no sound", ErrNotThatRole, p.role))
		case now && !muted && r.room.NoSelfUnmute && !moderator:
			return fail(Permission, ErrStaysMuted)
		}
		p.change(func(f *facts) { f.muted = muted })
		return nil
	})
}
