// Package video makes one picture out of everybody's and codes it once for
// everybody who watches.
//
//	EncodedFrame -> Source -> (decode, scale) -> due queue -> Latest
//	                                                             |
//	            Labeller (names, initials) -> overlays -> Compositor.Draw
//	                                                             |
//	      Rendition: one-slot mailbox -> (scale, encode once) -> every VideoSink
//
// A [Source] takes one sender's coded pictures and keeps the newest decoded
// one, already at the size at which it is shown. The [Compositor] copies what
// changed since a canvas buffer was last used. A [Rendition] codes the canvas
// at one [Tier] and lends the result to its subscribers. A [Labeller] renders
// text, slowly and elsewhere.
//
// A Rendition does not code each canvas: see [stillness]. And where one Source is
// all that its viewers would see, it need not code any ([PassRule]):
//
//	EncodedFrame -> Source -> tap -> Rendition -> every VideoSink
//
// # Who runs what
//
// Nothing here has a clock or a loop of its own, except the Labeller's one
// thread. Decoding, scaling and encoding are tasks on the [worker.Pool];
// composing is to be made one by whoever owns the tick:
//
//	task := worker.NewTask(func() {
//		canvas, changed, err := compositor.Draw(scene, now, pts)
//		if err != nil { return } // counted; the next tick tries again
//		for _, r := range renditions { r.Write(canvas, changed) }
//		canvas.Release()
//	})
//
// Writing never blocks: every queue has a bound, a rule for what is dropped,
// and a counter in the owner's Stats.
//
// # Closing
//
// A Source and a Rendition own C memory that their task uses, so Close waits
// until the task is over. The pool must therefore still run, or have ended, when
// Close is called; one that was never started would make Close wait for ever.
package video
