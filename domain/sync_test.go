package domain_test

import (
	"fmt"
	"sort"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

func syncAll(t require.TestingT, w *world, q domain.SyncQuery) map[string]domain.SyncResult {
	results, err := w.history.Sync(ctx, user("ann"), q)
	require.NoError(t, err)
	require.True(t, sort.SliceIsSorted(results, func(i, j int) bool { return results[i].Group < results[j].Group }), "by id")
	byGroup := map[string]domain.SyncResult{}
	for _, r := range results {
		byGroup[r.Group] = r
	}
	require.Len(t, byGroup, len(q.Groups), "none left out, none twice")
	require.Len(t, results, len(q.Groups))
	return byGroup
}

func TestSyncAnswersEachGroupForItself(t *testing.T) {
	t.Parallel()
	w := roomOf10()
	w.add(domain.Group{ID: "theirs", Type: domain.Private})
	w.add(domain.Group{ID: "gone", Type: domain.Room, Dismissed: true})
	w.add(domain.Group{ID: "empty", Type: domain.Private}, as(domain.Member, "ann"))
	w.add(domain.Group{ID: "rows", Type: domain.Private}, as(domain.Member, "ann"))
	w.store("rows", 1, 2, 3)
	got := syncAll(t, w, domain.SyncQuery{
		Groups: map[string]int64{"r": 5, "theirs": 0, "gone": 0, "empty": 0, "rows": 1, "nowhere": 0, "a:b": 0},
		Limit:  3,
	})
	for group, want := range map[string]string{
		"theirs": "not_member", "gone": "gone", "nowhere": "not_found", "a:b": "bad_request", "r": "ok", "empty": "ok", "rows": "ok",
	} {
		require.Equal(t, want, verdict(got[group].Err), group)
		require.Equal(t, want == "ok", got[group].Head != nil, "%s has a head", group)
	}
	require.Equal(t, []int64{6, 7, 8}, seqsOf(got["r"].Page.Messages))
	require.True(t, got["r"].Page.More)
	require.Equal(t, []int64{2, 3}, seqsOf(got["rows"].Page.Messages))
	require.False(t, got["rows"].Page.More)
	require.Equal(t, domain.Page{}, got["empty"].Page)
	require.Equal(t, int64(10), got["r"].Head.MaxSeq)
}

func TestSyncAboveTheTopIsEmpty(t *testing.T) {
	t.Parallel()
	got := syncAll(t, roomOf10(), domain.SyncQuery{Groups: map[string]int64{"r": 11}})
	require.Equal(t, domain.Page{}, got["r"].Page)
	require.Empty(t, syncAll(t, newWorld(), domain.SyncQuery{}))
}

func TestSyncRefuses(t *testing.T) {
	t.Parallel()
	many := map[string]int64{}
	for i := range domain.MaxSyncGroups + 1 {
		many["g"+strconv.Itoa(i)] = 0
	}
	for _, c := range []struct {
		q     domain.SyncQuery
		code  domain.Code
		field string
	}{
		{domain.SyncQuery{Groups: many}, domain.CodeTooLarge, "groups"},
		{domain.SyncQuery{Groups: map[string]int64{"r": -1}}, domain.CodeBadRequest, "groups"},
		{domain.SyncQuery{Groups: map[string]int64{"r": 1 << 53}}, domain.CodeBadRequest, "groups"},
		{domain.SyncQuery{Groups: map[string]int64{"r": 1}, Limit: -1}, domain.CodeBadRequest, "limit"},
		{domain.SyncQuery{Groups: map[string]int64{"r": 1}, MaxBytes: -1}, domain.CodeBadRequest, "max_bytes"},
	} {
		_, err := roomOf10().history.Sync(ctx, user("ann"), c.q)
		requireCode(t, err, c.code, c.field)
	}
	delete(many, "g0")
	require.Len(t, syncAll(t, newWorld(), domain.SyncQuery{Groups: many}), domain.MaxSyncGroups)
}

// Whatever the budget: no group is left out, at least one message comes, the bytes fit (but for that one), what is
// missing is promised with more, and asking again from there brings everything.
func TestSyncKeepsItsByteBudget(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w, after, total := newWorld(), map[string]int64{}, 0
		groups := rapid.IntRange(1, 45).Draw(t, "groups") // more than are read at a time
		for i := range groups {
			id := fmt.Sprintf("g%02d", i)
			w.add(domain.Group{ID: id, Type: domain.Room})
			n := rapid.Int64Range(0, 4).Draw(t, "messages")
			w.accept(id, span(1, n)...)
			w.seed(id, n, 0)
			after[id] = 0
			total += int(n)
		}
		size := record("g00", 1).Size()
		budget := rapid.IntRange(1, 12*size).Draw(t, "budget")
		got, calls := map[string][]int64{}, 0
		for more := true; more; calls++ {
			more = false
			bytes, messages := 0, 0
			for id, r := range syncAll(t, w, domain.SyncQuery{Groups: after, MaxBytes: budget, Limit: 3}) {
				require.NoError(t, r.Err)
				for _, m := range r.Page.Messages {
					bytes += len(m.AppendJSON(nil))
					messages++
				}
				got[id] = append(got[id], seqsOf(r.Page.Messages)...)
				if n := len(r.Page.Messages); n > 0 {
					after[id] = r.Page.Messages[n-1].Seq
				}
				require.Equal(t, after[id] < r.Head.MaxSeq, r.Page.More, "more of %s", id)
				more = more || r.Page.More
			}
			if left := total; left > 0 {
				require.Positive(t, messages, "at least one message a reply")
			}
			if messages > 1 {
				require.LessOrEqual(t, bytes, budget)
			}
			total -= messages
		}
		for id := range after {
			require.Equal(t, span(1, int64(len(w.redis.recent[id]))), append([]int64{}, got[id]...), "all of %s, once", id)
		}
	})
}

func TestSyncClampsItsBudget(t *testing.T) {
	t.Parallel()
	w := newWorld()
	body := make([]byte, 10_000)
	for i := range body {
		body[i] = '1'
	}
	after := map[string]int64{}
	for i := range 3 {
		id := "g" + strconv.Itoa(i)
		w.add(domain.Group{ID: id, Type: domain.Room})
		for seq := int64(1); seq <= 100; seq++ {
			m := domain.Message{Group: id, Seq: seq, TimeMS: timeOf(seq), Header: domain.Header{From: "bob"}, Body: body}
			w.redis.recent[id] = append(w.redis.recent[id], m.Record())
		}
		w.seed(id, 100, 0)
		after[id] = 0
	}
	size := w.redis.recent["g0"][0].Size()
	for maxBytes, want := range map[int]int{0: domain.DefaultSyncBytes / size, 1 << 30: domain.MaxSyncBytes / size, 1: 1} {
		messages := 0
		for _, r := range syncAll(t, w, domain.SyncQuery{Groups: after, MaxBytes: maxBytes, Limit: 200}) {
			messages += len(r.Page.Messages)
		}
		require.Equal(t, want, messages, "messages with max_bytes %d", maxBytes)
	}
}

func TestSyncTellsOfAGroupWhoseRowsCannotBeRead(t *testing.T) {
	t.Parallel()
	w := roomOf10()
	w.add(domain.Group{ID: "s", Type: domain.Room})
	w.accept("s", 1)
	w.seed("s", 1, 0)
	q := domain.SyncQuery{Groups: map[string]int64{"r": 0, "s": 0}}
	syncAll(t, w, q) // caches the heads
	w.mysql.down = errDown
	got := syncAll(t, w, q)
	requireCode(t, got["r"].Err, domain.CodeUnavailable, "")
	require.Equal(t, domain.Page{}, got["r"].Page)
	require.Equal(t, []int64{1}, seqsOf(got["s"].Page.Messages))

	w.redis.down = errDown
	_, err := w.history.Sync(ctx, user("ann"), q)
	requireCode(t, err, domain.CodeUnavailable, "")
}

func TestConversationsAreTheUsersGroupsLatestFirst(t *testing.T) {
	t.Parallel()
	w := newWorld()
	ann := as(domain.Member, "ann")
	w.add(domain.Group{ID: "quiet-b", Type: domain.Private}, ann)
	w.add(domain.Group{ID: "quiet-a", Type: domain.Private}, ann)
	w.add(domain.Group{ID: "late", Type: domain.Room}, ann)
	w.add(domain.Group{ID: "early", Type: domain.Room}, ann)
	w.add(domain.Group{ID: "dm:ann:bob", Type: domain.Direct}, ann)
	w.add(domain.Group{ID: "expired", Type: domain.Private}, ann)
	w.add(domain.Group{ID: "blocked", Type: domain.Private}, as(domain.BlockedIn, "ann"))
	w.add(domain.Group{ID: "gone", Type: domain.Private, Dismissed: true}, ann)
	w.add(domain.Group{ID: "theirs", Type: domain.Private})
	w.accept("late", 9)
	w.seed("late", 9, 0)
	w.store("dm:ann:bob", 4, 5)
	w.store("early", 2)
	w.hole("expired", domain.Hole{From: 1, To: 3, Reason: domain.HoleExpired})

	list, next, err := w.history.Conversations(ctx, user("ann"), "")
	require.NoError(t, err)
	require.Empty(t, next)
	require.Equal(t, 1, w.redis.calls["Recalled"], "of all groups whose last message is a row")
	var got []string
	for _, c := range list {
		last := "nothing"
		if c.Last != nil {
			require.Equal(t, c.Group, c.Last.Group)
			last = strconv.FormatInt(c.Last.Seq, 10)
		}
		got = append(got, c.Group+" "+last)
	}
	want := []string{"late 9", "dm:ann:bob 5", "early 2", "expired nothing", "quiet-a nothing", "quiet-b nothing"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	heads, err := w.history.Mine(ctx, "ann", "")
	require.NoError(t, err)
	require.Len(t, heads, len(want))
	require.Equal(t, "late", heads[0].Group)
}

func TestConversationsCursorVisitsEachGroupOnce(t *testing.T) {
	t.Parallel()
	w := newWorld()
	const groups = 450
	for i := range groups {
		id := fmt.Sprintf("g.%03d", i) // a dot, as cursors have one too
		w.add(domain.Group{ID: id, Type: domain.Private}, as(domain.Member, "ann"))
		w.redis.seqs[id] = fakeSeqs{LastMS: int64(i%7) * 1000} // many ties, and some without a message
	}
	var visited []domain.Head
	pages := 0
	for cursor := "start"; cursor != ""; pages++ {
		if cursor == "start" {
			cursor = ""
		}
		list, next, err := w.history.Conversations(ctx, user("ann"), cursor)
		require.NoError(t, err)
		require.NotEmpty(t, list)
		for _, c := range list {
			visited = append(visited, c.Head)
		}
		cursor = next
	}
	require.Equal(t, 3, pages)
	all, err := w.history.Mine(ctx, "ann", "")
	require.NoError(t, err)
	require.Len(t, all, groups)
	if diff := cmp.Diff(all, visited); diff != "" {
		t.Errorf("pages, put together (-want +got):\n%s", diff)
	}
}

func TestConversationsRefuse(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for _, cursor := range []string{"x", "1", "1.", ".g", "x.g", "1.a:b", "99999999999999999999.g"} {
		_, _, err := w.history.Conversations(ctx, user("ann"), cursor)
		requireCode(t, err, domain.CodeBadRequest, "cursor")
	}
	_, _, err := w.history.Conversations(ctx, server, "")
	requireCode(t, err, domain.CodeBadRequest, "user")
	w.mysql.down = errDown
	_, _, err = w.history.Conversations(ctx, user("ann"), "")
	requireCode(t, err, domain.CodeUnavailable, "")
}
