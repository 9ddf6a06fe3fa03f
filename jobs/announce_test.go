package jobs_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/jobs"
)

// fakeAnnouncer keeps the counts as Redis would, and everything it was told.
type fakeAnnouncer struct {
	mu     sync.Mutex
	counts map[string]int
	told   []map[string]int
	down   bool
}

func (f *fakeAnnouncer) Announce(_ context.Context, _ string, counts map[string]int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, maps.Clone(counts))
	if f.down {
		return errors.New("away")
	}
	for group, n := range counts {
		if n == 0 {
			delete(f.counts, group)
		} else {
			f.counts[group] = n
		}
	}
	return nil
}

func TestAnnounceTellsChangesAndEverythingNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		redis := &fakeAnnouncer{counts: map[string]int{}}
		var mu sync.Mutex
		online := map[string]int{"a": 1, "b": 2}
		set := func(now map[string]int) { mu.Lock(); online = now; mu.Unlock() }
		job := jobs.NewAnnounce(redis, func() map[string]int { mu.Lock(); defer mu.Unlock(); return maps.Clone(online) }, "i1", zerolog.Nop())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- job.Run(ctx) }()
		rounds := func(n int) { time.Sleep(time.Duration(n) * 2 * time.Second); synctest.Wait() }

		synctest.Wait()
		require.Equal(t, map[string]int{"a": 1, "b": 2}, redis.counts)
		set(map[string]int{"a": 3})
		rounds(1)
		require.Equal(t, map[string]int{"a": 3, "b": 0}, redis.told[1], "only what changed is told")
		rounds(1)
		require.Empty(t, redis.told[2], "nothing changed: only that the instance lives")

		clear(redis.counts) // Redis forgets
		rounds(5)
		require.Equal(t, map[string]int{"a": 3}, redis.counts, "everything is told again")

		redis.down = true
		set(map[string]int{"c": 1})
		rounds(1)
		redis.down = false
		rounds(1)
		require.Equal(t, map[string]int{"c": 1}, redis.counts, "what was not heard is told again")

		cancel()
		require.NoError(t, <-done)
		require.Empty(t, redis.counts, "a leaving instance takes its counts back")
	})
}
