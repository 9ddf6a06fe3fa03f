package mysqlrepo

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestRecalledRowsAreEmptiedOnce(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		sent := append(messages("a", 1, 4, 1), messages("A", 1, 2, 1)...)
		insert(t, db, sent...)
		recalls := []domain.Recall{
			{Group: "a", Seq: 3, TimeMS: 700, By: "ann"},
			{Group: "a", Seq: 1, TimeMS: 500, By: "ann"},
			{Group: "a", Seq: 9, TimeMS: 600, By: "ann"}, // there is no such row
		}
		for range 2 {
			require.NoError(t, db.RecallMessages(ctx, recalls))
			recalls[0].TimeMS, recalls[0].By = 900, "bob" // the first one counts
		}
		records, err := db.Messages(ctx, domain.Range{Group: "a", From: 1, To: 9, Limit: 9})
		require.NoError(t, err)
		require.Len(t, records, 4)
		for i, want := range []struct {
			ms int64
			by string
		}{{500, "ann"}, {}, {700, "ann"}, {}} {
			ms, by := records[i].Recalled()
			require.Equal(t, want.ms, ms, "seq %d", i+1)
			require.Equal(t, want.by, by)
		}
		var bodies int
		require.NoError(t, db.sql.QueryRowContext(ctx, "SELECT COUNT(*) FROM group_msg WHERE msg_body=''").Scan(&bodies))
		require.Equal(t, 2, bodies)
		insert(t, db, sent...) // a batch that comes again changes nothing, and is not taken for another message
		records, err = db.Messages(ctx, domain.Range{Group: "a", From: 1, To: 1, Limit: 1})
		require.NoError(t, err)
		require.NotContains(t, string(records[0].Tail), "body")
	})
}

func TestRecallsSinceATime(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		insert(t, db, append(messages("a", 1, 9, 1), messages("b", 1, 9, 1)...)...)
		require.NoError(t, db.RecallMessages(ctx, []domain.Recall{
			{Group: "a", Seq: 2, TimeMS: 100, By: "u"},
			{Group: "a", Seq: 4, TimeMS: 50, By: "u"},
			{Group: "a", Seq: 8, TimeMS: 200, By: "u"},
			{Group: "b", Seq: 1, TimeMS: 200, By: "u"},
		}))
		for _, c := range []struct {
			after int64
			upTo  map[string]int64
			want  map[string][]int64
		}{
			{0, map[string]int64{"a": 9, "b": 9}, map[string][]int64{"a": {2, 4, 8}, "b": {1}}},
			{50, map[string]int64{"a": 9, "b": 0}, map[string][]int64{"a": {2, 8}}},
			{99, map[string]int64{"a": 7}, map[string][]int64{"a": {2}}},
			{200, map[string]int64{"a": 9, "b": 9}, map[string][]int64{}},
		} {
			found, rest, err := db.RecalledSince(ctx, c.after, c.upTo, 0)
			require.NoError(t, err)
			require.Empty(t, rest)
			got := map[string][]int64{}
			for group, list := range found {
				for _, r := range list {
					require.Equal(t, "u", r.By)
					got[group] = append(got[group], r.Seq)
				}
			}
			for group := range c.want {
				require.ElementsMatch(t, c.want[group], got[group], "%+v", c)
			}
			require.Len(t, got, len(c.want))
		}

		all := map[string]int64{"a": 9, "b": 9, "c": 9}
		for limit, want := range map[int][]string{1: {"a", "b", "c"}, 2: {"a", "b", "c"}, 3: {"b", "c"}, 4: nil} {
			found, rest, err := db.RecalledSince(ctx, 0, all, limit)
			require.NoError(t, err)
			require.Equal(t, want, rest, "limit %d", limit)
			for _, group := range rest {
				require.NotContains(t, found, group)
			}
			if limit > 2 {
				require.Len(t, found["a"], 3)
			}
		}
	})
}

// Recalls of a log are written with its messages, or, when a newer generation is settled, not at all.
func TestRecallsAreInTheTransactionOfTheirMessages(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		ctx, group := t.Context(), "a"
		gen := raise(t, db, db.partitions.Of(group))
		gens := map[int]int64{db.partitions.Of(group): gen}
		msgs := messages(group, 1, 3, gen)
		of := func(seq int64) domain.Recall { return domain.Recall{Group: group, Seq: seq, TimeMS: 700, By: "ann"} }
		for range 2 { // as after a crash
			require.NoError(t, db.InsertMessages(ctx, gens, msgs[:2], of(2)))
		}
		require.NoError(t, db.InsertMessages(ctx, gens, nil, of(1)))
		require.NoError(t, db.InsertMessages(ctx, gens, nil))
		require.Equal(t, []int64{1, 2}, recalledSeqs(t, db, group))
		require.NoError(t, db.InsertMessages(ctx, gens, msgs[2:]))

		raise(t, db, db.partitions.Of(group))
		require.ErrorIs(t, db.InsertMessages(ctx, gens, nil, of(3)), ErrFenced)
		require.Equal(t, []int64{1, 2}, recalledSeqs(t, db, group))
		require.NoError(t, db.RecallMessages(ctx, []domain.Recall{of(3)}), "a journal's are never too late")
		require.Equal(t, []int64{1, 2, 3}, recalledSeqs(t, db, group))
	})
}

// recalledSeqs are those of a group's rows that are tombstones.
func recalledSeqs(t *testing.T, db *DB, group string) (seqs []int64) {
	t.Helper()
	records, err := db.Messages(t.Context(), domain.Range{Group: group, From: 1, To: 1 << 50, Limit: 1000})
	require.NoError(t, err)
	for _, r := range records {
		if ms, _ := r.Recalled(); ms != 0 {
			seqs = append(seqs, r.Seq)
		}
	}
	return seqs
}

// What was recalled before MySQL refused it comes back as a tombstone.
func TestRecalledDeadLettersComeBackEmpty(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		msgs := messages("a", 1, 2, 1)
		insert(t, db, msgs[0])
		dead, err := db.AddDeadLetter(ctx, &msgs[1], "reason")
		require.NoError(t, err)
		require.True(t, dead)
		for _, by := range []string{"ann", "bob"} { // the first one counts
			require.NoError(t, db.RecallMessages(ctx, []domain.Recall{{Group: "a", Seq: 2, TimeMS: 700, By: by}}))
		}
		letters, err := db.DeadLetters(ctx, domain.LetterQuery{Limit: 9})
		require.NoError(t, err)
		require.Len(t, letters, 1)
		require.Empty(t, letters[0].Body)
		require.Equal(t, "ann", letters[0].RecalledBy)
		stored, _, err := db.RetryDeadLetter(ctx, "a", 2)
		require.NoError(t, err)
		require.NotNil(t, stored)
		require.Equal(t, []int64{2}, recalledSeqs(t, db, "a"))
		require.Equal(t, msgs[1].Hash, stored.Hash)
	})
}

// A journal's recall waits for the letter, and finds a row in its place.
func TestADeadLetterIsRecalledThatIsRetriedMeanwhile(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		if db.dialect.name == "sqlite" {
			t.Skip("one transaction at a time")
		}
		ctx := t.Context()
		raise(t, db, db.partitions.Of("a"))
		msgs := messages("a", 1, 1, 1)
		_, err := db.AddDeadLetter(ctx, &msgs[0], "reason")
		require.NoError(t, err)
		done := make(chan error, 1)
		err = db.tx(ctx, func(tx *sql.Tx) error {
			letter, err := db.lockLetter(ctx, tx, "a", 1)
			require.NoError(t, err)
			go func() { done <- db.RecallMessages(ctx, []domain.Recall{{Group: "a", Seq: 1, TimeMS: 700, By: "ann"}}) }()
			require.Eventually(t, func() bool { return lockWaits(ctx, db) > 0 }, 10*time.Second, 200*time.Millisecond) // InnoDB shows what is 100 ms old to who asks more often
			if _, err := db.insertLate(ctx, tx, []*domain.Message{&letter.Message}); err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, "DELETE FROM dead_letter WHERE group_id='a'")
			return err
		})
		require.NoError(t, err)
		require.NoError(t, <-done)
		require.Equal(t, []int64{1}, recalledSeqs(t, db, "a"))
	})
}

// lockWaits counts the database's transactions that wait for others; 0 when that cannot be told.
func lockWaits(ctx context.Context, db *DB) (n int) {
	query := "SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p ON p.id=t.trx_mysql_thread_id" +
		" WHERE p.db=DATABASE() AND t.trx_state='LOCK WAIT'"
	_ = db.sql.QueryRowContext(ctx, query).Scan(&n)
	return n
}

// Whoever showed the tombstone brings it behind the message itself.
func TestALateTombstoneEmptiesTheRow(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("a"))
		sent := messages("a", 1, 2, gen)
		insert(t, db, sent...)
		sent[1].RecalledMS, sent[1].RecalledBy, sent[1].Body = 700, "bob", nil
		_, err := db.InsertLate(t.Context(), sent)
		require.NoError(t, err)
		require.Equal(t, []int64{2}, recalledSeqs(t, db, "a"))
	})
}
