// Package ogg reads Opus out of Ogg files (RFC 3533, RFC 7845) and writes it
// into streams: packet by packet, in bounded memory, in pure Go.
//
//	r, err := ogg.NewReader(file) // checks the two headers
//	for {
//		p, err := r.Next() // io.EOF after the last
//		n, err := decoder.Decode(p.Data, pcm)
//		play(pcm[p.From:p.To])
//	}
//
// and
//
//	w, err := ogg.NewWriter(ogg.WriterConfig{})
//	out, err = w.Append(out[:0], packet, pts) // what is to be sent now
//	out = w.Close(out[:0])
//
// A file holds one stream. Files in which several play at once (multiplexed,
// as with a picture) or one after the other (chained, as radio stations send)
// are refused, and so is everything that does not add up: a server plays what
// it is given to hundreds of people, so a broken file is an error when it is
// loaded and not a noise later. Errors wrap [ErrFormat] and name the page, the
// field and, where there is one, the way to mend it.
package ogg
