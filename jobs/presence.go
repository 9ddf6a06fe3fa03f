package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const presenceInterval = 2 * time.Second

// Sweeper is the Redis side of the presence job.
type Sweeper interface {
	// DeadInstances lists the instances that no longer announce themselves and were not swept since.
	DeadInstances(ctx context.Context) ([]string, error)
	// Sweep takes a dead instance's sessions out. It returns the users who have none left by that, also beside an
	// error; each to one sweeper only.
	Sweep(ctx context.Context, instance string) (gone []string, err error)
}

// Presence is the job that forgets the sessions of instances that died, and has it told who is gone with them.
type Presence struct {
	store    Sweeper
	instance string
	log      zerolog.Logger
	gone     *dues[string] // users of whom it is not told yet
}

// NewPresence makes the job. offline tells that a user is gone, and is called concurrently. It is called again when it
// fails, so the user may be back by then.
func NewPresence(store Sweeper, instance string, offline func(ctx context.Context, user string) error, log zerolog.Logger) *Presence {
	return &Presence{store: store, instance: instance, log: log, gone: newDues("user is gone", 0, offline, log)}
}

// Run sweeps until ctx is done. Who is gone is told beside it: there may be tens of thousands, and MySQL is asked.
func (p *Presence) Run(ctx context.Context) error {
	var telling sync.WaitGroup
	defer telling.Wait()
	telling.Go(func() { p.gone.run(ctx) })
	for ctx.Err() == nil {
		if err := p.sweep(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn().Err(err).Msg("dead instances not swept, trying again")
		}
		p.gone.kick()
		wait(ctx, presenceInterval)
	}
	return nil
}

// sweep goes on to the next instance when one cannot be swept, and returns the last error.
func (p *Presence) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	dead, err := p.store.DeadInstances(ctx)
	for _, instance := range dead {
		if instance == p.instance {
			continue // it does live: its announcement is late
		}
		gone, sweepErr := p.store.Sweep(ctx, instance)
		p.gone.add(gone...)
		if sweepErr != nil {
			err = sweepErr
			continue
		}
		p.log.Info().Str("dead", instance).Int("users", len(gone)).Msg("sessions of a dead instance swept")
	}
	return err
}
