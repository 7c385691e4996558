package mixer

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"mixdown/codec"
	"mixdown/codec/codectest"
	"mixdown/codec/opus"
	"mixdown/codec/vp8"
	"mixdown/codec/worker"
)

// busyPool keeps a pool as busy as share says, by encoding 720p pictures on
// it: a task per worker encodes one and is due again when that fits the
// share. The pool's deadlines are a frame's, as those of a room are.
func busyPool(t *testing.T, pool *worker.Pool, workers int, share float64) (stop func()) {
	t.Helper()
	pictures := codectest.Scene{}.Frames(t, 1280, 720, 8)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range workers {
		enc, err := vp8.NewEncoder(codec.VideoEncoderConfig{Width: 1280, Height: 720, FPS: 30, BitrateBps: 1_500_000})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan time.Duration)
		n := 0
		task := worker.NewTask(func() {
			start := codec.Now()
			if f, err := enc.Encode(pictures[n%len(pictures)], time.Duration(n)*time.Second/30, n == 0); err == nil {
				f.Release()
			}
			n++
			done <- codec.Now() - start
		})
		all.Go(func() {
			defer enc.Close()
			pause := time.NewTimer(0)
			defer pause.Stop()
			<-pause.C
			begin, worked := codec.Now(), time.Duration(0)
			for ctx.Err() == nil {
				pool.Submit(task, codec.Now()+33*time.Millisecond)
				worked += <-done
				// Over the whole time, not from picture to picture: waiting in
				// the queue must not lower the share.
				pause.Reset(time.Duration(float64(worked)/share) - (codec.Now() - begin))
				select {
				case <-pause.C:
				case <-ctx.Done():
				}
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}

// TestSoundIsPunctualWhileVideoIsBusy is the reason for the pool: nine voices
// are mixed while it is 85% busy. A machine that is late by itself shows in the
// witness, a ticker that does nothing.
func TestSoundIsPunctualWhileVideoIsBusy(t *testing.T) {
	workers := runtime.NumCPU()
	before := runtime.GOMAXPROCS(runtime.NumCPU() + workers)
	defer runtime.GOMAXPROCS(before)
	if err := worker.RelaxMonitor(); err != nil { // as the server does
		t.Log(err)
	}
	m := newManager(t)
	r := newTestRoom(t, m, RoomConfig{})
	var talkers []*Participant
	for range 9 {
		p, err := r.Join(t.Context(), JoinRequest{})
		if err != nil {
			t.Fatal(err)
		}
		p.Attach(nowhere{}, Media{Audio: true}, Media{Audio: true})
		p.Feedback(codec.Feedback{Link: codec.LinkUp})
		talkers = append(talkers, p)
	}
	for _, p := range talkers {
		defer talk(t, p)()
	}
	pool := m.cfg.Pool
	defer busyPool(t, pool, workers, 0.85)()

	var witness clockStats
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		p := &pace{epoch: codec.Now(), rate: audioTicksPerSecond}
		runClock(ctx, p, nil, func() bool { return false }, func(int64) {}, &witness)
	})
	ticks := func() uint64 { return r.audioClock.read().Ticks }
	settle := ticks() + 50
	await(t, "a second to settle", func() bool { return ticks() > settle })
	sound, own, busy, start := r.audioClock.read(), witness.read(), pool.Stats().Busy, codec.Now()
	measured := uint64(500)
	if testing.Short() {
		measured = 150
	}
	await(t, "ten seconds, or three", func() bool { return ticks() > settle+measured })

	load := (pool.Stats().Busy - busy).Seconds() / (codec.Now() - start).Seconds() / float64(workers)
	late := r.audioClock.read().Lateness.Sub(sound.Lateness)
	alone := witness.read().Lateness.Sub(own.Lateness)
	t.Logf("pool %.0f%% busy; audio tick late p50 %v, p99 %v; a ticker that does nothing: p50 %v, p99 %v",
		100*load, late.Quantile(0.5), late.Quantile(0.99), alone.Quantile(0.5), alone.Quantile(0.99))
	if load < 0.75 {
		t.Errorf("the pool was only %.0f%% busy: nothing is shown", 100*load)
	}
	// Histograms give upper bounds: one bucket of grace against the witness.
	if p99 := late.Quantile(0.99); p99 > 10*time.Millisecond && p99 > 2*alone.Quantile(0.99) {
		t.Errorf("audio ticks were up to %v late (p99)", p99)
	}
}

// talk sends a voice in real time until stop is called.
func talk(t *testing.T, p *Participant) (stop func()) {
	t.Helper()
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	packets := codectest.EncodeAudio(t, enc, codectest.Voice{Seed: p.csrc}.Frames(250))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		ticker := time.NewTicker(codec.FrameDuration)
		defer ticker.Stop()
		for n := 0; ; n++ {
			data := packets[n%len(packets)]
			f := codec.NewEncodedFrame(len(data))
			f.Codec, f.Data = codec.Opus, append(f.Data, data...)
			f.Seq, f.PTS, f.Arrival = int64(n), time.Duration(n)*codec.FrameDuration, codec.Now()
			p.WriteAudio(f)
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}
