// Package bench measures what a server costs and delivers, from outside: it
// runs the real program as a process of its own, joins it with native clients
// that send real pictures and speech, and compares the process's CPU with the
// floor, which is what the codecs alone need for the same work.
//
// # What is believed
//
// Server CPU is the operating system's own account of the process (utime and
// stime). Gaps are taken between arrivals at each client. The clients run on
// the same machine and take CPU themselves; how much is reported. A witness
// wakes every 5 ms beside them, and gaps that end while the witness itself was
// late are reported apart: there the machine was late, not the server.
//
// Each talker sends speech and a tone of its own. What each client receives is
// decoded afterwards, and the level of its own tone set against the others':
// that is what "nobody hears themselves" means in numbers.
package bench
