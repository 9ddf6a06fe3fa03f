package bench

// SendReport is what Send found. Rates, latencies and CPU are of the measured time, without warm-up.
type SendReport struct {
	Connections int `json:"connections"`
	Groups      int `json:"groups"`
	InFlight    int `json:"in_flight"`
	Batch       int `json:"batch"`
	Bytes       int `json:"bytes"`

	Prefix     string  `json:"prefix"`
	Seconds    float64 `json:"seconds"`
	Messages   int64   `json:"messages"`    // acked in that time
	AckedTotal int64   `json:"acked_total"` // with warm-up and the rest
	Deliveries int64   `json:"deliveries"`

	AckedPerSecond      float64 `json:"acked_per_s"`
	DeliveriesPerSecond float64 `json:"deliveries_per_s"`
	Latency             Latency `json:"latency_ms"` // from send to ack
	CPU                 CPU     `json:"cpu_us_per_message"`

	Persisted *Persisted `json:"persisted,omitempty"` // with MySQLDSN
	Findings
}

// Persisted says how many rows MySQL had, and when.
type Persisted struct {
	Rows    int64 `json:"rows"`
	AfterMS int64 `json:"after_ms"` // after the end of the load
}

// report adds up; call it after run.
func (l *load) report() *SendReport {
	r := &SendReport{
		Connections: l.cfg.Connections, Groups: l.cfg.Groups, InFlight: l.cfg.InFlight, Batch: l.cfg.Batch, Bytes: l.cfg.Bytes,
		Prefix: l.cfg.Prefix, Seconds: l.measured().Seconds(),
	}
	latency := newLatency()
	for _, c := range l.conns {
		latency.Merge(c.latency)
		r.Deliveries += c.measuredPushes
		r.AckedTotal += c.acks.Load()
	}
	r.Messages = latency.TotalCount()
	r.Latency = latencyOf(latency)
	r.AckedPerSecond = perSecond(r.Messages, l.measured())
	r.DeliveriesPerSecond = perSecond(r.Deliveries, l.measured())
	r.CPU = cpuEach(l.cpu, r.Messages)
	return r
}

func (r *SendReport) verdict(cfg SendConfig) error {
	var late error
	if r.Persisted != nil {
		late = above(float64(r.Persisted.AfterMS), float64(cfg.MaxPersist.Milliseconds()), "last row after %.0f ms, the target is %.0f")
	}
	return r.Findings.verdict(
		below(r.AckedPerSecond, cfg.MinRate, "%.0f acked/s, the target is %.0f"),
		above(r.CPU.Total, cfg.MaxCPU, "%.1f µs of CPU a message, the target is %.1f"),
		late,
	)
}

func (r *SendReport) text(t *textReport) {
	t.line("load", "%d connections, %d groups, %d in flight, %d bytes, %.1f s, prefix %s",
		r.Connections, r.Groups, r.InFlight, r.Bytes, r.Seconds, r.Prefix)
	t.line("acked", "%.0f/s, %d messages (%d with warm-up)", r.AckedPerSecond, r.Messages, r.AckedTotal)
	t.line("delivered", "%.0f/s", r.DeliveriesPerSecond)
	t.line("latency", "%s", r.Latency.text())
	t.line("cpu", "%s", r.CPU.text("message"))
	if r.Persisted != nil {
		t.line("persisted", "%d rows, %d ms after the end of the load", r.Persisted.Rows, r.Persisted.AfterMS)
	}
	t.findings(r.Findings)
}
