package jobs_test

import (
	"bytes"
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

// stores is what the journal and the heartbeat need of the world beside what a client does for the other jobs.
type stores struct {
	*client
	// guarded by world.mu
	gens     map[int]domain.Generation
	alive    map[string]bool
	flushed  map[domain.LogRange]bool
	repaired []map[string]int64
	answered []place // messages that a durable ack may be given for
	failed   []place // and those that there are no rows of
	known    map[string][]domain.RecentSend
}

func (w *world) stores(name string) *stores {
	return &stores{client: w.client(name), gens: map[int]domain.Generation{}, alive: map[string]bool{}, flushed: map[domain.LogRange]bool{}}
}

func (s *stores) GroupTypes(ctx context.Context, groups []string) (map[string]domain.GroupType, error) {
	types := map[string]domain.GroupType{}
	err := s.request(ctx, "types", nil, func() (int, error) {
		for _, g := range groups {
			types[g] = domain.Room
		}
		return len(groups), nil
	})
	return types, err
}

func (s *stores) Flushed(ctx context.Context, _ string, partition int, gen int64) error {
	log := logOf(partition, gen)
	return s.request(ctx, "flushed", []domain.LogRange{log}, func() (int, error) {
		s.flushed[log] = true
		return 0, nil
	})
}

func (s *stores) InsertLate(ctx context.Context, messages []domain.Message) (map[string]int64, error) {
	filled := map[string]int64{}
	err := s.request(ctx, "late", nil, func() (int, error) {
		for _, m := range messages {
			if _, there := s.rows[place{m.Group, m.Seq}]; !there {
				s.rows[place{m.Group, m.Seq}] = m
				if first, ok := filled[m.Group]; !ok || m.Seq < first {
					filled[m.Group] = m.Seq
				}
			}
		}
		return len(messages), nil
	})
	return filled, err
}

func (s *stores) Stored(group string, _, seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = append(s.answered, place{group, seq})
}

func (s *stores) Fail(group string, _, seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, place{group, seq})
}

func (s *stores) Repaired(ctx context.Context, filled map[string]int64) error {
	return s.request(ctx, "repaired", nil, func() (int, error) {
		s.repaired = append(s.repaired, filled)
		return len(filled), nil
	})
}

func (s *stores) RememberSends(ctx context.Context, sends map[string][]domain.RecentSend) error {
	return s.request(ctx, "remember", nil, func() (int, error) {
		s.known = sends
		return len(sends), nil
	})
}

// Reached is reached.lua; a log that was never sent to is another server's.
func (s *stores) Reached(ctx context.Context, log domain.LogRange, groups []string, marks []domain.GroupUser) (watermarks map[string]int64, written []domain.GroupUser, err error) {
	err = s.request(ctx, "reached", []domain.LogRange{log}, func() (int, error) {
		if s.seqs[log] == nil {
			return 0, nil
		}
		watermarks = map[string]int64{}
		for _, g := range groups {
			watermarks[g] = s.watermarks[log][g]
		}
		for _, who := range marks {
			if s.dirty[log][who] == 0 {
				written = append(written, who)
			}
		}
		return len(groups) + len(marks), nil
	})
	return watermarks, written, err
}

// RecallsWritten tells which recalls wait in no log.
func (s *stores) RecallsWritten(ctx context.Context, log domain.LogRange, recalls []domain.Recall) (written []domain.Recall, err error) {
	err = s.request(ctx, "recalls written", []domain.LogRange{log}, func() (int, error) {
		for _, r := range recalls {
			waits := slices.ContainsFunc(s.logs[log], func(e domain.LogEntry) bool {
				return e.Recall != nil && e.Recall.Group == r.Group && e.Recall.Seq == r.Seq
			})
			if s.seqs[log] != nil && !waits {
				written = append(written, r)
			}
		}
		return len(recalls), nil
	})
	return written, err
}

// keeper is an instance's journal and the job beside it.
type keeper struct {
	*stores
	kept *domain.Journal
	job  *jobs.Journal
	gens *gens
	log  *bytes.Buffer
}

func (w *world) keeper(batch int) *keeper {
	k := &keeper{stores: w.stores("a"), kept: domain.NewJournal(partitions, 1<<30), gens: atGen(1), log: &bytes.Buffer{}}
	reg := prometheus.NewRegistry()
	writer := jobs.NewWriter(k.stores, k.stores, batch, zerolog.Nop(), reg)
	k.job = jobs.NewJournal(k.kept, writer, k.stores, k.stores, k.stores, k.stores, partitions, "a", zerolog.New(k.log), reg)
	k.job.UseGenerations(k.gens)
	return k
}

// accept sends n messages and keeps them, as the appender does.
func (k *keeper) accept(t *testing.T, log domain.LogRange, group string, n int) {
	t.Helper()
	k.send(log, group, n)
	k.world.mu.Lock()
	defer k.world.mu.Unlock()
	sent := k.sent[log]
	for _, m := range sent[len(sent)-n:] {
		a := domain.Accepted{Group: m.Group, Gen: m.Gen, Seq: m.Seq, TimeMS: m.TimeMS}
		require.True(t, k.kept.KeepSend(a, m.Header.AppendJSON(nil), []byte(`[]`)))
	}
}

func (k *keeper) mark(t *testing.T, log domain.LogRange, who domain.GroupUser, seq int64) {
	t.Helper()
	k.read(log, who.Group, who.User, seq)
	require.True(t, k.kept.KeepMark(who, domain.ReadMark{Gen: log.Gen, Seq: seq}))
}

// names are the requests that arrived, equal ones in a row as one.
func (k *keeper) names() []string { return slices.Compact(k.steps()) }

func TestAFlushReportsWhenEverythingIsWritten(t *testing.T) {
	t.Parallel()
	w := newWorld()
	k := w.keeper(100)
	groups := []string{groupIn(1, 0), groupIn(1, 1), groupIn(1, 2)}
	for _, gen := range []int64{2, 1, 3} {
		for n, g := range groups {
			k.accept(t, logOf(1, gen), g, 70+n)
		}
	}
	k.accept(t, logOf(2, 1), groupIn(2, 0), 5)
	k.mark(t, logOf(1, 1), markOf(1, 1), 7)
	k.mark(t, logOf(1, 3), markOf(1, 2), 8)
	k.mark(t, logOf(2, 1), markOf(2, 1), 9)

	require.NoError(t, k.job.Flush(t.Context(), 1, 3))
	require.Equal(t, []string{"types", "insert", "save marks", "flushed"}, k.names())
	var batches []request
	for _, r := range w.arrived("insert") {
		require.LessOrEqual(t, r.n, 100)
		batches = append(batches, r)
	}
	require.Len(t, batches, 6, "three a generation: 213 messages each")
	require.Equal(t, 2*(70+71+72), w.stored())
	require.Len(t, k.answered, 2*(70+71+72), "durable acks do not wait for watermarks that will not come")
	require.Equal(t, map[domain.GroupUser]int64{markOf(1, 1): 7}, w.storedMarks())
	for _, m := range w.rows {
		require.Equal(t, domain.Room, m.GroupType)
		require.Less(t, m.Gen, int64(3))
	}
	w.requireKept(t)

	left, err := k.kept.All(1)
	require.NoError(t, err)
	require.Len(t, left.Messages, 70+71+72)
	require.Equal(t, map[domain.GroupUser]domain.ReadMark{markOf(1, 2): {Gen: 3, Seq: 8}}, left.Marks)
	require.True(t, k.kept.Over(groups[0], 2))
	require.False(t, k.kept.Over(groupIn(2, 0), 1), "another partition")

	require.NoError(t, k.job.Flush(t.Context(), 1, 4))
	require.NoError(t, k.job.Flush(t.Context(), 2, 4))
	require.Zero(t, k.kept.Bytes())
	require.Equal(t, 3*(70+71+72)+5, w.stored())
	w.requireKept(t)
}

func TestManyMarksAreWrittenInSteps(t *testing.T) {
	t.Parallel()
	w := newWorld()
	k := w.keeper(10)
	for n := range 25 {
		k.mark(t, logOf(1, 1), markOf(1, n), 7)
	}
	saved := 0
	k.through(func(_ context.Context, name string, _ []domain.LogRange) outcome {
		if name == "save marks" {
			if saved++; saved == 3 {
				return requestLost
			}
		}
		return answered
	})
	require.ErrorIs(t, k.job.Flush(t.Context(), 1, 2), errCut)
	require.Len(t, w.storedMarks(), 20)
	left, err := k.kept.All(1)
	require.NoError(t, err)
	require.Len(t, left.Marks, 5, "what is written is not written again")
	require.NoError(t, k.job.Flush(t.Context(), 1, 2))
	require.Len(t, w.storedMarks(), 25)
	require.Zero(t, k.kept.Bytes())
}

func TestADurableAckIsNotGivenForWhatAFlushPutsAside(t *testing.T) {
	t.Parallel()
	w := newWorld()
	k := w.keeper(10)
	g := groupIn(1, 0)
	k.accept(t, logOf(1, 1), g, 25)
	w.refuse(g, 3, 4, 25)
	require.NoError(t, k.job.Flush(t.Context(), 1, 2))
	require.Equal(t, []place{{g, 3}, {g, 4}, {g, 25}}, k.failed)
	require.Len(t, k.answered, 22)
	for _, at := range k.answered {
		require.Contains(t, w.rows, at)
	}
	require.Len(t, w.letters, 3)
	require.Zero(t, k.kept.Bytes())
	w.requireKept(t)
}

func TestAFlushWithNothingToWriteReports(t *testing.T) {
	t.Parallel()
	k := newWorld().keeper(100)
	require.NoError(t, k.job.Flush(t.Context(), 1, 3))
	require.True(t, k.flushed[logOf(1, 3)])
	require.False(t, k.kept.KeepSend(domain.Accepted{Group: groupIn(1, 0), Gen: 2, Seq: 1}, nil, nil), "it is closed all the same")
	require.Empty(t, k.log.String())
}

func TestNothingIsReportedThatIsNotWritten(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"types", "insert", "save marks", "flushed"} {
		for _, out := range []outcome{requestLost, replyLost} {
			t.Run(fmt.Sprint(what, " ", out), func(t *testing.T) {
				t.Parallel()
				w := newWorld()
				k := w.keeper(10)
				k.accept(t, logOf(1, 1), groupIn(1, 0), 25)
				k.mark(t, logOf(1, 1), markOf(1, 1), 7)
				failed := false
				k.through(func(_ context.Context, name string, _ []domain.LogRange) outcome {
					if name == what && !failed && (what != "insert" || w.stored() == 10) { // its second batch
						failed = true
						return out
					}
					return answered
				})
				require.ErrorIs(t, k.job.Flush(t.Context(), 1, 2), errCut)
				require.True(t, failed)
				if what != "flushed" {
					require.Empty(t, w.arrived("flushed"))
				}
				require.False(t, k.kept.KeepMark(markOf(1, 1), domain.ReadMark{Gen: 1, Seq: 9}), "it is closed all the same")

				require.NoError(t, k.job.Flush(t.Context(), 1, 2))
				require.Equal(t, 25, w.stored())
				require.Equal(t, map[domain.GroupUser]int64{markOf(1, 1): 7}, w.storedMarks())
				require.True(t, k.flushed[logOf(1, 2)])
				require.Zero(t, k.kept.Bytes())
				w.requireKept(t)
			})
		}
	}
}

// Others have gone on without this instance: its messages are stored into holes, and that is told when Redis can be.
func TestWhatComesLateIsStoredAndTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		k := w.keeper(10)
		k.accept(t, logOf(1, 1), groupIn(1, 0), 25)
		k.accept(t, logOf(1, 1), groupIn(1, 1), 2)
		w.settled[1] = 2
		repeatable := domain.Message{Group: groupIn(1, 1), Seq: 9, TimeMS: 5, Gen: 1, Header: domain.Header{From: "ann", ClientID: "c"}, Hash: domain.ContentHash(nil, nil, 0)}
		require.True(t, k.kept.KeepSend(domain.Accepted{Group: repeatable.Group, Gen: 1, Seq: 9, TimeMS: 5}, repeatable.AppendJSON(nil), nil))
		require.NoError(t, k.job.Flush(t.Context(), 1, 2))
		require.Equal(t, 28, w.stored())
		require.True(t, k.flushed[logOf(1, 2)])
		require.Empty(t, k.answered, "a message that its sender has repeated is left out")
		require.Empty(t, w.arrived("repaired"), "the next generation may be waiting for this instance")
		require.Zero(t, k.kept.Bytes())

		k.through(lose("repaired", requestLost))
		start(t, k.job.Run)
		after(5 * time.Second)
		require.Empty(t, w.arrived("repaired"))
		k.through(nil)
		after(5 * time.Second)
		lowest := map[string]int64{groupIn(1, 0): 1, groupIn(1, 1): 1}
		require.Equal(t, []map[string]int64{lowest}, k.repaired, "once, from the lowest on")
		require.Equal(t, map[string][]domain.RecentSend{groupIn(1, 1): {{
			Dedupe: domain.DedupeID(groupIn(1, 1), "ann", "c"), Seq: 9, TimeMS: 5, Hash: repeatable.Hash,
		}}}, k.known)
	})
}

// A full Redis refuses the sends, perhaps for long: that must not have clients begin anew every other second.
func TestWhatCameLateIsToldOnceAlthoughItsSendsAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		k := w.keeper(10)
		header := domain.Header{From: "ann", ClientID: "c"}
		require.True(t, k.kept.KeepSend(domain.Accepted{Group: groupIn(1, 0), Gen: 1, Seq: 9, TimeMS: 5}, header.AppendJSON(nil), nil))
		w.settled[1] = 2
		require.NoError(t, k.job.Flush(t.Context(), 1, 2))
		k.through(lose("remember", requestLost))
		start(t, k.job.Run)
		after(10 * time.Second)
		require.Equal(t, []map[string]int64{{groupIn(1, 0): 9}}, k.repaired)
		require.Empty(t, k.known)
		k.through(nil)
		after(5 * time.Second)
		require.Len(t, k.repaired, 1)
		require.Len(t, k.known, 1)
	})
}

func TestOneLogThatCannotBeAskedDoesNotKeepTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		k := w.keeper(10)
		k.through(func(_ context.Context, name string, of []domain.LogRange) outcome {
			if name == "reached" && of[0].Partition == 0 {
				return requestLost
			}
			return answered
		})
		start(t, k.job.Run)
		for p := range partitions {
			k.accept(t, logOf(p, 1), groupIn(p, 0), 10)
			w.mu.Lock()
			field(w.watermarks, logOf(p, 1))[groupIn(p, 0)] = 10
			w.mu.Unlock()
		}
		after(6 * time.Second)
		for p := range partitions {
			u, err := k.kept.All(p)
			require.NoError(t, err)
			require.Equal(t, p > 0, len(u.Messages) == 0, "partition %d", p)
		}
	})
}

func TestTheJobFindsTheWatermarksThatWereMissed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		k := w.keeper(10)
		start(t, k.job.Run)
		for p := range partitions {
			k.accept(t, logOf(p, 1), groupIn(p, 0), 10)
			k.accept(t, logOf(p, 1), groupIn(p, 1), 10)
			k.mark(t, logOf(p, 1), markOf(p, 1), 3)
			k.mark(t, logOf(p, 1), markOf(p, 2), 3)
		}
		full := k.kept.Bytes()
		after(10 * time.Second)
		require.Equal(t, full, k.kept.Bytes(), "MySQL has nothing yet")
		for p := range partitions { // what the persister did, and nobody here heard of
			w.mu.Lock()
			field(w.watermarks, logOf(p, 1))[groupIn(p, 0)] = 10
			field(w.watermarks, logOf(p, 1))[groupIn(p, 1)] = 4
			delete(w.dirty[logOf(p, 1)], markOf(p, 1))
			w.mu.Unlock()
		}
		after(4 * time.Second)
		for p := range partitions {
			u, err := k.kept.All(p)
			require.NoError(t, err)
			require.Len(t, u.Messages, 6)
			require.Equal(t, groupIn(p, 1), u.Messages[0].Group)
			require.Equal(t, int64(5), u.Messages[0].Seq)
			require.Equal(t, map[domain.GroupUser]domain.ReadMark{markOf(p, 2): {Gen: 1, Seq: 3}}, u.Marks)
		}
	})
}

func TestTheJobForgetsNothingThatRedisDoesNotSpeakOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		k := w.keeper(10)
		start(t, k.job.Run)
		k.accept(t, logOf(1, 1), groupIn(1, 0), 10)
		k.mark(t, logOf(1, 1), markOf(1, 1), 3)
		w.mu.Lock()
		clear(w.seqs) // emptied
		clear(w.dirty)
		w.mu.Unlock()
		full := k.kept.Bytes()
		after(10 * time.Second)
		require.NotEmpty(t, w.arrived("reached"))
		require.Equal(t, full, k.kept.Bytes())
		u, err := k.kept.All(1)
		require.NoError(t, err)
		require.Len(t, u.Marks, 1)

		k.gens.set(1, 2) // what waits for a flush is not asked for in the new one
		asked := len(w.arrived("reached"))
		after(10 * time.Second)
		require.Len(t, w.arrived("reached"), asked)

		k.through(lose("reached", requestLost))
		k.accept(t, logOf(2, 1), groupIn(2, 0), 10)
		after(10 * time.Second)
		require.Contains(t, k.log.String(), "journal not compared")
		k.through(nil)
		w.mu.Lock()
		field(w.watermarks, logOf(2, 1))[groupIn(2, 0)] = 10
		w.mu.Unlock()
		after(4 * time.Second)
		require.Equal(t, full, k.kept.Bytes())
	})
}

func TestTheEndWritesEverything(t *testing.T) {
	t.Parallel()
	w := newWorld()
	k := w.keeper(10)
	for p := range partitions {
		k.accept(t, logOf(p, 1), groupIn(p, 0), 15)
		k.accept(t, logOf(p, 2), groupIn(p, 0), 15)
		k.mark(t, logOf(p, 2), markOf(p, 1), 3)
	}
	require.True(t, k.kept.KeepSend(domain.Accepted{Group: groupIn(0, 1), Gen: 1, Seq: 1}, []byte("{"), nil))
	k.through(func(_ context.Context, name string, of []domain.LogRange) outcome {
		if name == "insert" && of[0].Partition == 1 {
			return requestLost
		}
		return answered
	})
	err := k.job.Last(t.Context())
	require.ErrorIs(t, err, errCut)
	require.ErrorContains(t, err, groupIn(0, 1)+"/1", "what cannot be read keeps nothing else from being written")
	require.Equal(t, (partitions-1)*30, w.stored())
	require.Empty(t, w.arrived("flushed"), "no generation has begun")
	k.through(nil)
	require.Error(t, k.job.Last(t.Context()))
	require.Equal(t, partitions*30, w.stored())
	require.Len(t, w.storedMarks(), partitions)
	w.requireKept(t)
}

func TestTheEndTellsOfWhatCameLate(t *testing.T) {
	t.Parallel()
	w := newWorld()
	k := w.keeper(10)
	k.accept(t, logOf(1, 1), groupIn(1, 0), 5)
	k.accept(t, logOf(2, 1), groupIn(2, 0), 5)
	w.settled[1], w.settled[2] = 2, 2
	require.NoError(t, k.job.Flush(t.Context(), 1, 2)) // the job has no time any more to tell of it
	require.NoError(t, k.job.Last(t.Context()))
	require.Equal(t, []map[string]int64{{groupIn(1, 0): 1, groupIn(2, 0): 1}}, k.repaired)

	w = newWorld()
	k = w.keeper(10)
	k.accept(t, logOf(1, 1), groupIn(1, 0), 5)
	w.settled[1] = 2
	k.through(lose("repaired", requestLost))
	require.NoError(t, k.job.Last(t.Context()), "everything is written")
	require.Equal(t, 5, w.stored())
	require.Contains(t, k.log.String(), "not told of messages that came late")
}
