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
)

// Findings is what was wrong; every report has it.
type Findings struct {
	Violations int64    `json:"violations"`
	Samples    []string `json:"violation_samples,omitempty"` // the first ten
}

// verdict is Wrong after a violation, Missed when one of the targets was, nil otherwise. Each of missed is nil, or
// tells of a target.
func (f Findings) verdict(missed ...error) error {
	if f.Violations > 0 {
		return errorf(Wrong, "%d violations, the first: %s", f.Violations, f.Samples[0])
	}
	if err := errors.Join(missed...); err != nil {
		return &Error{Kind: Missed, Err: err}
	}
	return nil
}

// below and above are targets, 0: none; what has the figure and the target in it as %v.
func below(figure, target float64, what string) error {
	if target > 0 && figure < target {
		return fmt.Errorf(what, figure, target)
	}
	return nil
}

func above(figure, target float64, what string) error {
	if target > 0 && figure > target {
		return fmt.Errorf(what, figure, target)
	}
	return nil
}

// CPU is user and system time in µs per message, delivery, or whatever a bench counts.
type CPU struct {
	Total     float64            `json:"total"` // of Processes
	Processes map[string]float64 `json:"processes"`
	Bench     float64            `json:"bench"` // this load generator, not in Total
}

// cpuEach spreads what was spent over n.
func cpuEach(spent cpuTimes, n int64) CPU {
	c := CPU{Processes: make(map[string]float64, len(spent.byName))}
	if n == 0 {
		return c
	}
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	c.Bench = each(spent.own)
	for name, d := range spent.byName {
		c.Processes[name] = each(d)
		c.Total += each(d)
	}
	return c
}

func (c CPU) text(of string) string {
	if len(c.Processes) == 0 {
		return fmt.Sprintf("no process given (load generator %.1f µs a %s)", c.Bench, of)
	}
	return fmt.Sprintf("%.1f µs a %s: %s (load generator %.1f)", c.Total, of, byName(c.Processes), c.Bench)
}

func byName(figures map[string]float64) string {
	parts := make([]string, 0, len(figures))
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		parts = append(parts, fmt.Sprintf("%s %.1f", name, figures[name]))
	}
	return strings.Join(parts, ", ")
}

func perSecond(n int64, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(n) / took.Seconds()
}

// writeReport writes JSON, or what text makes of its lines. out may be nil.
func writeReport(out io.Writer, asJSON bool, report any, text func(*textReport)) error {
	if out == nil {
		return nil
	}
	if asJSON {
		return json.NewEncoder(out).Encode(report)
	}
	var t textReport
	text(&t)
	_, err := io.WriteString(out, t.String())
	return err
}

// textReport is a report for people: a label and what there is to say, line by line.
type textReport struct{ strings.Builder }

func (t *textReport) line(label, format string, args ...any) {
	fmt.Fprintf(t, "%-11s "+format+"\n", append([]any{label}, args...)...)
}

func (t *textReport) findings(f Findings) {
	t.line("violations", "%d", f.Violations)
	for _, s := range f.Samples {
		t.line("", "%s", s)
	}
}
