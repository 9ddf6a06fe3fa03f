package domain_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

func TestRankHotIsTheProtocolsOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		entries := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) domain.HotEntry {
			return domain.HotEntry{
				Group:  rapid.StringMatching(`[aB]{1,3}`).Draw(t, "group"),
				Heat:   rapid.IntRange(1, 3).Draw(t, "heat"),
				LastMS: rapid.Int64Range(1, 3).Draw(t, "last_ms"),
			}
		}), 0, 14, func(e domain.HotEntry) string { return e.Group }).Draw(t, "entries")
		want := naiveRanking(entries)
		domain.RankHot(entries)
		if diff := cmp.Diff(want, entries); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// naiveRanking takes the hottest that is left, again and again.
func naiveRanking(entries []domain.HotEntry) []domain.HotEntry {
	ranked := make([]domain.HotEntry, len(entries))
	for _, e := range entries {
		hotter := 0
		for _, o := range entries {
			if o.Heat > e.Heat || o.Heat == e.Heat && (o.LastMS > e.LastMS || o.LastMS == e.LastMS && o.Group < e.Group) {
				hotter++
			}
		}
		e.Rank = hotter + 1
		ranked[hotter] = e
	}
	return ranked
}

// hotWorld has rooms of heat 3, 2 and 1, a group, a direct conversation, and others that are not to be listed.
func hotWorld() *world {
	w := newWorld()
	for id, typ := range map[string]domain.GroupType{
		"warm": domain.Room, "tepid": domain.Room, "boiling": domain.Room, "cold": domain.Room,
		"office": domain.Private, "dm:ann:bob": domain.Direct,
	} {
		w.add(domain.Group{ID: id, Type: typ, Name: "the " + id})
		w.seed(id, 5, 5)
	}
	w.add(domain.Group{ID: "gone", Type: domain.Room, Dismissed: true})
	w.redis.scores = map[string]int{
		"warm": 2, "boiling": 3, "tepid": 1, "cold": 0, "office": 9, "dm:ann:bob": 2, "gone": 99, "nowhere": 99,
	}
	return w
}

func lines(page *domain.HotPage) (got []string) {
	for _, e := range page.Entries {
		got = append(got, fmt.Sprintf("%d %s %s %d", e.Rank, e.Group, e.Type, e.Heat))
	}
	return got
}

func TestRankingListsWhatTheActorMaySee(t *testing.T) {
	t.Parallel()
	rooms := []string{"1 boiling room 3", "2 warm room 2", "3 tepid room 1"}
	for name, c := range map[string]struct {
		actor domain.Actor
		typ   string
		want  []string
	}{
		"a user sees rooms":       {user("ann"), "", rooms},
		"who asks for rooms too":  {user("ann"), "room", rooms},
		"a server sees rooms":     {server, "", rooms},
		"or groups":               {server, "group", []string{"1 office group 9"}},
		"or all, in ranks of all": {server, "all", []string{"1 office group 9", "2 boiling room 3", "3 warm room 2", "4 tepid room 1"}},
	} {
		w := hotWorld()
		page, err := w.ranking.Page(ctx, c.actor, domain.HotQuery{Type: c.typ})
		require.NoError(t, err, name)
		require.Equal(t, c.want, lines(page), name)
		require.Equal(t, w.redis.nowMS, page.TimeMS)
		require.Empty(t, page.Cursor)
		require.True(t, domain.ValidID(page.ID), "%q", page.ID)
		require.Equal(t, "the "+page.Entries[0].Group, page.Entries[0].Name)
		require.Equal(t, timeOf(5), page.Entries[0].LastMS)
	}
}

func TestRankingRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		actor domain.Actor
		q     domain.HotQuery
		code  domain.Code
		field string
	}{
		"groups to users":                {user("ann"), domain.HotQuery{Type: "group"}, domain.CodeForbidden, "type"},
		"all to users":                   {user("ann"), domain.HotQuery{Type: "all"}, domain.CodeForbidden, "type"},
		"who speaks to users":            {user("ann"), domain.HotQuery{Explain: true}, domain.CodeForbidden, "explain"},
		"direct conversations":           {server, domain.HotQuery{Type: "direct"}, domain.CodeBadRequest, "type"},
		"an unknown type":                {user("ann"), domain.HotQuery{Type: "x"}, domain.CodeBadRequest, "type"},
		"a negative limit":               {user("ann"), domain.HotQuery{Limit: -1}, domain.CodeBadRequest, "limit"},
		"a cursor without a place":       {user("ann"), domain.HotQuery{Cursor: "abc-3"}, domain.CodeBadRequest, "cursor"},
		"a cursor without a snapshot":    {user("ann"), domain.HotQuery{Cursor: ".3"}, domain.CodeBadRequest, "cursor"},
		"a cursor whose place is none":   {user("ann"), domain.HotQuery{Cursor: "abc-3.x"}, domain.CodeBadRequest, "cursor"},
		"a cursor from before the start": {user("ann"), domain.HotQuery{Cursor: "abc-3.-1"}, domain.CodeBadRequest, "cursor"},
		"a cursor to the start":          {user("ann"), domain.HotQuery{Cursor: "abc-3.0"}, domain.CodeBadRequest, "cursor"},
		"a cursor with a wild id":        {user("ann"), domain.HotQuery{Cursor: "a*b.1"}, domain.CodeBadRequest, "cursor"},
		"a cursor of a snapshot gone":    {user("ann"), domain.HotQuery{Cursor: "abc-3.1"}, domain.CodeGone, ""},
	} {
		_, err := hotWorld().ranking.Page(ctx, c.actor, c.q)
		require.Error(t, err, name)
		requireCode(t, err, c.code, c.field)
	}
}

// manyRooms is n rooms with many ties, and their ranking.
func manyRooms(n int) (w *world, ranking []domain.HotEntry) {
	w = newWorld()
	w.redis.scores = map[string]int{}
	for i := range n {
		id := fmt.Sprintf("room-%03d", i)
		w.add(domain.Group{ID: id, Type: domain.Room, Name: id})
		w.redis.seqs[id] = fakeSeqs{LastMS: int64(i % 5)}
		w.redis.scores[id] = 1 + i%3
		ranking = append(ranking, domain.HotEntry{Group: id, Name: id, Type: domain.Room, Heat: 1 + i%3, LastMS: int64(i % 5)})
	}
	return w, naiveRanking(ranking)
}

func TestRankingCursorPagesThroughOneSnapshot(t *testing.T) {
	t.Parallel()
	w, want := manyRooms(450) // more than one read of heads
	var got []domain.HotEntry
	var ids []string
	for cursor := "start"; cursor != ""; {
		if cursor == "start" {
			cursor = ""
		}
		page, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{Limit: 7, Cursor: cursor})
		require.NoError(t, err)
		require.NotEmpty(t, page.Entries)
		got, ids, cursor = append(got, page.Entries...), append(ids, page.ID), page.Cursor
		// The world moves on under the one who scrolls.
		delete(w.redis.turns, "room")
		w.redis.nowMS++
		for id := range w.redis.scores {
			w.redis.scores[id] = 1 + rand.IntN(9)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages, put together (-want +got):\n%s", diff)
	}
	for _, id := range ids {
		require.Equal(t, ids[0], id)
	}
}

func TestACursorPagesThroughItsOwnTypeOnly(t *testing.T) {
	t.Parallel()
	w := hotWorld()
	for _, of := range []string{"room", "all"} {
		page, err := w.ranking.Page(ctx, server, domain.HotQuery{Type: of, Limit: 1})
		require.NoError(t, err)
		require.NotEmpty(t, page.Cursor)
		for _, typ := range []string{"", "room", "group", "all"} {
			next, err := w.ranking.Page(ctx, server, domain.HotQuery{Type: typ, Cursor: page.Cursor})
			if typ == of || typ == "" && of == "room" {
				require.NoError(t, err)
				require.Equal(t, page.ID, next.ID)
				continue
			}
			require.Error(t, err, "a cursor of %s for %q", of, typ)
			requireCode(t, err, domain.CodeBadRequest, "cursor")
		}
	}
}

func TestRankingIsSharedWhileItIsFresh(t *testing.T) {
	t.Parallel()
	w, _ := manyRooms(3)
	for range 3 {
		_, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{})
		require.NoError(t, err)
	}
	require.Equal(t, 1, w.redis.calls["Heat"])
	delete(w.redis.turns, "room")
	_, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{})
	require.NoError(t, err)
	require.Equal(t, 2, w.redis.calls["Heat"])
}

// When Redis has lost everything, the groups of a page are loaded with their members, and no others of the ranking.
func TestRankingLoadsTheGroupsThatItShows(t *testing.T) {
	t.Parallel()
	w, want := manyRooms(450)
	clear(w.redis.groups)
	page, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{Limit: 10})
	require.NoError(t, err)
	require.Equal(t, want[:10], page.Entries)
	require.Equal(t, 10, w.mysql.calls["Snapshot"])
	require.Equal(t, 3, w.mysql.calls["LiveTypes"], "of up to 200 at a time")
}

func TestRankingClampsItsLimit(t *testing.T) {
	t.Parallel()
	w, _ := manyRooms(250)
	for limit, want := range map[int]int{0: 50, 1: 1, 200: 200, 201: 200} {
		page, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{Limit: limit})
		require.NoError(t, err)
		require.Len(t, page.Entries, want, "limit %d", limit)
	}
}

func TestDismissedGroupsLeaveEveryPageAtOnce(t *testing.T) {
	t.Parallel()
	w, want := manyRooms(6)
	first, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{Limit: 3})
	require.NoError(t, err)
	for _, rank := range []int{2, 4} {
		require.NoError(t, w.groups.Dismiss(ctx, server, want[rank-1].Group))
	}
	for name, c := range map[string]struct {
		cursor string
		want   []domain.HotEntry
	}{
		"the first page": {"", []domain.HotEntry{want[0], want[2]}},
		"the next page":  {first.Cursor, []domain.HotEntry{want[4], want[5]}},
	} {
		page, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{Limit: 3, Cursor: c.cursor})
		require.NoError(t, err)
		require.Equal(t, c.want, page.Entries, "%s: the others keep their ranks", name)
		require.Equal(t, first.ID, page.ID, name)
	}
}

func TestRankingShowsViewers(t *testing.T) {
	t.Parallel()
	w, want := manyRooms(3)
	w.redis.online = map[string]int{want[1].Group: 7}
	page, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{})
	require.NoError(t, err)
	for i, e := range page.Entries {
		require.Equal(t, w.redis.online[want[i].Group], e.Online, e.Group)
	}
	view, err := w.groups.Get(ctx, user("ann"), want[1].Group)
	require.NoError(t, err)
	require.Equal(t, 7, view.Online)
}

func TestAnEmptyRankingHasNoCursor(t *testing.T) {
	t.Parallel()
	page, err := newWorld().ranking.Page(ctx, user("ann"), domain.HotQuery{})
	require.NoError(t, err)
	require.NotNil(t, page.Entries)
	require.Empty(t, page.Entries)
	require.Empty(t, page.Cursor)
}

func TestRankingIsUnavailableWhenAStoreIsDown(t *testing.T) {
	t.Parallel()
	w := hotWorld()
	w.mysql.down = errDown
	_, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{})
	requireCode(t, err, domain.CodeUnavailable, "")
	for name, fails := range map[string]failing{"current": {"SnapshotTurn"}, "heat": {"Heat"}, "whole": {"WholeHeat"}, "viewers": {"Online"}, "save": {"SaveSnapshot"}, "page": {"SnapshotPage"}, "speakers": {"Speakers"}, "their time": {"NowMS"}} {
		w := hotWorld()
		ranking := domain.NewRanking(failingHeat{w.redis, fails}, w.heads, domain.RankingConfig{})
		_, err := ranking.Page(ctx, server, domain.HotQuery{Explain: true})
		require.ErrorIs(t, err, errDown, name)
		requireCode(t, err, domain.CodeUnavailable, "")
	}
}

// failingHeat is a HeatCache of which one method fails.
type failingHeat struct {
	domain.HeatCache
	failing
}

type failing struct{ method string }

func (f failing) err(method string) error {
	if f.method == method {
		return errDown
	}
	return nil
}

func (f failingHeat) Heat(ctx context.Context) ([]domain.GroupHeat, int64, error) {
	groups, now, _ := f.HeatCache.Heat(ctx)
	return groups, now, f.err("Heat")
}

func (f failingHeat) WholeHeat(ctx context.Context) (string, error) {
	of, _ := f.HeatCache.WholeHeat(ctx)
	return of, f.err("WholeHeat")
}

func (f failingHeat) SnapshotTurn(ctx context.Context, typ, token string, hold time.Duration) (domain.SnapshotTurn, error) {
	turn, _ := f.HeatCache.SnapshotTurn(ctx, typ, token, hold)
	return turn, f.err("SnapshotTurn")
}

func (f failingHeat) SaveSnapshot(ctx context.Context, typ, token string, s domain.HotSnapshot, fresh, kept time.Duration) (string, error) {
	id, _ := f.HeatCache.SaveSnapshot(ctx, typ, token, s, fresh, kept)
	return id, f.err("SaveSnapshot")
}

func (f failingHeat) SnapshotPage(ctx context.Context, typ, id string, from, limit int, paging time.Duration) (domain.HotSnapshot, int, bool, error) {
	s, total, ok, _ := f.HeatCache.SnapshotPage(ctx, typ, id, from, limit, paging)
	return s, total, ok, f.err("SnapshotPage")
}

func (f failingHeat) Online(ctx context.Context, groups []string) (map[string]int, error) {
	online, _ := f.HeatCache.Online(ctx, groups)
	return online, f.err("Online")
}

func TestTheFirstRanksOfAPageAreAPageOfTheirOwn(t *testing.T) {
	t.Parallel()
	w, want := manyRooms(9)
	require.NoError(t, w.groups.Dismiss(ctx, server, want[1].Group))
	page, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{Limit: 50})
	require.NoError(t, err)
	for n := 1; n <= 10; n++ {
		asked, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{Limit: n})
		require.NoError(t, err)
		if diff := cmp.Diff(asked, page.First(n)); diff != "" {
			t.Errorf("limit %d (-asked +first):\n%s", n, diff)
		}
	}
}

func (f failingHeat) NowMS(ctx context.Context) (int64, error) {
	now, _ := f.HeatCache.NowMS(ctx)
	return now, f.err("NowMS")
}

func (f failingHeat) Speakers(ctx context.Context, groups []string) ([]domain.Speaker, error) {
	speakers, _ := f.HeatCache.Speakers(ctx, groups)
	return speakers, f.err("Speakers")
}

func TestAnAppServerIsToldWhoSpeaks(t *testing.T) {
	t.Parallel()
	w := hotWorld()
	page, err := w.ranking.Page(ctx, server, domain.HotQuery{Limit: 2, Explain: true})
	require.NoError(t, err)
	require.Equal(t, map[string][]domain.Speaker{
		"boiling": {{Group: "boiling", User: "u0", TimeMS: timeOf(9)}, {Group: "boiling", User: "u1", TimeMS: timeOf(8)}, {Group: "boiling", User: "u2", TimeMS: timeOf(7)}},
		"warm":    {{Group: "warm", User: "u0", TimeMS: timeOf(9)}, {Group: "warm", User: "u1", TimeMS: timeOf(8)}},
	}, page.Speakers, "of this page and no other")
	require.Equal(t, 1, w.redis.calls["Speakers"])
	require.Equal(t, timeOf(1000), page.ExplainedMS)
	page, err = w.ranking.Page(ctx, server, domain.HotQuery{})
	require.NoError(t, err)
	require.Nil(t, page.Speakers)
	require.Zero(t, page.ExplainedMS)
	require.Equal(t, 1, w.redis.calls["Speakers"], "nobody asked")
}

// heatIs says what the heat belongs to from now on.
func (w *world) heatIs(of string) {
	w.redis.mu.Lock()
	defer w.redis.mu.Unlock()
	w.redis.whole = of
}

func TestRankingWaitsForHeatThatIsBroughtBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, want := manyRooms(3)
		w.heatIs("")
		time.AfterFunc(700*time.Millisecond, func() { w.heatIs("2") })
		page, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{})
		require.NoError(t, err)
		require.Equal(t, want, page.Entries)
		require.Equal(t, 1, w.redis.calls["Heat"])
	})
}

// However many ask, on however many instances, each waits for a second: none after the other.
func TestRankingIsUnavailableWhileHeatIsNotWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, want := manyRooms(3)
		cfg := domain.RankingConfig{SnapshotTTL: 2 * time.Second}
		fleet := []*domain.Ranking{domain.NewRanking(w.redis, w.heads, cfg), domain.NewRanking(w.redis, w.heads, cfg)}
		ask := func(each func(*domain.HotPage, error)) {
			var asking sync.WaitGroup
			for i := range 40 {
				asking.Go(func() {
					begun := time.Now()
					page, err := fleet[i%2].Page(ctx, user("ann"), domain.HotQuery{})
					require.LessOrEqual(t, time.Since(begun), 1100*time.Millisecond)
					each(page, err)
				})
				time.Sleep(time.Millisecond)
			}
			asking.Wait()
		}
		w.heatIs("")
		ask(func(_ *domain.HotPage, err error) {
			requireCode(t, err, domain.CodeUnavailable, "")
			var refused *domain.Error
			require.ErrorAs(t, err, &refused)
			require.Equal(t, time.Second, refused.RetryAfter)
		})
		require.Zero(t, w.redis.calls["Heat"])
		require.LessOrEqual(t, w.redis.calls["WholeHeat"], 2*(20+2), "one on each instance looks for all")

		w.heatIs("2")
		first, err := fleet[0].Page(ctx, user("ann"), domain.HotQuery{})
		require.NoError(t, err)
		require.Equal(t, want, first.Entries)
		time.Sleep(2 * time.Second)
		w.heatIs("")
		ask(func(page *domain.HotPage, err error) {
			require.NoError(t, err)
			require.Equal(t, first.ID, page.ID, "the last one")
		})
	})
}

// losingHeat is a HeatCache that loses its heat while that is read; then says what it belongs to afterwards, "": there is
// only a part.
type losingHeat struct {
	domain.HeatCache
	w    *world
	then string
}

func (l losingHeat) Heat(ctx context.Context) (groups []domain.GroupHeat, nowMS int64, err error) {
	groups, nowMS, err = l.HeatCache.Heat(ctx)
	l.w.redis.mu.Lock()
	defer l.w.redis.mu.Unlock()
	if l.w.redis.whole == "1" {
		groups, l.w.redis.whole = nil, l.then
	}
	return groups, nowMS, err
}

func TestARankingOfHeatThatWasLostMeanwhileIsTakenAgain(t *testing.T) {
	t.Parallel()
	w, want := manyRooms(3)
	ranking := domain.NewRanking(losingHeat{w.redis, w, "2"}, w.heads, domain.RankingConfig{SnapshotTTL: 2 * time.Second})
	page, err := ranking.Page(ctx, user("ann"), domain.HotQuery{})
	require.NoError(t, err)
	require.Equal(t, want, page.Entries)
	require.Equal(t, 2, w.redis.calls["Heat"])
}

func TestHeatThatWasLostMeanwhileAndIsNotBackIsNoRanking(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := manyRooms(3)
		ranking := domain.NewRanking(losingHeat{w.redis, w, ""}, w.heads, domain.RankingConfig{SnapshotTTL: 2 * time.Second})
		_, err := ranking.Page(ctx, user("ann"), domain.HotQuery{})
		requireCode(t, err, domain.CodeUnavailable, "")
		require.Equal(t, 1, w.redis.calls["Heat"])
	})
}

// slowHeat is a HeatCache whose heat comes when it is told to.
type slowHeat struct {
	domain.HeatCache
	goOn chan struct{}
}

func (s slowHeat) Heat(ctx context.Context) ([]domain.GroupHeat, int64, error) {
	select {
	case <-s.goOn:
		return s.HeatCache.Heat(ctx)
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

func TestOneOfManyWhoAskTakesTheSnapshot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, want := manyRooms(3)
		slow := slowHeat{w.redis, make(chan struct{})}
		ranking := domain.NewRanking(slow, w.heads, domain.RankingConfig{SnapshotTTL: time.Second})
		var asking sync.WaitGroup
		for range 50 {
			asking.Go(func() {
				page, err := ranking.Page(ctx, user("ann"), domain.HotQuery{})
				require.NoError(t, err)
				require.Equal(t, want, page.Entries)
			})
		}
		impatient, cancel := context.WithCancel(ctx)
		asking.Go(func() {
			_, err := ranking.Page(impatient, user("bob"), domain.HotQuery{})
			requireCode(t, err, domain.CodeUnavailable, "")
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(slow.goOn)
		asking.Wait()
		require.Equal(t, 1, w.redis.calls["Heat"])
	})
}

func TestSnapshotsOfTheSameMomentAreToldApart(t *testing.T) {
	t.Parallel()
	w, _ := manyRooms(3)
	ids := make(map[string]bool)
	for heat := range 20 {
		w.redis.scores["room-001"] = 10 + heat
		delete(w.redis.turns, "room")
		page, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{})
		require.NoError(t, err)
		ids[page.ID] = true
	}
	require.Len(t, ids, 20)
}

// dyingHeat is the cache of an instance that dies while it takes its first snapshot: from then on it says nothing more.
type dyingHeat struct {
	domain.HeatCache
	dies context.CancelFunc // of the context that the instance lives in
	life context.Context
}

func (d dyingHeat) Heat(ctx context.Context) ([]domain.GroupHeat, int64, error) {
	d.dies()
	return d.HeatCache.Heat(ctx)
}

func (d dyingHeat) SnapshotTurn(ctx context.Context, typ, token string, hold time.Duration) (domain.SnapshotTurn, error) {
	if err := d.life.Err(); err != nil {
		return domain.SnapshotTurn{}, err
	}
	return d.HeatCache.SnapshotTurn(ctx, typ, token, hold)
}

func (d dyingHeat) SaveSnapshot(context.Context, string, string, domain.HotSnapshot, time.Duration, time.Duration) (string, error) {
	return "", d.life.Err()
}

func (d dyingHeat) NoSnapshot(context.Context, string, string) error { return d.life.Err() }

// Whoever dies with the turn to take a snapshot holds the others up for a second, and only if there is none from before.
func TestADeadInstanceHoldsTheOthersUpForASecondAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, want := manyRooms(3)
		cfg := domain.RankingConfig{SnapshotTTL: 2 * time.Second}
		living := domain.NewRanking(w.redis, w.heads, cfg)
		ask := func() (page *domain.HotPage, waited time.Duration) {
			begun := time.Now()
			page, err := living.Page(ctx, user("ann"), domain.HotQuery{})
			require.NoError(t, err)
			require.Equal(t, want, page.Entries)
			return page, time.Since(begun)
		}
		dies := func() {
			life, cancel := context.WithCancel(ctx)
			dying := domain.NewRanking(dyingHeat{w.redis, cancel, life}, w.heads, cfg)
			_, err := dying.Page(ctx, user("bob"), domain.HotQuery{})
			requireCode(t, err, domain.CodeUnavailable, "")
		}
		dies()
		first, waited := ask()
		require.Greater(t, waited, 900*time.Millisecond)
		require.Less(t, waited, 1100*time.Millisecond)

		time.Sleep(3 * time.Second)
		dies()
		last, waited := ask()
		require.Equal(t, first.ID, last.ID, "the last one")
		require.Less(t, waited, 300*time.Millisecond)
		time.Sleep(time.Second)
		_, waited = ask()
		require.Zero(t, waited)
		require.Equal(t, 4, w.redis.calls["Heat"], "two of them in vain")
	})
}

// Taking a snapshot may need longer than a turn lasts by itself. Meanwhile everybody is served the last one, but not for ever.
func TestATurnIsHeldForAsLongAsASnapshotTakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := manyRooms(3)
		cfg := domain.RankingConfig{SnapshotTTL: 2 * time.Second}
		var took []time.Duration
		slow := slowHeat{w.redis, make(chan struct{})}
		busy := cfg
		busy.Took = func(d time.Duration) { took = append(took, d) }
		one, two := domain.NewRanking(slow, w.heads, busy), domain.NewRanking(w.redis, w.heads, cfg)
		first, err := two.Page(ctx, user("ann"), domain.HotQuery{})
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		begun := time.Now()
		var asking sync.WaitGroup
		for _, r := range []*domain.Ranking{one, one, two, two} {
			if r == two {
				time.Sleep(time.Millisecond) // the first comes first
			}
			asking.Go(func() {
				page, err := r.Page(ctx, user("ann"), domain.HotQuery{})
				require.NoError(t, err)
				if waited := time.Since(begun); waited < 3*time.Second {
					require.Equal(t, first.ID, page.ID)
					require.Less(t, waited, 300*time.Millisecond)
				} else {
					require.NotEqual(t, first.ID, page.ID)
				}
			})
		}
		time.Sleep(7 * time.Second) // until the last one is no longer kept
		asking.Go(func() {
			page, err := two.Page(ctx, user("ann"), domain.HotQuery{})
			require.NoError(t, err)
			require.NotEqual(t, first.ID, page.ID, "that is too old")
		})
		time.Sleep(3 * time.Second)
		w.redis.scores["room-000"]++ // or the same ranking of the same moment has the same id
		close(slow.goOn)
		asking.Wait()
		require.Equal(t, 2, w.redis.calls["Heat"])
		require.Equal(t, []time.Duration{10*time.Second + 2*time.Millisecond}, took)
	})
}

// A snapshot that Redis loses between two questions is taken anew; a cursor's is gone.
func TestALostSnapshotIsTakenAnew(t *testing.T) {
	t.Parallel()
	w, want := manyRooms(3)
	page, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{Limit: 1})
	require.NoError(t, err)
	clear(w.redis.snapshots)
	_, err = w.ranking.Page(ctx, user("ann"), domain.HotQuery{Cursor: page.Cursor})
	requireCode(t, err, domain.CodeGone, "")
	_, err = w.ranking.Page(ctx, user("ann"), domain.HotQuery{})
	requireCode(t, err, domain.CodeUnavailable, "") // it is fresh, says Redis
	clear(w.redis.turns)
	page, err = w.ranking.Page(ctx, user("ann"), domain.HotQuery{})
	require.NoError(t, err)
	require.Equal(t, want, page.Entries)
}

// Heat that was read in MySQL before a group was dismissed may come back to Redis behind it. No page shows the group, and no
// snapshot counts it from then on.
func TestADismissedGroupThatHasHeatIsNotRanked(t *testing.T) {
	t.Parallel()
	w, want := manyRooms(3)
	_, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{})
	require.NoError(t, err)
	require.NoError(t, w.groups.Dismiss(ctx, server, want[0].Group))
	clear(w.redis.turns)
	page, err := w.ranking.Page(ctx, user("ann"), domain.HotQuery{})
	require.NoError(t, err)
	require.Equal(t, want[1:], page.Entries, "with their ranks behind it")
	clear(w.redis.turns)
	page, err = w.ranking.Page(ctx, user("ann"), domain.HotQuery{})
	require.NoError(t, err)
	require.Equal(t, naiveRanking(want[1:]), page.Entries)
}

func TestWeightsMakeTheHeat(t *testing.T) {
	t.Parallel()
	w := hotWorld()
	w.redis.traffic = map[string]int{"warm": 40, "boiling": 3, "tepid": 1, "office": 9}
	w.redis.online = map[string]int{"warm": 1, "tepid": 8, "cold": 1000}
	for name, c := range map[string]struct {
		weights domain.HeatWeights
		want    []string
	}{
		"none: speakers":    {domain.HeatWeights{}, []string{"1 office group 9", "2 boiling room 3", "3 warm room 2", "4 tepid room 1"}},
		"all":               {domain.HeatWeights{Speakers: 10, Messages: 1, Online: 3}, []string{"1 office group 99", "2 warm room 63", "3 tepid room 35", "4 boiling room 33"}},
		"messages":          {domain.HeatWeights{Messages: 2}, []string{"1 warm room 80", "2 office group 18", "3 boiling room 6", "4 tepid room 2"}},
		"viewers of groups": {domain.HeatWeights{Online: 1}, []string{"1 tepid room 8", "2 warm room 1"}},
	} {
		clear(w.redis.turns)
		ranking := domain.NewRanking(w.redis, w.heads, domain.RankingConfig{SnapshotTTL: time.Minute, Weights: c.weights})
		page, err := ranking.Page(ctx, server, domain.HotQuery{Type: domain.AllTypes, Explain: true})
		require.NoError(t, err, name)
		require.Equal(t, c.want, lines(page), name)
		require.Len(t, page.Speakers, len(c.want), name)
		if c.weights == (domain.HeatWeights{}) {
			require.Nil(t, page.Weights)
		} else {
			require.Equal(t, c.weights, *page.Weights, name)
		}
		for _, e := range page.Entries {
			told := c.weights.Speakers*len(page.Speakers[e.Group]) + c.weights.Messages*page.Messages[e.Group] + c.weights.Online*e.Online
			if page.Weights != nil {
				require.Equal(t, e.Heat, told, "%s: %s is explained", name, e.Group)
			}
		}
		page, err = ranking.Page(ctx, server, domain.HotQuery{})
		require.NoError(t, err)
		require.Nil(t, page.Weights, "nobody asked")
		require.Nil(t, page.Messages)
	}
}

func TestAWeighedRankingIsUnavailableWhenRedisIsDown(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string]failing{"viewers": {"Online"}, "messages": {"Traffic"}} {
		w := hotWorld()
		ranking := domain.NewRanking(failingHeat{w.redis, fails}, w.heads, domain.RankingConfig{Weights: domain.HeatWeights{Messages: 1, Online: 1}})
		_, err := ranking.Page(ctx, server, domain.HotQuery{Explain: true})
		require.ErrorIs(t, err, errDown, name)
		requireCode(t, err, domain.CodeUnavailable, "")
	}
}

func (f failingHeat) Traffic(ctx context.Context, groups []string) (map[string]int, error) {
	messages, _ := f.HeatCache.Traffic(ctx, groups)
	return messages, f.err("Traffic")
}
