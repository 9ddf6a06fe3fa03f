package redisrepo

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

// failed puts back sends whose outcome is unknown: they are asked again with the same id, until their deadline.
func (a *Appender) failed(ctx context.Context, c *call, err error) {
	for _, s := range c.sends {
		s.tried = c.gen
	}
	a.putBack(c.partition, c.sends, err)
	var reply redis.Error
	if errors.As(err, &reply) && !isNoScript(err) { // the server answered, but is not the one it was
		a.renew(ctx, c)
	}
}

// putBack returns sends to the front of their queue, in their order.
func (a *Appender) putBack(p int, sends []*pendingSend, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range sends {
		if err != nil {
			s.err = err
		}
	}
	q := &a.queues[p]
	q.sends = append(append(make([]*pendingSend, 0, len(sends)+len(q.sends)), sends...), q.sends...)
	a.queued += len(sends)
}

// renew finds the partition's generation while its sends wait.
func (a *Appender) renew(ctx context.Context, c *call) {
	a.mu.Lock()
	already := a.queues[c.partition].stale
	a.queues[c.partition].stale = true
	a.mu.Unlock()
	if already {
		return
	}
	a.goRecover(ctx, func(ctx context.Context) {
		err := a.recovery.Renew(ctx, c.partition, c.gen)
		if err != nil {
			a.log.Warn().Err(err).Int("partition", c.partition).Msg("generation not renewed, trying again")
			waitOrDone(ctx, recoveryPause)
		}
		a.mu.Lock()
		a.queues[c.partition].stale = false
		for _, s := range a.queues[c.partition].sends {
			if err != nil {
				s.err = err
			}
		}
		a.mu.Unlock()
	})
}

// recover loads groups (true: opens them if need be) and seeds others while their sends wait; sends of other groups
// pass.
func (a *Appender) recover(ctx context.Context, c *call, load map[string]bool, seed map[string]struct{}) {
	a.mu.Lock()
	q := &a.queues[c.partition]
	if q.held == nil {
		q.held = make(map[string]struct{})
	}
	for group := range load {
		q.held[group] = struct{}{}
	}
	for group := range seed {
		q.held[group] = struct{}{}
	}
	a.mu.Unlock()
	for group, open := range load {
		a.goRecover(ctx, func(ctx context.Context) {
			a.release(ctx, c.partition, a.recovery.Load(ctx, group, open), open, group)
		})
	}
	if len(seed) > 0 {
		groups := make([]string, 0, len(seed))
		for group := range seed {
			groups = append(groups, group)
		}
		a.goRecover(ctx, func(ctx context.Context) {
			a.release(ctx, c.partition, a.recovery.Seed(ctx, c.partition, c.gen, groups), true, groups...)
		})
	}
}

func (a *Appender) goRecover(ctx context.Context, f func(context.Context)) {
	a.jobs.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, sendDeadline)
		defer cancel()
		f(ctx)
		a.signal()
	})
}

// release lets the sends of groups go again. After an error that lasts (no such group) they are answered with it;
// after one that may pass they are tried until their deadline, but that Redis is full is said at once, unless an earlier
// try may have stored the send. A send that would open a conversation has come too late
// for a load that did not: it goes again.
func (a *Appender) release(ctx context.Context, p int, err error, opened bool, groups ...string) {
	full := domain.CodeOf(err) == domain.CodeOverloaded
	passing := err != nil && domain.CodeOf(err).Retryable()
	if passing && !full {
		a.log.Warn().Err(err).Int("partition", p).Int("groups", len(groups)).Msg("groups not loaded, trying again")
	}
	if passing {
		waitOrDone(ctx, recoveryPause)
	}
	var answer []*pendingSend
	a.mu.Lock()
	q := &a.queues[p]
	for _, group := range groups {
		delete(q.held, group)
		if err == nil {
			continue
		}
		left := q.sends[:0]
		for _, s := range q.sends {
			switch {
			case s.Group != group:
				left = append(left, s)
			case full && s.tried == 0:
				answer = append(answer, s)
			case passing:
				s.err = err
				left = append(left, s)
			case s.opens() && !opened:
				left = append(left, s)
			default:
				answer = append(answer, s)
			}
		}
		q.sends = left
	}
	a.queued -= len(answer)
	a.mu.Unlock()
	for _, s := range answer {
		if s.Open && domain.CodeOf(err) == domain.CodeNotFound { // it would not open the conversation
			s.done(domain.Accepted{}, s.notOpened())
			continue
		}
		if full {
			a.metrics.refused("FULL")
		}
		s.done(domain.Accepted{}, err)
	}
}
