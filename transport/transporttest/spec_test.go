package transporttest

import (
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
	}
	for text, want := range tests {
		got, err := ParseSpec(text)
		if err != nil || got != want {
			t.Errorf("ParseSpec(%q) = %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestParseSpecErrorsNameTheKey(t *testing.T) {
	for text, key := range map[string]string{
		"loss=":               "loss:",
		"loss=101%":           "loss:",
		"loss=-1%":            "loss:",
		"loss=NaN":            "loss:",
		"burst=0.5":           "burst:",
		"burst=x":             "burst:",
		"delay=30":            "delay:",
		"delay=2m":            "delay:",
		"delay=-1ms":          "delay:",
		"jitter=soon":         "jitter:",
		"order=any":           "order:",
		"reorder=2":           "reorder:",
		"duplicate=x":         "duplicate:",
		"rate=500":            "rate:",
		"rate=-1kbps":         "rate:",
		"rate=NaNbps":         "rate:",
		"queue=9h":            "queue:",
		"speed=1":             "speed:",
		"loss":                "loss:",
		"loss=1%,loss=2%":     "loss:",
		"delay=10ms,jitter=3": "jitter:",
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
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := ParseSpec(text)
		if err != nil {
			return
		}
		if err := spec.Validate(); err != nil {
			t.Fatalf("ParseSpec accepted what Validate refuses: %v", err)
		}
		link := NewLink[int](spec, 1)
		for i := range 50 {
			link.Push(i, 1200, time.Duration(i)*time.Millisecond)
		}
		for _, ok := link.Pop(time.Hour); ok; _, ok = link.Pop(time.Hour) {
		}
		if link.Len() != 0 && spec.RateBps > 1000 {
			t.Fatalf("%d packets are still on their way after an hour", link.Len())
		}
	})
}
