package mysqlrepo

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// age makes an instance's heartbeat older.
func age(t *testing.T, db *DB, instance string, ms int64) {
	t.Helper()
	_, err := db.sql.ExecContext(t.Context(), "UPDATE instance SET heartbeat_time=heartbeat_time-? WHERE instance_id=?", ms, instance)
	require.NoError(t, err)
}

func unflushed(t *testing.T, db *DB, partition int, gen int64) []string {
	t.Helper()
	_, instances, err := db.Unflushed(t.Context(), partition, gen)
	require.NoError(t, err)
	return instances
}

func TestUnflushedNamesTheLivingWhoHaveNotReported(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		require.Empty(t, unflushed(t, db, 1, 7), "nobody lives")
		for _, instance := range []string{"a", "b", "c"} {
			_, err := db.Heartbeat(ctx, instance)
			require.NoError(t, err)
		}
		require.Equal(t, []string{"a", "b", "c"}, unflushed(t, db, 1, 7))
		require.NoError(t, db.Flushed(ctx, "a", 1, 7))
		require.NoError(t, db.Flushed(ctx, "b", 1, 6))
		require.NoError(t, db.Flushed(ctx, "c", 2, 7))
		require.Equal(t, []string{"b", "c"}, unflushed(t, db, 1, 7), "another generation, another partition")
		require.Equal(t, []string{"c"}, unflushed(t, db, 1, 6))

		age(t, db, "c", liveMS-1000)
		require.Equal(t, []string{"b", "c"}, unflushed(t, db, 1, 7))
		age(t, db, "c", 2000)
		require.Equal(t, []string{"b"}, unflushed(t, db, 1, 7), "it stands still")
		_, err := db.Heartbeat(ctx, "c")
		require.NoError(t, err)
		require.Equal(t, []string{"b", "c"}, unflushed(t, db, 1, 7), "and is back")

		require.NoError(t, db.Flushed(ctx, "b", 1, 8))
		require.NoError(t, db.Flushed(ctx, "b", 1, 7), "a report that comes late")
		require.Equal(t, []string{"a", "c"}, unflushed(t, db, 1, 8))
	})
}

func TestUnflushedTellsTheRow(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		row, _, err := db.Unflushed(t.Context(), 2, 1)
		require.NoError(t, err)
		require.Zero(t, row, "no generation yet")
		gen := raise(t, db, 2)
		row, _, err = db.Unflushed(t.Context(), 2, gen)
		require.NoError(t, err)
		require.Equal(t, gen, row.Gen)
		require.Equal(t, gen, row.Settled)
	})
}

func TestHeartbeatBringsTheGenerations(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gens, err := db.Heartbeat(t.Context(), "a")
		require.NoError(t, err)
		require.Empty(t, gens)
		raise(t, db, 0)
		raise(t, db, 3)
		second := raise(t, db, 3)
		gens, err = db.Heartbeat(t.Context(), "a")
		require.NoError(t, err)
		require.Len(t, gens, 2)
		require.Equal(t, second, gens[3].Gen)
		require.Equal(t, second, gens[3].Settled)
		require.NotEmpty(t, gens[3].Server)
	})
}

func TestDepartForgetsAnInstanceAndTheLongDead(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		for _, instance := range []string{"a", "b", "dead"} {
			_, err := db.Heartbeat(ctx, instance)
			require.NoError(t, err)
			require.NoError(t, db.Flushed(ctx, instance, 1, 3))
		}
		age(t, db, "dead", forgetMS+1000)
		require.NoError(t, db.Depart(ctx, "a"))
		for _, table := range []string{"instance", "instance_flushed"} {
			var ids []string
			require.NoError(t, each(ctx, db.sql, "SELECT instance_id FROM "+table, nil, func(rows *sql.Rows) error {
				var id string
				err := rows.Scan(&id)
				ids = append(ids, id)
				return err
			}))
			require.Equal(t, []string{"b"}, ids, table)
		}
		require.NoError(t, db.Depart(ctx, "a"), "again")
	})
}

func TestJustAfterAnOutageTheLivingStillLive(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		for _, instance := range []string{"a", "b", "dead"} {
			_, err := db.Heartbeat(ctx, instance)
			require.NoError(t, err)
		}
		age(t, db, "dead", 10*liveMS)
		require.Equal(t, []string{"a", "b"}, unflushed(t, db, 1, 7))
		outage := 20 * time.Second // nobody was heard
		age(t, db, "a", outage.Milliseconds())
		age(t, db, "b", outage.Milliseconds())
		require.Empty(t, unflushed(t, db, 1, 7))
		db.beats.last = db.beats.last.Add(-outage)
		db.beats.begun(db.beats.last.Add(time.Second))
		require.Equal(t, []string{"a", "b"}, unflushed(t, db, 1, 7), "before anybody was heard again")
		_, err := db.Heartbeat(ctx, "a")
		require.NoError(t, err)
		_, err = db.Heartbeat(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, unflushed(t, db, 1, 7), "b has some time to be heard")
		db.beats.over = db.beats.over.Add(-graceTime)
		require.Equal(t, []string{"a"}, unflushed(t, db, 1, 7), "and has not used it")
	})
}

// An instance that starts has said once that it lives, and then renews generations before it says so again. What it waits
// for must end meanwhile.
func TestAStartingInstanceDoesNotWaitForTheDeadForEver(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		for _, instance := range []string{"dead", "starting"} {
			_, err := db.Heartbeat(ctx, instance)
			require.NoError(t, err)
		}
		require.NoError(t, db.Flushed(ctx, "starting", 1, 7))
		require.Equal(t, []string{"dead"}, unflushed(t, db, 1, 7))
		for _, waited := range []time.Duration{time.Minute, time.Hour} {
			age(t, db, "dead", waited.Milliseconds())
			age(t, db, "starting", waited.Milliseconds())
			db.beats.last = time.Now().Add(-waited)
			require.Empty(t, unflushed(t, db, 1, 7), "after %v", waited)
		}
	})
}
