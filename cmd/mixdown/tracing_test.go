package main

import (
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"mixdown/cmd/mixdown/internal/client"
)

// collected is a collector that takes OTLP over HTTP.
type collected struct {
	mu    sync.Mutex
	spans []*otlp.Span
	about map[string]string
}

func (c *collected) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req collector.ExportTraceServiceRequest
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = proto.Unmarshal(body, &req)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "no OTLP", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.ResourceSpans {
		for _, a := range r.Resource.Attributes {
			c.about[a.Key] = a.Value.GetStringValue()
		}
		for _, s := range r.ScopeSpans {
			c.spans = append(c.spans, s.Spans...)
		}
	}
}

// TestTraceOfAJoin: a collector that the environment names gets what a join was
// made of, in the caller's own trace, and why another one failed.
func TestTraceOfAJoin(t *testing.T) {
	c := &collected{about: make(map[string]string)}
	server := httptest.NewServer(c)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	traces, err := newTracing(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil || traces == nil {
		t.Fatalf("%v, %v", traces, err)
	}
	_, url := startApp(t, func(c *Config) { c.Tracer = traces.tracer() })
	parent := "0af7651916cd43dd8448eb211c80319c"
	p := whistle(t, url+"/r/traced", func(c *client.Config) {
		c.HTTP = &http.Client{Transport: withHeader{"traceparent", "00-" + parent + "-b7ad6b7169203331-01"}}
	})
	soon(t, "sound", func() bool { return p.Stats().AudioSent.Packets > 0 })
	// Which comes after the end of the trace.
	soon(t, "the participant is there", func() bool {
		return strings.Contains(ask(t, 200, "GET", url+"/v1/rooms/traced/participants", ""), `"state":"active"`)
	})
	res, err := http.Post(url+"/v1/rooms/traced/participants", "application/sdp", strings.NewReader("v=0\r\nnonsense"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if err := traces.Close(); err != nil {
		t.Fatal(err)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.about["service.name"] != "mixdown" || c.about["deployment.environment"] != "test" || c.about["service.version"] == "" {
		t.Errorf("the spans are of %v", c.about)
	}
	var good, failed []*otlp.Span
	var root *otlp.Span
	for _, s := range c.spans {
		if s.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR {
			failed = append(failed, s)
			continue
		}
		good = append(good, s)
		if s.Name == "join" {
			root = s
		}
		for _, a := range s.Attributes {
			if v := a.Value.GetStringValue(); strings.Contains(v, "sessions") || strings.Contains(v, "127.0.0.1") {
				t.Errorf("%s has %s=%s", s.Name, a.Key, v)
			}
		}
	}
	if root == nil || len(good) != 5 {
		t.Fatalf("%d spans of the join: want it, offer, admit, negotiate and connect: %v", len(good), good)
	}
	names := make(map[string]bool)
	for _, s := range good {
		names[s.Name] = true
		if s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("%s ended before it began", s.Name)
		}
		if s != root && string(s.ParentSpanId) != string(root.SpanId) {
			t.Errorf("%s is no part of the join", s.Name)
		}
	}
	for _, want := range []string{"offer", "admit", "negotiate", "connect"} {
		if !names[want] {
			t.Errorf("there is no %s", want)
		}
	}
	if got := hex.EncodeToString(root.TraceId); got != parent {
		t.Errorf("the trace is %s: want the caller's, %s", got, parent)
	}
	if len(failed) != 2 || failed[0].Status.Message != "bad-sdp" {
		t.Errorf("what failed is told as %v", failed)
	}
}

// TestTracingIsOffByDefault, and says what it cannot do.
func TestTracingIsOffByDefault(t *testing.T) {
	for _, tc := range []struct {
		env  []string
		on   bool
		want string
	}{
		{nil, false, ""},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1/v1/traces"}, true, ""},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_SDK_DISABLED=true"}, false, ""},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_TRACES_EXPORTER=none"}, false, ""},
		{[]string{"OTEL_TRACES_EXPORTER=zipkin"}, false, "want otlp or none"},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, false, "want http/protobuf"},
	} {
		t.Run(strings.Join(tc.env, " "), func(t *testing.T) {
			for _, e := range tc.env {
				k, v, _ := strings.Cut(e, "=")
				t.Setenv(k, v)
			}
			on, err := tracingWanted()
			if on != tc.on || (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, %v: want %v and %q", on, err, tc.on, tc.want)
			}
		})
	}
}

// withHeader is a transport that adds a header.
type withHeader struct{ name, value string }

func (h withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(h.name, h.value)
	return http.DefaultTransport.RoundTrip(r)
}
