package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/jobs"
)

// fakeDismissed is a Redis with dismissed groups, and how often each has still to be asked for.
type fakeDismissed struct {
	mu    sync.Mutex // guards all below
	waits map[int]map[string]int
	down  error
	stuck string // MySQL never answers about this one
	asked int
	lists map[string]int // groups taken out of users' lists, by group
}

// Members are 700 of b, and none of others.
func (f *fakeDismissed) Members(ctx context.Context, group, after string, limit int) (list []domain.Membership, err error) {
	if group == f.stuck {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := 0; group == "b" && n < 700 && len(list) < limit; n++ {
		if user := fmt.Sprintf("u%03d", n); user > after {
			list = append(list, domain.Membership{User: user})
		}
	}
	return list, f.down
}

func (f *fakeDismissed) ForgetMine(_ context.Context, group string, users []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists[group] += len(users)
	return f.down
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
		f := &fakeDismissed{waits: map[int]map[string]int{0: {"a": 0, "b": 3}, 1: {"c": 0}}, lists: map[string]int{}}
		w := newWorld()
		first, second := newInstance(w, "first", is(atGen(1))), newInstance(w, "second", is(atGen(1)))
		first.leased(t)
		second.leased(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() { done <- jobs.NewDismissed(f, f, second.leases, zerolog.Nop()).Run(ctx) }()
		time.Sleep(time.Minute)
		require.Equal(t, 3, f.left(), "another instance has the leases")
		go func() { done <- jobs.NewDismissed(f, f, first.leases, zerolog.Nop()).Run(ctx) }()
		synctest.Wait()
		require.Equal(t, 1, f.left(), "b waits")
		time.Sleep(3*time.Second + time.Millisecond)
		synctest.Wait()
		require.Zero(t, f.left())
		require.Equal(t, map[string]int{"b": 4 * 700}, f.lists, "all of them, each time")

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

func TestADismissedGroupThatHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDismissed{waits: map[int]map[string]int{0: {"a": 0, "c": 0}}, lists: map[string]int{}, stuck: "a"}
		one := newInstance(newWorld(), "one", is(atGen(1)))
		one.leased(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- jobs.NewDismissed(f, f, one.leases, zerolog.Nop()).Run(ctx) }()
		time.Sleep(time.Minute)
		require.Equal(t, 1, f.left(), "c is gone")
		cancel()
		require.NoError(t, <-done)
	})
}
