package bench

import (
	"context"
	"io"
	"time"
)

// IdleConfig says what Idle does.
type IdleConfig struct {
	Base

	Connections int           // [10,000] one user each
	GroupSize   int           // [100] members of a group
	Hold        time.Duration // [30 s] from the last welcome to the measurement
	Settle      time.Duration // [5 s] for the message at the end that shows who is still subscribed

	// MaxKiB is the target, 0: none: resident memory a connection, of all PIDs together. Not reaching it is Missed.
	MaxKiB float64
}

func (c IdleConfig) withDefaults() IdleConfig {
	c.Base = c.Base.withDefaults()
	orInt(&c.Connections, 10000)
	orInt(&c.GroupSize, 100)
	orDuration(&c.Hold, 30*time.Second)
	orDuration(&c.Settle, 5*time.Second)
	return c
}

func (c IdleConfig) validate() error {
	var m mistakes
	c.check(&m)
	m.when(c.Connections < 1, "connections: %d", c.Connections)
	m.when(c.GroupSize < 1, "members of a group: %d", c.GroupSize)
	m.when(c.Hold < 0 || c.Settle < 0, "negative time")
	c.checkProcesses(&m, c.MaxKiB)
	return m.err()
}

// Idle opens connections that do nothing but answer pings, and tells by how much the memory of the processes has grown.
// In the end each group gets one message, which every connection must have: idle means subscribed. Report and errors
// are as those of Send.
func Idle(ctx context.Context, cfg IdleConfig, out io.Writer) (*IdleReport, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	meter := memoryMeter{proc: "/proc", pids: cfg.PIDs}
	if _, err := meter.read(); err != nil {
		return nil, &Error{Kind: Setup, Err: err}
	}
	if err := needFiles(cfg.Connections); err != nil {
		return nil, err
	}
	d := newDormitory(cfg, meter)
	if err := d.run(ctx); err != nil {
		return nil, d.brokenDown(ctx, err)
	}
	report := d.report()
	report.Findings = d.violations.findings()
	if err := writeReport(out, cfg.JSON, report, report.text); err != nil {
		return report, err
	}
	return report, report.verdict(cfg)
}

// IdleReport is what Idle found.
type IdleReport struct {
	Connections int `json:"connections"`
	Groups      int `json:"groups"`

	Prefix         string  `json:"prefix"`
	ConnectSeconds float64 `json:"connect_seconds"`
	HoldSeconds    float64 `json:"hold_seconds"`
	Pings          int64   `json:"pings"` // answered while it held

	Memory Memory `json:"memory"`

	Findings
}

// Memory is resident memory: of the processes, and by how much it grew.
type Memory struct {
	KiBEach   float64            `json:"kib_each"` // a connection, all processes together
	Each      map[string]float64 `json:"kib_each_by_process"`
	BeforeKiB map[string]int64   `json:"before_kib"` // with the groups there, and no connection
	AfterKiB  map[string]int64   `json:"after_kib"`
}

// memoryEach spreads what processes have grown by over n connections.
func memoryEach(before, after map[string]int64, n int) Memory {
	m := Memory{BeforeKiB: before, AfterKiB: after, Each: make(map[string]float64, len(after))}
	for name, kib := range after {
		m.Each[name] = float64(kib-before[name]) / float64(n)
		m.KiBEach += m.Each[name]
	}
	return m
}

func (r *IdleReport) verdict(cfg IdleConfig) error {
	return r.Findings.verdict(above(r.Memory.KiBEach, cfg.MaxKiB, "%.1f KiB a connection, the target is %.1f"))
}

func (r *IdleReport) text(t *textReport) {
	t.line("load", "%d connections in %d groups, prefix %s", r.Connections, r.Groups, r.Prefix)
	t.line("time", "connected in %.1f s, held for %.1f s, %d pings", r.ConnectSeconds, r.HoldSeconds, r.Pings)
	if len(r.Memory.Each) == 0 {
		t.line("memory", "no process given")
	} else {
		t.line("memory", "%.1f KiB a connection: %s", r.Memory.KiBEach, byName(r.Memory.Each))
	}
	for name, kib := range r.Memory.AfterKiB {
		t.line("", "%s %d KiB before, %d KiB after", name, r.Memory.BeforeKiB[name], kib)
	}
	t.findings(r.Findings)
}
