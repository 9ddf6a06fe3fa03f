package jobs_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func marking(t *testing.T, i *instance) (stop func()) {
	t.Helper()
	i.leased(t)
	stop = start(t, i.marks.Run)
	synctest.Wait()
	return stop
}

func user(n int) string { return fmt.Sprintf("u%04d", n) }

func markOf(partition, n int) domain.GroupUser {
	return domain.GroupUser{Group: groupIn(partition, 0), User: user(n)}
}

func TestMarksThatMovedAreWrittenOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		marking(t, newInstance(w, "a", is(atGen(1))))
		for seq := range int64(90) {
			w.read(logOf(0, 1), groupIn(0, 0), user(1), seq+1)
			w.read(logOf(2, 1), groupIn(2, 0), user(1), 2*seq+1)
			after(10 * time.Millisecond)
		}
		require.Empty(t, w.storedMarks())
		after(100 * time.Millisecond)
		require.Equal(t, map[domain.GroupUser]int64{markOf(0, 1): 90, markOf(2, 1): 179}, w.storedMarks())
		require.Len(t, w.arrived("save marks"), 2, "one a partition: what moved often is written once")
		require.Zero(t, w.dirtyMarks())
		after(10 * time.Second)
		require.Len(t, w.arrived("save marks"), 2, "nothing moved")
		w.requireKept(t)
	})
}

func TestALowerMarkDoesNotOverwriteAHigherOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.marks[markOf(0, 1)] = 9
		w.read(logOf(0, 1), groupIn(0, 0), user(1), 4) // Redis has forgotten
		marking(t, newInstance(w, "a", is(atGen(1))))
		require.Equal(t, int64(9), w.storedMarks()[markOf(0, 1)])
		require.Zero(t, w.dirtyMarks(), "MySQL has it")
		w.requireKept(t)
	})
}

func TestAMarkThatMovesMeanwhileStaysDirty(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{"save marks", "marks written"} {
		t.Run("before "+moment, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.read(logOf(0, 1), groupIn(0, 0), user(1), 4)
				w.read(logOf(0, 1), groupIn(0, 0), user(2), 4)
				i := newInstance(w, "a", is(atGen(1)))
				seq := int64(4)
				i.through(func(_ context.Context, name string, _ []domain.LogRange) outcome {
					if name == moment && seq < 20 {
						seq++
						w.read(logOf(0, 1), groupIn(0, 0), user(1), seq)
					}
					return answered
				})
				marking(t, i)
				require.Equal(t, 1, w.dirtyMarks())
				require.LessOrEqual(t, len(w.arrived("save marks")), 2, "a mark that never rests is written once a second")
				i.through(nil)
				after(time.Second)
				require.Equal(t, map[domain.GroupUser]int64{markOf(0, 1): seq, markOf(0, 2): 4}, w.storedMarks())
				require.Zero(t, w.dirtyMarks())
				w.requireKept(t)
			})
		})
	}
}

// DirtyMarks gives some at a time, always from the same end: those at the other must not wait for a quiet moment.
func TestMarksOfABusyRoomAreAllWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		const users = 4500
		move := func(seq int64) {
			for n := range users {
				w.read(logOf(0, 1), groupIn(0, 0), user(n), seq)
			}
		}
		move(1)
		marking(t, newInstance(w, "a", is(atGen(1))))
		for seq := range int64(3) {
			move(seq + 2)
			after(time.Second)
			marks := w.storedMarks()
			require.Equal(t, users, len(marks), "marks") // not Len: it would print them all
			require.Equal(t, seq+2, marks[markOf(0, users-1)])
		}
		w.requireKept(t)
	})
}

func TestAPartitionsTroubleHoldsUpNoOtherMarks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		i := newInstance(w, "a", is(atGen(1)))
		i.through(func(_ context.Context, name string, of []domain.LogRange) outcome {
			if name == "dirty marks" && of[0].Partition == 1 {
				return requestLost
			}
			return answered
		})
		for p := range partitions {
			w.read(logOf(p, 1), groupIn(p, 0), user(1), 3)
		}
		marking(t, i)
		require.Equal(t, map[domain.GroupUser]int64{markOf(0, 1): 3, markOf(2, 1): 3, markOf(3, 1): 3}, w.storedMarks())
		i.through(nil)
		after(2 * time.Second)
		require.Zero(t, w.dirtyMarks())
	})
}

func TestMarksBackOffWhileMySQLIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.read(logOf(0, 1), groupIn(0, 0), user(1), 3)
		i := newInstance(w, "a", is(atGen(1)))
		var attempts []time.Time
		i.through(func(ctx context.Context, name string, _ []domain.LogRange) outcome {
			if name == "save marks" {
				attempts = append(attempts, time.Now())
			}
			return withoutMySQL(ctx, name, nil)
		})
		marking(t, i)
		after(time.Minute)
		i.through(nil)
		base := time.Second
		for n := 1; n < len(attempts); n++ {
			pause := attempts[n].Sub(attempts[n-1])
			base = min(2*base, 5*time.Second)
			require.LessOrEqual(t, pause, base, "pause %d", n)
			require.Greater(t, pause, base*3/4, "pause %d", n)
			base = pause
		}
		require.Greater(t, len(attempts), 10, "attempts in a minute")
		after(5 * time.Second)
		require.Equal(t, int64(3), w.storedMarks()[markOf(0, 1)])
		w.read(logOf(0, 1), groupIn(0, 0), user(1), 4)
		after(time.Second)
		require.Equal(t, int64(4), w.storedMarks()[markOf(0, 1)], "the pause is a second again")
	})
}

func TestAFailureRepeatsTheMarks(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dirty marks", "save marks", "marks written"} {
		for how, out := range map[string]outcome{"request lost": requestLost, "reply lost": replyLost} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newWorld()
					w.read(logOf(0, 1), groupIn(0, 0), user(1), 3)
					i := newInstance(w, "a", is(atGen(1)))
					i.through(lose(name, out))
					marking(t, i)
					w.requireKept(t)
					i.through(nil)
					after(2 * time.Second)
					require.Equal(t, map[domain.GroupUser]int64{markOf(0, 1): 3}, w.storedMarks())
					require.Zero(t, w.dirtyMarks())
					w.requireKept(t)
				})
			})
		}
	}
}

func TestShutdownWritesTheLastMarks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		stop := marking(t, newInstance(w, "a", is(atGen(1))))
		w.read(logOf(3, 1), groupIn(3, 0), user(1), 3)
		stop()
		require.Equal(t, int64(3), w.storedMarks()[markOf(3, 1)])
	})
}

func TestShutdownDuringARoundWritesWhatTheRoundHasPassed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.read(logOf(3, 1), groupIn(3, 0), user(1), 3)
		i := newInstance(w, "a", is(atGen(1)))
		i.through(func(_ context.Context, name string, _ []domain.LogRange) outcome {
			if name == "save marks" {
				time.Sleep(time.Second)
				w.read(logOf(0, 1), groupIn(0, 0), user(2), 5) // partition 0 was looked at before
			}
			return answered
		})
		stop := marking(t, i)
		stop()
		require.Equal(t, int64(5), w.storedMarks()[markOf(0, 2)])
		require.Zero(t, w.dirtyMarks())
	})
}

func TestShutdownLeavesMarksThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		i := newInstance(w, "a", is(atGen(1)))
		stop := marking(t, i)
		w.read(logOf(0, 1), groupIn(0, 0), user(1), 3)
		i.through(func(ctx context.Context, name string, _ []domain.LogRange) outcome {
			if name == "save marks" {
				<-ctx.Done()
				return requestLost
			}
			return answered
		})
		begun := time.Now()
		stop()
		require.LessOrEqual(t, time.Since(begun), 10*time.Second)
		require.Equal(t, 1, w.dirtyMarks(), "they wait in Redis")
	})
}

// A mark that MySQL refuses is worth less than the others, and than a generation that waits for it.
func TestMarksThatAreRefusedAreGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for n := range 9 {
			w.read(logOf(0, 1), groupIn(0, 0), user(n), 5)
		}
		w.strange[user(3)], w.strange[user(4)] = true, true
		marking(t, newInstance(w, "a", is(atGen(1))))
		require.Len(t, w.storedMarks(), 7)
		require.NotContains(t, w.storedMarks(), markOf(0, 3))
		require.Zero(t, w.dirtyMarks(), "nothing waits")
	})
}

func TestMarksThatAreRefusedHoldUpNoGeneration(t *testing.T) {
	t.Parallel()
	w := newWorld()
	k := w.keeper(100)
	for n := range 5 {
		k.mark(t, logOf(1, 1), markOf(1, n), 7)
	}
	w.strange[user(3)] = true
	require.NoError(t, k.job.Flush(t.Context(), 1, 2))
	require.True(t, k.flushed[logOf(1, 2)])
	require.Len(t, w.storedMarks(), 4)
	require.Contains(t, k.log.String(), "read mark refused by MySQL")
}
