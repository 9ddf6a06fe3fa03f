package jobs_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/jobs"
)

// whenStarted is a moment at which a job of the test has begun to wait.
func whenStarted(t *testing.T, i *instance) (stop func()) {
	t.Helper()
	i.leased(t)
	stop = start(t, i.persist.Run)
	synctest.Wait()
	return stop
}

func after(d time.Duration) {
	time.Sleep(d) // of the fake clock
	synctest.Wait()
}

func TestABatchGathersForTheInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.send(logOf(0, 1), groupIn(0, 0), 1)
		whenStarted(t, newInstance(w, "a", is(atGen(1))))
		require.Equal(t, 1, w.stored(), "before it there is nothing to wait for")
		for batch := range 3 {
			for range 10 {
				w.send(logOf(0, 1), groupIn(0, 0), 1)
				after(interval/10 - time.Nanosecond)
			}
			require.Equal(t, 1+10*batch, w.stored())
			after(10 * time.Nanosecond)
			w.requireAllStored(t)
			require.Equal(t, 10, w.arrived("insert")[1+batch].n, "rows of an insert")
		}
	})
}

// pauses are those between the looks at the logs.
func pauses(w *world) (list []time.Duration) {
	reads := w.arrived("read logs")
	for n := 1; n < len(reads); n++ {
		list = append(list, reads[n].at.Sub(reads[n-1].at))
	}
	return list
}

func TestEmptyLogsAreLookedAtLessAndLessOften(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		interval time.Duration
		messages int // of the batch in between
		want     []time.Duration
	}{
		"a batch ends it":                   {20 * ms, 1, []time.Duration{40 * ms, 80 * ms, 100 * ms, 100 * ms, 20 * ms, 40 * ms, 80 * ms, 100 * ms}},
		"a full batch ends it":              {20 * ms, batchRows / partitions, []time.Duration{40 * ms, 80 * ms, 100 * ms, 100 * ms, 0, 40 * ms, 80 * ms, 100 * ms}},
		"never more often than the setting": {250 * ms, 1, []time.Duration{250 * ms, 250 * ms, 250 * ms, 250 * ms, 250 * ms, 250 * ms, 250 * ms, 250 * ms}},
		"the setting is the longest":        {100 * ms, 1, []time.Duration{100 * ms, 100 * ms, 100 * ms, 100 * ms, 100 * ms, 100 * ms, 100 * ms, 100 * ms}},
		"up to the longest in a step":       {60 * ms, 1, []time.Duration{100 * ms, 100 * ms, 100 * ms, 100 * ms, 60 * ms, 100 * ms, 100 * ms, 100 * ms}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				g := atGen(1)
				i := newInstance(w, "a", is(g))
				i.leased(t)
				start(t, jobs.NewPersist(i.writer, i.leases, g, c.interval, zerolog.Nop()).Run)
				synctest.Wait()
				var gathered time.Duration
				for _, pause := range c.want[:4] {
					gathered += pause
				}
				after(gathered - ms)
				w.send(logOf(0, 1), groupIn(0, 0), c.messages)
				after(time.Second + 250*ms)
				require.Equal(t, c.want, pauses(w)[:len(c.want)])
				w.requireAllStored(t)
			})
		})
	}
}

func TestAFullBatchIsFollowedWithoutAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		whenStarted(t, newInstance(w, "a", is(atGen(1))))
		w.send(logOf(0, 1), groupIn(0, 0), 10*batchRows)
		after(2 * interval)
		w.requireAllStored(t)
		inserts := w.arrived("insert")
		require.Equal(t, inserts[0].at, inserts[len(inserts)-1].at)
	})
}

func TestOnlyLogsOfLeasedPartitionsInAKnownGenerationAreRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.leases[1] = lease{"another", time.Now().Add(time.Hour)}
		g := atGen(0)
		g.set(0, 4)
		g.set(1, 5)
		g.set(3, 6)
		whenStarted(t, newInstance(w, "a", is(g)))
		require.Equal(t, []domain.LogRange{logOf(0, 4), logOf(3, 6)}, w.arrived("read logs")[0].of)
		g.set(2, 1)
		after(2 * interval)
		reads := w.arrived("read logs")
		require.Equal(t, []domain.LogRange{logOf(0, 4), logOf(2, 1), logOf(3, 6)}, reads[len(reads)-1].of)
	})
}

func TestRetriesBackOffToFiveSecondsAndNotInStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.send(logOf(0, 1), groupIn(0, 0), 1)
		var attempts [2][]time.Time
		for n, name := range []string{"first", "second"} {
			i := newInstance(w, name, is(atGen(1)))
			i.through(func(ctx context.Context, request string, _ []domain.LogRange) outcome {
				if request == "lease" { // both hold: the world would give it to one
					return answered
				}
				if request == "insert" {
					attempts[n] = append(attempts[n], time.Now())
				}
				return withoutMySQL(ctx, request, nil)
			})
			w.mu.Lock()
			clear(w.leases)
			w.mu.Unlock()
			i.leased(t)
			stop := start(t, i.persist.Run)
			after(time.Minute)
			stop()
			i.leases.Release(t.Context())
		}
		var pauses [2][]time.Duration
		for n, at := range attempts {
			require.Greater(t, len(at), 15, "attempts in a minute")
			at = at[:len(at)-1] // the last is the one of the shutdown
			base := 25 * time.Millisecond
			for k := 1; k < len(at); k++ {
				pause := at[k].Sub(at[k-1])
				base = min(2*base, 5*time.Second)
				require.LessOrEqual(t, pause, base, "pause %d", k)
				require.Greater(t, pause, base*3/4, "pause %d", k)
				pauses[n] = append(pauses[n], pause)
				base = pause
			}
		}
		require.NotEqual(t, pauses[0], pauses[1], "in step")
	})
}

func TestASuccessEndsTheBackOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.send(logOf(0, 1), groupIn(0, 0), 1)
		i := newInstance(w, "a", is(atGen(1)))
		i.through(withoutMySQL)
		whenStarted(t, i)
		after(time.Minute)
		i.through(nil)
		after(5 * time.Second)
		w.requireAllStored(t)
		w.send(logOf(0, 1), groupIn(0, 0), 1)
		after(maxIdle)
		w.requireAllStored(t)
		var failed atomic.Int32
		i.through(func(ctx context.Context, name string, of []domain.LogRange) outcome {
			if name == "insert" {
				failed.Add(1)
			}
			return withoutMySQL(ctx, name, of)
		})
		w.send(logOf(0, 1), groupIn(0, 0), 1)
		for begun := time.Now(); failed.Load() == 0; after(time.Millisecond) {
			require.LessOrEqual(t, time.Since(begun), maxIdle)
		}
		i.through(nil)
		after(50 * time.Millisecond)
		w.requireAllStored(t)
	})
}

func TestTheBacklogIsMeasuredAlsoWhileMySQLIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		i := newInstance(w, "a", is(atGen(1)))
		i.through(withoutMySQL)
		whenStarted(t, i)
		backlog := func() float64 { return i.metric(t, "hearth_persist_backlog_messages", "") }
		for minute := 1; minute <= 5; minute++ {
			w.send(logOf(0, 1), groupIn(0, 0), 300)
			w.send(logOf(3, 1), groupIn(3, 0), 200)
			after(5 * time.Second) // the longest pause
			require.Equal(t, float64(500*minute), backlog())
			after(55 * time.Second)
		}
		i.through(down)
		after(10 * time.Second)
		require.Equal(t, 2500.0, backlog(), "without Redis the last that was known")
		i.through(nil)
		after(7 * time.Second)
		require.Zero(t, backlog())
		w.requireAllStored(t)
	})
}

func TestBacklogAndLagAreMeasuredWhileABatchHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		i := newInstance(w, "a", is(atGen(1)))
		i.through(func(_ context.Context, name string, _ []domain.LogRange) outcome {
			if name == "insert" {
				time.Sleep(8 * time.Second)
			}
			return answered
		})
		whenStarted(t, i)
		w.send(logOf(0, 1), groupIn(0, 0), 3)
		after(5 * time.Second)
		require.Equal(t, 3.0, i.metric(t, "hearth_persist_backlog_messages", ""))
		require.InDelta(t, 4.5, i.metric(t, "hearth_persist_lag_seconds", ""), 0.6, "it is measured once a second")
		after(5 * time.Second)
		require.Zero(t, i.metric(t, "hearth_persist_backlog_messages", ""))
		require.Zero(t, i.metric(t, "hearth_persist_lag_seconds", ""), "of a batch that is long done")
	})
}

func TestShutdownWritesWhatIsThere(t *testing.T) {
	t.Parallel()
	for name, messages := range map[string]int{"nothing": 0, "a few": 3, "many batches": 25*batchRows + 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				stop := whenStarted(t, newInstance(w, "a", is(atGen(1))))
				w.send(logOf(0, 1), groupIn(0, 0), messages)
				begun := time.Now()
				stop()
				require.Zero(t, time.Since(begun))
				w.requireAllStored(t)
			})
		})
	}
}

func TestShutdownFinishesTheBatchThatHasBegun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.send(logOf(0, 1), groupIn(0, 0), 3)
		i := newInstance(w, "a", is(atGen(1)))
		i.through(func(_ context.Context, name string, _ []domain.LogRange) outcome {
			if name == "insert" {
				time.Sleep(time.Second)
			}
			return answered
		})
		stop := whenStarted(t, i)
		stop()
		w.requireAllStored(t)
		require.Len(t, w.arrived("insert"), 1, "half a batch would have been done twice")
	})
}

func TestShutdownDoesNotWaitForWhatIsAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		gate    gate
		atMost  time.Duration
		written bool
	}{
		"MySQL refuses": {gate: withoutMySQL},
		"MySQL hangs": {atMost: 10 * time.Second, gate: func(ctx context.Context, name string, _ []domain.LogRange) outcome {
			if name == "insert" {
				<-ctx.Done()
				return requestLost
			}
			return answered
		}},
		"Redis refuses": {gate: down},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				i := newInstance(w, "a", is(atGen(1)))
				stop := whenStarted(t, i)
				w.send(logOf(0, 1), groupIn(0, 0), 3)
				i.through(c.gate)
				begun := time.Now()
				stop()
				require.LessOrEqual(t, time.Since(begun), c.atMost)
				require.Equal(t, 3, w.backlog(), "they wait in Redis")
				w.requireKept(t)
			})
		})
	}
}

// The log of a leaving instance's partition goes on filling: other instances send.
func TestShutdownEndsWhileOthersFillTheLogs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		i := newInstance(w, "a", is(atGen(1)))
		const share = batchRows / partitions // of a log in a batch
		i.through(func(ctx context.Context, name string, _ []domain.LogRange) outcome {
			if name == "insert" {
				select {
				case <-ctx.Done():
				case <-time.After(300 * time.Millisecond):
				}
				w.send(logOf(0, 1), groupIn(0, 0), share)
			}
			return answered
		})
		stop := whenStarted(t, i)
		w.send(logOf(0, 1), groupIn(0, 0), share)
		begun := time.Now()
		stop()
		require.LessOrEqual(t, time.Since(begun), 10*time.Second)
		require.NotZero(t, w.backlog())
		w.requireKept(t)
	})
}

func TestABatchThatHangsIsCutAndRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.send(logOf(0, 1), groupIn(0, 0), 3)
		i := newInstance(w, "a", is(atGen(1)))
		hangs := true
		i.through(func(ctx context.Context, name string, _ []domain.LogRange) outcome {
			if name == "insert" && hangs {
				hangs = false
				<-ctx.Done()
				return requestLost
			}
			return answered
		})
		whenStarted(t, i)
		after(10*time.Second - time.Nanosecond)
		require.Empty(t, w.arrived("insert"))
		after(51 * time.Millisecond)
		w.requireAllStored(t)
	})
}

func TestAFencedLogIsLeftForTheNextGeneration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.settled[0] = 2
		w.send(logOf(0, 1), groupIn(0, 0), 1) // is drained by whoever raises, or in a journal
		w.send(logOf(0, 2), groupIn(0, 0), 3)
		w.send(logOf(1, 1), groupIn(1, 0), 2)
		g := atGen(1)
		whenStarted(t, newInstance(w, "a", is(g)))
		require.Equal(t, 2, w.stored(), "another partition's, at once")
		after(time.Second)
		require.Equal(t, 2, w.stored())
		require.Equal(t, 4, w.backlog())
		require.Empty(t, g.renewals(), "that is for WatchGenerations")
		require.Empty(t, w.arrived("set aside"), "of an older generation only")
		g.set(0, 2)
		after(5 * time.Second)
		require.Equal(t, 5, w.stored())
		require.Equal(t, 1, w.backlog())
		w.requireKept(t)
	})
}

func TestAPartitionsTroubleHoldsUpNoOtherMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		i := newInstance(w, "a", is(atGen(1)))
		i.through(func(_ context.Context, name string, of []domain.LogRange) outcome {
			if name == "insert" && slices.Contains(of, logOf(1, 1)) {
				return requestLost
			}
			return answered
		})
		stop := whenStarted(t, i)
		for range 10 {
			for p := range partitions {
				w.send(logOf(p, 1), groupIn(p, 0), 3)
			}
			after(5 * time.Second) // the longest pause
			require.Equal(t, len(w.logs[logOf(1, 1)]), w.backlog(), "only that partition's wait")
		}
		for p := range partitions {
			w.send(logOf(p, 1), groupIn(p, 0), 3)
		}
		stop()
		require.Equal(t, 33, w.backlog(), "nor at shutdown")
		require.Equal(t, 99, w.stored())
		w.requireKept(t)
	})
}

// Leases may have two holders for a while: both write, nothing is doubled.
func TestTwoHoldersStoreEachMessageOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for _, name := range []string{"first", "second"} {
			i := newInstance(w, name, is(atGen(1)))
			i.leased(t)
			w.mu.Lock()
			clear(w.leases)
			w.mu.Unlock()
			i.through(func(_ context.Context, request string, _ []domain.LogRange) outcome {
				if request == "lease" {
					w.mu.Lock()
					clear(w.leases)
					w.mu.Unlock()
				} else {
					time.Sleep(3 * time.Millisecond)
				}
				return answered
			})
			start(t, i.persist.Run)
		}
		for range 200 {
			w.send(logOf(0, 1), groupIn(0, 0), 7)
			w.send(logOf(2, 1), groupIn(2, 0), 3)
			after(5 * time.Millisecond)
		}
		after(time.Second)
		w.requireAllStored(t)
		by := map[string]int{}
		for _, r := range w.arrived("insert") {
			by[r.by]++
		}
		require.Len(t, by, 2, "inserts by instance: %v", by)
	})
}
