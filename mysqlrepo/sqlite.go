package mysqlrepo

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"

	_ "github.com/glebarez/sqlite" // registers the driver
)

// OpenSQLite opens or makes the file at path, or with ":memory:" a database that lives as long as the DB. It is for
// development and tests: one connection does everything, so a statement waits for the transaction before it.
func OpenSQLite(ctx context.Context, path string, cfg Config) (*DB, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	options := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(10000)", // another process, such as a shell, may hold the file
		"journal_mode(WAL)",
		"synchronous(NORMAL)",
	}}
	pool, err := sql.Open("sqlite", path+"?"+options.Encode())
	if err != nil {
		return nil, fmt.Errorf("open sqlite: %w", err)
	}
	pool.SetMaxOpenConns(1)
	pool.SetMaxIdleConns(1)
	return newDB(ctx, pool, &sqliteDialect, cfg)
}
