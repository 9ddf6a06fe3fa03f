package app

import (
	"context"
	"errors"
	"fmt"

	"hearth/configs"
	"hearth/domain"
	"hearth/mysqlrepo"
	"hearth/redisrepo"
)

// Stores are what instances with the same configuration keep things in, for commands that look at it beside them.
type Stores struct {
	SQL        *mysqlrepo.DB
	Redis      *redisrepo.Store
	Partitions domain.Partitions
}

// OpenStores connects to MySQL, and to Redis with the first command. It changes nothing: the schema has to be there.
func OpenStores(ctx context.Context, cfg configs.Config) (*Stores, error) {
	cfg.MySQL.Migrate = "check"
	sql, err := openMySQL(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s := &Stores{SQL: sql, Partitions: domain.Partitions(cfg.Redis.Partitions)}
	if err := sql.SamePartitions(ctx, s.Partitions); err != nil {
		return nil, errors.Join(err, sql.Close())
	}
	if s.Redis, err = redisrepo.Open(redisConfig(cfg, "")); err != nil {
		return nil, errors.Join(fmt.Errorf("open Redis: %w", err), sql.Close())
	}
	return s, nil
}

// Close ends the connections.
func (s *Stores) Close() error { return errors.Join(s.Redis.Close(), s.SQL.Close()) }
