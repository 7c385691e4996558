package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/at-wat/ebml-go"
	"github.com/at-wat/ebml-go/webm"

	"mixdown/codec"
	"mixdown/mixer/layout"
)

// recorded is a recording of the second phase.
type recorded struct {
	id    string
	began time.Duration // roughly
	file  []byte
}

// record begins to record the room.
func (r roomURLs) record(ctx context.Context) (*recorded, error) {
	var reply struct{ ID string }
	if err := do(ctx, http.MethodPost, r.api+"/recordings", []byte(`{"format":"webm","source":"program"}`), &reply); err != nil {
		return nil, err
	}
	if reply.ID == "" {
		return nil, errors.New("the recording has no id")
	}
	return &recorded{id: reply.ID, began: codec.Now()}, nil
}

// finish ends it and gets the file.
func (r roomURLs) finish(ctx context.Context, rec *recorded) error {
	body, err := json.Marshal(map[string]string{"state": "stopped"})
	if err != nil {
		return err
	}
	url := r.root + "/v1/recordings/" + rec.id
	if err := do(ctx, http.MethodPatch, url, body, nil); err != nil {
		return err
	}
	return do(ctx, http.MethodGet, url+"/media", nil, &rec.file)
}

// fileEpoch is the wall clock that times in a file are counted from: any will do.
var fileEpoch = codec.NTPTimeOf(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))

// read makes of a file what somebody would have kept to whom it was sent.
// Arrivals count from the file's beginning. Capture is when it is played: the
// codec's delay is taken off sound, as players do.
func (rec *recorded) read() (got received, err error) {
	var d struct {
		Segment struct {
			Tracks  webm.Tracks    `ebml:"Tracks"`
			Cluster []webm.Cluster `ebml:"Cluster"`
		} `ebml:"Segment"`
	}
	if err := ebml.Unmarshal(bytes.NewReader(rec.file), &d, ebml.WithIgnoreUnknown(true)); err != nil {
		return got, fmt.Errorf("the recording: %w", err)
	}
	var sound, picture uint64
	var delay time.Duration
	for _, t := range d.Segment.Tracks.TrackEntry {
		switch t.CodecID {
		case "A_OPUS":
			sound, delay = t.TrackNumber, time.Duration(t.CodecDelay)
		case "V_VP8":
			picture = t.TrackNumber
		}
	}
	for _, c := range d.Segment.Cluster {
		for _, b := range c.SimpleBlock {
			at := time.Duration(int64(c.Timecode)+int64(b.Timecode)) * time.Millisecond
			if len(b.Data) == 0 {
				continue
			}
			switch data := slices.Concat(b.Data...); b.TrackNumber {
			case sound:
				got.sound = append(got.sound, heardPacket{
					seq: int64(len(got.sound)), pts: at, arrival: at, capture: after(fileEpoch, at-delay), data: data,
				})
			case picture:
				got.pictures = append(got.pictures, seenPicture{arrival: at, capture: after(fileEpoch, at), data: data})
			}
		}
	}
	if len(got.sound) == 0 || len(got.pictures) == 0 {
		return got, fmt.Errorf("the recording holds %d packets of sound and %d pictures: want both", len(got.sound), len(got.pictures))
	}
	return got, nil
}

// recordedSkew looks for the markers in the recording. live is what clients saw
// meanwhile, which tells when the file was written.
func (r *marked) recordedSkew(live map[*member]map[string][]sighting, source layout.Canvas, w *witness) (*Skew, error) {
	got, err := r.file.read()
	if err != nil {
		return nil, err
	}
	var names []string
	for m := range r.pictures {
		names = append(names, m.name())
	}
	views, _, err := numbers(got.pictures, r.where, names, source)
	if err != nil {
		return nil, err
	}
	began, ok := r.file.beginning(live, views)
	if !ok {
		return nil, fmt.Errorf("the recording (%d pictures, %d packets of sound, numbers of %d senders) shows nothing that clients (%d) saw", len(got.pictures), len(got.sound), len(views), len(live))
	}
	for _, v := range views {
		for i := range v {
			v[i].arrival += began
		}
	}
	for i := range got.sound {
		got.sound[i].arrival += began
	}
	t, err := newTimeline(got.sound)
	if err != nil {
		return nil, err
	}
	var all skewReadings
	for m, log := range r.sounds {
		if m.numbered {
			found, _ := listen(t, m.beep, log, r.until)
			all.add(skewOf(found, views[m.name()], r.pictures[m], w))
		}
	}
	return all.skew(), nil
}

// beginning finds when the file begins, by the numbers that it and clients
// show: those come again after half a minute, so roughly is known before.
func (rec *recorded) beginning(live map[*member]map[string][]sighting, views map[string][]sighting) (at time.Duration, ok bool) {
	const roughly = 5 * time.Second
	var all []time.Duration
	for _, byName := range live {
		for name, seen := range byName {
			for _, l := range seen {
				for _, f := range views[name] {
					if d := l.arrival - f.arrival; l.number == f.number && (d-rec.began).Abs() < roughly {
						all = append(all, d)
					}
				}
			}
		}
	}
	slices.Sort(all)
	return quantile(all, 0.5), len(all) > 0
}
