package domain

import "sort"

// Why a seq has no message.
const (
	HoleLost    = "lost"    // given out in a history that a Redis failure took away, or skipped to stay above it
	HoleExpired = "expired" // older than the retention age
)

// Hole is a range of seqs without messages, both ends inclusive.
type Hole struct {
	From   int64  `json:"from"`
	To     int64  `json:"to"`
	Reason string `json:"reason"`
}

// Holes are disjoint and ascending.
type Holes []Hole

// At finds the hole that covers seq.
func (hs Holes) At(seq int64) (Hole, bool) {
	i := sort.Search(len(hs), func(i int) bool { return hs[i].To >= seq })
	if i < len(hs) && hs[i].From <= seq {
		return hs[i], true
	}
	return Hole{}, false
}

// Count is the number of seqs in (after, to] that are in a hole.
func (hs Holes) Count(after, to int64) (n int64) {
	for _, h := range hs.Clip(after+1, to) {
		n += h.To - h.From + 1
	}
	return n
}

// Clip cuts the holes to [from, to].
func (hs Holes) Clip(from, to int64) Holes {
	var out Holes
	for _, h := range hs {
		h.From, h.To = max(h.From, from), min(h.To, to)
		if h.From <= h.To {
			out = append(out, h)
		}
	}
	return out
}

// MinSeq is the lowest seq that may still have a message: 1, or the one above the holes that start at 1.
func (hs Holes) MinSeq() int64 {
	low := int64(1)
	for _, h := range hs {
		if h.From > low {
			break
		}
		low = h.To + 1
	}
	return low
}

// Page is an answer to a pull: messages ascending, the holes among them, and whether there is more in the
// direction of paging.
type Page struct {
	Messages []Record
	Holes    Holes
	More     bool
	// Unexplained is set when the page ends (or, backwards, starts) at a seq that neither a message nor a
	// hole accounts for: in a moment it will be there.
	Unexplained bool
	// Recalled are the seqs before the page that were recalled since the time given; nil when that was not asked.
	Recalled []int64
}

// PageAfter assembles the page of at most limit messages in (after, top] from candidate records (ascending,
// repeats allowed) and holes. It ends before the first seq that nothing explains.
func PageAfter(records []Record, holes Holes, after, top int64, limit int) Page {
	var p Page
	next, i := after+1, 0
	for next <= top && len(p.Messages) < limit {
		for i < len(records) && records[i].Seq < next {
			i++
		}
		if i < len(records) && records[i].Seq == next {
			p.Messages = append(p.Messages, records[i])
			next++
			continue
		}
		h, ok := holes.At(next)
		if !ok {
			p.Unexplained = true
			break
		}
		next = h.To + 1
	}
	next = skipHoles(holes, next) // a hole behind the last message ends the page when it reaches the top
	p.More = next <= top
	last := min(next-1, top)
	if p.More {
		last = after
		if n := len(p.Messages); n > 0 {
			last = p.Messages[n-1].Seq
		}
	}
	p.Holes = holes.Clip(after+1, last)
	return p
}

func skipHoles(holes Holes, next int64) int64 {
	for {
		h, ok := holes.At(next)
		if !ok {
			return next
		}
		next = h.To + 1
	}
}

// PageBefore assembles the page of the last limit messages in [1, before) from candidate records (ascending)
// and holes. It starts behind the last seq that nothing explains.
func PageBefore(records []Record, holes Holes, before int64, limit int) Page {
	var p Page
	next, i := before-1, len(records)-1
	var reversed []Record
	for next >= 1 && len(reversed) < limit {
		for i >= 0 && records[i].Seq > next {
			i--
		}
		if i >= 0 && records[i].Seq == next {
			reversed = append(reversed, records[i])
			next--
			continue
		}
		h, ok := holes.At(next)
		if !ok {
			p.Unexplained = true
			break
		}
		next = h.From - 1
	}
	for {
		h, ok := holes.At(next)
		if !ok {
			break
		}
		next = h.From - 1
	}
	p.More = next >= 1
	for j := len(reversed) - 1; j >= 0; j-- {
		p.Messages = append(p.Messages, reversed[j])
	}
	first := int64(1)
	if p.More {
		first = before
		if len(p.Messages) > 0 {
			first = p.Messages[0].Seq
		}
	}
	p.Holes = holes.Clip(first, before-1)
	return p
}

// Cut shortens a forward page to its first n messages.
func (p *Page) Cut(n int) {
	if n >= len(p.Messages) {
		return
	}
	p.Messages, p.More = p.Messages[:n], true
	if n == 0 {
		p.Holes = nil
		return
	}
	p.Holes = p.Holes.Clip(1, p.Messages[n-1].Seq)
}
