package bench

import (
	"context"
	"io"
	"time"
)

const defaultFlights = 16

// FanoutConfig says what Fanout does.
type FanoutConfig struct {
	Base

	Subscribers int     // [1000] members of the group, one connection each; the first one sends
	InFlight    int     // [16] messages that not everybody has yet
	Rate        float64 // messages per second on a fixed schedule; InFlight does not count then
	Bytes       int     // [128] of text in a message

	Duration time.Duration // [10 s, without Messages] measured, after Warmup
	Messages int64         // measured messages; the run ends with whichever of the two comes first
	Warmup   time.Duration // [2 s] load that is checked but not measured; negative: none
	Settle   time.Duration // [5 s] after the load, for the last pushes

	// Targets; 0: none. Not reaching one is Missed.
	MaxCPU float64       // µs per delivery, all PIDs together
	MaxP99 time.Duration // from send to push
}

func (c FanoutConfig) withDefaults() FanoutConfig {
	c.Base = c.Base.withDefaults()
	orInt(&c.Subscribers, 1000)
	orInt(&c.InFlight, defaultFlights)
	orInt(&c.Bytes, 128)
	if c.Duration == 0 && c.Messages == 0 {
		c.Duration = 10 * time.Second
	}
	orDuration(&c.Warmup, 2*time.Second)
	orDuration(&c.Settle, 5*time.Second)
	return c
}

func (c FanoutConfig) validate() error {
	var m mistakes
	c.check(&m)
	m.when(c.Subscribers < 1, "subscribers: %d", c.Subscribers)
	m.when(c.InFlight < 1 || c.InFlight > maxInFlight, "in flight: %d, want 1 to %d", c.InFlight, maxInFlight)
	m.when(c.Rate < 0, "negative rate")
	checkText(&m, c.Bytes)
	m.when(c.Duration < 0 || c.Messages < 0, "negative duration or number of messages")
	m.when(c.Settle < 0, "negative timeout")
	c.checkProcesses(&m, c.MaxCPU)
	return m.err()
}

// Fanout sends messages to one large group: the next one when every subscriber has an earlier one, or with Rate on a
// schedule, where a message that is late for its time counts from that time. Report and errors are as those of Send.
func Fanout(ctx context.Context, cfg FanoutConfig, out io.Writer) (*FanoutReport, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	meter, err := newCPUMeter("/proc", cfg.PIDs)
	if err != nil {
		return nil, &Error{Kind: Setup, Err: err}
	}
	f := newFanout(cfg, meter)
	if err := needFiles(cfg.Subscribers); err != nil {
		return nil, err
	}
	if err := f.connect(ctx, f.plan()); err != nil {
		return nil, err
	}
	if err := f.run(ctx); err != nil {
		return nil, f.brokenDown(ctx, err)
	}
	report := f.report()
	report.Findings = f.violations.findings()
	if err := writeReport(out, cfg.JSON, report, report.text); err != nil {
		return report, err
	}
	return report, report.verdict(cfg)
}

// FanoutReport is what Fanout found. Rates, latencies and CPU are of the measured time, without warm-up.
type FanoutReport struct {
	Subscribers int     `json:"subscribers"`
	InFlight    int     `json:"in_flight,omitempty"` // 0 with a rate
	Rate        float64 `json:"rate,omitempty"`      // asked for; 0: closed loop
	Bytes       int     `json:"bytes"`

	Prefix     string  `json:"prefix"`
	Seconds    float64 `json:"seconds"`
	Messages   int64   `json:"messages"`    // acked in that time
	AckedTotal int64   `json:"acked_total"` // with warm-up and the rest
	Deliveries int64   `json:"deliveries"`

	MessagesPerSecond   float64 `json:"messages_per_s"`
	DeliveriesPerSecond float64 `json:"deliveries_per_s"`
	Latency             Latency `json:"latency_ms"` // from send to push, over all subscribers
	CPU                 CPU     `json:"cpu_us_per_delivery"`

	Findings
}

// report adds up; call it after run.
func (f *fanout) report() *FanoutReport {
	r := &FanoutReport{
		Subscribers: f.cfg.Subscribers, InFlight: f.cfg.InFlight, Rate: f.cfg.Rate, Bytes: f.cfg.Bytes,
		Prefix: f.cfg.Prefix, Seconds: f.measured().Seconds(),
		Messages: f.publisher.measuredAcks, AckedTotal: f.publisher.acks.Load(),
	}
	if r.Rate > 0 {
		r.InFlight = 0
	}
	latency := newLatency()
	for _, s := range f.subscribers {
		latency.Merge(s.latency)
	}
	r.Deliveries = latency.TotalCount()
	r.Latency = latencyOf(latency)
	r.MessagesPerSecond = perSecond(r.Messages, f.measured())
	r.DeliveriesPerSecond = perSecond(r.Deliveries, f.measured())
	r.CPU = cpuEach(f.cpu, r.Deliveries)
	return r
}

func (r *FanoutReport) verdict(cfg FanoutConfig) error {
	return r.Findings.verdict(
		above(r.CPU.Total, cfg.MaxCPU, "%.1f µs of CPU a delivery, the target is %.1f"),
		above(r.Latency.P99, millis(cfg.MaxP99.Microseconds()), "p99 %.2f ms, the target is %.2f"),
	)
}

func (r *FanoutReport) text(t *textReport) {
	schedule := "closed loop"
	if r.Rate > 0 {
		schedule = "fixed schedule"
	}
	t.line("load", "%d subscribers, %s, %d in flight, %.1f/s asked for, %d bytes, %.1f s, prefix %s",
		r.Subscribers, schedule, r.InFlight, r.Rate, r.Bytes, r.Seconds, r.Prefix)
	t.line("acked", "%.1f/s, %d messages (%d with warm-up)", r.MessagesPerSecond, r.Messages, r.AckedTotal)
	t.line("delivered", "%.0f/s, %d", r.DeliveriesPerSecond, r.Deliveries)
	t.line("latency", "%s", r.Latency.text())
	t.line("cpu", "%s", r.CPU.text("delivery"))
	t.findings(r.Findings)
}
