package domain_test

import (
	"context"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

// roomOf10 is a room "r" of which MySQL has 1–6, Redis 4–10, and 3 was lost.
func roomOf10() *world {
	w := newWorld()
	w.add(domain.Group{ID: "r", Type: domain.Room}, as(domain.Member, "ann"))
	w.store("r", 1, 2, 4, 5, 6)
	w.accept("r", span(4, 10)...)
	w.hole("r", domain.Hole{From: 3, To: 3, Reason: domain.HoleLost})
	w.seed("r", 10, 6)
	return w
}

func pull(t testing.TB, w *world, q domain.PullQuery) domain.Page {
	t.Helper()
	_, page, err := w.history.Pull(ctx, user("ann"), q)
	require.NoError(t, err)
	return page
}

func TestPullMergesRedisAndMySQL(t *testing.T) {
	t.Parallel()
	lost3 := domain.Holes{{From: 3, To: 3, Reason: domain.HoleLost}}
	for name, c := range map[string]struct {
		q     domain.PullQuery
		seqs  []int64
		holes domain.Holes
		more  bool
		mysql int // times that rows were asked for
	}{
		"everything after 0":               {domain.PullQuery{After: ptr(0)}, []int64{1, 2, 4, 5, 6, 7, 8, 9, 10}, lost3, false, 1},
		"after 2, over the seam":           {domain.PullQuery{After: ptr(2), Limit: 6}, []int64{4, 5, 6, 7, 8, 9}, lost3, true, 0},
		"rows only":                        {domain.PullQuery{After: ptr(0), Limit: 2}, []int64{1, 2}, nil, true, 1},
		"the newest page without a bound":  {domain.PullQuery{Limit: 3}, []int64{8, 9, 10}, nil, true, 0},
		"before a seq, over the seam":      {domain.PullQuery{Before: ptr(6), Limit: 4}, []int64{1, 2, 4, 5}, lost3, false, 1},
		"before what is above the top":     {domain.PullQuery{Before: ptr(99), Limit: 2}, []int64{9, 10}, nil, true, 0},
		"before 1":                         {domain.PullQuery{Before: ptr(1)}, nil, nil, false, 0},
		"before 0":                         {domain.PullQuery{Before: ptr(0)}, nil, nil, false, 0},
		"after the top":                    {domain.PullQuery{After: ptr(10)}, nil, nil, false, 0},
		"after what is above the top":      {domain.PullQuery{After: ptr(1 << 50)}, nil, nil, false, 0},
		"before a time in Redis":           {domain.PullQuery{BeforeMS: ptr(timeOf(8)), Limit: 2}, []int64{6, 7}, nil, true, 0},
		"before a time between two":        {domain.PullQuery{BeforeMS: ptr(timeOf(8) + 1), Limit: 2}, []int64{7, 8}, nil, true, 0},
		"before a time in MySQL":           {domain.PullQuery{BeforeMS: ptr(timeOf(4)), Limit: 2}, []int64{1, 2}, nil, false, 1},
		"before the first time":            {domain.PullQuery{BeforeMS: ptr(timeOf(1))}, nil, nil, false, 0},
		"before a time after the last one": {domain.PullQuery{BeforeMS: ptr(timeOf(99)), Limit: 1}, []int64{10}, nil, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := roomOf10()
			c.q.Group = "r"
			got := pull(t, w, c.q)
			want := domain.Page{More: c.more, Holes: c.holes}
			for _, seq := range c.seqs {
				want.Messages = append(want.Messages, record("r", seq))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			require.Equal(t, c.mysql, w.mysql.calls["Messages"], "reads of rows")
		})
	}
}

// However the messages are spread over Redis and MySQL, pulls show the protocol's pages.
func TestPullDoesNotShowWhereMessagesAre(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tl := anyTimeline(message, hole).Draw(t, "timeline")
		persisted := rapid.Int64Range(0, tl.top()).Draw(t, "persisted")
		recentFrom := rapid.Int64Range(0, persisted+1).Draw(t, "recent from")
		w := newWorld()
		w.add(domain.Group{ID: "r", Type: domain.Room})
		w.hole("r", tl.holes...)
		w.seed("r", tl.top(), persisted)
		for seq := int64(1); seq <= tl.top(); seq++ {
			if tl.at(seq) == message && seq <= persisted {
				w.store("r", seq)
			}
			if tl.at(seq) == message && seq >= recentFrom {
				w.accept("r", seq)
			}
		}
		bound := rapid.Int64Range(0, tl.top()+2).Draw(t, "bound")
		limit := rapid.IntRange(1, 6).Draw(t, "limit")

		_, got, err := w.history.Pull(ctx, user("ann"), domain.PullQuery{Group: "r", After: &bound, Limit: limit})
		require.NoError(t, err)
		seqs, holes, more, _ := tl.pageAfter(bound, limit)
		requirePage(t, got, seqs, holes, more, false)

		_, got, err = w.history.Pull(ctx, user("ann"), domain.PullQuery{Group: "r", Before: &bound, Limit: limit})
		require.NoError(t, err)
		seqs, holes, more, _ = tl.pageBefore(min(bound, tl.top()+1), limit)
		requirePage(t, got, seqs, holes, more, false)
	})
}

func TestPullClampsItsLimit(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "r", Type: domain.Room})
	w.accept("r", span(1, 300)...)
	w.seed("r", 300, 0)
	for limit, want := range map[int]int{0: 50, 1: 1, 200: 200, 201: 200, math.MaxInt: 200} {
		require.Len(t, pull(t, w, domain.PullQuery{Group: "r", Limit: limit}).Messages, want, "limit %d, newest page", limit)
		require.Len(t, pull(t, w, domain.PullQuery{Group: "r", After: ptr(0), Limit: limit}).Messages, want, "limit %d, after 0", limit)
	}
}

func TestPullRefusesBadBounds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		q     domain.PullQuery
		field string
	}{
		"two bounds":              {domain.PullQuery{Group: "r", After: ptr(1), Before: ptr(2)}, "after_seq"},
		"two others":              {domain.PullQuery{Group: "r", Before: ptr(1), BeforeMS: ptr(2)}, "after_seq"},
		"three":                   {domain.PullQuery{Group: "r", After: ptr(1), Before: ptr(1), BeforeMS: ptr(2)}, "after_seq"},
		"negative after_seq":      {domain.PullQuery{Group: "r", After: ptr(-1)}, "after_seq"},
		"negative before_seq":     {domain.PullQuery{Group: "r", Before: ptr(-1)}, "before_seq"},
		"negative before_ms":      {domain.PullQuery{Group: "r", BeforeMS: ptr(-1)}, "before_ms"},
		"2^53":                    {domain.PullQuery{Group: "r", After: ptr(1 << 53)}, "after_seq"},
		"two bad: the first":      {domain.PullQuery{Group: "r", Before: ptr(-1), BeforeMS: ptr(-1)}, "before_seq"},
		"negative limit":          {domain.PullQuery{Group: "r", Limit: -1}, "limit"},
		"a group that is none":    {domain.PullQuery{Group: "a:b"}, "group"},
		"a direct in wrong order": {domain.PullQuery{Group: "dm:b:a"}, "group"},
	} {
		_, _, err := roomOf10().history.Pull(ctx, user("ann"), c.q)
		require.Error(t, err, name)
		requireCode(t, err, domain.CodeBadRequest, c.field)
	}
}

func TestEnteringTellsWhyNot(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "r", Type: domain.Room}, as(domain.BlockedIn, "eve"))
	w.add(domain.Group{ID: "g", Type: domain.Private}, as(domain.Member, "ann"))
	w.add(domain.Group{ID: "gone", Type: domain.Private, Dismissed: true}, as(domain.Member, "ann"))
	w.add(domain.Group{ID: "dm:ann:bob", Type: domain.Direct}, as(domain.Member, "ann"), as(domain.Member, "bob"))
	for _, c := range []struct {
		actor domain.Actor
		group string
		want  string
	}{
		{user("ann"), "g", "ok"},
		{user("eve"), "g", "not_member"},
		{user("eve"), "gone", "gone"},
		{user("ann"), "gone", "gone"},
		{user("ann"), "nowhere", "not_found"},
		{user("ann"), "r", "ok"},
		{user("eve"), "r", "forbidden"},
		{user("ann"), "dm:ann:bob", "ok"},
		{user("eve"), "dm:ann:bob", "not_member"},
		{user("ann"), "hot", "bad_request"},
		{server, "g", "ok"},
		{server, "gone", "gone"},
		{server, "nowhere", "not_found"},
		{domain.Actor{User: "eve", Key: "backend-1"}, "r", "ok"},
	} {
		_, err := w.history.Head(ctx, c.group)
		require.Equal(t, c.want == "gone" || c.want == "not_found" || c.want == "bad_request", err != nil, "head of %s: %v", c.group, err)
		_, err = w.history.Enter(ctx, c.actor, c.group)
		require.Equal(t, c.want, verdict(err), "%+v enters %s", c.actor, c.group)
		_, _, err = w.history.Pull(ctx, c.actor, domain.PullQuery{Group: c.group})
		require.Equal(t, c.want, verdict(err), "%+v pulls %s", c.actor, c.group)
	}
}

// A recall reaches Redis first and the row behind: as long as the row shows the body, Redis counts.
func TestRecallsInRedisHideTheRow(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "r", Type: domain.Room})
	w.store("r", 1, 2, 3)
	w.redis.recent["r"] = []domain.Record{tombstone("r", 2), record("r", 3)}
	w.seed("r", 3, 3)
	for name, q := range map[string]domain.PullQuery{
		"forward":  {Group: "r", After: ptr(0)},
		"backward": {Group: "r"},
	} {
		got := pull(t, w, q)
		if diff := cmp.Diff([]domain.Record{record("r", 1), tombstone("r", 2), record("r", 3)}, got.Messages); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPullEndsBeforeAnUnexplainedSeq(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "r", Type: domain.Room})
	w.store("r", 1, 2)
	w.accept("r", 4, 5)
	w.seed("r", 5, 2)
	forward := pull(t, w, domain.PullQuery{Group: "r", After: ptr(0)})
	require.Equal(t, []int64{1, 2}, seqsOf(forward.Messages))
	require.True(t, forward.More && forward.Unexplained, "%+v", forward)
	backward := pull(t, w, domain.PullQuery{Group: "r"})
	require.Equal(t, []int64{4, 5}, seqsOf(backward.Messages))
	require.True(t, backward.More && backward.Unexplained, "%+v", backward)
}

// The hole that Redis does not know yet is read from MySQL with the rows.
func TestPullLearnsOfHolesFromMySQL(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "r", Type: domain.Room})
	w.store("r", 1)
	w.accept("r", 5)
	w.seed("r", 5, 1)
	w.hole("r", domain.Hole{From: 2, To: 4, Reason: domain.HoleLost})
	got := pull(t, w, domain.PullQuery{Group: "r", After: ptr(0)})
	require.Equal(t, domain.Page{Messages: []domain.Record{record("r", 1), record("r", 5)}, Holes: w.mysql.holes["r"]}, got)
}

// With MySQL away Redis holds more than one read brings; a time among those is found all the same.
func TestBeforeTimeReachesThroughALongBacklog(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "r", Type: domain.Room})
	w.store("r", span(1, 10)...)
	w.accept("r", span(5, 3000)...)
	w.seed("r", 3000, 10)
	for _, seq := range []int64{3, 11, 500, 1000, 1001, 2000, 2001, 3000} {
		got := pull(t, w, domain.PullQuery{Group: "r", BeforeMS: ptr(timeOf(seq)), Limit: 2})
		require.Equal(t, []int64{seq - 2, seq - 1}, seqsOf(got.Messages), "before the time of %d", seq)
	}
}

func TestOneFindsAMessageByItsSeq(t *testing.T) {
	t.Parallel()
	w := roomOf10()
	for _, seq := range []int64{1, 2, 4, 7, 10} {
		got, err := w.history.One(ctx, user("ann"), "r", seq)
		require.NoError(t, err, "seq %d", seq)
		require.Equal(t, record("r", seq), *got)
	}
	for seq, why := range map[int64]string{3: "is a hole", 11: "is not given yet", 1<<53 - 1: "is far above"} {
		_, err := w.history.One(ctx, user("ann"), "r", seq)
		require.Equal(t, domain.CodeNotFound, domain.CodeOf(err), "%d %s: %v", seq, why, err)
	}
	for _, seq := range []int64{0, -1, math.MinInt64, 1 << 53, math.MaxInt64} {
		_, err := w.history.One(ctx, user("ann"), "r", seq)
		requireCode(t, err, domain.CodeBadRequest, "seq")
	}
	w.redis.recent["r"] = insert(nil, "r", []int64{8, 9, 10})
	_, err := w.history.One(ctx, user("ann"), "r", 7)
	requireCode(t, err, domain.CodeUnavailable, "")
	w.mysql.rows["r"] = insert(nil, "r", []int64{1, 2})
	_, err = w.history.One(ctx, user("ann"), "r", 3) // a hole, whatever becomes of 4
	requireCode(t, err, domain.CodeNotFound, "")
	_, err = w.history.One(ctx, user("ann"), "nowhere", 7)
	requireCode(t, err, domain.CodeNotFound, "")
}

func TestMarkReadOnlyMovesForward(t *testing.T) {
	t.Parallel()
	w := roomOf10()
	for _, c := range []struct{ seq, want, unread int64 }{{2, 2, 7}, {1, 2, 7}, {6, 6, 4}, {6, 6, 4}, {5, 6, 4}, {1 << 40, 10, 0}, {3, 10, 0}} {
		head, err := w.history.MarkRead(ctx, user("ann"), "r", c.seq, "c1")
		require.NoError(t, err)
		require.Equal(t, c.want, head.ReadSeq, "after reading %d", c.seq)
		require.Equal(t, c.unread, head.Unread(), "after reading %d", c.seq)
	}
	require.Equal(t, 3, w.redis.calls["MarkRead"], "marks that do not move cost no write")
}

func TestMarkReadNeverFallsBehindAMarkThatMovedMeanwhile(t *testing.T) {
	t.Parallel()
	w := roomOf10()
	require.NoError(t, load(w, "r"))
	marks := movedMeanwhile{w.redis}
	head, err := domain.NewHistory(w.heads, w.redis, w.mysql, marks, w.redis, w.redis).MarkRead(ctx, user("ann"), "r", 4, "c1")
	require.NoError(t, err)
	require.Equal(t, int64(9), head.ReadSeq)
}

// movedMeanwhile is a ReadMarker whose mark another device has moved to 9.
type movedMeanwhile struct{ domain.ReadMarker }

func (movedMeanwhile) MarkRead(context.Context, string, string, int64, int64, []byte) (int64, error) {
	return 9, nil
}

func TestMarkReadRefuses(t *testing.T) {
	t.Parallel()
	w := roomOf10()
	w.add(domain.Group{ID: "g", Type: domain.Private})
	for _, c := range []struct {
		actor domain.Actor
		group string
		seq   int64
		code  domain.Code
		field string
	}{
		{user("ann"), "r", 0, domain.CodeBadRequest, "seq"},
		{user("ann"), "r", -1, domain.CodeBadRequest, "seq"},
		{user("ann"), "r", 1 << 53, domain.CodeBadRequest, "seq"},
		{server, "r", 1, domain.CodeBadRequest, "user"},
		{user("ann"), "g", 1, domain.CodeNotMember, ""},
		{user("ann"), "nowhere", 1, domain.CodeNotFound, ""},
		{user("ann"), "a:b", 1, domain.CodeBadRequest, "group"},
	} {
		_, err := w.history.MarkRead(ctx, c.actor, c.group, c.seq, "c1")
		requireCode(t, err, c.code, c.field)
	}
}

func TestHistoryIsUnavailableWhenAStoreIsDown(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]domain.PullQuery{
		"forward":       {Group: "r", After: ptr(0)},
		"backward":      {Group: "r", Before: ptr(3)},
		"before a time": {Group: "r", BeforeMS: ptr(timeOf(3))},
	} {
		w := roomOf10()
		pull(t, w, q) // caches the head
		w.mysql.down = errDown
		_, _, err := w.history.Pull(ctx, user("ann"), q)
		require.ErrorIs(t, err, errDown, name)
		requireCode(t, err, domain.CodeUnavailable, "")

		head := &domain.Head{Group: "r", MaxSeq: 10}
		w.redis.down = errDown
		_, err = w.history.After(ctx, head, 0, 10, 5)
		requireCode(t, err, domain.CodeUnavailable, "")
	}
	w := roomOf10()
	require.NoError(t, load(w, "r"))
	history := domain.NewHistory(w.heads, downRecent{}, w.mysql, downMarks{}, w.redis, w.redis)
	for _, q := range []domain.PullQuery{{Group: "r"}, {Group: "r", BeforeMS: ptr(5)}, {Group: "r", After: ptr(1)}} {
		_, _, err := history.Pull(ctx, user("ann"), q)
		requireCode(t, err, domain.CodeUnavailable, "")
	}
	_, err := history.MarkRead(ctx, user("ann"), "r", 3, "c1")
	requireCode(t, err, domain.CodeUnavailable, "")
	_, err = history.Sync(ctx, user("ann"), domain.SyncQuery{Groups: map[string]int64{"r": 0}})
	requireCode(t, err, domain.CodeUnavailable, "")
	_, _, err = history.Conversations(ctx, user("ann"), "")
	requireCode(t, err, domain.CodeUnavailable, "")
}

// downRecent and downMarks fail where the heads of the same Redis still answered.
type downRecent struct{ domain.RecentMessages }

func (downRecent) Recent(context.Context, []domain.Range) ([][]domain.Record, error) {
	return nil, errDown
}

type downMarks struct{ domain.ReadMarker }

func (downMarks) MarkRead(context.Context, string, string, int64, int64, []byte) (int64, error) {
	return 0, errDown
}
