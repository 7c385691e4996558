package mixer

import (
	"log/slog"
	"math"
	"time"

	"mixdown/codec"
)

// accountant is an Endpoint that knows what went over it.
type accountant interface {
	Traffic() codec.Traffic
}

func trafficOf(e Endpoint) codec.Traffic {
	if a, ok := e.(accountant); ok {
		return a.Traffic()
	}
	return codec.Traffic{}
}

// departure is the line that the log gets of each participant that has left: who it
// was, for how long, why it left, what it sent and was sent, and what of that was
// lost.
type departure struct {
	facts   *facts // before it left
	stayed  time.Duration
	reason  error
	traffic codec.Traffic // of connections that were replaced
}

// departing is what is known while p is in the room yet. Control loop only.
func (p *Participant) departing(reason error) departure {
	return departure{facts: p.facts.Load(), stayed: time.Since(p.joined), reason: reason, traffic: p.traffic}
}

// log writes the line. a is the last connection, which is closed; nil if there was
// none.
func (d departure) log(log *slog.Logger, p *Participant, a *attachment) {
	f := d.facts
	attrs := []any{
		"participant", p.id, "identity", p.identity, "role", p.role.String(), "kind", p.kind,
		"seconds", math.Round(d.stayed.Seconds()*1000) / 1000, "reason", reasonText(d.reason),
		"rttMs", math.Round(time.Duration(p.rtt.Load()).Seconds()*1e5) / 100,
	}
	connected := a != nil && f.state != StateWaiting
	attrs = append(attrs, "connected", connected)
	if a == nil {
		log.Info("participant left", attrs...)
		return
	}
	t := d.traffic
	t.Add(trafficOf(a.Endpoint))
	sent := []any{"audio", codecIf(a.takes.Audio, codec.Opus), "video", codecIf(a.takes.Camera, a.takes.VideoCodec())}
	if f.tier.Width > 0 {
		sent = append(sent, "tier", f.tier.String())
	}
	sent = append(sent, "packets", t.SentPackets, "bytes", t.SentBytes, "repairs", t.Repairs, "lost", t.SentLost)
	received := []any{
		"audio", codecIf(a.sends.Audio, codec.Opus), "video", codecIf(a.sends.Camera || a.sends.Screen, a.sends.VideoCodec()),
		"packets", t.ReceivedPackets, "bytes", t.ReceivedBytes, "lostVideo", t.ReceivedLost,
	}
	if p.source != nil {
		s := p.source.playout.Stats()
		received = append(received, "lostAudio", s.Lost, "recoveredAudio", s.Recovered)
	}
	attrs = append(attrs, "networkChanges", t.Restarts, slog.Group("sent", sent...), slog.Group("received", received...))
	log.Info("participant left", attrs...)
}

// codecIf names a codec, or nothing.
func codecIf(there bool, c codec.Codec) string {
	if !there {
		return ""
	}
	return c.String()
}
