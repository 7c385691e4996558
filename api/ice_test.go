package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestICEServers(t *testing.T) {
	var names []string
	f := newFixture(t, false, func(c *Config) {
		c.ICEServers = func(host, name string) []ICEServer {
			names = append(names, name)
			servers := []ICEServer{{URLs: []string{"stun:stun.example.org"}}}
			if host != "" {
				servers = append(servers, ICEServer{
					URLs:     []string{"turn:" + host + ":3478?transport=udp", "turn:" + host + ":3478?transport=tcp"},
					Username: "1764000000:" + name, Credential: "c2VjcmV0+/8=",
				})
			}
			return servers
		}
	})
	r := f.do("GET", "/v1/ice-servers", "").want(t, 200)
	var got ICEServers
	r.json(t, &got)
	host := "127.0.0.1"
	if len(got.ICEServers) != 2 || len(got.ICEServers[1].URLs) != 2 || !strings.HasPrefix(got.ICEServers[1].URLs[0], "turn:"+host+":3478") ||
		got.ICEServers[1].Credential != "c2VjcmV0+/8=" || got.ICEServers[0].Username != "" {
		t.Errorf("got %s", r.text)
	}
	if cache := r.Header.Get("Cache-Control"); cache != "no-store" {
		t.Errorf("Cache-Control %q", cache)
	}
	f.do("GET", "/v1/ice-servers", "").want(t, 200)
	if len(names) != 2 || names[0] == names[1] {
		t.Errorf("credentials for %q: want two names", names)
	}

	names = nil
	for _, path := range []string{"/v1/rooms/r/participants", "/whip/r", "/whep/r"} {
		links := f.join(path).want(t, 201).Header.Values("Link")
		if len(links) != 4 || !strings.HasSuffix(links[0], `>; rel="describedby"`) {
			t.Fatalf("%s: %q", path, links)
		}
		id := links[0][strings.LastIndex(links[0], "/")+1 : strings.Index(links[0], ">")]
		credential := `; rel="ice-server"; username="1764000000:` + id + `"; credential="c2VjcmV0+/8="; credential-type="password"`
		want := []string{
			`<stun:stun.example.org>; rel="ice-server"`,
			`<turn:` + host + `:3478?transport=udp>` + credential, `<turn:` + host + `:3478?transport=tcp>` + credential,
		}
		if !slices.Equal(links[1:], want) {
			t.Errorf("%s: %q: want %q", path, links[1:], want)
		}
	}
	if text := f.log.String(); strings.Contains(text, "c2VjcmV0") {
		t.Error("a credential is in the log")
	}
}

// TestICEServersHost: what a client says of where it thinks that it is becomes
// part of a URL only if it can be a host.
func TestICEServersHost(t *testing.T) {
	var hosts []string
	s := &Server{ice: func(host, _ string) []ICEServer { hosts = append(hosts, host); return nil }}
	said := []string{"mix.example.org:8080", "mix.example.org", "192.0.2.1:80", "[2001:db8::1]:80", "[2001:db8::1]", `a"b`, "a>,<b:80", "a b", ""}
	for _, host := range said {
		s.serversFor(host, "n")
	}
	want := []string{"mix.example.org", "mix.example.org", "192.0.2.1", "2001:db8::1", "2001:db8::1", "", "", "", ""}
	if !slices.Equal(hosts, want) {
		t.Errorf("%q: want %q", hosts, want)
	}
	h := http.Header{}
	(&Server{}).linkICEServers(h, &http.Request{Host: "a"}, "n")
	if len(h) != 0 {
		t.Errorf("without servers: %v", h)
	}
}
