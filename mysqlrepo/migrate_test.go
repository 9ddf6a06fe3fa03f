package mysqlrepo

import (
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/domain/testserver"
)

func TestInstancesThatStartTogetherMigrateOnce(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"sqlite", "mysql"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			db := openEmpty(t, backend)
			instances := []*DB{db, db}
			if backend == "mysql" {
				var dsn string
				if err := db.sql.QueryRowContext(t.Context(), "SELECT DATABASE()").Scan(&dsn); err != nil {
					t.Fatal(err)
				}
				own := testserver.MySQL(t)
				dsn = own[:strings.LastIndex(own, "/")+1] + dsn
				for range 3 {
					other, err := Open(t.Context(), Config{DSN: dsn})
					if err != nil {
						t.Fatal(err)
					}
					defer other.Close()
					instances = append(instances, other)
				}
			}
			var wg sync.WaitGroup
			for _, instance := range instances {
				wg.Go(func() {
					if err := instance.Migrate(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if err := db.Check(t.Context()); err != nil {
				t.Error(err)
			}
			var applied int
			if err := db.sql.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM goose_db_version WHERE version_id>0").Scan(&applied); err != nil {
				t.Fatal(err)
			}
			list, err := db.Status(t.Context())
			if err != nil || len(list) != applied {
				t.Errorf("got %d applied migrations, want each of %+v (%v) once", applied, list, err)
			}
		})
	}
}

func TestSchemaOlderThanTheBinaryIsRefused(t *testing.T) {
	t.Parallel()
	for _, backend := range []string{"sqlite", "mysql"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			db := openEmpty(t, backend)
			status, err := db.Status(t.Context())
			if err != nil || len(status) == 0 || status[0].Applied || status[0].Name != "00001_initial.sql" {
				t.Errorf("status of an empty database: got %+v, %v", status, err)
			}
			if err := db.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "00001_initial.sql") {
				t.Errorf("check of an empty database: got %v, want an error that names the migration", err)
			}
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := db.Check(t.Context()); err != nil {
				t.Errorf("check behind migrate: %v", err)
			}
			execSQL(t, db, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)")
			if err := db.Check(t.Context()); err != nil {
				t.Errorf("check of a newer schema: %v", err)
			}
		})
	}
}

// A migration that a crash cut off starts again from its top, although MySQL has committed its first tables.
func TestMigrationThatWasCutOffIsRepeated(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		insert(t, db, message("room", 1, 1))
		execSQL(t, db, "DELETE FROM goose_db_version WHERE version_id>0")
		execSQL(t, db, "DROP TABLE setting")
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Setting(t.Context(), "any"); err != nil {
			t.Error(err)
		}
		if got := seqs(stored(t, db, "room")); got != "1" {
			t.Errorf("seqs: got %q, want 1", got)
		}
	})
}

// Whatever the server's default is, ids compare by bytes and text takes all of Unicode.
func TestSchemaDoesNotDependOnTheServersCollation(t *testing.T) {
	t.Parallel()
	db := openEmpty(t, "mysql")
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := db.sql.QueryContext(t.Context(), `SELECT CONCAT(table_name, '.', column_name, ' ', collation_name) FROM information_schema.columns
		WHERE table_schema = DATABASE() AND table_name NOT LIKE 'goose%' AND collation_name IS NOT NULL`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var column string
		if err := rows.Scan(&column); err != nil {
			t.Fatal(err)
		}
		n++
		if !strings.HasSuffix(column, " ascii_bin") && !strings.HasSuffix(column, " utf8mb4_bin") {
			t.Errorf("column %s: want ascii_bin or utf8mb4_bin", column)
		}
	}
	if rows.Err() != nil || n < 20 {
		t.Errorf("looked at %d columns, %v, want more than 20", n, rows.Err())
	}
}

// Whoever waits for the migrations of another instance waits longer than the server lets a session be silent.
func TestWaitingForMigrationsTakesLong(t *testing.T) {
	t.Parallel()
	cfg := testConfig
	cfg.DSN = testserver.MySQL(t)
	db, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	other, err := newMigrationLock()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Lock(t.Context(), db.sql); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- db.Migrate(t.Context()) }()
	select {
	case err := <-done:
		t.Fatalf("migrated beside another: %v", err)
	case <-time.After((silentSeconds + 1) * time.Second): // nothing tells when the server would have ended a session
	}
	if err := other.Unlock(t.Context(), db.sql); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := db.Check(t.Context()); err != nil {
		t.Error(err)
	}
}
