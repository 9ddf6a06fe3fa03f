package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/jobs"
)

// leftovers has messages and marks in generations 1 and 2 of partition 0, and in what Drain must not touch: its
// generation 3 and another partition.
func leftovers() *world {
	w := newWorld()
	w.older[0], w.older[1] = []int64{1, 2}, []int64{1}
	w.send(logOf(0, 1), groupIn(0, 0), 5)
	w.send(logOf(0, 1), groupIn(0, 1), 3)
	w.send(logOf(0, 2), groupIn(0, 0), 250)
	w.marksPage = 10
	for i := range 25 {
		w.read(logOf(0, 1), groupIn(0, 0), fmt.Sprintf("u%02d", i), 4)
	}
	w.read(logOf(0, 2), groupIn(0, 0), "u00", 2)
	for _, other := range []domain.LogRange{logOf(0, 3), logOf(1, 1)} {
		w.send(other, groupIn(other.Partition, 0), 2)
		w.read(other, groupIn(other.Partition, 0), "other", 1)
	}
	return w
}

func requireDrained(t *testing.T, w *world) {
	t.Helper()
	w.requireKept(t)
	require.Empty(t, w.older[0])
	require.Equal(t, []int64{1}, w.older[1], "another partition's")
	require.Equal(t, 258, w.stored(), "rows")
	require.Equal(t, 4, w.backlog(), "entries of the current generation and of another partition")
	require.Equal(t, 2, w.dirtyMarks(), "marks of the current generation and of another partition")
	marks := w.storedMarks()
	require.Len(t, marks, 25)
	require.Equal(t, int64(4), marks[domain.GroupUser{Group: groupIn(0, 0), User: "u00"}], "not lowered by generation 2")
}

func TestDrainWritesAndForgetsOlderGenerations(t *testing.T) {
	t.Parallel()
	w := leftovers()
	writer := newWriter(w.client("a"), 100)
	require.NoError(t, writer.Drain(t.Context(), 0, 3))
	requireDrained(t, w)
	require.Equal(t, []string{"read logs", "insert", "committed", "read logs"}, w.steps()[1:5])
	require.Equal(t, []string{"dirty marks", "save marks", "marks written", "dirty marks"}, w.steps()[5:9])

	before := len(w.arrived("insert", "save marks", "committed", "forget"))
	require.NoError(t, writer.Drain(t.Context(), 0, 3))
	requireDrained(t, w)
	require.Len(t, w.arrived("insert", "save marks", "committed", "forget"), before, "the second time there is nothing to do")
}

func TestDrainEndsEarlyAtAnyFailureAndGoesOnNextTime(t *testing.T) {
	t.Parallel()
	for name, out := range map[string]outcome{"request lost": requestLost, "reply lost": replyLost} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fails := true
			for nth := 1; fails; nth++ {
				w := leftovers()
				client := w.client("a")
				writer := newWriter(client, 100)
				n := 0
				client.through(func(context.Context, string, []domain.LogRange) outcome {
					if n++; n == nth {
						return out
					}
					return answered
				})
				err := writer.Drain(t.Context(), 0, 3)
				w.requireKept(t)
				if fails = nth <= n; fails {
					require.ErrorIs(t, err, errCut, "request %d", nth)
					require.Equal(t, nth, n, "requests behind a failure")
				}
				client.through(nil)
				require.NoError(t, writer.Drain(t.Context(), 0, 3))
				requireDrained(t, w)
			}
		})
	}
}

func TestDrainForgetsNoGenerationThatIsNotEmpty(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]func(w *world){
		"a message came meanwhile": func(w *world) { w.send(logOf(0, 1), groupIn(0, 0), 1) },
		"a mark came meanwhile":    func(w *world) { w.read(logOf(0, 1), groupIn(0, 0), "u99", 5) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.older[0] = []int64{1}
			w.send(logOf(0, 1), groupIn(0, 0), 1)
			client := w.client("a")
			client.through(func(_ context.Context, request string, _ []domain.LogRange) outcome {
				if request == "forget" {
					late(w)
				}
				return answered
			})
			writer := newWriter(client, 100)
			require.ErrorIs(t, writer.Drain(t.Context(), 0, 2), errLeft)
			require.Equal(t, []int64{1}, w.older[0])
			require.Equal(t, 1, w.backlog()+w.dirtyMarks())

			client.through(nil)
			require.NoError(t, writer.Drain(t.Context(), 0, 2))
			require.Empty(t, w.older[0])
			w.requireAllStored(t)
			require.Zero(t, w.dirtyMarks())
		})
	}
}

// fencedOff has generation 1 of leftovers behind a settled one; generation 2 may still be stored.
func fencedOff() *world {
	w := leftovers()
	w.settled[0] = 2
	return w
}

func requireSetAside(t *testing.T, w *world) {
	t.Helper()
	w.requireKept(t)
	require.Empty(t, w.older[0], "the partition is not held up")
	var aside []domain.Message
	for _, e := range w.aside {
		aside = append(aside, e.Message)
	}
	require.Equal(t, w.sent[logOf(0, 1)], aside, "nothing is thrown away, nothing else is set aside")
	require.Equal(t, 250, w.stored(), "rows: all of generation 2, nothing behind the settled one")
	require.Equal(t, 4, w.backlog(), "entries of the current generation and of another partition")
	require.Equal(t, 2, w.dirtyMarks(), "marks of the current generation and of another partition")
	require.Len(t, w.storedMarks(), 25, "marks only rise: they are never too late")
}

// What a settled generation has fenced off is neither stored nor thrown away, and does not hold up the partition.
func TestDrainSetsAsideWhatIsFencedOff(t *testing.T) {
	t.Parallel()
	w := fencedOff()
	var out bytes.Buffer
	client := w.client("a")
	writer := jobs.NewWriter(client, client, 100, zerolog.New(&out), prometheus.NewRegistry())
	require.NoError(t, writer.Drain(t.Context(), 0, 3))
	requireSetAside(t, w)
	require.Equal(t, []string{"read logs", "insert", "set aside", "dirty marks"}, w.steps()[1:5])
	require.Equal(t, []domain.LogRange{logOf(0, 1)}, w.arrived("set aside")[0].of)
	require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("\n")), "lines of the log: %s", out.String())
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.Equal(t, "error", line["level"])
	require.Equal(t, 0.0, line["partition"])
	require.Equal(t, 1.0, line["gen"])
	require.Contains(t, line["error"], errFenced.Error())
}

// A generation may be settled by another instance while the log is being drained.
func TestDrainSetsAsideOnlyWhatIsNotStoredYet(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.older[0] = []int64{1}
	w.send(logOf(0, 1), groupIn(0, 0), 250)
	client := w.client("a")
	client.through(func(_ context.Context, name string, _ []domain.LogRange) outcome {
		if name == "insert" && w.stored() == 100 {
			w.mu.Lock()
			w.settled[0] = 2
			w.mu.Unlock()
		}
		return answered
	})
	require.NoError(t, newWriter(client, 100).Drain(t.Context(), 0, 2))
	w.requireKept(t)
	require.Empty(t, w.older[0])
	require.Equal(t, 100, w.stored())
	require.Equal(t, 150, len(w.aside), "entries set aside")
	require.Equal(t, int64(101), w.aside[0].Seq)
}

func TestDrainOfAFencedLogEndsEarlyAtAnyFailureAndGoesOnNextTime(t *testing.T) {
	t.Parallel()
	for name, out := range map[string]outcome{"request lost": requestLost, "reply lost": replyLost} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fails := true
			for nth := 1; fails; nth++ {
				w := fencedOff()
				client := w.client("a")
				writer := newWriter(client, 100)
				n := 0
				client.through(func(context.Context, string, []domain.LogRange) outcome {
					if n++; n == nth {
						return out
					}
					return answered
				})
				err := writer.Drain(t.Context(), 0, 3)
				w.requireKept(t)
				if fails = nth <= n; fails {
					require.ErrorIs(t, err, errCut, "request %d", nth)
					require.Equal(t, nth, n, "requests behind a failure")
				}
				client.through(nil)
				require.NoError(t, writer.Drain(t.Context(), 0, 3))
				requireSetAside(t, w)
			}
		})
	}
}

// Only the fence says that messages come too late. Whatever else MySQL refuses has to be looked at first.
func TestDrainSetsNothingElseAside(t *testing.T) {
	t.Parallel()
	w := leftovers()
	w.rows[place{groupIn(0, 0), 2}] = domain.Message{Group: groupIn(0, 0), Seq: 2, Hash: "another"}
	backlog, marks := w.backlog(), w.dirtyMarks()
	require.ErrorIs(t, newWriter(w.client("a"), 100).Drain(t.Context(), 0, 3), errTaken)
	w.requireKept(t)
	require.Empty(t, w.aside)
	require.Equal(t, []int64{1, 2}, w.older[0])
	require.Equal(t, backlog, w.backlog())
	require.Equal(t, marks, w.dirtyMarks())
}
