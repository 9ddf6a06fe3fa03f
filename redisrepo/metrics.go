package redisrepo

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type appendMetrics struct {
	batch      prometheus.Histogram
	duplicates prometheus.Counter
	limited    map[string]prometheus.Counter // by the script's word
}

func newAppendMetrics(reg prometheus.Registerer) *appendMetrics {
	limited := func(scope string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hearth_rate_limited_total", ConstLabels: prometheus.Labels{"scope": scope},
			// transport has the scopes connection, admission and address, with the same words.
			Help: "Requests refused for a limit, by whose or what it is.",
		})
	}
	m := &appendMetrics{
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hearth_append_batch_messages", Help: "Sends in one pipeline to Redis.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500},
		}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hearth_messages_duplicate_total", Help: "Sends answered with the first result of the same send.",
		}),
		limited: map[string]prometheus.Counter{
			"USER_RATE": limited("user"), "GROUP_RATE": limited("group"), "BACKLOG": limited("backlog"), "FULL": limited("memory"),
		},
	}
	reg.MustRegister(m.batch, m.duplicates)
	for _, c := range m.limited {
		reg.MustRegister(c)
	}
	return m
}

// refused counts a send that a limit has refused; other words it passes over.
func (m *appendMetrics) refused(word string) {
	if c, ok := m.limited[word]; ok {
		c.Inc()
	}
}

func newReseeds() prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{
		Name: "hearth_seq_reseeds_total", Help: "Groups whose seqs go on above a hole, for Redis had lost their numbers.",
	})
}

// NewSnapshotTimer counts how long snapshots of the ranking take; see domain.RankingConfig.
func NewSnapshotTimer(reg prometheus.Registerer) (took func(time.Duration)) {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "hearth_heat_snapshot_duration_seconds", Help: "Time to take a snapshot of the ranking, of those that this instance took for all.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	})
	reg.MustRegister(h)
	return func(d time.Duration) { h.Observe(d.Seconds()) }
}
