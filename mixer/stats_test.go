package mixer

import (
	"reflect"
	"testing"
	"time"

	"mixdown/codec/worker"
	"mixdown/mixer/video"
)

// moments are the fields of Stats that say how things are now, and so are not
// summed up over what has ended.
var moments = map[string]bool{
	"Rooms": true, "Participants": true, "Outlets.Open": true, "Recordings": true,
	"Canvas.Buffers": true, "Mix.Open": true, "Mix.Personal": true, "Sound.Target": true, "Sound.Delay": true,
	"Sources.Width": true, "Sources.Height": true, "Sources.Queued": true,
}

// fill sets every number to 7 and every histogram to 7 observations of 7 ms.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Uint64:
		v.SetUint(7)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Struct:
		if h, ok := v.Addr().Interface().(*worker.Histogram); ok {
			for range 7 {
				h.Observe(7 * time.Millisecond)
			}
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	}
}

// compare calls each for every number, with its name.
func compare(name string, v reflect.Value, each func(name string, n int64)) {
	switch v.Kind() {
	case reflect.Uint64:
		each(name, int64(v.Uint()))
	case reflect.Int, reflect.Int64:
		each(name, v.Int())
	case reflect.Array:
		for i := range v.Len() {
			compare(name, v.Index(i), each)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			compare(name, v.MapIndex(k), each)
		}
	case reflect.Struct:
		if h, ok := v.Interface().(worker.Histogram); ok {
			each(name, int64(h.Count()))
			return
		}
		for i := range v.NumField() {
			compare(name+"."+v.Type().Field(i).Name, v.Field(i), each)
		}
	}
}

// TestStatsAddCountsEveryField fails when somebody adds a counter and forgets
// it in the sums.
func TestStatsAddCountsEveryField(t *testing.T) {
	var one, sum Stats
	fill(reflect.ValueOf(&one).Elem())
	var rendition video.RenditionStats
	fill(reflect.ValueOf(&rendition).Elem())
	one.Renditions = map[RenditionKind]video.RenditionStats{{Tier: video.Tier{Width: 640}}: rendition}
	sum.add(one)
	sum.add(one)
	compared := 0
	compare("", reflect.ValueOf(sum), func(name string, n int64) {
		compared++
		want := int64(14)
		if moments[name[1:]] {
			want = 0
		}
		if n != want {
			t.Errorf("Stats%s is %d after adding 7 twice, want %d", name, n, want)
		}
	})
	if compared < 60 {
		t.Errorf("only %d numbers were compared", compared)
	}
}
