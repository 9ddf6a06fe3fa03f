package jobs_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/jobs"
)

// keptChange is a change with the time at which it was made.
type keptChange struct {
	*domain.GroupChange
	at time.Time
}

// kept keeps changes as MySQL does, and brings them to a Redis that may be away.
type kept struct {
	mu      sync.Mutex // guards all below
	list    []keptChange
	down    map[string]bool // groups whose changes fail
	applied []int64         // versions
	made    int64
}

func (k *kept) Unapplied(
	_ context.Context, partitions []int, age time.Duration, after int64, limit int,
) (due []*domain.GroupChange, next int64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.list {
		mine := slices.Contains(partitions, domain.Partitions(4).Of(c.ID))
		if mine && time.Since(c.at) >= age && c.Kept > after && len(due) < limit {
			due = append(due, c.GroupChange)
		}
	}
	if len(due) == limit {
		next = due[limit-1].Kept
	}
	return due, next, nil
}

func (k *kept) Repeat(_ context.Context, c *domain.GroupChange) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down[c.ID] {
		return errCut
	}
	k.applied = append(k.applied, c.Version)
	k.list = slices.DeleteFunc(k.list, func(other keptChange) bool { return other.GroupChange == c })
	return nil
}

func (k *kept) make(group string, version int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.made++
	k.list = append(k.list, keptChange{&domain.GroupChange{Group: domain.Group{ID: group, Version: version}, Kept: k.made}, time.Now()})
}

func (k *kept) got() []int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.applied)
}

func (k *kept) setDown(group string, down bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = map[string]bool{group: down}
}

func TestAChangeLeftBehindIsRepeatedWithinSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, k := newWorld(), &kept{}
		first := newInstance(w, "first", is(atGen(1)))
		first.leased(t)
		runJob(t, jobs.NewChanges(k, k, first.leases, zerolog.Nop(), prometheus.NewRegistry()).Run)
		k.make("a", 2)
		time.Sleep(1900 * time.Millisecond)
		synctest.Wait()
		require.Empty(t, k.got(), "whoever made it may be at it")
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, []int64{2}, k.got())
	})
}

func TestChangesOfAGroupKeepTheirOrderAndHoldUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, k := newWorld(), &kept{}
		first := newInstance(w, "first", is(atGen(1)))
		first.leased(t)
		k.setDown("a", true)
		k.make("a", 2)
		k.make("a", 3)
		k.make("b", 10)
		runJob(t, jobs.NewChanges(k, k, first.leases, zerolog.Nop(), prometheus.NewRegistry()).Run)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, []int64{10}, k.got())
		k.setDown("a", false)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		require.Equal(t, []int64{10, 2, 3}, k.got())
	})
}

func TestManyChangesThatFailHoldUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, k := newWorld(), &kept{}
		first := newInstance(w, "first", is(atGen(1)))
		first.leased(t)
		k.setDown("a", true)
		for version := range int64(250) {
			k.make("a", version)
		}
		k.make("b", 10)
		runJob(t, jobs.NewChanges(k, k, first.leases, zerolog.Nop(), prometheus.NewRegistry()).Run)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, []int64{10}, k.got())
	})
}

func TestOnlyTheHolderOfThePartitionRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, k := newWorld(), &kept{}
		first, second := newInstance(w, "first", is(atGen(1))), newInstance(w, "second", is(atGen(1)))
		first.leased(t)
		second.leased(t)
		runJob(t, jobs.NewChanges(k, k, second.leases, zerolog.Nop(), prometheus.NewRegistry()).Run)
		k.make("a", 2)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Empty(t, k.got())
	})
}

// runJob runs a job until the test ends.
func runJob(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}
