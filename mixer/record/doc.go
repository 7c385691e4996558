// Package record turns what a room sends into files: a [Recorder] is one more
// viewer of the mix, a [Store] the directory that recordings live in.
//
// # Use
//
//	store, err := record.OpenStore(record.StoreConfig{Dir: "data/recordings", Log: log})
//	rec, err := store.Create(record.Options{Room: "standup", RoomID: "R_8fK2", Video: true})
//	go rec.Run(ctx)             // until Stop, or a fault
//	rec.WriteAudio(frame)       // lends, never blocks
//	rec.WriteVideo(frame)       // lends, never blocks
//	status, err := rec.Stop(ctx) // answers when the file is final
//
// # Nothing is encoded, nothing waits
//
// The Recorder muxes frames that were encoded for the viewers anyway. WriteAudio
// and WriteVideo put a reference into a bounded queue; one goroutine, [Recorder.Run],
// takes them out and does everything that can block. When the disk is too slow
// pictures go first: at half a queue those that nothing references, at a full
// one all up to the next key frame; sound has a queue of its own of 20 s. All of
// it is counted in [Stats].
//
// # Time
//
// A file's zero is the PTS of its first video key frame; sound of the same PTS
// and later follows it, also the sound that came before that frame was encoded.
// A room without a canvas starts at its first packet of sound, and so does a
// room with one from which no key frame has come for [Config.StartTimeout] of
// sound: the recording goes on in a second part when pictures appear. PTS is
// the only clock, so a jump of the room's clock becomes a gap in both tracks
// and they stay together. Paused time is cut out: what is resumed, at a key
// frame, continues where the pause began.
//
// # Parts
//
// Players handle a picture that changes its size within a file badly, so each
// file keeps the size of its first picture, and a key frame of another size
// starts a new part: rec_x.webm, rec_x.2.webm and so on, each a complete file
// with its own zero.
//
// # Room
//
// [Limits] bound age, number and size of what is kept, and how much of the disk
// stays free; [Store.Run] enforces them. Before there is no room left it is
// announced, by [Store.Storage] and in the log; then what is in progress ends as
// by [Recorder.Stop], whole, and nothing begins until there is room again.
//
// # Crashes
//
// A killed process leaves files that play up to the last half second (see
// codec/webm). [OpenStore] finishes them, and so does [Recover] without a
// server. A full disk or a failing one ends a recording as failed; what it
// holds by then is finished and stays readable.
package record
