package redisrepo

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConsoleSessionsAreRevokedForTheirRemainingLife(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		is := func(id string) bool {
			out, err := e.store.IsConsoleSessionRevoked(t.Context(), id)
			require.NoError(t, err)
			return out
		}
		require.False(t, is("s1"))
		require.NoError(t, e.store.RevokeConsoleSession(t.Context(), "s1", time.Hour))
		require.True(t, is("s1"))
		require.False(t, is("s2"))
		left, err := e.store.rdb.TTL(t.Context(), revokedKey("s1")).Result()
		require.NoError(t, err)
		require.Greater(t, left, time.Hour-time.Minute)
		require.LessOrEqual(t, left, time.Hour+time.Minute)
	})
}
