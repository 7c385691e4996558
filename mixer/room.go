package mixer

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mixdown/codec"
	"mixdown/mixer/record"
	"mixdown/mixer/video"
)

// sweepPeriod is how often an occupied room looks for what ends by itself,
// such as a shared screen without pictures.
const sweepPeriod = time.Second

// idlePeriod is how often a persistent room without participants looks at what
// has to be told.
const idlePeriod = time.Minute

// Room is one conference. All of its state belongs to its control loop; what
// others read, they read from immutable snapshots. Get one from a [Manager].
// Safe for concurrent use.
type Room struct {
	cfg     Config
	log     *slog.Logger
	life    string
	created time.Time
	// epoch is the zero of the room's media time on the process's clock, and
	// epochWall the same instant on the wall clock as that was when the room
	// was made.
	epoch     time.Duration
	epochWall time.Time
	frames    *codec.VideoPool
	// programs are the room's common outputs, the main one first; the control
	// loop's own. main is programs[0], and there as long as the room.
	programs []*program
	main     *program
	ctx      context.Context
	end      context.CancelFunc // begins the end of the room; Done tells of it
	draining func() bool

	past struct {
		sync.Mutex
		stats Stats // of the sources and programs that have left
	}
	outletCount            outletCounters
	outletKeys             keyBudget     // of all who watch by outlets, together
	wakeAudio, wakeVideo   chan struct{} // one slot each: the snapshot changed
	audioClock, videoClock clockStats

	commands  chan func()   // API calls; senders wait, so nothing is lost
	poke      chan struct{} // one slot: flags changed somewhere, look at them
	done      chan struct{} // the control loop and all its children are gone
	info      atomic.Pointer[RoomInfo]
	snap      atomic.Pointer[snapshot]
	roster    atomic.Pointer[[]*Participant]
	heard     *fence         // the last snapshot that the audio loop follows
	leaving   sync.WaitGroup // goroutines that close what has left
	recorders sync.WaitGroup // goroutines that run and end recordings

	// The control loop's own, from here on.
	room         RoomConfig
	looks        style          // of the main program, and of groups that begin
	participants []*Participant // in the order of joining
	recording    *recording
	outlets      []*Outlet
	tidings      tidings
	uplinks      uplinks
	cost         costMeter
	spoken       int64 // Participant.spoke of who had the floor last
	// startsRecording is set while the files of a recording are being made.
	startsRecording bool
	// Who watches each rendition, and what comes of it for its bitrate; tuneAt is
	// when that is looked at again.
	audiences map[*video.Rendition]audience
	tierRates map[*video.Rendition]*tierRate
	tuneAt    time.Duration
	governed  Level               // the Governor's, as it was carried out
	stored    record.StorageLevel // the recordings', as it was told
}

// snapshot is what the tick loops see of a room: immutable.
type snapshot struct {
	seq     uint64 // counts snapshots
	views   []view
	members int // in all views
}

// view is who is in one program: immutable.
type view struct {
	prog     *program
	canvases []*canvas // the shared one first
	members  []*Participant
	guests   []*Participant // members of other programs who are heard here too
	inputs   []*Input
	sinks    []Sink // outside listeners: recorders and outlets
}

func (v *view) equal(o *view) bool {
	return v.prog == o.prog && slices.Equal(v.canvases, o.canvases) && slices.Equal(v.members, o.members) && slices.Equal(v.guests, o.guests) &&
		slices.Equal(v.inputs, o.inputs) && slices.Equal(v.sinks, o.sinks)
}

// errRoomEnded is what a command gets that comes too late.
var errRoomEnded = errors.New("the room has ended")

// newRoom makes a room that lives until ctx is done; run starts it. phase
// shifts its clocks against those of other rooms.
func newRoom(ctx context.Context, cfg Config, rc RoomConfig, looks style, phase time.Duration, draining func() bool) (*Room, error) {
	life, created := newID("R_"), time.Now()
	r := &Room{
		cfg: cfg, room: rc, looks: looks, life: life, created: created, draining: draining,
		epoch: codec.Now() + phase, epochWall: created.Add(phase),
		log:      cfg.Log.With("room", rc.ID, "roomId", life),
		frames:   codec.NewVideoPool(cfg.RoomVideoBytes),
		commands: make(chan func(), 64),
		poke:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		heard:    newFence(),

		audiences: make(map[*video.Rendition]audience),
		tierRates: make(map[*video.Rendition]*tierRate),

		wakeAudio: make(chan struct{}, 1), wakeVideo: make(chan struct{}, 1),
	}
	r.outletKeys.limit(keysLosing)
	cfg.passing = passing{r.epoch, r.wake}
	r.cfg = cfg
	var err error
	if r.main, err = newProgram(cfg, rc, r.looks, "", r.frames, r.log); err != nil {
		return nil, &Error{Op: "room.create", Kind: Internal, Room: rc.ID, Err: err}
	}
	r.programs = []*program{r.main}
	if late := cfg.LateTick; late != nil {
		r.audioClock.lateAfter = cfg.LateAfter
		r.audioClock.late = func(by time.Duration, skipped int64) { late(rc.ID, by, skipped) }
	}
	r.ctx, r.end = context.WithCancel(ctx)
	r.publish()
	return r, nil
}

// Info returns the room as it is now.
func (r *Room) Info() RoomInfo { return *r.info.Load() }

// Epoch returns the wall clock instant of the room's PTS zero. It stays put
// when the wall clock is set.
func (r *Room) Epoch() time.Time { return r.epochWall }

// Done is closed when the room has ended and everything of it is gone.
func (r *Room) Done() <-chan struct{} { return r.done }

// wake makes the control loop look at the flags of its participants. It never
// blocks, and many calls become one look.
func (r *Room) wake() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// do runs f on the control loop, publishes what it changed, and waits for both.
func (r *Room) do(ctx context.Context, op string, f func() error) error {
	result := make(chan error, 1)
	select {
	case r.commands <- func() {
		err := f()
		r.publish() // before the answer: who asked sees what he did
		result <- err
	}:
	case <-r.done:
		return &Error{Op: op, Kind: Gone, Room: r.Info().ID, Err: errRoomEnded}
	case <-ctx.Done():
		return &Error{Op: op, Kind: Unavailable, Room: r.Info().ID, Err: ctx.Err()}
	}
	select {
	case err := <-result:
		return err
	case <-r.done:
		// The loop may have run f as its last act.
		select {
		case err := <-result:
			return err
		default:
			return &Error{Op: op, Kind: Gone, Room: r.Info().ID, Err: errRoomEnded}
		}
	}
}

// run is the control loop. It returns when the room was told to end, or stayed
// empty for its EmptyTimeout, and after everything in the room has ended:
// participants and their sources, then the clocks, then the renditions, then
// the recorder.
func (r *Room) run() {
	defer close(r.done)
	defer r.end()
	loops, stopLoops := context.WithCancel(context.Background())
	var clocks sync.WaitGroup
	clocks.Go(func() { r.audioLoop(loops) })
	clocks.Go(func() { r.videoLoop(loops) })

	r.control()

	for len(r.participants) > 0 {
		r.remove(r.participants[0], errRoomEnded)
	}
	r.endOutlets(nil, errRoomEnded)
	for _, g := range r.programs {
		for _, in := range g.inputs {
			r.drop(in)
		}
	}
	r.publish()
	r.leaving.Wait()
	stopLoops()
	clocks.Wait()
	for _, g := range r.programs {
		g.close()
	}
	r.endRecording()
	r.recorders.Wait()
	r.publish()
}

// control serves commands and flags until the room's life is over.
func (r *Room) control() {
	sweep := time.NewTimer(sweepPeriod)
	defer sweep.Stop()
	emptySince := codec.Now()
	for {
		select {
		case <-r.ctx.Done():
			return
		case f := <-r.commands:
			f()
		case <-r.poke:
		case <-sweep.C:
		}
		r.sweep()
		now := codec.Now()
		r.measure(now)
		again := r.adapt(now)
		r.publish()
		switch {
		case len(r.participants) > 0:
			emptySince = now
			sweep.Reset(r.untold(now, again))
		case r.room.Persistent:
			emptySince = now
			sweep.Reset(r.untold(now, idlePeriod))
		default:
			left := r.room.EmptyTimeout - (now - emptySince)
			if left <= 0 {
				return
			}
			sweep.Reset(r.untold(now, left))
		}
	}
}

// sweep carries out what the flags of the participants ask for.
func (r *Room) sweep() {
	r.govern()
	r.followStorage()
	for _, p := range slices.Clone(r.participants) {
		if c := p.closed.Load(); c != nil {
			r.remove(p, c.err)
			continue
		}
		r.follow(p)
	}
	r.sweepInputs()
	r.sweepOutlets()
	for _, g := range r.programs {
		r.followFloor(g)
	}
	if rec := r.recording; rec != nil && rec.recorder.Status().State.Final() {
		r.endRecording()
	}
}

// follow brings one participant's state in line with its connection.
func (r *Room) follow(p *Participant) {
	a := p.endpoint.Load()
	if a == nil {
		return
	}
	f := p.facts.Load()
	if f.held {
		return // its state is waiting until somebody admits it
	}
	state := f.state
	switch codec.LinkState(p.link.Load()) {
	case codec.LinkUp:
		state = StateActive
	case codec.LinkLost:
		state = StateReconnecting
	}
	if p.source != nil {
		if echo := p.source.echo.Load(); echo != f.echo {
			r.log.Info("participant sends back what it hears", "participant", p.id, "echo", echo)
			p.change(func(f *facts) { f.echo = echo })
		}
	}
	if state == f.state {
		return
	}
	r.log.Info("participant "+state.String(), "participant", p.id, "was", f.state.String())
	p.change(func(f *facts) { f.state, f.sends, f.takes = state, a.sends, a.takes })
	if p.entered != a {
		r.enter(p, a)
	}
}

// enter lets a participant whose connection has just come up into the program,
// or serves who is in it by another connection than before.
func (r *Room) enter(p *Participant, a *attachment) {
	p.inMix, p.entered = true, a
	if a.takes.Camera && !p.facts.Load().limits.NoVideo {
		r.show(p)
	}
	for id := range codec.NumSources {
		if (id == codec.Camera && a.sends.Camera) || (id == codec.Screen && a.sends.Screen) {
			a.RequestKeyframe(id)
		}
	}
}

// remove takes p out of the room. Whatever of it takes time, takes it on
// another goroutine: the loop never waits for a connection to close.
func (r *Room) remove(p *Participant, reason error) {
	i := slices.Index(r.participants, p)
	if i < 0 {
		return
	}
	r.participants = slices.Delete(r.participants, i, i+1)
	if len(r.participants) == 0 {
		r.endRecording()
		r.endOutlets(nil, ErrNobody)
	}
	p.unwatch()
	departure := p.departing(reason)
	p.change(func(f *facts) { f.state, f.tier = StateLeft, video.Tier{} })
	if p.source != nil {
		r.settle(p)
	}
	without := uint64(0)
	if p.inMix {
		// The snapshot that is published next is the first without him.
		without = r.snap.Load().seq + 1
	}
	r.raiseLeft(p, reason)
	r.leaving.Go(func() {
		a := p.endpoint.Swap(&attachment{Endpoint: nowhere{}})
		if a != nil {
			if err := a.Close(); err != nil {
				r.log.Warn("closing a connection", "participant", p.id, "error", err)
			}
		}
		departure.log(r.log, p, a)
		r.heard.wait(without)
		if p.handed != nil {
			<-p.handed
		}
		if p.source != nil {
			p.source.close()
		}
	})
}

func reasonText(err error) string {
	if err == nil {
		return "left"
	}
	return err.Error()
}

// publish makes the loops and the API see the present state. Unchanged parts
// stay the same values, so that the loops can tell by pointer.
func (r *Room) publish() {
	r.checkFloor()
	r.publishViews()
	r.limitUplinks(codec.Now())
	r.raiseChanges(codec.Now())
	r.tellWatching()
	roster := r.roster.Load()
	if roster == nil || !slices.Equal(*roster, r.participants) {
		now := slices.Clone(r.participants)
		roster = &now
	}
	info := r.describe()
	r.tell(func() {
		r.roster.Store(roster)
		r.info.Store(&info)
	})
}

// describe is what there is to be known of the room now. Control loop only.
func (r *Room) describe() RoomInfo {
	info := RoomInfo{RoomConfig: r.room, Seq: r.tidings.seq, Life: r.life, Created: r.created, Participants: len(r.participants), Speaker: r.main.dominant(), Cores: r.cost.cores(), Viewers: len(r.outlets)}
	info.Floor = r.main.granted
	for _, p := range r.participants {
		if p.hidden {
			info.Hidden++
		}
		if p.facts.Load().held {
			info.Held++
		}
	}
	if r.recording != nil {
		info.Recording = r.recording.id
	}
	return info
}

// publishViews gives the tick loops who is where, and arranges the canvases.
func (r *Room) publishViews() {
	next := &snapshot{seq: 1}
	r.programs = slices.DeleteFunc(r.programs, r.deserted)
	for _, g := range r.programs {
		r.provideCanvases(g)
		v := view{prog: g, canvases: g.canvases, inputs: g.inputs}
		for _, p := range r.participants {
			f := p.facts.Load()
			switch {
			case !p.inMix:
			case f.group == g.group:
				v.members = append(v.members, p)
			case p.source != nil && slices.Contains(f.alsoTo, g.group):
				v.guests = append(v.guests, p)
			}
		}
		if r.recording != nil && g == r.main {
			v.sinks = append(v.sinks, r.recording.recorder)
		}
		for _, o := range r.outlets {
			if o.prog == g {
				v.sinks = append(v.sinks, o)
			}
		}
		next.views = append(next.views, v)
		next.members += len(v.members)
	}
	old := r.snap.Load()
	anew := old == nil || !slices.EqualFunc(old.views, next.views, func(a, b view) bool { return a.equal(&b) })
	if anew {
		if old != nil {
			next.seq = old.seq + 1
		}
		r.snap.Store(next)
		for _, wake := range []chan struct{}{r.wakeAudio, r.wakeVideo} {
			select {
			case wake <- struct{}{}:
			default:
			}
		}
	}
	for i := range next.views {
		r.arrange(&next.views[i], anew)
	}
}

// Update changes what the patch names and returns the room as it is then.
func (r *Room) Update(ctx context.Context, patch RoomPatch) (RoomInfo, error) {
	const op = "room.update"
	err := r.do(ctx, op, func() error {
		rc := r.room
		set(&rc.Name, patch.Name)
		set(&rc.MaxParticipants, patch.MaxParticipants)
		set(&rc.EmptyTimeout, patch.EmptyTimeout)
		set(&rc.Persistent, patch.Persistent)
		set(&rc.Locked, patch.Locked)
		set(&rc.NoLevelling, patch.NoLevelling)
		set(&rc.NoEchoGuard, patch.NoEchoGuard)
		set(&rc.Metadata, patch.Metadata)
		set(&rc.MutedOnJoin, patch.MutedOnJoin)
		set(&rc.WaitingRoom, patch.WaitingRoom)
		set(&rc.PIN, patch.PIN)
		set(&rc.NoSelfUnmute, patch.NoSelfUnmute)
		if err := rc.validate(op); err != nil {
			return err
		}
		if patch.Floor != nil {
			if err := r.grantFloor(op, *patch.Floor); err != nil {
				return err
			}
		}
		was := r.room
		r.room = rc
		r.tidings.updated = r.tidings.updated || !reflect.DeepEqual(was, rc)
		for _, p := range r.participants {
			p.change(func(f *facts) { // what is said again changes nobody
				if rc.NoLevelling != was.NoLevelling {
					f.noLevelling = rc.NoLevelling
				}
				if rc.NoEchoGuard != was.NoEchoGuard {
					f.noEchoGuard = rc.NoEchoGuard
				}
			})
			if was.WaitingRoom && !rc.WaitingRoom {
				r.admitHeld(p)
			}
		}
		return nil
	})
	return r.Info(), err
}

func set[T any](dst *T, src *T) {
	if src != nil {
		*dst = *src
	}
}
