// Package mysqlrepo keeps groups, members, messages, read marks, generations, seeds and holes in MySQL (or
// MariaDB), and for development in SQLite, behind the interfaces that domain declares. Its README.md tells what
// is where.
//
// A [DB] is safe for concurrent use. Errors are [domain.Error] where the caller asked for something that cannot
// be (not_found, gone, conflict, forbidden, too_large), the sentinels of errors.go where a rule of generations or
// seqs says no, and otherwise what the database said, wrapped with the operation and its ids, never with values.
package mysqlrepo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"hearth/domain"
)

// Defaults of Config.
const (
	DefaultPartitions   = domain.Partitions(16)
	DefaultSeqJump      = 1_000_000
	defaultMaxOpen      = 32
	defaultConnLifetime = 30 * time.Minute
)

// Config is how to reach the database. The zero value of everything but DSN is a default.
type Config struct {
	DSN          string        // of go-sql-driver: user:password@tcp(host:port)/database?param=value
	MaxOpen      int           // connections; 0: 32; at least 2
	MaxIdle      int           // 0: as MaxOpen
	ConnLifetime time.Duration // 0: 30 minutes
	SeqJump      int64         // how far above everything known a group starts in a new generation; 0: 1,000,000
	Partitions   domain.Partitions
	Hooks        bool // what is stored is queued for webhooks
}

func (c Config) withDefaults() (Config, error) {
	if c.MaxOpen < 0 || c.MaxIdle < 0 || c.ConnLifetime < 0 || c.SeqJump < 0 || c.Partitions < 0 {
		return c, errors.New("mysql: numbers in the configuration must not be negative")
	}
	if c.MaxOpen == 0 {
		c.MaxOpen = defaultMaxOpen
	}
	c.MaxOpen = max(c.MaxOpen, 2) // a migration holds one while it asks for its lock with another
	if c.MaxIdle == 0 {
		c.MaxIdle = c.MaxOpen
	}
	if c.ConnLifetime == 0 {
		c.ConnLifetime = defaultConnLifetime
	}
	if c.SeqJump == 0 {
		c.SeqJump = DefaultSeqJump
	}
	if c.Partitions == 0 {
		c.Partitions = DefaultPartitions
	}
	return c, nil
}

// DB is a connection pool and everything hearth does with it.
type DB struct {
	sql        *sql.DB
	gorm       *gorm.DB
	dialect    *dialect
	partitions domain.Partitions
	seqJump    int64
	hooks      bool
	now        func() time.Time
	beats      beats

	insertPlain, insertFull *batch // messages
	raiseReads              *batch // read marks
}

var (
	_ domain.HeadStore       = (*DB)(nil)
	_ domain.MessageStore    = (*DB)(nil)
	_ domain.GenerationStore = (*DB)(nil)
	_ domain.SeedStore       = (*DB)(nil)
	_ domain.GroupStore      = (*DB)(nil)
)

// newDB takes pool over: it is closed when newDB fails.
func newDB(ctx context.Context, pool *sql.DB, d *dialect, cfg Config) (*DB, error) {
	db, err := func() (*DB, error) {
		if err := pool.PingContext(ctx); err != nil {
			return nil, fmt.Errorf("reach %s: %w", d.name, err)
		}
		orm, err := gorm.Open(d.gorm(pool), &gorm.Config{
			SkipDefaultTransaction: true,
			Logger:                 logger.Discard, // statements carry what people wrote
			DisableAutomaticPing:   true,
			QueryFields:            true, // columns are named, so that one added later does no harm
		})
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", d.name, err)
		}
		plain, full := newMessageBatches(d)
		return &DB{
			sql: pool, gorm: orm, dialect: d,
			partitions: cfg.Partitions, seqJump: cfg.SeqJump, hooks: cfg.Hooks, now: time.Now,
			insertPlain: plain, insertFull: full, raiseReads: newMarkBatch(d),
		}, nil
	}()
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return db, nil
}

// Close closes the pool; it waits for statements that run.
func (d *DB) Close() error { return d.sql.Close() }

// Ping reports whether the database answers.
func (d *DB) Ping(ctx context.Context) error {
	if err := d.sql.PingContext(ctx); err != nil {
		return fmt.Errorf("ping %s: %w", d.dialect.name, err)
	}
	return nil
}

// Stats are the figures of the connection pool.
func (d *DB) Stats() sql.DBStats { return d.sql.Stats() }
