package jobs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hearth/domain"
)

const watchInterval = time.Second

// Observer is the Redis side of the watch.
type Observer interface {
	// ObserveAll tells what Redis says of every partition.
	ObserveAll(ctx context.Context) ([]domain.Observed, error)
}

// WatchGenerations is the job that notices within a second that Redis is another server, or in another generation,
// than this instance believes. Sends notice at once; but who only reads a partition, or only persists it, would go
// on with keys that nobody fills any more.
type WatchGenerations struct {
	redis Observer
	gens  Generations
	log   zerolog.Logger
	kick  chan struct{}
}

// NewWatchGenerations makes the job.
func NewWatchGenerations(redis Observer, gens Generations, log zerolog.Logger) *WatchGenerations {
	return &WatchGenerations{redis: redis, gens: gens, log: log, kick: make(chan struct{}, 1)}
}

// Kick has it look at once. It does not block.
func (w *WatchGenerations) Kick() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// Run watches until ctx is done.
func (w *WatchGenerations) Run(ctx context.Context) error {
	pause := time.NewTimer(watchInterval)
	defer pause.Stop()
	for ctx.Err() == nil {
		if err := w.once(ctx); err != nil && ctx.Err() == nil {
			w.log.Warn().Err(err).Msg("generations not compared, trying again")
		}
		pause.Reset(watchInterval)
		select {
		case <-ctx.Done():
		case <-pause.C:
		case <-w.kick:
		}
	}
	return nil
}

// once renews what does not agree, all partitions at once: each waits for what other instances have to write.
func (w *WatchGenerations) once(ctx context.Context) error {
	all, err := w.observe(ctx)
	if err != nil {
		return err
	}
	var renewals sync.WaitGroup
	errs := make([]error, len(all))
	for partition, o := range all {
		current := w.gens.Of(partition)
		if current > 0 && o.Gen == current && o.Server == o.Identity {
			continue
		}
		renewals.Go(func() { errs[partition] = w.renew(ctx, partition, current) })
	}
	renewals.Wait()
	return errors.Join(errs...)
}

func (w *WatchGenerations) observe(ctx context.Context) ([]domain.Observed, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return w.redis.ObserveAll(ctx)
}

// renew has a deadline of its own: one that hangs must not use up the time of the others.
func (w *WatchGenerations) renew(ctx context.Context, partition int, seen int64) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return w.gens.Renew(ctx, partition, seen)
}
