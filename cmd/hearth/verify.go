package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hearth/cmd/internal/app"
	"hearth/domain"
)

// VerifyCmd is `hearth verify`.
type VerifyCmd struct {
	ConfigFlag
	Group string `placeholder:"GROUP" help:"Only this group. Default: all, and the partitions."`
	JSON  bool   `name:"json" help:"Print one JSON object."`
}

// wrongError is that of an audit with findings; they are printed already.
type wrongError struct{ findings int }

func (e wrongError) Error() string { return plural(e.findings, "finding") }

// ExitCode makes it the status that means wrong.
func (e wrongError) ExitCode() int { return exitWrong }

// Run prints a line for each finding and one for the whole. It only reads.
func (c *VerifyCmd) Run(ctx context.Context, p *Process) (err error) {
	cfg, err := c.loadServe(p)
	if err != nil {
		return err
	}
	if c.Group != "" {
		if err := domain.CheckGroup("--group", c.Group); err != nil {
			return usageError{err}
		}
	}
	stores, err := app.OpenStores(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stores.Close()) }()
	begun := time.Now()
	window := cfg.Heat.Window.D()
	if age := cfg.Retention.Age.D(); age > 0 { // of messages that are gone nobody knows who wrote them
		window = min(window, age)
	}
	auditor := domain.NewAuditor(stores.Redis, stores.SQL, stores.Partitions, window)
	result, err := auditor.Run(ctx, c.Group)
	if err != nil {
		return fmt.Errorf("could not audit: %w", err)
	}
	took := time.Since(begun)
	if c.JSON {
		err = printAuditJSON(p, result, took)
	} else {
		printAudit(p, result, took)
	}
	if err == nil && len(result.Findings) > 0 {
		return wrongError{len(result.Findings)}
	}
	return err
}

func printAuditJSON(p *Process, result *domain.Audit, took time.Duration) error {
	return json.NewEncoder(p.Stdout).Encode(struct {
		*domain.Audit
		Sound   bool    `json:"sound"`
		Seconds float64 `json:"seconds"`
	}{result, len(result.Findings) == 0, took.Round(time.Millisecond).Seconds()})
}

const maxFindingLines = 10 // of one check in one group

func printAudit(p *Process, result *domain.Audit, took time.Duration) {
	lines := make(map[string]int)
	for _, f := range result.Findings {
		about := f.Subject() + "  " + string(f.Check)
		switch lines[about]++; {
		case lines[about] <= maxFindingLines:
			fmt.Fprintf(p.Stdout, "%s  %s\n", about, f.What)
		case lines[about] == maxFindingLines+1:
			fmt.Fprintf(p.Stdout, "%s  … and more: --json prints all\n", about)
		}
	}
	for _, note := range result.Notes {
		fmt.Fprintln(p.Stdout, "note: "+note)
	}
	verdict := "sound"
	if n := len(result.Findings); n > 0 {
		verdict = plural(n, "finding")
	}
	fmt.Fprintf(p.Stdout, "%s, %s checked in %s: %s\n",
		plural(result.Groups, "group"), plural(result.Messages, "message"), took.Round(100*time.Millisecond), verdict)
}

// plural is "1 group" or "2 groups".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
