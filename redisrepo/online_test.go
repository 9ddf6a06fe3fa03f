package redisrepo

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (e *env) online(t *testing.T, groups ...string) map[string]int {
	t.Helper()
	online, err := e.store.Online(t.Context(), groups)
	require.NoError(t, err)
	return online
}

func TestOnlineAddsUpWhatInstancesAnnounced(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		require.Empty(t, e.online(t))
		require.Empty(t, e.online(t, "a", "b"))
		require.NoError(t, e.store.Announce(ctx, "i1", map[string]int{"a": 3, "b": 1}))
		require.NoError(t, e.store.Announce(ctx, "i2", map[string]int{"a": 4, "c": 9}))
		require.Equal(t, map[string]int{"a": 7, "b": 1}, e.online(t, "a", "b", "none"))
		require.NoError(t, e.store.Announce(ctx, "i1", map[string]int{"a": 2, "b": 0}))
		require.Equal(t, map[string]int{"a": 6}, e.online(t, "a", "b"))
		require.NoError(t, e.store.Announce(ctx, "i1", nil), "it only tells that it lives")
		require.Equal(t, map[string]int{"a": 6}, e.online(t, "a"))

		require.NoError(t, e.store.rdb.HSet(ctx, onlineKey(e.cfg.Partitions.Of("a"), "a"), "i2", "many").Err())
		_, err := e.store.Online(ctx, []string{"a"})
		require.Error(t, err)
	})
}

func TestViewersOfADeadInstanceDoNotCount(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	now := time.UnixMilli(1_700_000_000_000)
	e.mini.SetTime(now)
	require.NoError(t, e.store.Announce(t.Context(), "i1", map[string]int{"a": 3}))
	e.mini.SetTime(now.Add(instanceTTL / 2))
	require.NoError(t, e.store.Announce(t.Context(), "i2", map[string]int{"a": 4}))
	e.mini.SetTime(now.Add(instanceTTL + time.Millisecond))
	require.Equal(t, map[string]int{"a": 4}, e.online(t, "a"))
	e.mini.SetTime(now.Add(instanceTTL/2 + onlineTTL + time.Millisecond))
	require.Empty(t, e.online(t, "a"))
	require.False(t, e.mini.Exists(onlineKey(e.cfg.Partitions.Of("a"), "a")), "nothing is left")
}
