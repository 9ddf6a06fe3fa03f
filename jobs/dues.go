package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	dueWorkers = 8
	dueTimeout = 10 * time.Second // of one try
)

// dues are things to be done beside a job, each until it has succeeded: a few at a time, and what fails again with the
// next kick.
type dues[T comparable] struct {
	do   func(ctx context.Context, t T) error
	max  int // that are kept; 0: all
	log  zerolog.Logger
	wake chan struct{}

	mu      sync.Mutex // guards what follows
	due     map[T]struct{}
	dropped int // since the last round
}

// newDues makes them. do is called concurrently, and may be called again for what was done.
func newDues[T comparable](what string, keep int, do func(context.Context, T) error, log zerolog.Logger) *dues[T] {
	return &dues[T]{
		do: do, max: keep, log: log.With().Str("due", what).Logger(),
		wake: make(chan struct{}, 1), due: make(map[T]struct{}),
	}
}

// add has things done, with the next kick; beyond max they are dropped.
func (d *dues[T]) add(list ...T) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range list {
		if d.max > 0 && len(d.due) >= d.max {
			d.dropped++
			continue
		}
		d.due[t] = struct{}{}
	}
}

// kick begins a round, or another one behind that which is under way.
func (d *dues[T]) kick() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run does what is due, round by round, until ctx is done.
func (d *dues[T]) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
			d.round(ctx)
		}
	}
}

func (d *dues[T]) round(ctx context.Context) {
	list, dropped := d.take()
	if dropped > 0 {
		d.log.Error().Int("dropped", dropped).Msg("more was due than is kept")
	}
	var mu sync.Mutex // guards failed and last
	failed, last := 0, error(nil)
	next := make(chan T)
	var workers sync.WaitGroup
	for range min(dueWorkers, len(list)) {
		workers.Go(func() {
			for t := range next {
				if err := d.try(ctx, t); err != nil {
					d.add(t)
					mu.Lock()
					failed, last = failed+1, err
					mu.Unlock()
				}
			}
		})
	}
	for t := range list {
		if ctx.Err() != nil {
			break
		}
		next <- t
	}
	close(next)
	workers.Wait()
	if failed > 0 && ctx.Err() == nil {
		d.log.Warn().Err(last).Int("failed", failed).Msg("due, and not done, trying again")
	}
}

// take empties the list before the round: what becomes due again meanwhile is done again.
func (d *dues[T]) take() (list map[T]struct{}, dropped int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list, dropped = d.due, d.dropped
	d.due, d.dropped = make(map[T]struct{}), 0
	return list, dropped
}

func (d *dues[T]) try(ctx context.Context, t T) error {
	ctx, cancel := context.WithTimeout(ctx, dueTimeout)
	defer cancel()
	return d.do(ctx, t)
}
