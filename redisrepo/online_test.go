package redisrepo

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/domain/testserver"
)

func (e *env) online(t *testing.T, groups ...string) map[string]int {
	t.Helper()
	online, err := e.store.Online(t.Context(), groups)
	require.NoError(t, err)
	return online
}

// announce tells whether Redis knew the instance.
func (e *env) announce(t *testing.T, instance string, counts map[string]int) bool {
	t.Helper()
	known, err := e.store.Announce(t.Context(), instance, counts)
	require.NoError(t, err)
	return known
}

func TestOnlineAddsUpWhatInstancesAnnounced(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		require.Empty(t, e.online(t))
		require.Empty(t, e.online(t, "a", "b"))
		e.announce(t, "i1", map[string]int{"a": 3, "b": 1})
		e.announce(t, "i2", map[string]int{"a": 4, "c": 9})
		require.Equal(t, map[string]int{"a": 7, "b": 1}, e.online(t, "a", "b", "none"))
		e.announce(t, "i1", map[string]int{"a": 2, "b": 0})
		require.Equal(t, map[string]int{"a": 6}, e.online(t, "a", "b"))
		e.announce(t, "i1", nil) // it only tells that it lives
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
	e.announce(t, "i1", map[string]int{"a": 3})
	e.mini.SetTime(now.Add(instanceTTL / 2))
	e.announce(t, "i2", map[string]int{"a": 4})
	e.mini.SetTime(now.Add(instanceTTL + time.Millisecond))
	require.Equal(t, map[string]int{"a": 4}, e.online(t, "a"))
	e.mini.SetTime(now.Add(instanceTTL/2 + onlineTTL + time.Millisecond))
	require.Empty(t, e.online(t, "a"))
	require.False(t, e.mini.Exists(onlineKey(e.cfg.Partitions.Of("a"), "a")), "nothing is left")
}

func TestRedisTellsAnInstanceThatItWasForgotten(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		require.False(t, e.announce(t, "i1", nil), "the first time")
		require.True(t, e.announce(t, "i1", nil))
		ttl, err := e.store.rdb.PTTL(ctx, instanceKey("i1")).Result()
		require.NoError(t, err)
		require.InDelta(t, instanceTTL.Seconds(), ttl.Seconds(), 5)

		require.NoError(t, e.store.rdb.FlushAll(ctx).Err())
		require.False(t, e.announce(t, "i1", map[string]int{"a": 1}))
		require.True(t, e.announce(t, "i1", nil))
		require.NoError(t, e.store.rdb.Del(ctx, instanceKey("i1")).Err())
		require.False(t, e.announce(t, "i1", nil), "it was silent for too long")

		_, err = e.store.Sweep(ctx, "i1")
		require.NoError(t, err)
		require.False(t, e.announce(t, "i1", nil), "a sweep that began before it came back has ended")
		require.True(t, e.announce(t, "i1", nil))
	})
}

// Tried again in silence, it would find what it has written itself.
func TestAnAnnouncementWhoseReplyIsLostIsAnError(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	p := testserver.NewProxy(t, e.addr)
	store := e.open(t, p.Addr())
	_, err := store.Announce(t.Context(), "i1", nil)
	require.NoError(t, err)
	require.NoError(t, e.store.rdb.Del(t.Context(), instanceKey("i1")).Err())
	p.Keep(func([]byte) bool { return false })
	_, err = store.Announce(t.Context(), "i1", nil)
	require.Error(t, err)
}

func TestAFullRedisKillsNoInstance(t *testing.T) {
	t.Parallel()
	e := newReal(t)
	e.announce(t, "i1", nil)
	require.NoError(t, e.store.rdb.Expire(t.Context(), instanceKey("i1"), time.Second).Err())
	e.configSet(t, "maxmemory", "1")
	_, err := e.store.Announce(t.Context(), "i1", map[string]int{"a": 1})
	require.ErrorContains(t, err, "OOM")
	require.Greater(t, e.store.rdb.PTTL(t.Context(), instanceKey("i1")).Val(), instanceTTL/2)
	require.True(t, e.leave(t, "c", "u", "i1"), "and sessions end")
}

func TestADepartedInstanceIsNotAlive(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		e.announce(t, "i1", map[string]int{"a": 3})
		e.announce(t, "i2", nil)
		require.NoError(t, e.store.Depart(ctx, "i1"))
		require.Empty(t, e.online(t, "a"))
		require.Equal(t, []string{"i2"}, e.store.rdb.SMembers(ctx, instancesKey()).Val(), "nobody has to sweep it")

		e.enter(t, "c1", "u", "i2", "", domain.SessionMulti)
		require.NoError(t, e.store.Depart(ctx, "i2"))
		dead, err := e.store.DeadInstances(ctx)
		require.NoError(t, err)
		require.Equal(t, []string{"i2"}, dead, "it left a session behind")
	})
}
