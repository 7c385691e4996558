package webm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/at-wat/ebml-go"
	ebmlwebm "github.com/at-wat/ebml-go/webm"
)

// Config says what a file holds. At least one track must be there.
type Config struct {
	// Video is the VP8 track; nil for none.
	Video *VideoTrack
	// Audio is the Opus track; nil for none.
	Audio *AudioTrack
	// App names the writing program in the file. Defaults to "mixdown".
	App string
	// Date is when the recording started. Defaults to none.
	Date time.Time
	// Window is how much media time a block is held back at most for the
	// other track to come as far; what a crash costs at most. Defaults to
	// 400 ms: three times what a picture needs on a machine that is busy.
	Window time.Duration
}

// VideoTrack describes the pictures.
type VideoTrack struct {
	// Width and Height in pixels, 1..16383.
	Width, Height int
}

// AudioTrack describes the sound.
type AudioTrack struct {
	// Channels is 1 or 2. Defaults to 1.
	Channels int
	// PreSkip is the encoder's lookahead in samples of 48 kHz, 1..65535: by so
	// much decoded sound lags what went into the packet of the same time (RFC
	// 7845 section 4.2). Players take it off. Defaults to 312, libopus's own
	// outside its low-delay mode.
	PreSkip int
}

const (
	// defaultPreSkip is Fs/400 of overlap plus Fs/250 of delay compensation.
	defaultPreSkip = 312
	// seekPreRoll is what an Opus decoder needs to converge after a seek, in
	// ns (RFC 7845 section 4.6).
	seekPreRoll = 80_000_000
	// seekHeadBytes is the region kept for the SeekHead: three entries take at
	// most 68 bytes, the rest is Void.
	seekHeadBytes = 96
	timecodeScale = 1_000_000 // ns: the file counts in ms
	maxAppBytes   = 64
	videoNumber   = 1
	audioNumber   = 2
)

// withDefaults returns the config with defaults filled in, or what is wrong.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.Video == nil && c.Audio == nil {
		errs = append(errs, errors.New("Video, Audio: at least one track is needed"))
	}
	if v := c.Video; v != nil && (v.Width < 1 || v.Width > 16383 || v.Height < 1 || v.Height > 16383) {
		errs = append(errs, fmt.Errorf("Video: size %dx%d: want 1..16383", v.Width, v.Height))
	}
	if c.Audio != nil {
		a := *c.Audio
		if a.Channels == 0 {
			a.Channels = 1
		}
		if a.PreSkip == 0 {
			a.PreSkip = defaultPreSkip
		}
		if a.Channels < 1 || a.Channels > 2 {
			errs = append(errs, fmt.Errorf("Audio.Channels: %d: want 1 or 2", a.Channels))
		}
		if a.PreSkip < 0 || a.PreSkip > 0xffff {
			errs = append(errs, fmt.Errorf("Audio.PreSkip: %d: want 1..65535", a.PreSkip))
		}
		c.Audio = &a
	}
	if c.App == "" {
		c.App = "mixdown"
	}
	if len(c.App) > maxAppBytes {
		errs = append(errs, fmt.Errorf("App: %d bytes: want at most %d", len(c.App), maxAppBytes))
	}
	if c.Window == 0 {
		c.Window = 400 * time.Millisecond
	}
	if c.Window < 0 || c.Window > 10*time.Second {
		errs = append(errs, fmt.Errorf("Window: %v: want 0..10s", c.Window))
	}
	if err := errors.Join(errs...); err != nil {
		return c, fmt.Errorf("webm: config: %w", err)
	}
	return c, nil
}

// The elements of the header as ebml-go marshals them; its own types lack
// Void and FlagLacing.
type (
	infoElement struct {
		// Place keeps room for the Duration.
		Place         []byte    `ebml:"Void"`
		TimecodeScale uint64    `ebml:"TimecodeScale"`
		DateUTC       time.Time `ebml:"DateUTC,omitempty"`
		MuxingApp     string    `ebml:"MuxingApp"`
		WritingApp    string    `ebml:"WritingApp"`
	}
	trackElement struct {
		TrackNumber  uint64          `ebml:"TrackNumber"`
		TrackUID     uint64          `ebml:"TrackUID"`
		TrackType    uint64          `ebml:"TrackType"`
		FlagLacing   uint64          `ebml:"FlagLacing"`
		Language     string          `ebml:"Language"`
		CodecID      string          `ebml:"CodecID"`
		CodecPrivate []byte          `ebml:"CodecPrivate,omitempty"`
		CodecDelay   uint64          `ebml:"CodecDelay,omitempty"`
		SeekPreRoll  uint64          `ebml:"SeekPreRoll,omitempty"`
		Video        *ebmlwebm.Video `ebml:"Video"`
		Audio        *ebmlwebm.Audio `ebml:"Audio"`
	}
)

// marshalHeader returns everything before the first Cluster.
func marshalHeader(c Config) ([]byte, error) {
	var out bytes.Buffer
	head := struct {
		EBML *ebmlwebm.EBMLHeader `ebml:"EBML"`
	}{ebmlwebm.DefaultEBMLHeader}
	if err := ebml.Marshal(&head, &out); err != nil {
		return nil, err
	}
	out.Write(binary.BigEndian.AppendUint32(nil, idSegment))
	out.Write(appendSize(nil, unknownSize, 8))

	info := struct {
		Info infoElement `ebml:"Info"`
	}{infoElement{
		Place:         make([]byte, durationBytes-2),
		TimecodeScale: timecodeScale, DateUTC: c.Date, MuxingApp: c.App, WritingApp: c.App,
	}}
	var infoBytes bytes.Buffer
	if err := ebml.Marshal(&info, &infoBytes); err != nil {
		return nil, err
	}
	seek, err := marshalSeekHead(seekHeadBytes, seekHeadBytes, seekHeadBytes+int64(infoBytes.Len()), 0)
	if err != nil {
		return nil, err
	}
	out.Write(seek)
	out.Write(infoBytes.Bytes())

	var tracks struct {
		Tracks struct {
			TrackEntry []trackElement `ebml:"TrackEntry"`
		} `ebml:"Tracks"`
	}
	if v := c.Video; v != nil {
		tracks.Tracks.TrackEntry = append(tracks.Tracks.TrackEntry, trackElement{
			TrackNumber: videoNumber, TrackUID: videoNumber, TrackType: 1, Language: "und", CodecID: "V_VP8",
			Video: &ebmlwebm.Video{PixelWidth: uint64(v.Width), PixelHeight: uint64(v.Height)},
		})
	}
	if a := c.Audio; a != nil {
		tracks.Tracks.TrackEntry = append(tracks.Tracks.TrackEntry, trackElement{
			TrackNumber: audioNumber, TrackUID: audioNumber, TrackType: 2, Language: "und", CodecID: "A_OPUS",
			CodecPrivate: opusHead(a), CodecDelay: uint64(a.PreSkip) * 1_000_000_000 / 48000, SeekPreRoll: seekPreRoll,
			Audio: &ebmlwebm.Audio{SamplingFrequency: 48000, Channels: uint64(a.Channels)},
		})
	}
	if err := ebml.Marshal(&tracks, &out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// opusHead is the identification header (RFC 7845 section 5.1).
func opusHead(a *AudioTrack) []byte {
	b := append(make([]byte, 0, 19), "OpusHead"...)
	b = append(b, 1, byte(a.Channels))
	b = binary.LittleEndian.AppendUint16(b, uint16(a.PreSkip))
	b = binary.LittleEndian.AppendUint32(b, 48000)
	return append(b, 0, 0, 0) // gain, channel mapping family 0
}

// marshalSeekHead returns a SeekHead, padded with a Void to exactly region
// bytes. Positions count from the Segment's data; cues 0 leaves them out.
func marshalSeekHead(region int, info, tracks, cues int64) ([]byte, error) {
	head := ebmlwebm.SeekHead{Seek: []ebmlwebm.Seek{
		{SeekID: ebml.ElementInfo.Bytes(), SeekPosition: uint64(info)},
		{SeekID: ebml.ElementTracks.Bytes(), SeekPosition: uint64(tracks)},
	}}
	if cues > 0 {
		head.Seek = append(head.Seek, ebmlwebm.Seek{SeekID: ebml.ElementCues.Bytes(), SeekPosition: uint64(cues)})
	}
	var out bytes.Buffer
	if err := ebml.Marshal(&struct {
		SeekHead *ebmlwebm.SeekHead `ebml:"SeekHead"`
	}{&head}, &out); err != nil {
		return nil, err
	}
	if pad := region - out.Len(); pad != 0 {
		if pad < 2 {
			return nil, fmt.Errorf("%w: no room for the SeekHead: %d bytes, it needs %d", ErrFormat, region, out.Len())
		}
		return appendVoid(out.Bytes(), pad), nil
	}
	return out.Bytes(), nil
}
