package transporttest

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseSpec(t *testing.T) {
	tests := map[string]Spec{
		"":         {},
		" , ":      {},
		"loss=5%":  {Loss: 0.05},
		"loss=0.5": {Loss: 0.5},
		"loss=5%,burst=3,delay=30ms,jitter=20ms,order=free,reorder=1%,duplicate=2%,rate=500kbps,queue=300ms": {
			Loss: 0.05, Burst: 3, Delay: 30 * time.Millisecond, Jitter: 20 * time.Millisecond, Free: true,
			Reorder: 0.01, Duplicate: 0.02, RateBps: 500_000, Queue: 300 * time.Millisecond,
		},
		"order=keep, rate=1.5Mbps": {RateBps: 1_500_000},
		"rate=64000bps":            {RateBps: 64_000},
		"rate=3mbps,rate=300kbps@10s,rate=0bps@25s": {
			RateBps: 3_000_000, Rates: []RateStep{{10 * time.Second, 300_000}, {25 * time.Second, 0}},
		},
		"rate=1Mbps@1s": {Rates: []RateStep{{time.Second, 1_000_000}}},
		"drop=2s@10s":   {Outages: []Outage{{At: 10 * time.Second, For: 2 * time.Second}}},
		"drop=2s/30s,drop=1s@0s": {Outages: []Outage{
			{At: 30 * time.Second, For: 2 * time.Second, Every: 30 * time.Second}, {For: time.Second},
		}},
		"drop=2s@10s/30s":       {Outages: []Outage{{At: 10 * time.Second, For: 2 * time.Second, Every: 30 * time.Second}}},
		"rebind=15s,rebind=20s": {Rebinds: []time.Duration{15 * time.Second, 20 * time.Second}},
		"drift=300ppm":          {DriftPPM: 300},
		"drift=-50.5ppm":        {DriftPPM: -50.5},
	}
	for text, want := range tests {
		got, err := ParseSpec(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseSpec(%q) = %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestParseSpecErrorsNameTheKey(t *testing.T) {
	for text, key := range map[string]string{
		"loss=":                           "loss:",
		"loss=101%":                       "loss:",
		"loss=-1%":                        "loss:",
		"loss=NaN":                        "loss:",
		"burst=0.5":                       "burst:",
		"burst=x":                         "burst:",
		"delay=30":                        "delay:",
		"delay=2m":                        "delay:",
		"delay=-1ms":                      "delay:",
		"jitter=soon":                     "jitter:",
		"order=any":                       "order:",
		"reorder=2":                       "reorder:",
		"duplicate=x":                     "duplicate:",
		"rate=500":                        "rate:",
		"rate=-1kbps":                     "rate:",
		"rate=NaNbps":                     "rate:",
		"queue=9h":                        "queue:",
		"speed=1":                         "speed:",
		"loss":                            "loss:",
		"loss=1%,loss=2%":                 "loss:",
		"rate=1kbps,rate=2kbps":           "rate:",
		"rate=1kbps@0s":                   "rate:",
		"rate=1kbps@2s,rate=2kbps@1s":     "rate:",
		"rate=1kbps@soon":                 "rate:",
		"rate=1xbps":                      "rate:",
		"rate=1mMbps":                     "rate:",
		"drop=2s":                         "drop:",
		"drop=0s@1s":                      "drop:",
		"drop=2s/2s":                      "drop:",
		"drop=2s/0s":                      "drop:",
		"drop=2s@-1s":                     "drop:",
		"drop=2s@1s/x":                    "drop:",
		"drop=x@1s":                       "drop:",
		"rebind=0s":                       "rebind:",
		"rebind=2s,rebind=1s":             "rebind:",
		"rebind=3":                        "rebind:",
		"drift=300":                       "drift:",
		"drift=NaNppm":                    "drift:",
		"drift=1e9ppm":                    "drift:",
		strings.Repeat("drop=1s@1s,", 65): "drop:",
		"delay=10ms,jitter=3":             "jitter:",
	} {
		_, err := ParseSpec(text)
		if err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("ParseSpec(%q) = %v; want an error that starts with %q", text, err, key)
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	f.Add("loss=5%,burst=3,delay=30ms,jitter=30ms,order=free,reorder=1%,duplicate=1%,rate=500kbps,queue=300ms")
	f.Add("loss=5%,loss")
	f.Add("rate=3mbps,rate=300kbps@10s,rate=3mbps@25s,drop=2s@10s/30s,drop=1s@1s,rebind=15s,rebind=16s,drift=-300ppm")
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := ParseSpec(text)
		if err != nil {
			return
		}
		if err := spec.Validate(); err != nil {
			t.Fatalf("ParseSpec accepted what Validate refuses: %v", err)
		}
		again, err := ParseSpec(spec.String())
		if err != nil || !reflect.DeepEqual(again, spec) {
			t.Fatalf("%+v is written %q, which reads as %+v, %v", spec, spec, again, err)
		}
		if spec.Zero() != (spec.String() == "") {
			t.Fatalf("%+v: Zero is %v, text %q", spec, spec.Zero(), spec)
		}
		link := NewLink[int](spec, 1)
		for i := range 50 {
			link.Push(i, 1200, time.Duration(i)*time.Millisecond)
		}
		for _, ok := link.Pop(time.Hour); ok; _, ok = link.Pop(time.Hour) {
		}
		if link.Len() != 0 && spec.RateBps > 1000 && len(spec.Rates) == 0 {
			t.Fatalf("%d packets are still on their way after an hour", link.Len())
		}
	})
}
