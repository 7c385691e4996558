// Package bench measures what a server costs and delivers, from outside: it
// runs the real program as a process of its own, joins it with native clients
// that send real pictures and speech, and compares the process's CPU with the
// floor, which is what the codecs alone need for the same work.
//
// # What is believed
//
// Server CPU is the operating system's own account of the process (utime and
// stime). Gaps are taken between arrivals at each client, less what the server
// left out on purpose (DTX). The clients run on the same machine and take CPU
// themselves; how much is reported. A witness wakes every 5 ms beside them, and
// what happens while the witness itself was late is reported apart (gaps) or
// left out and counted (latency): there the machine was late, not the server.
//
// # A run
//
// Everybody joins; the first talk, each with clips of speech and a tone of their
// own, the others send what a silent browser does (DTX and the level extension),
// viewers nothing. Costs, gaps, frames and the latency of pictures are measured
// in that room, for Duration. Then nobody talks any more, twenty more join who
// sound markers in turn, and the latency of sound and the skew are measured for
// Latency; what that costs is not counted. With them joins somebody with pictures,
// so that it is known how soon he is in sync, and a recording is made, in which the
// skew is looked for as well.
//
// Clients begin on a smaller tier and climb. What a room costs depends on what
// they are sent, so a run waits until all who can are sent the largest, and says
// how many were, at the beginning and at the end of what was measured.
//
// # Two rooms in turns
//
// What a viewer costs, and what a canvas that stands still costs, are small
// differences of large figures. [Pair] measures both rooms there and back again,
// so that a machine that changes evenly changes neither. A picture that stands
// still is one that is coded again and again, at the full rate, by an encoder
// that has made it as sharp as it gets: not quite the same picture each time.
//
// # Coming and going
//
// [Churn] has many join within a moment, and then some join and leave again and
// again. Those who stay send a picture of one colour each, that no clip has, and
// that gets lighter or darker with every picture. Every picture that one of them
// is sent is searched for these colours, wherever the layout has put them: where
// one is missing the picture was black, or lacked him; where one does not change
// his tile stood still, though pictures came.
//
// # What is sent
//
// Senders do what the server asks for, if Config.Uplink says so: they have their
// clip in every size of the ladder by which servers ask, and go over to another
// with its key frame. Those are made once, and kept beside the clips. The run
// waits until nobody is asked for anything else, and the floor counts decodes of
// what was sent in the end. Who sends markers keeps his size while they are
// looked for.
//
// # What the latencies count
//
// Sound: from the instant at which a sender hands to its socket the RTP packet
// that holds the marker's first sample, to the instant at which a client has read
// a packet with that sample from its own. Markers are located to a sample in what
// a decoder makes of both streams, and where the sample lies within its packet is
// taken off at either end, so that 20 ms packets neither add nor hide anything:
// a server that handed packets on would show 0. So there is in the figure: the
// jitter buffer, the wait for the tick, the mix (its limiter looks 1.3 ms ahead),
// the server's Opus encoder (6.5 ms of look-ahead, libopus'), sending, and
// loopback. There is not: the sender's packet (20 ms) and encoder (6.5 ms), nor
// what a client waits before it plays. To compare with a "send to playable"
// figure that counts both codecs, add 6.5 ms. The senders' clocks drift by up to
// 300 ppm either way, and nothing ties the phases of their packets to each other
// or to the server.
//
// Pictures: from when the last packet of a sender's picture is handed to the
// socket to when a client has the last packet of the first composed picture that
// shows it. A number in blocks on the picture says which it is; it is read only
// where its checksum fits, and only when the composed picture before was read,
// too, and showed another.
//
// Skew: how much later than a marker of sound the picture comes that the same
// sender took at the same instant, by its capture clock: both leave together.
// It is told twice, as they arrive, and as a client shows them that goes by the
// server's sender reports. Sound counts with its whole way, the sender's encoder
// included.
// In a recording it is told as they stand in the file, and as a player plays them
// that takes the encoder's delay off the sound (CodecDelay).
//
// Each talker sends a tone of its own, so that he is heard all the time.
//
// # One's own voice
//
// Twice it is looked for in what a talker hears. Where only a marker sounds there
// is hardly any coding noise: how far below what he sent a sender finds his own
// marker is the better proof that nobody hears himself. While all talk the others
// drown it, so talkers besides send probes: tones above the voices, in turns. What
// another listener hears of a probe tells its phase at each moment, with all that
// jitter buffers and drifting clocks have done to it, and by that what its sender
// hears is summed up, coherently from end to end (lockIn). The figure is how far below
// what another hears of it his own probe lies in the mix, before that is coded.
// Beside it stands what the same measurement reads of a probe that is not there, by
// coding noise. Both get 3 dB better for twice the Duration, up to two minutes. To
// tell of 60 dB takes 30 to 60 s with nine talkers, and two minutes with sixteen.
// Who is not in the mix, since others are louder, is left out.
package bench
