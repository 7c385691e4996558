package mixer

import (
	"context"
	"math"
	"slices"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
	"mixdown/mixer/audio"
)

const audioTicksPerSecond = int64(time.Second / codec.FrameDuration)

// voices is who is in a program's mix, as the audio loop knows it.
type voices struct {
	people []voice
	inputs []inputVoice
	floor  *audio.Member // who has it
	failed time.Duration // when an encoder's failure was last logged
}

// voice is a participant's place in a mix.
type voice struct {
	p      *Participant
	guest  bool          // heard here, but listens elsewhere
	member *audio.Member // nil when there was no encoder for him
	facts  *facts        // those that member was set to
	class  int           // that it was set to
	relay  int           // the bitrate of others' packets that it was set to
}

// audioLoop ticks all mixes of the room until ctx is done.
func (r *Room) audioLoop(ctx context.Context) {
	defer r.heard.open()
	snap := &snapshot{}
	idle := func() bool {
		if next := r.snap.Load(); next != snap {
			r.reconcile(snap, next)
			snap = next
		}
		return snap.members == 0
	}
	clock := &pace{epoch: r.epoch, rate: audioTicksPerSecond}
	tick := func(n int64) {
		pts, now := clock.pts(n), codec.Now()
		for i := range snap.views {
			r.tickAudio(&snap.views[i], pts, now)
		}
	}
	runClock(ctx, clock, r.wakeAudio, idle, tick, &r.audioClock)
}

// reconcile lets those into the mixes who are new, and those out who are gone.
// Then the mixes use nothing any more of what has gone.
func (r *Room) reconcile(old, snap *snapshot) {
	for _, v := range old.views {
		if slices.ContainsFunc(snap.views, func(o view) bool { return o.prog == v.prog }) {
			continue
		}
		for _, u := range v.prog.voices.people {
			leaveMix(v.prog, u)
		}
		v.prog.reconcileInputs(nil, r.wake)
	}
	for i := range snap.views {
		v := &snap.views[i]
		g := v.prog
		stay := make([]voice, 0, len(v.members)+len(v.guests))
		for _, old := range g.voices.people {
			if old.guest && slices.Contains(v.guests, old.p) || !old.guest && slices.Contains(v.members, old.p) {
				stay = append(stay, old)
			} else {
				leaveMix(g, old)
			}
		}
		for n, p := range slices.Concat(v.members, v.guests) {
			if !slices.ContainsFunc(stay, func(v voice) bool { return v.p == p }) {
				stay = append(stay, r.joinMix(g, p, n >= len(v.members)))
			}
		}
		g.voices.people = stay
		g.reconcileInputs(v.inputs, r.wake)
		g.mix.SetOutside(len(v.sinks))
	}
	r.heard.pass(snap.seq)
}

// joinMix gives p a place in a mix.
func (r *Room) joinMix(g *program, p *Participant, guest bool) voice {
	var puller audio.Puller
	if p.source != nil {
		puller = &p.source.sound
		p.source.sound.mixes++
	}
	member, err := g.mix.Join(p.csrc, puller)
	if err != nil {
		// No encoder is to be had. He keeps his place, without a member, until
		// the control loop has taken him out.
		r.log.Error("joining the mix", "participant", p.id, "error", err)
		p.Leave(err)
	}
	return voice{p: p, guest: guest, member: member}
}

func leaveMix(g *program, v voice) {
	if v.p.source != nil {
		v.p.source.sound.mixes--
	}
	if v.member != nil {
		g.mix.Leave(v.member)
	}
}

// tickAudio makes 20 ms of sound of one program and lends it to everybody in
// it.
func (r *Room) tickAudio(v *view, pts, now time.Duration) {
	g, cpu := v.prog, worker.StartCPU()
	for i := range g.voices.people {
		u := &g.voices.people[i]
		if f := u.p.facts.Load(); f != u.facts && u.member != nil {
			r.apply(u, f)
		}
		if c := u.p.soundLoss.class(); c != u.class && u.member != nil {
			u.class = c
			if err := u.member.SetClass(c); err != nil {
				r.log.Error("a listener changes its class", "participant", u.p.id, "error", err)
			}
		}
		if bps := u.p.soundLoss.relayBps(); bps != u.relay && u.member != nil {
			u.relay = bps
			u.member.SetRelayLimit(bps)
		}
	}
	if err := g.mix.Tick(pts, now); err != nil && now-g.voices.failed > time.Second {
		g.voices.failed = now
		g.log.Error("mixing", "error", err)
	}
	for i := range g.voices.people {
		u := &g.voices.people[i]
		if u.member == nil || u.guest {
			continue
		}
		if s := u.p.source; s != nil {
			speaking := u.member.Speaking()
			if s.speaking.Swap(speaking) != speaking && u.p.csrc == g.floor.Load() {
				r.wake() // his tile has a border
			}
			if echo := u.member.Echo(); echo != s.echo.Load() {
				s.echo.Store(echo)
				r.wake()
			}
		}
		if f := u.member.Frame(); f != nil {
			u.p.endpoint.Load().WriteAudio(f)
		}
	}
	if f := g.mix.Shared(); f != nil {
		for _, s := range v.sinks {
			s.WriteAudio(f)
		}
	}
	if floor := g.mix.Dominant(); floor != g.voices.floor {
		g.voices.floor = floor
		csrc := uint32(0)
		if floor != nil {
			csrc = floor.CSRC()
		}
		g.floor.Store(csrc)
		r.wake()
	}
	g.tickInputs(r.wake)
	g.mixed(g.mix.Stats())
	g.charge(cpu.Elapsed())
}

// charge notes what a tick has cost, and shares it out among those who send.
func (g *program) charge(used time.Duration) {
	g.soundCPU.Add(int64(used))
	senders := int64(0)
	for i := range g.voices.people {
		if g.voices.people[i].p.source != nil {
			senders++
		}
	}
	for i := range g.voices.people {
		if s := g.voices.people[i].p.source; s != nil {
			s.soundCPU.Add(int64(used) / senders)
		}
	}
}

// apply brings a member in line with what the control loop says of him.
func (r *Room) apply(v *voice, f *facts) {
	v.member.SetMuted(f.muted || f.audience)
	v.member.SetGain(math.Pow(10, f.gainDB/20))
	if err := v.member.SetListening(f.takes.Audio && !v.guest); err != nil {
		r.log.Error("no encoder for a listener", "participant", v.p.id, "error", err)
	}
	// These begin anew when they are set.
	if v.facts == nil || v.facts.noLevelling != f.noLevelling {
		v.member.SetLevelling(!f.noLevelling)
	}
	if v.facts == nil || v.facts.noEchoGuard != f.noEchoGuard {
		v.member.SetEchoDetection(!f.noEchoGuard)
	}
	if s := v.p.source; s != nil && !v.guest {
		s.sync.suppressed(f.suppress)
		s.sound.suppressor = nil
		if f.suppress {
			s.sound.suppressor = s.suppressor
		}
	}
	v.facts = f
}
