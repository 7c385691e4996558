package mixer

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// GroupID names a group of a room: people with a program of their own, who
// hear and see each other and nobody else (a breakout), unless somebody is
// heard in it as well (a whisper). "" is the main program. A group is there as
// long as it has members.
type GroupID string

// maxGroups of a room at one time: each has a canvas and encoders of its own.
const maxGroups = 16

var groupIDPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// ErrNoGroup says that a group has no members, and so is not there.
var ErrNoGroup = errors.New("there is no such group")

// ErrTooManyGroups refuses one more group.
var ErrTooManyGroups = fmt.Errorf("the room has %d groups already", maxGroups)

func (g GroupID) validate() error {
	if g != "" && !groupIDPattern.MatchString(string(g)) {
		return errors.New(`want "" for the main program, or 1 to 64 letters, digits, '-', '_' or '.', starting with a letter or digit`)
	}
	return nil
}

// programOf returns the program that p belongs to.
func (r *Room) programOf(p *Participant) *program {
	group := p.facts.Load().group
	return r.programs[slices.IndexFunc(r.programs, func(g *program) bool { return g.group == group })]
}

// openGroup makes sure that the group has a program.
func (r *Room) openGroup(group GroupID) error {
	if slices.ContainsFunc(r.programs, func(g *program) bool { return g.group == group }) {
		return nil
	}
	if len(r.programs) > maxGroups {
		return ErrTooManyGroups
	}
	g, err := newProgram(r.cfg, r.room, r.looks, group, r.frames, r.log)
	if err != nil {
		return err
	}
	r.programs = append(r.programs, g)
	return nil
}

// move takes p to another group, whose program exists: he gets its sound with
// the next tick, and its picture with the next key frame, without
// renegotiation.
func (r *Room) move(p *Participant, group GroupID) {
	from := p.facts.Load().group
	if from == group {
		return
	}
	watches := p.subscription != nil
	p.unwatch()
	p.change(func(f *facts) { f.group = group })
	if watches {
		r.show(p)
	}
	r.log.Info("participant moves", "participant", p.id, "from", from, "group", group)
}

// deserted reports whether g is a group that nobody belongs to any more, and
// begins its end: the snapshot that is published next is the first without it.
// Who was heard in it is not heard in another one that is given the same name.
func (r *Room) deserted(g *program) bool {
	if g == r.main || slices.ContainsFunc(r.participants, func(p *Participant) bool { return p.facts.Load().group == g.group }) {
		return false
	}
	r.endOutlets(g, ErrNoGroup)
	for _, in := range g.inputs {
		r.drop(in)
	}
	for _, p := range r.participants {
		if also := p.facts.Load().alsoTo; slices.Contains(also, g.group) {
			also = slices.DeleteFunc(slices.Clone(also), func(to GroupID) bool { return to == g.group })
			p.change(func(f *facts) { f.alsoTo = also })
		}
	}
	r.past.Lock()
	g.counted = true
	r.past.stats.add(g.stats(g.canvases))
	r.past.Unlock()
	without := r.snap.Load().seq + 1
	r.leaving.Go(func() {
		r.heard.wait(without)
		g.close()
	})
	return true
}

// followFloor notices that somebody else has the floor of a program. A file
// that plays has nobody's floor.
func (r *Room) followFloor(g *program) {
	csrc := g.floor.Load()
	id := ParticipantID("")
	for _, p := range r.participants {
		f := p.facts.Load()
		if p.csrc == csrc && (f.group == g.group || slices.Contains(f.alsoTo, g.group)) {
			id = p.id
		}
	}
	if id != g.dominant() {
		r.speakerChanged(g.group, id)
	}
}
