package domain_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// expiredTo is a room "r" of ten messages, the first of which have expired; seeded tells whether this generation knows it.
func expiredTo(last int64, seeded bool) *world {
	w := newWorld()
	w.add(domain.Group{ID: "r", Type: domain.Room}, as(domain.Member, "ann"))
	w.store("r", span(last+1, 10)...)
	w.hole("r", domain.Hole{From: 1, To: last, Reason: domain.HoleExpired})
	if seeded {
		w.accept("r", span(max(last+1, 8), 10)...)
		w.seed("r", 10, 10)
	}
	return w
}

func TestPullsTellWhatHasExpired(t *testing.T) {
	t.Parallel()
	type want struct {
		seqs    []int64
		expired int64 // end of the hole that the page tells of; 0: none
		more    bool
	}
	for name, c := range map[string]struct {
		last int64 // that has expired
		q    domain.PullQuery
		want want
	}{
		"after 0":                               {4, domain.PullQuery{After: ptr(0), Limit: 2}, want{[]int64{5, 6}, 4, true}},
		"after one that has expired":            {4, domain.PullQuery{After: ptr(2), Limit: 9}, want{span(5, 10), 4, false}},
		"after the last that has expired":       {4, domain.PullQuery{After: ptr(4), Limit: 9}, want{span(5, 10), 0, false}},
		"the newest page":                       {4, domain.PullQuery{Limit: 50}, want{span(5, 10), 4, false}},
		"before the first that is left":         {4, domain.PullQuery{Before: ptr(5)}, want{nil, 4, false}},
		"before one that has expired":           {4, domain.PullQuery{Before: ptr(3)}, want{nil, 2, false}},
		"before a time":                         {4, domain.PullQuery{BeforeMS: ptr(timeOf(7))}, want{[]int64{5, 6}, 4, false}},
		"before the time of the first":          {4, domain.PullQuery{BeforeMS: ptr(timeOf(5))}, want{nil, 4, false}},
		"before any time":                       {4, domain.PullQuery{BeforeMS: ptr(1)}, want{nil, 4, false}},
		"all expired, after 0":                  {10, domain.PullQuery{After: ptr(0)}, want{nil, 10, false}},
		"all expired, after the top":            {10, domain.PullQuery{After: ptr(10)}, want{nil, 0, false}},
		"all expired, the newest page":          {10, domain.PullQuery{}, want{nil, 10, false}},
		"all expired, before a seq":             {10, domain.PullQuery{Before: ptr(11)}, want{nil, 10, false}},
		"all expired, before a time after that": {10, domain.PullQuery{BeforeMS: ptr(timeOf(99))}, want{nil, 10, false}},
	} {
		for _, seeded := range []bool{true, false} {
			w := expiredTo(c.last, seeded)
			c.q.Group = "r"
			head, got, err := w.history.Pull(ctx, user("ann"), c.q)
			require.NoError(t, err, name)
			page := domain.Page{More: c.want.more}
			for _, seq := range c.want.seqs {
				page.Messages = append(page.Messages, record("r", seq))
			}
			if c.want.expired > 0 {
				from := int64(1)
				if c.q.After != nil {
					from = *c.q.After + 1
				}
				page.Holes = domain.Holes{{From: from, To: c.want.expired, Reason: domain.HoleExpired}}
			}
			if diff := cmp.Diff(page, got); diff != "" {
				t.Errorf("%s, seeded %v (-want +got):\n%s", name, seeded, diff)
			}
			require.Equal(t, c.last+1, head.MinSeq(), name)
			require.Equal(t, int64(10), head.MaxSeq, name)
		}
	}
}

func TestWhatHasExpiredIsNotUnread(t *testing.T) {
	t.Parallel()
	for _, seeded := range []bool{true, false} {
		for _, c := range []struct{ last, read, unread int64 }{{4, 0, 6}, {4, 2, 6}, {4, 4, 6}, {4, 7, 3}, {10, 0, 0}, {10, 3, 0}, {10, 10, 0}} {
			w := expiredTo(c.last, seeded)
			w.mysql.reads[domain.GroupUser{Group: "r", User: "ann"}] = c.read
			head, err := w.history.Enter(ctx, user("ann"), "r")
			require.NoError(t, err)
			require.Equal(t, c.unread, head.Unread(), "%+v", c)
			results, err := w.history.Sync(ctx, user("ann"), domain.SyncQuery{Groups: map[string]int64{"r": c.read}})
			require.NoError(t, err)
			require.Equal(t, c.unread, results[0].Head.Unread(), "%+v", c)
			require.Len(t, results[0].Page.Messages, int(c.unread), "%+v", c)
			require.False(t, results[0].Page.More)
			head, err = w.history.MarkRead(ctx, user("ann"), "r", 2, "c")
			require.NoError(t, err)
			require.Equal(t, c.unread, head.Unread(), "%+v, having read one that has expired", c)
		}
	}
}

func TestWhatHasExpiredIsNotFound(t *testing.T) {
	t.Parallel()
	for _, seeded := range []bool{true, false} {
		w := expiredTo(4, seeded)
		for seq := int64(1); seq <= 10; seq++ {
			want := domain.Code("")
			if seq <= 4 {
				want = domain.CodeNotFound
			}
			_, err := w.history.One(ctx, user("ann"), "r", seq)
			require.Equal(t, want, domain.CodeOf(err), "message %d", seq)
			_, err = w.history.Readers(ctx, user("ann"), "r", seq)
			require.Equal(t, want, domain.CodeOf(err), "readers of %d", seq)
		}
		list, _, err := expiredTo(10, seeded).history.Conversations(ctx, user("ann"), "")
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Nil(t, list[0].Last)
		require.Equal(t, int64(10), list[0].MaxSeq)
	}
}

// MySQL explains what Redis has not been told of yet.
func TestPullsWhileRedisHasNotFollowed(t *testing.T) {
	t.Parallel()
	w := expiredTo(0, true)
	w.mysql.rows["r"] = insert(nil, "r", span(10, 10))
	w.mysql.holes["r"] = domain.Holes{{From: 1, To: 9, Reason: domain.HoleExpired}}
	want := domain.Page{Messages: insert(nil, "r", span(10, 10)), Holes: w.mysql.holes["r"]}
	if diff := cmp.Diff(want, pull(t, w, domain.PullQuery{Group: "r", After: ptr(0)})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
