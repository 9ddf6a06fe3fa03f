package redisrepo

import (
	"context"
	"time"

	"hearth/domain"
)

const (
	canaryInterval = 2 * time.Second
	canaryGrace    = 3 * time.Second // without a canary for so long, messages do not flow
)

// Flowing reports whether what is published arrives here.
func (s *Subscriber) Flowing() bool { return s.flowing.Load() && s.canaryAge() < s.canaryGrace }

// Check is a check of readiness: its error says since when nothing has arrived. A connection that is made anew at once
// is none.
func (s *Subscriber) Check(context.Context) error {
	if s.canaryAge() < s.canaryGrace {
		return nil
	}
	return domain.Errorf(domain.CodeUnavailable, "nothing has come back through Redis pub/sub for %s, connecting anew",
		s.canaryAge().Round(time.Millisecond))
}

func (s *Subscriber) canaryAge() time.Duration {
	return time.Since(time.Unix(0, s.lastCanary.Load()))
}

// sendCanaries publishes to the own channel until ctx is done. That one is not sent shows in its not coming back.
func (s *Subscriber) sendCanaries(ctx context.Context) {
	tick := time.NewTicker(s.canaryInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.sendCanary(ctx)
		}
	}
}

func (s *Subscriber) sendCanary(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.canaryInterval)
	defer cancel()
	_ = s.store.rdb.Publish(ctx, s.canary, "c").Err()
}
