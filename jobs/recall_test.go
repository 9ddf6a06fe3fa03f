package jobs_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// recall puts a recall into a log.
func (w *world) recall(log domain.LogRange, group string, seq int64) domain.Recall {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lastID++
	r := domain.Recall{Group: group, Seq: seq, Gen: log.Gen, TimeMS: 77, By: "ann"}
	w.logs[log] = append(w.logs[log], domain.LogEntry{ID: strconv.Itoa(w.lastID) + "-0", Recall: &r})
	return r
}

func (w *world) recalledRows() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.rows {
		if m.RecalledMS == 77 && m.RecalledBy == "ann" && len(m.Body) == 0 {
			n++
		}
	}
	return n
}

func TestRecallsFollowTheirMessages(t *testing.T) {
	t.Parallel()
	w := newWorld()
	log, group := logOf(1, 1), groupIn(1, 0)
	write := func() int {
		n, _, err := newWriter(w.client("a"), batchRows).Write(t.Context(), []domain.LogRange{log})
		require.NoError(t, err)
		return n
	}
	first := firstSeq(1)
	w.send(log, group, 3)
	w.recall(log, group, first+1)
	require.Equal(t, 4, write(), "in one batch")
	require.Equal(t, 1, w.recalledRows())
	w.recall(log, group, first)
	require.Equal(t, 1, write(), "alone, of a row that is there")
	require.Equal(t, 2, w.recalledRows())
	w.recall(log, group, first+99)
	require.Equal(t, 1, write(), "retention has taken the row")
	require.Equal(t, 2, w.recalledRows())
	require.Empty(t, w.broken)
}

func TestAFailureRepeatsRecalls(t *testing.T) {
	t.Parallel()
	w := newWorld()
	log, group := logOf(1, 1), groupIn(1, 0)
	w.send(log, group, 2)
	w.recall(log, group, firstSeq(1))
	w.refused[place{group, firstSeq(1) + 1}] = true // divides the batch
	c := w.client("a")
	for range 2 {
		_, _, err := newWriter(c, batchRows).Write(t.Context(), []domain.LogRange{log})
		require.NoError(t, err)
	}
	require.Equal(t, 1, w.recalledRows())
	require.Empty(t, w.logs[log])
	require.Empty(t, w.broken)
}

func TestTheJournalWritesRecalls(t *testing.T) {
	t.Parallel()
	w := newWorld()
	k := w.keeper(100)
	log, group := logOf(1, 1), groupIn(1, 0)
	k.accept(t, log, group, 2)
	of := func(seq int64) domain.Recall {
		return domain.Recall{Group: group, Seq: seq, Gen: 1, TimeMS: 77, By: "ann"}
	}
	require.True(t, k.kept.KeepRecall(of(firstSeq(1)+1)))
	require.NoError(t, k.job.Flush(t.Context(), 1, 2))
	require.Equal(t, 1, w.recalledRows())
	left, err := k.kept.All(1)
	require.NoError(t, err)
	require.Empty(t, left.Recalls)
	require.Equal(t, []string{"types", "insert", "recall", "flushed"}, k.names())
}

// What MySQL refuses of them holds up no generation.
func TestTheJournalGivesUpRecallsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld()
	k := w.keeper(100)
	log, group := logOf(1, 1), groupIn(1, 0)
	k.accept(t, log, group, 3)
	for n, by := range []string{"ann", "strange", "ann"} {
		require.True(t, k.kept.KeepRecall(domain.Recall{Group: group, Seq: firstSeq(1) + int64(n), Gen: 1, TimeMS: 77, By: by}))
	}
	w.strange["strange"] = true
	require.NoError(t, k.job.Flush(t.Context(), 1, 2))
	left, err := k.kept.All(1)
	require.NoError(t, err)
	require.Empty(t, left.Recalls)
	require.Equal(t, 2, w.recalledRows())
}
