package transport

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hearth/domain"
)

type metrics struct {
	connections prometheus.Gauge
	groups      prometheus.Gauge
	opened      prometheus.Counter
	closedTotal *prometheus.CounterVec
	refused     *prometheus.CounterVec
	frames      *prometheus.CounterVec
	bytes       *prometheus.CounterVec
	sentTotal   *prometheus.CounterVec
	overRate    prometheus.Counter // frames of connections that send too many
	notAdmitted prometheus.Counter
	delivered   prometheus.Counter
	gaps        prometheus.Counter
	slow        *prometheus.CounterVec
	users       prometheus.Gauge
	sendSeconds prometheus.Histogram

	framesIn, framesOut, bytesIn, bytesOut prometheus.Counter // of frames and bytes, looked up once
	accepted                               prometheus.Counter // of sentTotal
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		connections: gauge("hearth_ws_connections", "Open WebSockets."),
		groups:      gauge("hearth_ws_groups", "Groups that a connection of this instance follows."),
		opened:      counter("hearth_ws_connections_opened_total", "WebSockets accepted."),
		closedTotal: vec("hearth_ws_connections_closed_total", "WebSockets ended, by the close code this side gave; 0 when the client ended it.", "code"),
		refused:     vec("hearth_ws_handshake_failures_total", "Upgrades refused, by reason.", "reason"),
		frames:      vec("hearth_ws_frames_total", "Frames read and written.", "direction"),
		bytes:       vec("hearth_ws_bytes_total", "Bytes of frames read and written.", "direction"),
		sentTotal: prometheus.NewCounterVec(prometheus.CounterOpts{ // httpapi has the source http, with the same words
			Name: "hearth_messages_sent_total", Help: "Sends answered, by result: ok or the error code.",
			ConstLabels: prometheus.Labels{"source": "ws"},
		}, []string{"result"}),
		overRate:    newLimited("connection"),
		notAdmitted: newLimited("admission"),
		delivered:   counter("hearth_messages_delivered_total", "Messages queued to subscribed connections."),
		gaps:        counter("hearth_fanout_gaps_total", "Messages that pub/sub brought before one that was missing."),
		slow:        vec("hearth_ws_slow_total", "Readers that were too slow, by what was done: resync or close.", "action"),
		users:       gauge("hearth_ws_users", "Distinct users connected to this instance."),
		sendSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hearth_send_duration_seconds", Help: "From a send's frame to its answer.",
			ConstLabels: prometheus.Labels{"source": "ws"}, Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
	}
	m.framesIn, m.framesOut = m.frames.WithLabelValues("in"), m.frames.WithLabelValues("out")
	m.bytesIn, m.bytesOut = m.bytes.WithLabelValues("in"), m.bytes.WithLabelValues("out")
	m.accepted = m.sentTotal.WithLabelValues("ok")
	reg.MustRegister(m.connections, m.groups, m.opened, m.closedTotal, m.refused, m.frames, m.bytes, m.sentTotal,
		m.overRate, m.notAdmitted, m.delivered, m.gaps, m.slow, m.users, m.sendSeconds)
	return m
}

// newLimited counts refusals for a limit. redisrepo has the other scopes, with the same words.
func newLimited(scope string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{
		Name: "hearth_rate_limited_total", ConstLabels: prometheus.Labels{"scope": scope},
		Help: "Requests refused for a limit, by whose or what it is.",
	})
}

func (m *metrics) received(bytes int) {
	m.framesIn.Inc()
	m.bytesIn.Add(float64(bytes))
}

func (m *metrics) sent(frame int) {
	m.framesOut.Inc()
	m.bytesOut.Add(float64(frame))
}

func (m *metrics) closed(code int) { m.closedTotal.WithLabelValues(strconv.Itoa(code)).Inc() }

func (m *metrics) sendDone(started time.Time, err error) {
	m.sendSeconds.Observe(time.Since(started).Seconds())
	if err == nil {
		m.accepted.Inc()
		return
	}
	m.sentTotal.WithLabelValues(string(domain.CodeOf(err))).Inc()
}
