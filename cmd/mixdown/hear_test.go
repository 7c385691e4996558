package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mixdown/cmd/mixdown/internal/client"
	"mixdown/cmd/mixdown/internal/tone"
	"mixdown/codec"
)

// TestJoinHears: what --hear writes is the sound of the room, at its pace.
func TestJoinHears(t *testing.T) {
	_, url := startApp(t)
	made, err := tone.Make(tone.Spec{Hz: 700, Level: 0.1, Duration: 10e9})
	if err != nil {
		t.Fatal(err)
	}
	play(t, client.Config{URL: url + "/r/tone", Name: "tone", Audio: client.Loop(made)})
	out := filepath.Join(t.TempDir(), "heard.wav")
	if code, _, errs := runMain(t, "join", url+"/whep/tone", "--hear", out, "--for", "3s"); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	file, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	samples := make([]int16, (len(file)-wavHeader)/2)
	if _, err := binary.Decode(file[wavHeader:], binary.LittleEndian, samples); err != nil {
		t.Fatal(err)
	}
	if n := len(samples); n < 2*codec.SampleRate || n > 3*codec.SampleRate+codec.SampleRate/10 {
		t.Errorf("%d samples in 3 s", n)
	}
	if size := binary.LittleEndian.Uint32(file[40:]); string(file[:4]) != "RIFF" || int(size) != 2*len(samples) {
		t.Errorf("header says %d bytes of %d: %q", size, 2*len(samples), file[:wavHeader])
	}
	end := samples[len(samples)-codec.SampleRate/2:]
	if l := tone.LevelsDB(end, []float64{700, 1234}); l[0] < -40 || l[0] < l[1]+20 {
		t.Errorf("700 Hz at %.1f dB, 1234 Hz at %.1f dB: want the tone", l[0], l[1])
	}
}

func TestHearNowhere(t *testing.T) {
	dir := t.TempDir()
	code, _, errs := runMain(t, "join", "http://127.0.0.1:1/r/x", "--hear", dir)
	if code == 0 || !strings.Contains(errs, "--hear") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
