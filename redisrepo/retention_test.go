package redisrepo

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// What waits for MySQL bounds what may go there; of a group that the generation does not know, nothing does.
func TestExpiryIsBoundByTheWatermark(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		names := groupsIn(3, 4)
		waiting, committed, seeded, unknown := names[0], names[1], names[2], names[3]
		all := e.sent(t, 12, waiting, committed)
		marks := make(map[string]int64)
		for _, entry := range all[:8] {
			marks[entry.Group] = entry.Seq
		}
		e.commit(t, waiting, all[:8])
		require.NoError(t, e.store.SetSeeds(t.Context(), 3, 1, map[string]domain.Seed{seeded: {Start: 50}}))
		other := groupsIn(4, 1)[0]
		e.raiseRedis(t, 4, 2)
		e.gens[4].Store(2)

		got, err := e.store.Expiring(t.Context(), append(names, other))
		require.NoError(t, err)
		require.ElementsMatch(t, []domain.Expiry{
			{Group: waiting, Gen: 1, UpTo: marks[waiting]},
			{Group: committed, Gen: 1, UpTo: marks[committed]},
			{Group: seeded, Gen: 1, UpTo: 50},
			{Group: unknown, Gen: 1, UpTo: notWaiting},
			{Group: other, Gen: 2, UpTo: notWaiting},
		}, got)
		e.commit(t, waiting, all[8:])
		got, err = e.store.Expiring(t.Context(), []string{waiting})
		require.NoError(t, err)
		require.Equal(t, []domain.Expiry{{Group: waiting, Gen: 1, UpTo: 6}}, got)
		none, err := e.store.Expiring(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, none)
	})
}

func TestExpiryOfAnotherGenerationIsRefused(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		names := groupsIn(3, 2)
		e.raiseRedis(t, 3, 2)
		for n := range names {
			_, err := e.store.Expiring(t.Context(), names[:n+1])
			require.ErrorContains(t, err, "generation 1 is no longer current")
		}
		now, err := e.store.NowMS(t.Context())
		require.NoError(t, err)
		noted, err := e.store.Expired(t.Context(), now)
		require.NoError(t, err)
		require.Empty(t, noted)
	})
}

// A group that was noted again since is not forgotten.
func TestGroupsWithDeletedMessagesAreNotedUntilForgotten(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		a, b := groupsIn(3, 1)[0], groupsIn(4, 1)[0]
		note := func(group string) (ms int64) {
			before, err := e.store.NowMS(ctx)
			require.NoError(t, err)
			until(t, "a later millisecond", func() bool {
				ms, err = e.store.NowMS(ctx)
				return err == nil && ms > before
			})
			_, err = e.store.Expiring(ctx, []string{group})
			require.NoError(t, err)
			return ms
		}
		noted := func(untilMS int64) []string {
			groups, err := e.store.Expired(ctx, untilMS)
			require.NoError(t, err)
			return groups
		}
		first := note(a)
		require.Empty(t, noted(first-1))
		second := note(b)
		third := note(a)
		require.Equal(t, []string{b}, noted(third-1))
		require.NoError(t, e.store.ForgetExpired(ctx, third-1))
		require.GreaterOrEqual(t, third, second)
		require.Equal(t, []string{a}, noted(third+time.Minute.Milliseconds()))
		require.NoError(t, e.store.ForgetExpired(ctx, third+time.Minute.Milliseconds()))
		require.Empty(t, noted(third+time.Minute.Milliseconds()))
	})
}
