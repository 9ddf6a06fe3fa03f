package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what is posted, by the type of event.
type Metrics struct {
	seconds  *prometheus.HistogramVec
	failures *prometheus.CounterVec
}

// NewMetrics makes and registers the metrics of all clients of an instance.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "hearth_webhook_duration_seconds", Help: "Time of one request to a webhook's receiver, answered or not, by event.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"event"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hearth_webhook_failures_total", Help: "Requests to a webhook's receiver that failed: no answer, or a status that is not 2xx, by event.",
		}, []string{"event"}),
	}
	reg.MustRegister(m.seconds, m.failures)
	return m
}

func (m *Metrics) posted(event string, started time.Time, err error) {
	if m == nil {
		return
	}
	m.seconds.WithLabelValues(event).Observe(time.Since(started).Seconds())
	if err != nil {
		m.failures.WithLabelValues(event).Inc()
	}
}
