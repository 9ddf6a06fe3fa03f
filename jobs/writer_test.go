package jobs_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/jobs"
)

func newWriter(c *client, batch int) *jobs.Writer {
	return jobs.NewWriter(c, c, batch, zerolog.Nop(), prometheus.NewRegistry())
}

func TestRowsAreInsertedBeforeEntriesLeaveTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.send(logOf(0, 1), groupIn(0, 0), 3)
	n, more, err := newWriter(w.client("a"), batchRows).Write(t.Context(), []domain.LogRange{logOf(0, 1)})
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.False(t, more)
	require.Equal(t, []string{"read logs", "insert", "committed"}, w.steps())
	w.requireAllStored(t)
}

func TestNothingToWriteAsksNoMoreThanItMust(t *testing.T) {
	t.Parallel()
	w := newWorld()
	writer := newWriter(w.client("a"), batchRows)
	for _, c := range []struct {
		logs []domain.LogRange
		want []string
	}{
		{nil, nil},
		{[]domain.LogRange{logOf(0, 1), logOf(1, 1)}, []string{"read logs"}},
	} {
		n, more, err := writer.Write(t.Context(), c.logs)
		require.NoError(t, err)
		require.Zero(t, n)
		require.False(t, more)
		require.Equal(t, c.want, w.steps())
	}
}

func TestSeveralPartitionsShareOneInsert(t *testing.T) {
	t.Parallel()
	w := newWorld()
	logs := []domain.LogRange{logOf(0, 3), logOf(1, 1), logOf(2, 2)}
	w.send(logs[0], groupIn(0, 0), 2)
	w.send(logs[0], groupIn(0, 1), 1)
	w.send(logs[2], groupIn(2, 0), 4)
	n, _, err := newWriter(w.client("a"), batchRows).Write(t.Context(), logs)
	require.NoError(t, err)
	require.Equal(t, 7, n)
	inserts := w.arrived("insert")
	require.Len(t, inserts, 1)
	require.Equal(t, 7, inserts[0].n)
	require.Equal(t, []domain.LogRange{logs[0], logs[2]}, inserts[0].of, "partitions without messages are not named")
	committed := w.arrived("committed")
	require.Len(t, committed, 1, "and one way back")
	require.Equal(t, inserts[0].of, committed[0].of)
	w.requireAllStored(t)
}

func TestMoreIsSaidWhenALogHadMoreThanTheBatchTook(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		batch int
		sends []int // messages in the logs of partitions 0, 1, …
		limit int
		n     int
		more  bool
	}{
		"below the batch":                 {batch: 1000, sends: []int{999}, limit: 1000, n: 999},
		"exactly the batch":               {batch: 1000, sends: []int{1000}, limit: 1000, n: 1000, more: true},
		"above the batch":                 {batch: 1000, sends: []int{1001}, limit: 1000, n: 1000, more: true},
		"the batch is shared by the logs": {batch: 1000, sends: []int{400, 100, 100, 0}, limit: 250, n: 450, more: true},
		"a small share is rounded up":     {batch: 200, sends: []int{60, 60, 60, 60}, limit: 100, n: 240},
		"one log of several has more":     {batch: 200, sends: []int{1, 100, 1, 1}, limit: 100, n: 103, more: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			var logs []domain.LogRange
			for p, n := range c.sends {
				logs = append(logs, logOf(p, 1))
				w.send(logs[p], groupIn(p, 0), n)
			}
			writer := newWriter(w.client("a"), c.batch)
			n, more, err := writer.Write(t.Context(), logs)
			require.NoError(t, err)
			require.Equal(t, c.n, n, "rows")
			require.Equal(t, c.more, more, "more")
			require.Equal(t, c.limit, w.arrived("read logs")[0].n, "limit of a log")
			for range 5 {
				_, _, err = writer.Write(t.Context(), logs)
				require.NoError(t, err)
			}
			w.requireAllStored(t)
		})
	}
}

// What fails between the first request and the last, seen by the writer as an error or as the end of its context. A
// shared insert that fails while the context still holds is no failure yet: each log is tried alone.
func TestAFailureAnywhereRepeatsTheBatch(t *testing.T) {
	t.Parallel()
	logs := []domain.LogRange{logOf(0, 1), logOf(1, 1)}
	for name, c := range map[string]struct {
		request string
		nth     int
		inserts int // that arrive, the repetition's included
		n       int // rows that are reported in spite of the failure
	}{
		"reading":    {"read logs", 1, 1, 0},
		"inserting":  {"insert", 1, 1, 0},
		"committing": {"committed", 1, 2, 0},
	} {
		for how, out := range map[string]outcome{"request lost": requestLost, "reply lost": replyLost} {
			for _, cut := range []bool{false, true} {
				if cut {
					how += ", context cut"
				}
				t.Run(name+", "+how, func(t *testing.T) {
					t.Parallel()
					w := newWorld()
					w.send(logs[0], groupIn(0, 0), 3)
					w.send(logs[1], groupIn(1, 0), 2)
					client := w.client("a")
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					nth := 0
					client.through(func(_ context.Context, request string, _ []domain.LogRange) outcome {
						if request != c.request {
							return answered
						}
						if nth++; nth != c.nth {
							return answered
						}
						if cut {
							cancel()
						}
						return out
					})
					writer := newWriter(client, batchRows)
					n, more, err := writer.Write(ctx, logs)
					alone := c.request == "insert" && !cut
					switch {
					case alone:
						require.NoError(t, err, "everything is stored in the end")
						require.Equal(t, 5, n, "rows")
						w.requireAllStored(t)
					case cut:
						require.ErrorIs(t, err, context.Canceled)
						require.Equal(t, c.n, n, "rows")
					default:
						require.ErrorIs(t, err, errCut)
						require.Equal(t, c.n, n, "rows")
					}
					require.False(t, more)
					w.requireKept(t)

					client.through(nil)
					w.send(logs[0], groupIn(0, 0), 1)
					_, _, err = writer.Write(t.Context(), logs)
					require.NoError(t, err)
					w.requireAllStored(t)
					inserts := c.inserts
					if c.request == "insert" && out == replyLost {
						inserts++
					}
					if alone {
						inserts += len(logs)
					}
					if got := w.arrived("insert"); len(got) != inserts {
						t.Fatalf("got %d inserts, want %d: %v", len(got), inserts, got)
					}
				})
			}
		}
	}
}

func TestWhatMySQLRefusesStaysInTheLog(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		refuse func(w *world)
		want   error
	}{
		"a generation that is over": {func(w *world) { w.settled[0] = 2 }, errFenced},
		"a seq that is taken": {func(w *world) {
			w.rows[place{groupIn(0, 0), 2}] = domain.Message{Group: groupIn(0, 0), Seq: 2, Hash: "another"}
		}, errTaken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.send(logOf(0, 1), groupIn(0, 0), 3)
			c.refuse(w)
			rows := w.stored()
			logs := []domain.LogRange{logOf(0, 1), logOf(1, 1)} // one of them is empty
			n, more, err := newWriter(w.client("a"), batchRows).Write(t.Context(), logs)
			require.ErrorIs(t, err, c.want)
			require.Zero(t, n)
			require.False(t, more)
			require.Len(t, w.arrived("insert"), 1, "one log alone is not tried again")
			require.Equal(t, 3, w.backlog(), "entries in the log")
			require.Equal(t, rows, w.stored(), "rows")
			require.Empty(t, w.arrived("committed"))
		})
	}
}

func TestAPartitionThatIsRefusedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	fence := func(partitions ...int) func(*world, *client) {
		return func(w *world, _ *client) {
			for _, p := range partitions {
				w.settled[p] = 2
			}
		}
	}
	taken := place{groupIn(1, 0), 2}
	for name, c := range map[string]struct {
		refuse func(*world, *client)
		cure   func(*world)
		want   error
		left   []int // partitions that keep their entries
		n      int
		steps  []string // after the shared insert, by partition
	}{
		"the first": {
			refuse: fence(0), want: errFenced, left: []int{0}, n: 102,
			steps: []string{"insert 0", "insert 1", "committed 1", "insert 2", "committed 2"},
		},
		"one in the middle": {
			refuse: func(w *world, _ *client) { w.rows[taken] = domain.Message{Group: taken.group, Seq: 2, Hash: "another"} },
			cure:   func(w *world) { delete(w.rows, taken) },
			want:   errTaken, left: []int{1}, n: 103,
			steps: []string{"insert 0", "committed 0", "insert 1", "insert 2", "committed 2"},
		},
		"the last": {
			refuse: fence(2), want: errFenced, left: []int{2}, n: 5,
			steps: []string{"insert 0", "committed 0", "insert 1", "committed 1", "insert 2"},
		},
		"all but one": {
			refuse: fence(0, 1), want: errFenced, left: []int{0, 1}, n: 100,
			steps: []string{"insert 0", "insert 1", "insert 2", "committed 2"},
		},
		"all": {
			refuse: fence(0, 1, 2), want: errFenced, left: []int{0, 1, 2},
			steps: []string{"insert 0", "insert 1", "insert 2"},
		},
		"one that does not leave its log": {
			refuse: func(w *world, c *client) {
				inserts := 0
				c.through(func(_ context.Context, name string, of []domain.LogRange) outcome {
					if name == "insert" {
						inserts++
					}
					if name == "insert" && inserts == 1 || name == "committed" && of[0].Partition == 0 {
						return requestLost
					}
					return answered
				})
			},
			want: errCut, left: []int{0}, n: 102,
			steps: []string{"insert 0", "insert 1", "committed 1", "insert 2", "committed 2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			logs := []domain.LogRange{logOf(0, 1), logOf(1, 1), logOf(2, 1), logOf(3, 1)}
			for p, n := range []int{3, 2, 100} { // partition 2 fills its share, partition 3 has nothing
				w.send(logs[p], groupIn(p, 0), n)
			}
			client := w.client("a")
			c.refuse(w, client)
			writer := newWriter(client, 100)
			n, more, err := writer.Write(t.Context(), logs)
			require.ErrorIs(t, err, c.want)
			require.Equal(t, c.n, n, "rows")
			require.False(t, more)
			var left []int
			for p := range logs {
				if len(w.logs[logs[p]]) > 0 {
					left = append(left, p)
				}
			}
			require.Equal(t, c.left, left, "partitions that keep their entries")
			var steps []string
			for _, r := range w.arrived("insert", "committed") {
				if len(r.of) == 1 {
					steps = append(steps, fmt.Sprint(r.name, " ", r.of[0].Partition))
				}
			}
			slices.SortStableFunc(steps, func(a, b string) int { return cmp.Compare(a[len(a)-1], b[len(b)-1]) })
			require.Equal(t, c.steps, steps)
			w.requireKept(t)

			client.through(nil)
			clear(w.settled)
			if c.cure != nil {
				c.cure(w)
			}
			n, _, err = writer.Write(t.Context(), logs)
			require.NoError(t, err)
			require.Equal(t, 105-c.n, n, "the others are not written again")
			w.requireAllStored(t)
		})
	}
}

// Two that hold the same batch: the later one repeats what is done, also when more was written in between.
func TestALateWriterOfTheSameBatchChangesNothing(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"insert", "committed"} {
		t.Run("late at "+at, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			logs := []domain.LogRange{logOf(0, 1)}
			w.send(logs[0], groupIn(0, 0), 5)
			late, other := w.client("late"), newWriter(w.client("other"), batchRows)
			late.through(func(ctx context.Context, name string, _ []domain.LogRange) outcome {
				if name == at {
					for range 2 {
						_, _, err := other.Write(ctx, logs)
						require.NoError(t, err)
						w.send(logs[0], groupIn(0, 0), 5)
					}
				}
				return answered
			})
			n, _, err := newWriter(late, batchRows).Write(t.Context(), logs)
			require.NoError(t, err)
			require.Equal(t, 5, n)
			require.Equal(t, 5, w.backlog(), "what came last is still in the log")
			_, _, err = other.Write(t.Context(), logs)
			require.NoError(t, err)
			w.requireAllStored(t)
		})
	}
}

func TestMetricsTellRowsSizeAndLag(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		i := newInstance(w, "a", is(atGen(1)))
		logs := []domain.LogRange{logOf(0, 1)}
		w.send(logs[0], groupIn(0, 0), 2)
		time.Sleep(3 * time.Second)
		w.send(logs[0], groupIn(0, 0), 1)
		i.through(func(_ context.Context, name string, _ []domain.LogRange) outcome {
			if name == "insert" {
				time.Sleep(2 * time.Second)
				return requestLost
			}
			return answered
		})
		_, _, err := i.writer.Write(t.Context(), logs)
		require.ErrorIs(t, err, errCut)
		require.Equal(t, 3.0, i.metric(t, "hearth_persist_rows_total", "failed"))
		require.Zero(t, i.metric(t, "hearth_persist_batch_rows", ""))
		i.through(nil)
		_, _, err = i.writer.Write(t.Context(), logs)
		require.NoError(t, err)
		require.Equal(t, 3.0, i.metric(t, "hearth_persist_rows_total", "ok"))
		require.Equal(t, 3.0, i.metric(t, "hearth_persist_rows_total", "failed"))
		require.Equal(t, 3.0, i.metric(t, "hearth_persist_batch_rows", ""))
		require.Equal(t, 5.0, i.metric(t, "hearth_persist_lag_seconds", ""), "age of the oldest")
	})
}
