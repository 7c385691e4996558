package audio

// conceal appends n made up samples (a multiple of shortest, unless faded).
func (p *Playout) conceal(n int) {
	s := &p.sched
	if p.skipped.on {
		if p.skipped.level >= p.skipped.quiet {
			p.hush(n)
			p.ended(n)
			return
		}
		p.wake()
	}
	buf := p.fifo.room(n)
	if s.made >= p.fadeEnd() || p.dec.Conceal(buf) != nil {
		clear(buf)
	}
	p.fade(buf)
	p.fifo.append(n)
	p.skipped.tail = 0
	s.cursor += int64(n)
}

// fade turns made up sound down as it goes on.
func (p *Playout) fade(buf []int16) {
	s := &p.sched
	start, end := lossFadeStart, lossFadeEnd
	if s.pause {
		start, end = pauseFadeStart, pauseFadeEnd
	}
	at := func(made int) float32 {
		return min(max(float32(end-made)/float32(end-start), 0), 1)
	}
	from := s.gain
	s.made += len(buf)
	s.gain = min(at(s.made), from)
	ramp(buf, from, s.gain)
}

// ramp multiplies x by a gain that goes from `from` to `to`.
func ramp(x []int16, from, to float32) {
	if from == 1 && to == 1 {
		return
	}
	step := (to - from) / float32(len(x))
	for i := range x {
		from += step
		x[i] = int16(float32(x[i]) * from)
	}
}

// replace makes up the sound of the packet whose turn it is and that is not
// there, though a later one (head) is.
func (p *Playout) replace(head packet, gap int64) {
	s := &p.sched
	n := roundUp(int(min(gap, int64(s.lastLen))))
	p.count.lost.Add(1)
	p.ring.next++
	// FEC tells of the packet just before head.
	_, quiet := p.mayskip(head)
	if p.ring.next == head.frame.Seq && gap-int64(n) < shortest && !quiet && p.hasFEC(head.frame) {
		p.wake()
		buf := p.fifo.room(n)
		if p.dec.DecodeFEC(head.frame.Data, buf) == nil {
			p.count.recovered.Add(1)
			s.decoded++
			p.sound(buf)
			return
		}
	}
	s.faked = true
	p.conceal(n)
}
