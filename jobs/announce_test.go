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
	mu        sync.Mutex // guards all below
	counts    map[string]int
	told      []map[string]int
	down      bool
	replyLost bool
}

// set changes the fake between two announcements.
func (f *fakeAnnouncer) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeAnnouncer) online() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}

// heard is the n-th announcement.
func (f *fakeAnnouncer) heard(n int) map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told[n]
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
	if f.replyLost {
		return errCut
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
		require.Equal(t, map[string]int{"a": 1, "b": 2}, redis.online())
		set(map[string]int{"a": 3})
		rounds(1)
		require.Equal(t, map[string]int{"a": 3, "b": 0}, redis.heard(1), "only what changed is told")
		rounds(1)
		require.Empty(t, redis.heard(2), "nothing changed: only that the instance lives")

		redis.set(func() { clear(redis.counts) }) // Redis forgets
		rounds(5)
		require.Equal(t, map[string]int{"a": 3}, redis.online(), "everything is told again")

		redis.set(func() { redis.down = true })
		set(map[string]int{"c": 1})
		rounds(1)
		redis.set(func() { redis.down = false })
		rounds(1)
		require.Equal(t, map[string]int{"c": 1}, redis.online(), "what was not heard is told again")

		redis.set(func() { redis.replyLost = true })
		set(map[string]int{"d": 1})
		rounds(1)
		redis.set(func() { redis.replyLost = false })
		set(nil)
		rounds(1)
		require.Empty(t, redis.online(), "what may have been heard is taken back")

		set(map[string]int{"e": 1})
		rounds(1)
		cancel()
		require.NoError(t, <-done)
		require.Empty(t, redis.online(), "a leaving instance takes its counts back")
	})
}
