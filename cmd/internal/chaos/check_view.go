package chaos

// reading is a view's state while its steps are gone through.
type reading struct {
	*checker
	view   *View
	begun  bool
	start  int64            // nothing at or below it was asked for
	cursor int64            // everything up to here was told
	got    map[int64]string // seq to message
	holes  []Hole           // told, and not taken back by a resync
	pushed map[int]int64    // last push of each connection
}

// checkView goes through a view as its user did, and then asks whether he has everything.
func (c *checker) checkView(v *View) {
	r := &reading{checker: c, view: v, got: make(map[int64]string), pushed: make(map[int]int64)}
	for i := range v.Steps {
		switch s := &v.Steps[i]; s.Kind {
		case Page:
			r.page(s)
		case Push:
			r.push(s)
		case Resync:
			r.resync(s)
		}
	}
	r.finish()
}

func (r *reading) failed(check, format string, args ...any) {
	r.checker.failed(check, r.view.User+" in "+r.view.Group+": "+format, args...)
}

func (r *reading) page(s *Step) {
	if !r.begun {
		r.begun, r.start, r.cursor = true, s.After, s.After
	}
	delete(r.pushed, s.Conn) // what comes now is behind this page, and need not be behind pushes before it
	r.holes = append(r.holes, s.Holes...)
	at := s.After
	for _, m := range s.Messages {
		if m.Seq <= at {
			r.failed(Reordered, "a page has %d behind %d", m.Seq, at)
			continue
		}
		r.explained(at, m.Seq, s.Holes)
		r.got[m.Seq], at = m.ID, m.Seq
	}
	if !s.More {
		r.explained(at, s.MaxSeq+1, s.Holes)
		at = max(at, s.MaxSeq)
	}
	r.cursor = max(r.cursor, at)
}

// explained fails unless holes cover what is between two seqs.
func (r *reading) explained(after, before int64, holes []Hole) {
	at := after + 1
	for _, h := range holes {
		if h.From <= at && h.To >= at {
			at = h.To + 1
		}
	}
	if at < before {
		r.failed(Gap, "%d to %d are neither in the page nor in a hole", at, before-1)
	}
}

func (r *reading) push(s *Step) {
	m := s.Messages[0]
	if last := r.pushed[s.Conn]; m.Seq <= last {
		r.failed(Reordered, "connection %d was pushed %d behind %d", s.Conn, m.Seq, last)
	}
	r.pushed[s.Conn] = m.Seq
	if !s.Live {
		return
	}
	switch {
	case m.Seq <= r.cursor:
		r.failed(Reordered, "connection %d was pushed %d, and had everything up to %d", s.Conn, m.Seq, r.cursor)
	case s.Previous > r.cursor:
		r.failed(Gap, "connection %d was pushed %d, whose predecessor is %d, behind %d", s.Conn, m.Seq, s.Previous, r.cursor)
	}
	if s.Previous < m.Seq-1 {
		r.holes = append(r.holes, Hole{From: s.Previous + 1, To: m.Seq - 1})
	}
	r.got[m.Seq] = m.ID
	r.cursor = max(r.cursor, m.Seq)
}

// resync takes back everything behind the seq to go on from.
func (r *reading) resync(s *Step) {
	delete(r.pushed, s.Conn)
	if s.After >= r.cursor {
		return
	}
	r.cursor = s.After
	var left []Hole
	for _, h := range r.holes {
		if h.To = min(h.To, s.After); h.From <= h.To {
			left = append(left, h)
		}
	}
	r.holes = left
}

// finish looks for stored messages that the view lacks: it was told a hole instead, or nothing.
func (r *reading) finish() {
	if !r.begun {
		return
	}
	lacks, lied := 0, 0
	var firstLack, firstLie int64
	for _, row := range r.rowsIn(r.view.Group, r.start+1, 1<<62) {
		if _, ok := r.got[row.Seq]; ok {
			continue
		}
		if r.inHole(row.Seq) {
			if lied++; lied == 1 {
				firstLie = row.Seq
			}
		} else if lacks++; lacks == 1 {
			firstLack = row.Seq
		}
	}
	if lied > 0 {
		r.failed(HoleLies, "%d messages were told as holes, the first is %d", lied, firstLie)
	}
	if lacks > 0 {
		r.failed(Gap, "%d messages never came, the first is %d; the cursor is %d", lacks, firstLack, r.cursor)
	}
}

func (r *reading) inHole(seq int64) bool {
	for _, h := range r.holes {
		if h.From <= seq && seq <= h.To {
			return true
		}
	}
	return false
}
