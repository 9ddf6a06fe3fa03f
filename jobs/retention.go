package jobs

import (
	"context"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"hearth/domain"
)

const maxRetentionInterval = time.Minute

// OldRows is the MySQL side of retention.
type OldRows interface {
	// OldGroups names the groups of the limit oldest messages from fromMS on and before beforeMS, and the time to go on
	// from: beforeMS when there are no more.
	OldGroups(ctx context.Context, fromMS, beforeMS int64, limit int) (groups []string, next int64, err error)
	// Expire deletes up to limit messages from the start of a group that are older than beforeMS, and puts a hole in
	// their place. It returns how many.
	Expire(ctx context.Context, e domain.Expiry, beforeMS int64, limit int) (int, error)
	domain.HoleStore
}

// OldCache is the Redis side of retention.
type OldCache interface {
	NowMS(ctx context.Context) (int64, error)
	// Expiring notes groups and tells how much of each may be deleted.
	Expiring(ctx context.Context, groups []string) ([]domain.Expiry, error)
	domain.HoleCache // lets the recent messages of a group start where its history does, too
	// Expired lists the groups that were noted, and not again after that time; ForgetExpired forgets them.
	Expired(ctx context.Context, untilMS int64) ([]string, error)
	ForgetExpired(ctx context.Context, untilMS int64) error
}

// Retention is the job that deletes messages that are too old: MySQL first, then Redis.
type Retention struct {
	rows   OldRows
	cache  OldCache
	leases *Leases
	age    time.Duration
	batch  int
	logger zerolog.Logger
}

// NewRetention makes the job. Messages of this age are deleted, up to batchRows in a transaction; age 0: none ever.
func NewRetention(rows OldRows, cache OldCache, leases *Leases, age time.Duration, batchRows int, log zerolog.Logger) *Retention {
	return &Retention{rows: rows, cache: cache, leases: leases, age: age, batch: batchRows, logger: log}
}

// Run deletes until ctx is done. What it has begun with a group it brings to its end.
func (r *Retention) Run(ctx context.Context) error {
	if r.age == 0 {
		<-ctx.Done()
		return nil
	}
	interval := max(time.Second, min(r.age/10, maxRetentionInterval))
	backoff := time.Duration(0)
	for ctx.Err() == nil {
		pause := interval
		if err := r.round(ctx); err != nil && ctx.Err() == nil {
			backoff = nextBackoff(backoff)
			pause = backoff
			r.logger.Warn().Err(err).Dur("retry_in", pause).Msg("old messages not deleted")
		} else {
			backoff = 0
		}
		wait(ctx, pause)
	}
	return nil
}

// mine tells that this instance does it: the holder of one lease, whatever the partitions of the messages.
func (r *Retention) mine() bool { return slices.Contains(r.leases.Held(), 0) }

// round deletes everything that is too old when it begins. Messages are looked for in the order of their times, once:
// what has to stay for now waits for the next round.
func (r *Retention) round(ctx context.Context) error {
	if !r.mine() {
		return nil
	}
	now, err := r.cache.NowMS(ctx) // messages have their times from there
	if err != nil {
		return err
	}
	if err := r.repeat(ctx, now); err != nil {
		return err
	}
	total, before := 0, now-r.age.Milliseconds()
	for from := int64(0); from < before && ctx.Err() == nil && r.mine(); {
		groups, next, err := r.oldGroups(ctx, from, before)
		if err != nil {
			return err
		}
		n, err := r.expire(ctx, groups, before)
		if err != nil {
			return err
		}
		if n == 0 && next == from { // as many as a batch, all of one time, and they have to stay
			next++
		}
		total, from = total+n, next
	}
	if total > 0 {
		r.logger.Debug().Int("messages", total).Msg("old messages deleted")
	}
	return nil
}

func (r *Retention) oldGroups(ctx context.Context, fromMS, beforeMS int64) (groups []string, next int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return r.rows.OldGroups(ctx, fromMS, beforeMS, r.batch)
}

// repeat has Redis take over, once more, the holes of all groups that were noted before. A round that died between MySQL
// and Redis is brought to its end by that, and what others had read in MySQL before and written to Redis behind it
// is put right.
func (r *Retention) repeat(ctx context.Context, untilMS int64) error {
	groups, err := r.cache.Expired(ctx, untilMS)
	if err != nil || len(groups) == 0 {
		return err
	}
	for _, group := range groups {
		if err := r.takeOver(ctx, group); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	return r.cache.ForgetExpired(ctx, untilMS)
}

// expire deletes what is old of groups. It rests as long as each transaction took: sends need the database, too.
func (r *Retention) expire(ctx context.Context, groups []string, beforeMS int64) (total int, err error) {
	if len(groups) == 0 {
		return 0, nil
	}
	list, err := r.cache.Expiring(ctx, groups)
	if err != nil {
		return 0, err
	}
	for _, e := range list {
		start := time.Now()
		n, err := r.expireOne(ctx, e, beforeMS)
		if total += n; err != nil {
			return total, err
		}
		if wait(ctx, time.Since(start)); ctx.Err() != nil {
			break
		}
	}
	return total, nil
}

func (r *Retention) expireOne(ctx context.Context, e domain.Expiry, beforeMS int64) (n int, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	if n, err = r.rows.Expire(ctx, e, beforeMS, r.batch); err != nil || n == 0 {
		return n, err
	}
	return n, r.takeOver(ctx, e.Group)
}

// takeOver tells Redis the holes of a group as MySQL has them.
func (r *Retention) takeOver(ctx context.Context, group string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return domain.TakeHoles(ctx, r.rows, r.cache, group)
}
