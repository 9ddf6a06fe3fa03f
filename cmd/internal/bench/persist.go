package bench

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
)

// rowsPoll is also how exact the time to the last row is. A count reads an index range, so it is not for free.
const rowsPoll = 50 * time.Millisecond

// rowTable counts the rows of a run.
type rowTable struct {
	*sql.DB
	pattern string
}

func openRows(dsn, prefix string) (*rowTable, error) {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return nil, &Error{Kind: Setup, Err: err}
	}
	return &rowTable{DB: db, pattern: likePrefix(prefix)}, nil
}

func (t *rowTable) count(ctx context.Context) (n int64, err error) {
	err = t.QueryRowContext(ctx, "SELECT COUNT(*) FROM group_msg WHERE group_id LIKE ?", t.pattern).Scan(&n)
	return n, err
}

// likePrefix matches ids that start with prefix; the underscore is the one character of ids with a meaning in LIKE.
func likePrefix(prefix string) string { return strings.ReplaceAll(prefix, "_", `\_`) + "%" }

// waitRows counts until there are want rows or more, or ctx reaches its deadline: then it returns what there is.
func waitRows(ctx context.Context, count func(context.Context) (int64, error), want int64) (int64, error) {
	tick := time.NewTicker(rowsPoll)
	defer tick.Stop()
	var rows int64
	for {
		n, err := count(ctx)
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return rows, nil
		case err != nil:
			return rows, errorf(Down, "counting rows in MySQL: %w", err)
		case n >= want:
			return n, nil
		}
		rows = n
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
