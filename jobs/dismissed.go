package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"hearth/domain"
)

const (
	dismissedInterval = time.Second
	membersAtOnce     = 500
)

// DismissedCache is the Redis side of groups that were dismissed.
type DismissedCache interface {
	// Dismissed lists those of a partition of which there may be something left, and of which MySQL has all messages.
	Dismissed(ctx context.Context, partition int) ([]string, error)
	// ForgetMine takes a group out of the cached lists of users' groups.
	ForgetMine(ctx context.Context, group string, users []string) error
	// ForgetGroup deletes it. done is false while messages of the group are on their way to MySQL.
	ForgetGroup(ctx context.Context, group string) (done bool, err error)
}

// DismissedRows is the MySQL side.
type DismissedRows interface {
	// Members lists the members of a group above the user after, by user id.
	Members(ctx context.Context, group, after string, limit int) ([]domain.Membership, error)
}

// Dismissed is the job that deletes what Redis holds of dismissed groups, as soon as MySQL has their messages.
type Dismissed struct {
	cache  DismissedCache
	rows   DismissedRows
	leases *Leases
	log    zerolog.Logger
}

// NewDismissed makes the job.
func NewDismissed(cache DismissedCache, rows DismissedRows, leases *Leases, log zerolog.Logger) *Dismissed {
	return &Dismissed{cache: cache, rows: rows, leases: leases, log: log}
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
			failed = append(failed, d.forget(ctx, group))
		}
	}
	return errors.Join(failed...)
}

// forget takes the group out of its members' lists first: who connects while MySQL is away goes by his list, and MySQL is
// the only one to know what the group was when Redis has forgotten it.
func (d *Dismissed) forget(ctx context.Context, group string) error {
	for after := ""; ; {
		members, err := d.members(ctx, group, after)
		if err != nil {
			return err
		}
		if len(members) == 0 {
			break
		}
		users := make([]string, len(members))
		for i, m := range members {
			users[i] = m.User
		}
		if err := d.cache.ForgetMine(ctx, group, users); err != nil {
			return err
		}
		after = users[len(users)-1]
	}
	done, err := d.cache.ForgetGroup(ctx, group)
	if done {
		d.log.Debug().Str("group", group).Msg("dismissed group deleted from Redis")
	}
	return err
}

// members has a time of its own: a connection to MySQL that is dead without a word must not hold up the other groups.
func (d *Dismissed) members(ctx context.Context, group, after string) ([]domain.Membership, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return d.rows.Members(ctx, group, after, membersAtOnce)
}
