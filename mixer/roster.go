package mixer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"mixdown/codec"
	"mixdown/mixer/audio"
	"mixdown/mixer/video"
)

// Join adds a participant, who is waiting until its connection is up. It is
// refused with ErrRoomLocked, ErrRoomFull or an [Overload].
func (r *Room) Join(ctx context.Context, req JoinRequest) (*Participant, error) {
	const op = "room.join"
	if len(req.Name) > maxNameBytes {
		return nil, &Error{Op: op, Kind: Invalid, Field: "/name",
			Err: fmt.Errorf("%d bytes: want at most %d", len(req.Name), maxNameBytes)}
	}
	p := &Participant{
		room: r, id: ParticipantID(newID("p_")), identity: req.Identity, kind: req.Kind,
		role: req.Role, joined: time.Now(), codec: Media{Codec: req.Codec}.VideoCodec(),
		hidden: req.Hidden, admitted: make(chan struct{}),
	}
	if p.kind == "" {
		p.kind = "webrtc"
	}
	p.facts.Store(&facts{name: req.Name, limits: req.Limits, audience: req.Hidden || req.Audience && req.Role != RoleViewer})
	if req.Role != RoleViewer {
		var err error
		if p.source, err = r.newSource(p); err != nil {
			return nil, &Error{Op: op, Kind: Internal, Room: r.Info().ID, Err: err}
		}
	}
	err := r.do(ctx, op, func() error {
		p.change(func(f *facts) {
			f.noLevelling, f.noEchoGuard = r.room.NoLevelling, r.room.NoEchoGuard
			f.muted = r.room.MutedOnJoin && p.source != nil && !req.Moderator
			f.held = r.room.WaitingRoom && !req.Moderator && !req.Hidden
		})
		switch {
		case r.draining():
			return &Error{Op: op, Kind: Unavailable, Room: r.room.ID, Err: ErrDraining}
		case r.room.Locked && !req.Moderator:
			return &Error{Op: op, Kind: Permission, Room: r.room.ID, Err: ErrRoomLocked}
		case !req.Moderator && !r.room.PIN.Is(req.PIN):
			return &Error{Op: op, Kind: Permission, Room: r.room.ID, Err: ErrPIN}
		case len(r.participants) >= r.room.MaxParticipants:
			return &Error{Op: op, Kind: Conflict, Room: r.room.ID,
				Err: fmt.Errorf("%w: %d of %d", ErrRoomFull, len(r.participants), r.room.MaxParticipants)}
		}
		if err := r.admit(op, p); err != nil {
			return err
		}
		p.csrc = r.newCSRC()
		r.participants = append(r.participants, p)
		r.log.Info("participant joins", "participant", p.id, "identity", p.identity, "role", p.role.String())
		return nil
	})
	if err != nil {
		if p.source != nil {
			p.source.close()
		}
		return nil, err
	}
	return p, nil
}

// newSource makes what p will send through.
func (r *Room) newSource(p *Participant) (*source, error) {
	s := &source{wake: r.wake, frame: time.Second / time.Duration(r.main.shared().size.FPS)}
	dec, err := r.cfg.Codecs.AudioDecoder()
	if err != nil {
		return nil, err
	}
	if s.playout, err = audio.NewPlayout(audio.PlayoutConfig{Decoder: dec}); err != nil {
		return nil, errors.Join(err, dec.Close())
	}
	s.sound.from = s.playout
	for id := range s.pictures {
		if s.pictures[id], err = r.newPicture(p, codec.SourceID(id)); err != nil {
			for _, made := range s.pictures[:id] {
				made.Close()
			}
			s.playout.Close()
			return nil, err
		}
	}
	return s, nil
}

func (r *Room) newPicture(p *Participant, id codec.SourceID) (*video.Source, error) {
	dec, err := r.cfg.Codecs.VideoDecoder()
	if err != nil {
		return nil, err
	}
	picture, err := video.NewSource(video.SourceConfig{
		Decoder: dec, NewDecoder: r.cfg.Codecs.others(), Pool: r.cfg.Pool, Frames: r.frames, Screen: id == codec.Screen,
		RequestKeyframe: func() {
			if a := p.endpoint.Load(); a != nil {
				a.RequestKeyframe(id)
			}
		},
	})
	if err != nil {
		return nil, errors.Join(err, dec.Close())
	}
	return picture, nil
}

// newCSRC returns an identifier that nothing in the room has. Zero means none.
func (r *Room) newCSRC() uint32 {
	for {
		csrc := rand.Uint32()
		if csrc != 0 && !r.hasCSRC(csrc) {
			return csrc
		}
	}
}

// hasCSRC reports whether something in the room has it. Control loop only.
func (r *Room) hasCSRC(csrc uint32) bool {
	return slices.ContainsFunc(r.participants, func(p *Participant) bool { return p.csrc == csrc }) ||
		slices.ContainsFunc(r.programs, func(g *program) bool {
			return slices.ContainsFunc(g.inputs, func(in *Input) bool { return in.csrc == csrc })
		})
}

// Participants returns everybody in the room who is not hidden, in the order of
// joining.
func (r *Room) Participants() []ParticipantInfo { return visible(*r.roster.Load(), false) }

// Hidden returns those who are.
func (r *Room) Hidden() []ParticipantInfo { return visible(*r.roster.Load(), true) }

// Participant returns one participant, or NotFound.
func (r *Room) Participant(id ParticipantID) (ParticipantInfo, error) {
	p, err := r.find("participant.get", id)
	if err != nil {
		return ParticipantInfo{}, err
	}
	return p.Info(), nil
}

func (r *Room) find(op string, id ParticipantID) (*Participant, error) {
	for _, p := range *r.roster.Load() {
		if p.id == id {
			return p, nil
		}
	}
	return nil, &Error{Op: op, Kind: NotFound, Room: r.Info().ID, Participant: id, Err: ErrNoParticipant}
}

// UpdateParticipant changes what the patch names and returns the participant
// as it is then.
func (r *Room) UpdateParticipant(ctx context.Context, id ParticipantID, patch ParticipantPatch) (ParticipantInfo, error) {
	const op = "participant.update"
	bad := func(field, format string, args ...any) error {
		return &Error{Op: op, Kind: Invalid, Participant: id, Field: field, Err: fmt.Errorf(format, args...)}
	}
	if n := patch.Name; n != nil && len(*n) > maxNameBytes {
		return ParticipantInfo{}, bad("/name", "%d bytes: want at most %d", len(*n), maxNameBytes)
	}
	if g := patch.GainDB; g != nil && !(*g >= minGainDB && *g <= maxGainDB) {
		return ParticipantInfo{}, bad("/send/audio/gain", "%v dB: want %d..%d", *g, minGainDB, maxGainDB)
	}
	if g := patch.Group; g != nil {
		if err := g.validate(); err != nil {
			return ParticipantInfo{}, bad("/group", "%w", err)
		}
	}
	if g := patch.AlsoTo; g != nil && len(*g) > maxGroups {
		return ParticipantInfo{}, bad("/alsoTo", "%d groups: want at most %d", len(*g), maxGroups)
	}
	var face *codec.VideoFrame
	if patch.Avatar != nil && *patch.Avatar != "" {
		var err error
		if face, err = loadStill(&r.cfg, *patch.Avatar, avatarSide, avatarSide); errors.Is(err, ErrNoMedia) {
			return ParticipantInfo{}, &Error{Op: op, Kind: Unavailable, Participant: id, Err: err}
		} else if err != nil {
			return ParticipantInfo{}, bad("/avatar", "%w", err)
		}
	}
	var info ParticipantInfo
	err := r.do(ctx, op, func() error {
		p, err := r.find(op, id)
		if err != nil {
			return err
		}
		if patch.Suppress != nil && *patch.Suppress {
			if err := r.provideSuppressor(p); err != nil {
				return &Error{Op: op, Kind: Unavailable, Room: r.room.ID, Participant: id, Err: err}
			}
		}
		if patch.Audience != nil {
			if err := p.checkAudience(op, *patch.Audience); err != nil {
				return err
			}
		}
		if patch.AlsoTo != nil {
			for i, to := range *patch.AlsoTo {
				if !slices.ContainsFunc(r.programs, func(g *program) bool { return g.group == to }) {
					return bad(fmt.Sprintf("/alsoTo/%d", i), "there is no group %q: a group has members", to)
				}
			}
		}
		if patch.Group != nil {
			if err := r.admitGroup(op, p, *patch.Group); err != nil {
				return err
			}
			if err := r.openGroup(*patch.Group); err != nil {
				kind := Internal
				if errors.Is(err, ErrTooManyGroups) {
					kind = Exhausted
				}
				return &Error{Op: op, Kind: kind, Room: r.room.ID, Participant: id, Err: err}
			}
			r.move(p, *patch.Group)
		}
		// Nothing can fail from here on: a patch is carried out whole or not at all.
		if patch.Avatar != nil {
			p.face = face
		}
		p.change(func(f *facts) {
			if patch.AlsoTo != nil {
				f.alsoTo = slices.Clone(*patch.AlsoTo)
			}
			set(&f.name, patch.Name)
			set(&f.avatar, patch.Avatar)
			set(&f.audience, patch.Audience)
			set(&f.muted, patch.Muted)
			set(&f.gainDB, patch.GainDB)
			set(&f.noLevelling, patch.NoLevelling)
			set(&f.noEchoGuard, patch.NoEchoGuard)
			set(&f.suppress, patch.Suppress)
		})
		if patch.Admit {
			r.admitHeld(p)
		}
		info = p.Info()
		return nil
	})
	return info, err
}

// Remove disconnects a participant. reason is what its connection's owner is
// told.
func (r *Room) Remove(ctx context.Context, id ParticipantID, reason error) error {
	const op = "participant.remove"
	return r.do(ctx, op, func() error {
		p, err := r.find(op, id)
		if err != nil {
			return err
		}
		r.remove(p, reason)
		return nil
	})
}

// ErrNoSuppressor refuses noise suppression.
var ErrNoSuppressor = errors.New("this server has no noise suppression")

// provideSuppressor makes what takes the noise out of p's sound.
func (r *Room) provideSuppressor(p *Participant) error {
	switch {
	case r.cfg.Codecs.Suppressor == nil:
		return ErrNoSuppressor
	case p.source == nil || p.source.suppressor != nil:
		return nil
	}
	s, err := r.cfg.Codecs.Suppressor()
	if err == nil {
		p.source.suppressor = s
	}
	return err
}
