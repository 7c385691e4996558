package codec

import "time"

// LinkState is what a transport knows of the path to a client.
type LinkState uint8

const (
	// LinkSame says that this feedback is not about the path.
	LinkSame LinkState = iota
	// LinkUp says that the path works, for the first time or again.
	LinkUp
	// LinkLost says that nothing has come for a while; it may come back.
	LinkLost
)

// Feedback is what a transport tells a mixer about the way to one client. Only
// the fields that are not zero mean something.
type Feedback struct {
	// Link changed.
	Link LinkState
	// KeyframeWanted says that the client asked for a key frame of the
	// stream it receives (PLI, RFC 4585 section 6.3.1; FIR, RFC 5104 section 4.3.1).
	KeyframeWanted bool
	// Report says that LossFraction, RTT, EstimateBps and QueueDelay are fresh.
	Report bool
	// LossFraction of the picture, 0..1, over the last report interval; of the
	// sound when the client gets no picture.
	LossFraction float64
	// AudioReport says that AudioLossFraction and RTT are fresh. A client that
	// gets both streams reports on each: such feedback then comes twice, once
	// with Report and once with AudioReport.
	AudioReport bool
	// AudioLossFraction of the sound, 0..1, over the last report interval.
	AudioLossFraction float64
	// RTT by receiver reports.
	RTT time.Duration
	// EstimateBps is what the path is believed to carry of pictures, sound and
	// headers taken off; 0 is unknown. It comes with Report, and by itself as
	// soon as it changes by a twentieth.
	EstimateBps int
	// Unprobed goes with EstimateBps: it cannot rise much above what is sent,
	// because the transport has nothing with which to find out more (no RTX).
	Unprobed bool
	// QueueDelay is how long the oldest unsent video waits.
	QueueDelay time.Duration
}

// Verdict is a sink's answer to one video frame.
type Verdict uint8

const (
	// Sent says that the frame was taken.
	Sent Verdict = iota
	// Dropped says that it was not, and that later ones still can be decoded.
	Dropped
	// NeedKey says that the sink can go on only with a key frame.
	NeedKey
)

// String returns "sent", "dropped" or "need-key".
func (v Verdict) String() string {
	return [...]string{"sent", "dropped", "need-key"}[v]
}

// UplinkTarget is what one video source of a client should send: the size at
// which it is shown. The zero value asks for nothing in particular.
type UplinkTarget struct {
	// Width and Height bound the picture; 0 is unbounded.
	Width, Height int
	// FPS bounds the rate; 0 is unbounded.
	FPS int
	// BitrateBps bounds the bitrate; 0 is unbounded.
	BitrateBps int
	// Paused says that nobody sees the source.
	Paused bool
}
