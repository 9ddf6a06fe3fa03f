package jobs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hearth/domain"
)

type persistMetrics struct {
	backlog  prometheus.Gauge
	lag      prometheus.Gauge
	dead     prometheus.Gauge
	rows     *prometheus.CounterVec
	size     prometheus.Histogram
	duration prometheus.Histogram
}

func newPersistMetrics(reg prometheus.Registerer) *persistMetrics {
	m := &persistMetrics{
		backlog: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "hearth_persist_backlog_messages", Help: "Accepted messages of this instance's partitions that are not in MySQL.",
		}),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "hearth_persist_lag_seconds", Help: "Age of the oldest message that waits for MySQL, or of the oldest of a batch when it was committed; 0 while none waits.",
		}),
		dead: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "hearth_persist_dead_letters", Help: "Messages that MySQL refused and that wait in its table of dead letters, of all partitions.",
		}),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hearth_persist_rows_total", Help: "Rows of messages brought to MySQL, by result.",
		}, []string{"result"}),
		size: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hearth_persist_batch_rows", Help: "Rows in one transaction.",
			Buckets: []float64{1, 5, 20, 50, 100, 200, 500, 1000, 2000},
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hearth_persist_batch_duration_seconds", Help: "Time of one transaction.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 13),
		}),
	}
	reg.MustRegister(m.backlog, m.lag, m.dead, m.rows, m.size, m.duration)
	return m
}

func (m *persistMetrics) inserted(messages []domain.Message, start time.Time) {
	if len(messages) == 0 { // recalls only
		return
	}
	m.rows.WithLabelValues("ok").Add(float64(len(messages)))
	m.size.Observe(float64(len(messages)))
	m.duration.Observe(time.Since(start).Seconds())
	oldest := messages[0].TimeMS
	for i := range messages {
		oldest = min(oldest, messages[i].TimeMS)
	}
	m.waiting(oldest)
}

// waiting sets the lag to the age of a message.
func (m *persistMetrics) waiting(sinceMS int64) {
	m.lag.Set(max(0, time.Since(time.UnixMilli(sinceMS)).Seconds()))
}

type hookMetrics struct{ backlog, dead prometheus.Gauge }

func newHookMetrics(reg prometheus.Registerer) hookMetrics {
	m := hookMetrics{
		backlog: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "hearth_webhook_backlog_events", Help: "Events that the webhooks' receiver is still to be told, of all partitions; seqs without a message count until they are passed.",
		}),
		dead: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "hearth_webhook_dead_letters", Help: "Events that were given up, of all partitions; a run of messages counts as one.",
		}),
	}
	reg.MustRegister(m.backlog, m.dead)
	return m
}
