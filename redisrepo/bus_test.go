package redisrepo

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEventsReachTheirChannels(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		require.NoError(t, e.store.ToGroups(ctx, nil, "", []byte("{}")))
		of := e.cfg.Partitions.Of
		a, b := e.hear(t, groupChannel(of("a"), "a")), e.hear(t, groupChannel(of("dm:x:y"), "dm:x:y"))
		u := e.hear(t, userChannel(of("u"), "u"))

		require.NoError(t, e.store.ToGroups(ctx, []string{"a", "dm:x:y"}, "c1", []byte(`{"event":"presence"}`)))
		require.Equal(t, "e c1\n{\"event\":\"presence\"}", a())
		require.Equal(t, "e c1\n{\"event\":\"presence\"}", b())
		require.NoError(t, e.store.ToGroups(ctx, []string{"a"}, "", []byte(`{}`)))
		require.Equal(t, "e -\n{}", a())
		require.NoError(t, e.store.ToUser(ctx, "u", "c2", []byte(`{}`)))
		require.Equal(t, "e c2\n{}", u())
		require.NoError(t, e.store.ToUser(ctx, "u", "", []byte(`{}`)))
		require.Equal(t, "e -\n{}", u())
	})
}

func TestAUsersChannelIsNotAGroups(t *testing.T) {
	t.Parallel()
	user, ok := channelUser(userChannel(3, "u"))
	require.True(t, ok)
	require.Equal(t, "u", user)
	_, ok = channelGroup(userChannel(3, "u"))
	require.False(t, ok)
	for _, channel := range []string{groupChannel(3, "u"), persistedChannel(3), canaryChannel("i")} {
		_, ok := channelUser(channel)
		require.False(t, ok, channel)
	}
	require.NotEqual(t, canaryChannel("i"), canaryChannel("j"))
}
