package redisrepo

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

func TestClockShowsTheTimeOfRedis(t *testing.T) {
	t.Parallel()
	e := newMini(t)
	c := NewClock(e.store, zerolog.Nop())
	require.InDelta(t, time.Now().UnixMilli(), c.NowMS(), 1000, "local time before it has measured")
	ahead := time.Now().Add(time.Hour)
	e.mini.SetTime(ahead)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	until(t, "measured", func() bool { return c.NowMS() > ahead.Add(-time.Minute).UnixMilli() })
	require.InDelta(t, ahead.UnixMilli(), c.NowMS(), float64(patience.Milliseconds()))
	e.mini.SetError("LOADING")
	require.Error(t, c.measure(ctx))
	require.Greater(t, c.NowMS(), ahead.Add(-time.Minute).UnixMilli(), "it keeps what it measured last")
	cancel()
	require.NoError(t, <-done)
}
