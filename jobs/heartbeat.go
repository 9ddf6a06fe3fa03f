package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hearth/domain"
)

// Together well below what MySQL takes for life (5 s): one that hangs, on a connection that is gone, leaves time for another.
const (
	heartbeatInterval = time.Second
	heartbeatTimeout  = 3 * time.Second
)

// Heartbeats is the MySQL side of the heartbeat.
type Heartbeats interface {
	// Heartbeat tells that the instance lives, and returns the generation of every partition that has one.
	Heartbeat(ctx context.Context, instance string) (map[int]domain.Generation, error)
	// Depart forgets the instance: its journal is written.
	Depart(ctx context.Context, instance string) error
}

// Learner knows the generations; domain.Generations is it.
type Learner interface {
	Of(partition int) int64
	// Learn takes note of a generation: everything older ends here.
	Learn(ctx context.Context, partition int, gen int64) error
}

// Heartbeat is the job that tells MySQL each second that this instance lives, so that a new generation waits for its
// journal; and that learns of new generations there, also when the instance is cut off from their Redis.
type Heartbeat struct {
	rows     Heartbeats
	gens     Learner
	instance string
	news     func() // called when MySQL has a newer generation
	log      zerolog.Logger
	flushes  *dues[flush]
	failing  bool // of Run alone
}

type flush struct {
	partition int
	gen       int64
}

// NewHeartbeat makes the job. news is called when there is a generation to be renewed; it must not block.
func NewHeartbeat(rows Heartbeats, gens Learner, instance string, news func(), log zerolog.Logger) *Heartbeat {
	h := &Heartbeat{rows: rows, gens: gens, instance: instance, news: news, log: log}
	h.flushes = newDues("flush", 0, func(ctx context.Context, f flush) error { return gens.Learn(ctx, f.partition, f.gen) }, log)
	return h
}

// Begin tells for the first time that the instance lives: before it uses any generation.
func (h *Heartbeat) Begin(ctx context.Context) error {
	_, err := h.rows.Heartbeat(ctx, h.instance)
	return err
}

// Run beats until ctx is done.
func (h *Heartbeat) Run(ctx context.Context) error {
	var flushing sync.WaitGroup
	defer flushing.Wait()
	flushing.Go(func() { h.flushes.run(ctx) }) // beside: while a long journal is written, the instance lives
	tick := time.NewTicker(heartbeatInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := h.beat(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !h.failing {
			h.log.Warn().Err(err).Msg("heartbeat not told, trying on")
		}
		h.failing = err != nil
	}
}

func (h *Heartbeat) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	gens, err := h.rows.Heartbeat(ctx, h.instance)
	if err != nil {
		return err
	}
	behind := false
	for partition, row := range gens {
		if row.Gen > h.gens.Of(partition) {
			behind = true
			h.flushes.add(flush{partition, row.Gen})
		}
	}
	if behind {
		h.flushes.kick()
		h.news()
	}
	return nil
}

// End takes the instance out of those that are waited for.
func (h *Heartbeat) End(ctx context.Context) error { return h.rows.Depart(ctx, h.instance) }
