package mixer

import (
	"context"
	"errors"

	"mixdown/mixer/record"
	"mixdown/mixer/video"
)

// recording is the running recording of a room: one more viewer of the top
// tier and one more listener to the shared mix.
type recording struct {
	id           string
	recorder     *record.Recorder
	subscription *video.Subscription
}

// StartRecording begins to record the room's program and returns the recording,
// which the record.Store serves from then on: it is paused, resumed and stopped
// through its Recorder there. It ends by itself when the last participant
// leaves, when the room ends and when there is no more room for it.
// Conflict/ErrAlreadyRunning when there is one, Exhausted/record.ErrStorageFull
// when there is no room for another.
func (r *Room) StartRecording(ctx context.Context) (record.Recording, error) {
	const op = "recording.start"
	fail := func(kind Kind, err error) (record.Recording, error) {
		return record.Recording{}, &Error{Op: op, Kind: kind, Room: r.Info().ID, Err: err}
	}
	store := r.cfg.Recordings
	if store == nil {
		return fail(Unavailable, ErrCannotRecord)
	}
	// The files are made between two commands: the loop does not wait for disks.
	err := r.do(ctx, op, func() error {
		if r.recording != nil || r.startsRecording {
			return &Error{Op: op, Kind: Conflict, Room: r.room.ID, Err: ErrAlreadyRunning}
		}
		r.startsRecording = true
		return nil
	})
	if err != nil {
		return record.Recording{}, err
	}
	id, recorder, err := store.Create(record.Options{
		Room: string(r.Info().ID), RoomID: r.life, Video: true,
		RequestKeyframe: func() { r.main.shared().top().RequestKeyframe(video.KeySink) },
		OnState:         r.recordingState(),
	})
	var info record.Recording
	if err == nil {
		if info, err = store.Get(id); err != nil {
			recorder.Close()
		}
	}
	attached := r.do(context.WithoutCancel(ctx), op, func() error {
		r.startsRecording = false
		if err != nil {
			return nil
		}
		r.raise(EventRecordingStarted, info)
		rec := &recording{id: id, recorder: recorder}
		r.recorders.Go(func() {
			switch err := recorder.Run(context.Background()); {
			case errors.Is(err, record.ErrEmpty): // nobody came
				r.log.Info("recording is empty", "recording", id)
			case err != nil:
				r.log.Error("recording failed", "recording", id, "error", err)
			}
			r.wake()
		})
		shared := r.main.shared()
		shared.top().KeepSize(shared.top().Tier().SizeOn(shared.size)) // of its first picture already
		rec.subscription = shared.top().Subscribe(recorder)
		r.recording = rec
		return nil
	})
	switch {
	case errors.Is(err, record.ErrStorageFull):
		return fail(Exhausted, err)
	case err != nil:
		return fail(Internal, err)
	case attached != nil: // the room has ended meanwhile; the recorder never ran
		recorder.Close()
		return record.Recording{}, errors.Join(attached, store.Delete(id))
	}
	return info, nil
}

// endRecording lets go of the running recording, if there is one. Its last
// frames are written on another goroutine, which the room's end waits for.
func (r *Room) endRecording() {
	rec := r.recording
	if rec == nil {
		return
	}
	r.recording = nil
	rec.subscription.Close()
	r.recorders.Go(func() {
		if _, err := rec.recorder.Stop(context.Background()); err != nil {
			r.log.Warn("ending a recording", "recording", rec.id, "error", err)
		}
	})
}
