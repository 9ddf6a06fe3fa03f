package jobs_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/jobs"
)

// fakeDismissed is a Redis with dismissed groups, and how often each has still to be asked for.
type fakeDismissed struct {
	mu    sync.Mutex // guards all below
	waits map[int]map[string]int
	down  error
	asked int
}

func (f *fakeDismissed) Dismissed(_ context.Context, partition int) (groups []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	for g := range f.waits[partition] {
		groups = append(groups, g)
	}
	slices.Sort(groups)
	return groups, f.down
}

func (f *fakeDismissed) ForgetGroup(_ context.Context, group string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return false, f.down
	}
	for _, groups := range f.waits {
		if n, ok := groups[group]; ok && n > 0 {
			groups[group]--
			return false, nil
		}
		delete(groups, group)
	}
	return true, nil
}

func (f *fakeDismissed) left() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, groups := range f.waits {
		n += len(groups)
	}
	return n
}

func TestDismissedGroupsAreForgottenOnceMySQLHasTheirMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDismissed{waits: map[int]map[string]int{0: {"a": 0, "b": 3}, 1: {"c": 0}}}
		w := newWorld()
		first, second := newInstance(w, "first", is(atGen(1))), newInstance(w, "second", is(atGen(1)))
		first.leased(t)
		second.leased(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() { done <- jobs.NewDismissed(f, second.leases, zerolog.Nop()).Run(ctx) }()
		time.Sleep(time.Minute)
		require.Equal(t, 3, f.left(), "another instance has the leases")
		go func() { done <- jobs.NewDismissed(f, first.leases, zerolog.Nop()).Run(ctx) }()
		synctest.Wait()
		require.Equal(t, 1, f.left(), "b waits")
		time.Sleep(3*time.Second + time.Millisecond)
		synctest.Wait()
		require.Zero(t, f.left())

		f.mu.Lock()
		f.down = errors.New("connection refused")
		f.waits[0]["c"] = 0
		f.asked = 0
		f.mu.Unlock()
		time.Sleep(time.Minute)
		f.mu.Lock()
		require.Less(t, f.asked, 30*len(everything), "less often while it fails")
		f.down = nil
		f.mu.Unlock()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Zero(t, f.left())
		cancel()
		require.NoError(t, errors.Join(<-done, <-done))
	})
}
