package transport

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// FuzzTURNFrame: whatever comes over a stream, it is cut into messages that hold
// together, and reading goes on or ends.
func FuzzTURNFrame(f *testing.F) {
	ask := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	f.Add(ask)
	f.Add(append([]byte{0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0}, ask...))
	f.Add([]byte{0, 1, 0xff, 0xec, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 3, 0, 8, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0d, 0, 4, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		for rest := b; len(rest) > 0; {
			n, err := turnFrameSize(rest)
			if err != nil || n == 0 {
				break
			}
			if n < channelHeader || n > maxTURNFrame || n%4 != 0 {
				t.Fatalf("a message of %d bytes: %x", n, rest)
			}
			// More bytes never change what was told of fewer, once it is told.
			if again, err := turnFrameSize(append(bytes.Clone(rest), 1, 2, 3)); len(rest) >= 8 && (err != nil || again != n) {
				t.Fatalf("%d, then %d, %v", n, again, err)
			}
			if n > len(rest) {
				break
			}
			if m, err := parseTURN(rest[:n]); err == nil && !m.channel {
				// pion agrees.
				msg := &stun.Message{Raw: bytes.Clone(rest[:n])}
				if err := msg.Decode(); err != nil {
					t.Fatalf("pion cannot read %x: %v", rest[:n], err)
				}
				if uint16(msg.Type.Method) != m.method || uint16(msg.Type.Class) != m.class {
					t.Fatalf("%v: read as method %d, class %d", msg.Type, m.method, m.class)
				}
			}
			rest = rest[n:]
		}
		_, _ = parseTURN(b) // as a datagram
	})
}

// FuzzTURNUsername: what is taken for a username of ours can be made again.
func FuzzTURNUsername(f *testing.F) {
	for _, s := range []string{"1764000000:p_7Q", "0:a", ":", "1764000000", "99999999999:a-b_C", "-1:a", "1:a b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ends, name, ok := parseTURNUsername(s)
		if !ok {
			return
		}
		again, _ := TURNSecret("a secret of no use").Credential(name, ends.Add(-TURNCredentialLife))
		ends2, name2, ok := parseTURNUsername(again)
		if !ok || name2 != name || !ends2.Equal(ends) {
			t.Errorf("%q became %q", s, again)
		}
		if ends.Year() > time.Now().Year()+10_000 {
			t.Errorf("%q ends %v", s, ends)
		}
	})
}
