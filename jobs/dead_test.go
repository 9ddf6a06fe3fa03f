package jobs_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/jobs"
)

// refuse makes MySQL refuse messages of a group.
func (w *world) refuse(group string, seqs ...int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, seq := range seqs {
		w.refused[place{group, seq}] = true
	}
}

// requireAllButDead is requireAllStored where these messages, and no others, became dead letters that Redis knows of.
func (w *world) requireAllButDead(t testing.TB, group string, seqs ...int64) {
	t.Helper()
	w.requireKept(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Len(t, w.letters, len(seqs))
	for _, seq := range seqs {
		require.True(t, w.isDead(place{group, seq}), "%s/%d is a dead letter", group, seq)
	}
	require.Equal(t, int64(len(seqs)), w.holes[group].Count(0, 1<<53), "seqs in holes in Redis")
	sent := 0
	for log, messages := range w.sent {
		sent += len(messages)
		requireNone(t, w.logs[log], "entries in log %v", log)
		require.Equal(t, w.lastSeqs(log), w.watermarks[log], "watermarks of %v", log)
	}
	require.Len(t, w.rows, sent-len(seqs))
}

func TestRefusedRowsAreTakenOutAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	all := []int64{1, 2, 3, 4, 5, 6, 7}
	for name, dead := range map[string][]int64{
		"the first": {1}, "one in the middle": {4}, "the last": {7}, "neighbours": {3, 4}, "both ends": {1, 7}, "all": all,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for logs := 1; logs <= 3; logs += 2 {
				w := newWorld()
				g := groupIn(0, 0)
				var ranges []domain.LogRange
				for p := range logs {
					ranges = append(ranges, logOf(p, 1))
					w.send(ranges[p], groupIn(p, 0), len(all))
				}
				w.refuse(g, dead...)
				n, _, err := newWriter(w.client("a"), batchRows).Write(t.Context(), ranges)
				require.NoError(t, err)
				require.Equal(t, logs*len(all), n, "that left the logs")
				w.requireAllButDead(t, g, dead...)
			}
		})
	}
}

// 1,000 rows with one that is refused cost two inserts for each time they can be halved, and no more.
func TestARefusedRowIsFoundByHalves(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.send(logOf(0, 1), groupIn(0, 0), 1000)
	w.refuse(groupIn(0, 0), 777)
	_, _, err := newWriter(w.client("a"), batchRows).Write(t.Context(), []domain.LogRange{logOf(0, 1)})
	require.NoError(t, err)
	w.requireAllButDead(t, groupIn(0, 0), 777)
	require.LessOrEqual(t, len(w.arrived("insert")), 2+2*10)
	require.Len(t, w.arrived("committed"), 1)
}

func TestManyRefusedRowsAreTakenInSteps(t *testing.T) {
	t.Parallel()
	w := newWorld()
	g, logs := groupIn(0, 0), []domain.LogRange{logOf(0, 1)}
	w.send(logs[0], g, 330)
	var dead []int64
	for seq := int64(1); seq <= 330; seq++ {
		if seq%3 != 0 {
			dead = append(dead, seq)
		}
	}
	w.refuse(g, dead...)
	writer := newWriter(w.client("a"), batchRows)
	steps := 0
	for ; w.backlog() > 0; steps++ {
		letters, backlog := len(w.arrived("dead letter")), w.backlog()
		_, _, err := writer.Write(t.Context(), logs)
		require.NoError(t, err)
		require.LessOrEqual(t, len(w.arrived("dead letter"))-letters, 100, "a batch has to be done in time")
		require.Less(t, w.backlog(), backlog, "each step gets further")
	}
	require.Greater(t, steps, 1)
	w.requireAllButDead(t, g, dead...)
}

func TestAFailureAnywhereRepeatsADeadLetter(t *testing.T) {
	t.Parallel()
	for _, request := range []string{"insert", "dead letter", "holes", "set holes", "committed"} {
		for how, out := range map[string]outcome{"request lost": requestLost, "reply lost": replyLost} {
			for nth := 1; nth <= 4; nth++ {
				t.Run(fmt.Sprint(request, " ", nth, ", ", how), func(t *testing.T) {
					t.Parallel()
					w := newWorld()
					g, logs := groupIn(0, 0), []domain.LogRange{logOf(0, 1), logOf(1, 1)}
					w.send(logs[0], g, 8)
					w.send(logs[1], groupIn(1, 0), 2)
					w.refuse(g, 2, 7)
					client := w.client("a")
					n := 0
					client.through(func(_ context.Context, name string, _ []domain.LogRange) outcome {
						if name == request {
							if n++; n == nth {
								return out
							}
						}
						return answered
					})
					writer := newWriter(client, batchRows)
					_, _, err := writer.Write(t.Context(), logs)
					w.requireKept(t)
					client.through(nil)
					if err != nil || w.backlog() > 0 {
						_, _, err = writer.Write(t.Context(), logs)
						require.NoError(t, err)
					}
					w.requireAllButDead(t, g, 2, 7)
				})
			}
		}
	}
}

// What can be said of the start of a batch is said, although the rest failed.
func TestTheStartOfABatchLeavesTheLogAlthoughTheRestFails(t *testing.T) {
	t.Parallel()
	w := newWorld()
	g, logs := groupIn(0, 0), []domain.LogRange{logOf(0, 1)}
	w.send(logs[0], g, 8)
	w.refuse(g, 1, 8)
	client := w.client("a")
	letters := 0
	client.through(func(_ context.Context, name string, _ []domain.LogRange) outcome {
		if name == "dead letter" {
			if letters++; letters > 1 {
				return requestLost
			}
		}
		return answered
	})
	n, _, err := newWriter(client, batchRows).Write(t.Context(), logs)
	require.ErrorIs(t, err, errCut)
	require.Equal(t, 7, n)
	require.Equal(t, 1, w.backlog())
	w.requireKept(t)
}

// A slow MySQL leaves no time for all of a batch: what was done must not be done again and again.
func TestASlowBatchWithRefusedRowsGetsFurther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		g, logs := groupIn(0, 0), []domain.LogRange{logOf(0, 1)}
		w.send(logs[0], g, 300)
		var dead []int64
		for seq := int64(5); seq <= 300; seq += 10 {
			dead = append(dead, seq)
		}
		w.refuse(g, dead...)
		client := w.client("a")
		client.through(func(ctx context.Context, name string, _ []domain.LogRange) outcome {
			if name != "insert" && name != "dead letter" {
				return answered
			}
			select {
			case <-time.After(200 * time.Millisecond):
				return answered
			case <-ctx.Done():
				return requestLost
			}
		})
		writer := newWriter(client, batchRows)
		for tries := 0; w.backlog() > 0; tries++ {
			require.Less(t, tries, 20)
			before := w.backlog()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			_, _, _ = writer.Write(ctx, logs)
			cancel()
			require.Less(t, w.backlog(), before)
		}
		w.requireAllButDead(t, g, dead...)
	})
}

// What is refused keeps coming, and takes all the time of a batch: the other partitions have their turn.
func TestRefusedRowsDoNotKeepOtherPartitionsWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		g, logs := groupIn(0, 0), []domain.LogRange{logOf(0, 1), logOf(1, 1)}
		w.send(logs[1], groupIn(1, 0), 1)
		client := w.client("a")
		client.through(func(ctx context.Context, name string, of []domain.LogRange) outcome {
			if name != "dead letter" {
				return answered
			}
			select {
			case <-time.After(time.Second):
				return answered
			case <-ctx.Done():
				return requestLost
			}
		})
		writer := newWriter(client, batchRows)
		for next := int64(1); w.stored() == 0; next += 20 {
			require.Less(t, next, int64(1000))
			w.send(logs[0], g, 20)
			for seq := next; seq < next+20; seq++ {
				w.refuse(g, seq)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			_, _, _ = writer.Write(ctx, logs)
			cancel()
		}
		w.requireKept(t)
	})
}

func TestAMessageThatIsStoredMeanwhileIsNoDeadLetter(t *testing.T) {
	t.Parallel()
	w := newWorld()
	g, logs := groupIn(0, 0), []domain.LogRange{logOf(0, 1)}
	w.send(logs[0], g, 3)
	w.refuse(g, 2)
	client := w.client("a")
	client.through(func(ctx context.Context, name string, _ []domain.LogRange) outcome {
		if name == "dead letter" { // what refused it is gone, and another writer was quicker
			w.mu.Lock()
			delete(w.refused, place{g, 2})
			w.mu.Unlock()
			_, _, err := newWriter(w.client("b"), batchRows).Write(ctx, logs)
			require.NoError(t, err)
		}
		return answered
	})
	_, _, err := newWriter(client, batchRows).Write(t.Context(), logs)
	require.NoError(t, err)
	w.requireAllButDead(t, g)
	w.requireAllStored(t)
}

func TestOlderGenerationWithARefusedRowIsDrained(t *testing.T) {
	t.Parallel()
	w := newWorld()
	g := groupIn(0, 0)
	w.older[0] = []int64{1}
	w.send(logOf(0, 1), g, 5)
	w.refuse(g, 3)
	require.NoError(t, newWriter(w.client("a"), batchRows).Drain(t.Context(), 0, 2))
	w.requireKept(t)
	require.True(t, w.isDead(place{g, 3}))
	require.Equal(t, 4, w.stored())
	require.Empty(t, w.aside)
	require.Len(t, w.arrived("forget"), 1)
}

func TestDeadLettersAreCountedAndLoggedWithoutTheirText(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		g := groupIn(0, 0)
		i := newInstance(w, "a", is(atGen(1)))
		whenStarted(t, i)
		require.Zero(t, i.metric(t, "hearth_persist_dead_letters", ""))
		w.refuse(g, 2)
		w.send(logOf(0, 1), g, 3)
		after(time.Second)
		require.Equal(t, 1.0, i.metric(t, "hearth_persist_rows_total", "dead"))
		require.Equal(t, 2.0, i.metric(t, "hearth_persist_rows_total", "ok"))
		after(15 * time.Second)
		require.Equal(t, 1.0, i.metric(t, "hearth_persist_dead_letters", ""))
		i.through(withoutMySQL)
		after(15 * time.Second)
		require.Equal(t, 1.0, i.metric(t, "hearth_persist_dead_letters", ""), "without MySQL the last that was known")
		i.through(nil)
		w.mu.Lock()
		clear(w.letters)
		w.mu.Unlock()
		after(15 * time.Second)
		require.Zero(t, i.metric(t, "hearth_persist_dead_letters", ""))
	})

	w := newWorld()
	g := groupIn(0, 0)
	w.send(logOf(0, 1), g, 1)
	w.logs[logOf(0, 1)][0].Body = []byte("words of a user")
	w.refuse(g, 1)
	var out bytes.Buffer
	c := w.client("a")
	_, _, err := jobs.NewWriter(c, c, 100, zerolog.New(&out), prometheus.NewRegistry()).Write(t.Context(), []domain.LogRange{logOf(0, 1)})
	require.NoError(t, err)
	require.Contains(t, out.String(), `"level":"error"`)
	require.Contains(t, out.String(), `"seq":1,"partition":0,"reason":"refused"`)
	require.NotContains(t, out.String(), "words")
}
