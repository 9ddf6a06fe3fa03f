package redisrepo

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

const clockInterval = 10 * time.Second

// Clock tells Redis' time without asking each time: it measures now and then how far the local clock is off.
type Clock struct {
	store  *Store
	log    zerolog.Logger
	offset atomic.Int64 // ms that Redis is ahead
}

// NewClock makes a clock that shows local time until Run has measured.
func NewClock(store *Store, log zerolog.Logger) *Clock { return &Clock{store: store, log: log} }

// NowMS is Redis' time in Unix milliseconds, right to about half a round trip.
func (c *Clock) NowMS() int64 { return time.Now().UnixMilli() + c.offset.Load() }

// Run measures until ctx is done.
func (c *Clock) Run(ctx context.Context) error {
	for {
		if err := c.measure(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn().Err(err).Msg("clock not compared with Redis")
		}
		if waitOrDone(ctx, clockInterval); ctx.Err() != nil {
			return nil
		}
	}
}

func (c *Clock) measure(ctx context.Context) error {
	before := time.Now()
	redisMS, err := c.store.NowMS(ctx)
	if err != nil {
		return err
	}
	middle := before.Add(time.Since(before) / 2)
	c.offset.Store(redisMS - middle.UnixMilli())
	return nil
}
