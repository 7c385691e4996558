package bench

import (
	"context"
	"sync"
	"time"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/clip"
	"mixdown/codec"
)

// sender is what a member sends on one track: a clip in a loop, that can be
// exchanged for another, and on demand a log of what went out when. It is a
// [client.Source] and its Observer.
type sender struct {
	mu struct {
		sync.Mutex
		clip    *clip.Clip
		next    int // unit of clip
		again   int // the unit that comes after the last
		last    int // the unit that Next returned
		then    *clip.Clip
		at      time.Duration // when then's turn is, on the process's clock
		sizes   []variant     // of the clip, the largest first; nil: there is one
		still   bool
		target  codec.UplinkTarget // the server's
		logging bool
		log     []sent
	}
}

// sent is one unit that went out.
type sent struct {
	unit int32 // of the clip that is played
	// due is when it had to, by the sender's clock: its capture instant in the
	// sender reports. at is when its last packet was handed to the socket.
	due, at time.Duration
}

// maxSent bounds a log: 11 hours of sound.
const maxSent = 2 << 20

var _ interface {
	client.Resizer
	client.Observer
} = (*sender)(nil)

func newSender(c *clip.Clip) *sender {
	s := &sender{}
	s.mu.clip = c
	return s
}

// newPictures plays the first of several sizes of one clip, until another is
// asked for. Of still ones the last units stillTail can come again and again.
func newPictures(sizes []variant, still bool) *sender {
	s := newSender(sizes[0].clip)
	s.mu.sizes, s.mu.still = sizes, still
	s.mu.again = s.again()
	return s
}

// again is the unit that follows the last one. The caller holds mu, or is alone.
func (s *sender) again() int {
	if !s.mu.still {
		return 0
	}
	return max(len(s.mu.clip.Units)-stillTail, 0)
}

// Limit implements [client.Resizer]: another size begins with its key frame. Who
// is watched keeps his size meanwhile, since a log is of one clip.
func (s *sender) Limit(t codec.UplinkTarget) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.target = t
	s.resize()
}

// resize has the clip exchanged for what the target says. The caller holds mu.
func (s *sender) resize() {
	if len(s.mu.sizes) == 0 || s.mu.logging {
		return
	}
	c := s.sized(s.mu.target)
	if s.mu.then != nil || c != s.mu.clip {
		s.mu.then, s.mu.at = c, 0
	}
}

// sized is the largest size that a target allows, or the smallest there is. The
// caller holds mu, or is alone.
func (s *sender) sized(t codec.UplinkTarget) *clip.Clip {
	for i := range s.mu.sizes {
		if v := &s.mu.sizes[i]; v.fits(t) {
			return v.clip
		}
	}
	return s.mu.sizes[len(s.mu.sizes)-1].clip
}

// playing is the clip that is played; nil while the server wants nothing.
func (s *sender) playing() *clip.Clip {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.target.Paused {
		return nil
	}
	return s.mu.clip
}

// Next implements [client.Source].
func (s *sender) Next(context.Context) (clip.Unit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &s.mu
	if m.then != nil && codec.Now() >= m.at {
		m.clip, m.then, m.next, m.log = m.then, nil, 0, nil
		m.again = s.again()
	}
	if m.next >= len(m.clip.Units) {
		m.next = min(m.again, len(m.clip.Units)-1)
	}
	m.last = m.next
	m.next++
	return m.clip.Units[m.last], nil
}

// RequestKeyframe implements [client.Source]: stored clips start anew.
func (s *sender) RequestKeyframe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.next = 0
}

// Live implements [client.Source].
func (s *sender) Live() bool { return false }

// Sent implements [client.Observer].
func (s *sender) Sent(due, at time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := &s.mu; m.logging && len(m.log) < maxSent {
		m.log = append(m.log, sent{int32(m.last), due, at})
	}
}

// exchange makes c the clip from its first unit on, as soon as at has come.
func (s *sender) exchange(c *clip.Clip, at time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.then, s.mu.at = c, at
}

// watch starts a log, which is of the clip that is played, and begins anew with
// the next one; or it ends it.
func (s *sender) watch(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.logging = on; on {
		s.mu.log = nil
	}
	s.resize()
}

// taken returns the log.
func (s *sender) taken() []sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.log
}
