package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hearth/domain"
)

const (
	changesInterval = time.Second
	// changeAge is how long whoever made a change is left alone with it. It is normally applied in milliseconds.
	changeAge    = 2 * time.Second
	changesBatch = 100
)

// KeptChanges is the MySQL side of changes that may not have reached Redis.
type KeptChanges interface {
	// Unapplied lists changes of partitions that are older than age and still kept, the oldest first, up to limit; next is
	// where to go on, 0 when there are no more. Changes that can be read are returned beside the error about others.
	Unapplied(ctx context.Context, partitions []int, age time.Duration, after int64, limit int) (changes []*domain.GroupChange, next int64, err error)
}

// ChangeRepeater brings a change to Redis once more, and then forgets it; domain.Groups is it.
type ChangeRepeater interface {
	Repeat(ctx context.Context, c *domain.GroupChange) error
}

// Changes is the job that brings changes of groups and members to Redis that MySQL has, and whose maker died or failed
// before that.
type Changes struct {
	kept     KeptChanges
	groups   ChangeRepeater
	leases   *Leases
	log      zerolog.Logger
	repeated prometheus.Counter
}

// NewChanges makes the job.
func NewChanges(kept KeptChanges, groups ChangeRepeater, leases *Leases, log zerolog.Logger, reg prometheus.Registerer) *Changes {
	repeated := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "hearth_changes_repeated_total", Help: "Changes of groups and members that were brought to Redis by the job, not by whoever made them.",
	})
	reg.MustRegister(repeated)
	return &Changes{kept: kept, groups: groups, leases: leases, log: log, repeated: repeated}
}

// Run repeats what is not applied until ctx is done.
func (c *Changes) Run(ctx context.Context) error {
	backoff := time.Duration(0)
	for {
		pause := changesInterval
		if err := c.round(ctx); err != nil && ctx.Err() == nil {
			backoff = nextBackoff(max(backoff, changesInterval/2))
			pause = backoff
			c.log.Warn().Err(err).Dur("retry_in", pause).Msg("changes of groups not brought to Redis, trying again")
		} else {
			backoff = 0
		}
		wait(ctx, pause)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// round repeats changes in the order in which they were made. One that fails does not keep other groups waiting, but later
// changes of its own group.
func (c *Changes) round(ctx context.Context) error {
	var failed []error
	held := make(map[string]bool)
	for after := int64(0); ctx.Err() == nil; {
		list, next, err := c.list(ctx, after)
		failed = append(failed, err)
		for _, change := range list {
			if held[change.ID] || ctx.Err() != nil {
				continue
			}
			if err := c.groups.Repeat(ctx, change); err != nil {
				held[change.ID] = true
				if len(failed) < changesBatch { // a line of the log has its limits
					failed = append(failed, err)
				}
				continue
			}
			c.repeated.Inc()
			c.log.Warn().Str("group", change.ID).Int64("version", change.Version).Msg("change of a group brought to Redis that was left behind")
		}
		if after = next; next == 0 {
			break
		}
	}
	return errors.Join(failed...)
}

func (c *Changes) list(ctx context.Context, after int64) (changes []*domain.GroupChange, next int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return c.kept.Unapplied(ctx, c.leases.Held(), changeAge, after, changesBatch)
}
