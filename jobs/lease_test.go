package jobs_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

var everything = []int{0, 1, 2, 3}

func TestLeasesAreTakenAndKeptWhileRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		first, second := newInstance(w, "first", is(atGen(1))), newInstance(w, "second", is(atGen(1)))
		require.Empty(t, first.leases.Held(), "before Run")
		first.leased(t)
		second.leased(t)
		for range 20 {
			require.Equal(t, everything, first.leases.Held())
			require.Empty(t, second.leases.Held())
			time.Sleep(time.Second)
			synctest.Wait()
		}
	})
}

func TestLeasesThatEndWithoutAWordGoToAnotherWithinFiveSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		first, second := newInstance(w, "first", is(atGen(1))), newInstance(w, "second", is(atGen(1)))
		first.leased(t)
		second.leased(t)
		first.through(down)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Empty(t, first.leases.Held(), "it cannot know that it still has them")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		require.Equal(t, everything, second.leases.Held())

		first.through(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Empty(t, first.leases.Held(), "the old holder is back")
		require.Equal(t, everything, second.leases.Held())
	})
}

// A holder that was frozen believes in its leases until it looks again.
func TestAFrozenHolderLearnsThatItsLeasesAreLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		first, second := newInstance(w, "first", is(atGen(1))), newInstance(w, "second", is(atGen(1)))
		first.leased(t)
		second.leased(t)
		first.through(func(context.Context, string, []domain.LogRange) outcome {
			time.Sleep(6500 * time.Millisecond)
			return answered
		})
		time.Sleep(6 * time.Second)
		synctest.Wait()
		require.Equal(t, everything, first.leases.Held())
		require.Equal(t, everything, second.leases.Held(), "two holders: no job's correctness rests on a lease")
		first.through(nil)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Empty(t, first.leases.Held())
		require.Equal(t, everything, second.leases.Held())
	})
}

func TestEachLeaseIsLostOnItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		i := newInstance(w, "a", is(atGen(1)))
		i.leased(t)
		w.mu.Lock()
		w.leases[2] = lease{"another", time.Now().Add(90 * time.Minute)}
		w.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []int{0, 1, 3}, i.leases.Held())
	})
}

func TestReleaseGivesLeasesToWhoeverComesNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		first, second := newInstance(w, "first", is(atGen(1))), newInstance(w, "second", is(atGen(1)))
		stop := first.leased(t)
		second.leased(t)
		stop()
		require.Equal(t, everything, first.leases.Held(), "the jobs behind it may still be at their last batch")
		first.leases.Release(t.Context())
		require.Empty(t, first.leases.Held())
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, everything, second.leases.Held())
		first.leases.Release(t.Context())
		for p, l := range w.leases {
			require.Equal(t, "second", l.holder, "partition %d: a second release takes nothing from whoever came next", p)
		}
	})
}

func TestLeasesThatCannotBeGivenBackEndByThemselves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		first, second := newInstance(w, "first", is(atGen(1))), newInstance(w, "second", is(atGen(1)))
		stop := first.leased(t)
		second.leased(t)
		stop()
		first.through(down)
		first.leases.Release(t.Context())
		require.Empty(t, first.leases.Held())
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, everything, second.leases.Held())
	})
}

// The end of Run may meet a renewal on its way: that is no reason to forget what there is to give back.
func TestARenewalCutByTheEndLosesNoLease(t *testing.T) {
	t.Parallel()
	for name, out := range map[string]outcome{"request lost": requestLost, "reply lost": replyLost} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				i := newInstance(w, "a", is(atGen(1)))
				stop := i.leased(t)
				i.through(func(ctx context.Context, _ string, of []domain.LogRange) outcome {
					if of[0].Partition < 2 {
						return answered
					}
					<-ctx.Done()
					return out
				})
				time.Sleep(time.Second)
				synctest.Wait()
				stop()
				require.Equal(t, everything, i.leases.Held())
				i.through(nil)
				i.leases.Release(t.Context())
				require.Empty(t, w.leases)
			})
		})
	}
}
