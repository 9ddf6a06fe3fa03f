package main

import (
	"context"
	"errors"
	"fmt"

	"hearth/configs"
	"hearth/domain"
	"hearth/mysqlrepo"
)

// MigrateCmd is `hearth migrate`.
type MigrateCmd struct {
	Up     MigrateUpCmd     `cmd:"" help:"Apply the migrations that are missing; safe while instances run."`
	Status MigrateStatusCmd `cmd:"" help:"List the migrations, and which are missing."`
}

// MigrateUpCmd is `hearth migrate up`.
type MigrateUpCmd struct{ ConfigFlag }

// Run brings the schema up to date and says what it did.
func (c *MigrateUpCmd) Run(ctx context.Context, p *Process) error {
	return c.withMySQL(ctx, p, func(db *mysqlrepo.DB) error {
		before, err := db.Status(ctx)
		if err != nil {
			return err
		}
		if err := db.Migrate(ctx); err != nil {
			return err
		}
		for _, m := range before {
			if !m.Applied {
				fmt.Fprintf(p.Stdout, "applied   %s\n", m.Name)
			}
		}
		fmt.Fprintln(p.Stdout, "The schema is up to date.")
		return nil
	})
}

// MigrateStatusCmd is `hearth migrate status`.
type MigrateStatusCmd struct{ ConfigFlag }

// Run prints a line for each migration, and changes nothing.
func (c *MigrateStatusCmd) Run(ctx context.Context, p *Process) error {
	return c.withMySQL(ctx, p, func(db *mysqlrepo.DB) error {
		list, err := db.Status(ctx)
		for _, m := range list {
			state := "missing"
			if m.Applied {
				state = "applied"
			}
			fmt.Fprintf(p.Stdout, "%s   %s\n", state, m.Name)
		}
		return err
	})
}

// withMySQL opens the configured database for the time of use.
func (f ConfigFlag) withMySQL(ctx context.Context, p *Process, use func(*mysqlrepo.DB) error) error {
	config, err := f.load(p)
	if err != nil {
		return err
	}
	return withMySQL(ctx, config, use)
}

func withMySQL(ctx context.Context, config configs.Config, use func(*mysqlrepo.DB) error) (err error) {
	if config.MySQL.DSN == "" {
		return configs.Mistakes{{Key: "mysql.dsn", Message: "is required, from a file (-c FILE) or HEARTH_MYSQL_DSN"}}
	}
	db, err := mysqlrepo.Open(ctx, mysqlrepo.Config{
		DSN:        config.MySQL.DSN.Reveal(),
		MaxOpen:    2,
		Partitions: domain.Partitions(config.Redis.Partitions),
		SeqJump:    config.Seq.Jump,
		Hooks:      config.Webhooks.URL != "",
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return use(db)
}
