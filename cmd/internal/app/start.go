package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"hearth/domain"
)

// Start brings the instance up: stores checked, generations known, the instance announced, jobs running. The returned
// function is the way out, in the order in which things depend on each other.
func (i *Instance) Start(ctx context.Context) (stop func(ctx context.Context) error, err error) {
	if err := i.redis.Ping(ctx); err != nil {
		return nil, fmt.Errorf("redis does not answer: %w", err)
	}
	if err := i.redis.CheckPolicy(ctx); err != nil {
		return nil, err
	}
	if err := i.sql.CheckPartitions(ctx, domain.Partitions(i.cfg.Redis.Partitions)); err != nil {
		return nil, err
	}
	if err := i.heartbeat.Begin(ctx); err != nil {
		return nil, err
	}
	heartbeat := startTasks(ctx, i.heartbeat.Run)
	defer func() {
		if err != nil { // or others would wait for this instance's journal
			ctx := context.WithoutCancel(ctx)
			err = errors.Join(err, heartbeat.stop(ctx), i.heartbeat.End(ctx))
		}
	}()
	if err := i.gens.RenewAll(ctx); err != nil {
		return nil, err
	}
	if err := i.announce.Begin(ctx); err != nil {
		return nil, err
	}
	watches := startTasks(ctx, i.clock.Run, i.health.Run, i.status.Run)
	generations := startTasks(ctx, i.watch.Run, i.journal.Run)
	leases := startTasks(ctx, i.leases.Run)
	leased := startTasks(ctx, i.persist.Run, i.readMarks.Run, i.retention.Run, i.changes.Run, i.dismissed.Run, i.heat.Run, i.tellHooks)
	others := startTasks(ctx, i.subscriber.Run, i.announce.Run, i.presence.Run, i.watchWords)
	tails := startTasks(ctx, i.server.Hub().Run)
	appender := startTasks(ctx, i.appender.Run)
	return func(ctx context.Context) error {
		i.server.Hub().Drain(ctx, i.cfg.Drain.Spread.D())
		err := tails.stop(ctx)
		i.server.Close()
		i.sends.Drain(ctx) // what the app's back end is asked about is queued within its timeout
		if i.gate != nil {
			i.gate.Close()
		}
		err = errors.Join(err, appender.stop(ctx), others.stop(ctx), leased.stop(ctx), leases.stop(ctx))
		if ctx.Err() == nil {
			i.leases.Release(ctx)
		}
		err = errors.Join(err, generations.stop(ctx))
		lastErr := i.journal.Last(ctx) // a generation that begins meanwhile waits for it
		err = errors.Join(err, heartbeat.stop(ctx))
		if lastErr != nil {
			i.log.Warn().Err(lastErr).Msg("journal not written at shutdown, what it holds is in Redis")
		} else if endErr := i.heartbeat.End(ctx); endErr != nil {
			i.log.Warn().Err(endErr).Msg("not taken out of the instances, others wait some seconds")
		}
		return errors.Join(err, watches.stop(ctx))
	}, nil
}

// tellHooks tells the receiver of webhooks what happens, if there is one.
func (i *Instance) tellHooks(ctx context.Context) error {
	if i.hooks == nil {
		return nil
	}
	defer i.receiver.Close()
	return i.hooks.Run(ctx)
}

// watchWords keeps the word list as its file is.
func (i *Instance) watchWords(ctx context.Context) error {
	if i.words == nil {
		return nil
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	return i.words.Run(ctx, hangup)
}

// Leave makes the instance unready, so that load balancers look elsewhere, and waits until they have.
func (i *Instance) Leave(ctx context.Context) {
	i.health.Leave()
	t := time.NewTimer(i.cfg.Drain.LBDelay.D())
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
