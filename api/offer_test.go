package api

import "strings"

// sampleOffer is an offer as pion makes one, with the candidates of a machine
// that does not exist: nothing is ever sent to it by a server that only answers.
var sampleOffer = strings.ReplaceAll(`v=0
o=- 1 2 IN IP4 0.0.0.0
s=-
t=0 0
a=fingerprint:sha-256 0F:74:31:25:CB:A2:13:EC:28:6F:6D:2C:61:FF:5D:C2:BC:B9:DB:3D:98:14:8D:1A:BB:EA:33:0C:A4:60:A8:8E
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=setup:actpass
a=mid:0
a=ice-ufrag:AbCd
a=ice-pwd:0123456789abcdefghijklmn
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=ssrc:1 cname:c
a=sendrecv
a=candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=setup:actpass
a=mid:1
a=ice-ufrag:AbCd
a=ice-pwd:0123456789abcdefghijklmn
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=ssrc:2 cname:c
a=sendrecv
`, "\n", "\r\n")
