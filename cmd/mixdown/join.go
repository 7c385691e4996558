package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/cmd/mixdown/internal/device"
	"mixdown/cmd/mixdown/internal/resize"
	"mixdown/cmd/mixdown/internal/tone"
	"mixdown/codec"
	"mixdown/codec/opus"
)

// joinCmd is the flags of `mixdown join`.
type joinCmd struct {
	URL     string        `arg:"" help:"A room's page (http://HOST:PORT/r/ROOM), or what takes offers: /v1/rooms/ROOM/participants, /whip/ROOM, /whep/ROOM."`
	Play    string        `placeholder:"FILE|camera" help:"Picture to send: an IVF file with VP8, in a loop, or the camera."`
	Audio   string        `placeholder:"FILE|mic" help:"Sound to send: an Ogg file with Opus, in a loop, or the microphone."`
	Tone    float64       `placeholder:"HZ" help:"A tone to send, on top of an audio file or alone."`
	RED     int           `name:"red" default:"1" placeholder:"N" help:"How many earlier packets each packet of sound repeats against loss, 0 to 2 (${default})."`
	Save    string        `placeholder:"FILE" help:"WebM file for what is received; the picture then keeps its size."`
	Hear    string        `placeholder:"FILE|speaker" help:"Where to play what is heard: a WAV file, or the loudspeaker."`
	For     time.Duration `placeholder:"TIME" help:"Leave after this time (until interrupted)."`
	Token   string        `placeholder:"TOKEN" help:"Who you are, to a server with keys (what the URL has, if it is an invitation: #token=...). Better in the environment, MIXDOWN_TOKEN."`
	Name    string        `default:"mixdown join" help:"Name to be shown (${default})."`
	NoVideo bool          `help:"Receive sound only."`
	Uplink  bool          `default:"true" negatable:"" help:"Send pictures as small as the server asks for, and none that nobody sees (on; --no-uplink)."`
	Again   bool          `name:"reconnect" default:"true" negatable:"" help:"Join again when the connection is lost or the server restarts, as the same participant if it can (on; --no-reconnect)."`
	Pin     pinFlags      `embed:""`
	Quiet   bool          `short:"q" help:"No progress, no summary."`
}

// Values of --play and --audio that are no file.
const (
	playCamera = "camera"
	audioMic   = "mic"
)

// Validate is called by kong after parsing.
func (c *joinCmd) Validate() error {
	if _, _, err := client.Endpoint(c.URL, c.Name); err != nil {
		return err
	}
	if c.Tone != 0 && (c.Tone < 20 || c.Tone > 20000) {
		return fmt.Errorf("--tone %g: want 20..20000 Hz", c.Tone)
	}
	if c.Tone != 0 && c.Audio == audioMic {
		return errors.New("--tone is for files: leave out --audio mic")
	}
	if c.RED < 0 || c.RED > 2 {
		return fmt.Errorf("--red %d: want 0, 1 or 2", c.RED)
	}
	if err := c.Pin.validate(); err != nil {
		return err
	}
	if c.For < 0 {
		return fmt.Errorf("--for %v: want a time above 0", c.For)
	}
	return nil
}

// Run joins, plays and saves until the time is up or ctx is done.
func (c *joinCmd) Run(ctx context.Context, s streams) error {
	if c.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.For)
		defer cancel()
	}
	config := client.Config{URL: c.URL, Token: c.Token, Name: c.Name, NoVideo: c.NoVideo, NoUplink: !c.Uplink, RED: c.RED}
	var err error
	if config.HTTP, err = c.Pin.client(); err != nil {
		return err
	}
	if config.HTTP != nil {
		defer config.HTTP.CloseIdleConnections()
	}
	closeSources, err := c.open(&config)
	if err != nil {
		return err
	}
	defer closeSources()

	out, err := c.receive(&config)
	if err != nil {
		return err
	}
	say := s.Err
	if c.Quiet {
		say = io.Discard
	}
	room, err := newStay(config, c.Again, say, out.rejoined)
	if err != nil {
		return errors.Join(err, out.Close())
	}
	show := newProgress(s.Err, c.Quiet, c.For)
	group, groupCtx := errgroup.WithContext(ctx)
	ended := make(chan struct{})
	group.Go(func() error {
		defer close(ended)
		return room.run(groupCtx)
	})
	group.Go(func() error {
		show.run(ended, room.client.Load)
		return nil
	})
	err = errors.Join(group.Wait(), out.Close())
	if !c.Quiet {
		if n := room.attempts.Load(); n > 0 {
			fmt.Fprintf(s.Out, "rejoined   after %d attempts; what follows is of the last\n", n)
		}
		last := room.client.Load()
		summary(s.Out, last, last.Joined(), codec.Now())
		if out.save != nil {
			fmt.Fprintf(s.Out, "saved      %s\n", out.save.summary())
		}
	}
	return err
}

// outputs is where what is received goes, as far as that was asked for.
type outputs struct {
	save *saver
	hear *hearing
}

// receive opens them and hooks them up.
func (c *joinCmd) receive(config *client.Config) (out outputs, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Close())
		}
	}()
	if c.Save != "" {
		if out.save, err = newSaver(c.Save); err != nil {
			return out, err
		}
		if config.URL, err = constantSize(c.URL); err != nil {
			return out, err
		}
		config.OnAudio, config.OnVideo = out.save.audio, out.save.video
	}
	if c.Hear != "" {
		if out.hear, err = newHearing(c.Hear); err != nil {
			return out, err
		}
		config.OnAudio = out.hear.audio
		if out.save != nil {
			config.OnAudio = func(p client.Packet) {
				out.save.audio(p)
				out.hear.audio(p)
			}
		}
	}
	return out, nil
}

func (o outputs) rejoined() {
	o.save.rejoined()
	o.hear.rejoined()
}

// Close finishes the files.
func (o outputs) Close() error { return errors.Join(o.save.Close(), o.hear.Close()) }

// constantSize asks for a picture that keeps its size, unless the URL says
// something of it: files say at their beginning what that is.
func constantSize(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("URL: %w", err)
	}
	q := u.Query()
	if !q.Has("constantSize") {
		q.Set("constantSize", "true")
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// open fills in what is sent, and returns what closes devices.
func (c *joinCmd) open(config *client.Config) (_ func(), err error) {
	var closers []func() error
	closeAll := func() {
		for _, f := range closers {
			_ = f() // nothing is lost when a device does not close
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	switch c.Play {
	case "":
	case playCamera:
		camera, err := device.OpenCamera(device.CameraConfig{})
		if err != nil {
			return nil, fmt.Errorf("--play camera: %w", err)
		}
		config.Video, closers = camera, append(closers, camera.Close)
	default:
		player, err := loadPlayer(c.Play)
		if err != nil {
			return nil, fmt.Errorf("--play: %w", err)
		}
		config.Video, closers = player, append(closers, player.Close)
	}
	switch {
	case c.Audio == audioMic:
		mic, err := device.OpenMicrophone()
		if err != nil {
			return nil, fmt.Errorf("--audio mic: %w", err)
		}
		config.Audio, closers = mic, append(closers, mic.Close)
	case c.Tone != 0:
		if config.Audio, err = c.toneSource(); err != nil {
			return nil, err
		}
	case c.Audio != "":
		if config.Audio, err = loadSound(c.Audio); err != nil {
			return nil, fmt.Errorf("--audio: %w", err)
		}
	}
	return closeAll, nil
}

// loadPlayer loads a file of pictures, to be sent as large as is asked for.
func loadPlayer(path string) (*resize.Player, error) {
	c, err := loadClip(path, codec.VP8)
	if err != nil {
		return nil, err
	}
	return resize.Loop(c)
}

// loadSound loads a file of sound and measures it, so that the server is told
// its level as browsers do.
func loadSound(path string) (client.Source, error) {
	c, err := loadClip(path, codec.Opus)
	if err != nil {
		return nil, err
	}
	if c, err = measured(c); err != nil {
		return nil, err
	}
	return client.Loop(c), nil
}

// loadClip loads a file that must be of one kind.
func loadClip(path string, want codec.Codec) (*clip.Clip, error) {
	c, err := clip.Load(path)
	if err == nil && c.Codec != want {
		err = fmt.Errorf("%s holds %v: want %v", path, c.Codec, want)
	}
	return c, err
}

func measured(c *clip.Clip) (*clip.Clip, error) {
	dec, err := opus.NewDecoder()
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	return c.Measure(dec)
}

// toneSource is the tone, on top of the audio file when there is one.
func (c *joinCmd) toneSource() (client.Source, error) {
	spec := tone.Spec{Hz: c.Tone, Level: 0.1, Duration: 10 * time.Second}
	if c.Audio != "" {
		speech, err := clip.Load(c.Audio)
		if err != nil {
			return nil, fmt.Errorf("--audio: %w", err)
		}
		spec.Speech, spec.SpeechGain, spec.Duration = speech, 1, 0
	}
	made, err := tone.Make(spec)
	if err != nil {
		return nil, err
	}
	return client.Loop(made), nil
}

// create opens the file for --save; it does not overwrite anything but files.
func create(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s exists and is no file", path)
	}
	return os.Create(path)
}
