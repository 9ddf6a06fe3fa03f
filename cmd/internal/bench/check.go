package bench

import "slices"

// checkGroups makes, after the load, the checks that need more than one connection or all of its messages.
func (l *load) checkGroups() {
	for _, g := range l.groups {
		l.checkGroup(g)
	}
}

func (l *load) checkGroup(g *group) {
	var seqs []uint64
	for _, c := range g.conns {
		seqs = append(seqs, c.seqs...)
	}
	slices.Sort(seqs)
	for i := 1; i < len(seqs); i++ {
		if seqs[i] == seqs[i-1] {
			l.violations.add("group %s: seq %d given to two messages", g.id, seqs[i])
		}
	}
	for _, c := range g.conns {
		if len(seqs) > 0 && c.first > seqs[0] {
			c.violated("first push is seq %d, the first message is seq %d", c.first, seqs[0])
		}
		for _, h := range c.holes {
			if at, _ := slices.BinarySearch(seqs, h.from); at < len(seqs) && seqs[at] <= h.to {
				c.violated("seq %d was acked and lies in a hole from %d to %d", seqs[at], h.from, h.to)
			}
		}
		if acked := c.acks.Load(); c.ownPushes != acked {
			c.violated("%d own messages acked, %d pushed", acked, c.ownPushes)
		}
	}
}
