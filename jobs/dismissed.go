package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"
)

const dismissedInterval = time.Second

// DismissedCache is the Redis side of groups that were dismissed.
type DismissedCache interface {
	// Dismissed lists those of a partition of which there may be something left.
	Dismissed(ctx context.Context, partition int) ([]string, error)
	// ForgetGroup deletes it. done is false while messages of the group are on their way to MySQL.
	ForgetGroup(ctx context.Context, group string) (done bool, err error)
}

// Dismissed is the job that deletes what Redis holds of dismissed groups, as soon as MySQL has their messages.
type Dismissed struct {
	cache  DismissedCache
	leases *Leases
	log    zerolog.Logger
}

// NewDismissed makes the job.
func NewDismissed(cache DismissedCache, leases *Leases, log zerolog.Logger) *Dismissed {
	return &Dismissed{cache: cache, leases: leases, log: log}
}

// Run looks every second until ctx is done. What fails is tried again, less often.
func (d *Dismissed) Run(ctx context.Context) error {
	backoff := time.Duration(0)
	for ctx.Err() == nil {
		pause := dismissedInterval
		if err := d.round(ctx); err != nil && ctx.Err() == nil {
			backoff = nextBackoff(backoff)
			pause = max(pause, backoff)
			d.log.Warn().Err(err).Dur("retry_in", pause).Msg("dismissed groups not deleted from Redis")
		} else {
			backoff = 0
		}
		wait(ctx, pause)
	}
	return nil
}

func (d *Dismissed) round(ctx context.Context) error {
	var failed []error // a node of a cluster that is away does not hold up the others
	for _, p := range d.leases.Held() {
		groups, err := d.cache.Dismissed(ctx, p)
		failed = append(failed, err)
		for _, group := range groups {
			done, err := d.cache.ForgetGroup(ctx, group)
			failed = append(failed, err)
			if done {
				d.log.Debug().Str("group", group).Msg("dismissed group deleted from Redis")
			}
		}
	}
	return errors.Join(failed...)
}
