package mysqlrepo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Migration is one numbered step of the schema.
type Migration struct {
	Version int64
	Name    string // of its file
	Applied bool
}

// Migrate brings the schema to what this binary needs. Instances that start together do it one after another.
func (d *DB) Migrate(ctx context.Context) (failed error) {
	provider, err := d.migrator()
	if err != nil {
		return err
	}
	// Before goose takes a connection: while it waited for the lock, the server would end the silent session (silentSeconds).
	if d.dialect.goose == goose.DialectMySQL {
		locker, err := newMigrationLock()
		if err == nil {
			err = locker.Lock(ctx, d.sql)
		}
		if err != nil {
			return fmt.Errorf("migration lock: %w", err)
		}
		defer func() { failed = errors.Join(failed, locker.Unlock(context.WithoutCancel(ctx), d.sql)) }()
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// newMigrationLock asks every 100 ms, for 5 minutes: goose's 5 s would make each instance wait that long for the one before.
func newMigrationLock() (lock.Locker, error) {
	return lock.NewMySQLTableLocker(lock.WithTableLockTimeout(100*time.Millisecond, 3000), lock.WithTableLogger(slog.New(slog.DiscardHandler)))
}

func (d *DB) migrator() (*goose.Provider, error) {
	files, err := fs.Sub(migrations, d.dialect.migrations)
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger())}
	provider, err := goose.NewProvider(d.dialect.goose, d.sql, files, options...)
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	return provider, nil
}

// Status lists the migrations of this binary, oldest first. It changes nothing.
func (d *DB) Status(ctx context.Context) ([]Migration, error) {
	applied, err := d.applied(ctx)
	if err != nil {
		return nil, fmt.Errorf("status of migrations: %w", err)
	}
	provider, err := d.migrator()
	if err != nil {
		return nil, err
	}
	var list []Migration
	for _, source := range provider.ListSources() {
		list = append(list, Migration{Version: source.Version, Name: path.Base(source.Path), Applied: applied[source.Version]})
	}
	return list, nil
}

// applied are the versions that the database has; none before the first Migrate.
func (d *DB) applied(ctx context.Context) (map[int64]bool, error) {
	versions := make(map[int64]bool)
	err := each(ctx, d.sql, "SELECT version_id FROM goose_db_version WHERE is_applied", nil, func(rows *sql.Rows) error {
		var version int64
		if err := rows.Scan(&version); err != nil {
			return err
		}
		versions[version] = true
		return nil
	})
	if err != nil && !d.dialect.is(err, d.dialect.missingTable) {
		return nil, err
	}
	return versions, nil
}

// Check fails when the schema is older than this binary; a newer one is fine, as each migration works with the
// code before it.
func (d *DB) Check(ctx context.Context) error {
	list, err := d.Status(ctx)
	if err != nil {
		return err
	}
	for _, m := range list {
		if !m.Applied {
			return fmt.Errorf("the schema is older than this binary: migration %s is missing; run hearth migrate", m.Name)
		}
	}
	return nil
}
