package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hearth/domain"
	"hearth/mysqlrepo"
)

// HooksListCmd is `hearth hooks list`.
type HooksListCmd struct {
	ConfigFlag
	Group string `placeholder:"GROUP" help:"Only of this group."`
	JSON  bool   `help:"One JSON object a line."`
}

// Validate refuses what is no group; kong calls it.
func (c *HooksListCmd) Validate() error { return checkGroupFlag(c.Group) }

// listedHook is an event that was given up, in the list. Of messages it says nothing but which they are.
type listedHook struct {
	Event   string          `json:"event"`
	Group   string          `json:"group"`
	From    int64           `json:"from_seq,omitempty"`
	To      int64           `json:"to_seq,omitempty"`
	TimeMS  int64           `json:"time_ms"`
	GivenUp int64           `json:"given_up_ms"`
	Reason  string          `json:"reason"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// Run prints a line for each.
func (c *HooksListCmd) Run(ctx context.Context, p *Process) error {
	out := &printer{p: p, json: c.JSON}
	return c.withMySQL(ctx, p, func(db *mysqlrepo.DB) error {
		for after := int64(0); ; {
			page, err := db.DeadHooks(ctx, c.Group, after, 100)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, r := range page {
				if r.From == 0 { // a change
					r.To = 0
				}
				out.object(listedHook{r.Event, r.Group, r.From, r.To, r.TimeMS, r.DeadMS, r.Reason, r.Data}, hookLine(&r))
				after = r.ID
			}
		}
	})
}

func hookLine(r *domain.OutboxRow) string {
	what := r.Group
	switch {
	case r.From > 0 && r.From == r.To:
		what += " " + strconv.FormatInt(r.From, 10)
	case r.From > 0:
		what += fmt.Sprintf(" %d..%d", r.From, r.To)
	}
	return fmt.Sprintf("%s  %s  of %s, given up %s: %s", r.Event, what,
		time.UnixMilli(r.TimeMS).Format(time.DateTime), time.UnixMilli(r.DeadMS).Format(time.DateTime), printable(r.Reason))
}

// HooksRetryCmd is `hearth hooks retry`.
type HooksRetryCmd struct {
	ConfigFlag
	Group string `placeholder:"GROUP" help:"Only of this group."`
}

// Validate refuses what is no group; kong calls it.
func (c *HooksRetryCmd) Validate() error { return checkGroupFlag(c.Group) }

// Run has them told after all, by the instances.
func (c *HooksRetryCmd) Run(ctx context.Context, p *Process) error {
	return c.withMySQL(ctx, p, func(db *mysqlrepo.DB) error {
		n, err := db.RetryHooks(ctx, c.Group)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.Stdout, "%d will be told after all.\n", n)
		return nil
	})
}

// maxSeq is the highest that a message can have.
const maxSeq = 1<<53 - 1

// HooksReplayCmd is `hearth hooks replay`.
type HooksReplayCmd struct {
	ConfigFlag
	Group string `arg:"" name:"GROUP" help:"The group."`
	Seqs  string `arg:"" name:"FROM..TO" help:"The seqs, both ends included; one seq alone for one message, FROM.. for all from there on."`

	from, to int64 // of Seqs
}

// Validate reads the range; kong calls it.
func (c *HooksReplayCmd) Validate() error {
	if err := domain.CheckGroup("GROUP", c.Group); err != nil {
		return err
	}
	first, last, isRange := strings.Cut(c.Seqs, "..")
	if !isRange {
		last = first
	}
	var err error
	if c.from, err = strconv.ParseInt(first, 10, 64); err != nil || c.from < 1 {
		return errors.New("FROM..TO must be seqs, such as 17..42: " + strconv.Quote(c.Seqs))
	}
	if c.to = maxSeq; last != "" {
		if c.to, err = strconv.ParseInt(last, 10, 64); err != nil || c.to < c.from {
			return errors.New("FROM..TO must be ascending seqs, such as 17..42: " + strconv.Quote(c.Seqs))
		}
	}
	return nil
}

// Run has the messages told once more, by the instances.
func (c *HooksReplayCmd) Run(ctx context.Context, p *Process) error {
	config, err := c.load(p)
	if err != nil {
		return err
	}
	if config.Webhooks.URL == "" {
		p.Warn([]string{"webhooks.url is not set here: the messages wait for instances that have one"})
	}
	return withMySQL(ctx, config, func(db *mysqlrepo.DB) error {
		if err := db.SamePartitions(ctx, domain.Partitions(config.Redis.Partitions)); err != nil {
			return err // nobody would look for them
		}
		n, err := db.ReplayHooks(ctx, c.Group, c.from, c.to)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%s has no messages there", c.Group)
		}
		fmt.Fprintf(p.Stdout, "%s will be told again.\n", plural(int(n), "message"))
		return nil
	})
}
