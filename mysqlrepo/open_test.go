package mysqlrepo

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"hearth/domain/testserver"
)

func TestErrorAboutTheDSNDoesNotShowIt(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{
		"hearth:s3cret", "hearth:s3cret@tcp(127.0.0.1:3306", "hearth:s3cret@tcp(127.0.0.1:3306)/", "",
		"hearth:s3cret@tcp(127.0.0.1:3306)/db?timeout=s3cret", "hearth:s3cret@tcp(127.0.0.1:3306)/db?tls=s3cret",
		"hearth:s3cret@nonet(127.0.0.1:3306)/db",
	} {
		_, err := Open(t.Context(), Config{DSN: dsn})
		if err == nil {
			t.Errorf("%s: got nil, want an error", dsn)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error shows the password: %v", dsn, err)
		}
	}
}

func TestSessionsAreSetUpWhateverTheServersDefaults(t *testing.T) {
	t.Parallel()
	db := openEmpty(t, "mysql")
	var isolation, mode, client, collation string
	row := db.sql.QueryRowContext(t.Context(), "SELECT @@session.tx_isolation, @@session.sql_mode, @@session.character_set_client, @@session.collation_connection")
	if err := row.Scan(&isolation, &mode, &client, &collation); err != nil {
		t.Fatal(err)
	}
	got := isolation + " " + mode + " " + client + " " + collation
	want := "READ-COMMITTED STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION utf8mb4 utf8mb4_bin"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMemoryDatabaseLivesAsLongAsTheDB(t *testing.T) {
	t.Parallel()
	db, err := OpenSQLite(t.Context(), ":memory:", Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Ping(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("ping with a cancelled context: got %v, want %v", err, context.Canceled)
	}
	if err := db.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNegativeNumbersAreRefused(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{{MaxOpen: -1}, {MaxIdle: -1}, {ConnLifetime: -1}, {SeqJump: -1}, {Partitions: -1}} {
		if _, err := OpenSQLite(t.Context(), ":memory:", cfg); err == nil {
			t.Errorf("%+v: got nil, want an error", cfg)
		}
	}
}

func TestDeadlineHoldsWhenMySQLIsFrozen(t *testing.T) {
	t.Parallel()
	s := testserver.StartMySQL(t)
	db, err := Open(t.Context(), Config{DSN: s.DSN()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	insert(t, db, messages("room", 1, 30, 1)...)
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := db.Ping(ctx); err == nil {
		t.Error("ping of a frozen server: got nil, want an error")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("ping took %v, want about 50 ms", took)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("behind a restart: %v", err)
	}
	insert(t, db, messages("room", 21, 50, 1)...) // with statements that were prepared before
	if got := len(stored(t, db, "room")); got != 50 {
		t.Errorf("rows behind a restart: got %d, want 50", got)
	}
}

// What an instance has locked that was frozen, or cut off without a word, in the middle of a transaction comes free when it
// is no longer waited for. Only a server can end it: SQLite has none.
func TestATransactionThatStandsStillIsEnded(t *testing.T) {
	t.Parallel()
	cfg := testConfig
	cfg.DSN = testserver.MySQL(t)
	var dbs [2]*DB
	for i := range dbs {
		db, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		dbs[i] = db
	}
	frozen, other := dbs[0], dbs[1]
	if err := frozen.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	gen := raise(t, frozen, 1)
	tx, err := frozen.sql.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := frozen.fence(t.Context(), tx, map[int]int64{1: gen}); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	raise(t, other, 1)
	took := time.Since(begin)
	if took < time.Second || took > 2*liveMS*time.Millisecond { // else the fence locks nothing, or for too long
		t.Errorf("the lock of a silent session: got it after %v, want about %d s", took, silentSeconds)
	}
	if err := tx.Commit(); err == nil {
		t.Error("the transaction that was ended is committed")
	}
	if err := frozen.Ping(t.Context()); err != nil {
		t.Errorf("the pool after that: %v", err)
	}
}
