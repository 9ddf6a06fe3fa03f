package redisrepo

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func (e *env) post(t *testing.T, life, name string, connections int64) {
	t.Helper()
	status := domain.InstanceStatus{Name: name, Version: "v1", StartedMS: 5, Ready: true, Connections: &connections}
	require.NoError(t, e.store.PostStatus(t.Context(), life, status))
}

// fleet is the living instances as "name connections".
func (e *env) fleet(t *testing.T) (lines []string) {
	t.Helper()
	fleet, err := e.store.Fleet(t.Context())
	require.NoError(t, err)
	for _, s := range fleet {
		lines = append(lines, fmt.Sprint(s.Name, " ", *s.Connections))
	}
	return lines
}

func TestFleetIsWhatLivingInstancesSaidLast(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		require.Empty(t, e.fleet(t))
		e.post(t, "b#1", "b", 3)
		require.Empty(t, e.fleet(t), "it has not announced itself, or is dead")
		e.announce(t, "b#1", nil)
		e.announce(t, "a#1", nil)
		e.post(t, "a#1", "a", 1)
		e.post(t, "a#1", "a", 2)
		require.Equal(t, []string{"a 2", "b 3"}, e.fleet(t))

		before, err := e.store.NowMS(t.Context())
		require.NoError(t, err)
		e.announce(t, "a#2", nil) // started again, and Redis thinks that the former one lives
		until(t, "the later one counts", func() bool {
			e.post(t, "a#2", "a", 7)
			return slices.Equal([]string{"a 7", "b 3"}, e.fleet(t))
		})
		require.NoError(t, e.store.Depart(t.Context(), "b#1"))
		require.Equal(t, []string{"a 7"}, e.fleet(t))

		fleet, err := e.store.Fleet(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, fleet[0].SeenMS, before, "by Redis' clock, whatever it says itself")
		require.Equal(t, "v1", fleet[0].Version)
		require.Nil(t, fleet[0].Users, "not known is not 0")
	})
}

func TestStatusesAreKeptForTheChart(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		told, err := e.store.FleetSince(ctx, 0)
		require.NoError(t, err)
		require.Empty(t, told)
		for n := range int64(2 * statusKept) {
			e.post(t, "a#1", "a", n)
		}
		e.post(t, "b#1", "b", 9) // dead: it has not announced itself
		told, err = e.store.FleetSince(ctx, 0)
		require.NoError(t, err)
		require.Len(t, told, 2)
		require.GreaterOrEqual(t, len(told[0]), int(statusKept))
		require.Less(t, len(told[0]), int(2*statusKept), "it is bounded")
		require.Equal(t, 2*statusKept-1, *told[0][len(told[0])-1].Connections)
		require.Equal(t, int64(9), *told[1][0].Connections)

		now, err := e.store.NowMS(ctx)
		require.NoError(t, err)
		told, err = e.store.FleetSince(ctx, now+60_000)
		require.NoError(t, err)
		require.Equal(t, []int{0, 0}, []int{len(told[0]), len(told[1])})

		ttl := e.store.rdb.PTTL(ctx, statusKey("a#1")).Val()
		require.Greater(t, ttl, domain.StatusKept)
	})
}

func TestTheListOfStatusesDoesNotGrowWithEachStart(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		e.post(t, "a#1", "a", 1)
		e.post(t, "b#1", "b", 1)
		require.NoError(t, e.store.rdb.Del(ctx, statusKey("b#1")).Err(), "as its TTL does")
		e.post(t, "a#1", "a", 2)
		e.post(t, "b#2", "b", 3) // started again, and nobody has asked for a chart meanwhile
		require.ElementsMatch(t, []string{"a#1", "b#2"}, e.store.rdb.SMembers(ctx, statusesKey()).Val())
	})
}

func TestABrokenStatusIsAnError(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		e.post(t, "a#1", "a", 1)
		e.announce(t, "a#1", nil)
		require.NoError(t, e.store.rdb.Do(t.Context(), "XADD", statusKey("a#1"), "*", statusField, "{").Err())
		_, err := e.store.Fleet(t.Context())
		require.ErrorContains(t, err, "a#1")
	})
}
