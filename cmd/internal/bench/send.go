// Package bench loads a hearth through its public API – nothing else – and checks the protocol's promises while
// it measures. It shares the machine with what it measures, so its own hot paths decode no JSON: see conn.go,
// subscriber.go and book.go.
//
// Rate limits of the server must be off (HEARTH_LIMITS_USER_RATE, _GROUP_RATE and _CONNECTION_RATE set to 0).
// The groups a run creates stay.
package bench

import (
	"context"
	"io"
	"time"
)

// Send keeps cfg.InFlight sends of every connection unanswered, for as long as cfg says, and writes the report to out
// (nil: nowhere). Errors are of type *Error, or the context's. With Wrong and Missed the report is there too, except
// that a run that broke down after a violation is Wrong without one.
func Send(ctx context.Context, cfg SendConfig, out io.Writer) (*SendReport, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	meter, err := newCPUMeter("/proc", cfg.PIDs)
	if err != nil {
		return nil, &Error{Kind: Setup, Err: err}
	}
	l := newLoad(cfg, meter)
	if err := l.connect(ctx, l.plan()); err != nil {
		return nil, err
	}
	if err := l.run(ctx); err != nil {
		return nil, l.brokenDown(ctx, err)
	}
	l.checkGroups()
	report := l.report()
	if cfg.MySQLDSN != "" {
		if report.Persisted, err = l.persisted(ctx, report.AckedTotal); err != nil {
			return nil, l.brokenDown(ctx, err)
		}
	}
	report.Findings = l.violations.findings()
	if err := writeReport(out, cfg.JSON, report, report.text); err != nil {
		return report, err
	}
	return report, report.verdict(cfg)
}

// persisted waits until group_msg has want rows, counting the time from the end of the load.
func (l *load) persisted(ctx context.Context, want int64) (*Persisted, error) {
	db, err := openRows(l.cfg.MySQLDSN, l.cfg.Prefix)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	waiting, cancel := context.WithDeadline(ctx, l.ended.Add(l.cfg.PersistWait))
	defer cancel()
	rows, err := waitRows(waiting, db.count, want)
	if err == nil {
		err = ctx.Err() // the caller's end, which waitRows takes for that of its waiting
	}
	if err != nil {
		return nil, err
	}
	took := time.Since(l.ended)
	if rows != want {
		l.violations.add("%d messages acked, %d rows in MySQL %s after the load", want, rows, took.Round(time.Millisecond))
	}
	return &Persisted{Rows: rows, AfterMS: took.Milliseconds()}, nil
}
