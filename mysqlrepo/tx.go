package mysqlrepo

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"

	"gorm.io/gorm"
)

const (
	maxTries = 6
	tryAgain = 5 * time.Millisecond // grows with the tries, with jitter
)

// tx runs do in a transaction that reads what is committed. When the database ends it for a deadlock or a lock that
// took too long, all of it is done again: do must not leave traces outside.
func (d *DB) tx(ctx context.Context, do func(*sql.Tx) error) error {
	for try := 1; ; try++ {
		err := d.once(ctx, d.dialect.write, do)
		if d.dialect.is(err, d.dialect.refused) {
			return &refusedError{d.dialect, err}
		}
		if err == nil || try == maxTries || !d.dialect.is(err, d.dialect.retryable) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(time.Duration(try) * tryAgain * time.Duration(50+rand.IntN(100)) / 100):
		}
	}
}

// view runs do in a transaction that sees one moment and changes nothing.
func (d *DB) view(ctx context.Context, do func(*sql.Tx) error) error {
	return d.once(ctx, d.dialect.snapshot, do)
}

func (d *DB) once(ctx context.Context, options *sql.TxOptions, do func(*sql.Tx) error) error {
	tx, err := d.sql.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing behind a Commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// orm is GORM within a transaction.
func (d *DB) orm(ctx context.Context, tx *sql.Tx) *gorm.DB {
	session := d.gorm.Session(&gorm.Session{NewDB: true, Context: ctx})
	session.Statement.ConnPool = tx
	return session
}

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each calls scan for every row of a query.
func each(ctx context.Context, q querier, query string, args []any, scan func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
