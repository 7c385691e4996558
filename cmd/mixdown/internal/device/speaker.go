//go:build !nomicrophone

package device

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/gen2brain/malgo"

	"mixdown/codec"
)

// Speaker is an open loudspeaker.
type Speaker struct {
	device *malgo.Device
	once   sync.Once
}

// OpenSpeaker opens the default loudspeaker (ALSA, PulseAudio, or what else the
// system has) and plays what pull gives, 20 ms at a time, until Close. pull runs
// on the sound system's own thread and must be quick. The error says when there
// is no loudspeaker.
func OpenSpeaker(pull func(*codec.AudioFrame)) (*Speaker, error) {
	ctx, err := system()
	if err != nil {
		return nil, err
	}
	return openSpeaker(ctx, pull)
}

func openSpeaker(ctx *malgo.AllocatedContext, pull func(*codec.AudioFrame)) (*Speaker, error) {
	config := malgo.DefaultDeviceConfig(malgo.Playback)
	config.Playback.Format, config.Playback.Channels = malgo.FormatS16, 1
	config.SampleRate = codec.SampleRate
	config.PeriodSizeInMilliseconds = uint32(codec.FrameDuration.Milliseconds())
	var frame codec.AudioFrame
	played := len(frame)
	device, err := malgo.InitDevice(ctx.Context, config, malgo.DeviceCallbacks{
		Data: func(out, _ []byte, _ uint32) { // of any length
			for i := 0; i+1 < len(out); i += 2 {
				if played == len(frame) {
					pull(&frame)
					played = 0
				}
				binary.NativeEndian.PutUint16(out[i:], uint16(frame[played]))
				played++
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("no loudspeaker to be had: %w", err)
	}
	if err := device.Start(); err != nil {
		device.Uninit()
		return nil, fmt.Errorf("the loudspeaker does not start: %w", err)
	}
	return &Speaker{device: device}, nil
}

// Close stops playing: afterwards pull is not called any more. Twice is fine.
func (s *Speaker) Close() error {
	s.once.Do(s.device.Uninit)
	return nil
}
