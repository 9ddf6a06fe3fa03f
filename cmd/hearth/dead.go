package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"hearth/cmd/internal/app"
	"hearth/domain"
	"hearth/mysqlrepo"
)

// DeadCmd is `hearth dead`.
type DeadCmd struct {
	List  DeadListCmd  `cmd:"" help:"List the messages that MySQL has refused, without their text."`
	Retry DeadRetryCmd `cmd:"" help:"Store such messages after all, at their seqs: all, those of a group, or some."`
}

// DeadListCmd is `hearth dead list`.
type DeadListCmd struct {
	ConfigFlag
	Group string `placeholder:"GROUP" help:"Only of this group."`
	JSON  bool   `help:"One JSON object a line."`
}

// Validate refuses what is no group; kong calls it.
func (c *DeadListCmd) Validate() error { return checkGroupFlag(c.Group) }

func checkGroupFlag(group string) error {
	if group == "" {
		return nil
	}
	return domain.CheckGroup("--group", group)
}

// listedLetter is a dead letter in the list: everything but what it says.
type listedLetter struct {
	Group     string `json:"group"`
	Seq       int64  `json:"seq"`
	From      string `json:"from"`
	TimeMS    int64  `json:"time_ms"`
	Reason    string `json:"reason"`
	Bytes     int    `json:"bytes"`
	CreatedMS int64  `json:"created_ms"`
}

// Run prints a line for each.
func (c *DeadListCmd) Run(ctx context.Context, p *Process) error {
	out := &printer{p: p, json: c.JSON}
	return c.withMySQL(ctx, p, func(db *mysqlrepo.DB) error {
		return domain.EachLetter(ctx, db, c.Group, func(page []domain.DeadLetter) error {
			for _, l := range page {
				listed := listedLetter{l.Group, l.Seq, l.From, l.TimeMS, l.Reason, len(l.Body), l.CreatedMS}
				out.object(listed, fmt.Sprintf("%s %d  from %s, %s, %d bytes: %s",
					l.Group, l.Seq, l.From, time.UnixMilli(l.TimeMS).Format(time.DateTime), len(l.Body), printable(l.Reason)))
			}
			return nil
		})
	})
}

// DeadRetryCmd is `hearth dead retry`.
type DeadRetryCmd struct {
	ConfigFlag
	Group   string   `placeholder:"GROUP" help:"All of this group."`
	Letters []string `arg:"" optional:"" name:"GROUP SEQ" help:"A group and the seqs to retry in it."`

	letters []domain.LetterID // of Letters
}

// Validate reads GROUP SEQ…; kong calls it.
func (c *DeadRetryCmd) Validate() error {
	switch n := len(c.Letters); {
	case n > 0 && c.Group != "":
		return errors.New("give --group for all of a group, or the group and seqs, not both")
	case n == 1:
		return errors.New("which seqs? For all of a group: --group " + c.Letters[0])
	}
	if err := checkGroupFlag(c.Group); err != nil {
		return err
	}
	for i, word := range c.Letters {
		if i == 0 {
			continue
		}
		seq, err := strconv.ParseInt(word, 10, 64)
		if err != nil || seq < 1 {
			return errors.New("a seq must be an integer from 1 on: " + strconv.Quote(word))
		}
		c.letters = append(c.letters, domain.LetterID{Group: c.Letters[0], Seq: seq})
	}
	return nil
}

// Run stores what it can and says of each what became of it. It fails when some are refused again.
func (c *DeadRetryCmd) Run(ctx context.Context, p *Process) error {
	config, err := c.load(p)
	if err != nil {
		return err
	}
	return withMySQL(ctx, config, func(db *mysqlrepo.DB) (err error) {
		if err := db.CheckPartitions(ctx, domain.Partitions(config.Redis.Partitions)); err != nil {
			return err // it would tell nobody
		}
		redis, err := app.OpenRedis(ctx, config)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, redis.Close()) }()
		letters := domain.NewLetters(db, redis)
		r := &retry{p: p}
		if len(c.letters) > 0 {
			err = letters.Retry(ctx, c.letters, r.told)
		} else {
			err = letters.RetryAll(ctx, c.Group, r.told)
		}
		return errors.Join(err, r.result())
	})
}

// retry says what became of dead letters, and counts.
type retry struct {
	p               *Process
	stored, refused int
}

func (r *retry) told(result domain.LetterResult) {
	what := string(result.Outcome)
	switch result.Outcome {
	case domain.LetterStored:
		r.stored++
	case domain.LetterRefused:
		r.refused++
		what = "refused again: " + printable(result.Reason)
	case domain.LetterUnknown:
		r.refused++
		what = "there is no such dead letter"
	case domain.LetterNotNeeded:
		what = "not needed any more: its sender has repeated it, or it has expired"
	case domain.LetterToldAgain:
		what = "stored before, told again"
	}
	fmt.Fprintf(r.p.Stdout, "%s %d  %s\n", result.Group, result.Seq, what)
	if result.Unremembered != nil {
		fmt.Fprintln(r.p.Stderr, "stored, but repeats are not known:", result.Unremembered)
	}
}

func (r *retry) result() error {
	if r.refused > 0 {
		return fmt.Errorf("%d stored, %d not", r.stored, r.refused)
	}
	fmt.Fprintf(r.p.Stdout, "%d stored.\n", r.stored)
	return nil
}
