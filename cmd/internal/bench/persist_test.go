package bench_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/cmd/internal/bench"
	"hearth/domain/testserver"
)

func TestSendWaitsForTheRows(t *testing.T) {
	t.Parallel()
	dsn := testserver.MySQL(t)
	db, err := sql.Open("mysql", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(t.Context(), "CREATE TABLE group_msg (group_id VARCHAR(64), msg_seq BIGINT, PRIMARY KEY (group_id, msg_seq))")
	require.NoError(t, err)
	insert := func(group string, seq uint64) {
		_, err := db.Exec("INSERT INTO group_msg VALUES (?, ?)", group, seq)
		require.NoError(t, err)
	}
	insert("benchXg0", 1) // the underscore of the prefix does not match X
	lost := uint64(0)     // seq
	f := startFake(t, &fake{onSend: func(s sent) {
		if s.Seq != lost {
			insert(s.Group, s.Seq)
		}
	}})
	cfg := small(f)
	cfg.MySQLDSN, cfg.Prefix, cfg.Messages = dsn, "bench_", 20

	r, err := bench.Send(t.Context(), cfg, nil)
	require.NoError(t, err)
	require.EqualValues(t, 20, r.Persisted.Rows)

	lost = 3
	cfg.Prefix, cfg.PersistWait = "again-", 100*time.Millisecond
	r, err = bench.Send(t.Context(), cfg, nil)
	requireKind(t, err, bench.Wrong, 5)
	require.Less(t, r.Persisted.Rows, int64(20))
	require.ErrorContains(t, err, "rows in MySQL")
}

func TestMySQLThatIsNotThereIsDown(t *testing.T) {
	t.Parallel()
	cfg := small(startFake(t, &fake{}))
	cfg.MySQLDSN = "root@tcp(127.0.0.1:1)/none"

	_, err := bench.Send(t.Context(), cfg, nil)

	requireKind(t, err, bench.Down, 4)
}
