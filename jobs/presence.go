package jobs

import (
	"context"
	"fmt"
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
	offline  func(ctx context.Context, user string) error
	log      zerolog.Logger
	due      map[string]bool // users who are gone, which is not told yet; of Run's goroutine
}

// NewPresence makes the job. offline tells that a user is gone. It is called again when it fails, so the user may be
// back by then.
func NewPresence(store Sweeper, instance string, offline func(ctx context.Context, user string) error, log zerolog.Logger) *Presence {
	return &Presence{store: store, instance: instance, offline: offline, log: log, due: make(map[string]bool)}
}

// Run sweeps until ctx is done.
func (p *Presence) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := p.sweep(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn().Err(err).Msg("dead instances not swept, trying again")
		}
		if err := p.tell(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn().Err(err).Int("users", len(p.due)).Msg("users not told to be gone, trying again")
		}
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
		for _, user := range gone {
			p.due[user] = true
		}
		if sweepErr != nil {
			err = sweepErr
			continue
		}
		p.log.Info().Str("dead", instance).Int("users", len(gone)).Msg("sessions of a dead instance swept")
	}
	return err
}

// tell tells of each user who is gone; one of whom it cannot be told does not keep the others from it.
func (p *Presence) tell(ctx context.Context) (err error) {
	for user := range p.due {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if offlineErr := p.tellOf(ctx, user); offlineErr != nil {
			err = fmt.Errorf("user %s: %w", user, offlineErr)
			continue
		}
		delete(p.due, user)
	}
	return err
}

func (p *Presence) tellOf(ctx context.Context, user string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return p.offline(ctx, user)
}
