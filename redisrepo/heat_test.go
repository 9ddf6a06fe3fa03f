package redisrepo

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

// spoken is what was said, for counting by brute force.
type spoken struct {
	group, user string
	ms          int64
}

func heatOf(said []spoken, after int64) map[string]int {
	speakers := make(map[domain.GroupUser]bool)
	for _, m := range said {
		if m.ms > after {
			speakers[domain.GroupUser{Group: m.group, User: m.user}] = true
		}
	}
	heat := make(map[string]int)
	for s := range speakers {
		heat[s.Group]++
	}
	return heat
}

func TestHeatIsTheNumberOfSpeakersInTheWindow(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	window := e.cfg.HeatWindow.Milliseconds()
	now := int64(1_700_000_000_000)
	r := e.recovery(group("a", domain.Room), group("b", domain.Room), group("c", domain.Private, "u1", "u2"), group("dm:u1:u2", domain.Direct, "u1", "u2"))
	s := e.sender(t, r, AppendConfig{})
	var said []spoken
	rapid.Check(t, func(rt *rapid.T) {
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			now += rapid.OneOf(rapid.Int64Range(0, 10), rapid.Int64Range(0, window), rapid.Just(window)).Draw(rt, "pause")
			e.mini.SetTime(time.UnixMilli(now))
			d := domain.Draft{
				Group:    rapid.SampledFrom([]string{"a", "b", "c", "dm:u1:u2"}).Draw(rt, "group"),
				From:     rapid.SampledFrom([]string{"u1", "u2", "u3", "u4", domain.SystemUser}).Draw(rt, "user"),
				ClientID: rapid.SampledFrom([]string{"", "", "again"}).Draw(rt, "client_id"),
			}
			if d.From == domain.SystemUser || rapid.Bool().Draw(rt, "app server") {
				d.Operator = "key"
			}
			got := await(t, s.post(d))
			if got.err == nil && !got.Duplicate && d.Group != "dm:u1:u2" && d.From != domain.SystemUser {
				said = append(said, spoken{d.Group, d.From, now})
			}
			if rapid.IntRange(0, 3).Draw(rt, "look") == 0 { // costs a script a partition
				scores, nowMS, err := e.store.Heat(t.Context())
				require.NoError(rt, err)
				require.Equal(rt, now, nowMS)
				require.Equal(rt, heatOf(said, now-window), scores)
			}
		}
	})
	e.mini.SetTime(time.UnixMilli(now + window))
	scores, _, err := e.store.Heat(t.Context())
	require.NoError(t, err)
	require.Empty(t, scores)
	for p := range testPartitions {
		require.False(t, e.mini.Exists(speakersKey(p)))
		require.False(t, e.mini.Exists(heatKey(p)))
	}
}

func TestHeatByTheServersClock(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.cfg.HeatWindow = 300 * time.Millisecond
		store := e.open(t, e.addr)
		groups := groupsIn(testPartitions-1, 3) // the partition whose clock Heat reports
		r := e.recovery()
		for _, g := range groups {
			r.groups[g] = group(g, domain.Room)
		}
		s := newSender(t, store, r, AppendConfig{})
		var said []spoken
		end := time.Now().Add(900 * time.Millisecond)
		for i := 0; time.Now().Before(end); i++ {
			got := s.must(t, domain.Draft{Group: groups[i%3], From: fmt.Sprint("u", i*i%17)})
			said = append(said, spoken{groups[i%3], fmt.Sprint("u", i*i%17), got.TimeMS})
			pass := time.Now().Add(time.Duration(i%7) * time.Millisecond)
			until(t, "a moment", func() bool { return time.Now().After(pass) })
			scores, nowMS, err := store.Heat(t.Context())
			require.NoError(t, err)
			require.Equal(t, heatOf(said, nowMS-300), scores)
		}
		until(t, "heat to end", func() bool {
			scores, nowMS, err := store.Heat(t.Context())
			require.NoError(t, err)
			require.Equal(t, heatOf(said, nowMS-300), scores)
			return len(scores) == 0
		})
	})
}

// The append itself takes out what expired, at most 100 a call, so that heat sinks without the job.
func TestAppendExpiresSpeakers(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	now := time.UnixMilli(1_700_000_000_000)
	e.mini.SetTime(now)
	s := e.sender(t, e.recovery(group("a", domain.Room)), AppendConfig{})
	var answers []<-chan result
	for i := range 150 {
		answers = append(answers, s.post(domain.Draft{Group: "a", From: fmt.Sprint("u", i)}))
	}
	seqs(t, answers)
	heat := func() int {
		score, err := e.mini.ZScore(heatKey(e.cfg.Partitions.Of("a")), "a")
		require.NoError(t, err)
		return int(score)
	}
	require.Equal(t, 150, heat())
	e.mini.SetTime(now.Add(e.cfg.HeatWindow))
	s.must(t, domain.Draft{Group: "a", From: "new"})
	require.Equal(t, 51, heat())
	s.must(t, domain.Draft{Group: "a", From: "new"})
	require.Equal(t, 1, heat())
}

func TestHeatExpiresMoreThanABatch(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		pipe := e.store.rdb.Pipeline()
		const speakers = 2*expireBatch + 5
		p := e.cfg.Partitions.Of("a")
		for i := range speakers {
			pipe.Do(t.Context(), "ZADD", speakersKey(p), i, fmt.Sprint("a|u", i))
		}
		pipe.ZIncrBy(t.Context(), heatKey(p), speakers, "a")
		_, err := pipe.Exec(t.Context())
		require.NoError(t, err)
		scores, _, err := e.store.Heat(t.Context())
		require.NoError(t, err)
		require.Empty(t, scores)
	})
}

func snapshot(id string, n int) domain.HotSnapshot {
	s := domain.HotSnapshot{ID: id, TimeMS: 1_700_000_000_000}
	for i := range n {
		s.Entries = append(s.Entries, domain.HotEntry{
			Rank: i + 1, Group: fmt.Sprint("g", i), Name: "näme \n \"" + fmt.Sprint(i), Type: domain.Room, Heat: n - i, LastMS: 1_700_000_000_000,
		})
	}
	return s
}

func TestSnapshotIsReadInPages(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		current := func(typ string) string {
			id, err := e.store.CurrentSnapshot(t.Context(), typ)
			require.NoError(t, err)
			return id
		}
		require.Empty(t, current("room"))
		want := snapshot("s1", 25)
		require.NoError(t, e.store.SaveSnapshot(t.Context(), "room", want, time.Minute, time.Minute))
		require.Equal(t, "s1", current("room"))
		require.Empty(t, current("all"))
		for _, page := range []struct{ from, limit, got int }{{0, 10, 10}, {10, 10, 10}, {20, 10, 5}, {25, 10, 0}, {0, 200, 25}} {
			got, total, ok, err := e.store.SnapshotPage(t.Context(), "room", "s1", page.from, page.limit)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, 25, total)
			require.Equal(t, want.TimeMS, got.TimeMS)
			require.Len(t, got.Entries, page.got)
			for i, entry := range got.Entries {
				require.Equal(t, want.Entries[page.from+i], entry)
			}
		}
		require.NoError(t, e.store.SaveSnapshot(t.Context(), "room", snapshot("s2", 0), time.Minute, time.Minute))
		require.Equal(t, "s2", current("room"))
		empty, total, ok, err := e.store.SnapshotPage(t.Context(), "room", "s2", 0, 10)
		require.NoError(t, err)
		require.True(t, ok, "an empty ranking is a ranking")
		require.Zero(t, total)
		require.Empty(t, empty.Entries)
		_, total, ok, err = e.store.SnapshotPage(t.Context(), "room", "s1", 0, 10)
		require.NoError(t, err)
		require.True(t, ok && total == 25, "the former one can still be paged through")
		_, _, ok, err = e.store.SnapshotPage(t.Context(), "all", "s1", 0, 10)
		require.NoError(t, err)
		require.False(t, ok)
	})
}

func TestSnapshotIsCurrentForAWhileAndKeptForPagingLonger(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		require.NoError(t, e.store.SaveSnapshot(t.Context(), "room", snapshot("s1", 3), 100*time.Millisecond, 600*time.Millisecond))
		kept := func() bool {
			_, _, ok, err := e.store.SnapshotPage(t.Context(), "room", "s1", 0, 10)
			require.NoError(t, err)
			return ok
		}
		until(t, "a new one is due", func() bool {
			id, err := e.store.CurrentSnapshot(t.Context(), "room")
			require.NoError(t, err)
			return id == ""
		})
		require.True(t, kept())
		until(t, "the end of paging", func() bool { return !kept() })
	})
}

// noStore is the MySQL side where everything is in Redis.
type noStore struct{ domain.HeadStore }

func TestRankingHasNeitherDirectConversationsNorSystem(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		r := e.recovery(group("a", domain.Room), group("b", domain.Room), group("c", domain.Private, "u1"), group("dm:u1:u2", domain.Direct, "u1", "u2"))
		s := e.sender(t, r, AppendConfig{})
		for _, d := range []domain.Draft{
			{Group: "b", From: "u1"},
			{Group: "b", From: "u2"},
			{Group: "b", From: "u2"},
			{Group: "c", From: "u1"},
			{Group: "dm:u1:u2", From: "u1"},
			{Group: "a", From: "u1"},
			{Group: "a", From: domain.SystemUser, Operator: "key"},
		} {
			s.must(t, d)
		}
		ranking := domain.NewRanking(e.store, domain.NewHeads(e.store, noStore{}), time.Second)
		page, err := ranking.Page(context.Background(), domain.Actor{Key: "key"}, domain.HotQuery{Type: domain.AllTypes})
		require.NoError(t, err)
		var lines []string
		for _, entry := range page.Entries {
			lines = append(lines, fmt.Sprint(entry.Rank, " ", entry.Group, " ", entry.Heat, " ", entry.Type))
		}
		require.Equal(t, []string{"1 b 2 room", "2 a 1 room", "3 c 1 group"}, lines)
	})
}
