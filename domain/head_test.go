package domain_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"hearth/domain"
)

var ctx = context.Background()

func TestHeadsFillInWhatRedisDoesNotKnow(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "g", Type: domain.Private, Name: "G", Muted: true, Version: 4}, as(domain.Admin, "ann"), as(domain.Member, "bob"))
	w.store("g", 3, 4, 5)
	w.hole("g", domain.Hole{From: 1, To: 2, Reason: domain.HoleExpired}, domain.Hole{From: 6, To: 9, Reason: domain.HoleLost})
	w.mysql.reads[domain.GroupUser{Group: "g", User: "ann"}] = 4
	want := domain.Head{
		Group: "g", Type: domain.Private, Name: "G", Join: domain.JoinInvite, Muted: true, Version: 4, Role: domain.Admin,
		MaxSeq: 9, LastMS: timeOf(5), PersistedSeq: 9, ReadSeq: 4, Holes: w.mysql.holes["g"],
	}
	got, err := w.heads.One(ctx, "ann", "g")
	require.NoError(t, err)
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	require.Equal(t, int64(1), got.Unread())
	require.Equal(t, int64(3), got.MinSeq())

	require.Equal(t, int64(4), w.redis.groups["g"].Version, "the group is cached")
	require.Equal(t, int64(4), w.redis.reads[domain.GroupUser{Group: "g", User: "ann"}], "the mark is cached")
	require.NotContains(t, w.redis.seqs, "g", "seqs are seeded by the first append only")

	again, err := w.heads.One(ctx, "ann", "g")
	require.NoError(t, err)
	require.Equal(t, want, *again)
	require.Equal(t, map[string]int{"Snapshot": 1, "ReadMarks": 1, "Floors": 1}, w.mysql.calls, "what is cached is not asked for again")
}

func TestHeadsComeFromRedisAloneWhenItKnowsAll(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "g", Type: domain.Room, Name: "G"}, as(domain.Member, "ann"))
	w.seed("g", 10, 7)
	w.redis.reads[domain.GroupUser{Group: "g", User: "ann"}] = 6
	require.NoError(t, load(w, "g"))
	w.mysql.calls, w.mysql.down = map[string]int{}, errDown
	got, err := w.heads.One(ctx, "ann", "g")
	require.NoError(t, err)
	require.Equal(t, domain.Head{
		Group: "g", Type: domain.Room, Name: "G", Join: domain.JoinOpen, Role: domain.Member,
		MaxSeq: 10, LastMS: timeOf(10), PersistedSeq: 7, ReadSeq: 6,
	}, *got)
	require.Empty(t, w.mysql.calls)
}

func load(w *world, group string) error {
	_, err := w.heads.Load(ctx, group)
	return err
}

func TestHeadsAnswerInOrderEachForItself(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "a", Type: domain.Room})
	w.add(domain.Group{ID: "gone", Type: domain.Room, Dismissed: true})
	w.add(domain.Group{ID: "b", Type: domain.Private}, as(domain.BlockedIn, "ann"))
	got, err := w.heads.Get(ctx, "ann", []string{"b", "nowhere", "gone", "a"})
	require.NoError(t, err)
	var answers []string
	for _, r := range got {
		answers = append(answers, r.Group+":"+string(r.Role)+":"+verdict(r.Err))
	}
	require.Equal(t, []string{"b:blocked:ok", "nowhere::not_found", "gone::gone", "a::ok"}, answers)

	for group, code := range map[string]domain.Code{"nowhere": domain.CodeNotFound, "gone": domain.CodeGone} {
		_, err := w.heads.One(ctx, "ann", group)
		requireCode(t, err, code, "")
	}
}

func TestHeadsForNobodyAskForNoMarks(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "g", Type: domain.Room}, as(domain.Member, "ann"))
	got, err := w.heads.One(ctx, "", "g")
	require.NoError(t, err)
	require.Equal(t, domain.Outsider, got.Role)
	require.Zero(t, w.mysql.calls["ReadMarks"])
	require.Zero(t, w.redis.calls["FillReads"])
}

func TestHeadsAreUnavailableWhenAStoreIsDown(t *testing.T) {
	t.Parallel()
	// Each case leaves one thing to be asked of MySQL.
	for name, known := range map[string]func(w *world){
		"the group is not known":     func(w *world) { w.seed("g", 1, 1) },
		"the seqs are not known":     func(w *world) { _ = load(w, "g"); w.redis.reads[domain.GroupUser{Group: "g", User: "ann"}] = 1 },
		"the read mark is not known": func(w *world) { _ = load(w, "g"); w.seed("g", 1, 1) },
	} {
		w := newWorld()
		w.add(domain.Group{ID: "g", Type: domain.Room}, as(domain.Member, "ann"))
		known(w)
		w.mysql.down = errDown
		_, err := w.heads.One(ctx, "ann", "g")
		requireCode(t, err, domain.CodeUnavailable, "")
		require.ErrorIs(t, err, errDown, name)
	}
	w := newWorld()
	w.redis.down = errDown
	_, err := w.heads.One(ctx, "ann", "g")
	requireCode(t, err, domain.CodeUnavailable, "")
	w.add(domain.Group{ID: "g", Type: domain.Room})
	requireCode(t, load(w, "g"), domain.CodeUnavailable, "")
	requireCode(t, load(w, "nowhere"), domain.CodeNotFound, "")
}

// Redis has forgotten the numbers of a dismissed group; asking for it does not bring them back.
func TestADismissedGroupIsGoneWithoutItsNumbers(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add(domain.Group{ID: "g", Type: domain.Room, Dismissed: true}, as(domain.Member, "ann"))
	w.add(domain.Group{ID: "h", Type: domain.Room}, as(domain.Member, "ann"))
	for _, loaded := range []string{"from MySQL", "from Redis"} {
		got, err := w.heads.Get(t.Context(), "ann", []string{"g"})
		require.NoError(t, err)
		requireCode(t, got[0].Err, domain.CodeGone, "")
		require.Zero(t, w.mysql.calls["Floors"]+w.mysql.calls["ReadMarks"], loaded)
	}
	got, err := w.heads.Get(t.Context(), "ann", []string{"g", "h"})
	require.NoError(t, err)
	requireCode(t, got[0].Err, domain.CodeGone, "")
	require.NoError(t, got[1].Err)
	require.Equal(t, 1, w.mysql.calls["Floors"], "of the other one")
}
