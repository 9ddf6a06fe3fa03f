package jobs_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/jobs"
)

// statusBoard keeps what it is told.
type statusBoard struct {
	mu   sync.Mutex // guards told and down
	told []domain.InstanceStatus
	down bool
}

func (b *statusBoard) PostStatus(ctx context.Context, instance string, s domain.InstanceStatus) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return errCut
	}
	if _, bounded := ctx.Deadline(); !bounded || instance != "a#1" {
		panic("told without a deadline, or of another")
	}
	b.told = append(b.told, s)
	return nil
}

func (b *statusBoard) last() domain.InstanceStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.told[len(b.told)-1]
}

type readiness struct{ unready, leaving atomic.Bool }

func (r *readiness) IsReady() bool   { return !r.unready.Load() }
func (r *readiness) IsLeaving() bool { return r.leaving.Load() }

// hourAhead is the clock of a Redis that is an hour ahead.
type hourAhead struct{}

func (hourAhead) NowMS() int64 { return time.Now().Add(time.Hour).UnixMilli() }

// ownMetrics are those that a status is made of, as the packages register them.
type ownMetrics struct {
	*prometheus.Registry
	sent                                    *prometheus.CounterVec
	duplicates, delivered                   prometheus.Counter
	rows                                    *prometheus.CounterVec
	connections, canary, backlog, lag, dead prometheus.Gauge
	latency                                 prometheus.Histogram
}

func newOwnMetrics() *ownMetrics {
	gauge := func(name string) prometheus.Gauge { return prometheus.NewGauge(prometheus.GaugeOpts{Name: name}) }
	counter := func(name string) prometheus.Counter { return prometheus.NewCounter(prometheus.CounterOpts{Name: name}) }
	m := &ownMetrics{
		Registry:    prometheus.NewRegistry(),
		sent:        prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hearth_messages_sent_total"}, []string{"result"}),
		duplicates:  counter("hearth_messages_duplicate_total"),
		delivered:   counter("hearth_messages_delivered_total"),
		rows:        prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hearth_persist_rows_total"}, []string{"result"}),
		connections: gauge("hearth_ws_connections"), canary: gauge("hearth_fanout_canary_age_seconds"),
		backlog: gauge("hearth_persist_backlog_messages"), lag: gauge("hearth_persist_lag_seconds"), dead: gauge("hearth_persist_dead_letters"),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "hearth_send_duration_seconds", Buckets: []float64{0.01, 0.02}}),
	}
	m.MustRegister(m.sent, m.duplicates, m.delivered, m.rows, m.connections, m.canary, m.backlog, m.lag, m.dead, m.latency)
	return m
}

func value[N any](v N) *N { return &v }

func TestStatusIsMadeOfTheMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, board, health := newOwnMetrics(), &statusBoard{}, &readiness{}
		about := domain.InstanceStatus{Name: "a", Version: "v1", StartedMS: 7}
		job := jobs.NewStatus(board, m, health, hourAhead{}, "a#1", about, zerolog.Nop())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- job.Run(ctx) }()
		synctest.Wait()
		require.Len(t, board.told, 1, "at once")
		require.Nil(t, board.last().MessagesPerS, "one look tells no rate")
		require.Nil(t, board.last().P99MS)
		require.Nil(t, board.last().Users, "nobody counts them here")

		m.connections.Set(12)
		m.canary.Set(1.5)
		m.backlog.Set(3)
		m.lag.Set(0.25)
		m.dead.Set(2)
		for range 100 {
			m.sent.WithLabelValues("ok").Inc()
			m.latency.Observe(0.015)
		}
		m.sent.WithLabelValues("muted").Add(50)
		m.duplicates.Add(20)
		m.delivered.Add(400)
		m.rows.WithLabelValues("ok").Add(60)
		m.rows.WithLabelValues("failed").Add(600)
		health.leaving.Store(true)
		health.unready.Store(true)
		after(2 * time.Second)
		got := board.last()
		require.Equal(t, time.Now().Add(time.Hour).UnixMilli(), got.SeenMS, "by Redis' clock, as all others' are")
		require.InDelta(t, 19.9, *got.P99MS, 0.001)
		got.SeenMS, got.P99MS = 0, nil
		require.Equal(t, domain.InstanceStatus{
			Name: "a", Version: "v1", StartedMS: 7, Draining: true,
			Connections: value(int64(12)), MessagesPerS: value(40.0), DeliveriesPerS: value(200.0), CanaryAgeMS: value(int64(1500)),
			Backlog: value(int64(3)), LagMS: value(int64(250)), RowsPerS: value(30.0), DeadLetters: value(int64(2)),
		}, got)

		after(8 * time.Second)
		require.Equal(t, 8.0, *board.last().MessagesPerS, "over ten seconds")
		after(2 * time.Second)
		require.Zero(t, *board.last().MessagesPerS)
		require.Nil(t, board.last().P99MS, "nobody sends")

		board.mu.Lock()
		board.down = true
		board.mu.Unlock()
		m.connections.Set(13)
		after(2 * time.Second)
		require.Equal(t, int64(13), *job.Own().Connections, "the instance itself knows")
		require.Equal(t, int64(12), *board.last().Connections)
		cancel()
		require.NoError(t, <-ended)
	})
}
