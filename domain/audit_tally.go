package domain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// sendsOnce remembers the sends of the last DedupeWindow.
type sendsOnce struct {
	at    map[string]int64 // time of a send
	order []sendAt         // the same, oldest first
}

type sendAt struct {
	ms int64
	id string
}

// take tells whether a send is the first of its id.
func (s *sendsOnce) take(m *Message) bool {
	since := m.TimeMS - DedupeWindow.Milliseconds()
	for len(s.order) > 0 && s.order[0].ms <= since {
		if first := s.order[0]; s.at[first.id] == first.ms {
			delete(s.at, first.id)
		}
		s.order = s.order[1:]
	}
	id := m.From + " " + m.ClientID
	_, repeated := s.at[id]
	s.at[id] = m.TimeMS
	s.order = append(s.order, sendAt{m.TimeMS, id})
	return !repeated
}

// tally counts seqs and remembers the first few.
type tally struct {
	n      int64
	ranges []Hole
}

const tallyRanges = 4

func (t *tally) add(seq int64) { t.addRange(seq, seq) }

func (t *tally) addRange(from, to int64) {
	t.n += to - from + 1
	switch n := len(t.ranges); {
	case n > 0 && t.ranges[n-1].To+1 == from:
		t.ranges[n-1].To = to
	case n <= tallyRanges:
		t.ranges = append(t.ranges, Hole{From: from, To: to})
	}
}

func (t *tally) String() string { return rangesText(t.ranges) }

func rangesText(ranges []Hole) string {
	if len(ranges) == 0 {
		return "none"
	}
	var texts []string
	for i, h := range ranges {
		if i == tallyRanges {
			texts = append(texts, "…")
			break
		}
		texts = append(texts, rangeText(h))
	}
	return strings.Join(texts, ", ")
}

func rangeText(h Hole) string {
	if h.From == h.To {
		return fmt.Sprint(h.From)
	}
	return fmt.Sprintf("%d-%d", h.From, h.To)
}

// ordered goes through a map by key, so that the same is told in the same order.
func ordered[K cmp.Ordered, V any](m map[K]V) func(yield func(K, V) bool) {
	return func(yield func(K, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
