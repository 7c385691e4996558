package probe

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCandidates(t *testing.T) {
	udp, tcp := candidates("v=0\r\na=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host\r\n" +
		"a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host\r\na=candidate:2 1 UDP 1 2001:db8::1 8189 typ host\r\n" +
		"a=candidate:3 1 tcp 1 192.0.2.1 443 typ host tcptype passive\r\na=candidate:4 1 udp 1 x.local 1 typ host\r\na=candidate:5\r\n")
	if len(udp) != 2 || udp[0].String() != "192.0.2.1:8189" || udp[1].String() != "[2001:db8::1]:8189" || len(tcp) != 1 || tcp[0].Port() != 443 {
		t.Errorf("UDP %v, TCP %v", udp, tcp)
	}
}

func FuzzCandidates(f *testing.F) {
	for _, s := range []string{"a=candidate:1 1 udp 1 192.0.2.1 1 typ host", "a=candidate:1 1 tcp 1 ::1 9 typ host", "a=candidate:", "a=candidate:1 1 udp 1 : 65536"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sdp string) {
		udp, tcp := candidates(sdp)
		for _, a := range append(udp, tcp...) {
			if !a.IsValid() {
				t.Fatalf("%v in %q", a, sdp)
			}
		}
	})
}

// TestRefusals: what the server says is told.
func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"refused":     {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "who are you?", http.StatusUnauthorized) }, "401 Unauthorized: who are you?"},
		"no location": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }, "Location"},
		"no answer": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.Header().Set("Location", "/v1/sessions/x")
				w.WriteHeader(http.StatusCreated)
			}
		}, "the server tells of none"},
		"nonsense": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.Header().Set("Location", "/v1/sessions/x")
				w.WriteHeader(http.StatusCreated)
				_, _ = io.WriteString(w, "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n")
			}
		}, "answer: "},
	} {
		t.Run(name, func(t *testing.T) {
			tokens := make(chan string, 4)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				tokens <- r.Header.Get("Authorization")
				tc.answer(w, r)
			}))
			defer server.Close()
			_, err := Run(t.Context(), Config{URL: server.URL, Token: "secret"})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v: want %q", err, tc.want)
			}
			if got := <-tokens; got != "Bearer secret" {
				t.Errorf("the token came as %q", got)
			}
		})
	}
}
