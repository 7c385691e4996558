package mixer

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"sync"
	"time"

	"mixdown/codec"
	"mixdown/codec/worker"
	"mixdown/mixer/layout"
	"mixdown/mixer/record"
	"mixdown/mixer/video"
)

// RoomID is the name that callers choose for a room: 1 to 64 letters, digits,
// '-', '_' and '.', starting with a letter or digit.
type RoomID string

// ParticipantID is made by the server: "p_" and 13 characters.
type ParticipantID string

// Config is what a Manager needs. Log, Pool and the codec makers are required.
type Config struct {
	// Log receives events; rates are bounded. Defaults to discarding.
	Log *slog.Logger
	// Pool runs all video work. The caller owns it and runs it for longer
	// than the Manager.
	Pool *worker.Pool
	// Codecs makes encoders and decoders.
	Codecs Codecs
	// Recordings keeps what is recorded; nil refuses recording.
	Recordings *record.Store
	// Media is the directory whose files may be played into rooms; nil is none.
	// The caller owns it.
	Media *os.Root
	// Labels draws names; nil draws none.
	Labels *video.Labeller
	// Cores is the processor time that the process may use, in seconds a second:
	// the Governor's budget. 0 is no governor: nobody is refused for want of it,
	// and quality is never lowered.
	Cores float64
	// MaxRooms defaults to 1000.
	MaxRooms int
	// RoomVideoBytes bounds the decoded pictures of one room. Defaults to 512 MiB.
	RoomVideoBytes int64
	// LateTick, when set, is told of each audio tick that began LateAfter or
	// more after it was due, or before which the clock jumped over some. It is
	// called from the room's audio loop, at the beginning of that tick, and
	// must not block.
	LateTick func(room RoomID, late time.Duration, skipped int64)
	// EventHistory is how many events are kept for those who come back.
	// Defaults to 1024.
	EventHistory int
	// EventQueue is how many events may wait for one subscriber before he is
	// dropped. Defaults to 256.
	EventQueue int
	// LateAfter defaults to 40 ms: two ticks, more than clients hold in store.
	LateAfter time.Duration

	governor *Governor   // made by New
	stills   *sync.Mutex // held while a picture is decoded; made by New
	passing  passing     // made by the room
}

// Codecs makes the codecs that a room uses. All fields but the last three are
// required.
type Codecs struct {
	AudioDecoder func() (codec.AudioDecoder, error)
	AudioEncoder func() (codec.AudioEncoder, error)
	VideoDecoder func() (codec.VideoDecoder, error)
	VideoEncoder func(codec.VideoEncoderConfig) (codec.VideoEncoder, error)
	// Suppressor makes what takes the noise out of one person's sound; nil when
	// there is none to be had.
	Suppressor func() (Suppressor, error)
	// H264Decoder and H264Encoder make those of H.264, where VideoDecoder and
	// VideoEncoder make VP8's; nil when there are none.
	H264Decoder func() (codec.VideoDecoder, error)
	H264Encoder func(codec.VideoEncoderConfig) (codec.VideoEncoder, error)
}

// others returns what makes decoders of codecs other than VP8; nil when there are
// none.
func (c *Codecs) others() func(codec.Codec) (codec.VideoDecoder, error) {
	if c.H264Decoder == nil {
		return nil
	}
	return func(of codec.Codec) (codec.VideoDecoder, error) {
		if of != codec.H264 {
			return nil, fmt.Errorf("no decoder of %v: %w", of, codec.ErrCorrupt)
		}
		return c.H264Decoder()
	}
}

// encoder returns what makes encoders of a codec.
func (c *Codecs) encoder(of codec.Codec) func(codec.VideoEncoderConfig) (codec.VideoEncoder, error) {
	if of == codec.H264 {
		return c.H264Encoder
	}
	return c.VideoEncoder
}

// Suppressor takes the noise out of one person's sound.
type Suppressor interface {
	// Process changes 20 ms in place, one after the other. It does not block.
	Process(pcm *codec.AudioFrame)
	Close() error
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxRooms == 0 {
		c.MaxRooms = 1000
	}
	if c.RoomVideoBytes == 0 {
		c.RoomVideoBytes = 512 << 20
	}
	if c.EventHistory == 0 {
		c.EventHistory = 1024
	}
	if c.EventQueue == 0 {
		c.EventQueue = 256
	}
	if c.LateAfter == 0 {
		c.LateAfter = 40 * time.Millisecond
	}
}

// validate reports every fault at once.
func (c *Config) validate() error {
	var faults []error
	if c.Pool == nil {
		faults = append(faults, errors.New("Pool is missing"))
	}
	if c.Codecs.AudioDecoder == nil || c.Codecs.AudioEncoder == nil ||
		c.Codecs.VideoDecoder == nil || c.Codecs.VideoEncoder == nil {
		faults = append(faults, errors.New("Codecs lacks a maker"))
	}
	if !(c.Cores >= 0 && c.Cores <= maxCores) {
		faults = append(faults, fmt.Errorf("Cores is %v: want more than 0 and at most %d, or 0 for no governor", c.Cores, maxCores))
	}
	if c.MaxRooms < 0 {
		faults = append(faults, fmt.Errorf("MaxRooms is %d: want 1 or more", c.MaxRooms))
	}
	if c.EventHistory < 0 {
		faults = append(faults, fmt.Errorf("EventHistory is %d: want 1 or more, or 0 for 1024", c.EventHistory))
	}
	if c.EventQueue < 0 {
		faults = append(faults, fmt.Errorf("EventQueue is %d: want 1 or more, or 0 for 256", c.EventQueue))
	}
	if c.LateAfter < 0 {
		faults = append(faults, fmt.Errorf("LateAfter is %v: want more than 0, or 0 for 40ms", c.LateAfter))
	}
	return errors.Join(faults...)
}

// RoomConfig is what a room's owner chooses.
type RoomConfig struct {
	ID   RoomID
	Name string
	// Canvas is the composed picture. Defaults to 1280x720 at 30 fps.
	Canvas layout.Canvas
	// Tiers are the sizes and rates at which the canvas is sent, largest
	// first. Defaults to the canvas itself, 640x360@30 and 320x180@15.
	Tiers []video.Tier
	// Layout arranges the canvas; the zero value is a grid.
	Layout layout.Spec
	// MaxParticipants defaults to 50.
	MaxParticipants int
	// EmptyTimeout is how long the room outlives its last participant.
	// Defaults to 5 minutes.
	EmptyTimeout time.Duration
	// Persistent keeps the room although nobody is in it: it ends when it is
	// deleted, or EmptyTimeout after it has ceased to be persistent. What keeps
	// it over a restart is the API.
	Persistent bool
	// Locked refuses new participants.
	Locked bool
	// NoLevelling leaves those who join as loud as they are, NoEchoGuard lets
	// those be heard whose loudspeakers send back what they hear. Of one
	// participant each can be set as well.
	NoLevelling, NoEchoGuard bool
	// MutedOnJoin mutes those who join, WaitingRoom holds them until they are
	// admitted, and PIN is what they must know; "" is none. None of them concerns
	// moderators.
	MutedOnJoin, WaitingRoom bool
	PIN                      PIN
	// NoSelfUnmute leaves it to moderators to unmute whoever is muted, by joining,
	// by one of them or by himself.
	NoSelfUnmute bool
	// Metadata is the owner's own, at most 16 KiB, and not looked at.
	Metadata string
}

// Bounds of a RoomConfig.
const (
	maxNameBytes     = 256
	maxMetadataBytes = 16 << 10
	maxParticipants  = 1000
	maxTiers         = 8
	maxEmptyTimeout  = 24 * time.Hour
	minGainDB        = -40
	maxGainDB        = 12
)

var roomIDPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (c *RoomConfig) setDefaults() {
	if c.Canvas == (layout.Canvas{}) {
		c.Canvas = layout.Canvas{Width: 1280, Height: 720, FPS: 30}
	}
	if len(c.Tiers) == 0 {
		c.Tiers = defaultTiers(c.Canvas)
	}
	if c.MaxParticipants == 0 {
		c.MaxParticipants = 50
	}
	if c.EmptyTimeout == 0 {
		c.EmptyTimeout = 5 * time.Minute
	}
}

// Validate returns an Invalid Error that names the first faulty field.
func (c RoomConfig) Validate() error {
	c.setDefaults()
	return c.validate("room.create")
}

// validate returns an Invalid Error that names the first faulty field.
func (c *RoomConfig) validate(op string) error {
	bad := func(field, format string, args ...any) error {
		return &Error{Op: op, Kind: Invalid, Room: c.ID, Field: field, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case !roomIDPattern.MatchString(string(c.ID)):
		return &Error{Op: op, Kind: Invalid, Field: "/id",
			Err: errors.New("want 1 to 64 letters, digits, '-', '_' or '.', starting with a letter or digit")}
	case len(c.Name) > maxNameBytes:
		return bad("/name", "%d bytes: want at most %d", len(c.Name), maxNameBytes)
	case len(c.Metadata) > maxMetadataBytes:
		return bad("/metadata", "%d bytes: want at most %d", len(c.Metadata), maxMetadataBytes)
	case c.MaxParticipants < 1 || c.MaxParticipants > maxParticipants:
		return bad("/maxParticipants", "%d: want 1..%d", c.MaxParticipants, maxParticipants)
	case c.EmptyTimeout < 0 || c.EmptyTimeout > maxEmptyTimeout:
		return bad("/emptyTimeout", "%v: want 0..%v", c.EmptyTimeout, maxEmptyTimeout)
	case len(c.Tiers) > maxTiers:
		return bad("/tiers", "%d tiers: want at most %d", len(c.Tiers), maxTiers)
	}
	if err := c.PIN.validate(); err != nil {
		return bad("/pin", "%w", err)
	}
	if err := c.Canvas.Validate(); err != nil {
		return bad("/canvas", "%w", err)
	}
	if err := c.Layout.Validate(); err != nil {
		return bad("/layout", "%w", err)
	}
	for i, t := range c.Tiers {
		if err := t.Validate(); err != nil {
			return bad(fmt.Sprintf("/tiers/%d", i), "%w", err)
		}
		if t.Width > c.Canvas.Width || t.Height > c.Canvas.Height || t.FPS > c.Canvas.FPS {
			return bad(fmt.Sprintf("/tiers/%d", i), "%v is more than the canvas %dx%d@%d",
				t, c.Canvas.Width, c.Canvas.Height, c.Canvas.FPS)
		}
	}
	return nil
}

// RoomPatch changes the fields that are not nil. A room's canvas and tiers
// stay as they were made.
type RoomPatch struct {
	Name            *string
	MaxParticipants *int
	EmptyTimeout    *time.Duration
	Persistent      *bool
	Locked          *bool
	// NoLevelling and NoEchoGuard, where they change, set all participants.
	NoLevelling, NoEchoGuard *bool
	// MutedOnJoin and PIN concern those who join from then on; without WaitingRoom
	// all who wait are admitted.
	MutedOnJoin, WaitingRoom *bool
	PIN                      *PIN
	NoSelfUnmute             *bool
	// Floor gives somebody in the main program the floor, "" takes it back.
	Floor    *ParticipantID
	Metadata *string
}

// RoomInfo is a room as it is now.
type RoomInfo struct {
	RoomConfig
	// Life names this life of the room: the same id, made again later, has
	// another one.
	Life    string
	Created time.Time
	// Seq is that of the last event that this state contains.
	Seq uint64
	// Participants is all who are in the room; Hidden of them nobody is told of,
	// and Held wait to be admitted.
	Participants, Hidden, Held int
	// Recording names the running recording, or is empty.
	Recording string
	// Speaker has the floor in the main program: who speaks, or spoke last.
	Speaker ParticipantID
	// Floor is who was given the floor of the main program, and is shown as its
	// speaker whoever speaks; empty for nobody.
	Floor ParticipantID
	// Viewers is how many outlets are open.
	Viewers int
	// Cores is the processor time that the room uses, in seconds a second,
	// over the last seconds: decoding, drawing, encoding and sound, but not
	// the network.
	Cores float64
}

// JoinRequest says who joins and what the client can do.
type JoinRequest struct {
	Identity, Name string
	// Kind is "webrtc" unless said otherwise.
	Kind string
	// Role is what the client was let in as.
	Role Role
	// Limits narrow what the client is sent.
	Limits Limits
	// Codec is that of the pictures that the client would be sent, for the price;
	// 0 is VP8. What counts is [Participant.Attach].
	Codec codec.Codec
	// PIN is what the client says is the room's.
	PIN PIN
	// Moderator is let in although the room is locked, has a PIN or a waiting
	// room, and is not muted.
	Moderator bool
	// Audience begins without a tile and a voice; Hidden stays so, and nobody is
	// told of it.
	Audience, Hidden bool
}

// Role says which way a participant's media goes.
type Role uint8

// The roles, named for the URL that was posted to.
const (
	// RoleParticipant sends and receives.
	RoleParticipant Role = iota
	// RolePublisher only sends (WHIP).
	RolePublisher
	// RoleViewer only receives (WHEP); it has no tile.
	RoleViewer
)

// String returns "participant", "publisher" or "viewer".
func (r Role) String() string {
	return [...]string{"participant", "publisher", "viewer"}[r]
}

// Limits bound what a client is sent; 0 is unbounded. They are met by the
// largest tier that fits, or by the smallest tier when none does.
type Limits struct {
	MaxWidth, MaxHeight, MaxFPS, MaxBitrateBps int
	// MaxBlocks and MaxBlockRate are what a level of H.264 is: macroblocks, which
	// have 16x16 samples, of a picture and of a second.
	MaxBlocks, MaxBlockRate int
	// ConstantSize keeps the picture's size as it is, for clients that bear no
	// other one in mid-stream: only frame rate and bitrate follow the link.
	ConstantSize bool
	// NoVideo leaves the picture out.
	NoVideo bool
}

// State is where a participant is in its life.
type State uint8

// The states.
const (
	// StateWaiting is before the first packet, and in the waiting room.
	StateWaiting State = iota
	StateActive
	// StateReconnecting keeps the tile while the client is away.
	StateReconnecting
	StateLeft
)

// String returns the state's name as the API spells it.
func (s State) String() string {
	return [...]string{"waiting", "active", "reconnecting", "left"}[s]
}

// ParticipantPatch changes the fields that are not nil.
type ParticipantPatch struct {
	Name *string
	// Avatar is a PNG or JPEG file of the media directory that is shown while
	// there is no camera; "" shows the initials.
	Avatar *string
	// Group is the program that the participant belongs to. A group begins with
	// its first member and ends with its last.
	Group *GroupID
	// AlsoTo are other groups that hear the participant too; they must have
	// members, and are left out when they end. "" is the main program.
	AlsoTo *[]GroupID
	// Admit lets in who is held in the waiting room; nobody is held again.
	Admit bool
	// Audience takes the participant's tile and voice, or gives them back. Only who
	// came as RoleParticipant, and is not hidden, can have them back.
	Audience *bool
	// Muted keeps the participant's sound out of the mix.
	Muted *bool
	// GainDB raises or lowers it, -40..12.
	GainDB *float64
	// NoLevelling leaves the participant as loud as it is.
	NoLevelling *bool
	// NoEchoGuard lets it be heard although it sends back what it hears.
	NoEchoGuard *bool
	// Suppress takes noise out of its sound, which costs some processor time
	// and 10 ms. Most clients do so themselves.
	Suppress *bool
}

// ParticipantInfo is a participant as it is now.
type ParticipantInfo struct {
	ID             ParticipantID
	Room           RoomID
	Identity, Name string
	Avatar         string
	Kind           string
	Role           Role
	State          State
	Group          GroupID
	AlsoTo         []GroupID
	Joined         time.Time
	// CSRC names the participant in mixed RTP streams; unique in the room.
	CSRC uint32
	// Held is in the waiting room: it neither hears nor sees the others, nor is it
	// heard or seen. Audience hears and sees only. Hidden is audience that is not
	// told of.
	Held, Audience, Hidden             bool
	Muted                              bool
	GainDB                             float64
	NoLevelling, NoEchoGuard, Suppress bool
	// Echo says that the participant sends back what it hears.
	Echo     bool
	Limits   Limits
	Sends    Media
	Takes    Media
	Tier     video.Tier // zero when no picture is taken
	Speaking bool
	RTT      time.Duration
	// LossFraction of what the client was sent, 0..1.
	LossFraction float64
	// Cores is the processor time that what the participant sends costs, in
	// seconds a second, over the last seconds: decoding of pictures, and an
	// equal share of the room's sound. What all share, the canvas and its
	// encoding, is the room's alone.
	Cores float64
	// Sync is how the camera and the screen are held back for lip sync.
	Sync [codec.NumSources]SyncState
}

// Media says which kinds of media go one way.
type Media struct {
	Audio, Camera, Screen bool
	// Codec is that of the pictures; 0 is VP8.
	Codec codec.Codec
}

// VideoCodec is that of the pictures.
func (m Media) VideoCodec() codec.Codec {
	if m.Codec == 0 {
		return codec.VP8
	}
	return m.Codec
}
