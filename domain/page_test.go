package domain_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

// timeline says of every seq from 1 on what is there: the page rules below read it seq by seq, straight from
// PROTOCOL.md, where the real ones jump.
type timeline struct {
	kinds []kind // of seq i+1
	holes domain.Holes
}

type kind byte

const (
	message kind = 'm'
	hole    kind = 'h'
	nothing kind = '?' // neither: in a moment it will be there
)

func (tl *timeline) top() int64        { return int64(len(tl.kinds)) }
func (tl *timeline) at(seq int64) kind { return tl.kinds[seq-1] }

func (tl *timeline) append(k kind, n int, reason string) {
	if k == hole {
		tl.holes = append(tl.holes, domain.Hole{From: tl.top() + 1, To: tl.top() + int64(n), Reason: reason})
	}
	for range n {
		tl.kinds = append(tl.kinds, k)
	}
}

func (tl *timeline) records() (all []domain.Record) {
	for seq := int64(1); seq <= tl.top(); seq++ {
		if tl.at(seq) == message {
			all = append(all, record("g", seq))
		}
	}
	return all
}

// anyTimeline draws runs of messages and holes, and of unexplained seqs where these are wanted.
func anyTimeline(kinds ...kind) *rapid.Generator[*timeline] {
	return rapid.Custom(func(t *rapid.T) *timeline {
		tl := &timeline{}
		for range rapid.IntRange(0, 12).Draw(t, "runs") {
			reason := rapid.SampledFrom([]string{domain.HoleLost, domain.HoleExpired}).Draw(t, "reason")
			tl.append(rapid.SampledFrom(kinds).Draw(t, "kind"), rapid.IntRange(1, 4).Draw(t, "run"), reason)
		}
		return tl
	})
}

// between is the holes, cut to the seqs from … to: "both ends inclusive, ascending, clipped".
func (tl *timeline) between(from, to int64) (clipped domain.Holes) {
	for _, h := range tl.holes {
		var in []int64
		for seq := h.From; seq <= h.To; seq++ {
			if from <= seq && seq <= to {
				in = append(in, seq)
			}
		}
		if len(in) > 0 {
			clipped = append(clipped, domain.Hole{From: in[0], To: in[len(in)-1], Reason: h.Reason})
		}
	}
	return clipped
}

// pageAfter is the protocol's page of (after, top].
func (tl *timeline) pageAfter(after int64, limit int) (seqs []int64, holes domain.Holes, more, unexplained bool) {
	for seq := after + 1; seq <= tl.top() && !more; seq++ {
		switch tl.at(seq) {
		case nothing:
			more, unexplained = true, len(seqs) < limit
		case message:
			if len(seqs) == limit {
				more = true
			} else {
				seqs = append(seqs, seq)
			}
		}
	}
	last := tl.top()
	if more && len(seqs) > 0 {
		last = seqs[len(seqs)-1]
	} else if more {
		last = after
	}
	return seqs, tl.between(after+1, last), more, unexplained
}

// pageBefore is the protocol's page of [1, before).
func (tl *timeline) pageBefore(before int64, limit int) (seqs []int64, holes domain.Holes, more, unexplained bool) {
	for seq := before - 1; seq >= 1 && !more; seq-- {
		switch tl.at(seq) {
		case nothing:
			more, unexplained = true, len(seqs) < limit
		case message:
			if len(seqs) == limit {
				more = true
			} else {
				seqs = append([]int64{seq}, seqs...)
			}
		}
	}
	first := int64(1)
	if more && len(seqs) > 0 {
		first = seqs[0]
	} else if more {
		first = before
	}
	return seqs, tl.between(first, before-1), more, unexplained
}

func requirePage(t *rapid.T, got domain.Page, seqs []int64, holes domain.Holes, more, unexplained bool) {
	t.Helper()
	gotSeqs := seqsOf(got.Messages)
	if diff := cmp.Diff(seqs, gotSeqs, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("messages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(holes, got.Holes, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("holes (-want +got):\n%s", diff)
	}
	require.Equal(t, more, got.More, "more")
	require.Equal(t, unexplained, got.Unexplained, "unexplained")
}

func TestPageAfterIsTheProtocolsPage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tl := anyTimeline(message, hole, nothing).Draw(t, "timeline")
		after := rapid.Int64Range(0, tl.top()+2).Draw(t, "after")
		limit := rapid.IntRange(1, 10).Draw(t, "limit")
		seqs, holes, more, unexplained := tl.pageAfter(after, limit)
		got := domain.PageAfter(withRepeats(t, tl.records()), tl.holes, after, tl.top(), limit)
		requirePage(t, got, seqs, holes, more, unexplained)
	})
}

func TestPageBeforeIsTheProtocolsPage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tl := anyTimeline(message, hole, nothing).Draw(t, "timeline")
		before := rapid.Int64Range(1, tl.top()+1).Draw(t, "before")
		limit := rapid.IntRange(1, 10).Draw(t, "limit")
		seqs, holes, more, unexplained := tl.pageBefore(before, limit)
		got := domain.PageBefore(withRepeats(t, tl.records()), tl.holes, before, limit)
		requirePage(t, got, seqs, holes, more, unexplained)
	})
}

// withRepeats doubles some of the records, as merging two sources may.
func withRepeats(t *rapid.T, records []domain.Record) (doubled []domain.Record) {
	for _, r := range records {
		for range rapid.IntRange(1, 2).Draw(t, "copies") {
			doubled = append(doubled, r)
		}
	}
	return doubled
}

func TestPageAfterEndsAtItsTop(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tl := anyTimeline(message, hole).Draw(t, "timeline")
		top := rapid.Int64Range(0, tl.top()).Draw(t, "top")
		short := &timeline{kinds: tl.kinds[:top], holes: tl.between(1, top)}
		after := rapid.Int64Range(0, top).Draw(t, "after")
		limit := rapid.IntRange(1, 10).Draw(t, "limit")
		seqs, holes, more, unexplained := short.pageAfter(after, limit)
		requirePage(t, domain.PageAfter(tl.records(), tl.holes, after, top, limit), seqs, holes, more, unexplained)
	})
}

func TestWalkingForwardVisitsEverythingOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tl := anyTimeline(message, hole).Draw(t, "timeline")
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		seen := map[int64]kind{}
		for after, more := int64(0), true; more; {
			p := domain.PageAfter(tl.records(), tl.holes, after, tl.top(), limit)
			visit(t, seen, p)
			if more = p.More; more {
				require.Len(t, p.Messages, limit, "a page with more is full")
				after = p.Messages[limit-1].Seq
			}
		}
		requireAllSeen(t, tl, seen)
	})
}

func TestWalkingBackwardVisitsEverythingOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tl := anyTimeline(message, hole).Draw(t, "timeline")
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		seen := map[int64]kind{}
		for before, more := tl.top()+1, true; more; {
			p := domain.PageBefore(tl.records(), tl.holes, before, limit)
			visit(t, seen, p)
			if more = p.More; more {
				require.Len(t, p.Messages, limit, "a page with more is full")
				before = p.Messages[0].Seq
			}
		}
		requireAllSeen(t, tl, seen)
	})
}

func visit(t *rapid.T, seen map[int64]kind, p domain.Page) {
	see := func(seq int64, k kind) {
		require.NotContains(t, seen, seq, "seq %d comes twice", seq)
		seen[seq] = k
	}
	for _, m := range p.Messages {
		see(m.Seq, message)
	}
	for _, h := range p.Holes {
		for seq := h.From; seq <= h.To; seq++ {
			see(seq, hole)
		}
	}
}

func requireAllSeen(t *rapid.T, tl *timeline, seen map[int64]kind) {
	require.Len(t, seen, len(tl.kinds))
	for seq, k := range seen {
		require.Equal(t, string(tl.at(seq)), string(k), "seq %d", seq)
	}
}

func TestCutIsThePageOfASmallerLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tl := anyTimeline(message, hole, nothing).Draw(t, "timeline")
		after := rapid.Int64Range(0, tl.top()).Draw(t, "after")
		limit := rapid.IntRange(1, 10).Draw(t, "limit")
		n := rapid.IntRange(1, limit+1).Draw(t, "cut")
		got := domain.PageAfter(tl.records(), tl.holes, after, tl.top(), limit)
		if n >= len(got.Messages) {
			want := got
			got.Cut(n)
			require.Equal(t, want, got, "nothing to cut")
			return
		}
		got.Cut(n)
		seqs, holes, more, _ := tl.pageAfter(after, n)
		requirePage(t, got, seqs, holes, more, got.Unexplained)
	})
}

func TestCutToNothingPromisesMore(t *testing.T) {
	t.Parallel()
	p := domain.PageAfter(
		[]domain.Record{record("g", 3)}, domain.Holes{{From: 1, To: 2, Reason: domain.HoleLost}, {From: 4, To: 4, Reason: domain.HoleLost}}, 0, 4, 5)
	require.False(t, p.More)
	p.Cut(0)
	require.Equal(t, domain.Page{Messages: []domain.Record{}, More: true}, p)
	empty := domain.Page{}
	empty.Cut(0)
	require.Equal(t, domain.Page{}, empty, "an empty page is not cut: there is no more")
}

func TestHoleArithmeticCountsSeqBySeq(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tl := anyTimeline(message, hole).Draw(t, "timeline")
		after, to := rapid.Int64Range(0, tl.top()+2).Draw(t, "after"), rapid.Int64Range(0, tl.top()).Draw(t, "to")
		count, unread, minSeq := int64(0), int64(0), int64(1)
		for seq := int64(1); seq <= tl.top(); seq++ {
			h, in := tl.holes.At(seq)
			require.Equal(t, tl.at(seq) == hole, in, "At(%d) = %+v", seq, h)
			require.Equal(t, in, h.From <= seq && seq <= h.To)
			if in && after < seq && seq <= to {
				count++
			}
			if !in && seq > after {
				unread++
			}
			if in && minSeq == seq {
				minSeq++
			}
		}
		_, above := tl.holes.At(tl.top() + 1)
		require.False(t, above, "nothing is known above the top")
		require.Equal(t, count, tl.holes.Count(after, to), "Count(%d, %d)", after, to)
		require.Equal(t, minSeq, tl.holes.MinSeq())
		head := domain.Head{MaxSeq: tl.top(), ReadSeq: after, Holes: tl.holes}
		require.Equal(t, unread, head.Unread(), "Unread with read_seq %d", after)
		require.Equal(t, minSeq, head.MinSeq())
		if diff := cmp.Diff(tl.between(after, to), tl.holes.Clip(after, to), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("Clip(%d, %d) (-want +got):\n%s", after, to, diff)
		}
	})
}

func TestAMillionSeqsOfHoleCostNothing(t *testing.T) {
	t.Parallel()
	holes := domain.Holes{{From: 2, To: 1 << 52, Reason: domain.HoleLost}}
	records := []domain.Record{record("g", 1), record("g", 1<<52+1)}
	p := domain.PageAfter(records, holes, 0, 1<<52+1, 10)
	require.Equal(t, []int64{1, 1<<52 + 1}, seqsOf(p.Messages))
	require.Equal(t, holes, p.Holes)
	require.False(t, p.More)
	p = domain.PageBefore(records, holes, 1<<52+2, 10)
	require.Equal(t, []int64{1, 1<<52 + 1}, seqsOf(p.Messages))
	require.Equal(t, holes, p.Holes)
	require.False(t, p.More)
	head := domain.Head{MaxSeq: 1<<52 + 1, Holes: holes}
	require.Equal(t, int64(2), head.Unread())
}
