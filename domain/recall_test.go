package domain_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// newRecalls answers orders with what is missing, in turn, then takes everything.
func newRecalls(missing ...domain.Missing) (r *domain.Recalls, w *world, orders *[]domain.RecallOrder) {
	w = newWorld()
	p := agreed(3)
	gens, _ := newGenerations(p)
	orders = &[]domain.RecallOrder{}
	w.redis.recall = func(o domain.RecallOrder) (domain.RecallOutcome, error) {
		*orders = append(*orders, o)
		if len(missing) == 0 {
			return domain.RecallOutcome{}, nil
		}
		next := missing[0]
		missing = missing[1:]
		return domain.RecallOutcome{Missing: next, Gen: 3}, nil
	}
	return domain.NewRecalls(w.redis, w.mysql, domain.NewRecovery(gens, w.heads, fakeSeeds{}, w.redis)), w, orders
}

func TestRecallBringsBackWhatIsMissing(t *testing.T) {
	t.Parallel()
	r, w, orders := newRecalls(domain.MissingGroup, domain.MissingSeed, domain.MissingMessage)
	w.add(domain.Group{ID: "g", Type: domain.Private}, as(domain.Member, "ann"))
	w.store("g", 1, 2)
	require.NoError(t, r.Recall(t.Context(), user("ann"), "g", 2))
	require.Len(t, *orders, 4)
	require.Nil(t, (*orders)[2].Stored)
	require.Equal(t, int64(2), (*orders)[3].Stored.Seq, "as MySQL has it")
}

func TestRecallThatCannotBe(t *testing.T) {
	t.Parallel()
	r, w, _ := newRecalls(domain.MissingMessage)
	w.add(domain.Group{ID: "g", Type: domain.Private})
	requireCode(t, r.Recall(t.Context(), user("ann"), "g", 2), domain.CodeNotFound, "")
	r, _, _ = newRecalls(domain.MissingGroup)
	requireCode(t, r.Recall(t.Context(), user("ann"), "nowhere", 2), domain.CodeNotFound, "")
	synctest.Test(t, func(t *testing.T) { // it tries for a while
		r, w, _ := newRecalls(slices.Repeat([]domain.Missing{domain.MissingMessage}, 10)...)
		w.mysql.down = errDown
		requireCode(t, r.Recall(t.Context(), user("ann"), "g", 2), domain.CodeUnavailable, "")
	})
	r, w, _ = newRecalls()
	w.redis.recall = func(domain.RecallOrder) (domain.RecallOutcome, error) {
		return domain.RecallOutcome{}, errors.New("cut")
	}
	requireCode(t, r.Recall(t.Context(), user("ann"), "g", 2), domain.CodeUnavailable, "")
	w.redis.recall = func(domain.RecallOrder) (domain.RecallOutcome, error) {
		return domain.RecallOutcome{}, domain.Errorf(domain.CodeForbidden, "no")
	}
	requireCode(t, r.Recall(t.Context(), user("ann"), "g", 2), domain.CodeForbidden, "")
	requireCode(t, r.Recall(t.Context(), user("ann"), "g", 0), domain.CodeBadRequest, "seq")
	requireCode(t, r.Recall(t.Context(), user("ann"), "g", 1<<53), domain.CodeBadRequest, "seq")
	requireCode(t, r.Recall(t.Context(), user("ann"), "a b", 1), domain.CodeBadRequest, "group")
}

// Rows that do not know of their recall yet are shown without content all the same, and what was recalled is told from
// both sides.
func TestRecallsLieOverRows(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "g", Type: domain.Private}, as(domain.Member, "ann"))
	w.store("g", 1, 2, 3, 4)
	w.mysql.rows["g"][0] = tombstone("g", 1)
	w.seed("g", 4, 4)
	ms, _ := w.mysql.rows["g"][0].Recalled()
	w.redis.recalls = map[string][]domain.Recall{"g": {{Group: "g", Seq: 3, TimeMS: ms + 5, By: "bob"}, {Group: "g", Seq: 1, TimeMS: ms, By: "ann"}}}
	history := domain.NewHistory(w.heads, w.redis, w.mysql, w.redis, w.redis, w.redis)
	after, since := int64(3), ms-1
	_, page, err := history.Pull(t.Context(), user("ann"), domain.PullQuery{Group: "g", After: new(int64)})
	require.NoError(t, err)
	require.Nil(t, page.Recalled, "it was not asked")
	require.Len(t, page.Messages, 4)
	for i, recalled := range []bool{true, false, true, false} {
		ms, _ := page.Messages[i].Recalled()
		require.Equal(t, recalled, ms != 0, "seq %d", i+1)
	}
	for _, c := range []struct {
		after, since int64
		want         []int64
	}{{3, ms - 1, []int64{1, 3}}, {3, ms, []int64{3}}, {2, ms - 1, []int64{1}}, {4, ms + 5, []int64{}}} {
		after, since = c.after, c.since
		_, page, err = history.Pull(t.Context(), user("ann"), domain.PullQuery{Group: "g", After: &after, RecalledAfterMS: &since})
		require.NoError(t, err)
		require.Equal(t, c.want, page.Recalled)
		results, err := history.Sync(t.Context(), user("ann"), domain.SyncQuery{Groups: map[string]int64{"g": after, "no": 1}, RecalledAfterMS: &since})
		require.NoError(t, err)
		require.Equal(t, c.want, results[0].Page.Recalled)
	}
	_, _, err = history.Pull(t.Context(), user("ann"), domain.PullQuery{Group: "g", Before: &after, RecalledAfterMS: &since})
	requireCode(t, err, domain.CodeBadRequest, "recalled_after_ms")
}

func TestTheJournalKeepsRecallsUntilTheyAreWritten(t *testing.T) {
	t.Parallel()
	j := domain.NewJournal(1, plenty)
	sent := keptMessage("g", 1, 5)
	for _, keep := range waysToKeep {
		require.True(t, keep(sent, j))
	}
	first := domain.Recall{Group: "g", Seq: 5, Gen: 1, TimeMS: 70, By: "ann"}
	later := domain.Recall{Group: "g", Seq: 9, Gen: 2, TimeMS: 80, By: "ann"}
	require.True(t, j.KeepRecall(first))
	require.True(t, j.KeepRecall(later))
	require.Equal(t, []domain.Recall{later}, j.LingeringRecalls(0, 2))

	u, err := j.Close(0, 2)
	require.NoError(t, err)
	require.Equal(t, []domain.Recall{first}, u.Recalls)
	require.Len(t, u.Messages, 1)
	require.Empty(t, u.Messages[0].Body)
	require.Equal(t, int64(70), u.Messages[0].RecalledMS)
	require.Equal(t, sent.Hash, u.Messages[0].Hash, "of what was sent")
	require.False(t, j.KeepRecall(first), "the generation is closed")

	j.Committed("g", 1, 5)
	u, err = j.Close(0, 2)
	require.NoError(t, err)
	require.Equal(t, []domain.Recall{first}, u.Recalls, "the watermark is of messages")
	j.Written(0, u)
	u, err = j.All(0)
	require.NoError(t, err)
	require.Equal(t, []domain.Recall{later}, u.Recalls)
}

func TestTombstonesAreWhatARowOfARecalledMessageIs(t *testing.T) {
	t.Parallel()
	m := keptMessage("g", 1, 5).Message
	m.Mentions, m.ReplyTo = []string{"bob"}, 3
	m.Body = []byte(`[{"type":"text","text":",\"body\":[],\"recalled_ms\":1"}]`)
	r := domain.Recall{Group: "g", Seq: 5, TimeMS: 70, By: "ann"}
	got := domain.Entombed([]domain.Record{m.Record()}, []domain.Recall{r})[0]
	ms, _ := m.Record().Recalled()
	require.Zero(t, ms)
	r.ApplyTo(&m)
	require.Equal(t, string(m.Record().Tail), string(got.Tail))
	require.Equal(t, string(got.Tail), string(r.Entomb(got.Tail)), "once is enough")
	ms, by := got.Recalled()
	require.Equal(t, int64(70), ms)
	require.Equal(t, "ann", by)
}

// A reply that is without some would be taken for complete.
func TestMoreRecallsThanAReplyTellsAreTooMany(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for _, id := range []string{"few", "many"} {
		w.add(domain.Group{ID: id, Type: domain.Private}, as(domain.Member, "ann"))
		w.mysql.rows[id] = []domain.Record{tombstone(id, 1)}
		w.seed(id, 1, 1)
	}
	after, since := int64(1), int64(0)
	_, _, err := w.history.Pull(t.Context(), user("ann"), domain.PullQuery{Group: "many", After: &after, RecalledAfterMS: &since})
	requireCode(t, err, domain.CodeTooLarge, "recalled_after_ms")
	results, err := w.history.Sync(t.Context(), user("ann"), domain.SyncQuery{Groups: map[string]int64{"few": 1, "many": 1}, RecalledAfterMS: &since})
	require.NoError(t, err)
	require.Equal(t, []int64{1}, results[0].Page.Recalled)
	requireCode(t, results[1].Err, domain.CodeTooLarge, "recalled_after_ms")
	recalls, err := w.history.RecallsSince(t.Context(), "many", since, after)
	require.NoError(t, err, "a feed wants all")
	require.Len(t, recalls, 1)
}
