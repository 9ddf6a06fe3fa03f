package jobs

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"hearth/domain"
)

// StatusBoard is the Redis side of the instances' statuses.
type StatusBoard interface {
	// PostStatus tells what an instance, by its life, says of itself.
	PostStatus(ctx context.Context, instance string, status domain.InstanceStatus) error
}

// Readiness tells whether an instance takes part, as /readyz does.
type Readiness interface {
	IsReady() bool
	IsLeaving() bool
}

// Clock tells Redis' time.
type Clock interface{ NowMS() int64 }

// Status is the job that tells what this instance does, for the consoles of all.
type Status struct {
	board    StatusBoard
	metrics  prometheus.Gatherer
	health   Readiness
	clock    Clock
	instance string
	log      zerolog.Logger
	meter    meter // of Run alone

	mu   sync.Mutex // guards last
	last domain.InstanceStatus
}

// NewStatus makes the job. about is what stays the same: name, version, start.
func NewStatus(
	board StatusBoard, metrics prometheus.Gatherer, health Readiness, clock Clock, instance string, about domain.InstanceStatus, log zerolog.Logger,
) *Status {
	return &Status{board: board, metrics: metrics, health: health, clock: clock, instance: instance, last: about, log: log}
}

// Own is what this instance has last said, whether it could be told or not.
func (s *Status) Own() domain.InstanceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Run tells until ctx is done.
func (s *Status) Run(ctx context.Context) error {
	tick := time.NewTicker(domain.StatusInterval)
	defer tick.Stop()
	for failed := false; ; {
		err := s.tell(ctx)
		if err != nil && !failed && ctx.Err() == nil { // once: what is wrong with Redis others say, too
			s.log.Warn().Err(err).Msg("status not told, the console shows an old one")
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Status) tell(ctx context.Context) error {
	r, err := read(s.metrics, time.Now())
	if err != nil {
		return err
	}
	s.meter.take(r)
	status := s.meter.status(s.Own())
	status.Ready, status.Draining, status.SeenMS = s.health.IsReady(), s.health.IsLeaving(), s.clock.NowMS()
	s.mu.Lock()
	s.last = status
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, domain.StatusInterval)
	defer cancel()
	return s.board.PostStatus(ctx, s.instance, status)
}

// status is what the metrics say now.
func (m *meter) status(about domain.InstanceStatus) domain.InstanceStatus {
	now := &m.readings[len(m.readings)-1]
	return domain.InstanceStatus{
		Name: about.Name, Version: about.Version, StartedMS: about.StartedMS,
		Connections: whole(now.gauge("hearth_ws_connections"), 1),
		Users:       whole(now.gauge("hearth_ws_users"), 1),
		Groups:      whole(now.gauge("hearth_ws_groups"), 1),

		// Answered with ok, less the repeats among them.
		MessagesPerS:   hundredths(m.rate("hearth_messages_sent_total", "hearth_messages_duplicate_total")),
		DeliveriesPerS: hundredths(m.rate("hearth_messages_delivered_total", "")),
		P99MS:          inMS(m.quantile(0.99)),
		CanaryAgeMS:    whole(now.gauge("hearth_fanout_canary_age_seconds"), 1000),

		Backlog:     whole(now.gauge("hearth_persist_backlog_messages"), 1),
		LagMS:       whole(now.gauge("hearth_persist_lag_seconds"), 1000),
		RowsPerS:    hundredths(m.rate("hearth_persist_rows_total", "")),
		DeadLetters: whole(now.gauge("hearth_persist_dead_letters"), 1),
	}
}

func whole(v *float64, times float64) *int64 {
	if v == nil {
		return nil
	}
	n := int64(math.Round(*v * times))
	return &n
}

func inMS(seconds *float64) *float64 {
	if seconds == nil {
		return nil
	}
	ms := *seconds * 1000
	return hundredths(&ms)
}

// hundredths is as much as anybody reads.
func hundredths(v *float64) *float64 {
	if v == nil {
		return nil
	}
	rounded := math.Round(*v*100) / 100
	return &rounded
}
