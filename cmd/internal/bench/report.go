package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

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

	Persisted  *Persisted `json:"persisted,omitempty"` // with MySQLDSN
	Violations int64      `json:"violations"`
	Samples    []string   `json:"violation_samples,omitempty"` // the first ten
}

// Latency is in milliseconds, 1 % exact.
type Latency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// CPU is user and system time in µs per acked message.
type CPU struct {
	Total     float64            `json:"total"` // of Processes
	Processes map[string]float64 `json:"processes"`
	Bench     float64            `json:"bench"` // this load generator, not in Total
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
		Prefix: l.cfg.Prefix,
	}
	latency := hdrhistogram.New(1, maxLatencyUS, 2)
	for _, c := range l.conns {
		latency.Merge(c.latency)
		r.Deliveries += c.measuredPushes
		r.AckedTotal += c.acks.Load()
	}
	r.Messages = latency.TotalCount()
	r.Latency = Latency{
		P50: millis(latency.ValueAtQuantile(50)),
		P90: millis(latency.ValueAtQuantile(90)),
		P99: millis(latency.ValueAtQuantile(99)),
		Max: millis(latency.Max()),
	}
	r.perSecond(l.ended.Sub(l.began))
	r.perMessage(l.cpu)
	return r
}

func millis(us int64) float64 { return float64(us) / 1000 }

func (r *SendReport) perSecond(took time.Duration) {
	if r.Seconds = took.Seconds(); r.Seconds > 0 {
		r.AckedPerSecond = float64(r.Messages) / r.Seconds
		r.DeliveriesPerSecond = float64(r.Deliveries) / r.Seconds
	}
}

func (r *SendReport) perMessage(spent cpuTimes) {
	r.CPU.Processes = make(map[string]float64, len(spent.byName))
	if r.Messages == 0 {
		return
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(r.Messages) }
	r.CPU.Bench = each(spent.own)
	for name, d := range spent.byName {
		r.CPU.Processes[name] = each(d)
		r.CPU.Total += each(d)
	}
}

// verdict is Wrong after a violation, Missed when a target of cfg was not reached, nil otherwise.
func (r *SendReport) verdict(cfg SendConfig) error {
	if r.Violations > 0 {
		return errorf(Wrong, "%d violations, the first: %s", r.Violations, r.Samples[0])
	}
	var missed []error
	if cfg.MinRate > 0 && r.AckedPerSecond < cfg.MinRate {
		missed = append(missed, fmt.Errorf("%.0f acked/s, the target is %.0f", r.AckedPerSecond, cfg.MinRate))
	}
	if cfg.MaxCPU > 0 && r.CPU.Total > cfg.MaxCPU {
		missed = append(missed, fmt.Errorf("%.1f µs of CPU a message, the target is %.1f", r.CPU.Total, cfg.MaxCPU))
	}
	if r.Persisted != nil && cfg.MaxPersist > 0 && r.Persisted.AfterMS > cfg.MaxPersist.Milliseconds() {
		missed = append(missed, fmt.Errorf("last row after %d ms, the target is %s", r.Persisted.AfterMS, cfg.MaxPersist))
	}
	if len(missed) > 0 {
		return &Error{Kind: Missed, Err: errors.Join(missed...)}
	}
	return nil
}

func (r *SendReport) write(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(r)
	}
	_, err := io.WriteString(out, r.text())
	return err
}

func (r *SendReport) text() string {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s "+format+"\n", append([]any{label}, args...)...)
	}
	line("load", "%d connections, %d groups, %d in flight, %d bytes, %.1f s, prefix %s",
		r.Connections, r.Groups, r.InFlight, r.Bytes, r.Seconds, r.Prefix)
	line("acked", "%.0f/s, %d messages (%d with warm-up)", r.AckedPerSecond, r.Messages, r.AckedTotal)
	line("delivered", "%.0f/s", r.DeliveriesPerSecond)
	line("latency", "p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms", r.Latency.P50, r.Latency.P90, r.Latency.P99, r.Latency.Max)
	line("cpu", "%s", r.cpuText())
	if r.Persisted != nil {
		line("persisted", "%d rows, %d ms after the end of the load", r.Persisted.Rows, r.Persisted.AfterMS)
	}
	line("violations", "%d", r.Violations)
	for _, s := range r.Samples {
		line("", "%s", s)
	}
	return b.String()
}

func (r *SendReport) cpuText() string {
	if len(r.CPU.Processes) == 0 {
		return fmt.Sprintf("no process given (load generator %.1f µs a message)", r.CPU.Bench)
	}
	parts := make([]string, 0, len(r.CPU.Processes))
	for _, name := range slices.Sorted(maps.Keys(r.CPU.Processes)) {
		parts = append(parts, fmt.Sprintf("%s %.1f", name, r.CPU.Processes[name]))
	}
	return fmt.Sprintf("%.1f µs a message: %s (load generator %.1f)", r.CPU.Total, strings.Join(parts, ", "), r.CPU.Bench)
}
