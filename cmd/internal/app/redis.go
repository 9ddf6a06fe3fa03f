package app

import (
	"context"
	"errors"

	"hearth/configs"
	"hearth/domain"
	"hearth/redisrepo"
)

// OpenRedis opens the configured Redis for a command beside the instances. It raises no generations: it uses those that
// Redis is in now.
func OpenRedis(ctx context.Context, cfg configs.Config) (*redisrepo.Store, error) {
	store, err := redisrepo.Open(redisConfig(cfg, ""))
	if err != nil {
		return nil, err
	}
	observed, err := store.ObserveAll(ctx)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	store.UseGenerations(foundGenerations(observed))
	return store, nil
}

// foundGenerations are those that Redis was in when the command began.
type foundGenerations []domain.Observed

func (f foundGenerations) Of(partition int) int64 { return f[partition].Gen }

// Renew fails: the instances do that.
func (f foundGenerations) Renew(context.Context, int, int64) error {
	return errors.New("redis has changed meanwhile, try again")
}
