package mysqlrepo

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

func TestInspectGroupCountsItsRows(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		_, err := db.InspectGroup(ctx, "room")
		wantCode(t, err, domain.CodeNotFound)
		_, err = db.Create(ctx, domain.Group{ID: "room", Type: domain.Room, Name: "Room", Owner: "ann", MemberLimit: 10}, nil, func(*domain.GroupChange) {})
		require.NoError(t, err)
		got, err := db.InspectGroup(ctx, "room")
		require.NoError(t, err)
		require.Equal(t, []any{"Room", "ann", 1}, []any{got.Name, got.Owner, got.MemberCount})
		require.Equal(t, []int64{0, 0, 0}, []int64{got.MinSeq, got.MaxSeq, got.Count})

		gen := raise(t, db, db.partitions.Of("room"))
		raise(t, db, db.partitions.Of("Room"))
		insert(t, db, append(messages("room", 3, 7, gen), messages("room", 10, 12, gen)...)...)
		insert(t, db, messages("Room", 1, 50, 1)...)
		execSQL(t, db, "INSERT INTO seq_hole (group_id, from_seq, to_seq, reason) VALUES ('room', 8, 9, 'lost')")
		got, err = db.InspectGroup(ctx, "room")
		require.NoError(t, err)
		require.Equal(t, []int64{3, 12, 8}, []int64{got.MinSeq, got.MaxSeq, got.Count})
		require.Equal(t, domain.Holes{{From: 8, To: 9, Reason: domain.HoleLost}}, got.Holes)
		require.Empty(t, got.DeadLetters)

		for _, m := range append(messages("room", 8, 9, gen), messages("Room", 51, 51, 1)...) {
			_, err := db.AddDeadLetter(ctx, &m, "refused")
			require.NoError(t, err)
		}
		got, err = db.InspectGroup(ctx, "room")
		require.NoError(t, err)
		require.Equal(t, []int64{8, 9}, got.DeadLetters)
	})
}

func TestMessageCountsAreByStep(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("room"))
		insert(t, db, messages("room", 1, 20, gen)...) // one a second, the n-th n seconds behind a multiple of 5
		start := message("room", 0, gen).TimeMS
		require.Zero(t, start%5000)
		got, err := db.MessageCounts(t.Context(), "room", start+5000, 5000, 17)
		require.NoError(t, err)
		require.Equal(t, map[int64]int64{start + 5000: 5, start + 10_000: 5, start + 15_000: 3}, got)
		got, err = db.MessageCounts(t.Context(), "board", 0, 5000, 17)
		require.NoError(t, err)
		require.Empty(t, got)
	})
}

// A group of a million messages is counted in its index: their bodies would take minutes to read.
func TestCountingReadsNoBodies(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		if db.dialect.name != "mysql" { // others tell otherwise what they read
			return
		}
		insert(t, db, messages("room", 1, 100, raise(t, db, db.partitions.Of("room")))...)
		for _, query := range []string{
			"SELECT 1 FROM group_msg" + db.dialect.byGroupTime + " WHERE group_id='room' LIMIT 1000",
			"SELECT msg_time - msg_time % 5000, COUNT(*) FROM group_msg" + db.dialect.byGroupTime +
				" WHERE group_id='room' AND msg_time>=5 AND msg_seq<=99 GROUP BY 1",
		} {
			rows, err := db.sql.QueryContext(t.Context(), "EXPLAIN "+query)
			require.NoError(t, err)
			columns, err := rows.Columns()
			require.NoError(t, err)
			require.True(t, rows.Next())
			values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			require.NoError(t, rows.Scan(into...))
			require.NoError(t, rows.Close())
			require.Contains(t, values[len(values)-1].String, "Using index", query)
		}
	})
}
