package bench

import "fmt"

// order is what a connection has seen of a group's seqs.
type order struct {
	first uint64 // seq of the first push
	last  uint64 // and of the last
	holes []hole
}

// hole is a range of seqs without messages, both ends inclusive.
type hole struct{ from, to uint64 }

// follow checks that the push with seq is the next one; jumps tells that it names a prev_seq. broken says why it is
// not, "" when it is.
func (o *order) follow(seq, prev uint64, jumps bool) (broken string) {
	switch {
	case o.first == 0:
		o.first = seq
	case seq <= o.last: // last stays, or the next right one would count as a gap
		return fmt.Sprintf("push of seq %d after seq %d: repeated or out of order", seq, o.last)
	case jumps && prev == o.last:
		o.holes = append(o.holes, hole{from: o.last + 1, to: seq - 1})
	case jumps:
		broken = fmt.Sprintf("push of seq %d says prev_seq %d after seq %d", seq, prev, o.last)
	case seq != o.last+1:
		broken = fmt.Sprintf("push of seq %d after seq %d: a gap", seq, o.last)
	}
	o.last = seq
	return broken
}
