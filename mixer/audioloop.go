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

// audioTicks is what the audio loop owns: the mix, and who is in it.
type audioTicks struct {
	mix    *audio.Mix
	snap   *snapshot // the one that voices stand for
	voices []voice
	failed time.Duration // when an encoder's failure was last logged
}

// voice is a participant's place in the mix.
type voice struct {
	p      *Participant
	member *audio.Member // nil when there was no encoder for him
	facts  *facts        // those that member was set to
}

// audioLoop ticks the mix until ctx is done; then everybody has left it.
func (r *Room) audioLoop(ctx context.Context) {
	t := &audioTicks{mix: r.prog.mix, snap: &snapshot{}}
	defer func() {
		t.mix.Close()
		r.heard.open()
	}()
	idle := func() bool {
		if snap := r.snap.Load(); snap != t.snap {
			r.reconcile(t, snap)
		}
		return len(t.voices) == 0
	}
	clock := &pace{epoch: r.epoch, rate: audioTicksPerSecond}
	runClock(ctx, clock, r.prog.wakeAudio, idle, func(n int64) { r.tickAudio(t, clock.pts(n)) }, &r.prog.audioClock)
}

// reconcile lets those into the mix who are new in snap, and those out who are
// gone from it. Then the mix uses nothing any more of those who have gone.
func (r *Room) reconcile(t *audioTicks, snap *snapshot) {
	stay := make([]voice, 0, len(snap.members))
	for _, v := range t.voices {
		if slices.Contains(snap.members, v.p) {
			stay = append(stay, v)
			continue
		}
		if v.member != nil {
			t.mix.Leave(v.member)
		}
	}
	for _, p := range snap.members {
		if slices.ContainsFunc(stay, func(v voice) bool { return v.p == p }) {
			continue
		}
		var puller audio.Puller
		if p.source != nil {
			puller = p.source.playout
		}
		member, err := t.mix.Join(p.csrc, puller)
		if err != nil {
			// No encoder is to be had. He keeps his place, without a member, until
			// the control loop has taken him out.
			r.log.Error("joining the mix", "participant", p.id, "error", err)
			p.Leave(err)
		}
		stay = append(stay, voice{p: p, member: member})
	}
	t.voices, t.snap = stay, snap
	t.mix.SetOutside(len(snap.sinks))
	r.heard.pass(snap.seq)
}

// tickAudio makes 20 ms of sound and lends it to everybody.
func (r *Room) tickAudio(t *audioTicks, pts time.Duration) {
	defer r.charge(t, worker.StartCPU())
	for i := range t.voices {
		v := &t.voices[i]
		if f := v.p.facts.Load(); f != v.facts && v.member != nil {
			r.apply(v, f)
		}
	}
	now := codec.Now()
	if err := t.mix.Tick(pts, now); err != nil && now-t.failed > time.Second {
		t.failed = now
		r.log.Error("mixing", "error", err)
	}
	for i := range t.voices {
		v := &t.voices[i]
		if v.member == nil {
			continue
		}
		if v.p.source != nil {
			v.p.source.speaking.Store(v.member.Speaking())
		}
		if f := v.member.Frame(); f != nil {
			v.p.endpoint.Load().WriteAudio(f)
		}
	}
	if f := t.mix.Shared(); f != nil {
		for _, s := range t.snap.sinks {
			s.WriteAudio(f)
		}
	}
	r.prog.mixed(t.mix.Stats())
}

// charge notes what a tick has cost, and shares it out among those who send.
func (r *Room) charge(t *audioTicks, begin worker.CPUMark) {
	used := int64(begin.Elapsed())
	r.prog.soundCPU.Add(used)
	senders := int64(0)
	for i := range t.voices {
		if t.voices[i].p.source != nil {
			senders++
		}
	}
	for i := range t.voices {
		if s := t.voices[i].p.source; s != nil {
			s.soundCPU.Add(used / senders)
		}
	}
}

// apply brings a member in line with what the control loop says of him.
func (r *Room) apply(v *voice, f *facts) {
	v.member.SetMuted(f.muted)
	v.member.SetGain(math.Pow(10, f.gainDB/20))
	if err := v.member.SetListening(f.takes.Audio); err != nil {
		r.log.Error("no encoder for a listener", "participant", v.p.id, "error", err)
	}
	v.facts = f
}
