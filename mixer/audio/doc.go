// Package audio is everything between decoded sound and coded sound: it turns
// each sender's packets into an even flow of 20 ms frames, decides who is
// heard, adds them up, and codes what each listener gets.
//
//	packets -> Playout -> Gate -> level -> Bus (exact sum) -+-> Limiter -> encoder of a class -> all who are silent
//	                                                        +-> minus own -> Limiter -> own   -> each who is heard
//
// [Playout] is the jitter buffer of one sender. A reader pushes packets as they
// come; the tick pulls 20 ms, always. [Mix] is the audio half of one program: a
// [Mix.Tick] each 20 ms pulls from every member, opens and closes their gates,
// and leaves for every listener one coded frame. A [File] is in a Playout's
// place for an announcement.
//
// # Why most listeners share one encode
//
// Coding is what mixing costs. Somebody whose voice is not in the sum hears
// exactly the sum, so all of them hear one [Mix.Shared] frame. Only those whose
// gate is not closed must have their own voice taken out, and at most
// [MixConfig.MaxOpen] gates are open. A listener who begins to speak moves from
// the shared encoder to his own without a seam, because his own begins as a
// copy of the shared one, state and limiter included, before either codes that
// tick: to his decoder nothing happened. The way back cannot be exact, so it
// waits for a pause of the others, of three ticks: what the two encoders make of
// the word after it is the same. Where there is no pause he stays for half a
// minute. Only when nobody hears the shared mix meanwhile it is exact: nobody
// pays for that then, and it goes on as a copy of what he heard.
//
// # What is not paid for
//
// A sender who says that he is silent (RFC 6464) is not decoded: [Mix.Tick]
// tells his source from which level down his gate stays shut whatever comes. Of
// the muted nothing is decoded, and of more people than can be heard only those
// who are; who gets a place is decoded one tick before he is let in. What
// senders say is checked now and then, since one who always says "silence"
// would never be heard.
//
// Listeners are in a few classes ([MixConfig.Classes]); a class that somebody
// listens in costs one encode, and one that is used again goes on as a copy of
// another. While nobody is heard nothing is coded: frames are marked
// [codec.EncodedFrame.DTX], the first of them the single byte that tells a
// decoder of the pause, the rest the last silent packet again, for those who
// need one for each tick and for sending it right before the next word. Each
// 400 ms silence is coded once. The encoders of all classes rest in the same
// ticks, so what is copied from one is as exact as ever. The mix of the only one
// who talks is silent too, and rests in the same way.
//
// # What is handed on as it came
//
// Where two are alone in a mix, with nobody outside it, what one hears is what the
// other sends: his packets are it, and nothing is decoded or coded
// ([Member.SetRelayLimit]). That is decided for each of the two by itself, and only
// while the mix would pass the voice bit by bit: no gain, nothing to level, no echo,
// no packet that is anything but 20 ms in mono, no rate above what the listener's
// link is to carry. His [Playout] goes on as ever, and hands out each packet in the
// tick in which it would have been decoded ([Playout.Packet]); the delay changes by
// whole packets, in pauses. A packet that is missing is missing to the listener,
// whose decoder conceals as ours would. Levels, by which gates open and the floor is
// given, are what the sender says of them; now and then that is checked, and when
// both talk at once they are decoded for some seconds each minute, to see that it is
// no echo. While a gate is shut the listener is told of a pause, as ever.
//
// It begins where the listener has heard next to nothing for three ticks. It ends
// in such a pause too, but for half a second at most, since there may be somebody
// else to be heard: meanwhile our encoder codes along, after which the change is
// not heard in mid-word either. Who is muted or put out is not handed on from that
// tick on, and no packet is that is not well formed.
//
// # Loudness
//
// Speakers are brought towards -21 dBov while they speak, by up to 12 dB and by
// a few dB a second ([Member.SetLevelling]); the gain is part of a voice before
// the sum, so mix-minus stays exact. A voice within 2 dB of that passes bit by
// bit, and noise is not raised. Of more than [MixConfig.MaxOpen] voices the
// loudest are heard, by a loudness that is slower than words.
//
// # Who speaks
//
// [Mix.Dominant] is who spoke last for long enough to be taken for a speaker,
// which takes him 0.5 to 0.9 s; coughs, keys and a "yes" are over before that.
// Of two who go on at once the first keeps it.
//
// # Echo
//
// Who wants to be heard is compared with what he was sent ([EchoDetector]). If
// that is what he sends back, his gate stays shut but for what is clearly
// louder than the echo.
//
// # Purity
//
// Nothing here has a goroutine, a clock, a logger or I/O. Time is an argument:
// `now` is any monotonic clock, the same for [Playout.Push], [Playout.Pull] and
// [Mix.Tick]; `pts` is the room's tick counter. Each object belongs to one
// goroutine, with one exception: [Playout.Push] may be called by another
// goroutine than the rest. A tick allocates nothing once it is running.
// [NewFile] reads what it is given, before it has anything to do with a tick.
//
// # Levels
//
// Loudness is in dBov as RFC 6464 has it: 0 is the loudest that fits, 127 means
// -127 dBov, digital silence. A member's level is that of his sound where it was
// decoded, and what his packets say where it was not.
package audio
