// Package webm writes VP8 and Opus into WebM files that survive a crash,
// finishes files that a crash left behind, and makes live streams ([Live]).
//
// # Use
//
//	w, err := webm.NewWriter(file, webm.Config{
//		Video: &webm.VideoTrack{Width: 1280, Height: 720},
//		Audio: &webm.AudioTrack{},
//	})
//	err = w.Write(frame, frame.PTS-zero) // lends the frame; in any order of tracks
//	err = w.Close()                      // index, duration and sizes
//
// and after a crash
//
//	info, err := webm.Recover(file)
//
// # Layout
//
// A file is WebM (RFC 9559, Matroska, restricted to WebM's elements):
//
//	EBML header
//	Segment            size unknown until the end, then patched: the mark of a finished file
//	  SeekHead + Void  one reserved region, rewritten at the end to name the Cues
//	  Info             an 11 byte Void, turned into the Duration at the end
//	  Tracks
//	  Cluster ...      size unknown while it grows, patched when the next one starts
//	  Cues             at the end: they need no guess at how long a recording gets
//
// The scale is 1 ms. A Cluster starts at every video key frame and lasts at
// most two seconds. Each block is one write of whole bytes, issued as soon as
// its place in the order is known, so the file on disk is always a valid WebM
// stream followed by at most one partial block. Players read such a stream;
// only its length and its index are missing, and [Recover] adds them.
//
// A killed process loses nothing that was written, as the kernel holds it; so
// there is no fsync while a file grows, only two at its end, in the order that
// makes the Segment's size the last thing to reach the disk. A power cut can
// cost what the kernel had not written back (about 30 s by Linux's default).
//
// # Order
//
// Sound reaches a recorder before the picture of the same instant, which had to
// be encoded. The Writer therefore holds blocks back until the other track has
// come as far, at most [Config.Window] of media time, and writes in order of
// time, pictures before sound at equal times.
package webm
