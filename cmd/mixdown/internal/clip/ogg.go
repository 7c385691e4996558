package clip

import (
	"errors"
	"fmt"
	"io"
	"time"

	"mixdown/codec"
	"mixdown/codec/ogg"
)

// readOgg reads an Ogg file with Opus. What its pre-skip and end trimming say
// is not to be heard is sent nevertheless: on the way there is no such thing.
func readOgg(r io.Reader) (*Clip, error) {
	in, err := ogg.NewReader(r)
	if err != nil {
		return nil, oggFault(err)
	}
	c := &Clip{Codec: codec.Opus}
	for {
		p, err := in.Next()
		if err == io.EOF {
			return c, nil
		} else if err != nil {
			return nil, oggFault(err)
		}
		if len(c.Units) >= maxUnits {
			return nil, fmt.Errorf("%w: Ogg has more than %d packets", ErrFormat, maxUnits)
		}
		c.Units = append(c.Units, Unit{
			Data: append([]byte(nil), p.Data...), Key: true,
			Duration: time.Duration(p.Samples) * time.Second / codec.SampleRate,
		})
	}
}

func oggFault(err error) error {
	if errors.Is(err, ogg.ErrFormat) {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return err
}
