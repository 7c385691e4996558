package mixer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"mixdown/mixer/audio"
)

// InputID is made by the server: "in_" and 13 characters.
type InputID string

// maxInputs play at one time in a room: each holds its whole file.
const maxInputs = 8

// Reasons to refuse an input.
var (
	ErrNoInput       = errors.New("there is no such input")
	ErrNoMedia       = errors.New("this server plays no files: give it a directory with --media-dir")
	ErrTooManyInputs = fmt.Errorf("%d inputs play already", maxInputs)
)

// Input is a file that is played into a room: a contributor without a
// participant. It ends by itself. While nobody is connected it waits, as all of
// the room does.
type Input struct {
	id      InputID
	file    string
	group   GroupID
	gainDB  float64
	csrc    uint32
	started time.Time
	player  *audio.File
	ended   atomic.Bool // set by the audio loop
}

// InputRequest says what to play.
type InputRequest struct {
	// File is a name in the media directory: Ogg with Opus. Required.
	File string
	// Group hears it; it must have members. "" is the main program.
	Group GroupID
	// GainDB raises or lowers it, -40..12.
	GainDB float64
}

// InputInfo is an input as it is now.
type InputInfo struct {
	ID       InputID
	File     string
	Group    GroupID
	GainDB   float64
	CSRC     uint32
	Started  time.Time
	Duration time.Duration
}

func (in *Input) info() InputInfo {
	return InputInfo{
		ID: in.id, File: in.file, Group: in.group, GainDB: in.gainDB, CSRC: in.csrc,
		Started: in.started, Duration: in.player.Duration(),
	}
}

// Play begins to play a file. Invalid when there is no such file or it cannot
// be played, Unavailable when the server has no media directory, Exhausted
// when too many play. It reads the file before it returns.
func (r *Room) Play(ctx context.Context, req InputRequest) (InputInfo, error) {
	const op = "input.create"
	bad := func(field string, err error) (InputInfo, error) {
		return InputInfo{}, &Error{Op: op, Kind: Invalid, Room: r.Info().ID, Field: field, Err: err}
	}
	if err := req.Group.validate(); err != nil {
		return bad("/group", err)
	}
	if !(req.GainDB >= minGainDB && req.GainDB <= maxGainDB) {
		return bad("/gain", fmt.Errorf("%v dB: want %d..%d", req.GainDB, minGainDB, maxGainDB))
	}
	if r.cfg.Media == nil {
		return InputInfo{}, &Error{Op: op, Kind: Unavailable, Room: r.Info().ID, Err: ErrNoMedia}
	}
	if len(r.Inputs()) >= maxInputs { // and again below: nothing is read in vain
		return InputInfo{}, &Error{Op: op, Kind: Exhausted, Room: r.Info().ID, Err: ErrTooManyInputs}
	}
	player, err := r.open(req.File)
	if err != nil {
		return bad("/file", err)
	}
	in := &Input{
		id: InputID(newID("in_")), file: req.File, group: req.Group, gainDB: req.GainDB,
		started: time.Now(), player: player,
	}
	err = r.do(ctx, op, func() error {
		i := slices.IndexFunc(r.programs, func(g *program) bool { return g.group == req.Group })
		if i < 0 {
			return &Error{Op: op, Kind: Invalid, Room: r.room.ID, Field: "/group",
				Err: fmt.Errorf("there is no group %q: a group has members", req.Group)}
		}
		playing := 0
		for _, g := range r.programs {
			playing += len(g.inputs)
		}
		if playing >= maxInputs {
			return &Error{Op: op, Kind: Exhausted, Room: r.room.ID, Err: ErrTooManyInputs}
		}
		in.csrc = r.newCSRC()
		g := r.programs[i]
		g.inputs = append(slices.Clone(g.inputs), in)
		r.log.Info("input begins", "input", in.id, "file", in.file, "group", in.group)
		return nil
	})
	if err != nil {
		player.Close()
		return InputInfo{}, err
	}
	return in.info(), nil
}

// openMedia opens a regular file of the media directory.
func openMedia(media *os.Root, name string) (*os.File, error) {
	// An os.Root: nothing outside can be named. Opening a pipe does not wait.
	f, err := media.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no file %q in the media directory", strings.ToValidUTF8(name, "?"))
		}
		return nil, fmt.Errorf("open %q: give a name in the media directory", strings.ToValidUTF8(name, "?"))
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%q is no regular file", strings.ToValidUTF8(name, "?"))
	}
	return f, nil
}

// open loads a file of the media directory.
func (r *Room) open(name string) (*audio.File, error) {
	f, err := openMedia(r.cfg.Media, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dec, err := r.cfg.Codecs.AudioDecoder()
	if err != nil {
		return nil, err
	}
	player, err := audio.NewFile(f, audio.FileConfig{Decoder: dec})
	if err != nil {
		return nil, errors.Join(err, dec.Close())
	}
	return player, nil
}

// Inputs returns what is playing.
func (r *Room) Inputs() []InputInfo {
	infos := []InputInfo{}
	for _, v := range r.snap.Load().views {
		for _, in := range v.inputs {
			infos = append(infos, in.info())
		}
	}
	return infos
}

// Input returns one input, or NotFound.
func (r *Room) Input(id InputID) (InputInfo, error) {
	for _, info := range r.Inputs() {
		if info.ID == id {
			return info, nil
		}
	}
	return InputInfo{}, &Error{Op: "input.get", Kind: NotFound, Room: r.Info().ID, Err: ErrNoInput}
}

// EndInput ends an input before its file has.
func (r *Room) EndInput(ctx context.Context, id InputID) error {
	const op = "input.delete"
	return r.do(ctx, op, func() error {
		for _, g := range r.programs {
			for _, in := range g.inputs {
				if in.id == id {
					r.drop(in)
					return nil
				}
			}
		}
		return &Error{Op: op, Kind: NotFound, Room: r.room.ID, Err: ErrNoInput}
	})
}

// drop takes an input out of its program. Control loop only.
func (r *Room) drop(in *Input) {
	for _, g := range r.programs {
		g.inputs = slices.DeleteFunc(slices.Clone(g.inputs), func(other *Input) bool { return other == in })
	}
	r.log.Info("input ends", "input", in.id, "played", time.Since(in.started).Round(time.Millisecond))
	// The snapshot that is published next is the first without it.
	without := r.snap.Load().seq + 1
	r.leaving.Go(func() {
		r.heard.wait(without)
		in.player.Close()
	})
}

// inputVoice is an input's place in a mix. The audio loop's own.
type inputVoice struct {
	in     *Input
	member *audio.Member // nil when the mix would not have it
}

// reconcileInputs is reconcile for inputs.
func (g *program) reconcileInputs(inputs []*Input, wake func()) {
	stay := make([]inputVoice, 0, len(inputs))
	for _, v := range g.voices.inputs {
		if slices.Contains(inputs, v.in) {
			stay = append(stay, v)
		} else if v.member != nil {
			g.mix.Leave(v.member)
		}
	}
	for _, in := range inputs {
		if slices.ContainsFunc(stay, func(v inputVoice) bool { return v.in == in }) {
			continue
		}
		member, err := g.mix.Join(in.csrc, in.player)
		if err == nil {
			member.SetGain(math.Pow(10, in.gainDB/20))
			member.SetLevelling(false) // it is as loud as somebody made it
			err = member.SetListening(false)
		}
		if err != nil {
			g.log.Error("an input joins the mix", "input", in.id, "error", err)
			in.ended.Store(true)
			wake()
		}
		stay = append(stay, inputVoice{in, member})
	}
	g.voices.inputs = stay
}

// tickInputs notices what has come to its end.
func (g *program) tickInputs(wake func()) {
	for _, v := range g.voices.inputs {
		if v.in.player.Ended() && !v.in.ended.Swap(true) {
			wake()
		}
	}
}

// sweepInputs takes out what has ended.
func (r *Room) sweepInputs() {
	for _, g := range r.programs {
		for _, in := range g.inputs {
			if in.ended.Load() {
				r.drop(in)
			}
		}
	}
}
