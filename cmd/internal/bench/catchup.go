package bench

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"
)

// readOps are the ops that answer pages.
var readOps = []string{"pull", "sync", "subscribe"}

// CatchupConfig says what Catchup does.
type CatchupConfig struct {
	Base

	Clients int    // [50] connections that catch up, one user each
	Missed  int    // [1000] messages in the group
	Op      string // [pull] or sync or subscribe
	Page    int    // [200] messages asked for at once
	Bytes   int    // [128] of text in a message

	Duration time.Duration // [10 s, without Catchups] measured, after Warmup
	Catchups int64         // measured, of all clients; the run ends with whichever of the two comes first
	Warmup   time.Duration // [2 s] load that is checked but not measured; negative: none

	// Targets; 0: none. Not reaching one is Missed.
	MinRate float64 // messages read per second
	MaxCPU  float64 // µs per message read, all PIDs together
}

func (c CatchupConfig) withDefaults() CatchupConfig {
	c.Base = c.Base.withDefaults()
	orInt(&c.Clients, 50)
	orInt(&c.Missed, 1000)
	orInt(&c.Page, maxPage)
	orInt(&c.Bytes, 128)
	if c.Op == "" {
		c.Op = readOps[0]
	}
	if c.Duration == 0 && c.Catchups == 0 {
		c.Duration = 10 * time.Second
	}
	orDuration(&c.Warmup, 2*time.Second)
	return c
}

func (c CatchupConfig) validate() error {
	var m mistakes
	c.check(&m)
	m.when(c.Clients < 1, "clients: %d", c.Clients)
	m.when(c.Missed < 1, "missed messages: %d", c.Missed)
	m.when(c.Page < 1 || c.Page > maxPage, "page: %d, want 1 to %d", c.Page, maxPage)
	m.when(!slices.Contains(readOps, c.Op), "op: %q, want one of %s", c.Op, strings.Join(readOps, ", "))
	checkText(&m, c.Bytes)
	m.when(c.Duration < 0 || c.Catchups < 0, "negative duration or number of catch-ups")
	c.checkProcesses(&m, c.MaxCPU)
	return m.err()
}

// Catchup fills a group, and then lets every client read it from after_seq 0 to its end, page by page, again and again.
// Report and errors are as those of Send.
func Catchup(ctx context.Context, cfg CatchupConfig, out io.Writer) (*CatchupReport, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	meter, err := newCPUMeter("/proc", cfg.PIDs)
	if err != nil {
		return nil, &Error{Kind: Setup, Err: err}
	}
	if err := needFiles(cfg.Clients); err != nil {
		return nil, err
	}
	c := newCatchup(cfg, meter)
	if err := c.run(ctx); err != nil {
		return nil, c.brokenDown(ctx, err)
	}
	report := c.report()
	report.Findings = c.violations.findings()
	if err := writeReport(out, cfg.JSON, report, report.text); err != nil {
		return report, err
	}
	return report, report.verdict(cfg)
}

// CatchupReport is what Catchup found. Rates, latencies and CPU are of the measured time, without warm-up.
type CatchupReport struct {
	Clients int    `json:"clients"`
	Missed  int    `json:"missed"`
	Op      string `json:"op"`
	Page    int    `json:"page"`
	Bytes   int    `json:"bytes"`

	Prefix   string  `json:"prefix"`
	Seconds  float64 `json:"seconds"`
	Messages int64   `json:"messages"` // read in that time
	Catchups int64   `json:"catchups"` // from after_seq 0 to the end

	MessagesPerSecond float64 `json:"messages_per_s"`
	Latency           Latency `json:"latency_ms"` // of one catch-up, all its pages
	CPU               CPU     `json:"cpu_us_per_message"`

	Findings
}

// report adds up; call it after run.
func (c *catchup) report() *CatchupReport {
	r := &CatchupReport{
		Clients: c.cfg.Clients, Missed: c.cfg.Missed, Op: c.cfg.Op, Page: c.cfg.Page, Bytes: c.cfg.Bytes,
		Prefix: c.cfg.Prefix, Seconds: c.measured().Seconds(),
	}
	latency := newLatency()
	for _, p := range c.pullers {
		latency.Merge(p.latency)
		r.Messages += p.measured
	}
	r.Catchups = latency.TotalCount()
	r.Latency = latencyOf(latency)
	r.MessagesPerSecond = perSecond(r.Messages, c.course.measured())
	r.CPU = cpuEach(c.cpu, r.Messages)
	return r
}

func (r *CatchupReport) verdict(cfg CatchupConfig) error {
	return r.Findings.verdict(
		below(r.MessagesPerSecond, cfg.MinRate, "%.0f messages read a second, the target is %.0f"),
		above(r.CPU.Total, cfg.MaxCPU, "%.1f µs of CPU a message, the target is %.1f"),
	)
}

func (r *CatchupReport) text(t *textReport) {
	t.line("load", "%d clients, %d messages missed, %s of %d, %d bytes, %.1f s, prefix %s",
		r.Clients, r.Missed, r.Op, r.Page, r.Bytes, r.Seconds, r.Prefix)
	t.line("read", "%.0f/s, %d messages, %d catch-ups", r.MessagesPerSecond, r.Messages, r.Catchups)
	t.line("catch-up", "%s", r.Latency.text())
	t.line("cpu", "%s", r.CPU.text("message"))
	t.findings(r.Findings)
}
