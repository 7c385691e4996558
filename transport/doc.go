// Package transport moves media between WebRTC clients and a mixer. An
// [Engine] owns the sockets; each client is one [Peer].
package transport
