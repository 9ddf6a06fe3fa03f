package mysqlrepo

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"hearth/domain"
)

// observed is a Redis without a generation.
func observed(identity string) func(context.Context) (domain.Observed, error) {
	return func(context.Context) (domain.Observed, error) { return domain.Observed{Identity: identity}, nil }
}

func TestConcurrentRenewsRaiseOnce(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		var redis atomic.Pointer[domain.Observed]
		redis.Store(&domain.Observed{Identity: "s1"})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				// Redis is set within the lock here, so that whoever comes next sees it.
				g, err := db.Renew(t.Context(), 1, func(context.Context) (domain.Observed, error) {
					seen := *redis.Load()
					redis.Store(&domain.Observed{Gen: 1, Server: "s1", Identity: "s1"})
					return seen, nil
				})
				if want := (domain.Generation{Gen: 1, Server: "s1"}); err != nil || g != want {
					t.Errorf("got %+v, %v, want %+v", g, err, want)
				}
			})
		}
		wg.Wait()
	})
}

func TestRenewRaisesWhenRedisIsAnotherServer(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		for i, o := range []domain.Observed{
			{Identity: "s1"},
			{Gen: 1, Server: "s1", Identity: "s2"},
			{Gen: 1, Server: "s1", Identity: "s1"}, // an old master is back
			{Gen: 3, Server: "s1", Identity: "s1"},
		} {
			got, err := db.Renew(t.Context(), 2, func(context.Context) (domain.Observed, error) { return o, nil })
			want := domain.Generation{Gen: min(int64(i)+1, 3), Server: o.Identity}
			if err != nil || got != want {
				t.Errorf("renew %d: got %+v, %v, want %+v", i, got, err, want)
			}
		}
	})
}

func TestRenewChangesNothingWhenRedisCannotBeAsked(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		away := errors.New("redis is away")
		_, err := db.Renew(t.Context(), 0, func(context.Context) (domain.Observed, error) { return domain.Observed{}, away })
		if !errors.Is(err, away) {
			t.Errorf("got %v, want %v", err, away)
		}
		if got := raise(t, db, 0); got != 1 {
			t.Errorf("generation afterwards: got %d, want 1", got)
		}
	})
}

func TestOnlyTheNewestGenerationIsSettled(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		if err := db.Settle(t.Context(), 3, 1); !errors.Is(err, ErrGeneration) {
			t.Errorf("without a row: got %v, want ErrGeneration", err)
		}
		first, second := raise(t, db, 3), raise(t, db, 3)
		if err := db.Settle(t.Context(), 3, first); !errors.Is(err, ErrGeneration) {
			t.Errorf("the one before: got %v, want ErrGeneration", err)
		}
		if err := db.Settle(t.Context(), 3, second); err != nil {
			t.Errorf("the same again: %v", err)
		}
		g, err := db.Renew(t.Context(), 3, func(context.Context) (domain.Observed, error) {
			return domain.Observed{Gen: second, Server: "server", Identity: "server"}, nil
		})
		if want := (domain.Generation{Gen: second, Server: "server", Settled: second}); err != nil || g != want {
			t.Errorf("got %+v, %v, want %+v", g, err, want)
		}
	})
}

// Settling must wait for insertions that the fence let through: Seed looks at the rows right after.
func TestSettleWaitsForRowsThatWereLetIn(t *testing.T) {
	t.Parallel()
	db := openEmpty(t, "mysql")
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := raise(t, db, 0)
	next, err := db.Renew(t.Context(), 0, observed("another server"))
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.sql.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was done
	if err := db.fence(t.Context(), tx, map[int]int64{0: old}); err != nil {
		t.Fatal(err)
	}
	settled := make(chan error, 1)
	go func() { settled <- db.Settle(t.Context(), 0, next.Gen) }()
	for waiting := 0; waiting == 0; { // until the server has had Settle's statement for a while
		row := db.sql.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND time_ms > 20 AND info LIKE 'SELECT gen%FOR UPDATE'")
		if err := row.Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-settled:
			t.Fatalf("settled (%v) while an insertion of generation %d was open", err, old)
		default:
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-settled; err != nil {
		t.Error(err)
	}
}
