//go:build !nomicrophone

package device

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/gen2brain/malgo"
	"github.com/pion/mediadevices/pkg/driver"
	"github.com/pion/mediadevices/pkg/io/audio"
	"github.com/pion/mediadevices/pkg/prop"
	"github.com/pion/mediadevices/pkg/wave"

	"mixdown/codec"
)

// mediadevices' own microphone driver opens the sound system as soon as it is
// imported: every server would connect to PulseAudio at its start, and panic
// where there is none. This one does the same, with the same library, when a
// microphone is first asked for.

// system is the sound system, opened once and for the life of the process.
var system = sync.OnceValues(func() (*malgo.AllocatedContext, error) {
	ctx, err := malgo.InitContext(nil, malgo.ContextConfig{}, nil)
	if err != nil {
		return nil, fmt.Errorf("no sound system to be had: %w", err)
	}
	return ctx, nil
})

// registerMicrophones does so once.
var registerMicrophones = sync.OnceValue(func() error {
	ctx, err := system()
	if err != nil {
		return err
	}
	devices, err := ctx.Devices(malgo.Capture)
	if err != nil {
		return fmt.Errorf("microphones: %w", err)
	}
	for _, d := range devices {
		priority := driver.PriorityNormal
		if d.IsDefault != 0 {
			priority = driver.PriorityHigh
		}
		err := driver.GetManager().Register(&microphone{ctx: ctx, id: d.ID}, driver.Info{
			Label: d.ID.String(), Name: d.Name(), DeviceType: driver.Microphone, Priority: priority,
		})
		if err != nil {
			return err
		}
	}
	return nil
})

// microphone implements driver.Adapter and driver.AudioRecorder.
type microphone struct {
	ctx    *malgo.AllocatedContext
	id     malgo.DeviceID
	device *malgo.Device
	chunks chan []byte
	ended  chan struct{}
}

// Open implements driver.Adapter.
func (m *microphone) Open() error {
	m.chunks, m.ended = make(chan []byte, queueLength), make(chan struct{})
	return nil
}

// Close implements driver.Adapter.
func (m *microphone) Close() error {
	if m.device != nil {
		m.device.Uninit()
		m.device = nil
	}
	close(m.ended)
	return nil
}

// Properties implements driver.Adapter. miniaudio converts whatever the device
// has to this.
func (m *microphone) Properties() []prop.Media {
	return []prop.Media{{Audio: prop.Audio{
		ChannelCount: 1, SampleRate: codec.SampleRate, SampleSize: 2,
		IsInterleaved: true, Latency: codec.FrameDuration,
	}}}
}

// AudioRecord implements driver.AudioRecorder.
func (m *microphone) AudioRecord(prop.Media) (audio.Reader, error) {
	config := malgo.DefaultDeviceConfig(malgo.Capture)
	config.Capture.Format, config.Capture.Channels = malgo.FormatS16, 1
	config.Capture.DeviceID = m.id.Pointer()
	config.SampleRate = codec.SampleRate
	config.PeriodSizeInMilliseconds = uint32(codec.FrameDuration.Milliseconds())
	chunks := m.chunks
	device, err := malgo.InitDevice(m.ctx.Context, config, malgo.DeviceCallbacks{
		Data: func(_, in []byte, _ uint32) {
			select {
			case chunks <- append([]byte(nil), in...): // in is the sound system's again afterwards
			default: // nobody reads: the newest is lost
			}
		},
	})
	if err != nil {
		return nil, err
	}
	if err := device.Start(); err != nil {
		device.Uninit()
		return nil, err
	}
	m.device = device
	ended := m.ended
	return audio.ReaderFunc(func() (wave.Audio, func(), error) {
		select {
		case <-ended:
			return nil, func() {}, io.EOF
		case data := <-chunks:
			out := wave.NewInt16Interleaved(wave.ChunkInfo{Len: len(data) / 2, Channels: 1, SamplingRate: codec.SampleRate})
			for i := range out.Data {
				out.Data[i] = int16(binary.NativeEndian.Uint16(data[2*i:]))
			}
			return out, func() {}, nil
		}
	}), nil
}
