package redisrepo

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func (e *env) inspected(t *testing.T, group string) *domain.CachedGroup {
	t.Helper()
	c, err := e.store.InspectGroup(t.Context(), group)
	require.NoError(t, err)
	return c
}

func TestInspectionOfWhatRedisHasOfAGroup(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		p := e.cfg.Partitions.Of("g")
		require.Equal(t, &domain.CachedGroup{Partition: p, Gen: 1, CachedHead: domain.CachedHead{Head: domain.Head{Group: "g"}}},
			e.inspected(t, "g"), "nothing is known, and nothing is filled in")

		e.store.cfg.CountMessages = true
		e.talk(t, e.recovery(group("g", domain.Room)), "g", "ann", "bob", "ann")
		e.announce(t, "i1", map[string]int{"g": 4})
		entries := e.logged(t, "g")
		e.commit(t, "g", entries[:2])
		require.NoError(t, e.store.SetHoles(t.Context(), "g", domain.Holes{{From: 2, To: 2, Reason: domain.HoleLost}}))
		c := e.inspected(t, "g")
		require.True(t, c.GroupLoaded && c.Seeded)
		require.Equal(t, "name of g", c.Name)
		require.Equal(t, []int64{3, 2}, []int64{c.MaxSeq, c.PersistedSeq})
		require.Equal(t, []int64{1, 3, 3}, []int64{c.RecentFrom, c.RecentTo, c.RecentCount})
		require.Equal(t, []int{2, 3, 4}, []int{c.Heat.Speakers, c.Heat.Messages, c.Online})
		require.Equal(t, domain.Holes{{From: 2, To: 2, Reason: domain.HoleLost}}, c.Holes)
		e.raise(t, 2)
		c = e.inspected(t, "g")
		require.False(t, c.Seeded, "numbers of another generation are not believed")
		require.Equal(t, int64(2), c.Gen)
	})
}

func TestUnpersistedAreTheTimesAboveTheWatermark(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		_, times, known, err := e.store.Unpersisted(ctx, "g", 0, 10)
		require.NoError(t, err)
		require.False(t, known)
		require.Empty(t, times)

		const n = 3*unpersistedRead + 7
		entries := e.written(t, n, "g") // times are seqs
		e.commit(t, "g", entries[:100])
		watermark, times, known, err := e.store.Unpersisted(ctx, "g", 0, math.MaxInt)
		require.NoError(t, err)
		require.True(t, known)
		require.Equal(t, int64(100), watermark)
		require.Len(t, times, n-100)
		seen := make(map[int64]bool)
		for _, ms := range times {
			require.True(t, ms > 100 && ms <= n && !seen[ms], ms)
			seen[ms] = true
		}
		_, times, _, err = e.store.Unpersisted(ctx, "g", n-9, math.MaxInt)
		require.NoError(t, err)
		require.ElementsMatch(t, []int64{n - 9, n - 8, n - 7, n - 6, n - 5, n - 4, n - 3, n - 2, n - 1, n}, times)
		_, times, _, err = e.store.Unpersisted(ctx, "g", 0, 10)
		require.NoError(t, err)
		require.LessOrEqual(t, len(times), unpersistedRead, "it is bounded")
		e.commit(t, "g", entries[100:])
		watermark, times, _, err = e.store.Unpersisted(ctx, "g", 0, 10)
		require.NoError(t, err)
		require.Equal(t, int64(n), watermark)
		require.Empty(t, times)
	})
}
